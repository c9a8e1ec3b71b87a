//! Trees in a store in memory, for the tests of restore, of snapshots as sources, and of recipes.

use crate::entry::{EntryPath, Time, Xattr};
use crate::format::content::{Item, total_len};
use crate::format::snapshot::{Snapshot, StreamKind};
use crate::format::tree::{Body, Node};
use crate::id::{ChunkId, SnapshotId};
use crate::repository::memory_blocks::MemoryBlocks;
use crate::restore::Selection;

/// Bytes that differ with `seed` and do not repeat.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

pub(crate) fn node(name: &str, body: Body, mode: u32) -> Node {
    let mut node = Node::new(name.as_bytes().to_vec(), body);
    node.meta.mode = mode;
    node.meta.mtime = Time::new(1_000_000_000, 123_456_789);
    node.meta.uid = rustix::process::geteuid().as_raw();
    node.meta.gid = rustix::process::getegid().as_raw();
    node
}

pub(crate) fn file(name: &str, content: Vec<Item>) -> Node {
    let size = total_len(&content);
    node(name, Body::File { size, content }, 0o640)
}

pub(crate) fn directory(store: &MemoryBlocks, name: &str, nodes: Vec<Node>) -> Node {
    let leaf_names = if nodes.len() < 100 { 3 } else { 100 };
    let tree = store.put_directory(nodes, leaf_names);
    node(name, Body::Directory(tree), 0o755)
}

pub(crate) fn snapshot(store: &MemoryBlocks, nodes: Vec<Node>) -> Snapshot {
    Snapshot::new(StreamKind::Dir, directory(store, "", nodes))
}

pub(crate) fn select(snapshot: &Snapshot, path: &str) -> Selection {
    Selection {
        id: SnapshotId::of(&snapshot.encode()),
        snapshot: snapshot.clone(),
        path: EntryPath::parse(path.as_bytes()).unwrap(),
        contents: path.ends_with('/'),
    }
}

pub(crate) fn data(id: ChunkId, len: usize) -> Item {
    let len = u32::try_from(len).unwrap();
    Item::Data { id, len }
}

/// One of everything: small files that share a block, a long file with lists and holes, links, an empty directory.
pub(crate) fn sample(store: &MemoryBlocks) -> Snapshot {
    let (a, b) = (noise(1, 3000), noise(2, 5000));
    let together = store.put_together(&[&a, &b]);
    let mut long = store.put_content(&noise(3, 70_000), 8192);
    long.insert(2, Item::Hole(1 << 20));
    long.push(Item::Zeros(5000));
    let list = store.put_list(&long);
    let mut private = file("private", vec![data(together[0], a.len())]);
    private.meta.mode = 0o4700;
    private.meta.xattrs = vec![Xattr {
        name: b"user.note".to_vec(),
        value: b"kept".to_vec(),
    }];
    let mut first = file("first", vec![data(together[1], b.len())]);
    first.link_group = 7;
    first.links = 2;
    let mut second = first.clone();
    second.name = b"second".to_vec();
    let mut locked = directory(
        store,
        "locked",
        vec![file("in", vec![data(together[0], a.len())])],
    );
    locked.meta.mode = 0o500;
    snapshot(
        store,
        vec![
            private,
            first,
            directory(store, "sub", vec![second, file("long", vec![list]), locked]),
            directory(store, "empty", vec![]),
            file("nothing", vec![]),
            file("hole", vec![Item::Hole(123_456)]),
            node("link", Body::Symlink(b"sub/long".to_vec()), 0o777),
            node("pipe", Body::Fifo, 0o600),
            node("socket", Body::Socket, 0o644),
        ],
    )
}
