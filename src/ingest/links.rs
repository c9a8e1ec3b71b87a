//! Files with several names: found again by a path or by their place in the archive, in bounded memory.
//!
//! There may be as many as entries, and other names may never come, so they lie on a [`Shelf`].

use std::path::{Path, PathBuf};

use super::archive::{Member, read};
use super::sorter::Sorter;
use crate::entry::{EntryPath, Shelf, ShelfKey, shelf_key};
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

/// The hard links of an archive. Members are told by their ordinals: a path may have been several files, one after the other.
pub(super) struct Links {
    /// What each link points to; and the last members of paths to which links point that come before all members of the path.
    targets: SpillShelf,
    /// The nodes to which links point.
    nodes: SpillShelf,
    /// Number of the group and of its names, for those nodes.
    groups: SpillShelf,
}

/// What a link points to.
#[derive(Clone, Copy)]
enum Target {
    Node(u64),
    Link(u64),
    /// No member as yet: the last one of this path. Extraction would fail there, but nothing else can be meant.
    Later(ShelfKey),
}

/// The members of one path, as they pass by.
struct Passing {
    path: EntryPath,
    newest: Option<(u64, Member)>,
    /// The newest is among the nodes.
    kept: bool,
    /// A link came before all of them.
    sought_early: bool,
}

impl Passing {
    fn new(path: EntryPath) -> Self {
        Self {
            path,
            newest: None,
            kept: false,
            sought_early: false,
        }
    }
}

impl Links {
    /// Finds them: a pass to see what they point to, and one to count the names that the tree will show.
    pub(super) fn find(members: &mut Sorter, scratch: Option<&Path>) -> Result<Self> {
        let shelf = || SpillShelf::new(scratch.map(Path::to_path_buf));
        let links = Self {
            targets: shelf(),
            nodes: shelf(),
            groups: shelf(),
        };
        // Members of one path come one after the other, and the links to it among them, all as they stand in the archive.
        let mut passing = Passing::new(EntryPath::root());
        members.for_each(|record| {
            let sorted = read(&record)?;
            if sorted.path != passing.path {
                links.passed(&mut passing)?;
                passing = Passing::new(sorted.path);
            }
            match sorted.member {
                Member::Sought => links.sought(sorted.ordinal + 1, &mut passing),
                member => {
                    passing.newest = Some((sorted.ordinal, member));
                    passing.kept = false;
                    Ok(())
                }
            }
        })?;
        links.passed(&mut passing)?;
        let (mut count, mut last) = (0, None);
        members.for_each(|record| {
            let sorted = read(&record)?;
            if matches!(sorted.member, Member::Sought) {
                return Ok(());
            }
            let next = (sorted.path, sorted.ordinal, sorted.member);
            match last.replace(next) {
                Some(before) if last.as_ref().is_some_and(|next| next.0 == before.0) => Ok(()),
                Some((_, ordinal, member)) => links.add_name(ordinal, &member, &mut count),
                None => Ok(()),
            }
        })?;
        if let Some((_, ordinal, member)) = last {
            links.add_name(ordinal, &member, &mut count)?;
        }
        Ok(links)
    }

    /// The link `ordinal` points to what passes.
    fn sought(&self, ordinal: u64, passing: &mut Passing) -> Result<()> {
        let target = self.newest(passing)?.unwrap_or_else(|| {
            passing.sought_early = true;
            Target::Later(later(&passing.path))
        });
        self.targets.put(number(ordinal), &target.encode())
    }

    /// All members of a path went by.
    fn passed(&self, passing: &mut Passing) -> Result<()> {
        if passing.sought_early
            && let Some(target) = self.newest(passing)?
        {
            self.targets.put(later(&passing.path), &target.encode())?;
        }
        Ok(())
    }

