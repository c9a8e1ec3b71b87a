//! What only a local directory can get wrong.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use super::super::{Backend, conformance};
use super::*;
use crate::id::ObjectId;
use std::fs::File;

/// Names the place of the helper processes below; without it they have nothing to do.
const PLACE: &str = "REPO_TEST_PLACE";

fn store() -> (tempfile::TempDir, Local) {
    let place = tempfile::tempdir().unwrap();
    let store = Local::new(place.path().join("repository"));
    store.prepare().unwrap();
    (place, store)
}

fn data(bytes: &[u8]) -> Key {
    Key::object(Area::Data, &ObjectId::of(bytes))
}

fn count(store: &Local, area: Area) -> usize {
    let mut count = 0;
    store
        .list(area, &mut |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
    count
}

fn class<T>(result: Result<T>) -> Class {
    result.map(|_| ()).unwrap_err().class()
}

/// This test binary again, running one ignored test on `place`.
fn helper(test: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--ignored",
        "--exact",
        &format!("backend::local::tests::{test}"),
    ]);
    command
        .env(PLACE, place)
        .stdout(std::process::Stdio::null());
    command
}

#[test]
fn conforms() {
    let place = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conformance::run(&|| -> Arc<dyn Backend> {
        number.set(number.get() + 1);
        Arc::new(Local::new(place.path().join(number.get().to_string())))
    });
}

