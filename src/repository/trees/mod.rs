//! Reading trees: lookups by name, by position and by entry number, cursors over one directory, walks over all below.
//!
//! Nothing here reads more of a directory than it needs: each step descends from the topmost shard through index
//! shards to one leaf. Entries are numbered in the order of a depth-first walk (a directory, then all that is below
//! it, then its next sibling), which the sums in tree references make computable in both directions; the mount takes
//! its inode numbers from that. The invariant that makes it safe: what a reference says (names, totals, bytes, first
//! name) is compared with what the shard holds whenever one is read, so sums can be trusted and no tree can contain itself.

use std::ops::Deref;
use std::sync::Arc;

use super::block_cache::Blocks;
use crate::entry::EntryPath;
use crate::error::{Error, Result};
use crate::format::tree::{Body, MAX_SHARD_DEPTH, Node, Shard, TreeRef};
use crate::id::ChunkId;

/// Directories deeper than this are refused by recursive walks: deeper ones come from no file system.
const MAX_DEPTH: usize = 1 << 16;

/// A decoded shard with sums over it, so that positions in it are found by binary search.
#[derive(Debug)]
pub struct IndexedShard {
    shard: Shard,
    /// Entries (at any depth) before each child of the shard, and after the last: ascending.
    entries_before: Vec<u64>,
    /// Names before each child of an index shard, and after the last. Empty for leaves, where it is the position.
    names_before: Vec<u64>,
    directories: u64,
    bytes: u64,
    memory_bytes: usize,
}

impl IndexedShard {
    fn new(shard: Shard, stored_bytes: usize) -> Self {
        let mut entries_before = vec![0];
        let mut names_before = Vec::new();
        let (mut total, mut directories, mut bytes) = (0_u64, 0_u64, 0_u64);
        let mut memory_bytes = stored_bytes + size_of::<Self>();
        match &shard {
            Shard::Leaf(nodes) => {
                for node in nodes {
                    total = total.saturating_add(node.entries());
                    directories += u64::from(matches!(node.body, Body::Directory(_)));
                    bytes = bytes.saturating_add(node.bytes());
                    entries_before.push(total);
                }
                memory_bytes += nodes.len() * (size_of::<Node>() + 8);
            }
            Shard::Index(shards) => {
                names_before.push(0);
                let mut names = 0_u64;
                for (_, tree) in shards {
                    total = total.saturating_add(tree.total);
                    names = names.saturating_add(tree.names);
                    directories = directories.saturating_add(tree.directories);
                    bytes = bytes.saturating_add(tree.bytes);
                    entries_before.push(total);
                    names_before.push(names);
                }
                memory_bytes += shards.len() * (size_of::<(Vec<u8>, TreeRef)>() + 16);
            }
        }
        Self {
            shard,
            entries_before,
            names_before,
            directories,
            bytes,
            memory_bytes,
        }
    }

    /// About how much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn len(&self) -> usize {
        self.entries_before.len() - 1
    }

    fn names(&self) -> u64 {
        self.names_before
            .last()
            .copied()
            .unwrap_or(self.len() as u64)
    }

    fn agrees_with(&self, tree: &TreeRef) -> bool {
        self.names() == tree.names
            && self.directories == tree.directories
            && self.entries_before.last() == Some(&tree.total)
            && self.bytes == tree.bytes
    }

    fn first_name(&self) -> Option<&[u8]> {
        match &self.shard {
            Shard::Leaf(nodes) => nodes.first().map(|node| node.name.as_slice()),
            Shard::Index(shards) => shards.first().map(|(name, _)| name.as_slice()),
        }
    }

    fn last_name(&self) -> Option<&[u8]> {
        match &self.shard {
            Shard::Leaf(nodes) => nodes.last().map(|node| node.name.as_slice()),
            Shard::Index(_) => None,
        }
    }

    /// Which child holds position `at` of an ascending list of "before" sums.
    fn child_at(sums: &[u64], at: u64) -> usize {
        sums.partition_point(|before| *before <= at)
            .saturating_sub(1)
    }
}

