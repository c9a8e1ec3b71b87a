//! Files with several names: found again by a path, in bounded memory.
//!
//! There may be as many as entries, and other names may never come, so they lie on a [`Shelf`]: by the digest of their path.

use std::path::{Path, PathBuf};

use super::archive::{Member, read};
use super::sorter::Sorter;
use crate::entry::{EntryPath, Shelf, ShelfKey};
use crate::error::{Class, Error, Result};
use crate::format::tree::Node;
use crate::format::{Cursor, DecodeError, put_varint};
use crate::repository::shelf::SpillShelf;

/// Hard links that point to hard links are followed this far.
const MAX_LINK_HOPS: usize = 64;

/// Files in walk order with names still to come, by their first path.
pub(super) struct FirstNames(SpillShelf);

impl FirstNames {
    pub(super) fn new(scratch: Option<PathBuf>) -> Self {
        Self(SpillShelf::new(scratch))
    }

    /// The file at `path` has `left` more names.
    pub(super) fn put(&self, path: &EntryPath, node: &Node, left: u32) -> Result<()> {
        let mut value = Vec::with_capacity(160);
        put_varint(&mut value, u64::from(left));
        node.encode(&mut value);
        self.0.put(key(path), &value)
    }

    /// One more name of the file at `path`: its node, if it was put.
    pub(super) fn take(&self, path: &EntryPath) -> Result<Option<Node>> {
        let Some(value) = self.0.get(&key(path))? else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&value);
        let left = cursor.varint_u32("names").map_err(broken)?;
        let rest = cursor.take(cursor.remaining(), "node").map_err(broken)?;
        let node = Node::decode(rest).map_err(broken)?;
        if left > 1 {
            self.put(path, &node, left - 1)?;
        } else {
            self.0.forget(&key(path));
        }
        Ok(Some(node))
    }
}

/// The hard links of an archive.
pub(super) struct Links {
    /// Where each link points: a one, and the path. Nothing if a later member replaced the link.
    targets: SpillShelf,
    /// Number of the group and of its names, by the path where the links end.
    groups: SpillShelf,
    /// The nodes at those paths.
    nodes: SpillShelf,
}

impl Links {
    /// Finds them: a pass over the links, one to follow them, and one to fetch what they end at.
    pub(super) fn find(members: &mut Sorter, scratch: Option<&Path>) -> Result<Self> {
        let shelf = || SpillShelf::new(scratch.map(Path::to_path_buf));
        let links = Self {
            targets: shelf(),
            groups: shelf(),
            nodes: shelf(),
        };
        // Members of one path come one after the other.
        let mut link: Option<EntryPath> = None;
        members.for_each(|record| {
            let sorted = read(&record)?;
            match sorted.member {
                Member::Link(target) => {
                    let mut value = vec![1];
                    value.extend_from_slice(target.as_bytes());
                    links.targets.put(key(&sorted.path), &value)?;
                    link = Some(sorted.path);
                }
                Member::Node(_) if link.as_ref() == Some(&sorted.path) => {
                    links.targets.put(key(&sorted.path), &[])?;
                }
                Member::Node(_) => {}
            }
            Ok(())
        })?;
        let (mut count, mut last) = (0, None);
        let mut follow = |last: Option<(EntryPath, Member)>| match last {
            Some((_, Member::Link(target))) => links.add_name(&target, &mut count),
            _ => Ok(()),
        };
        members.for_each(|record| {
            let sorted = read(&record)?;
            let next = (sorted.path, sorted.member);
            match last.replace(next) {
                Some(before) if last.as_ref().is_some_and(|(path, _)| *path == before.0) => Ok(()),
                before => follow(before),
            }
        })?;
        follow(last)?;
        members.for_each(|record| {
            let sorted = read(&record)?;
            if let Member::Node(node) = sorted.member
                && links.groups.get(&key(&sorted.path))?.is_some()
            {
                let mut value = Vec::with_capacity(160);
                node.encode(&mut value);
                links.nodes.put(key(&sorted.path), &value)?;
            }
            Ok(())
        })?;
        Ok(links)
    }

    /// One more link to `target`; `count` numbers the groups.
    fn add_name(&self, target: &EntryPath, count: &mut u64) -> Result<()> {
        let end = self.end(target)?;
        let (number, names) = if let Some(group) = self.group(&end)? {
            group
        } else {
            *count += 1;
            (*count, 1)
        };
        let mut value = Vec::with_capacity(8);
        put_varint(&mut value, number);
        put_varint(&mut value, u64::from(names.saturating_add(1)));
        self.groups.put(key(&end), &value)
    }

    /// Where a link to `target` ends.
    fn end(&self, target: &EntryPath) -> Result<EntryPath> {
        let mut end = target.clone();
        for _ in 0..MAX_LINK_HOPS {
            let next = self.targets.get(&key(&end))?;
            match next.as_deref().and_then(|value| value.split_first()) {
                Some((_, path)) => end = parse(path)?,
                None => break,
            }
        }
        Ok(end)
    }

    fn group(&self, end: &EntryPath) -> Result<Option<(u64, u32)>> {
        let Some(value) = self.groups.get(&key(end))? else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&value);
        let number = cursor.varint("number").map_err(broken)?;
        let names = cursor.varint_u32("names").map_err(broken)?;
        Ok(Some((number, names)))
    }

    /// The file that a link to `target` is one more name of, if the archive has it.
    pub(super) fn linked(&self, target: &EntryPath) -> Result<Option<Node>> {
        let end = self.end(target)?;
        let Some(value) = self.nodes.get(&key(&end))? else {
            return Ok(None);
        };
        let mut node = Node::decode(&value).map_err(broken)?;
        self.join(&mut node, &end)?;
        Ok(Some(node))
    }

    /// Says in the node at `end` which names it has, if there are several.
    pub(super) fn join(&self, node: &mut Node, end: &EntryPath) -> Result<()> {
        if let Some((number, names)) = self.group(end)? {
            node.link_group = number;
            node.links = names;
        }
        Ok(())
    }
}

fn key(path: &EntryPath) -> ShelfKey {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(path.as_bytes()).as_bytes()[..16]);
    key
}

fn parse(bytes: &[u8]) -> Result<EntryPath> {
    EntryPath::parse(bytes).map_err(|e| Error::invalid(format!("a path of the archive: {e}")))
}

fn broken(error: DecodeError) -> Error {
    Error::caused(Class::Corrupt, "a record of the ingest", error)
}
