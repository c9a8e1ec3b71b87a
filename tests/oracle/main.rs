//! The format's documents as judge: a second reader, written from them alone, reads what the program wrote and must find in it
//! what went in, and what the program itself gives back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bytes;
#[path = "../fixture/mod.rs"]
mod fixture;
mod keys;
mod object;
mod reader;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Fields;
use keys::Secret;
use reader::{Found, Reader, Run};
use repo::backend::Backend;
use repo::catalog::CatalogPlace;
use repo::crypto::slot::{Passphrase, Unlock};
use repo::entry::{Entry, EntryPath, Kind, MemoryEntry, MemorySink, Piece, Source, Time};
use repo::format::header::Suite;
use repo::progress::Silent;
use repo::repository::Repository;
use repo::restore::{Filter, Selection, SnapshotSource, Streaming};

/// What the second reader must find for an entry, links apart.
fn expected(entry: &Entry, content: &[Piece], target: &BTreeMap<&[u8], Found>) -> Found {
    let meta = &entry.meta;
    let time = |time: Time| (time.seconds, time.nanoseconds);
    let mut found = Found {
        owner: (meta.uid.into(), meta.gid.into()),
        names: (meta.user.clone(), meta.group.clone()),
        times: [
            Some(time(meta.mtime)).filter(|t| *t != (0, 0)),
            meta.atime.map(time),
            meta.ctime.map(time),
        ],
        links: (0, 1),
        ..Found::default()
    };
    found.xattrs = meta
        .xattrs
        .iter()
        .map(|x| (x.name.clone(), x.value.clone()))
        .collect();
    let file_type = match &entry.kind {
        Kind::File => 0o100_000,
        Kind::Directory => 0o040_000,
        Kind::Symlink(to) => {
            found.target.clone_from(to);
            0o120_000
        }
        Kind::Fifo => 0o010_000,
        Kind::Socket => 0o140_000,
        Kind::CharDevice(major, minor) => {
            found.device = ((*major).into(), (*minor).into());
            0o020_000
        }
        Kind::BlockDevice(major, minor) => {
            found.device = ((*major).into(), (*minor).into());
            0o060_000
        }
        Kind::HardLink(path) => return target[path.as_bytes()].clone(),
    };
    found.mode = u64::from(file_type | meta.mode);
    for piece in content {
        match piece {
            Piece::Data(bytes) => reader::data(&mut found.content, bytes),
            Piece::Hole(len) => found.content.push(Run::Hole(*len)),
        }
    }
    found.size = found.content.iter().map(length).sum();
    found
}

fn length(run: &Run) -> u64 {
    match run {
        Run::Data(bytes) => bytes.len() as u64,
        Run::Hole(len) => *len,
    }
}

/// Holds a tree against the entries that it must consist of.
fn compare(tree: &BTreeMap<Vec<u8>, Found>, entries: &[MemoryEntry]) {
    let mut targets: BTreeMap<&[u8], Found> = BTreeMap::new();
    let mut names: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for MemoryEntry { entry, content, .. } in entries {
        let path = entry.path.as_bytes();
        let want = expected(entry, content, &targets);
        let have = Found {
            links: (0, 1),
            ..tree
                .get(path)
                .unwrap_or_else(|| panic!("no {}", entry.path))
                .clone()
        };
        assert!(have == want, "{}\nhave {have:?}\nwant {want:?}", entry.path);
        if let Kind::HardLink(first) = &entry.kind {
            names.entry(first.as_bytes()).or_default().push(path);
        }
        targets.insert(path, want);
    }
    assert_eq!(tree.len(), targets.len());
    let mut groups = Vec::new();
    for (first, others) in &names {
        let links = tree[*first].links;
        assert_eq!(links.1, others.len() as u64 + 1);
        assert!(links.0 != 0 && others.iter().all(|path| tree[*path].links == links));
        groups.push(links.0);
    }
    let alone = |path: &[u8]| {
        !names
            .iter()
            .any(|(f, others)| *f == path || others.contains(&path))
    };
    assert!(
        tree.iter()
            .all(|(path, found)| !alone(path) || found.links == (0, 1))
    );
    groups.sort_unstable();
    groups.dedup();
    assert_eq!(groups.len(), names.len());
}

/// What the program itself gives back of a snapshot.
fn given_back(repository: &Repository, name: &str) -> Vec<MemoryEntry> {
    let info = repository.resolve(name).unwrap();
    let all = Selection {
        id: info.id,
        snapshot: info.snapshot,
        path: EntryPath::root(),
        contents: false,
    };
    let filter = Filter::new(&[], &[]).unwrap();
    let threads = NonZeroUsize::MIN;
    let mut sink = MemorySink::default();
    SnapshotSource::new(repository, &[all], filter, threads, Arc::new(Silent))
        .unwrap()
        .stream(&mut sink)
        .unwrap();
    sink.entries
}

/// The fields of the snapshot of that name.
fn named<'a>(reader: &'a Reader, name: &str) -> &'a [u8] {
    let mut all = reader.snapshots.values();
    all.find(|fields| Fields::new(fields).bytes(3) == name.as_bytes())
        .unwrap()
}

