//! Damaged repositories, hostile targets, full disks: what is lost is named, and nothing else suffers.

use std::fs;

use super::{names, options, place, run};
use crate::error::Class;
use crate::format::content::Item;
use crate::repository::memory_blocks::MemoryBlocks;
use crate::restore::fixture::{data, directory, file, noise, sample, select, snapshot};
use crate::restore::*;

/// A user who wants it to end.
struct Stop;

impl Monitor for Stop {
    fn add(&self, _: Count, _: u64) {}
    fn expect(&self, _: Count, _: u64) {}
    fn doing(&self, _: &dyn Fn() -> String) {}
    fn warn(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn damage_loses_its_file_and_no_other() {
    let store = MemoryBlocks::new();
    let ids = store.put_together(&[&noise(1, 100), &noise(2, 100), &noise(3, 100)]);
    let one = |name: &str, id| file(name, vec![data(id, 100)]);
    let mut long: Vec<Item> = store.put_content(&noise(9, 500_000), 1000);
    let Item::Data { id: within, .. } = long[250] else {
        unreachable!()
    };
    long[400] = data(ids[2], 100);
    let gone = store.put(b"gone");
    let list = store.put_list(&[data(ids[0], 100)]);
    let Item::List { id: list_id, .. } = list else {
        unreachable!()
    };
    let deep = directory(&store, "deep", vec![one("a", ids[0])]);
    let crate::format::tree::Body::Directory(tree) = &deep.body else {
        unreachable!()
    };
    let tree = tree.id;
    let snapshot = snapshot(
        &store,
        vec![
            one("a", ids[0]),
            one("b", ids[1]),
            file("c", vec![data(gone, 4)]),
            deep,
            file("listed", vec![list]),
            file("long", long),
            one("z", ids[2]),
        ],
    );
    for id in [&ids[1], &within, &tree, &list_id] {
        store.damage(id);
    }
    store.lose(&gone);
    let (_dir, to) = place();
    fs::create_dir_all(&to).unwrap();
    fs::write(to.join("b"), "old").unwrap();
    let run = run(&store, &[select(&snapshot, "")], &to, &options());
    let summary = run.result.unwrap();
    let mut lost: Vec<_> = summary.losses.iter().map(|l| l.path.to_string()).collect();
    lost.sort();
    assert_eq!(
        lost,
        ["b", "c", "deep", "listed", "long"],
        "{:?}",
        run.monitor.warnings()
    );
    assert!(
        summary
            .losses
            .iter()
            .all(|l| l.error.class() == Class::Corrupt),
        "{:?}",
        summary.losses
    );
    assert_eq!(names(&to), ["a", "b", "deep", "z"]);
    assert_eq!(
        fs::read(to.join("b")).unwrap(),
        b"old",
        "what was there stays"
    );
    assert_eq!(fs::read(to.join("z")).unwrap(), noise(3, 100));
}

#[test]
fn many_files_across_blocks_stay_within_open_file_bounds() {
    let store = MemoryBlocks::new();
    // Every file has a piece in each of three blocks, far apart in the order of work.
    let count = crate::restore::file::MAX_OPEN_FILES * 3;
    let parts: Vec<Vec<_>> = (0..3_u64)
        .map(|part| {
            let all: Vec<_> = (0..count as u64)
                .map(|n| noise(part * 1000 + n, 50))
                .collect();
            let slices: Vec<_> = all.iter().map(Vec::as_slice).collect();
            store.put_together(&slices)
        })
        .collect();
    let files: Vec<_> = (0..count)
        .map(|n| {
            file(
                &format!("f{n:04}"),
                parts.iter().map(|p| data(p[n], 50)).collect(),
            )
        })
        .collect();
    let snapshot = snapshot(&store, files);
    let (_dir, to) = place();
    run(&store, &[select(&snapshot, "")], &to, &options())
        .result
        .unwrap();
    for n in 0..count as u64 {
        let expected = [noise(n, 50), noise(1000 + n, 50), noise(2000 + n, 50)].concat();
        assert_eq!(fs::read(to.join(format!("f{n:04}"))).unwrap(), expected);
    }
}

#[test]
fn what_stands_in_the_way_is_named_and_nothing_leads_out() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (dir, to) = place();
    let outside = dir.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(to.join("first/full")).unwrap();
    fs::create_dir_all(to.join("private")).unwrap();
    std::os::unix::fs::symlink(&outside, to.join("sub")).unwrap();
    let with = RestoreOptions {
        overwrite: Overwrite::Never,
        ..options()
    };
    let never = run(&store, &[select(&snapshot, "")], &to, &with);
    never.result.unwrap();
    assert!(
        never.steps.iter().any(|s| s == "leave-out directory sub"),
        "{:?}",
        never.steps
    );
    assert!(names(&outside).is_empty());

    let run = run(&store, &[select(&snapshot, "")], &to, &options());
    run.result.unwrap();
    assert!(run.monitor.warnings().iter().any(|w| w.contains("'first'")));
    assert!(
        run.steps.iter().any(|s| s == "replace directory sub"),
        "{:?}",
        run.steps
    );
    assert!(
        names(&outside).is_empty(),
        "the link was replaced, not followed"
    );
    assert_eq!(
        fs::read(to.join("private")).unwrap(),
        noise(1, 3000),
        "an empty directory gives way"
    );
    assert_eq!(fs::read(to.join("sub/second")).unwrap(), noise(2, 5000));
}

#[test]
fn a_failed_restore_leaves_no_target_and_says_where_it_is() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let monitor: Arc<dyn Monitor> = Arc::new(Stop);
    let all = [select(&snapshot, "")];
    let error = restore(&store, &all, &to, &options(), &monitor, &mut |_| {}).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    assert!(!to.exists());
    let beside = names(to.parent().unwrap());
    assert!(
        beside.len() == 1 && error.to_string().contains(&beside[0]),
        "{error} {beside:?}"
    );
}

#[test]
fn a_full_disk_is_known_before_anything_is_written() {
    let store = MemoryBlocks::new();
    let id = store.put(b"x");
    let huge = 1_u64 << 55;
    let sparse = snapshot(
        &store,
        vec![file("sparse", vec![data(id, 1), Item::Hole(1 << 43)])],
    );
    let (_dir, to) = place();
    run(&store, &[select(&sparse, "")], &to, &options())
        .result
        .unwrap();
    assert_eq!(
        fs::metadata(to.join("sparse")).unwrap().len(),
        (1 << 43) + 1
    );

    let list = Item::List {
        id,
        len: huge,
        data_bytes: huge,
    };
    let real = snapshot(&store, vec![file("real", vec![list])]);
    let other = to.with_file_name("other");
    let error = run(&store, &[select(&real, "")], &other, &options())
        .result
        .unwrap_err();
    assert_eq!(error.class(), Class::Full);
    assert_eq!(names(to.parent().unwrap()), ["target"]);
}

#[test]
fn what_a_killed_restore_left_is_named_and_stays() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let (_dir, to) = place();
    let beside = |name: &str| to.with_file_name(name);
    for name in [
        ".target.restore-9-0",
        ".target.restore-9-1",
        ".other.restore-9-0",
    ] {
        fs::create_dir_all(beside(name)).unwrap();
    }
    // One of them is at work.
    let held = fs::File::open(beside(".target.restore-9-1")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let run = run(&store, &[select(&snapshot, "")], &to, &options());
    run.result.unwrap();
    let notes = run.monitor.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("/.target.restore-9-0"), "{notes:?}");
    assert!(beside(".target.restore-9-0").exists());
}
