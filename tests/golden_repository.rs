//! A repository that was written once by the first program of format version 1, and is read by every later one: the files under
//! `tests/data/repository` never change. What is in it is told here by digests, not by the code that made it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use repo::backend::Backend;
use repo::catalog::CatalogPlace;
use repo::crypto::KeyFile;
use repo::crypto::slot::{Passphrase, Unlock};
use repo::entry::{EntryPath, Kind, MemoryEntry, MemorySink, Outcome, Piece, Source};
use repo::format::header::Suite;
use repo::maintain::check::{ReadData, check};
use repo::progress::Silent;
use repo::repository::Repository;
use repo::restore::{Filter, RestoreOptions, Selection, SnapshotSource, Streaming, restore};

const PASSPHRASE: &[u8] = b"golden";

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of the repository, opened by its key file.
fn golden(folder: &Path) -> Arc<Repository> {
    copy(&data().join("repository"), folder);
    let key = KeyFile::decode(&fs::read(data().join("repository.key")).unwrap()).unwrap();
    let backend = repo::backend::open(folder.to_str().unwrap()).unwrap();
    fixture::open(&backend, &key, &CatalogPlace::Memory).unwrap()
}

fn selection(repository: &Repository, name: &str) -> Selection {
    let info = repository.resolve(name).unwrap();
    Selection {
        id: info.id,
        snapshot: info.snapshot,
        path: EntryPath::root(),
        contents: false,
    }
}

fn entries(repository: &Repository, name: &str) -> Vec<MemoryEntry> {
    let mut sink = MemorySink::default();
    let filter = Filter::new(&[], &[]).unwrap();
    let selections = [selection(repository, name)];
    SnapshotSource::new(
        repository,
        &selections,
        filter,
        NonZeroUsize::MIN,
        Arc::new(Silent),
    )
    .unwrap()
    .stream(&mut sink)
    .unwrap();
    sink.entries
}

/// The digest of everything that there is to say about entries, in words that do not depend on the library's types.
fn digest(entries: &[MemoryEntry]) -> String {
    let mut hasher = blake3::Hasher::new();
    for MemoryEntry {
        entry,
        content,
        outcome,
    } in entries
    {
        assert!(outcome.is_none_or(|o| o == Outcome::Whole));
        let meta = &entry.meta;
        let detail = match &entry.kind {
            Kind::Symlink(target) => target.escape_ascii().to_string(),
            Kind::HardLink(path) => path.as_bytes().escape_ascii().to_string(),
            Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
                format!("{major}:{minor}")
            }
            _ => String::new(),
        };
        let time = |t: repo::entry::Time| format!("{}.{:09}", t.seconds, t.nanoseconds);
        let mut line = format!(
            "{} {} {detail} {:o} {}:{} {}:{} {} {:?} {:?}",
            entry.path.as_bytes().escape_ascii(),
            entry.kind.name(),
            meta.mode,
            meta.uid,
            meta.gid,
            meta.user.escape_ascii(),
            meta.group.escape_ascii(),
            time(meta.mtime),
            meta.atime.map(time),
            meta.ctime.map(time),
        );
        for xattr in &meta.xattrs {
            let (name, value) = (xattr.name.escape_ascii(), xattr.value.escape_ascii());
            line = format!("{line} {name}={value}");
        }
        for piece in content {
            line = match piece {
                Piece::Data(bytes) => {
                    format!("{line} data {} {}", bytes.len(), blake3::hash(bytes))
                }
                Piece::Hole(len) => format!("{line} hole {len}"),
            };
        }
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

#[test]
fn the_golden_repository_opens_lists_and_checks() {
    let folder = tempfile::tempdir().unwrap();
    let repository = golden(folder.path());
    let snapshots = repository.snapshots().unwrap();
    let mut listed: Vec<String> = snapshots
        .iter()
        .map(|info| {
            let s = &info.snapshot;
            let counts = (
                s.counts.files,
                s.counts.directories,
                s.counts.others,
                s.counts.bytes,
            );
            format!("{} {} {} {counts:?}", info.id, s.name, s.kind.name())
        })
        .collect();
    listed.sort();
    assert_eq!(listed, SNAPSHOTS);
    let tree = &repository.resolve("tree").unwrap().snapshot;
    assert_eq!(
        (tree.time.seconds, tree.time.nanoseconds),
        (1_700_000_000, 123_456_789)
    );
    assert_eq!((tree.host.as_str(), tree.user.as_str()), ("host", "user"));
    assert_eq!(tree.description, "tree of a test");
    assert_eq!(tree.tags, [("env".to_owned(), "test".to_owned())]);
    assert_eq!(tree.sources, [b"/\xff/source"]);
    let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
    assert!(report.is_sound() && report.harmless == 0, "{report:?}");
    assert_eq!(report.packs_read, report.packs);
}

#[test]
fn the_golden_repository_opens_with_its_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    copy(&data().join("repository"), folder.path());
    let backend = repo::backend::open(folder.path().to_str().unwrap()).unwrap();
    let passphrase = Passphrase::new(PASSPHRASE.to_vec().into()).unwrap();
    let unlock = Unlock::Passphrase(&passphrase);
    let repository = Repository::open(backend, unlock, &CatalogPlace::Memory, &Silent).unwrap();
    assert_eq!(repository.snapshots().unwrap().len(), SNAPSHOTS.len());
}