/// Everything that both readers say about a repository is the same.
fn agree(reader: &Reader, repository: &Repository) {
    let snapshots = repository.snapshots().unwrap();
    assert_eq!(snapshots.len(), reader.snapshots.len());
    assert_eq!(reader.listed, reader.packs, "every pack is listed once");
    for info in snapshots {
        let fields = &reader.snapshots[&info.id.to_hex()];
        let entries = given_back(repository, &info.id.to_hex());
        compare(&reader.tree(fields), &entries);
        if !info.snapshot.recipe.is_empty() {
            let streaming = Streaming {
                blocks: repository,
                threads: NonZeroUsize::MIN,
                monitor: &Silent,
            };
            let mut archive = Vec::new();
            streaming.archive(&info.snapshot, &mut archive).unwrap();
            assert!(reader.archive(fields) == archive);
        }
    }
}

fn local(path: &Path) -> Arc<dyn Backend> {
    repo::backend::open(path.to_str().unwrap()).unwrap()
}

fn fresh(suite: Suite) {
    let folder = tempfile::tempdir().unwrap();
    let backend = local(folder.path());
    let key = fixture::create(backend.as_ref(), suite);
    let repository = fixture::open(&backend, &key, &CatalogPlace::Memory).unwrap();
    let passphrase = Passphrase::new(b"correct horse".to_vec().into()).unwrap();
    let unlock = Unlock::Passphrase(&passphrase);
    repository
        .add_slot(unlock, &fixture::slot_options())
        .unwrap();
    let (tree, archive) = (fixture::full_tree(), fixture::tar::full_archive());
    fixture::ingest_tree(&repository, "tree", tree.clone(), 2);
    fixture::ingest_bytes(&repository, "archive", &archive, 2);
    fixture::ingest_bytes(&repository, "stream", &fixture::noise(3_000_000, 1), 2);

    let text = key.encode();
    let text = std::str::from_utf8(&text).unwrap();
    let reader = Reader::open(folder.path(), &Secret::KeyFile(text));
    compare(&reader.tree(named(&reader, "tree")), &tree);
    assert!(reader.archive(named(&reader, "archive")) == archive);
    let stream = reader.tree(named(&reader, "stream"));
    assert!(stream[&b"stream"[..]].content == [Run::Data(fixture::noise(3_000_000, 1))]);
    agree(&reader, &repository);

    // After a rotation old and new snapshots are read with one keyring, and by the passphrase as well.
    repository.rotate().unwrap();
    let repository = fixture::open(&backend, &key, &CatalogPlace::Memory).unwrap();
    fixture::ingest_tree(
        &repository,
        "after",
        vec![fixture::directory(""), fixture::file("f", b"new")],
        1,
    );
    let reader = Reader::open(folder.path(), &Secret::Passphrase(b"correct horse"));
    assert_eq!(reader.snapshots.len(), 4);
    agree(&reader, &repository);
}

#[test]
fn the_documents_read_what_the_program_wrote_with_chacha() {
    fresh(Suite::ChaCha20Poly1305);
}

#[test]
fn the_documents_read_what_the_program_wrote_with_aes() {
    fresh(Suite::Aes256Gcm);
}

#[test]
fn the_documents_read_the_golden_repository() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let text = std::fs::read_to_string(data.join("repository.key")).unwrap();
    let reader = Reader::open(&data.join("repository"), &Secret::KeyFile(&text));
    compare(&reader.tree(named(&reader, "tree")), &fixture::full_tree());
    assert!(reader.archive(named(&reader, "archive")) == fixture::tar::full_archive());
}

#[test]
fn the_documents_read_what_sessions_plans_and_pins_say() {
    let folder = tempfile::tempdir().unwrap();
    let backend = local(folder.path());
    let key = fixture::create(backend.as_ref(), Suite::Aes256Gcm);
    let repository = fixture::open(&backend, &key, &CatalogPlace::Memory).unwrap();
    fixture::ingest_tree(
        &repository,
        "tree",
        vec![fixture::directory(""), fixture::file("f", b"content")],
        1,
    );
    let info = repository.resolve("tree").unwrap();
    repository.pin(&info.id).unwrap();
    let reading = repository
        .begin_reading(std::slice::from_ref(&info), &Silent)
        .unwrap();
    // A plan waits for a writer that began before it.
    let monitor: Arc<dyn repo::progress::Monitor> = Arc::new(Silent);
    let request = fixture::request("older", 1);
    let older = repo::ingest::Ingest::begin(&repository, request, &monitor).unwrap();
    repository.forget(&info.id, true).unwrap();
    repository.pin(&info.id).unwrap_err();
    let options = repo::maintain::prune::PruneOptions::default();
    drop(reading);
    let report = repo::maintain::prune::prune(&repository, &options, &monitor).unwrap();
    assert_eq!(report.settled.waiting.len(), 1);

    let text = key.encode();
    let text = std::str::from_utf8(&text).unwrap();
    let reader = Reader::open(folder.path(), &Secret::KeyFile(text));
    let of = |folder: &str| {
        let mut found = reader
            .records
            .iter()
            .filter(|(path, _)| path.starts_with(folder));
        let (path, fields) = found.next().unwrap();
        (path.clone(), Fields::new(fields))
    };
    let (session, fields) = of("sessions/");
    assert_eq!(fields.number(2), 1, "a writer");
    let (plan, fields) = of("gc/");
    let condemned: Vec<_> = fields.list(2).collect();
    assert_eq!(condemned.len(), 2);
    for pack in condemned {
        let id = repo::id::to_hex(&pack[..32]);
        let area = ["", "data", "meta"][usize::from(pack[32])];
        assert!(folder.path().join(area).join(&id[..2]).join(&id).exists());
    }
    let waits = Fields::new(&reader.records[&format!("{plan}.waits")]);
    let names: Vec<_> = waits.list(2).map(repo::id::to_hex).collect();
    assert_eq!(names, [session.trim_start_matches("sessions/")]);
    drop(older);
}
