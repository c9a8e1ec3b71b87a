//! Trees for the tests of all formats: single entries, and whole random trees.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::entry::{Entry, EntryPath, Extent, Kind, MemoryEntry, Meta, Piece, Time, Xattr};

/// The path in `text`.
pub(in crate::export) fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap()
}

/// An entry without content, owned by whoever runs the test.
pub(in crate::export) fn bare(name: &str, kind: Kind, mode: u32) -> MemoryEntry {
    let mut entry = Entry::new(path(name), kind);
    entry.meta.mode = mode;
    entry.meta.mtime = Time::new(1_600_000_000, 123_456_789);
    entry.meta.uid = rustix::process::geteuid().as_raw();
    entry.meta.gid = rustix::process::getegid().as_raw();
    MemoryEntry {
        entry,
        content: Vec::new(),
        outcome: None,
    }
}

/// A file of these bytes.
pub(in crate::export) fn file(name: &str, mode: u32, bytes: &[u8]) -> MemoryEntry {
    sparse(name, mode, vec![Piece::Data(bytes.to_vec())])
}

/// A file of these pieces, which announces its holes.
pub(in crate::export) fn sparse(name: &str, mode: u32, content: Vec<Piece>) -> MemoryEntry {
    let mut item = bare(name, Kind::File, mode);
    announce(&mut item.entry, &content);
    item.content = content;
    item
}

/// Size and data extents of what `content` holds.
fn announce(entry: &mut Entry, content: &[Piece]) {
    let mut extents = Vec::new();
    let mut offset = 0;
    for piece in content {
        let len = match piece {
            Piece::Data(bytes) => {
                let len = bytes.len() as u64;
                if len > 0 {
                    extents.push(Extent { offset, len });
                }
                len
            }
            Piece::Hole(len) => *len,
        };
        offset += len;
    }
    entry.size = offset;
    let holes = content.iter().any(|p| matches!(p, Piece::Hole(_)));
    entry.extents = holes.then_some(extents);
}

#[derive(Clone, Debug)]
enum Node {
    File(Vec<Piece>),
    Directory,
    HardLink(usize),
    Other(Kind),
}

/// A random tree in the order of a walk, its root first. Owners and names of owners are any; attributes are in `user.`.
pub(in crate::export) fn tree() -> impl Strategy<Value = Vec<MemoryEntry>> {
    let item = (any::<usize>(), name(), node(), meta());
    vec(item, 0..24).prop_map(|items| {
        let mut directories = vec![EntryPath::root()];
        let mut all = BTreeMap::from([(EntryPath::root(), (Node::Directory, Meta::default()))]);
        for (parent, name, node, meta) in items {
            let path = directories[parent % directories.len()].join(&name).unwrap();
            if all.contains_key(&path) {
                continue;
            }
            if matches!(node, Node::Directory) {
                directories.push(path.clone());
            }
            all.insert(path, (node, meta));
        }
        let mut files: Vec<MemoryEntry> = Vec::new();
        let mut done = Vec::new();
        for (path, (node, meta)) in all {
            let mut item = MemoryEntry {
                entry: Entry::new(path, Kind::Directory),
                content: Vec::new(),
                outcome: None,
            };
            item.entry.meta = meta;
            match node {
                Node::File(content) => {
                    item.entry.kind = Kind::File;
                    announce(&mut item.entry, &content);
                    item.content = content;
                    files.push(item.clone());
                }
                Node::Directory => {}
                Node::HardLink(_) if files.is_empty() => continue,
                Node::HardLink(to) => {
                    let to = &files[to % files.len()].entry;
                    item.entry.meta = to.meta.clone();
                    item.entry.kind = Kind::HardLink(to.path.clone());
                }
                Node::Other(kind) => {
                    item.entry.meta.xattrs.clear();
                    item.entry.kind = kind;
                }
            }
            done.push(item);
        }
        done
    })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{1,8}".prop_map(String::into_bytes),
        2 => vec(1_u8..=255, 1..30),
        1 => vec(b'a'..=b'z', 90..=255),
        1 => "\\PC{1,20}".prop_map(String::into_bytes),
    ]
    .prop_map(|mut name| {
        for byte in &mut name {
            if *byte == b'/' {
                *byte = b'_';
            }
        }
        if name == b"." || name == b".." {
            name.push(b'x');
        }
        name
    })
}

fn node() -> impl Strategy<Value = Node> {
    let piece = prop_oneof![
        vec(any::<u8>(), 1..3000).prop_map(Piece::Data),
        (1_u64..100_000).prop_map(Piece::Hole),
    ];
    prop_oneof![
        4 => vec(any::<u8>(), 0..2000).prop_map(|b| Node::File(vec![Piece::Data(b)])),
        3 => vec(piece, 0..6).prop_map(|pieces| Node::File(merged(pieces))),
        3 => Just(Node::Directory),
        1 => any::<usize>().prop_map(Node::HardLink),
        1 => vec(1_u8..=255, 1..300).prop_map(|to| Node::Other(Kind::Symlink(to))),
        1 => Just(Node::Other(Kind::Fifo)),
    ]
}

/// No two holes in a row: they are one.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(Piece::Hole(last)), Piece::Hole(len)) => *last += len,
            (_, piece) => merged.push(piece),
        }
    }
    merged
}

fn meta() -> impl Strategy<Value = Meta> {
    let number = prop_oneof![0_u32..70_000, 2_097_150_u32..2_097_154, Just(4_000_000_000)];
    let owner_name = prop_oneof![
        Just(Vec::new()),
        "[a-z]{1,40}".prop_map(String::into_bytes),
        vec(1_u8..=255, 1..12),
    ];
    let xattr = ("[a-z.=%]{1,12}", vec(any::<u8>(), 0..80)).prop_map(|(name, value)| Xattr {
        name: format!("user.{name}").into_bytes(),
        value,
    });
    (
        0_u32..0o1000,
        (number.clone(), number),
        (owner_name.clone(), owner_name),
        time(),
        proptest::option::weighted(0.3, time()),
        vec(xattr, 0..3),
    )
        .prop_map(
            |(mode, (uid, gid), (user, group), mtime, atime, mut xattrs)| {
                xattrs.sort();
                xattrs.dedup_by(|a, b| a.name == b.name);
                Meta {
                    mode,
                    uid,
                    gid,
                    user,
                    group,
                    mtime,
                    atime,
                    ctime: None,
                    xattrs,
                }
            },
        )
}

fn time() -> impl Strategy<Value = Time> {
    let nanoseconds = prop_oneof![Just(0_u32), 0_u32..1_000_000_000];
    (-2_000_000_000_i64..10_000_000_000, nanoseconds)
        .prop_map(|(seconds, nanoseconds)| Time::new(seconds, nanoseconds))
}