    /// The newest member that went by; a node is kept.
    fn newest(&self, passing: &mut Passing) -> Result<Option<Target>> {
        let Some((ordinal, member)) = &passing.newest else {
            return Ok(None);
        };
        let Member::Node(node) = member else {
            return Ok(Some(Target::Link(*ordinal)));
        };
        if !std::mem::replace(&mut passing.kept, true) {
            let mut value = Vec::with_capacity(160);
            node.encode(&mut value);
            self.nodes.put(number(*ordinal), &value)?;
        }
        Ok(Some(Target::Node(*ordinal)))
    }

    /// The tree will show this member; `count` numbers the groups.
    fn add_name(&self, ordinal: u64, member: &Member, count: &mut u64) -> Result<()> {
        let node = match member {
            Member::Link(_) => self.end(ordinal)?,
            _ => self.nodes.get(&number(ordinal))?.map(|_| ordinal),
        };
        let Some(node) = node else {
            return Ok(());
        };
        let (group, names) = if let Some(group) = self.group(node)? {
            group
        } else {
            *count += 1;
            (*count, 0)
        };
        let mut value = Vec::with_capacity(8);
        put_varint(&mut value, group);
        put_varint(&mut value, u64::from(names.saturating_add(1)));
        self.groups.put(number(node), &value)
    }

    /// The node at which the link ends.
    fn end(&self, link: u64) -> Result<Option<u64>> {
        let mut found = self.targets.get(&number(link))?;
        for _ in 0..MAX_LINK_HOPS {
            let Some(value) = found else {
                break;
            };
            found = match Target::decode(&value)? {
                Target::Node(node) => return Ok(Some(node)),
                Target::Link(link) => self.targets.get(&number(link))?,
                Target::Later(path) => self.targets.get(&path)?,
            };
        }
        Ok(None)
    }

    fn group(&self, node: u64) -> Result<Option<(u64, u32)>> {
        let Some(value) = self.groups.get(&number(node))? else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&value);
        let group = cursor.varint("number").map_err(broken)?;
        let names = cursor.varint_u32("names").map_err(broken)?;
        Ok(Some((group, names)))
    }

    /// The file that a link is one more name of, if the archive has it.
    pub(super) fn linked(&self, link: u64) -> Result<Option<Node>> {
        let Some(end) = self.end(link)? else {
            return Ok(None);
        };
        let Some(value) = self.nodes.get(&number(end))? else {
            return Ok(None);
        };
        let mut node = Node::decode(&value).map_err(broken)?;
        self.join(&mut node, end)?;
        Ok(Some(node))
    }

    /// Says in the node which names it has, if there are several.
    pub(super) fn join(&self, node: &mut Node, ordinal: u64) -> Result<()> {
        if let Some((group, names)) = self.group(ordinal)?
            && names > 1
        {
            node.link_group = group;
            node.links = names;
        }
        Ok(())
    }
}

impl Target {
    fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17);
        match self {
            Self::Node(ordinal) => {
                out.push(0);
                put_varint(&mut out, ordinal);
            }
            Self::Link(ordinal) => {
                out.push(1);
                put_varint(&mut out, ordinal);
            }
            Self::Later(path) => {
                out.push(2);
                out.extend_from_slice(&path);
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        let mut decode = || {
            Ok(match cursor.byte("kind")? {
                0 => Self::Node(cursor.varint("ordinal")?),
                1 => Self::Link(cursor.varint("ordinal")?),
                _ => Self::Later(cursor.array("path")?),
            })
        };
        decode().map_err(broken)
    }
}

fn number(ordinal: u64) -> ShelfKey {
    shelf_key(0, ordinal)
}

/// No number.
fn later(path: &EntryPath) -> ShelfKey {
    let mut key = key(path);
    key[0] |= 1;
    key
}

fn key(path: &EntryPath) -> ShelfKey {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(path.as_bytes()).as_bytes()[..16]);
    key
}

fn broken(error: DecodeError) -> Error {
    Error::caused(Class::Corrupt, "a record of the ingest", error)
}