#[test]
fn everything_is_for_the_owner_only() {
    let (_place, store) = store();
    store.write_new(&data(b"x"), b"x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let object = store.path(&data(b"x"));
    assert_eq!(mode(&object), 0o600);
    for folder in object.ancestors().skip(1).take(3) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
}

#[test]
fn a_place_with_other_files_is_refused_and_a_fresh_file_system_is_not() {
    let place = tempfile::tempdir().unwrap();
    let store = Local::new(place.path());
    fs::create_dir(place.path().join("lost+found")).unwrap();
    fs::write(place.path().join("letter.txt"), "dear").unwrap();
    assert_eq!(class(store.prepare()), Class::Refused);
    assert!(!place.path().join("data").exists(), "nothing was made");
    fs::remove_file(place.path().join("letter.txt")).unwrap();
    store.prepare().unwrap();
    store.write_new(&Key::config(), b"{}").unwrap();
    fs::write(place.path().join("README"), "what this is").unwrap();
    store.prepare().expect("a repository may be given a note");
}

#[test]
fn folders_may_be_links_but_objects_may_not() {
    let (place, store) = store();
    let elsewhere = place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::remove_dir(store.root().join("data")).unwrap();
    symlink(&elsewhere, store.root().join("data")).unwrap();
    let key = data(b"x");
    store.write_new(&key, b"x").unwrap();
    assert_eq!(store.read_all(&key, 9).unwrap(), b"x");
    assert_eq!(count(&store, Area::Data), 1);
    assert!(
        fs::read_dir(&elsewhere).unwrap().count() == 1,
        "it is over there"
    );

    // A reader of these would block for ever, or read what is not the repository's.
    let fifo = store.path(&data(b"fifo"));
    fs::create_dir_all(fifo.parent().unwrap()).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let link = store.path(&data(b"link"));
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink("/dev/zero", &link).unwrap();
    let directory = store.path(&data(b"directory"));
    fs::create_dir_all(&directory).unwrap();
    for key in [data(b"fifo"), data(b"link"), data(b"directory")] {
        assert_eq!(class(store.read(&key, 0, 1)), Class::Corrupt, "{key}");
        assert_eq!(class(store.read_all(&key, 9)), Class::Corrupt, "{key}");
        assert_eq!(class(store.size(&key)), Class::Corrupt, "{key}");
        assert_eq!(class(store.write_new(&key, b"")), Class::Exists, "{key}");
    }
    assert_eq!(count(&store, Area::Data), 1, "only objects are listed");
}

#[test]
fn foreign_names_are_passed_over() {
    let (_place, store) = store();
    let key = data(b"x");
    store.write_new(&key, b"x").unwrap();
    let folder = store.path(&key).parent().unwrap().to_owned();
    let other = data(b"y");
    for name in [
        "notes.txt",
        "tmp-1234",
        &other.name()[..20],
        ".nfs0001",
        other.name(),
    ] {
        fs::write(folder.join(name), "?").unwrap();
        fs::write(store.root().join("data").join(name), "?").unwrap();
    }
    assert_ne!(
        key.fan_out(),
        other.fan_out(),
        "the last name is in the wrong folder"
    );
    assert_eq!(count(&store, Area::Data), 1);
    assert_eq!(count(&store, Area::Config), 0);
    fs::remove_dir_all(store.root().join("keys")).unwrap();
    assert_eq!(
        count(&store, Area::Keys),
        0,
        "copies may lose empty folders"
    );
}

#[test]
fn files_in_the_way_and_missing_places_are_named() {
    let (place, store) = store();
    fs::remove_dir(store.root().join("index")).unwrap();
    fs::write(store.root().join("index"), "").unwrap();
    let key = Key::object(Area::Index, &ObjectId::of(b"i"));
    for error in [
        store.write_new(&key, b"i").unwrap_err(),
        store.read(&key, 0, 1).unwrap_err(),
        store.list(Area::Index, &mut |_, _| Ok(())).unwrap_err(),
        Local::new(store.root().join("index"))
            .prepare()
            .unwrap_err(),
        Local::new(store.root().join("index/deeper"))
            .prepare()
            .unwrap_err(),
    ] {
        assert_eq!(error.class(), Class::Invalid, "{error}");
        assert!(error.to_string().contains("index") && error.to_string().contains("file"));
    }
    let nowhere = Local::new(place.path().join("nowhere"));
    for error in [
        nowhere.write_new(&Key::config(), b"").unwrap_err(),
        nowhere.write_new(&key, b"").unwrap_err(),
        nowhere.read(&key, 0, 1).unwrap_err(),
        nowhere.list(Area::Index, &mut |_, _| Ok(())).unwrap_err(),
    ] {
        assert_eq!(error.class(), Class::NotFound, "{error}");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
    assert!(!nowhere.root().exists(), "only prepare makes the place");
}

#[test]
fn open_files_are_bounded_and_survive_only_while_they_are_of_use() {
    let (_place, store) = store();
    for number in 0..100_u8 {
        store.write_new(&data(&[number]), &[number; 50]).unwrap();
    }
    for number in (0..100_u8).chain(90..100) {
        assert_eq!(store.read(&data(&[number]), 10, 1).unwrap(), [number]);
    }
    assert_eq!(store.handles.len(), OPEN_FILES);
    // Removed behind our back: still readable through the open file, until something lists.
    fs::remove_file(store.path(&data(&[99]))).unwrap();
    assert_eq!(store.read(&data(&[99]), 49, 1).unwrap(), [99]);
    assert_eq!(count(&store, Area::Snapshots), 0);
    assert_eq!(store.handles.len(), OPEN_FILES - 1);
    assert_eq!(class(store.read(&data(&[99]), 49, 1)), Class::NotFound);
    // Cut short behind our back.
    File::options()
        .write(true)
        .open(store.path(&data(&[98])))
        .unwrap()
        .set_len(20)
        .unwrap();
    assert_eq!(class(store.read(&data(&[98]), 10, 20)), Class::Corrupt);
    // Folders went and are wanted again.
    fs::remove_dir_all(store.root().join("data")).unwrap();
    store.write_new(&data(b"new"), b"").unwrap();
    // The whole disk went away.
    fs::rename(store.root(), store.root().with_extension("gone")).unwrap();
    assert_eq!(class(store.read(&data(&[3]), 0, 1)), Class::NotFound);
    assert_eq!(
        class(store.write_new(&data(b"newer"), b"")),
        Class::NotFound
    );
}

#[test]
#[ignore = "a helper process of the test below"]
fn helper_writes_until_killed() {
    let store = Local::new(std::env::var_os(PLACE).unwrap());
    for number in 0_u64.. {
        let mut bytes = vec![0; 3 << 20];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
        store.write_new(&data(&bytes), &bytes).unwrap();
    }
}

#[test]
fn killed_writers_leave_whole_objects_and_nothing_that_cannot_be_removed() {
    let (_place, store) = store();
    let writer = || {
        helper("helper_writes_until_killed", store.root())
            .spawn()
            .unwrap()
    };
    let mut survivor: Child = writer();
    for round in 0..8_u64 {
        let mut victim = writer();
        std::thread::sleep(Duration::from_millis(120 + 37 * round));
        victim.kill().unwrap();
        victim.wait().unwrap();
        store.remove_leftovers().unwrap();
        assert!(
            survivor.try_wait().unwrap().is_none(),
            "a live writer was disturbed"
        );
    }
    survivor.kill().unwrap();
    survivor.wait().unwrap();
    store.remove_leftovers().unwrap();
    let mut names = Vec::new();
    store
        .list(Area::Data, &mut |name, _| {
            names.push(name.to_owned());
            Ok(())
        })
        .unwrap();
    assert!(!names.is_empty());
    for name in &names {
        let bytes = store
            .read_all(&Key::named(Area::Data, name).unwrap(), 4 << 20)
            .unwrap();
        assert_eq!(ObjectId::of(&bytes).to_hex(), *name);
    }
    let files = walk_files(store.root());
    assert_eq!(
        files.len(),
        names.len(),
        "objects and nothing else: {files:?}"
    );
}

fn walk_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk_files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
#[ignore = "a helper process of the test below; its place is a file system of 4 MiB"]
fn helper_fills_a_disk() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let store = Local::new(place.join("repository"));
    store.prepare().unwrap();
    let bytes = vec![1; 3 << 20];
    store.write_new(&data(b"fits"), &bytes).unwrap();
    let error = store.write_new(&data(b"does not"), &bytes).unwrap_err();
    assert_eq!(error.class(), Class::Full, "{error}");
    assert_eq!(
        walk_files(store.root()).len(),
        1,
        "the temporary file is gone"
    );
    store
        .write_new(&data(b"small"), b"small")
        .expect("the room is free again");

    let status = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&place)
        .status()
        .unwrap();
    assert!(status.success());
    let error = store.write_new(&data(b"read-only"), b"").unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error}");
    assert!(error.to_string().contains("read-only"), "{error}");
    let error = Local::new(place.join("other")).prepare().unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error}");
    assert_eq!(store.read_all(&data(b"small"), 9).unwrap(), b"small");
    assert_eq!(
        fs::metadata(store.path(&data(b"small"))).unwrap().nlink(),
        1
    );
}

#[test]
fn a_full_disk_and_a_read_only_one_are_told_apart() {
    let place = tempfile::tempdir().unwrap();
    let inner = helper("helper_fills_a_disk", place.path());
    let mut outer = Command::new("unshare");
    outer.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
    outer.arg("mount -t tmpfs -o size=4m tmpfs \"$REPO_TEST_PLACE\"; exec \"$0\" \"$@\"");
    outer
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(PLACE, place.path());
    let output = outer.output().expect("unshare of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}
