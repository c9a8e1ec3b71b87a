//! Restoring: when what was restored may be relied on, and what a restore that ended early leaves.

use std::process::Command;

use crate::fixture::{Fixture, REPO, Ran};

/// The system calls of a restore that make something durable or give it its name, in their order.
fn durability(fixture: &Fixture, args: &[&str]) -> Vec<String> {
    let log = fixture.path("calls");
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-qq",
            "-y",
            "-e",
            "trace=syncfs,fsync,fdatasync,renameat2",
        ])
        .arg("-o")
        .arg(&log)
        .arg(REPO)
        .args(args);
    fixture.prepare(&mut command);
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, 0, "{ran:?}");
    let calls = std::fs::read_to_string(log).unwrap();
    // The catalog has files of its own.
    let cache = fixture.path("cache").display().to_string();
    let calls = calls.lines().filter(|line| !line.contains(&cache));
    let names = calls.filter_map(|line| {
        let (_, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        Some(name.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    let begin = names.iter().position(|name| name == "syncfs");
    names.split_off(begin.expect("the file system is flushed"))
}

#[test]
fn what_was_restored_is_durable_before_it_has_its_name() {
    let fixture = Fixture::small();
    let new = durability(&fixture, &["restore", "small", "--target", "new"]);
    assert_eq!(new, ["syncfs", "renameat2", "fsync"]);
    let exported = durability(&fixture, &["export", "small", "-f", "dir", "-o", "dir"]);
    assert_eq!(exported, new);
    // Over existing files each has its name at once, and one flush is the end of it.
    let over = [
        "restore",
        "small",
        "--target",
        "new",
        "--overwrite",
        "always",
    ];
    assert_eq!(durability(&fixture, &over), ["syncfs"]);
}

#[test]
fn json_has_every_sum_that_is_told() {
    let fixture = Fixture::small();
    let sums = fixture.json(&["restore", "small", "--target", "new"]);
    for sum in ["files", "directories", "others", "kept", "left_out", "lost"] {
        assert!(sums[sum].is_u64(), "{sum}: {sums}");
    }
}
