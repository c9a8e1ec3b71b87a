//! Damage of every kind, repaired: what can be saved is, what is lost is named, and an ingest of the same data heals it.

use super::super::check::check;
use super::super::fixture::{Change, Store, noise};
use super::super::prune::settle;
use super::*;
use crate::backend::Backend;
use crate::entry::EntryPath;
use crate::format::content::Item;
use crate::format::tree::Body;
use crate::progress::Silent;
use crate::repository::trees::find_path;
use crate::repository::{Batch, Cutting};

type Files = Vec<(&'static str, Vec<u8>)>;

/// Several blocks, so that one of them can be lost alone.
fn files() -> Files {
    vec![
        ("a", noise(1, 1_200_000)),
        ("b", noise(2, 1_200_000)),
        ("c", noise(3, 1_200_000)),
        ("dir/d", noise(4, 1000)),
    ]
}

fn ingest(store: &Store, name: &str, files: &Files) {
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(path, b)| (*path, &b[..])).collect();
    store.ingest(name, &borrowed);
}

fn sample() -> Store {
    let store = Store::new();
    ingest(&store, "one", &files());
    store
}

fn run(store: &Store, options: RepairOptions) -> (RepairReport, Vec<String>) {
    repair_by(&store.open(), options)
}

fn repair_by(repository: &Arc<Repository>, options: RepairOptions) -> (RepairReport, Vec<String>) {
    let mut lost = Vec::new();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let report = repair(repository, &options, &monitor, &mut |harm| {
        lost.push(format!("{} {} {}", harm.name, harm.part.name(), harm.path));
    });
    lost.sort();
    (report.unwrap(), lost)
}

const DRY: RepairOptions = RepairOptions {
    quick: false,
    dry_run: true,
    quarantine_snapshots: false,
    writer: WriterOptions {
        level: 1,
        workers: 1,
    },
};
const NOW: RepairOptions = RepairOptions {
    dry_run: false,
    ..DRY
};

/// Every byte is checked by a new client; what is lost.
fn checked(store: &Store) -> (CheckReport, Vec<String>) {
    let mut lost = Vec::new();
    let report = check(&store.open(), ReadData::All, &Silent, &mut |harm| {
        lost.push(format!("{} {} {}", harm.name, harm.part.name(), harm.path));
    });
    lost.sort();
    (report.unwrap(), lost)
}

/// The same in a dry run as in a real one; then everything that is there is sound, and what is lost comes back with the data.
fn mends(store: &Store, expected: &[&str]) -> RepairReport {
    let before = everything(store);
    let (tried, lost) = run(store, DRY);
    assert_eq!(lost, expected, "dry run: {tried:?}");
    assert_eq!(everything(store), before, "a dry run changes nothing");
    let (report, lost) = run(store, NOW);
    assert_eq!(lost, expected, "{report:?}");
    assert_eq!(report.is_mended(), expected.is_empty(), "{report:?}");
    let known = |r: &RepairReport| {
        let damaged = r.damaged.iter();
        let damaged: Vec<_> = damaged.map(|d| (d.object.clone(), d.readable)).collect();
        (damaged, r.missing.clone(), r.indexes.clone())
    };
    assert_eq!(known(&tried), known(&report));
    for area in [Area::Gc, Area::Sessions] {
        assert_eq!(count(store, area), 0, "{area:?}");
    }
    let (after, lost) = checked(store);
    assert_eq!(lost, expected, "{:?}", after.problems);
    assert_eq!((after.damaged_indexes, after.unlisted_packs), (0, 0));
    let (again, _) = run(store, NOW);
    assert_eq!(
        (again.damaged.len(), again.set_aside.len()),
        (0, 0),
        "{again:?}"
    );
    assert_eq!(again.is_untouched(), expected.is_empty(), "{again:?}");
    ingest(store, "again", &files());
    let (healed, lost) = checked(store);
    assert!(healed.is_whole() && lost.is_empty(), "{healed:?} {lost:?}");
    report
}

fn everything(store: &Store) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for area in Area::ALL {
        let mut names = Vec::new();
        let mut each = |name: &str, _| {
            names.push(Key::named(area, name)?);
            Ok(())
        };
        store.backend.list(area, &mut each).unwrap();
        let bytes = |key: &Key| store.backend.read_all(key, u64::MAX).unwrap();
        all.extend(names.iter().map(|key| (key.to_string(), bytes(key))));
    }
    all
}

