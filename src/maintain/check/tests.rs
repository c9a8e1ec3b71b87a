//! A damage matrix: every kind of object, lost, cut short or changed in one bit.

use super::*;
use crate::backend::{Area, Key};
use crate::maintain::fixture::{Change, Store, noise};
use crate::progress::Silent;

fn run(repository: &Repository, read_data: ReadData) -> (CheckReport, Vec<String>) {
    let mut harms = Vec::new();
    let report = check(repository, read_data, &Silent, &mut |harm| {
        harms.push(format!("{} {} {}", harm.name, harm.part.name(), harm.path));
    });
    (report.unwrap(), harms)
}

/// Two snapshots that share a file; the contents of each are in a pack of their own.
fn sample() -> Store {
    let store = Store::new();
    let (a, b, c) = (noise(1, 100_000), noise(2, 3000), noise(3, 500_000));
    store.ingest("one", &[("dir/a", &a), ("dir/sub/b", &b)]);
    store.ingest("two", &[("dir/a", &a), ("dir/sub/b", &b), ("c", &c)]);
    store
}

/// The pack that holds the content of `path` in the newest snapshot.
fn pack_of(repository: &Repository, path: &str) -> Key {
    use crate::format::content::Item;
    use crate::format::tree::Body;
    use crate::repository::{Blocks, trees::find_path};
    let path = crate::entry::EntryPath::parse(path.as_bytes()).unwrap();
    let root = &repository.resolve("two").unwrap().snapshot.root;
    let node = find_path(repository, root, &path).unwrap().unwrap();
    let Body::File { content, .. } = &node.body else {
        panic!("no file")
    };
    let Item::Data { id, .. } = content[0] else {
        panic!("no chunk")
    };
    Key::object(Area::Data, &repository.locate(&id).unwrap().block.pack)
}

const SHARED: [&str; 4] = [
    "one file dir/a",
    "one file dir/sub/b",
    "two file dir/a",
    "two file dir/sub/b",
];

#[test]
fn a_sound_repository_is_sound() {
    let store = sample();
    for read_data in [ReadData::None, ReadData::All] {
        let (report, harms) = run(&store.open(), read_data);
        assert!(report.is_sound() && harms.is_empty(), "{report:?}");
        assert_eq!((report.snapshots, report.harmless), (2, 0));
        assert_eq!(report.packs, report.index_objects * 2);
        if read_data == ReadData::All {
            assert_eq!(report.packs_read, report.packs);
            assert!(report.raw_bytes_read > 603_000);
        }
    }
    let report = check_no_key(store.backend.as_ref(), &Silent).unwrap();
    assert_eq!((report.damage, report.objects), (0, 4 + 2 + 2));
}

#[test]
fn a_changed_bit_hurts_the_files_in_that_block_only() {
    let store = sample();
    let repository = store.open();
    let pack = pack_of(&repository, "dir/a");
    store.tamper(&pack, Some(&|bytes| bytes[200] ^= 1));
    let (quick, _) = run(&repository, ReadData::None);
    assert!(quick.is_sound(), "nothing was read");
    for repository in [repository, store.open()] {
        let (report, harms) = run(&repository, ReadData::All);
        assert_eq!(harms, SHARED);
        assert_eq!(
            (report.damage, report.harmed),
            (2, 4),
            "{:?}",
            report.problems
        );
        assert_eq!(report.harmed_snapshots.len(), 2);
    }
    let report = check_no_key(store.backend.as_ref(), &Silent).unwrap();
    assert_eq!(report.damage, 1);
    assert_eq!(report.problems[0].object, pack.to_string());
}

#[test]
fn a_lost_or_short_pack_is_found_without_reading_data() {
    let changes: [Option<&Change>; 2] = [None, Some(&|bytes| bytes.truncate(bytes.len() - 1))];
    for change in changes {
        let store = sample();
        let open = store.open();
        let pack = pack_of(&open, "c");
        store.tamper(&pack, change);
        // As the catalog still knows it, and as a new catalog sees it.
        for repository in [open, store.open()] {
            let (report, harms) = run(&repository, ReadData::None);
            assert_eq!(harms, ["two file c"], "{report:?}");
            assert_eq!(report.damage, 1);
            assert_eq!(report.problems[0].object, pack.to_string());
            let (report, harms) = run(&repository, ReadData::All);
            assert!(!report.is_sound());
            assert_eq!(harms, ["two file c"]);
        }
    }
}