#[test]
fn the_golden_repository_gives_back_what_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let repository = golden(&folder.path().join("repository"));
    let streaming = Streaming {
        blocks: &*repository,
        threads: NonZeroUsize::MIN,
        monitor: &Silent,
    };
    let mut archive = Vec::new();
    let snapshot = repository.resolve("archive").unwrap().snapshot;
    streaming.archive(&snapshot, &mut archive).unwrap();
    let found = [
        digest(&entries(&repository, "tree")),
        digest(&entries(&repository, "archive")),
        blake3::hash(&archive).to_hex().to_string(),
    ];
    assert_eq!(found, DIGESTS);

    let target = folder.path().join("target");
    let selections = [selection(&repository, "archive")];
    let options = RestoreOptions::default();
    let monitor: Arc<dyn repo::progress::Monitor> = Arc::new(Silent);
    let summary = restore(
        &*repository,
        &selections,
        &target,
        &options,
        &monitor,
        &mut |_| {},
    );
    assert_eq!(summary.unwrap().lost, 0);
    let twice = fs::read(target.join("d/twice")).unwrap();
    assert_eq!(twice, b"the second one counts");
}

/// How the repository was made, for the next version of the format: `cargo test --test golden_repository -- --ignored`.
#[test]
#[ignore = "writes tests/data/repository anew"]
fn make_the_golden_repository() {
    let place = data().join("repository");
    fs::create_dir(&place).expect("remove the old one first, and think twice");
    let backend: Arc<dyn Backend> = repo::backend::open(place.to_str().unwrap()).unwrap();
    let key = fixture::create(backend.as_ref(), Suite::ChaCha20Poly1305);
    fs::write(data().join("repository.key"), key.encode().as_slice()).unwrap();
    let repository = fixture::open(&backend, &key, &CatalogPlace::Memory).unwrap();
    let passphrase = Passphrase::new(PASSPHRASE.to_vec().into()).unwrap();
    let unlock = Unlock::Passphrase(&passphrase);
    repository
        .add_slot(unlock, &fixture::slot_options())
        .unwrap();
    fixture::ingest_tree(&repository, "tree", fixture::full_tree(), 1);
    fixture::ingest_bytes(&repository, "archive", &fixture::tar::full_archive(), 1);
}

const SNAPSHOTS: [&str; 2] = [
    "14ac68b5c1f98656899d1656abb778fb8bc538bd90b74dad633df7229170609b archive tar (5, 41, 1, 79855)",
    "86b28ca139545320a9d84d22a3a58a46fcc8cb21f9e41fc3bb1206ffaeb0493b tree dir (8, 3, 3005, 1099523011953)",
];
/// Of the tree, of the archive's tree, and of the archive itself.
const DIGESTS: [&str; 3] = [
    "c28056a10a52153ee8d79fcbee13970706c5d50e4cc9665eb913d1ce8985b6be",
    "ba9dd61a173af84b7a43456acd37491c78a31b45012286f0d0b00f886d219011",
    "2e92c36503e820821d19c1c2d4a79a167e9ef33a5326afd2e3a3ce8b219397ae",
];
