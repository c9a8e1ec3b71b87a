//! `repo copy`: between repositories with other keys, killed at any moment, run again, and told.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::fixture::{Fixture, Ran};

/// A repository with snapshots, and an empty one at `other` with the key file `other-key`.
fn two() -> Fixture {
    let fixture = Fixture::small();
    let mut init = fixture.command(&["--repo", "other", "init", "--key-file-out", "other-key"]);
    assert_eq!(Ran::of(init.env_remove("REPO_KEY_FILE")).code, 0);
    fixture
}

const COPY: [&str; 5] = ["copy", "--to", "other", "--to-key-file", "other-key"];

fn at_other<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["--repo", "other", "--key-file", "other-key"], args].concat()
}

fn files(fixture: &Fixture, folder: &str) -> usize {
    let list = format!("find {folder} -type f | wc -l");
    fixture.shell(&list).trim().parse().unwrap()
}

/// Packs of content that are complete.
fn packs(fixture: &Fixture) -> Vec<String> {
    let list = fixture.shell("find other/data -type f -printf '%f\\n'");
    let whole = |name: &&str| name.len() == 64;
    list.lines().filter(whole).map(ToOwned::to_owned).collect()
}

#[test]
fn snapshots_arrive_are_told_and_are_left_out_the_next_time() {
    let fixture = two();
    fixture.shell("tar cf a.tar source; $REPO ingest a.tar --name tar --tag k=v; gzip -n a.tar; $REPO ingest a.tar.gz --name gz --exact");
    let planned = fixture.json(&[&COPY[..], &["--dry-run"]].concat());
    assert_eq!(planned["dry_run"], true);
    assert_eq!(planned["snapshots"].as_array().unwrap().len(), 3);
    assert_eq!(planned["snapshots"][0]["state"], "planned");
    assert_eq!(files(&fixture, "other/snapshots"), 0);

    let said = fixture.ok(&COPY);
    assert!(said.contains("'small' copied as "), "{said}");
    assert!(
        said.contains("copied 3 snapshots, 0 there already"),
        "{said}"
    );
    let shown = fixture.json(&at_other(&["show", "tar"]));
    assert_eq!(shown["tags"]["k"], "v");
    let first = fixture.json(&["show", "tar"]);
    assert_eq!(shown["origin"]["snapshot"], first["id"]);
    assert_eq!(shown["time"], first["time"]);
    assert!(fixture.ok(&at_other(&["show", "tar"])).contains("copy of"));

    let objects = files(&fixture, "other");
    let again = fixture.json(&COPY);
    assert_eq!((&again["copied"], &again["there"]), (&0.into(), &3.into()));
    assert_eq!(again["snapshots"][1]["copy"], shown["id"]);
    assert_eq!(again["stored_bytes"], 0);
    assert_eq!(files(&fixture, "other"), objects);

    fixture.shell(
        "export REPO_URL=other REPO_KEY_FILE=other-key
         $REPO export tar --format tar -o - | gzip -n | cmp - a.tar.gz
         $REPO export gz --format original -o - | cmp - a.tar.gz
         $REPO restore small --target back; diff -r --no-dereference source back
         $REPO forget tar gz; $REPO prune --max-unused 0; $REPO check --read-data",
    );
    // What was forgotten there comes again; a REF names what is wanted.
    let one = fixture.json(&[&COPY[..], &["gz"]].concat());
    assert_eq!(
        (&one["copied"], &one["snapshots"][0]["name"]),
        (&1.into(), &"gz".into())
    );
}