impl Deref for IndexedShard {
    type Target = Shard;
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

/// One node of a directory, with where it stands in it. Cheap to clone: it keeps its shard in memory.
#[derive(Clone, Debug)]
pub struct Found {
    shard: Arc<IndexedShard>,
    at: usize,
    /// Position in its directory, from 0.
    pub position: u64,
    /// Entries (at any depth) of the directory that come before it, without the directory itself.
    pub entries_before: u64,
}

impl Deref for Found {
    type Target = Node;
    fn deref(&self) -> &Node {
        match &self.shard.shard {
            Shard::Leaf(nodes) => &nodes[self.at],
            // `Found` is only made by `Step::Leaf` below, whose index is within a leaf.
            Shard::Index(_) => unreachable!("found in an index shard"),
        }
    }
}

/// The topmost shard of a directory. Checked against the sums in the reference.
pub fn shard(blocks: &dyn Blocks, tree: &TreeRef) -> Result<Arc<IndexedShard>> {
    let shard = blocks.cache().shard(blocks, &tree.id, |bytes| {
        let shard = Shard::decode(bytes).map_err(|e| damaged(&tree.id, &e.to_string()))?;
        Ok(IndexedShard::new(shard, bytes.len()))
    })?;
    if !shard.agrees_with(tree) {
        return Err(damaged(
            &tree.id,
            "its sums are not what the reference says",
        ));
    }
    Ok(shard)
}

fn damaged(id: &ChunkId, what: &str) -> Error {
    Error::corrupt(format!("tree {id}: {what}"))
}

/// What a position is looked for by.
#[derive(Clone, Copy)]
enum Sought<'a> {
    Name(&'a [u8]),
    Position(u64),
    Entry(u64),
}

/// A place in a directory: the shards from the topmost one to a leaf, and the child taken in each.
struct Place {
    path: Vec<(Arc<IndexedShard>, usize)>,
    position: u64,
    entries_before: u64,
}

impl Place {
    /// Descends to where `sought` is or would be. `None` if the directory ends before it.
    fn find(blocks: &dyn Blocks, tree: &TreeRef, sought: Sought<'_>) -> Result<Option<Self>> {
        if tree.names == 0 {
            return Ok(None);
        }
        let mut place = Self {
            path: Vec::with_capacity(2),
            position: 0,
            entries_before: 0,
        };
        if place.descend(blocks, *tree, None, sought)? {
            return Ok(Some(place));
        }
        // A name beyond the last of its leaf: the place is the next leaf's first, if there is one.
        Ok(place.next_leaf(blocks)?.then_some(place))
    }

    /// Goes down from `tree` to a leaf. False if the leaf ends before `sought`.
    fn descend(
        &mut self,
        blocks: &dyn Blocks,
        mut tree: TreeRef,
        mut first_name: Option<Vec<u8>>,
        sought: Sought<'_>,
    ) -> Result<bool> {
        loop {
            let shard = shard(blocks, &tree)?;
            if first_name.is_some() && shard.first_name() != first_name.as_deref() {
                return Err(damaged(
                    &tree.id,
                    "its first name is not what its index says",
                ));
            }
            if self.path.len() >= MAX_SHARD_DEPTH {
                return Err(damaged(&tree.id, "shards nest too deep"));
            }
            let at = match (&shard.shard, sought) {
                (Shard::Leaf(nodes), Sought::Name(name)) => {
                    nodes.partition_point(|node| node.name.as_slice() < name)
                }
                (Shard::Index(shards), Sought::Name(name)) => shards
                    .partition_point(|(first, _)| first.as_slice() <= name)
                    .saturating_sub(1),
                (Shard::Leaf(nodes), Sought::Position(position)) => {
                    usize::try_from(position.saturating_sub(self.position))
                        .unwrap_or(usize::MAX)
                        .min(nodes.len())
                }
                (Shard::Index(_), Sought::Position(position)) => IndexedShard::child_at(
                    &shard.names_before,
                    position.saturating_sub(self.position),
                )
                .min(shard.len() - 1),
                (_, Sought::Entry(entry)) => IndexedShard::child_at(
                    &shard.entries_before,
                    entry.saturating_sub(self.entries_before),
                ),
            };
            let leaf = matches!(shard.shard, Shard::Leaf(_));
            let next = match &shard.shard {
                Shard::Index(shards) => shards.get(at).cloned(),
                Shard::Leaf(_) => None,
            };
            self.position += if leaf {
                at as u64
            } else {
                shard.names_before.get(at).copied().unwrap_or(0)
            };
            self.entries_before += shard.entries_before.get(at).copied().unwrap_or(0);
            let inside = at < shard.len();
            self.path.push((shard, at));
            match next {
                Some((name, below)) => {
                    first_name = Some(name);
                    tree = below;
                }
                None => return Ok(leaf && inside),
            }
        }
    }

