//! Restores from a store in memory into real directories.

mod archive;
mod damage;
mod links;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::fixture::{noise, sample, select};
use super::*;
use crate::error::Class;
use crate::progress::Recorder;
use crate::repository::memory_blocks::MemoryBlocks;

struct Run {
    result: Result<RestoreSummary>,
    steps: Vec<String>,
    monitor: Arc<Recorder>,
}

fn run(store: &MemoryBlocks, selections: &[Selection], to: &Path, options: &RestoreOptions) -> Run {
    let monitor = Arc::new(Recorder::default());
    let shared: Arc<dyn Monitor> = monitor.clone();
    let mut steps = Vec::new();
    let result = restore(store, selections, to, options, &shared, &mut |step| {
        steps.push(format!(
            "{} {} {}",
            step.action.name(),
            step.kind,
            step.path
        ));
    });
    Run {
        result,
        steps,
        monitor,
    }
}

fn options() -> RestoreOptions {
    RestoreOptions {
        threads: NonZeroUsize::new(3).unwrap(),
        // Nothing of it has a name there.
        scratch: Some(std::env::temp_dir()),
        ..RestoreOptions::default()
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new/target");
    (dir, target)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn everything_comes_back_and_each_block_is_read_once() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let with = RestoreOptions {
        verify: true,
        ..options()
    };
    let run = run(&store, &[select(&snapshot, "")], &to, &with);
    let summary = run.result.unwrap();
    assert_eq!(run.monitor.warnings(), Vec::<String>::new());
    assert_eq!((summary.lost, summary.place), (0, to.clone()));
    assert_eq!(
        (summary.files, summary.directories, summary.others),
        (6, 3, 4)
    );
    assert_eq!(summary.verified, 6);
    assert_eq!(fs::read(to.join("private")).unwrap(), noise(1, 3000));
    assert_eq!(fs::read(to.join("first")).unwrap(), noise(2, 5000));
    let mut long = noise(3, 70_000);
    long.splice(16384..16384, vec![0; 1 << 20]);
    long.resize(long.len() + 5000, 0);
    assert!(fs::read(to.join("sub/long")).unwrap() == long);
    let stat = |p: &str| fs::symlink_metadata(to.join(p)).unwrap();
    assert!(
        stat("sub/long").blocks() * 512 < 200_000,
        "holes take space"
    );
    assert_eq!((stat("hole").len(), stat("hole").blocks()), (123_456, 0));
    assert_eq!(stat("first").ino(), stat("sub/second").ino());
    assert_eq!(stat("private").mode() & 0o7777, 0o4700);
    assert_eq!(stat("sub/locked").mode() & 0o7777, 0o500);
    for p in [
        "",
        "sub",
        "sub/long",
        "sub/locked",
        "empty",
        "link",
        "pipe",
        "socket",
    ] {
        assert_eq!(
            (stat(p).mtime(), stat(p).mtime_nsec()),
            (1_000_000_000, 123_456_789),
            "{p}"
        );
    }
    assert_eq!(
        fs::read_link(to.join("link")).unwrap(),
        Path::new("sub/long")
    );
    let mut note = [0; 16];
    let len = rustix::fs::getxattr(to.join("private"), "user.note", &mut note).unwrap();
    assert_eq!(&note[..len], b"kept");
    assert_eq!(
        names(to.parent().unwrap()),
        ["target"],
        "nothing stays beside"
    );
    // Content: one block of two small files, nine of the long one, its list; trees: three leaves and an index of the root, one
    // leaf of two more. What is empty needs no reading.
    assert_eq!(store.reads(), 1 + 9 + 1 + (3 + 1 + 2));
}

#[test]
fn a_selected_entry_comes_under_its_name() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let selections = [
        select(&snapshot, "sub/locked"),
        select(&snapshot, "first"),
        select(&snapshot, "sub/second"),
    ];
    let run = run(&store, &selections, &to, &options());
    let summary = run.result.unwrap();
    assert_eq!(names(&to), ["first", "locked", "second"]);
    assert_eq!(
        (summary.files, summary.others),
        (2, 1),
        "hard links across selections"
    );
    let ino = |p: &str| fs::metadata(to.join(p)).unwrap().ino();
    assert_eq!(ino("first"), ino("second"));
    assert_eq!(fs::read(to.join("locked/in")).unwrap(), noise(1, 3000));
    assert_ne!(
        fs::metadata(&to).unwrap().permissions().mode() & 0o777,
        0o700
    );

    let contents = to.with_file_name("contents");
    let again = super::tests::run(&store, &[select(&snapshot, "sub/")], &contents, &options());
    again.result.unwrap();
    assert_eq!(names(&contents), ["locked", "long", "second"]);
}

