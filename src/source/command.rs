//! A command as a producer: its standard output is the stream, and its exit status belongs to it.
//!
//! The end of the output counts only once the command ended well: until then [`Output`] does not report the end, and if it
//! ended otherwise it reports an error. So whatever reads it, a tar parser or a plain stream, a producer that failed never
//! becomes a snapshot. Arguments may hold secrets: only the program's name is ever shown.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::stream::widen_pipe;
use crate::error::{Class, Error, Result};

/// How much of the end of the error output is kept for the message.
const TAIL_BYTES: usize = 8 << 10;
/// How long a command that is not needed any more may take to clean up after itself.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);
/// How long to wait for the rest of the error output of a command that has ended: a child of its own may hold it open.
const TAIL_WAIT: Duration = Duration::from_millis(500);

/// A running command. Dropped before its end, it is terminated with its whole process group.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
}

/// The command's output, to be read to its end.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Shared>,
    stdout: ChildStdout,
    /// The end was reached and the command had ended well.
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    program: String,
    child: Mutex<Child>,
    group: Option<Pid>,
    tail: Mutex<Vec<u8>>,
    /// Disconnected once the error output is over.
    stderr_over: Receiver<()>,
}

impl Producer {
    /// Starts `command` (program and arguments) with nothing on its standard input. What it writes to its error output
    /// goes to `on_stderr` as it comes. It runs in a process group of its own: it cannot ask questions on the terminal.
    pub fn start(
        command: &[OsString],
        on_stderr: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<(Self, Output)> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(Error::invalid("no command was given"));
        };
        let shown = shown(program);
        let mut child = std::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| Error::io(format!("start the command {shown}"), error))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Error::new(Class::Io, "the command has no output"));
        };
        widen_pipe(&stdout);
        let (over, stderr_over) = bounded(0);
        let shared = Arc::new(Shared {
            program: shown,
            group: i32::try_from(child.id()).ok().and_then(Pid::from_raw),
            child: Mutex::new(child),
            tail: Mutex::default(),
            stderr_over,
        });
        let producer = Self {
            shared: shared.clone(),
        };
        let listener = shared.clone();
        thread::Builder::new()
            .name("producer-stderr".into())
            .spawn(move || listen(&listener, stderr, over, on_stderr))
            .map_err(|error| Error::io("start a reader thread", error))?;
        let output = Output {
            shared,
            stdout,
            ended: false,
        };
        Ok((producer, output))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.terminate();
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let got = self.stdout.read(buffer)?;
        if got == 0 {
            let status = self.shared.wait()?;
            if !status.success() {
                return Err(self.shared.failure(status).into());
            }
            self.ended = true;
        }
        Ok(got)
    }
}

impl Shared {
    /// Waits for the command to end; the lock is never held while waiting, so that another thread can terminate it.
    fn wait(&self) -> io::Result<ExitStatus> {
        self.await_end(None);
        lock(&self.child).wait()
    }

    /// Returns once the command has ended, or `limit` is over. It stays a zombie, so that its process group's number
    /// is not given to others.
    fn await_end(&self, limit: Option<Duration>) -> bool {
        let Some(pid) = self.group else {
            return true;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let Some(limit) = limit else {
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
            return true;
        };
        let mut waited = Duration::ZERO;
        loop {
            match waitid(WaitId::Pid(pid), options | WaitIdOptions::NOHANG) {
                Ok(None) if waited < limit => {}
                Ok(None) => return false,
                _ => return true,
            }
            thread::sleep(POLL);
            waited += POLL;
        }
    }

    /// Ends the command and all of its process group: politely, then for certain.
    fn terminate(&self) {
        let mut child = lock(&self.child);
        let (Some(group), Ok(None)) = (self.group, running(&mut child)) else {
            return;
        };
        // A group that is gone already needs no signal.
        let _ = kill_process_group(group, Signal::TERM);
        self.await_end(Some(GRACE));
        let _ = kill_process_group(group, Signal::KILL);
        // Collects the status; there is nobody to tell.
        let _ = child.wait();
    }

    fn failure(&self, status: ExitStatus) -> Error {
        let _ = self.stderr_over.recv_timeout(TAIL_WAIT);
        let program = &self.program;
        let mut what = match (status.code(), status.signal()) {
            (Some(code), _) => format!("the command {program} failed with exit status {code}"),
            (None, Some(signal)) => format!("the command {program} was killed by signal {signal}"),
            (None, None) => format!("the command {program} failed"),
        };
        let tail = lock(&self.tail);
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.trim_end().chars().map(printable).collect())
            .filter(|line: &String| !line.is_empty())
            .collect();
        if !lines.is_empty() {
            what.push_str(": ");
            what.push_str(&lines.join(" | "));
        }
        Error::new(Class::Io, what)
    }
}

