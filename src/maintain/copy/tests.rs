//! Copies into a repository with other sizes, and out of one that says what this version does not know.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::*;
use crate::entry::{Entry, EntryPath, Kind, MemoryEntry, MemorySource, Order, Outcome, Piece};
use crate::format::config::Config;
use crate::format::header::Suite;
use crate::format::snapshot::StreamKind;
use crate::format::tree::Body;
use crate::ingest::StreamFacts;
use crate::maintain::check::{ReadData, check};
use crate::maintain::fixture::{Store, noise};
use crate::progress::{Count, Recorder, Silent};
use crate::repository::content::Content;
use crate::repository::trees::find_path;

fn options(scratch: Option<PathBuf>) -> CopyOptions {
    CopyOptions {
        writer: WriterOptions {
            level: 1,
            workers: 2,
        },
        threads: NonZeroUsize::new(2).unwrap(),
        scratch,
    }
}

/// Small chunks, and blocks and packs of few of them.
fn small() -> Store {
    let id = crate::crypto::new_repository_id().unwrap();
    let mut config = Config::new(id, Suite::Aes256Gcm);
    config.chunks.min_bytes = 4 << 10;
    config.chunks.avg_bytes = 16 << 10;
    config.chunks.max_bytes = 64 << 10;
    config.chunks.fixed_bytes = 8 << 10;
    config.blocks.file_bytes = 32 << 10;
    config.blocks.disk_bytes = 16 << 10;
    config.blocks.pack_bytes = 256 << 10;
    Store::with(&config)
}

/// Files of every shape: none, one and many chunks, zeros at both ends, holes between.
fn entries() -> Vec<MemoryEntry> {
    let data = |seed, len| Piece::Data(noise(seed, len));
    let zeros = |len| Piece::Data(vec![0; len]);
    let files = [
        ("empty", vec![]),
        ("long", vec![data(1, 12 << 20)]),
        (
            "holes",
            vec![
                Piece::Hole(1 << 20),
                data(2, 5000),
                Piece::Hole(777),
                data(3, 300_000),
            ],
        ),
        ("only hole", vec![Piece::Hole(1 << 30)]),
        ("only zeros", vec![zeros(3 << 20)]),
        ("small", vec![data(4, 10)]),
        (
            "zeros",
            vec![zeros(500_001), data(5, 99_999), zeros(700_000)],
        ),
    ];
    let mut root = Entry::new(EntryPath::root(), Kind::Directory);
    root.meta.mode = 0o755;
    let mut all = vec![MemoryEntry {
        entry: root,
        content: Vec::new(),
        outcome: None,
    }];
    for (name, content) in files {
        let path = EntryPath::parse(name.as_bytes()).unwrap();
        all.push(MemoryEntry {
            entry: Entry::new(path, Kind::File),
            content,
            outcome: Some(Outcome::Whole),
        });
    }
    all.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    all
}

fn ingest(store: &Store, name: &str) -> SnapshotId {
    let source = MemorySource::new(entries(), Order::Walk);
    store.ingest_source(name, source, StreamFacts::of(StreamKind::Dir))
}

fn run(source: &Store, destination: &Store, scratch: Option<PathBuf>) -> (Vec<Copied>, CopySums) {
    let (from, to) = (source.open(), destination.open());
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let mut all = Vec::new();
    let snapshots = from.snapshots().unwrap();
    let each = &mut |_: &SnapshotInfo, copied: &Copied| all.push(copied.clone());
    let sums = copy(&from, &to, &snapshots, &options(scratch), &monitor, each).unwrap();
    (all, sums)
}

#[test]
fn contents_are_cut_as_the_destination_cuts_them() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = || Some(folder.path().join("scratch"));
    for (from, to) in [(Store::new(), small()), (small(), Store::new())] {
        ingest(&from, "tree");
        let (copied, sums) = run(&from, &to, scratch());
        let Copied::New(id) = copied[0] else {
            panic!("{copied:?}")
        };
        assert!(sums.new_bytes > 12 << 20);
        let direct = ingest(&to, "direct");
        let repository = to.open();
        let root = |id| repository.snapshot(id).unwrap().root.body;
        assert_eq!(root(&id), root(&direct));
        let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
        assert!(report.is_sound(), "{:?}", report.problems);
        let long = EntryPath::parse(b"long").unwrap();
        let root = repository.snapshot(&id).unwrap().root;
        let node = find_path(&repository, &root, &long).unwrap().unwrap();
        let Body::File { content, .. } = node.body else {
            panic!("no file")
        };
        let mut bytes = vec![0; 12 << 20];
        let read = Content::new(&content).read_at(&repository, 0, &mut bytes);
        assert_eq!(read.unwrap(), bytes.len());
        assert!(bytes == noise(1, 12 << 20));
    }
}