#[test]
fn damage_to_trees_names_the_directories() {
    let store = sample();
    let repository = store.open();
    let tree = match repository.resolve("one").unwrap().snapshot.root.body {
        crate::format::tree::Body::Directory(tree) => tree.id,
        _ => unreachable!(),
    };
    let pack = crate::repository::Blocks::locate(&*repository, &tree).unwrap();
    let key = Key::object(Area::Meta, &pack.block.pack);
    store.tamper(&key, None);
    let (report, harms) = run(&store.open(), ReadData::None);
    // The second snapshot has the directory from the first.
    assert_eq!(harms, ["one directory ", "two directory dir"], "{report:?}");
    // A tree that is still in memory is as lost.
    let (report, harms) = run(&repository, ReadData::None);
    assert!(report.harmed >= 2 && !harms.is_empty(), "{report:?}");
}

#[test]
fn snapshots_and_indexes_are_read_afresh() {
    let store = sample();
    let repository = store.open();
    let snapshot = &store.keys(Area::Snapshots)[0];
    store.tamper(snapshot, Some(&|bytes| bytes[170] ^= 1));
    let (report, _) = run(&repository, ReadData::None);
    assert_eq!((report.damage, report.snapshots), (1, 1));
    assert_eq!(report.problems[0].object, snapshot.to_string());
    assert!(!report.is_sound());

    let store = sample();
    let repository = store.open();
    for key in store.keys(Area::Index) {
        store.tamper(&key, Some(&|bytes| bytes[170] ^= 1));
    }
    let (report, harms) = run(&repository, ReadData::All);
    assert!(report.is_sound() && harms.is_empty(), "{report:?}");
    assert_eq!(
        report.harmless,
        2 + 4,
        "two index objects, and so four unlisted packs"
    );
}

#[test]
fn objects_in_each_others_places_are_found() {
    let store = sample();
    let (data, meta) = (store.keys(Area::Data), store.keys(Area::Meta));
    let swapped = crate::backend::Backend::read_all(&*store.backend, &meta[0], u64::MAX).unwrap();
    let repository = store.open();
    store.backend.tamper(&data[0], Some(swapped.clone()));
    let id = crate::id::ObjectId::of(&swapped);
    store
        .backend
        .tamper(&Key::object(Area::Data, &id), Some(swapped));
    let report = check_no_key(store.backend.as_ref(), &Silent).unwrap();
    assert_eq!(report.damage, 2, "{:?}", report.problems);
    assert!(
        report
            .problems
            .iter()
            .any(|p| p.what.contains("another kind"))
    );
    let (report, _) = run(&repository, ReadData::All);
    assert!(!report.is_sound());
}

#[test]
fn parts_cover_everything_once() {
    let part = |text: &str, seed| ReadData::parse(text, seed).unwrap();
    assert_eq!(part("5%", 47), ReadData::Part { part: 7, of: 20 });
    assert_eq!(part("2.5%", 0), ReadData::Part { part: 0, of: 40 });
    assert_eq!(part("100%", 9), ReadData::Part { part: 0, of: 1 });
    assert_eq!(part("3/7", 9), ReadData::Part { part: 2, of: 7 });
    for bad in [
        "", "5", "0%", "101%", "0/3", "4/3", "x%", "1.2.3%", "-1%", "%",
    ] {
        assert!(ReadData::parse(bad, 0).is_err(), "{bad}");
    }
    for n in 0..200_u64 {
        let id = PackId::of(&n.to_le_bytes());
        let takers = (0..20).filter(|seed| part("5%", *seed).takes(&id)).count();
        assert_eq!(takers, 1);
    }
}

/// Its name alone was looked for, in whatever folder.
#[test]
fn a_pack_in_the_wrong_folder_is_missing() {
    let store = sample();
    let pack = pack_of(&store.open(), "c");
    let wrong = Key::object(Area::Meta, &pack.name().parse().unwrap());
    crate::backend::Backend::rename(&*store.backend, &pack, &wrong).unwrap();
    let (report, harms) = run(&store.open(), ReadData::None);
    assert_eq!(harms, ["two file c"], "{report:?}");
    assert_eq!((report.damage, report.harmless), (1, 1), "{report:?}");
}
