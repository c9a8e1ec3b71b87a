//! Mounts in the background: they are there when the command ends, hold no secret that others see, and end when told.

use crate::fixture::{Fixture, REPO, Ran};
use std::process::Command;

#[test]
fn it_is_there_when_the_command_ends() {
    let fixture = Fixture::small();
    fixture.shell("mkdir mnt");
    let shown = fixture.ok(&["mount", "mnt"]);
    assert!(
        shown.contains("mounted all snapshots on mnt") && shown.contains("umount mnt"),
        "{shown}"
    );
    assert_eq!(
        fixture.shell("cat mnt/by-name/small/latest/file"),
        "hello\n"
    );
    fixture.ok(&["ingest", "source", "--name", "later"]);
    fixture.ok(&["umount", "mnt"]);
    assert_eq!(fixture.shell("ls mnt"), "");
    let one = fixture.json(&["mount", "small", "mnt"]);
    assert_eq!(one["snapshot"], fixture.json(&["show", "small"])["id"]);
    assert_eq!(fixture.shell("ls mnt"), "file\nlink\nsub\n");
    let ran = fixture.shell_run("exec 9< mnt/file; $REPO umount mnt");
    assert_eq!(ran.code, 5, "busy: {ran:?}");
    fixture.ok(&["umount", "mnt"]);
    assert!(
        fixture
            .fails(1, &["umount", "mnt"])
            .contains("nothing of ours")
    );
}

#[test]
fn what_goes_wrong_is_told_with_its_code() {
    let fixture = Fixture::small();
    assert!(fixture.fails(1, &["mount", "nowhere"]).contains("mkdir"));
    fixture.shell("mkdir mnt; touch file");
    fixture.fails(1, &["mount", "no-such-snapshot", "mnt"]);
    fixture.fails(1, &["mount", "file"]);
    fixture.fails(2, &["mount", "small:sub", "mnt"]);
    fixture.fails(2, &["mount", "--owner", "no-such-user-here", "mnt"]);
    let mut wrong = fixture.command(&["mount", "mnt"]);
    wrong
        .env_remove("REPO_KEY_FILE")
        .env("REPO_PASSPHRASE", "wrong");
    assert_eq!(Ran::of(&mut wrong).code, 1);
    assert_eq!(fixture.shell("ls mnt"), "");
}

/// Nobody else sees the secret: it is no argument, and not in the environment of the process that stays.
#[test]
fn the_process_that_stays_shows_no_secret() {
    let fixture = Fixture::small();
    let secret = "never to be seen anywhere";
    let with = |args: &[&str]| {
        let mut command = fixture.command(args);
        command
            .env_remove("REPO_KEY_FILE")
            .env("REPO_PASSPHRASE", secret);
        Ran::of(&mut command)
    };
    let mut add = fixture.command(&["key", "add"]);
    assert_eq!(Ran::of(add.env("REPO_NEW_PASSPHRASE", secret)).code, 0);
    fixture.shell("mkdir mnt");
    let ran = with(&["mount", "mnt", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let pid = answer["pid"].as_u64().unwrap();
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(
            !text.contains(secret) && text.contains('/'),
            "{file}: {text}"
        );
    }
    let target = |link: &str| std::fs::read_link(format!("/proc/{pid}/{link}")).unwrap();
    assert_eq!(target("cwd").to_str(), Some("/"));
    for fd in 0..2 {
        assert_eq!(target(&format!("fd/{fd}")).to_str(), Some("/dev/null"));
    }
    assert_eq!(target("fd/2").to_str(), answer["log"].as_str());
    let log = std::fs::read_to_string(answer["log"].as_str().unwrap()).unwrap();
    assert!(
        log.contains("mounted all") && !log.contains(secret),
        "{log}"
    );
    let session = fixture.shell(&format!("ps -o sid= -p {pid}"));
    assert_eq!(
        session.trim(),
        pid.to_string(),
        "it has left the terminal's session"
    );
    fixture.shell(&format!(
        "kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done"
    ));
    assert_eq!(fixture.shell("ls mnt"), "", "unmounted on SIGTERM");
}

/// What a mount in the background warned of once it was there went to /dev/null.
#[test]
fn later_warnings_of_a_mount_are_found_in_its_log() {
    let fixture = Fixture::small();
    fixture.shell("mkdir mnt");
    let shown = fixture.ok(&["mount", "mnt"]);
    let log = shown
        .lines()
        .find_map(|line| line.strip_prefix("warnings go to "));
    let log = std::path::PathBuf::from(log.unwrap());
    // The packs of content go while it is mounted.
    fixture.shell("rm -r repository/data; ! cat mnt/latest/sub/numbers");
    fixture.ok(&["umount", "mnt"]);
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("repo: mounted all snapshots on "),
        "{text}"
    );
    assert!(lines[1].contains("repo: warning: mount: inode "), "{text}");
    assert!(lines[1].starts_with("20"), "it tells the time: {text}");
    let mode = fixture.shell(&format!("stat -c %a {}", log.display()));
    assert_eq!(mode, "600\n");
}

/// A mount works without a place for its log, and says that there is none.
#[test]
fn a_mount_without_a_log_says_so() {
    let fixture = Fixture::small();
    fixture.shell("mkdir mnt; touch cache/mounts");
    let ran = fixture.run(&["mount", "mnt", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("warnings will be lost"), "{ran:?}");
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(answer.get("log").is_none());
    fixture.ok(&["umount", "mnt"]);
}

#[test]
fn in_the_foreground_it_ends_with_a_signal() {
    let fixture = Fixture::small();
    fixture.shell("mkdir mnt");
    let mut command = Command::new(REPO);
    command.args(["mount", "--foreground", "small", "mnt"]);
    fixture.prepare(&mut command);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !fixture.path("mnt/file").exists() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    fixture.shell(&format!("kill -INT {}", child.id()));
    assert!(child.wait().unwrap().success());
    assert_eq!(fixture.shell("ls mnt"), "");
}

/// While a snapshot cannot be read it may be the newest: a link `latest` led to an older one.
#[test]
fn nothing_is_called_the_latest_while_a_snapshot_cannot_be_read() {
    let fixture = Fixture::small();
    fixture.shell(
        "ls repository/snapshots > old; echo new > source/file; $REPO ingest source --name small
         new=$(ls repository/snapshots | grep -vFf old); mkdir mnt
         chmod 600 repository/snapshots/$new; cp repository/snapshots/$new good
         truncate -s -1 repository/snapshots/$new; rm -r cache",
    );
    let links = "ls mnt mnt/by-name/small | grep -c latest || true";
    let mounted = fixture.run(&["mount", "mnt"]);
    assert!(mounted.code == 7 || mounted.code == 0, "{mounted:?}");
    assert_eq!(fixture.shell(links), "0\n");
    assert_eq!(fixture.shell("cat mnt/by-name/small/*/file"), "hello\n");
    assert_eq!(fixture.shell("cat mnt/by-id/*/file"), "hello\n");
    // It can be read again: the mount that is there finds out.
    fixture.shell(
        "cp good repository/snapshots/$(ls repository/snapshots | grep -vFf old)
         for i in $(seq 100); do test -L mnt/latest && break; sleep 0.1; done
         cmp source/file mnt/latest/file; cmp source/file mnt/by-name/small/latest/file",
    );
    fixture.ok(&["umount", "mnt"]);
}
