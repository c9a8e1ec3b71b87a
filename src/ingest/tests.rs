//! Whole ingests into a repository in memory, read back through the readers.

use std::sync::Arc;

use super::*;
use crate::backend::Backend;
use crate::backend::Memory;
use crate::catalog::CatalogPlace;
use crate::crypto::slot::Unlock;
use crate::crypto::{KdfParams, KeyFile, Role};
use crate::entry::{EntryPath, Kind, MemoryEntry, MemorySource, Outcome, Piece, Stat};
use crate::format::header::Suite;
use crate::format::tree::Body;
use crate::progress::{Count, Recorder};
use crate::repository::content::Content;
use crate::repository::trees::{Walk, find_path};
use crate::repository::{CreateOptions, SlotOptions};

struct Fixture {
    backend: Arc<Memory>,
    key: KeyFile,
    recorder: Arc<Recorder>,
    scratch: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let backend = Arc::new(Memory::new());
        let key = KeyFile::generate().unwrap();
        let slot = SlotOptions {
            role: Role::Full,
            label: String::new(),
            created: 0,
            kdf: KdfParams::default(),
        };
        let options = CreateOptions {
            suite: Suite::ChaCha20Poly1305,
            slot,
        };
        Repository::create(backend.as_ref(), &options, Unlock::KeyFile(&key)).unwrap();
        Self {
            backend,
            key,
            recorder: Arc::default(),
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self) -> Arc<Repository> {
        let backend: Arc<dyn Backend> = self.backend.clone();
        Repository::open(
            backend,
            Unlock::KeyFile(&self.key),
            &CatalogPlace::Memory,
            self.recorder.as_ref(),
        )
        .unwrap()
    }

    fn ingest(
        &self,
        repository: &Arc<Repository>,
        entries: Vec<MemoryEntry>,
        order: Order,
    ) -> IngestSummary {
        let monitor: Arc<dyn Monitor> = self.recorder.clone();
        let request = IngestRequest {
            scratch: Some(self.scratch.path().to_owned()),
            ..request("test")
        };
        let ingest = Ingest::begin(repository, request, &monitor).unwrap();
        ingest
            .run(
                MemorySource::new(entries, order),
                |_| Cutting::File,
                |_| Ok(StreamFacts::of(StreamKind::Dir)),
            )
            .unwrap()
    }
}

fn request(name: &str) -> IngestRequest {
    IngestRequest {
        name: name.into(),
        description: String::new(),
        tags: Vec::new(),
        time: Time::new(1000, 0),
        host: String::new(),
        user: String::new(),
        sources: Vec::new(),
        program: "test".into(),
        known_as: Some(b"/source".to_vec()),
        scratch: None,
        clock: Time::default,
        writer: WriterOptions {
            level: 3,
            workers: 2,
        },
    }
}

fn entry(path: &str, kind: Kind, content: Vec<Piece>) -> MemoryEntry {
    let path = EntryPath::parse(path.as_bytes()).unwrap();
    let outcome = matches!(kind, Kind::File).then_some(Outcome::Whole);
    let mut entry = Entry::new(path, kind);
    entry.meta.mode = 0o644;
    MemoryEntry {
        entry,
        content,
        outcome,
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[5]
    };
    (0..len).map(|_| next()).collect()
}

fn read(repository: &Repository, summary: &IngestSummary, path: &str) -> Vec<u8> {
    let path = EntryPath::parse(path.as_bytes()).unwrap();
    let node = find_path(repository, &summary.snapshot.root, &path)
        .unwrap()
        .unwrap();
    let Body::File { size, content } = &node.body else {
        panic!("{path} is no file")
    };
    let mut bytes = vec![0; usize::try_from(*size).unwrap()];
    Content::new(content)
        .read_at(repository, 0, &mut bytes)
        .unwrap();
    bytes
}

fn sample() -> Vec<MemoryEntry> {
    vec![
        entry("", Kind::Directory, vec![]),
        entry("a", Kind::Directory, vec![]),
        entry("a/big", Kind::File, vec![Piece::Data(noise(5_000_000, 7))]),
        entry("a/empty", Kind::File, vec![]),
        entry("a/link", Kind::Symlink(b"../x".to_vec()), vec![]),
        entry(
            "a/sparse",
            Kind::File,
            vec![
                Piece::Hole(1 << 20),
                Piece::Data(noise(10, 3)),
                Piece::Hole(5),
            ],
        ),
        entry("b", Kind::File, vec![Piece::Data(b"hello".to_vec())]),
        entry("c", Kind::File, vec![Piece::Data(vec![0; 3_000_000])]),
    ]
}

