//! One snapshot as entries by number: a number descends to its node, a name or position leads to the next number.
//!
//! Holds nothing but the root node; everything else comes from the shared cache of shards, so a mount of a snapshot
//! with ten million entries starts with one node in memory.

use std::ops::Deref;
use std::sync::Arc;

use super::numbers::MAX_ENTRIES;
use crate::error::{Error, Result};
use crate::format::tree::{Body, Node, TreeRef};
use crate::repository::block_cache::Blocks;
use crate::repository::trees::{self, Cursor, Found};

/// A node, kept in memory by what it was read from.
#[derive(Clone, Debug)]
pub(super) enum NodeHandle {
    /// The root of a snapshot.
    Root(Arc<Node>),
    /// Any other.
    Found(Found),
}

impl Deref for NodeHandle {
    type Target = Node;
    fn deref(&self) -> &Node {
        match self {
            Self::Root(node) => node,
            Self::Found(found) => found,
        }
    }
}

/// An entry of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its number; 0 for the root.
    pub(super) number: u64,
    /// The number of the directory that it is in; 0 for the root.
    pub(super) parent: u64,
    /// Its node.
    pub(super) node: NodeHandle,
}

impl Entry {
    /// Its directory, if it is one.
    pub(super) fn tree(&self) -> Option<&TreeRef> {
        match &self.node.body {
            Body::Directory(tree) => Some(tree),
            _ => None,
        }
    }

    fn child(&self, found: Found) -> Self {
        Self {
            number: self.number + 1 + found.entries_before,
            parent: self.number,
            node: NodeHandle::Found(found),
        }
    }
}

/// A snapshot's tree.
#[derive(Clone, Debug)]
pub(super) struct SnapshotView {
    root: Arc<Node>,
}

impl SnapshotView {
    /// The tree below `root`.
    pub(super) fn new(root: Node) -> Result<Self> {
        match &root.body {
            Body::Directory(tree) if tree.total <= MAX_ENTRIES => Ok(Self {
                root: Arc::new(root),
            }),
            _ => Err(Error::corrupt(
                "a snapshot's root is no directory that can be shown",
            )),
        }
    }

    /// The root.
    pub(super) fn root(&self) -> Entry {
        Entry {
            number: 0,
            parent: 0,
            node: NodeHandle::Root(self.root.clone()),
        }
    }

    /// The entry with this number.
    pub(super) fn entry(&self, blocks: &dyn Blocks, number: u64) -> Result<Option<Entry>> {
        let mut entry = self.root();
        while entry.number != number {
            let Some(tree) = entry.tree() else {
                return Ok(None);
            };
            let below = number - entry.number - 1;
            match trees::containing(blocks, tree, below)? {
                Some(found) => entry = entry.child(found),
                None => return Ok(None),
            }
        }
        Ok(Some(entry))
    }
}

/// The entry called `name` in a directory.
pub(super) fn lookup(blocks: &dyn Blocks, parent: &Entry, name: &[u8]) -> Result<Option<Entry>> {
    let Some(tree) = parent.tree() else {
        return Ok(None);
    };
    let found = trees::lookup(blocks, tree, name)?;
    Ok(found.map(|found| parent.child(found)))
}

/// The entries of a directory from a position (from 0) on.
pub(super) fn children<'a>(
    blocks: &'a dyn Blocks,
    parent: &'a Entry,
    position: u64,
) -> Result<impl Iterator<Item = Result<(u64, Entry)>> + 'a> {
    let cursor = match parent.tree() {
        Some(tree) => Some(Cursor::from_position(blocks, tree, position)?),
        None => None,
    };
    Ok(cursor.into_iter().flatten().map(move |found| {
        let found = found?;
        Ok((found.position, parent.child(found)))
    }))
}