#[test]
fn the_secret_of_the_other_repository_is_its_own() {
    let fixture = two();
    let err = fixture.fails(2, &["copy", "--to", "other"]);
    assert!(err.contains("REPO_TO_PASSPHRASE"), "{err}");
    let mut wrong = fixture.command(&["copy", "--to", "other"]);
    let ran = Ran::of(wrong.env("REPO_TO_PASSPHRASE", "no"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("--to-key-file"), "{ran:?}");
    let mut both = fixture.command(&["copy", "--to", "other"]);
    both.env("REPO_TO_PASSPHRASE", "no")
        .env("REPO_TO_KEY_FILE", "other-key");
    assert_eq!(Ran::of(&mut both).code, 2);
    let mut add = fixture.command(&at_other(&["key", "add"]));
    assert_eq!(Ran::of(add.env("REPO_NEW_PASSPHRASE", "there")).code, 0);
    for (variable, value) in [
        ("REPO_TO_PASSPHRASE", "there"),
        ("REPO_TO_PASSPHRASE_COMMAND", "echo there"),
        ("REPO_TO_KEY_FILE", "other-key"),
    ] {
        let mut copy = fixture.command(&["copy", "--to", "other"]);
        let ran = Ran::of(copy.env(variable, value));
        assert_eq!(ran.code, 0, "{variable}: {ran:?}");
    }
}

#[test]
fn what_cannot_be_copied_to_is_said() {
    let fixture = two();
    let err = fixture.fails(1, &["copy", "--to", "nowhere", "--to-key-file", "key"]);
    assert!(err.contains("repo --repo nowhere init"), "{err}");
    let err = fixture.fails(4, &["copy", "--to", "repository", "--to-key-file", "key"]);
    assert!(err.contains("same repository"), "{err}");
    fixture.shell("cp -r repository clone");
    fixture.fails(4, &["copy", "--to", "clone", "--to-key-file", "key"]);
    let mut empty = fixture.command(&["copy", "--to", "repository", "--to-key-file", "key"]);
    empty
        .env("REPO_URL", "other")
        .env("REPO_KEY_FILE", "other-key");
    assert_eq!(Ran::of(&mut empty).code, 6);
    let err = fixture.fails(2, &[&COPY[..], &["small:file"]].concat());
    assert!(err.contains("whole snapshots"), "{err}");
}

#[test]
fn a_snapshot_that_is_not_whole_is_named_and_the_others_are_copied() {
    let fixture = two();
    fixture.shell("mkdir new; head -c 400000 /dev/urandom > new/lost; echo x > new/other");
    fixture.shell("ls repository/data/*/* > before; $REPO ingest new --name hurt; ls repository/data/*/* > after");
    fixture.shell("rm $(comm -13 before after | head -1)");
    let ran = fixture.run(&COPY);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("'hurt': lost: "), "{ran:?}");
    assert!(ran.out.contains("copied 1 snapshot"), "{ran:?}");
    let names = fixture.json(&at_other(&["snapshots"]));
    assert_eq!(names.as_array().unwrap().len(), 1);
    fixture.ok(&at_other(&["check", "--read-data"]));
}

#[test]
fn a_copy_that_is_killed_goes_on_where_it_was() {
    let fixture = two();
    fixture.shell("mkdir big; for n in $(seq 8); do head -c 5000000 /dev/urandom > big/$n; done");
    fixture.ok(&["ingest", "big", "--name", "big"]);
    // It is killed as soon as it has stored a pack of each snapshot.
    for wanted in [1, 2] {
        let mut command = fixture.command(&COPY);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        while packs(&fixture).len() < wanted {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        fixture.ok(&at_other(&["check"]));
    }
    let kept = packs(&fixture);
    let copied = fixture.json(&COPY);
    assert_eq!(
        copied["copied"].as_u64().unwrap() + copied["there"].as_u64().unwrap(),
        2
    );
    let new = copied["new_bytes"].as_u64().unwrap();
    assert!(
        new < 40_000_000 - 30_000_000,
        "{new} bytes were stored again"
    );
    let now = packs(&fixture);
    assert!(kept.iter().all(|pack| now.contains(pack)));
    fixture.shell(
        "export REPO_URL=other REPO_KEY_FILE=other-key
         $REPO restore big --target back; diff -r big back; $REPO prune --max-unused 0; $REPO check --read-data",
    );
    for area in ["sessions", "gc"] {
        let left = fs::read_dir(fixture.path("other").join(area));
        assert_eq!(left.map_or(0, Iterator::count), 0, "{area}");
    }
}
