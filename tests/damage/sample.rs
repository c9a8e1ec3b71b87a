//! A repository with four snapshots, and what can happen to an object of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use repo::backend::{Area, Backend, Key, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::KeyFile;
use repo::entry::MemoryEntry;
use repo::format::header::Suite;
use repo::id::SnapshotId;

use super::fixture::{self, directory, file, noise};

/// What happens to an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Delete,
    Empty,
    /// What is left of it, in 256ths of its length (0: one byte less than all).
    Truncate(usize),
    /// One byte is changed, this far from the beginning.
    FlipHead(usize),
    /// The same from the end.
    FlipTail(usize),
    /// It gets the bytes of another object of its kind.
    Replace,
}

pub(crate) const DAMAGES: [Damage; 16] = [
    Damage::Delete,
    Damage::Empty,
    Damage::Truncate(0),
    Damage::Truncate(1),
    Damage::Truncate(128),
    // Magic, version, kind, epoch, salt, session, commitment, the first block.
    Damage::FlipHead(0),
    Damage::FlipHead(7),
    Damage::FlipHead(8),
    Damage::FlipHead(12),
    Damage::FlipHead(20),
    Damage::FlipHead(90),
    Damage::FlipHead(130),
    Damage::FlipHead(170),
    // Directory, trailer.
    Damage::FlipTail(60),
    Damage::FlipTail(5),
    Damage::Replace,
];

/// The objects that the snapshot `first` was stored in, and their counterparts of `fourth`, which has the same sizes.
pub(crate) struct Sample {
    pub(crate) backend: Memory,
    pub(crate) key: KeyFile,
    pub(crate) catalog: tempfile::TempDir,
    pub(crate) objects: Vec<(Key, Key)>,
    pub(crate) snapshots: Vec<(SnapshotId, &'static str)>,
}

pub(crate) fn archive() -> Vec<u8> {
    [
        fixture::tar::gnu_file(b"shared", &noise(40_000, 3)),
        fixture::tar::gnu_file(b"own", &noise(20_000, 9)),
        fixture::tar::gnu_file(b"own", &noise(20_000, 10)),
        vec![0; 1024],
    ]
    .concat()
}

/// The files of each snapshot.
pub(crate) fn tree(name: &str) -> Vec<MemoryEntry> {
    let root = directory("");
    match name {
        "first" => vec![
            root,
            file("a", &noise(50_000, 1)),
            file("b", &noise(50_000, 2)),
            file("shared", &noise(40_000, 3)),
        ],
        "second" => vec![
            root,
            file("c", &noise(30_000, 4)),
            directory("d"),
            file("d/e", &noise(700_000, 5)),
            file("shared", &noise(40_000, 3)),
        ],
        "fourth" => vec![
            root,
            file("a", &noise(50_000, 6)),
            file("b", &noise(50_000, 7)),
            file("shared", &noise(40_000, 8)),
        ],
        _ => vec![
            root,
            file("own", &noise(20_000, 10)),
            file("shared", &noise(40_000, 3)),
        ],
    }
}

pub(crate) fn keys(backend: &Memory, area: Area) -> BTreeSet<Key> {
    let mut all = BTreeSet::new();
    backend
        .list(area, &mut |name, _| {
            all.insert(Key::named(area, name)?);
            Ok(())
        })
        .unwrap();
    all
}

pub(crate) const AREAS: [Area; 4] = [Area::Data, Area::Meta, Area::Index, Area::Snapshots];

pub(crate) fn sample() -> Sample {
    let backend = Arc::new(Memory::new());
    let key = fixture::create(backend.as_ref(), Suite::ChaCha20Poly1305);
    let catalog = tempfile::tempdir().unwrap();
    let place = CatalogPlace::File(catalog.path().join("catalog"));
    let shared: Arc<dyn Backend> = backend.clone();
    let repository = fixture::open(&shared, &key, &place).unwrap();
    let mut before: Vec<BTreeSet<Key>> = AREAS.iter().map(|a| keys(&backend, *a)).collect();
    let mut made = Vec::new();
    let mut snapshots = Vec::new();
    for name in ["first", "second", "tar", "fourth"] {
        let summary = if name == "tar" {
            fixture::ingest_bytes(&repository, name, &archive(), 1)
        } else {
            fixture::ingest_tree(&repository, name, tree(name), 1)
        };
        snapshots.push((summary.id, name));
        let now: Vec<BTreeSet<Key>> = AREAS.iter().map(|a| keys(&backend, *a)).collect();
        let new = now.iter().zip(&before).map(|(now, old)| {
            let mut new = now.difference(old);
            let one = new.next().unwrap().clone();
            assert_eq!(new.next(), None, "one object of each kind");
            one
        });
        made.push(new.collect::<Vec<Key>>());
        before = now;
    }
    let objects = made[0]
        .iter()
        .cloned()
        .zip(made[3].iter().cloned())
        .collect();
    Sample {
        backend: backend.image(),
        key,
        catalog,
        objects,
        snapshots,
    }
}

pub(crate) fn apply(backend: &Memory, key: &Key, other: &Key, damage: Damage) {
    let mut bytes = backend.read_all(key, u64::MAX).unwrap();
    let len = bytes.len();
    match damage {
        Damage::Delete => return backend.tamper(key, None),
        Damage::Empty => bytes.clear(),
        Damage::Truncate(0) => bytes.truncate(len - 1),
        Damage::Truncate(part) => bytes.truncate(len * part / 256),
        Damage::FlipHead(at) => bytes[at.min(len - 1)] ^= 1,
        Damage::FlipTail(back) => bytes[len - back.min(len)] ^= 1,
        Damage::Replace => bytes = backend.read_all(other, u64::MAX).unwrap(),
    }
    backend.tamper(key, Some(bytes));
}
