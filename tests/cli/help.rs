//! Help, manual pages, completions, and command lines that cannot be understood.

use crate::fixture::Fixture;

const COMMANDS: [&str; 21] = [
    "init",
    "ingest",
    "snapshots",
    "show",
    "ls",
    "cat",
    "find",
    "diff",
    "stats",
    "mount",
    "umount",
    "restore",
    "export",
    "forget",
    "pin",
    "prune",
    "check",
    "repair",
    "key",
    "completions",
    "man",
];

#[test]
fn every_command_explains_itself_with_examples() {
    let fixture = Fixture::empty();
    let all = fixture.ok(&["--help"]);
    for command in COMMANDS {
        assert!(
            all.contains(&format!("\n  {command} ")),
            "{command} is listed"
        );
        let help = fixture.ok(&[command, "--help"]);
        assert!(help.contains("Usage: repo"), "{command}");
        assert!(help.contains("Examples:"), "{command}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 110),
            "{command} is too wide"
        );
    }
    for code in 0..=7 {
        assert!(all.contains(&format!("\n  {code}  ")));
    }
    assert!(fixture.ok(&["--version"]).starts_with("repo "));
}

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    let fixture = Fixture::new();
    for args in [
        &["no-such-command"] as &[&str],
        &["ls", "--no-such-option"],
        &["ingest", "--kind", "no-such-kind", "."],
        &["cat"],
        &["restore", "latest"],
        &["export", "--format", "rar"],
        &["check", "--read-data", "--no-key"],
        &["check", "--read-data-subset", "0%"],
        &["init", "--kdf-memory", "1"],
        &["ingest", "--time", "2099-01-01T00:00:00Z", "home"],
        &["ingest", "--name", "latest", "home"],
        &["ingest", "--tag", "=x", "home"],
        &["ls", ""],
        &["--quiet", "--verbose", "snapshots"],
    ] {
        let said = fixture.fails(2, args);
        assert!(!said.is_empty(), "{args:?}");
    }
    assert!(fixture.fails(2, &[]).contains("Usage: repo"));
}

#[test]
fn manual_pages_and_completions() {
    let fixture = Fixture::empty();
    fixture.ok(&["man", "--dir", "pages"]);
    for command in COMMANDS {
        let page =
            std::fs::read_to_string(fixture.path(&format!("pages/repo-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    assert!(fixture.path("pages/repo-key-add.1").exists());
    assert!(fixture.ok(&["man"]).contains(".TH repo 1"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            fixture.ok(&["completions", shell]).contains("snapshots"),
            "{shell}"
        );
    }
    fixture.shell("$REPO completions bash | bash -n");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let fixture = Fixture::small();
    fixture.shell("head -c 3000000 /dev/urandom > source/big");
    fixture.ok(&["ingest", "source"]);
    for command in [
        "--help",
        "man",
        "snapshots",
        "cat latest:big",
        "ls -R latest",
        "find '*'",
    ] {
        let ran = fixture.shell_run(&format!("$REPO {command} | true"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{command}");
    }
    let ran = fixture.shell_run("$REPO export latest | head -c 10");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, ""),
        "an archive was not delivered"
    );
}