fn count(store: &Store, area: Area) -> usize {
    let prefix = format!("{}/", area.name());
    let all = everything(store);
    all.iter()
        .filter(|(key, _)| key.starts_with(&prefix))
        .count()
}

/// Where the content of a file begins.
fn home(repository: &Repository, path: &str) -> crate::repository::Location {
    use crate::repository::Blocks;
    let path = EntryPath::parse(path.as_bytes()).unwrap();
    let root = &repository.resolve("one").unwrap().snapshot.root;
    let node = find_path(repository, root, &path).unwrap().unwrap();
    let Body::File { content, .. } = &node.body else {
        panic!("no file")
    };
    let Item::Data { id, .. } = content[0] else {
        panic!("no chunk")
    };
    repository.locate(&id).unwrap()
}

fn only(store: &Store, area: Area) -> Key {
    let mut keys = store.keys(area);
    assert_eq!(keys.len(), 1, "{area:?}");
    keys.remove(0)
}

#[test]
fn nothing_is_done_where_nothing_is_wrong() {
    let store = sample();
    let before = everything(&store);
    let report = mends(&store, &[]);
    assert!(report.is_untouched() && report.written_bytes == 0);
    assert_eq!((report.packs, report.packs_read), (2, 2));
    let kept: Vec<_> = everything(&store);
    assert!(before.iter().all(|object| kept.contains(object)));
}

#[test]
fn a_changed_bit_costs_what_is_in_its_block() {
    let store = sample();
    let repository = store.open();
    let at = home(&repository, "b").block;
    let pack = only(&store, Area::Data);
    let offset = usize::try_from(at.offset).unwrap() + 5;
    store.tamper(&pack, Some(&move |bytes| bytes[offset] ^= 1));
    let damaged = store.backend.read_all(&pack, u64::MAX).unwrap();
    let (_, lost) = checked(&store);
    assert!(
        lost.contains(&"one file b".to_owned()) && lost.len() < 4,
        "{lost:?}"
    );
    let expected: Vec<&str> = lost.iter().map(String::as_str).collect();
    let report = mends(&store, &expected);
    let [moved] = &report.set_aside[..] else {
        panic!("{report:?}")
    };
    assert_eq!(moved.from, pack);
    assert!(store.backend.read_all(&moved.to, u64::MAX).unwrap() == damaged);
    assert!(!store.backend.exists(&pack).unwrap());
    assert!(report.damaged[0].readable > 0 && report.damaged[0].unreadable > 0);
    assert_eq!(report.damaged[0].readable, report.damaged[0].stored_again);
}

#[test]
fn index_objects_tell_what_a_torn_pack_holds() {
    let changes: [&Change; 3] = [
        // Its trailer, its end, half of it.
        &|bytes| *bytes.last_mut().unwrap() ^= 1,
        &|bytes| bytes.truncate(bytes.len() - 1),
        &|bytes| bytes.truncate(bytes.len() / 2),
    ];
    for (which, change) in changes.into_iter().enumerate() {
        let store = sample();
        let pack = only(&store, Area::Data);
        store.tamper(&pack, Some(change));
        let (tried, lost) = run(&store, DRY);
        assert_eq!(lost.is_empty(), which < 2, "{which}: {lost:?}");
        // Which files have something in the second half depends on which of two workers was faster.
        assert!(tried.damaged[0].readable > 0, "{which}");
        let expected: Vec<&str> = lost.iter().map(String::as_str).collect();
        mends(&store, &expected);
    }
}

#[test]
fn without_anything_that_tells_all_of_a_torn_pack_is_lost() {
    let store = sample();
    store.tamper(
        &only(&store, Area::Data),
        Some(&|bytes| bytes.truncate(bytes.len() - 1)),
    );
    store.tamper(&only(&store, Area::Index), None);
    let all = ["one file a", "one file b", "one file c", "one file dir/d"];
    let report = mends(&store, &all);
    assert_eq!(
        (report.damaged[0].readable, report.damaged[0].unreadable),
        (0, 0)
    );
}

#[test]
fn a_lost_pack_is_listed_no_more() {
    let store = sample();
    let pack = only(&store, Area::Data);
    store.tamper(&pack, None);
    let all = ["one file a", "one file b", "one file c", "one file dir/d"];
    let report = mends(&store, &all);
    assert_eq!((report.missing, report.set_aside.len()), (vec![pack], 0));
}

