//! What a host with a key of the role `ingest` can do and cannot: it adds deduplicated snapshots, and it reads no content, name or
//! tree, however it tries.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::sync::Arc;

use repo::backend::{Area, Backend, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::entry::{Entry, EntryPath, Kind, MemoryEntry, MemorySource, Order, Outcome, Piece, Time};
use repo::error::Class;
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::format::tree::Body;
use repo::id::SnapshotId;
use repo::ingest::{Ingest, IngestRequest, IngestSummary, StreamFacts};
use repo::progress::{Monitor, Recorder};
use repo::repository::content::Content;
use repo::repository::trees::{Walk, find_path};
use repo::repository::{Blocks, CreateOptions, Cutting, Repository, SlotOptions, WriterOptions};

/// A marker that must be found nowhere in what is stored or told.
const CANARY: &str = "canary-7f3a";

fn slot(role: Role) -> SlotOptions {
    SlotOptions {
        role,
        label: String::new(),
        created: 0,
        kdf: KdfParams::default(),
    }
}

fn open(backend: &Arc<Memory>, key: &KeyFile) -> Arc<Repository> {
    let backend: Arc<dyn Backend> = backend.clone();
    let monitor = Recorder::default();
    Repository::open(
        backend,
        Unlock::KeyFile(key),
        &CatalogPlace::Memory,
        &monitor,
    )
    .unwrap()
}

fn entries() -> Vec<MemoryEntry> {
    let mut all = vec![MemoryEntry {
        entry: Entry::new(EntryPath::root(), Kind::Directory),
        content: Vec::new(),
        outcome: None,
    }];
    for index in 0..50_u32 {
        let name = format!("{CANARY}-{index:03}");
        let entry = Entry::new(EntryPath::parse(name.as_bytes()).unwrap(), Kind::File);
        let text = format!("{CANARY} says {index} ").repeat(200);
        all.push(MemoryEntry {
            entry,
            content: vec![Piece::Data(text.into_bytes())],
            outcome: Some(Outcome::Whole),
        });
    }
    all
}

fn ingest(repository: &Arc<Repository>, name: &str) -> IngestSummary {
    let monitor: Arc<dyn Monitor> = Arc::new(Recorder::default());
    let request = IngestRequest {
        name: name.to_owned(),
        description: CANARY.to_owned(),
        tags: Vec::new(),
        time: Time::new(100, 0),
        host: String::new(),
        user: String::new(),
        sources: vec![CANARY.as_bytes().to_vec()],
        program: "test".to_owned(),
        known_as: None,
        scratch: None,
        clock: Time::default,
        writer: WriterOptions::default(),
    };
    Ingest::begin(repository, request, &monitor)
        .unwrap()
        .run(
            MemorySource::new(entries(), Order::Walk),
            |_| Cutting::File,
            |_| Ok(StreamFacts::of(StreamKind::Dir)),
        )
        .unwrap()
}

fn names(backend: &Memory, area: Area) -> Vec<String> {
    let mut names = Vec::new();
    backend
        .list(area, &mut |name, _| {
            names.push(name.to_owned());
            Ok(())
        })
        .unwrap();
    names
}

#[test]
fn an_ingest_host_adds_deduplicated_snapshots_and_reads_nothing() {
    let backend = Arc::new(Memory::new());
    let (full_key, ingest_key) = (KeyFile::generate().unwrap(), KeyFile::generate().unwrap());
    let options = CreateOptions {
        suite: Suite::ChaCha20Poly1305,
        slot: slot(Role::Full),
    };
    Repository::create(backend.as_ref(), &options, Unlock::KeyFile(&full_key)).unwrap();
    let full = open(&backend, &full_key);
    full.add_slot(Unlock::KeyFile(&ingest_key), &slot(Role::Ingest))
        .unwrap();
    let before = ingest(&full, "by-full");

    // A fresh process on the ingest host: it deduplicates against what it cannot read.
    let host = open(&backend, &ingest_key);
    assert_eq!(host.role(), Role::Ingest);
    let added = ingest(&host, "by-host");
    assert_eq!(
        added.finished.new_chunks, 0,
        "what the full holder stored was not recognised"
    );
    drop(host);

    // Another run of the same host: everything that lies in the store is closed to it, its own snapshots too.
    let host = open(&backend, &ingest_key);
    assert_eq!(host.snapshots().unwrap_err().class(), Class::Denied);
    assert_eq!(host.resolve("by-full").unwrap_err().class(), Class::Denied);
    for name in names(&backend, Area::Snapshots) {
        let id: SnapshotId = name.parse().unwrap();
        assert_eq!(host.snapshot(&id).unwrap_err().class(), Class::Denied);
    }
    // It knows ids and places of chunks, and still no block opens: neither content nor trees.
    let root = &before.snapshot.root;
    let Body::Directory(tree) = &root.body else {
        panic!("the root is a directory")
    };
    let location = host.locate(&tree.id).unwrap();
    assert_eq!(
        host.read_block(&location.block, usize::MAX)
            .unwrap_err()
            .class(),
        Class::Denied
    );
    assert!(
        Walk::new(host.as_ref(), root, EntryPath::root())
            .next()
            .unwrap()
            .is_err()
    );
    let path = EntryPath::parse(format!("{CANARY}-007").as_bytes()).unwrap();
    let node = find_path(full.as_ref(), root, &path).unwrap().unwrap();
    let Body::File { content, size } = &node.body else {
        panic!("a file")
    };
    let mut bytes = vec![0; usize::try_from(*size).unwrap()];
    assert!(
        Content::new(content)
            .read_at(host.as_ref(), 0, &mut bytes)
            .is_err()
    );
    assert!(host.slots().is_err() && host.rotate().is_err());

    // The full holder reads what the host added.
    let full = open(&backend, &full_key);
    let seen = full.resolve("by-host").unwrap();
    assert_eq!(seen.id, added.id);
    let found = Walk::new(full.as_ref(), &seen.snapshot.root, EntryPath::root()).count();
    assert_eq!(found, 50);
    Content::new(content)
        .read_at(full.as_ref(), 0, &mut bytes)
        .unwrap();
    assert!(bytes.starts_with(CANARY.as_bytes()));
}

#[test]
fn nothing_of_content_or_names_is_visible_in_the_store_or_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let backend = repo::backend::open(store.to_str().unwrap()).unwrap();
    let key = KeyFile::generate().unwrap();
    let options = CreateOptions {
        suite: Suite::Aes256Gcm,
        slot: slot(Role::Full),
    };
    Repository::create(backend.as_ref(), &options, Unlock::KeyFile(&key)).unwrap();
    let place = CatalogPlace::File(folder.path().join("catalog/catalog.sqlite"));
    let monitor = Recorder::default();
    let full = Repository::open(backend, Unlock::KeyFile(&key), &place, &monitor).unwrap();
    ingest(&full, CANARY);
    drop(full);
    let mut files = 0;
    search(folder.path(), &mut files);
    assert!(files > 5, "only {files} files were looked at");
}

/// Fails if the marker is in a name or in the bytes of a file below `folder`.
fn search(folder: &Path, files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            !path.to_string_lossy().contains(CANARY),
            "{}",
            path.display()
        );
        if path.is_dir() {
            search(&path, files);
            continue;
        }
        *files += 1;
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes());
        assert!(!found, "the marker is in {}", path.display());
    }
}
