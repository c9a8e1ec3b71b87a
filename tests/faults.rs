//! Ingest into a store that fails at any call, into one that went back in time, and with threads that die: what was
//! committed stays, nothing hangs, and the next ingest is whole.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use repo::backend::fault::{Fault, Faulty, Op, Trigger};
use repo::backend::{Area, Backend, Key, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::entry::{
    Entry, EntryPath, Kind, MemoryEntry, MemorySource, Order, Outcome, Piece, Sink, Source, Stat,
    Time,
};
use repo::error::{Class, Error, Result};
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::format::tree::Body;
use repo::ingest::{Ingest, IngestRequest, IngestSummary, StreamFacts};
use repo::maintain::check::{ReadData, check};
use repo::progress::{Count, Monitor, Silent};
use repo::repository::content::Content;
use repo::repository::trees::find_path;
use repo::repository::{
    Batch, Blocks, CreateOptions, Cutting, Repository, SlotOptions, Writer, WriterOptions,
};

/// Nothing here takes seconds, whatever the machine does beside.
const PATIENCE: Duration = Duration::from_mins(2);

struct Store {
    memory: Arc<Memory>,
    faulty: Arc<Faulty>,
    key: KeyFile,
    directory: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let key = KeyFile::generate().unwrap();
        let slot = SlotOptions {
            role: Role::Full,
            label: String::new(),
            created: 0,
            kdf: KdfParams::default(),
        };
        let suite = Suite::ChaCha20Poly1305;
        let options = CreateOptions { suite, slot };
        Repository::create(memory.as_ref(), &options, Unlock::KeyFile(&key)).unwrap();
        Self {
            faulty: Faulty::new(memory.clone()),
            memory,
            key,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn open_at(&self, place: &CatalogPlace) -> Result<Arc<Repository>> {
        let backend: Arc<dyn Backend> = self.faulty.clone();
        Repository::open(backend, Unlock::KeyFile(&self.key), place, &Silent)
    }

    /// With a catalog that stays.
    fn open(&self) -> Result<Arc<Repository>> {
        let file = self.directory.path().join("catalog");
        self.open_at(&CatalogPlace::File(file))
    }

    fn objects(&self) -> Vec<Key> {
        let mut all = Vec::new();
        for area in [Area::Data, Area::Meta, Area::Index, Area::Snapshots] {
            self.memory
                .list(area, &mut |name, _| {
                    all.push(Key::named(area, name).unwrap());
                    Ok(())
                })
                .unwrap();
        }
        all
    }

    /// Every byte is checked, by somebody who knows only the store.
    fn assert_sound(&self, what: &str) {
        let repository = self.open_at(&CatalogPlace::Memory).unwrap();
        let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
        assert!(report.is_sound(), "{what}: {:?}", report.problems);
    }
}

fn content(seed: u8) -> Vec<u8> {
    (0..40_000_u32)
        .flat_map(|n| (n ^ u32::from(seed) << 24).to_le_bytes())
        .collect()
}

fn entries(seed: u8) -> Vec<MemoryEntry> {
    let mut all = vec![MemoryEntry {
        entry: Entry::new(EntryPath::root(), Kind::Directory),
        content: Vec::new(),
        outcome: None,
    }];
    for (name, bytes) in [("new", content(seed)), ("same", content(0))] {
        let mut entry = Entry::new(EntryPath::parse(name.as_bytes()).unwrap(), Kind::File);
        entry.size = bytes.len() as u64;
        entry.stat = Some(Stat {
            inode: u64::from(seed),
            links: 1,
            ctime: Time::new(5, 5),
            ..Stat::default()
        });
        all.push(MemoryEntry {
            entry,
            content: vec![Piece::Data(bytes)],
            outcome: Some(Outcome::Whole),
        });
    }
    all
}

fn request() -> IngestRequest {
    IngestRequest {
        name: "test".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        time: Time::new(100, 0),
        host: String::new(),
        user: String::new(),
        sources: Vec::new(),
        program: "test".to_owned(),
        known_as: Some(b"/source".to_vec()),
        scratch: None,
        clock: Time::default,
        writer: WriterOptions {
            level: 1,
            workers: 2,
        },
    }
}

fn ingest_from(
    repository: &Arc<Repository>,
    source: impl Source,
    monitor: &Arc<dyn Monitor>,
) -> Result<IngestSummary> {
    Ingest::begin(repository, request(), monitor)?.run(
        source,
        |_| Cutting::File,
        |_| Ok(StreamFacts::of(StreamKind::Dir)),
    )
}

/// An ingest that must end by itself.
fn ingest(
    repository: &Arc<Repository>,
    seed: u8,
    monitor: Arc<dyn Monitor>,
) -> Result<IngestSummary> {
    let (done, result) = channel();
    let repository = Arc::clone(repository);
    std::thread::spawn(move || {
        let source = MemorySource::new(entries(seed), Order::Walk);
        drop(done.send(ingest_from(&repository, source, &monitor)));
    });
    result.recv_timeout(PATIENCE).expect("the ingest hangs")
}

fn assert_reads(repository: &Repository, summary: &IngestSummary, seed: u8) {
    for (name, expected) in [("new", content(seed)), ("same", content(0))] {
        let path = EntryPath::parse(name.as_bytes()).unwrap();
        let node = find_path(repository, &summary.snapshot.root, &path);
        let Body::File { size, content } = node.unwrap().unwrap().body else {
            panic!("no file")
        };
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let read = Content::new(&content).read_at(repository, 0, &mut bytes);
        read.unwrap();
        assert!(bytes == expected, "{name} has other bytes");
    }
}

/// Walks through every call that an ingest makes, opening included.
fn fail_everywhere(fault: Fault) {
    for nth in 1.. {
        let store = Store::new();
        let first = ingest(&store.open().unwrap(), 1, Arc::new(Silent)).unwrap();
        store.faulty.reset();
        store.faulty.inject(Trigger::any(nth, fault));
        let second = store
            .open()
            .and_then(|repository| ingest(&repository, 2, Arc::new(Silent)));
        let calls = store.faulty.calls();
        store.faulty.reset();
        let what = format!("{fault:?} at call {nth} ({:?})", calls.last());
        store.assert_sound(&what);
        let repository = store.open().unwrap();
        assert_reads(&repository, &first, 1);
        if let Ok(second) = &second {
            assert_reads(&repository, second, 2);
        }
        let third = ingest(&repository, 2, Arc::new(Silent)).unwrap();
        assert_reads(&repository, &third, 2);
        store.assert_sound(&what);
        if calls.len() < usize::try_from(nth).unwrap() {
            assert!(second.is_ok() && nth > 5, "{what}");
            return;
        }
        if let (Fault::Fail(class), Some(Op::WriteNew)) = (fault, calls.last().map(|c| c.op)) {
            assert_eq!(second.unwrap_err().class(), class, "{what}");
        }
    }
}

#[test]
fn a_call_that_fails_at_any_place_costs_only_its_own_ingest() {
    fail_everywhere(Fault::Fail(Class::Full));
}

#[test]
fn a_store_that_is_gone_from_any_call_on_loses_nothing_committed() {
    fail_everywhere(Fault::Stop);
}

#[test]
fn an_answer_that_is_lost_at_any_place_loses_nothing() {
    fail_everywhere(Fault::StopAfter);
}

#[test]
fn a_store_put_back_to_an_earlier_state_gets_everything_anew() {
    let store = Store::new();
    ingest(&store.open().unwrap(), 1, Arc::new(Silent)).unwrap();
    let before = store.objects();
    ingest(&store.open().unwrap(), 2, Arc::new(Silent)).unwrap();
    for key in store.objects() {
        if !before.contains(&key) {
            store.memory.remove(&key).unwrap();
        }
    }
    // The catalog remembers packs and unchanged files that are no more.
    let repository = store.open().unwrap();
    let again = ingest(&repository, 2, Arc::new(Silent)).unwrap();
    assert_reads(&repository, &again, 2);
    // Packs that went with the index objects that named them look as if they had been pruned.
    assert_eq!(again.snapshot.warning_count, 0);
    store.assert_sound("after the store was put back");
}

/// Dies on the thread that counts.
struct Dying(Count);

impl Monitor for Dying {
    fn add(&self, count: Count, _: u64) {
        assert!(count != self.0, "dies on purpose");
    }
    fn expect(&self, _: Count, _: u64) {}
    fn doing(&self, _: &dyn Fn() -> String) {}
    fn warn(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        false
    }
}

#[test]
fn a_thread_that_dies_ends_the_ingest() {
    for count in [Count::KnownBytes, Count::StoredBytes] {
        let store = Store::new();
        let repository = store.open().unwrap();
        ingest(&repository, 1, Arc::new(Dying(count))).unwrap_err();
        ingest(&repository, 1, Arc::new(Silent)).unwrap();
        store.assert_sound("after a thread died");
    }
}

#[test]
fn whoever_asks_after_a_failure_gets_its_reason() {
    let store = Store::new();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let writer = Writer::begin(&store.open().unwrap(), request().writer, &monitor).unwrap();
    let batch = |sequence| Batch {
        sequence,
        cutting: Cutting::File,
        bytes: Vec::new(),
        lens: vec![1],
    };
    writer.submit(batch(0)).unwrap();
    let first = writer.wait(0).unwrap_err();
    assert_eq!(first.class(), Class::Invalid);
    let second = writer.submit(batch(1)).unwrap_err();
    assert_eq!(second.to_string(), first.to_string());
}

/// Breaks off after everything was told.
struct Broken(MemorySource);

impl Source for Broken {
    fn order(&self) -> Order {
        Order::Walk
    }
    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.0.stream(sink)?;
        Err(Error::corrupt("cut short"))
    }
}

#[test]
fn trees_of_an_ingest_that_was_given_up_are_not_written() {
    let store = Store::new();
    let source = Broken(MemorySource::new(entries(1), Order::Walk));
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let error = ingest_from(&store.open().unwrap(), source, &monitor).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    let trees = |key: &Key| key.area() == Area::Meta;
    assert!(!store.objects().iter().any(trees));
}

#[test]
fn readers_wait_for_a_search_of_the_store_that_is_under_way() {
    let store = Store::new();
    let reader = store.open_at(&CatalogPlace::Memory).unwrap();
    let writer = store.open_at(&CatalogPlace::Memory).unwrap();
    let summary = ingest(&writer, 1, Arc::new(Silent)).unwrap();
    let Body::Directory(root) = &summary.snapshot.root.body else {
        panic!("no root")
    };
    let slow = Fault::Slow(Duration::from_millis(300));
    store
        .faulty
        .inject(Trigger::at(Op::List, 1, slow).within(Area::Index));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| reader.locate(&root.id).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn what_could_not_be_read_again_does_not_become_a_snapshot() {
    let store = Store::new();
    let repository = store.open().unwrap();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let request = IngestRequest {
        name: "n".repeat(300),
        ..request()
    };
    let result = Ingest::begin(&repository, request, &monitor).unwrap().run(
        MemorySource::new(entries(1), Order::Walk),
        |_| Cutting::File,
        |_| Ok(StreamFacts::of(StreamKind::Dir)),
    );
    assert_eq!(result.unwrap_err().class(), Class::Invalid);
    assert!(repository.snapshots().unwrap().is_empty());
}

#[test]
fn a_file_just_changed_where_clocks_count_seconds_is_read_again() {
    let unchanged = |ctime: Time, begun: Time| {
        let store = Store::new();
        let repository = store.open().unwrap();
        let counted = Arc::new(repo::progress::Recorder::default());
        for _ in 0..2 {
            let mut all = entries(1);
            for one in &mut all {
                one.entry.stat = one.entry.stat.map(|stat| Stat { ctime, ..stat });
            }
            let monitor: Arc<dyn Monitor> = counted.clone();
            let request = IngestRequest {
                time: begun,
                ..request()
            };
            let ingest = Ingest::begin(&repository, request, &monitor).unwrap();
            ingest
                .run(
                    MemorySource::new(all, Order::Walk),
                    |_| Cutting::File,
                    |_| Ok(StreamFacts::of(StreamKind::Dir)),
                )
                .unwrap();
        }
        counted.count(Count::UnchangedFiles)
    };
    assert_eq!(unchanged(Time::new(50, 7), Time::new(50, 500_000_000)), 2);
    assert_eq!(unchanged(Time::new(50, 0), Time::new(51, 900_000_000)), 0);
    assert_eq!(unchanged(Time::new(50, 0), Time::new(52, 1)), 2);
}
