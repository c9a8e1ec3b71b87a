//! Prune on repositories in memory: what goes, what stays, and what waits for whom.

mod damage;

use std::sync::Arc;

use super::*;
use crate::backend::Backend;
use crate::entry::EntryPath;
use crate::format::tree::Body;
use crate::maintain::check::{ReadData, check};
use crate::maintain::fixture::{Store, noise};
use crate::progress::{Recorder, Silent};
use crate::repository::block_cache::Blocks;
use crate::repository::content::Content;
use crate::repository::trees::find_path;
use crate::repository::{Session, Writer};

fn silent() -> Arc<dyn Monitor> {
    Arc::new(Silent)
}

fn prune_with(repository: &Arc<Repository>, options: &PruneOptions) -> PruneReport {
    prune(repository, options, &silent()).unwrap()
}

fn prune_all(store: &Store) -> PruneReport {
    let options = PruneOptions {
        max_unused: MaxUnused::Bytes(0),
        ..PruneOptions::default()
    };
    prune_with(&store.open(), &options)
}

fn forget(store: &Store, id: &SnapshotId) {
    store
        .backend
        .remove(&Key::object(Area::Snapshots, id))
        .unwrap();
}

/// Somebody with a new catalog finds everything sound, and this content in the newest snapshot of that name.
fn assert_holds(store: &Store, name: &str, files: &[(&str, &[u8])]) {
    let repository = store.open();
    let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    let root = repository.resolve(name).unwrap().snapshot.root;
    for (path, bytes) in files {
        let path = EntryPath::parse(path.as_bytes()).unwrap();
        let node = find_path(&*repository, &root, &path).unwrap().unwrap();
        let Body::File { size, content } = node.body else {
            unreachable!("a file")
        };
        let mut read = vec![0; usize::try_from(size).unwrap()];
        Content::new(&content)
            .read_at(&*repository, 0, &mut read)
            .unwrap();
        assert!(read == *bytes, "{path} has other bytes");
    }
}

fn count(store: &Store, area: Area) -> usize {
    let mut count = 0;
    let mut each = |_: &str, _| {
        count += 1;
        Ok(())
    };
    store.backend.list(area, &mut each).unwrap();
    count
}

#[test]
fn what_nothing_reaches_goes_in_the_same_run() {
    let store = Store::new();
    let (a, b) = (noise(1, 300_000), noise(2, 300_000));
    let first = store.ingest("one", &[("a", &a), ("dir/x", b"x")]);
    store.ingest("two", &[("b", &b)]);
    let before = prune_all(&store);
    assert_eq!(
        (before.unneeded, before.repacked),
        (Packs::default(), Packs::default())
    );
    forget(&store, &first);
    let report = prune_all(&store);
    assert_eq!(report.unneeded.count, 2, "{report:?}");
    assert_eq!(report.settled.removed, report.unneeded);
    assert_eq!(report.settled.waiting, []);
    assert_eq!(
        (count(&store, Area::Data), count(&store, Area::Meta)),
        (1, 1)
    );
    for area in [Area::Sessions, Area::Gc] {
        assert_eq!(count(&store, area), 0, "{area:?}");
    }
    assert_eq!(
        count(&store, Area::Index),
        1,
        "one listed only what is gone"
    );
    assert_holds(&store, "two", &[("b", &b)]);
    let again = prune_all(&store);
    assert_eq!(again.stored.count, 2);
    assert_eq!(again.settled, Settled::default());
}

#[test]
fn what_is_mostly_garbage_is_repacked() {
    let store = Store::new();
    let (kept, gone) = (noise(1, 200_000), noise(2, 900_000));
    let first = store.ingest("one", &[("gone", &gone), ("kept", &kept)]);
    store.ingest("two", &[("kept", &kept)]);
    forget(&store, &first);
    let lenient = PruneOptions {
        max_unused: MaxUnused::Thousandths(1000),
        ..PruneOptions::default()
    };
    let report = prune_with(&store.open(), &lenient);
    assert_eq!(report.repacked.count, 0);
    assert!(report.unused_bytes > 800_000, "{report:?}");
    let bounded = PruneOptions {
        max_unused: MaxUnused::Bytes(0),
        max_repack_bytes: Some(100_000),
        ..PruneOptions::default()
    };
    assert_eq!(prune_with(&store.open(), &bounded).copied_bytes, 0);
    let dry = PruneOptions {
        dry_run: true,
        max_unused: MaxUnused::Bytes(0),
        ..PruneOptions::default()
    };
    let would = prune_with(&store.open(), &dry);
    let report = prune_all(&store);
    assert_eq!(would.repacked, report.repacked);
    assert_eq!(report.copied_bytes, 200_000);
    assert!(report.settled.removed.bytes > 1_000_000, "{report:?}");
    assert_eq!(report.unused_bytes, 0);
    assert_holds(&store, "two", &[("kept", &kept)]);
}