    /// Goes to the first node of the next leaf; false at the end. The place is at the end of a leaf.
    fn next_leaf(&mut self, blocks: &dyn Blocks) -> Result<bool> {
        let left = self.path.pop();
        let last_name = left.as_ref().and_then(|(leaf, _)| leaf.last_name());
        while let Some((shard, at)) = self.path.last_mut() {
            *at += 1;
            if let Shard::Index(shards) = &shard.shard
                && let Some((name, below)) = shards.get(*at).cloned()
            {
                if last_name.is_some_and(|last| last >= name.as_slice()) {
                    return Err(damaged(
                        &below.id,
                        "its names do not follow the shard before it",
                    ));
                }
                // Position and entry count already stand at the end of the leaf that was left.
                return self.descend(blocks, below, Some(name), Sought::Name(b""));
            }
            self.path.pop();
        }
        Ok(false)
    }

    fn found(&self) -> Option<Found> {
        let (shard, at) = self.path.last()?;
        matches!(&shard.shard, Shard::Leaf(nodes) if *at < nodes.len()).then(|| Found {
            shard: shard.clone(),
            at: *at,
            position: self.position,
            entries_before: self.entries_before,
        })
    }

    fn advance(&mut self, blocks: &dyn Blocks) -> Result<bool> {
        let Some((shard, at)) = self.path.last_mut() else {
            return Ok(false);
        };
        self.entries_before += shard.entries_before[*at + 1] - shard.entries_before[*at];
        self.position += 1;
        *at += 1;
        if *at < shard.len() {
            return Ok(true);
        }
        self.next_leaf(blocks)
    }
}

/// The node called `name` in a directory.
pub fn lookup(blocks: &dyn Blocks, tree: &TreeRef, name: &[u8]) -> Result<Option<Found>> {
    let place = Place::find(blocks, tree, Sought::Name(name))?;
    Ok(place
        .and_then(|place| place.found())
        .filter(|found| found.name == name))
}

/// The node in a directory that is, or holds below it, the entry with this number: 0 is the directory's first name.
pub fn containing(blocks: &dyn Blocks, tree: &TreeRef, entry: u64) -> Result<Option<Found>> {
    if entry >= tree.total {
        return Ok(None);
    }
    Ok(Place::find(blocks, tree, Sought::Entry(entry))?.and_then(|place| place.found()))
}

/// Goes over the nodes of one directory in order of their names; holds one leaf at a time.
pub struct Cursor<'a> {
    blocks: &'a dyn Blocks,
    place: Option<Place>,
    started: bool,
}

impl<'a> Cursor<'a> {
    /// From the first name.
    pub fn new(blocks: &'a dyn Blocks, tree: &TreeRef) -> Result<Self> {
        Self::seek(blocks, tree, Sought::Position(0))
    }