#[test]
fn what_a_later_version_put_there_is_not_carried_over_unread() {
    let (from, to) = (Store::new(), Store::new());
    let id = from.ingest("plain", &[("f", b"x")]);
    let repository = from.open();
    let mut later = repository.snapshot(&id).unwrap();
    later
        .unknown
        .keep(99, crate::format::fields::Value::Number(5));
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let mut writer = Writer::begin(&repository, WriterOptions::default(), &monitor).unwrap();
    writer.finish().unwrap();
    writer.commit(&later).unwrap();
    let (copied, _) = run(&from, &to, None);
    let refused = |one: &&Copied| match one {
        Copied::Damaged(losses) => losses.named[0].class == Class::Unsupported,
        _ => false,
    };
    assert_eq!(copied.iter().filter(refused).count(), 1);
    let new = |one: &&Copied| matches!(one, Copied::New(_));
    assert_eq!(copied.iter().filter(new).count(), 1);
}

/// The same bytes, once more under another name and once replaced in the middle: what is the same is read once.
#[test]
fn equal_subtrees_are_looked_into_once() {
    let (from, to) = (Store::new(), Store::new());
    let bytes: Vec<Vec<u8>> = (0..30).map(|n| noise(n, 2000)).collect();
    let names: Vec<String> = (0..30).map(|n| format!("d/deep/{n:02}")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .zip(&bytes)
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    from.ingest("one", &files);
    let mut changed = files.clone();
    changed.push(("e", b"new"));
    from.ingest("two", &changed);
    let (source, destination) = (from.open(), to.open());
    let recorder = Arc::new(Recorder::default());
    let monitor: Arc<dyn Monitor> = recorder.clone();
    let snapshots = source.snapshots().unwrap();
    let mut read = Vec::new();
    copy(
        &source,
        &destination,
        &snapshots,
        &options(None),
        &monitor,
        &mut |_, _| {
            read.push(recorder.count(Count::Bytes));
        },
    )
    .unwrap();
    assert_eq!(read, [30 * 2000, 30 * 2000 + 3]);
}

/// Its first chunks lie apart and within the places where disks are cut; the later ones do not, and come again in other snapshots: a chunk must not stand for what the destination made of its beginning.
#[test]
fn what_only_looks_like_a_disk_arrives_whole() {
    let (from, to) = (Store::new(), Store::new());
    let content = |shift: usize| {
        let mut pieces = Vec::new();
        for n in 0..20 {
            pieces.push(Piece::Data(noise(n, 1000)));
            pieces.push(Piece::Hole((64 << 10) - 1000));
        }
        // The same beginning at the same place, and the same once more at another.
        for part in [noise(91, 1 << 20), noise(90, shift), noise(91, 1 << 20)] {
            pieces.push(Piece::Data(part));
        }
        pieces
    };
    let file = |shift| {
        let entry = |path: &[u8], kind| Entry::new(EntryPath::parse(path).unwrap(), kind);
        let root = MemoryEntry {
            entry: entry(b"", Kind::Directory),
            content: Vec::new(),
            outcome: None,
        };
        let file = MemoryEntry {
            entry: entry(b"file", Kind::File),
            content: content(shift),
            outcome: Some(Outcome::Whole),
        };
        MemorySource::new(vec![root, file], Order::Walk)
    };
    for shift in [1, 77_777, 40_000] {
        let facts = StreamFacts::of(StreamKind::Dir);
        from.ingest_source("file", file(shift), facts);
    }
    let (copied, _) = run(&from, &to, None);
    let (source, destination) = (from.open(), to.open());
    let snapshots = source.snapshots().unwrap();
    for (info, copied) in snapshots.iter().zip(copied) {
        let Copied::New(id) = copied else {
            panic!("{copied:?}")
        };
        let read = |repository: &Repository, snapshot: &Snapshot| {
            let path = EntryPath::parse(b"file").unwrap();
            let node = find_path(repository, &snapshot.root, &path);
            let Body::File { size, content } = node.unwrap().unwrap().body else {
                panic!("no file")
            };
            let mut bytes = vec![0; usize::try_from(size).unwrap()];
            let read = Content::new(&content).read_at(repository, 0, &mut bytes);
            assert_eq!(read.unwrap(), bytes.len());
            bytes
        };
        let arrived = destination.snapshot(&id).unwrap();
        assert!(read(&source, &info.snapshot) == read(&destination, &arrived));
    }
}