/// A writer that reuses what was forgotten, begun before or after a plan.
struct Pending {
    store: Arc<Store>,
    repository: Arc<Repository>,
    writer: Option<Writer>,
}

impl Pending {
    fn begin(store: &Arc<Store>) -> Self {
        let repository = store.open();
        let options = WriterOptions {
            level: 1,
            workers: 1,
        };
        let writer = Writer::begin(&repository, options, &silent()).unwrap();
        Self {
            store: Arc::clone(store),
            repository,
            writer: Some(writer),
        }
    }

    /// Commits a snapshot that is the one given, under another name; what it needs is not read, only looked up.
    fn commit_again(mut self, info: &SnapshotInfo) -> SnapshotId {
        let mut snapshot = info.snapshot.clone();
        "again".clone_into(&mut snapshot.name);
        let mut writer = self.writer.take().unwrap();
        writer.finish().unwrap();
        let id = writer.commit(&snapshot).unwrap();
        assert!(self.repository.snapshot(&id).is_ok());
        assert!(count(&self.store, Area::Snapshots) > 0);
        id
    }
}

fn arc_store() -> Arc<Store> {
    Arc::new(Store::new())
}

#[test]
fn a_plan_waits_for_older_writers_and_their_snapshots_are_whole() {
    let store = arc_store();
    let a = noise(1, 300_000);
    let first = store.ingest("one", &[("a", &a)]);
    let info = store.open().resolve("one").unwrap();
    let older = Pending::begin(&store);
    forget(&store, &first);
    let report = prune_all(&store);
    assert_eq!(report.settled.removed.count, 0);
    let waiting = report.settled.waiting[0];
    assert_eq!((waiting.packs, waiting.sessions), (report.unneeded, 1));
    let again = older.commit_again(&info);
    assert_holds(&store, "again", &[("a", &a)]);
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!((settled.removed.count, settled.released), (0, 2));
    assert_eq!(count(&store, Area::Gc), 0);
    assert_holds(&store, "again", &[("a", &a)]);
    // What was released once goes like anything else.
    forget(&store, &again);
    assert_eq!(prune_all(&store).settled.removed.count, 2);
    assert_eq!(count(&store, Area::Data) + count(&store, Area::Meta), 0);
}

#[test]
fn garbage_in_a_pack_that_was_released_goes_with_the_next_prune() {
    let store = arc_store();
    let (a, b) = (noise(1, 200_000), noise(2, 900_000));
    let first = store.ingest("one", &[("a", &a), ("b", &b)]);
    // Its content lies in the pack of the other.
    let second = store.ingest("two", &[("a", &a)]);
    let info = store.open().resolve("two").unwrap();
    assert_eq!(count(&store, Area::Data), 1);
    let older = Pending::begin(&store);
    forget(&store, &first);
    forget(&store, &second);
    assert_eq!(prune_all(&store).settled.waiting[0].packs.count, 3);
    older.commit_again(&info);
    // The next prune carries out the old plan first: it releases what is needed, and repacks it in the same run.
    let report = prune_all(&store);
    assert_eq!(report.settled.released, 2, "{report:?}");
    assert_eq!((report.repacked.count, report.copied_bytes), (1, 200_000));
    assert!(report.settled.removed.bytes > 900_000, "{report:?}");
    assert_eq!((report.unused_bytes, count(&store, Area::Gc)), (0, 0));
    assert_holds(&store, "again", &[("a", &a)]);
}

#[test]
fn a_snapshot_that_missed_the_plan_has_its_packs_released() {
    let store = arc_store();
    let a = noise(1, 300_000);
    let first = store.ingest("one", &[("a", &a)]);
    let sealed = store
        .backend
        .read_all(&Key::object(Area::Snapshots, &first), u64::MAX)
        .unwrap();
    let older = Pending::begin(&store);
    forget(&store, &first);
    assert_eq!(prune_all(&store).settled.waiting.len(), 1);
    // As if it had looked for plans just before there was one: the same snapshot appears.
    store
        .backend
        .write_new(&Key::object(Area::Snapshots, &first), &sealed)
        .unwrap();
    drop(older);
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!((settled.removed.count, settled.released), (0, 2));
    assert_eq!(count(&store, Area::Gc), 0);
    assert_holds(&store, "one", &[("a", &a)]);
}

