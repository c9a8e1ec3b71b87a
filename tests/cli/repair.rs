//! `repo repair` as a user meets it: damage, what is said, what is left, and that an ingest brings it back.

use std::fs;
use std::path::PathBuf;

use crate::damaged::{flip_at, objects};
use crate::fixture::{Fixture, Ran};

/// A directory of four files of 1.5 MB without pattern, ingested twice; unchanged files are known the second time.
fn sample() -> Fixture {
    let fixture = Fixture::new();
    fixture.shell(
        "mkdir -p source/sub; for n in 1 2 3 4; do openssl enc -aes-128-ctr -pass pass:$n -nosalt -in /dev/zero 2>/dev/null \
         | head -c 1500000 >source/file$n || true; done; echo small >source/sub/small; touch -d 2020-01-01 source/*; sleep 1.1",
    );
    fixture.ok(&["ingest", "source", "--name", "first"]);
    fixture.shell(
        "ls repository/index >first-index; cp -a source original; echo more >source/new; sleep 1.1",
    );
    fixture.ok(&["ingest", "source", "--name", "second"]);
    fixture
}

fn largest(fixture: &Fixture, area: &str) -> PathBuf {
    let all = objects(fixture, area);
    all.into_iter()
        .max_by_key(|p| fs::metadata(p).unwrap().len())
        .unwrap()
}

fn lost(ran: &Ran, word: &str) -> Vec<String> {
    let lines = ran.out.lines().filter_map(|line| {
        let (_, rest) = line.strip_prefix(word)?.trim().split_once(" '")?;
        let mut words = rest.split(": ");
        Some(format!(
            "{} {}",
            words.next()?.trim_end_matches('\''),
            words.next()?
        ))
    });
    let mut all: Vec<String> = lines.collect();
    all.sort();
    all
}

#[test]
fn an_ingest_of_the_same_data_heals_what_a_repair_found_lost() {
    let fixture = sample();
    flip_at(&largest(&fixture, "data"), 2_000_000);
    let checked = fixture.run(&["check", "--read-data"]);
    let hurt = lost(&checked, "hurt:");
    assert!(
        checked.code == 3 && !hurt.is_empty() && hurt.len() < 8,
        "{checked:?}"
    );
    // A dry run says the same and changes nothing.
    let tried = fixture.run(&["repair", "--dry-run"]);
    assert_eq!(
        (tried.code, lost(&tried, "lost:")),
        (3, hurt.clone()),
        "{tried:?}"
    );
    assert!(objects(&fixture, "quarantine").is_empty());
    let ran = fixture.run(&["repair"]);
    assert_eq!(
        (ran.code, lost(&ran, "lost:")),
        (3, hurt.clone()),
        "{ran:?}"
    );
    let moved = objects(&fixture, "quarantine");
    let name = moved[0].file_name().unwrap().to_str().unwrap();
    assert!(
        moved.len() == 1 && ran.out.contains(&format!("quarantine/{name}")),
        "{ran:?}"
    );
    // What is whole comes out, and what is not is named.
    let restored = fixture.run(&["restore", "first", "--target", "back"]);
    assert_eq!(restored.code, 3);
    for n in 1..=4 {
        let is_lost = hurt.contains(&format!("first file file{n}"));
        let name = format!("file{n}");
        assert_eq!(
            restored.err.contains(&format!("'{name}'")),
            is_lost,
            "{restored:?}"
        );
        let (a, b) = (
            fixture.path("back").join(&name),
            fixture.path("original").join(&name),
        );
        assert_eq!(fs::read(a).ok(), (!is_lost).then(|| fs::read(b).unwrap()));
    }
    let said = fixture.fails(3, &["export", "first", "--format", "tar", "-o", "a.tar"]);
    assert!(
        said.contains("--exclude") && said.contains("--format dir"),
        "{said}"
    );
    let ran = fixture.run(&["export", "first", "--format", "dir", "-o", "a"]);
    let is_lost = hurt.iter().any(|path| path == "first file sub/small");
    assert!(
        ran.code == 3 && fixture.path("a/sub/small").exists() != is_lost,
        "{ran:?}"
    );
    let mut args = vec!["export", "first", "--format", "tar", "-o", "a.tar"];
    for path in &hurt {
        args.extend([
            "--exclude",
            path.strip_prefix("first file ").unwrap_or("new"),
        ]);
    }
    fixture.ok(&args);
    // Twice is once.
    let again = fixture.run(&["repair"]);
    assert_eq!((again.code, lost(&again, "lost:")), (3, hurt), "{again:?}");
    assert!(!again.out.contains("moved:"), "{again:?}");
    fixture.ok(&["ingest", "source", "--name", "third"]);
    let healed = fixture.ok(&["check", "--read-data"]);
    assert!(healed.contains("is whole"), "{healed}");
    fixture.ok(&["restore", "first", "--target", "healed"]);
    fixture.shell("diff -r original healed");
    let done = fixture.ok(&["repair"]);
    assert!(done.contains("nothing is wrong"), "{done}");
}

#[test]
fn a_repair_without_loss_ends_with_0() {
    let fixture = sample();
    // The index object of the torn pack tells where its blocks are; the other one is damaged.
    let first = fs::read_to_string(fixture.path("first-index")).unwrap();
    let indexes = objects(&fixture, "index");
    let other = indexes.iter().find(|path| !path.ends_with(first.trim()));
    flip_at(other.unwrap(), 170);
    let pack = largest(&fixture, "data");
    flip_at(&pack, fs::metadata(&pack).unwrap().len() - 1);
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    let ran = fixture.run(&["repair", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["mended"], true, "{report}");
    assert_eq!(report["lost_paths"], 0);
    assert_eq!(report["damaged_packs"].as_array().unwrap().len(), 1);
    assert_eq!(report["index_objects"].as_array().unwrap().len(), 1);
    assert_eq!(report["quarantined"].as_array().unwrap().len(), 2);
    fixture.ok(&["restore", "first", "--target", "back"]);
    fixture.shell("diff -r original back");
    let checked = fixture.ok(&["check", "--read-data"]);
    assert!(checked.contains("is whole"), "{checked}");
}

#[test]
fn an_unreadable_snapshot_is_moved_away_when_told() {
    let fixture = sample();
    let snapshots = objects(&fixture, "snapshots");
    let id = |at: usize| {
        snapshots[at]
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let name = |id: &str| {
        let shown = fixture.json(&["show", id]);
        shown["name"].as_str().unwrap().to_owned()
    };
    let other = name(&id(1));
    flip_at(&snapshots[0], 170);
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    fixture.fails(3, &["ls", &other]);
    let ran = fixture.run(&["repair"]);
    assert!(
        ran.code == 3 && ran.out.contains("--quarantine-snapshots"),
        "{ran:?}"
    );
    fixture.fails(3, &["ls", &other]);
    let ran = fixture.run(&["repair", "--quarantine-snapshots"]);
    let place = format!("quarantine/snapshots-{}", id(0));
    assert!(ran.code == 3 && ran.out.contains(&place), "{ran:?}");
    fixture.ok(&["ls", &other]);
    fixture.ok(&["repair"]);
    fixture.ok(&["prune"]);
    assert!(
        fixture.path("repository").join(place).exists(),
        "a prune leaves it there"
    );
}
