//! What is read before anything is known to be true: `config` and key slots.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::judge::Victim;
use crate::mischief::put;
use crate::sample::{copy, program, sample};

/// Nothing opens, and it is said why.
fn opens_nothing(victim: &Victim<'_>) {
    for args in [
        &["snapshots"][..],
        &["check"],
        &["repair"],
        &["ingest", "one", "--name", "docs"],
        &["prune"],
    ] {
        let ran = victim.run(args);
        assert!(
            matches!(ran.code, 1 | 3),
            "{}: {args:?}: {ran:?}",
            victim.case
        );
    }
    assert!(victim.restored().is_empty());
}

#[test]
fn a_config_that_lies_opens_nothing() {
    let sample = sample();
    let whole = fs::read_to_string(sample.root.join("repository/config")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let values = [
        "0",
        "-1",
        "1",
        "1e400",
        "4294967296",
        "18446744073709551616",
        "null",
        "\"64\"",
        "[]",
        "true",
    ];
    let mut cases = Vec::new();
    for (path, old) in leaves(&config, "") {
        for value in values {
            if old != value {
                let mut changed = config.clone();
                let Ok(value) = serde_json::from_str(value) else {
                    continue;
                };
                *changed.pointer_mut(&path).unwrap() = value;
                cases.push((
                    format!("{path} = {value:?}", value = changed.pointer(&path)),
                    changed.to_string(),
                ));
            }
        }
    }
    cases.push(("nested".to_owned(), "[".repeat(60_000)));
    cases.push(("long".to_owned(), format!("{whole}{}", " ".repeat(1 << 20))));
    cases.push(("spaces".to_owned(), format!("{whole} ")));
    cases.push((
        "number".to_owned(),
        whole.replace("\"version\"", "\"version\":1e999,\"x\""),
    ));
    cases.push((
        "twice".to_owned(),
        whole.replacen('{', "{\"id\":\"00\",", 1),
    ));
    let victim = Victim::new(sample, "");
    for (at, (what, text)) in cases.into_iter().enumerate() {
        put(&victim.repository().join("config"), text.as_bytes());
        let ran = victim.run(&["snapshots"]);
        assert!(matches!(ran.code, 1 | 3), "{what}: {ran:?}");
        if at % 40 == 0 {
            opens_nothing(&victim);
        }
    }
}

/// Paths and texts of all values that hold no others.
fn leaves(value: &serde_json::Value, path: &str) -> Vec<(String, String)> {
    match value {
        serde_json::Value::Object(members) => {
            let below = |(name, value)| leaves(value, &format!("{path}/{name}"));
            members.iter().flat_map(below).collect()
        }
        other => vec![(path.to_owned(), other.to_string())],
    }
}

/// Config and key slots of another repository with the same key, and the objects of this one.
#[test]
fn another_repositorys_keys_open_nothing_of_this_one() {
    let sample = sample();
    for what in ["config", "keys"] {
        let victim = Victim::new(sample, &format!("the {what} of another repository"));
        let to = victim.repository().join(what);
        drop(fs::remove_file(&to));
        drop(fs::remove_dir_all(&to));
        copy(&sample.root.join("other").join(what), &victim.repository());
        opens_nothing(&victim);
    }
    let victim = Victim::new(sample, "config and keys of another repository");
    for what in ["config", "keys"] {
        let to = victim.repository().join(what);
        drop(fs::remove_file(&to));
        drop(fs::remove_dir_all(&to));
        copy(&sample.root.join("other").join(what), &victim.repository());
    }
    // It is the other repository now, with objects in it that nobody can read.
    assert!(victim.restored().is_empty());
    assert_eq!(victim.run(&["check", "--read-data"]).code, 3);
    victim.run(&["repair"]);
    victim.run(&["prune"]);
}

/// A repository with a passphrase, as cheap to stretch as it may be.
fn stretched(root: &Path) {
    let mut init = program(root, "repository", "cache");
    let init = init
        .env_remove("REPO_KEY_FILE")
        .env("REPO_PASSPHRASE", "open");
    assert!(init.arg("init").status().unwrap().success());
}

/// The numbers are used before anything can be proven, and are the attacker's.
#[test]
fn inflated_stretching_is_refused_before_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    stretched(folder.path());
    let slot = fs::read_dir(folder.path().join("repository/keys"))
        .unwrap()
        .next()
        .unwrap();
    let slot = slot.unwrap().path();
    let whole = fs::read(&slot).unwrap();
    let cases: [(usize, u32); 13] = [
        // KiB of memory: none, too little, 2 GiB and one more, 2 TiB, all.
        (12, 0),
        (12, 7),
        (12, (2 << 20) + 1),
        (12, 1 << 31),
        (12, u32::MAX),
        // Passes.
        (16, 0),
        (16, 65),
        (16, 1 << 31),
        (16, u32::MAX),
        // Lanes.
        (20, 0),
        (20, 65),
        (20, 1 << 24),
        (20, u32::MAX),
    ];
    for (offset, value) in cases {
        let mut bytes = whole.clone();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        let end = bytes.len() - 32;
        let sum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(sum.as_bytes());
        put(&slot, &bytes);
        // With a gigabyte of address space and ten seconds of a processor nobody can have tried.
        let mut command = Command::new("bash");
        command
            .args([
                "-c",
                "ulimit -v 1048576; ulimit -t 10; exec timeout -s KILL 180 \"$0\" snapshots",
                crate::sample::REPO,
            ])
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("REPO_URL", folder.path().join("repository"))
            .env("REPO_CACHE_DIR", folder.path().join("cache"))
            .env("REPO_PASSPHRASE", "open");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{offset} {value}: {said}");
        assert!(said.contains("key slot"), "{offset} {value}: {said}");
    }
    // Within bounds, but not what the slot was made with.
    for (offset, value) in [(16, 1_u32), (20, 1), (12, 65_536 / 2)] {
        let mut bytes = whole.clone();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        let end = bytes.len() - 32;
        let sum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(sum.as_bytes());
        put(&slot, &bytes);
        let mut command = program(folder.path(), "repository", "cache");
        let command = command
            .env_remove("REPO_KEY_FILE")
            .env("REPO_PASSPHRASE", "open");
        let output = command.arg("snapshots").output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(1 | 3)), "{offset} {value}: {output:?}");
    }
}