#[test]
fn selections_must_exist_and_not_collide() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let class = |selections: &[Selection]| {
        run(&store, selections, &to, &options())
            .result
            .unwrap_err()
            .class()
    };
    assert_eq!(class(&[select(&snapshot, "no/such")]), Class::NotFound);
    assert_eq!(class(&[select(&snapshot, "first/")]), Class::Invalid);
    let twice = [select(&snapshot, "first"), select(&snapshot, "first")];
    assert_eq!(class(&twice), Class::Invalid);
    assert_eq!(
        class(&[select(&snapshot, ""), select(&snapshot, "sub")]),
        Class::Invalid
    );
    assert!(!to.exists());
}

#[test]
fn patterns_choose() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let with = RestoreOptions {
        include: vec!["in".into(), "/first".into(), "empty/".into()],
        exclude: vec!["sub/lo*g".into()],
        ..options()
    };
    let run = run(&store, &[select(&snapshot, "")], &to, &with);
    run.result.unwrap();
    assert_eq!(
        run.steps,
        [
            "create directory empty",
            "create file first",
            "create directory sub",
            "create directory sub/locked",
            "create file sub/locked/in"
        ]
    );
    assert_eq!(fs::metadata(to.join("sub")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let dry = RestoreOptions {
        dry_run: true,
        ..options()
    };
    let told = run(&store, &[select(&snapshot, "")], &to, &dry);
    assert!(!to.parent().unwrap().exists());
    let done = run(&store, &[select(&snapshot, "")], &to, &options());
    assert_eq!(told.steps, done.steps);
    let (told, done) = (told.result.unwrap(), done.result.unwrap());
    assert_eq!(
        (told.files, told.bytes, told.others),
        (done.files, done.bytes, done.others)
    );
    let again = run(&store, &[select(&snapshot, "")], &to, &dry);
    assert!(
        again.steps.iter().any(|s| s == "replace file first"),
        "{:?}",
        again.steps
    );
}

#[test]
fn what_is_there_stays_or_is_replaced_as_asked() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    run(&store, &[select(&snapshot, "")], &to, &options())
        .result
        .unwrap();
    let inode = |p: &str| fs::metadata(to.join(p)).unwrap().ino();
    let with = |overwrite, verify| RestoreOptions {
        overwrite,
        verify,
        ..options()
    };
    // Changed without a trace in size and time, changed visibly, and not the snapshot's at all.
    let time = rustix::fs::Timespec {
        tv_sec: 1_000_000_000,
        tv_nsec: 123_456_789,
    };
    let silently = fs::File::options()
        .write(true)
        .open(to.join("private"))
        .unwrap();
    std::os::unix::fs::FileExt::write_at(&silently, b"x", 0).unwrap();
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(&silently, &times).unwrap();
    fs::write(to.join("first"), "mine").unwrap();
    fs::write(to.join("own"), "mine").unwrap();
    fs::set_permissions(to.join("hole"), fs::Permissions::from_mode(0o600)).unwrap();
    let before = (inode("private"), inode("hole"));

    let never = run(
        &store,
        &[select(&snapshot, "")],
        &to,
        &with(Overwrite::Never, false),
    );
    assert!(
        never.steps.iter().all(|s| s.starts_with("keep ")),
        "{:?}",
        never.steps
    );
    assert_eq!(fs::read(to.join("first")).unwrap(), b"mine");

    run(
        &store,
        &[select(&snapshot, "")],
        &to,
        &with(Overwrite::IfChanged, false),
    )
    .result
    .unwrap();
    assert_eq!(fs::read(to.join("first")).unwrap(), noise(2, 5000));
    assert_eq!(inode("first"), inode("sub/second"));
    assert_eq!((inode("private"), inode("hole")), before);
    assert_eq!(fs::metadata(to.join("hole")).unwrap().mode() & 0o777, 0o640);

    run(
        &store,
        &[select(&snapshot, "")],
        &to,
        &with(Overwrite::IfChanged, true),
    )
    .result
    .unwrap();
    assert_eq!(fs::read(to.join("private")).unwrap(), noise(1, 3000));
    assert_eq!(inode("hole"), before.1, "same content stays");

    run(
        &store,
        &[select(&snapshot, "")],
        &to,
        &with(Overwrite::Always, false),
    )
    .result
    .unwrap();
    assert_ne!(inode("hole"), before.1);
    assert_eq!(fs::read(to.join("own")).unwrap(), b"mine");
    assert!(
        names(&to).iter().all(|n| !n.starts_with(".repo")),
        "{:?}",
        names(&to)
    );
}