    /// From the name at `position` (from 0); past the end it is empty.
    pub fn from_position(blocks: &'a dyn Blocks, tree: &TreeRef, position: u64) -> Result<Self> {
        Self::seek(blocks, tree, Sought::Position(position))
    }

    /// From the first name that is not below `name`.
    pub fn from_name(blocks: &'a dyn Blocks, tree: &TreeRef, name: &[u8]) -> Result<Self> {
        Self::seek(blocks, tree, Sought::Name(name))
    }

    fn seek(blocks: &'a dyn Blocks, tree: &TreeRef, sought: Sought<'_>) -> Result<Self> {
        let place = match sought {
            Sought::Position(position) if position >= tree.names => None,
            _ => Place::find(blocks, tree, sought)?,
        };
        Ok(Self {
            blocks,
            place,
            started: false,
        })
    }
}

impl Iterator for Cursor<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.place.as_mut()?;
        if std::mem::replace(&mut self.started, true) {
            match place.advance(self.blocks) {
                Ok(true) => {}
                Ok(false) => {
                    self.place = None;
                    return None;
                }
                Err(error) => {
                    self.place = None;
                    return Some(Err(error));
                }
            }
        }
        place.found().map(Ok)
    }
}

/// The node at `path` below the directory `root`; the root itself for the empty path.
pub fn find_path(blocks: &dyn Blocks, root: &Node, path: &EntryPath) -> Result<Option<Node>> {
    let mut node = root.clone();
    for name in path.components() {
        let Body::Directory(tree) = &node.body else {
            return Ok(None);
        };
        match lookup(blocks, tree, name)? {
            Some(found) => node = Node::clone(&found),
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// Goes depth-first over everything below a directory, in path order. Memory: one leaf per level.
///
/// An error about one directory is reported once, as that directory's path with the error; the walk goes on beside it.
pub struct Walk<'a> {
    blocks: &'a dyn Blocks,
    levels: Vec<(EntryPath, Cursor<'a>)>,
    /// The directory that was handed out last, to be entered by the next call.
    pending: Option<(EntryPath, TreeRef)>,
}

impl<'a> Walk<'a> {
    /// Over what is below `root`, which itself is not handed out. Paths start with `at`.
    pub fn new(blocks: &'a dyn Blocks, root: &Node, at: EntryPath) -> Self {
        let pending = match &root.body {
            Body::Directory(tree) => Some((at, *tree)),
            _ => None,
        };
        Self {
            blocks,
            levels: Vec::new(),
            pending,
        }
    }

    /// Leaves out what is below the directory that was handed out last.
    pub fn skip_below(&mut self) {
        self.pending = None;
    }

    fn enter(&mut self, path: EntryPath, tree: &TreeRef) -> Result<()> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Error::corrupt("directories nest too deep"));
        }
        let cursor = Cursor::new(self.blocks, tree)?;
        self.levels.push((path, cursor));
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(EntryPath, Node)>, (EntryPath, Error)> {
        if let Some((path, tree)) = self.pending.take() {
            self.enter(path.clone(), &tree).map_err(|e| (path, e))?;
        }
        while let Some((path, cursor)) = self.levels.last_mut() {
            let Some(found) = cursor.next() else {
                self.levels.pop();
                continue;
            };
            let path = path.clone();
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    self.levels.pop();
                    return Err((path, error));
                }
            };
            let below = path.join(&found.name).map_err(|error| {
                let error = Error::corrupt(format!("name in a tree: {error}"));
                (path, error)
            })?;
            if let Body::Directory(tree) = &found.body {
                self.pending = Some((below.clone(), *tree));
            }
            return Ok(Some((below, Node::clone(&found))));
        }
        Ok(None)
    }
}

impl Iterator for Walk<'_> {
    /// An entry, or the directory that could not be read (further) and why.
    type Item = Result<(EntryPath, Node), (EntryPath, Error)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests;
