//! Commands that end well, badly, or not at all.

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

#[test]
fn a_question_on_the_terminal_is_an_error_and_no_wait() {
    let exe = std::env::current_exe().unwrap();
    let script =
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script]).arg(exe);
    python.args(["--exact", "source::command::tests::on_a_terminal"]);
    let run = python
        .env("REPO_TEST_ON_TERMINAL", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn on_a_terminal() {
    // Only as the other half of the test above.
    if std::env::var_os("REPO_TEST_ON_TERMINAL").is_none() {
        return;
    }
    let text = read("echo some; read answer < /dev/tty; echo more").unwrap_err();
    assert!(
        text.to_string().contains("wanted to ask something"),
        "{text}"
    );
    let (_producer, mut output) = start("kill -STOP $$; echo went on");
    let pid = output.shared.group.unwrap();
    while !stopped(pid) {
        thread::sleep(POLL);
    }
    kill_process_group(pid, Signal::CONT).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "went on\n");
}

/// True if the process is stopped, whoever was told.
fn stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('T'))
}
