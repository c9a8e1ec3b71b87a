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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::error::{Class, Error, Result};
use crate::source::stream::widen_pipe;

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
    /// It stopped to ask something on the terminal.
    asked: AtomicBool,
    /// Disconnected once the error output is over.
    stderr_over: Receiver<()>,
}

impl Producer {
    /// Starts `command` (program and arguments) with nothing on its standard input. What it writes to its error output
    /// goes to `on_stderr` as it comes. It runs in a process group of its own, so it cannot ask questions on the terminal:
    /// if it tries it is ended, because nothing would ever come.
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
            asked: AtomicBool::new(false),
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
        let watcher = shared.clone();
        thread::Builder::new()
            .name("producer-watch".into())
            .spawn(move || watcher.watch())
            .map_err(|error| Error::io("start a watching thread", error))?;
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

    /// Until the command ends: if the terminal stops it, it would wait for ever.
    fn watch(&self) {
        let Some(pid) = self.group else {
            return;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(pid), options) {
                Err(rustix::io::Errno::INTR) => continue,
                Ok(Some(status)) if status.stopped() => {
                    let signal = status.stopping_signal();
                    let terminal = [Signal::TTIN.as_raw(), Signal::TTOU.as_raw()];
                    if signal.is_some_and(|signal| terminal.contains(&signal)) {
                        self.asked.store(true, Ordering::Relaxed);
                        // A group that is gone already needs no signal.
                        let _ = kill_process_group(pid, Signal::KILL);
                        return;
                    }
                }
                _ => return,
            }
            // Stopped by a person, who may let it go on: take note of the stop, so that only the next is reported.
            let stop = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            let _ = waitid(WaitId::Pid(pid), stop);
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
        if self.asked.load(Ordering::Relaxed) {
            return Error::new(
                Class::Io,
                format!(
                    "the command {program} wanted to ask something on the terminal, and cannot: \
                     give it what it needs beforehand"
                ),
            );
        }
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
mod tests;