#[test]
fn a_younger_writer_is_not_waited_for_and_reuses_nothing_condemned() {
    let store = arc_store();
    let a = noise(1, 300_000);
    let first = store.ingest("one", &[("a", &a)]);
    let older = Pending::begin(&store);
    forget(&store, &first);
    prune_all(&store);
    let younger = Pending::begin(&store);
    drop(older);
    let stored = store.ingest("two", &[("a", &a)]);
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!((settled.removed.count, settled.released), (2, 0));
    drop(younger);
    assert!(store.open().snapshot(&stored).is_ok());
    assert_holds(&store, "two", &[("a", &a)]);
}

fn reader(store: &Store, name: &str) -> (Arc<Repository>, Option<Session>, SnapshotInfo) {
    let repository = store.open();
    let info = repository.resolve(name).unwrap();
    let session = repository
        .begin_reading(std::slice::from_ref(&info), &Silent)
        .unwrap();
    (repository, session, info)
}

#[test]
fn what_a_reader_reads_stays_though_it_is_forgotten() {
    let store = arc_store();
    let a = noise(1, 300_000);
    let first = store.ingest("one", &[("a", &a)]);
    let (repository, session, info) = reader(&store, "one");
    forget(&store, &first);
    let report = prune_all(&store);
    assert_eq!((report.readers, report.unneeded.count), (1, 0));
    let path = EntryPath::parse(b"a").unwrap();
    assert!(
        find_path(&*repository, &info.snapshot.root, &path)
            .unwrap()
            .is_some()
    );
    drop(session);
    assert_eq!(prune_all(&store).settled.removed.count, 2);
    let late = repository.begin_reading(&[info], &Silent).unwrap_err();
    assert_eq!(late.class(), Class::NotFound);
}

#[test]
fn readers_follow_chunks_that_were_repacked() {
    let store = arc_store();
    let (kept, gone) = (noise(1, 200_000), noise(2, 900_000));
    let first = store.ingest("one", &[("gone", &gone), ("kept", &kept)]);
    store.ingest("two", &[("kept", &kept)]);
    let (repository, _session, info) = reader(&store, "two");
    forget(&store, &first);
    assert_eq!(prune_all(&store).repacked.count, 1);
    // Its catalog knows the old place only.
    let node = find_path(
        &*repository,
        &info.snapshot.root,
        &EntryPath::parse(b"kept").unwrap(),
    );
    let Body::File { content, .. } = node.unwrap().unwrap().body else {
        unreachable!("a file")
    };
    let mut read = vec![0; kept.len()];
    Content::new(&content)
        .read_at(&*repository, 0, &mut read)
        .unwrap();
    assert!(read == kept);
}

#[test]
fn two_prunes_never_drop_each_others_copy() {
    let store = arc_store();
    let a = noise(1, 300_000);
    // Two hosts store the same at once: each chunk lies in two packs.
    let (one, two) = (Pending::begin(&store), Pending::begin(&store));
    let info = {
        store.ingest("one", &[("a", &a)]);
        store.open().resolve("one").unwrap()
    };
    drop((one, two));
    let mut copies = Vec::new();
    for key in store
        .keys(Area::Data)
        .into_iter()
        .chain(store.keys(Area::Meta))
    {
        copies.push((key.clone(), store.backend.read_all(&key, u64::MAX).unwrap()));
    }
    for (key, _) in &copies {
        store.tamper(key, None);
    }
    let id = store.ingest("two", &[("a", &a)]);
    for (key, bytes) in copies {
        store.backend.tamper(&key, Some(bytes));
    }
    assert_eq!(count(&store, Area::Data), 2);
    // Two plans of two prunes, written at the same time, each condemning the other's choice.
    let repository = store.open();
    let packs = |of: &SnapshotInfo| {
        let mut ids = Vec::new();
        let all = repository.catalog().packs(|row| {
            ids.push((row.id, row.kind));
            Ok(())
        });
        all.unwrap();
        let Body::Directory(tree) = of.snapshot.root.body else {
            unreachable!("a directory")
        };
        let homes = repository.homes(&tree.id.shorten()).unwrap();
        assert_eq!(homes.len(), 2);
        (ids, homes)
    };
    let (all, _) = packs(&info);
    let (left, right): (Vec<_>, Vec<_>) = all.iter().partition(|(id, _)| {
        let row = repository.catalog().listings(id).unwrap();
        row == repository.catalog().listings(&all[0].0).unwrap()
    });
    assert_eq!((left.len(), right.len()), (2, 2));
    repository.write_plan(left, false).unwrap();
    repository.write_plan(right, false).unwrap();
    let settled = settle(&store.open(), None, true, &Silent).unwrap();
    assert_eq!((settled.removed.count, settled.released), (2, 2));
    assert_holds(&store, "one", &[("a", &a)]);
    assert!(store.open().snapshot(&id).is_ok());
    assert_holds(&store, "two", &[("a", &a)]);
}