#[test]
fn what_goes_in_is_read_back() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let summary = fixture.ingest(&repository, sample(), Order::Walk);
    assert_eq!(summary.snapshot.counts.files, 5);
    for opened in [repository, fixture.open()] {
        for item in sample().iter().filter(|i| i.entry.is_file()) {
            let path = item.entry.path.to_string();
            assert!(read(&opened, &summary, &path) == item.bytes(), "{path}");
        }
        assert_eq!(opened.resolve("test").unwrap().id, summary.id);
    }
    assert!(
        fixture
            .recorder
            .notes()
            .iter()
            .any(|n| n.contains("rebuilt"))
    );
    assert_eq!(fixture.recorder.warnings(), Vec::<String>::new());
}

#[test]
fn the_second_time_stores_no_content() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let first = fixture.ingest(&repository, sample(), Order::Walk);
    let second = fixture.ingest(&repository, sample(), Order::Walk);
    assert_eq!(first.snapshot.root, second.snapshot.root);
    assert_eq!((second.finished.new_chunks, second.finished.packs), (0, 0));
}

#[test]
fn unchanged_files_are_not_read_again() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let mut entries = sample();
    for item in &mut entries {
        item.entry.size = item.bytes().len() as u64;
        item.entry.stat = Some(Stat {
            inode: 5,
            links: 1,
            ..Stat::default()
        });
    }
    let first = fixture.ingest(&repository, entries.clone(), Order::Walk);
    assert_eq!(fixture.recorder.count(Count::UnchangedFiles), 0);
    let read_before = fixture.recorder.count(Count::Bytes);
    let second = fixture.ingest(&repository, entries.clone(), Order::Walk);
    assert_eq!(fixture.recorder.count(Count::UnchangedFiles), 5);
    assert_eq!(fixture.recorder.count(Count::Bytes), read_before);
    assert_eq!(first.snapshot.root, second.snapshot.root);
    entries[6].entry.stat = Some(Stat {
        inode: 6,
        links: 1,
        ..Stat::default()
    });
    fixture.ingest(&repository, entries, Order::Walk);
    assert_eq!(fixture.recorder.count(Count::UnchangedFiles), 9);
}

#[test]
fn members_of_an_archive_may_come_in_any_order_and_again() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let data = |text: &str| vec![Piece::Data(text.as_bytes().to_vec())];
    let target = EntryPath::parse(b"d/one").unwrap();
    let entries = vec![
        entry("z/deep/file", Kind::File, data("first")),
        entry("d/two", Kind::HardLink(target), vec![]),
        entry("d/one", Kind::File, data("one")),
        entry("z/deep/file", Kind::File, data("second")),
        entry("d/one/below", Kind::File, data("unplaceable")),
        entry("d", Kind::Directory, vec![]),
    ];
    let summary = fixture.ingest(&repository, entries, Order::Archive);
    assert_eq!(read(&repository, &summary, "z/deep/file"), b"second");
    assert_eq!(read(&repository, &summary, "d/two"), b"one");
    let names: Vec<String> = Walk::new(&repository, &summary.snapshot.root, EntryPath::root())
        .map(|found| found.unwrap().0.to_string())
        .collect();
    assert_eq!(names, ["d", "d/one", "d/two", "z", "z/deep", "z/deep/file"]);
    assert_eq!(summary.snapshot.warning_count, 1);
    assert!(!summary.snapshot.overrides.is_empty());
}

