//! Damaged repositories as a user meets them: exit code 3, and nothing wrong handed out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::fixture::Fixture;

/// The objects in an area of the repository.
pub(crate) fn objects(fixture: &Fixture, area: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, all);
            } else {
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    walk(&fixture.path("repository").join(area), &mut all);
    all.sort();
    all
}

/// Changes the last byte of an object.
fn flip(object: &Path) {
    flip_at(object, fs::metadata(object).unwrap().len() - 1);
}

/// Changes a byte of an object.
pub(crate) fn flip_at(object: &Path, offset: u64) {
    let mut bytes = fs::read(object).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 1;
    fs::set_permissions(object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(object, bytes).unwrap();
}

#[test]
fn no_name_means_an_older_snapshot_while_a_newer_one_is_unreadable() {
    let fixture = Fixture::small();
    let old = objects(&fixture, "snapshots").remove(0);
    fixture.shell("echo new > source/file");
    fixture.ok(&["ingest", "source", "--name", "small"]);
    let mut both = objects(&fixture, "snapshots");
    both.retain(|object| *object != old);
    let id = |object: &Path| object.file_name().unwrap().to_str().unwrap().to_owned();
    let (old, new) = (id(&old), id(&both[0]));
    flip(&both[0]);
    // Without a catalog nothing knows what it said.
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    for bad in [
        "small",
        "latest",
        "small~1",
        "latest~1",
        "other",
        &new,
        &new[..8],
    ] {
        let said = fixture.fails(3, &["ls", bad]);
        assert!(said.contains(&new), "{bad}: {said}");
        fixture.fails(3, &["cat", &format!("{bad}:file")]);
    }
    fixture.fails(3, &["export", "small", "-o", "a.tar"]);
    fixture.fails(3, &["restore", "small", "--target", "a"]);
    assert!(!fixture.path("a.tar").exists() && !fixture.path("a").exists());
    for good in [&old, &old[..8]] {
        let ran = fixture.run(&["cat", &format!("{good}:file")]);
        assert_eq!((ran.code, ran.out.as_str()), (7, "hello\n"), "{ran:?}");
    }
}

/// It kept every name from meaning anything, prune refused to work because of it, and 'repo forget' did not take its id.
#[test]
fn a_snapshot_that_cannot_be_read_can_be_given_up() {
    let fixture = Fixture::small();
    let old = objects(&fixture, "snapshots").remove(0);
    fixture.shell("echo new > source/file");
    fixture.ok(&["ingest", "source", "--name", "small"]);
    let mut new = objects(&fixture, "snapshots");
    new.retain(|object| *object != old);
    flip(&new[0]);
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    let id = new[0].file_name().unwrap().to_str().unwrap().to_owned();
    let said = fixture.fails(3, &["prune"]);
    assert!(said.contains("repo forget"), "{said}");
    let tried = fixture.run(&["forget", "--dry-run", &id]);
    assert!(tried.out.contains("would forget 1 snapshot"), "{tried:?}");
    let done = fixture.run(&["forget", &id[..12], "--prune"]);
    assert!(done.out.contains("forgot 1 snapshot"), "{done:?}");
    assert!(!new[0].exists() && old.exists());
    let seen = fixture.run(&["cat", "small:file"]);
    assert_eq!((seen.code, seen.out.as_str()), (0, "hello\n"), "{seen:?}");
}

#[test]
fn a_lost_pack_is_an_integrity_error_whoever_needs_it() {
    let fixture = Fixture::small();
    let away = |area: &str, name: &str| {
        let from = fixture.path("repository").join(area);
        fs::rename(&from, fixture.path(name)).unwrap();
        fs::create_dir(&from).unwrap();
    };
    away("data", "data");
    for args in [
        &["cat", "small:file"][..],
        &["export", "small", "-o", "a.tar"],
        &["export", "small", "-o", "a.zip"],
        &["restore", "small", "--target", "a", "-q"],
    ] {
        let said = fixture.fails(3, args);
        assert!(said.contains("repo check"), "{args:?}: {said}");
    }
    away("meta", "meta");
    for args in [
        &["ls", "small"][..],
        &["cat", "small:file"],
        &["export", "small", "-o", "a.tar"],
    ] {
        fixture.fails(3, args);
    }
    // A repository that is away is not damaged.
    fs::rename(fixture.path("repository"), fixture.path("elsewhere")).unwrap();
    fixture.fails(1, &["ls", "small"]);
}

#[test]
fn check_does_not_call_a_repository_whole_whose_index_object_is_damaged_or_lost() {
    let fixture = Fixture::small();
    let index = objects(&fixture, "index").remove(0);
    flip(&index);
    for cold in [false, true, true] {
        if cold {
            fs::remove_dir_all(fixture.path("cache")).unwrap();
        }
        let ran = fixture.run(&["check"]);
        assert_eq!(ran.code, 7, "{ran:?}");
        let lost = !index.exists();
        let what = if lost {
            "the index object of 2 packs is lost"
        } else {
            "1 index object is damaged"
        };
        let said = format!("nothing is lost, but {what}");
        assert!(
            ran.out.contains(&said) && !ran.out.contains("is whole"),
            "{ran:?}"
        );
        assert!(
            !ran.out.contains("an interrupted ingest left it"),
            "{ran:?}"
        );
        if cold && !lost {
            fs::remove_file(&index).unwrap();
        }
    }
    // Lost while the catalog still has what it said.
    let ran = fixture.run(&["check", "--json"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (
            &report["sound"],
            &report["damaged_indexes"],
            &report["unlisted_packs"]
        ),
        (&true.into(), &0.into(), &2.into())
    );
}

#[test]
fn find_does_not_say_that_there_is_nothing_where_it_could_not_look() {
    let fixture = Fixture::small();
    fixture.fails(6, &["find", "nothing"]);
    flip(&objects(&fixture, "snapshots")[0]);
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    fixture.fails(3, &["find", "file"]);
    let fixture = Fixture::small();
    let meta = fixture.path("repository/meta");
    fs::rename(&meta, fixture.path("away")).unwrap();
    fs::create_dir(&meta).unwrap();
    let said = fixture.fails(3, &["find", "file"]);
    assert!(!said.contains("nothing is called"), "{said}");
}

#[test]
fn the_root_is_called_so_and_not_by_its_empty_path() {
    let fixture = Fixture::small();
    fs::remove_file(&objects(&fixture, "meta")[0]).unwrap();
    let found = fixture.fails(3, &["find", "file"]);
    assert!(found.contains(": the root directory: "), "{found}");
    let restored = fixture.run(&["restore", "small", "--target", "a"]).err;
    assert!(
        restored.contains("the root directory is damaged"),
        "{restored}"
    );
    let checked = fixture.run(&["check", "--read-data"]).out;
    assert!(checked.contains("directory (the root): "), "{checked}");
}

#[test]
fn a_damaged_config_is_not_a_matter_for_check() {
    let fixture = Fixture::small();
    fs::set_permissions(
        fixture.path("repository/config"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    fs::write(fixture.path("repository/config"), "{").unwrap();
    let said = fixture.fails(3, &["ls", "small"]);
    assert!(
        !said.contains("repo check") && said.contains("from a copy"),
        "{said}"
    );
}

/// The beginning of an id may be the name of the snapshot that cannot be read, and a name goes before it.
#[test]
fn few_digits_name_no_snapshot_while_another_is_unreadable() {
    let fixture = Fixture::small();
    let old = objects(&fixture, "snapshots").remove(0);
    let id = |object: &Path| object.file_name().unwrap().to_str().unwrap().to_owned();
    let digits = id(&old)[..4].to_owned();
    // The very name that the first digits of the other's id are.
    fixture.shell("echo new > source/file");
    fixture.ok(&["ingest", "source", "--name", &digits]);
    assert_eq!(fixture.ok(&["cat", &format!("{digits}:file")]), "new\n");
    let mut new = objects(&fixture, "snapshots");
    new.retain(|object| *object != old);
    flip(&new[0]);
    fs::remove_dir_all(fixture.path("cache")).unwrap();
    for bad in [&digits, &format!("{digits}:file"), &format!("{digits}:a:b")] {
        for command in [
            &["ls"][..],
            &["cat"],
            &["export", "-o", "a.tar"],
            &["forget"],
        ] {
            let said = fixture.fails(3, &[command, &[bad.as_str()]].concat());
            assert!(said.contains(&id(&new[0])), "{command:?} {bad}: {said}");
        }
    }
    let sure = fixture.run(&["cat", &format!("{}:file", &id(&old)[..8])]);
    assert_eq!(sure.out, "hello\n", "{sure:?}");
    // A name of a snapshot that can be read is not the id of the other.
    let digits = id(&new[0])[..8].to_owned();
    fixture.run(&["ingest", "source", "--name", &digits]);
    fixture.fails(3, &["forget", &digits]);
    assert!(new[0].exists());
    assert_eq!(objects(&fixture, "snapshots").len(), 3);
}