#[test]
fn damaged_trees_cost_their_directories_only() {
    let store = sample();
    store.ingest(
        "other",
        &[("dir/x", &noise(9, 100)), ("y", &noise(10, 100))],
    );
    let repository = store.open();
    let root = &repository.resolve("one").unwrap().snapshot.root;
    let Body::Directory(tree) = &root.body else {
        panic!("no directory")
    };
    let block = crate::repository::Blocks::locate(&*repository, &tree.id)
        .unwrap()
        .block;
    let pack = Key::object(Area::Meta, &block.pack);
    let offset = usize::try_from(block.offset).unwrap();
    store.tamper(&pack, Some(&move |bytes| bytes[offset] ^= 1));
    let report = mends(&store, &["one directory "]);
    assert_eq!(report.set_aside[0].from, pack);
}

#[test]
fn index_objects_are_made_anew() {
    let changes: [Option<&Change>; 2] = [None, Some(&|bytes| bytes[170] ^= 1)];
    for change in changes {
        let store = sample();
        let index = only(&store, Area::Index);
        store.tamper(&index, change);
        let report = mends(&store, &[]);
        assert_eq!(report.listed, 2, "{report:?}");
        assert_eq!(report.set_aside.len(), usize::from(change.is_some()));
        assert_eq!(report.indexes.len(), usize::from(change.is_some()));
    }
}

#[test]
fn packs_in_each_others_places_lose_nothing() {
    let store = sample();
    store.ingest("other", &[("x", &noise(9, 100_000))]);
    for area in [Area::Data, Area::Meta] {
        let keys = store.keys(area);
        let bytes = |at: usize| store.backend.read_all(&keys[at], u64::MAX).unwrap();
        let (first, second) = (bytes(0), bytes(1));
        store.backend.tamper(&keys[0], Some(second));
        store.backend.tamper(&keys[1], Some(first));
    }
    // A dry run cannot read trees that are not stored again yet, so only the real one is asked.
    let (report, lost) = run(&store, NOW);
    assert!(lost.is_empty() && report.is_mended(), "{lost:?} {report:?}");
    assert_eq!(report.set_aside.len(), 4);
    assert!(checked(&store).0.is_whole());
}

#[test]
fn whole_objects_in_the_wrong_folder_are_put_back() {
    let store = sample();
    let wrong = |key: &Key, area| Key::object(area, &key.name().parse().unwrap());
    let moves = [
        (Area::Data, Area::Meta),
        (Area::Meta, Area::Index),
        (Area::Index, Area::Data),
    ];
    let moves = moves.map(|(from, to)| (only(&store, from), to));
    for (key, to) in &moves {
        store.backend.rename(key, &wrong(key, *to)).unwrap();
    }
    let (report, lost) = run(&store, NOW);
    assert!(lost.is_empty() && report.is_mended(), "{lost:?} {report:?}");
    assert_eq!(report.put_back.len(), 3, "{report:?}");
    assert!(checked(&store).0.is_whole());
    assert!(
        moves
            .iter()
            .all(|(key, _)| store.backend.exists(key).unwrap())
    );
}

#[test]
fn a_snapshot_that_cannot_be_read_goes_only_when_told() {
    let store = sample();
    store.ingest("other", &[("x", &noise(9, 100))]);
    let snapshot = store.keys(Area::Snapshots).remove(0);
    store.tamper(&snapshot, Some(&|bytes| bytes[170] ^= 1));
    let (report, _) = run(&store, NOW);
    assert!(!report.is_mended() && report.snapshots.len() == 1);
    assert!(store.backend.exists(&snapshot).unwrap());
    let told = RepairOptions {
        quarantine_snapshots: true,
        ..NOW
    };
    let repository = store.open();
    let (report, _) = repair_by(&repository, told);
    assert_eq!(report.set_aside[0].from, snapshot);
    assert!(!report.is_mended(), "it is lost, whatever became of it");
    assert!(!store.backend.exists(&snapshot).unwrap());
    assert!(
        repository.resolve("latest").is_ok(),
        "names mean something again"
    );
    assert!(run(&store, NOW).0.is_untouched());
}