/// Links and replaced contents were kept in memory, hundreds of bytes for each: now they are spilled, here all of them.
#[test]
fn links_and_overrides_of_an_archive_outgrow_memory() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let data = |text: String| vec![Piece::Data(text.into_bytes())];
    let path = |text: String| EntryPath::parse(text.as_bytes()).unwrap();
    let mut entries = Vec::new();
    for n in 0..300 {
        // A chain of links that come before the file, and a content that a later member replaces.
        let (first, last) = (path(format!("b{n}")), path(format!("c{n}")));
        entries.push(entry(&format!("a{n}"), Kind::HardLink(first), vec![]));
        entries.push(entry(&format!("b{n}"), Kind::HardLink(last), vec![]));
        entries.push(entry(
            &format!("c{n}"),
            Kind::File,
            data(format!("old {n}")),
        ));
        entries.push(entry(
            &format!("c{n}"),
            Kind::File,
            data(format!("new {n}")),
        ));
        // A link that is replaced is none.
        let gone = path(format!("c{n}"));
        entries.push(entry(&format!("d{n}"), Kind::HardLink(gone), vec![]));
        entries.push(entry(
            &format!("d{n}"),
            Kind::File,
            data(format!("own {n}")),
        ));
    }
    let summary = fixture.ingest(&repository, entries, Order::Archive);
    assert_eq!(summary.snapshot.warning_count, 0);
    let mut groups = std::collections::HashMap::new();
    for found in Walk::new(&repository, &summary.snapshot.root, EntryPath::root()) {
        let (path, node) = found.unwrap();
        let name = path.to_string();
        let (kind, n) = name.split_at(1);
        let new = if kind == "d" { "own" } else { "new" };
        assert_eq!(
            read(&repository, &summary, &name),
            format!("{new} {n}").as_bytes()
        );
        if kind == "d" {
            assert_eq!((node.link_group, node.links), (0, 1));
        } else {
            assert_eq!(node.links, 3, "{path}");
            assert_eq!(
                *groups.entry(n.to_owned()).or_insert(node.link_group),
                node.link_group
            );
        }
    }
    assert_eq!(groups.len(), 300);
}

/// All files of a directory were held until its end to be recognised the next time: now a part of them at a time.
#[test]
fn a_directory_of_many_parts_is_recognised_part_by_part() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let file = |n: u64, inode: u64| {
        let mut item = entry(
            &format!("f{n:03}"),
            Kind::File,
            vec![Piece::Data(noise(50, n))],
        );
        item.entry.size = 50;
        item.entry.stat = Some(Stat {
            inode,
            links: 1,
            ..Stat::default()
        });
        item
    };
    let root = || entry("", Kind::Directory, vec![]);
    let mut reused = 0;
    let mut run = |files: Vec<MemoryEntry>| {
        let entries = std::iter::once(root()).chain(files).collect();
        fixture.ingest(&repository, entries, Order::Walk);
        let before = std::mem::replace(&mut reused, fixture.recorder.count(Count::UnchangedFiles));
        reused - before
    };
    let all = || (0..20).map(|n| file(n, n + 100));
    assert_eq!(run(all().collect()), 0);
    assert_eq!(run(all().collect()), 20);
    // One changed in the middle, one gone from another part, one more at the end.
    let changed: Vec<_> = (0..21)
        .filter(|n| *n != 4)
        .map(|n| file(n, if n == 10 { 1 } else { n + 100 }))
        .collect();
    assert_eq!(run(changed.clone()), 18);
    assert_eq!(run(changed), 20);
    assert_eq!(run(all().collect()), 18);
    assert_eq!(run(all().collect()), 20);
    assert_eq!(run(all().take(2).collect()), 2);
    assert_eq!(run(all().collect()), 2);
}

#[test]
fn a_large_directory_is_sharded_and_found_again() {
    let fixture = Fixture::new();
    let repository = fixture.open();
    let mut entries = vec![entry("", Kind::Directory, vec![])];
    for index in 0..5000 {
        entries.push(entry(&format!("f{index:06}"), Kind::Fifo, vec![]));
    }
    let summary = fixture.ingest(&repository, entries, Order::Walk);
    let Body::Directory(tree) = &summary.snapshot.root.body else {
        panic!("no root")
    };
    assert_eq!((tree.names, tree.total), (5000, 5000));
    let path = EntryPath::parse(b"f004321").unwrap();
    assert!(
        find_path(&repository, &summary.snapshot.root, &path)
            .unwrap()
            .is_some()
    );
    let walk = Walk::new(&repository, &summary.snapshot.root, EntryPath::root());
    assert_eq!(walk.count(), 5000);
}

#[test]
fn what_follows_a_compressed_stream_is_named() {
    use std::io::Write;
    let fixture = Fixture::new();
    let repository = fixture.open();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // An empty tar.
    gzip.write_all(&[0; 1024]).unwrap();
    let mut bytes = gzip.finish().unwrap();
    bytes.extend_from_slice(b"garbage");
    let monitor: Arc<dyn Monitor> = fixture.recorder.clone();
    let ingest = Ingest::begin(&repository, request("tail"), &monitor).unwrap();
    let bytes = std::io::Cursor::new(bytes);
    ingest_stream(ingest, bytes, &StreamRequest::default()).unwrap();
    let warnings = fixture.recorder.warnings();
    assert!(
        warnings[0].starts_with("7 bytes after the end of the gzip stream"),
        "{warnings:?}"
    );
}
