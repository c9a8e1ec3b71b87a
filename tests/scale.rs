//! What must not grow with the repository, counted: calls to the store, bytes read, trees entered. `scripts/scale` measures the same in
//! seconds and MiB, with millions of chunks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;
#[path = "fixture/synthetic.rs"]
mod synthetic;

use std::collections::BTreeMap;
use std::sync::Arc;

use fixture::{create, file, ingest_tree, open};
use repo::backend::fault::{Call, Faulty, Op};
use repo::backend::{Area, Backend, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::KeyFile;
use repo::entry::Time;
use repo::format::header::Suite;
use repo::maintain::check::{ReadData, check};
use repo::maintain::prune::{PruneOptions, prune};
use repo::maintain::stats::stats;
use repo::progress::{Count, Monitor, Recorder, Silent};
use repo::repository::{Repository, Writer, WriterOptions};
use synthetic::{DIRECTORY_CHUNKS, Shape, generate};

struct Sample {
    memory: Arc<Memory>,
    store: Arc<Faulty>,
    backend: Arc<dyn Backend>,
    key: KeyFile,
    _folder: tempfile::TempDir,
    catalog: CatalogPlace,
}

impl Sample {
    fn new(directories: u64, snapshots: u64) -> Self {
        let memory = Arc::new(Memory::new());
        let store = Faulty::new(memory.clone());
        let backend: Arc<dyn Backend> = store.clone();
        let key = create(backend.as_ref(), Suite::ChaCha20Poly1305);
        let shape = Shape {
            chunks: directories * DIRECTORY_CHUNKS,
            snapshots,
        };
        generate(&backend, &key, shape).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let catalog = CatalogPlace::File(folder.path().join("catalog.sqlite"));
        store.reset();
        Self {
            memory,
            store,
            backend,
            key,
            _folder: folder,
            catalog,
        }
    }

    fn open(&self) -> Arc<Repository> {
        open(&self.backend, &self.key, &self.catalog).unwrap()
    }

    /// What was asked of the store since: how often, and how many bytes were read.
    fn work(&self) -> (BTreeMap<(Op, Option<Area>), usize>, u64) {
        let mut calls = BTreeMap::new();
        for call in self.store.calls() {
            *calls.entry((call.op, call.area)).or_default() += 1;
        }
        let read = self.read(&|_| true);
        self.store.reset();
        (calls, read)
    }

    /// Bytes read by these calls; an object that is gone by now counts nothing.
    fn read(&self, which: &dyn Fn(&Call) -> bool) -> u64 {
        let bytes = |call: &Call| match (call.op, &call.key) {
            (Op::Read, _) => call.bytes,
            (Op::ReadAll, Some(key)) => self.memory.size(key).unwrap_or(0),
            _ => 0,
        };
        let calls = self.store.calls();
        calls.iter().filter(|call| which(call)).map(bytes).sum()
    }

    /// Trees that a mark enters.
    fn marked(&self) -> u64 {
        let repository = self.open();
        let recorder = Arc::new(Recorder::default());
        let monitor: Arc<dyn Monitor> = recorder.clone();
        let options = PruneOptions {
            dry_run: true,
            ..PruneOptions::default()
        };
        prune(&repository, &options, &monitor).unwrap();
        recorder.count(Count::Objects)
    }
}

#[test]
fn a_synthetic_repository_is_whole() {
    let sample = Sample::new(100, 6);
    let repository = sample.open();
    let mut harms = 0;
    let report = check(&repository, ReadData::All, &Silent, &mut |_| harms += 1).unwrap();
    assert!(report.is_whole() && harms == 0, "{report:?}");
    assert_eq!((report.snapshots, report.harmless), (6, 0));
    assert_eq!(
        stats(&repository).unwrap().data_chunks,
        100 * DIRECTORY_CHUNKS
    );
}

#[test]
fn to_open_and_to_add_a_little_costs_the_same_whatever_the_size() {
    let work = |directories| {
        let sample = Sample::new(directories, 4);
        drop(sample.open());
        let (_, rebuilt) = sample.work();
        let repository = sample.open();
        let opened = sample.work();
        assert_eq!(repository.snapshots().unwrap().len(), 4);
        assert_eq!(
            sample.work(),
            (BTreeMap::new(), 0),
            "snapshots are in the catalog"
        );
        ingest_tree(&repository, "more", vec![file("new", b"a few bytes")], 1);
        (rebuilt, opened, sample.work())
    };
    let (small, large) = (work(20), work(200));
    assert_eq!((&small.1, &small.2), (&large.1, &large.2));
    assert!(
        large.0 > 5 * small.0,
        "else there is nothing to tell apart: {} and {}",
        small.0,
        large.0
    );
    let (calls, read) = small.1;
    assert!(
        !calls.keys().any(|(_, area)| *area == Some(Area::Data)),
        "{calls:?}"
    );
    assert!(read < 4096, "{read} bytes are read to open");
}

#[test]
fn a_new_catalog_reads_every_index_object_once() {
    let sample = Sample::new(100, 5);
    drop(sample.open());
    let indexes = |call: &Call| call.area == Some(Area::Index);
    let read = sample.read(&indexes);
    let (mut stored, mut objects) = (0, 0);
    let count = &mut |_: &str, bytes| {
        stored += bytes;
        objects += 1;
        Ok(())
    };
    sample.memory.list(Area::Index, count).unwrap();
    assert_eq!((objects, read), (5, stored));
}

#[test]
fn a_mark_enters_each_tree_once_over_all_snapshots() {
    // Ten directories in one group, and the root.
    let sample = Sample::new(10, 1);
    assert_eq!(sample.marked(), 12);
    let repository = sample.open();
    let all = repository.snapshots().unwrap();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    for hour in 1..=40 {
        let mut again = all[0].snapshot.clone();
        again.time = Time::new(again.time.seconds + 3600 * hour, 0);
        let mut writer = Writer::begin(&repository, WriterOptions::default(), &monitor).unwrap();
        writer.finish().unwrap();
        writer.commit(&again).unwrap();
    }
    assert_eq!(sample.marked(), 12);
}

#[test]
fn a_snapshot_adds_to_a_mark_what_changed_in_it() {
    // Each of nine later snapshots has one new directory, and what is above it.
    let sample = Sample::new(30 + 9, 10);
    assert_eq!(sample.marked(), 32 + 9 * 3);
}