#[test]
fn a_forged_plan_removes_nothing_that_is_needed() {
    let store = arc_store();
    let a = noise(1, 300_000);
    store.ingest("one", &[("a", &a)]);
    let repository = store.open();
    let mut all = Vec::new();
    let packs = repository.catalog().packs(|row| {
        all.push((row.id, row.kind));
        Ok(())
    });
    packs.unwrap();
    repository.write_plan(all, false).unwrap();
    let settled = settle(&repository, None, true, &Silent).unwrap();
    assert_eq!((settled.removed.count, settled.released), (0, 2));
    assert_holds(&store, "one", &[("a", &a)]);
}

#[test]
fn a_file_with_the_bytes_of_a_tree_hides_nothing() {
    let store = arc_store();
    let content = noise(1, 100_000);
    store.ingest("one", &[("dir/a", &content)]);
    let repository = store.open();
    let info = repository.resolve("one").unwrap();
    let Body::Directory(root) = info.snapshot.root.body else {
        unreachable!("a directory")
    };
    let tree = repository
        .cache()
        .chunk(&repository, &root.id)
        .unwrap()
        .to_vec();
    // Reached as content first: snapshots are marked by their age.
    store.ingest("two", &[("tree", &tree)]);
    let mut snapshot = info.snapshot.clone();
    snapshot.time = crate::entry::Time::new(1 << 40, 0);
    let older = Pending::begin(&store);
    forget(&store, &info.id);
    older.commit_again(&SnapshotInfo {
        id: info.id,
        snapshot,
    });
    let report = prune_all(&store);
    assert_eq!(report.unneeded.count, 0, "{report:?}");
    assert_holds(&store, "again", &[("dir/a", &content)]);
}

#[test]
fn packs_of_a_run_in_progress_are_left_alone_and_those_of_a_killed_one_go() {
    let store = arc_store();
    store.ingest("one", &[("a", b"a")]);
    let running = Pending::begin(&store);
    {
        let writer = running.writer.as_ref().unwrap();
        for seed in 0..3 {
            writer.put_data(&noise(seed, 100_000)).unwrap();
        }
        for seed in 0..400 {
            writer.put_meta(&noise(1000 + seed, 50_000)).unwrap();
        }
    }
    let until = || count(&store, Area::Meta) > 1;
    for _ in 0..1000 {
        if until() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let report = prune_all(&store);
    assert!(report.in_progress.count > 0, "{report:?}");
    assert_eq!(report.unneeded.count, 0, "{report:?}");
    drop(running);
    let report = prune_all(&store);
    assert_eq!(report.in_progress.count, 0);
    assert!(report.settled.removed.count > 0, "{report:?}");
    assert_holds(&store, "one", &[("a", b"a")]);
}

#[test]
fn other_clients_forget_what_was_pruned_without_a_word() {
    let store = arc_store();
    let a = noise(1, 300_000);
    let first = store.ingest("one", &[("a", &a)]);
    let client = store.open();
    forget(&store, &first);
    store.ingest("two", &[("b", b"b")]);
    assert_eq!(prune_all(&store).settled.removed.count, 2);
    let recorder = Arc::new(Recorder::default());
    let monitor: Arc<dyn Monitor> = recorder.clone();
    let writer = Writer::begin(&client, WriterOptions::default(), &monitor).unwrap();
    drop(writer);
    assert_eq!(recorder.warnings(), Vec::<String>::new());
    // What an index object still names is lost.
    let data = store.keys(Area::Data);
    store.tamper(&data[0], None);
    drop(Writer::begin(&client, WriterOptions::default(), &monitor).unwrap());
    assert_eq!(recorder.warnings().len(), 1);
}