/// `None` while the command runs. Its status is not collected while others may wait for it.
fn running(child: &mut Child) -> io::Result<Option<()>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Ok(Some(()));
    };
    // A status that was collected before makes this fail: then it does not run.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::Pid(pid), options)?.map(|_| ()))
}

/// Keeps the end of the error output, and passes all of it on.
fn listen(
    shared: &Shared,
    mut stderr: ChildStderr,
    over: Sender<()>,
    mut on_stderr: impl FnMut(&[u8]),
) {
    let mut buffer = [0; 4096];
    loop {
        let len = match stderr.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let bytes = buffer.get(..len).unwrap_or_default();
        on_stderr(bytes);
        let mut tail = lock(&shared.tail);
        tail.extend_from_slice(bytes);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }
    drop(over);
}

/// The program's name without its directories, for people.
fn shown(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().chars().map(printable).collect()
}

/// Control characters could drive a terminal.
fn printable(character: char) -> char {
    if character.is_control() {
        char::REPLACEMENT_CHARACTER
    } else {
        character
    }
}

/// A poisoned lock only says that some thread panicked; what it guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn start(script: &str) -> (Producer, Output) {
        let command = ["bash", "-c", script].map(OsString::from);
        Producer::start(&command, |_| {}).unwrap()
    }

    fn read(script: &str) -> io::Result<Vec<u8>> {
        let (_producer, mut output) = start(script);
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn output_of_a_command_that_ends_well() {
        let bytes = read("head -c 3000000 /dev/zero; echo noise >&2").unwrap();
        assert_eq!(bytes.len(), 3_000_000);
        assert_eq!(read("cat").unwrap(), b"", "there is nothing on its input");
    }

    #[test]
    fn a_failure_after_all_output_is_an_error() {
        let text = read("echo data; echo 'no space' >&2; printf 'a\\033[31mb' >&2; exit 3");
        let text = text.unwrap_err().to_string();
        let expect = "the command bash failed with exit status 3: no space | a\u{fffd}[31mb";
        assert_eq!(text, expect);
        let text = read("kill -9 $$").unwrap_err().to_string();
        assert_eq!(text, "the command bash was killed by signal 9");
    }

    #[test]
    fn arguments_are_never_shown() {
        let text = read(": hunter2; exit 1").unwrap_err().to_string();
        assert!(!text.contains("hunter2"), "{text}");
        let command = ["/no/such/program", "hunter2"].map(OsString::from);
        let error = Producer::start(&command, |_| {}).unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        assert!(error.to_string().starts_with("start the command program: "));
    }

    #[test]
    fn only_the_end_of_a_long_error_output_is_kept() {
        let seen = Arc::new(Mutex::new(0));
        let command = ["bash", "-c", "seq 100000 >&2; exit 1"].map(OsString::from);
        let count = seen.clone();
        let (_producer, mut output) =
            Producer::start(&command, move |bytes| *lock(&count) += bytes.len()).unwrap();
        let error = output.read_to_end(&mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.len() < 16 << 10 && error.ends_with("| 100000"),
            "{error}"
        );
        assert_eq!(*lock(&seen), 588_895);
    }

    #[test]
    fn dropped_it_takes_its_children_along() {
        let dir = tempfile::tempdir().unwrap();
        let beat = dir.path().join("beat");
        let script = format!(
            "(trap '' TERM; while :; do date +%N > {0}; sleep 0.02; done) & sleep 100",
            beat.display()
        );
        let (producer, mut output) = start(&script);
        while !beat.exists() {
            thread::sleep(POLL);
        }
        let reader = thread::spawn(move || output.read_to_end(&mut Vec::new()));
        let began = Instant::now();
        drop(producer);
        assert!(began.elapsed() < 2 * GRACE);
        assert!(
            reader.join().unwrap().is_err(),
            "an output cut short is an error"
        );
        let last = std::fs::read(&beat).unwrap();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(std::fs::read(&beat).unwrap(), last, "a grandchild lives on");
    }
}