#[test]
fn what_is_damaged_waits_for_older_writers_and_does_not_count_for_new_ones() {
    let store = sample();
    let pack = only(&store, Area::Data);
    store.tamper(&pack, Some(&|bytes| bytes[200] ^= 1));
    let older = store.open().begin_session(SessionKind::Writer).unwrap();
    let (report, lost) = run(&store, NOW);
    assert_eq!(report.waiting.len(), 1);
    assert_eq!(report.waiting[0].sessions, 1);
    assert!(report.set_aside.is_empty() && store.backend.exists(&pack).unwrap());
    assert!(!lost.is_empty() && lost.len() < 4, "{lost:?}");
    ingest(&store, "again", &files());
    let (healed, lost) = checked(&store);
    assert!(lost.is_empty(), "{lost:?} {:?}", healed.problems);
    drop(older);
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!(settled.set_aside[0].from, pack);
    assert!(checked(&store).0.is_whole());
}

/// Somebody had a copy of it, or it was only read wrongly.
#[test]
fn a_pack_that_is_whole_again_stays() {
    let store = sample();
    let pack = only(&store, Area::Data);
    let whole = store.backend.read_all(&pack, u64::MAX).unwrap();
    store.tamper(&pack, Some(&|bytes| *bytes.last_mut().unwrap() ^= 1));
    let older = store.open().begin_session(SessionKind::Writer).unwrap();
    let (report, lost) = run(&store, NOW);
    assert_eq!((report.waiting.len(), lost.len()), (1, 0));
    store.backend.tamper(&pack, Some(whole));
    drop(older);
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!((settled.set_aside.len(), settled.released), (0, 1));
    assert!(checked(&store).0.is_whole());
}

/// Another plan may condemn the copy that a repair made: then the damaged pack has the last one.
#[test]
fn a_damaged_pack_with_the_last_copy_of_something_stays() {
    let store = sample();
    let pack = only(&store, Area::Data);
    store.tamper(&pack, Some(&|bytes| bytes[200] ^= 1));
    let older = store.open().begin_session(SessionKind::Writer).unwrap();
    let (report, _) = run(&store, NOW);
    assert_eq!(report.waiting.len(), 1);
    let copies: Vec<(PackId, ObjectKind)> = store
        .keys(Area::Data)
        .iter()
        .filter(|key| **key != pack)
        .map(|key| (key.name().parse().unwrap(), ObjectKind::DataPack))
        .collect();
    assert_eq!(copies.len(), 1);
    let repository = store.open();
    let plan = repository.write_plan(copies.clone(), false).unwrap();
    drop(older);
    // That plan is not for this run, or it would be released first.
    let living = repository.begin_session(SessionKind::Writer).unwrap();
    repository.waits(&plan.id, &[living.id()]).unwrap();
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!((settled.set_aside.len(), settled.released), (0, 1));
    assert!(store.backend.exists(&pack).unwrap());
    drop(living);
    let (report, _) = run(&store, NOW);
    assert_eq!(report.set_aside[0].from, pack);
}

#[test]
fn a_quick_repair_reads_only_what_looks_damaged() {
    let store = sample();
    store.ingest("other", &[("x", &noise(9, 100_000))]);
    let pack = Key::object(Area::Data, &home(&store.open(), "a").block.pack);
    let quick = RepairOptions { quick: true, ..NOW };
    store.tamper(&pack, Some(&|bytes| bytes[200] ^= 1));
    let (report, lost) = run(&store, quick);
    assert!(report.is_untouched() && lost.is_empty(), "{report:?}");
    assert_eq!((report.packs, report.packs_read), (4, 2));
    store.tamper(&pack, Some(&|bytes| bytes.truncate(bytes.len() - 1)));
    let (report, lost) = run(&store, quick);
    assert_eq!(report.packs_read, 3);
    assert_eq!(report.set_aside[0].from, pack);
    assert!(!lost.is_empty());
}

/// The catalog of the client that repairs knew the old places: its next ingest must not trust them.
#[test]
fn the_client_that_repairs_stores_again_what_was_lost() {
    let store = sample();
    let repository = store.open();
    store.tamper(&only(&store, Area::Data), None);
    repair_by(&repository, NOW);
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let mut writer = Writer::begin(&repository, NOW.writer, &monitor).unwrap();
    let bytes = noise(4, 1000);
    writer
        .submit(Batch {
            sequence: 0,
            cutting: Cutting::File,
            lens: vec![1000],
            bytes,
        })
        .unwrap();
    assert_eq!(writer.finish().unwrap().new_chunks, 1);
}
