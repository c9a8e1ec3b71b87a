//! Copies between repositories: everything that can be in a snapshot arrives bit for bit, shares its data with what was ingested
//! there directly, and is left out when it is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../fixture/mod.rs"]
mod fixture;
mod kinds;
mod runs;

use std::num::NonZeroUsize;
use std::sync::Arc;

use repo::backend::{Area, Backend, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::KeyFile;
use repo::entry::{Checked, EntryPath, MemoryEntry, MemorySink, Order, Source};
use repo::error::Result;
use repo::format::header::Suite;
use repo::format::snapshot::{Origin, Snapshot};
use repo::format::tree::{Body, Node};
use repo::maintain::copy::{Copied, CopyOptions, CopySums, copy};
use repo::progress::{Monitor, Silent};
use repo::repository::trees::Walk;
use repo::repository::{Repository, SnapshotInfo, WriterOptions};
use repo::restore::{Filter, Selection, SnapshotSource, Streaming};

pub(crate) const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

pub(crate) struct Store {
    pub(crate) memory: Arc<Memory>,
    pub(crate) key: KeyFile,
}

impl Store {
    pub(crate) fn new(suite: Suite) -> Self {
        let memory = Arc::new(Memory::new());
        let key = fixture::create(memory.as_ref(), suite);
        Self { memory, key }
    }

    pub(crate) fn open(&self) -> Arc<Repository> {
        let backend: Arc<dyn Backend> = self.memory.clone();
        fixture::open(&backend, &self.key, &CatalogPlace::Memory).unwrap()
    }

    pub(crate) fn names(&self, area: Area) -> Vec<String> {
        let mut names = Vec::new();
        let mut each = |name: &str, _| {
            names.push(name.to_owned());
            Ok(())
        };
        self.memory.list(area, &mut each).unwrap();
        names
    }
}

pub(crate) fn silent() -> Arc<dyn Monitor> {
    Arc::new(Silent)
}

pub(crate) fn options() -> CopyOptions {
    CopyOptions {
        writer: WriterOptions {
            level: 1,
            workers: 2,
        },
        threads: TWO,
        scratch: None,
    }
}

pub(crate) fn try_copy(
    source: &Arc<Repository>,
    destination: &Arc<Repository>,
    snapshots: &[SnapshotInfo],
    monitor: &Arc<dyn Monitor>,
) -> Result<(Vec<Copied>, CopySums)> {
    let mut all = Vec::new();
    let each = &mut |_: &SnapshotInfo, copied: &Copied| all.push(copied.clone());
    let sums = copy(source, destination, snapshots, &options(), monitor, each)?;
    Ok((all, sums))
}

pub(crate) fn copy_all(source: &Store, destination: &Store) -> (Vec<Copied>, CopySums) {
    let from = source.open();
    let snapshots = from.snapshots().unwrap();
    try_copy(&from, &destination.open(), &snapshots, &silent()).unwrap()
}

/// The ids of copies that were made.
pub(crate) fn new_ids(copied: &[Copied]) -> Vec<repo::id::SnapshotId> {
    let id = |one: &Copied| match one {
        Copied::New(id) => *id,
        other => panic!("{other:?}"),
    };
    copied.iter().map(id).collect()
}

/// What a snapshot gives back.
pub(crate) fn given_back(repository: &Repository, info: &SnapshotInfo) -> Vec<MemoryEntry> {
    let all = Selection {
        id: info.id,
        snapshot: info.snapshot.clone(),
        path: EntryPath::root(),
        contents: false,
    };
    let filter = Filter::new(&[], &[]).unwrap();
    let mut sink = Checked::new(MemorySink::default(), Order::Walk);
    SnapshotSource::new(repository, &[all], filter, TWO, Arc::new(Silent))
        .unwrap()
        .stream(&mut sink)
        .unwrap();
    sink.finish().unwrap().entries
}

/// All nodes, with the chunks that they name left out.
pub(crate) fn nodes(repository: &Repository, root: &Node) -> Vec<(EntryPath, Node)> {
    let bare = |(path, mut node): (EntryPath, Node)| {
        match &mut node.body {
            Body::File { content, .. } => content.clear(),
            Body::Directory(tree) => tree.id = repo::id::ChunkId::new([0; 32]),
            _ => {}
        }
        (path, node)
    };
    let mut all = vec![bare((EntryPath::root(), root.clone()))];
    let walk = Walk::new(repository, root, EntryPath::root());
    all.extend(walk.map(|entry| bare(entry.map_err(|(_, e)| e).unwrap())));
    all
}

/// What a snapshot says, without what names something of its repository.
pub(crate) fn says(snapshot: &Snapshot) -> Snapshot {
    let mut said = snapshot.clone();
    said.root = Node::new(Vec::new(), Body::Fifo);
    said.counts.added_bytes = 0;
    for items in [
        &mut said.recipe,
        &mut said.overrides,
        &mut said.original,
        &mut said.identity,
    ] {
        items.clear();
    }
    said.parent = None;
    said.origin = None;
    said
}

pub(crate) fn stream(repository: &Repository, snapshot: &Snapshot, original: bool) -> Vec<u8> {
    let streaming = Streaming {
        blocks: repository,
        threads: TWO,
        monitor: &Silent,
    };
    let mut out = Vec::new();
    if original {
        streaming.original(snapshot, &mut out).unwrap();
    } else {
        streaming.archive(snapshot, &mut out).unwrap();
    }
    out
}

/// Both snapshots are the same in every respect.
pub(crate) fn assert_same(
    source: &Repository,
    from: &SnapshotInfo,
    destination: &Repository,
    to: &SnapshotInfo,
) {
    assert_eq!(says(&from.snapshot), says(&to.snapshot));
    assert_eq!(
        to.snapshot.origin,
        Some(Origin {
            repository: source.id(),
            snapshot: from.id
        })
    );
    assert_eq!(
        nodes(source, &from.snapshot.root),
        nodes(destination, &to.snapshot.root)
    );
    assert!(given_back(source, from) == given_back(destination, to));
    for (one, other) in [
        (&from.snapshot.recipe, &to.snapshot.recipe),
        (&from.snapshot.overrides, &to.snapshot.overrides),
        (&from.snapshot.original, &to.snapshot.original),
        (&from.snapshot.identity, &to.snapshot.identity),
    ] {
        let len = repo::format::content::total_len;
        assert_eq!(one.is_empty(), other.is_empty());
        assert!(one.is_empty() || len(one) > 0);
    }
}
