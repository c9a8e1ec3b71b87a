//! Where passphrases come from, who can open what, and where a secret must never be seen.

use crate::fixture::{Fixture, REPO, Ran};
use std::process::Command;

const SECRET: &str = "correct horse battery staple";

/// A repository that a passphrase opens.
fn locked() -> Fixture {
    let fixture = Fixture::empty();
    let ran = with(&fixture, &[("REPO_PASSPHRASE", SECRET)], &["init"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.out.contains(SECRET));
    fixture
}

/// Runs the program with these variables, without a terminal.
fn with(fixture: &Fixture, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(REPO).args(args);
    fixture.prepare(&mut command);
    command
        .env_remove("REPO_KEY_FILE")
        .envs(variables.iter().copied());
    Ran::of(&mut command)
}

#[test]
fn every_source_of_a_passphrase_and_only_one() {
    let fixture = locked();
    fixture.shell(&format!(
        "printf '%s\\n' '{SECRET}' > file; printf '%s' '{SECRET}' > bare"
    ));
    let print = format!("echo '{SECRET}'");
    let opens = |variables: &[(&str, &str)]| with(&fixture, variables, &["snapshots"]);
    for variable in [
        ("REPO_PASSPHRASE", SECRET),
        ("REPO_PASSPHRASE_FILE", "file"),
        ("REPO_PASSPHRASE_FILE", "bare"),
        ("REPO_PASSPHRASE_COMMAND", print.as_str()),
    ] {
        let ran = opens(&[variable]);
        assert_eq!(ran.code, 0, "{}: {ran:?}", variable.0);
    }
    for (variables, code, said) in [
        (&[] as &[(&str, &str)], 2, "no terminal"),
        (&[("REPO_PASSPHRASE", "wrong")], 1, "passphrase"),
        (&[("REPO_PASSPHRASE", "")], 2, "empty"),
        (
            &[
                ("REPO_PASSPHRASE", SECRET),
                ("REPO_PASSPHRASE_FILE", "file"),
            ],
            2,
            "both",
        ),
        (
            &[("REPO_PASSPHRASE_FILE", "no-such-file")],
            1,
            "no-such-file",
        ),
        (
            &[("REPO_PASSPHRASE_COMMAND", "exit 9")],
            1,
            "exit status: 9",
        ),
        (&[("REPO_PASSPHRASE_COMMAND", "true")], 2, "empty"),
        (&[("REPO_KEY_FILE", "file")], 1, "not a key file"),
    ] {
        let ran = opens(variables);
        assert_eq!(ran.code, code, "{variables:?}: {ran:?}");
        assert!(
            ran.err.contains(said) && !ran.err.contains(SECRET),
            "{variables:?}: {ran:?}"
        );
    }
}

/// A terminal by Python's pty: types each answer when it is asked for, shows all that the terminal showed.
fn on_terminal(fixture: &Fixture, answers: &[&str], args: &[&str]) -> Ran {
    let script = r"
import os, pty, sys, time, select
answers = sys.argv[1].split('|') if sys.argv[1] else []
pid, tty = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
seen = 0
while True:
    try:
        piece = os.read(tty, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if answers and (shown[seen:].endswith(b': ')):
        seen = len(shown)
        time.sleep(0.2)
        os.write(tty, answers.pop(0).encode() + b'\n')
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";
    let mut command = Command::new("python3");
    command
        .args(["-c", script, &answers.join("|"), REPO])
        .args(args);
    fixture.prepare(&mut command);
    Ran::of(command.env_remove("REPO_KEY_FILE"))
}

#[test]
fn a_person_is_asked_twice_without_echo() {
    let fixture = Fixture::empty();
    let ran = on_terminal(&fixture, &["first", "other", SECRET, SECRET], &["init"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("not the same") && ran.out.contains("created"),
        "{ran:?}"
    );
    assert!(
        !ran.out.contains(SECRET) && !ran.out.contains("first"),
        "{ran:?}"
    );
    let ran = on_terminal(&fixture, &[SECRET], &["snapshots"]);
    assert!(ran.code == 0 && !ran.out.contains(SECRET), "{ran:?}");
    assert_eq!(on_terminal(&fixture, &["wrong"], &["snapshots"]).code, 1);
    // Nothing is asked where nothing could be opened.
    let ran = on_terminal(&fixture, &[], &["snapshots", "--repo", "nowhere"]);
    assert!(ran.code == 1 && !ran.out.contains("Passphrase"), "{ran:?}");
}

#[test]
fn keys_come_and_go_and_the_last_one_stays() {
    let fixture = Fixture::small();
    let id = |key: &str| {
        let slots = fixture.json(&["--key-file", key, "key", "list"]);
        let first = slots
            .as_array()
            .unwrap()
            .iter()
            .find(|slot| slot["label"] == "first key");
        first.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let last = id("key");
    assert!(fixture.fails(4, &["key", "remove", &last]).contains("last"));
    fixture.ok(&["key", "add", "--new-key-file", "second", "--label", "safe"]);
    assert_eq!(
        fixture
            .fails(1, &["key", "add", "--new-key-file", "second"])
            .matches("exists")
            .count(),
        1
    );
    assert!(fixture.shell("stat -c %a second").contains("600"));
    fixture.ok(&["key", "rotate"]);
    assert_eq!(
        fixture.ok(&["--key-file", "second", "cat", "small:file"]),
        "hello\n"
    );
    fixture.ok(&["key", "change", "--new-key-file", "third"]);
    fixture.fails(1, &["snapshots"]);
    let changed = id("third");
    fixture.ok(&["--key-file", "second", "key", "remove", &changed[..8]]);
    fixture.fails(1, &["--key-file", "third", "snapshots"]);
    fixture.ok(&["--key-file", "second", "ingest", "source"]);
}

#[test]
fn an_ingest_key_adds_and_reads_nothing() {
    let fixture = Fixture::small();
    fixture.ok(&["key", "add", "--role", "ingest", "--new-key-file", "host"]);
    fixture.shell("rm -rf cache");
    let as_host = |args: &[&str]| fixture.run(&[args, &["--key-file", "host"]].concat());
    let ran = as_host(&["ingest", "source", "--name", "by-host"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("0 B new"),
        "deduplicated against what it cannot read: {ran:?}"
    );
    for args in [
        &["snapshots"] as &[&str],
        &["show", "small"],
        &["ls", "small"],
        &["cat", "small:file"],
        &["find", "file"],
        &["diff", "small", "by-host"],
        &["stats"],
        &["check"],
        &["restore", "small", "--target", "t"],
        &["export", "small", "--format", "tar"],
        &["mount", "home"],
        &["key", "list"],
        &["key", "rotate"],
        &["key", "add", "--new-key-file", "n"],
    ] {
        let ran = as_host(args);
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(
            ran.out.is_empty() && ran.err.contains("full"),
            "{args:?}: {ran:?}"
        );
    }
    assert!(!fixture.path("t").exists() && !fixture.path("n").exists());
    assert_eq!(fixture.ok(&["cat", "by-host:file"]), "hello\n");
}

/// A key file that opens nothing was left behind, and was in the way of the second try.
#[test]
fn a_key_that_could_not_be_added_leaves_no_key_file() {
    let fixture = Fixture::new();
    let label = "x".repeat(5000);
    let add = ["key", "add", "--new-key-file", "second", "--label"];
    let ran = with(
        &fixture,
        &[],
        &[&["--key-file", "key"], &add[..], &[&label]].concat(),
    );
    assert!(ran.code == 1 || ran.code == 2, "{ran:?}");
    assert!(ran.err.contains("label"), "{ran:?}");
    assert!(!fixture.path("second").exists());
    fixture.ok(&["key", "add", "--new-key-file", "second"]);
    assert!(fixture.path("second").exists());
}
