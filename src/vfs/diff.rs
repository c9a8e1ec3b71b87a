//! What differs between two trees.
//!
//! Both are walked together in the order of names; equal subtrees have equal tree ids and are not read. Contents that were cut
//! alike are compared by their chunk ids; where they were not (a file once from a directory, once from a disk) their
//! bytes are compared: the answer never depends on how something was stored. Memory: two leaves per level.

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::tree::{Body, Node};
use crate::progress::Monitor;
use crate::repository::block_cache::Blocks;
use crate::repository::content::{Content, Extent};
use crate::repository::trees::{Cursor, Found, Walk};

/// How many bytes are compared at once.
const COMPARED_BYTES: usize = 1 << 20;

/// In what two entries of one path differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// They are of different kinds: a file and a directory.
    Kind,
    /// Bytes of a file.
    Content,
    /// Target of a symbolic link.
    Target,
    /// Numbers of a device.
    Device,
    /// Permissions.
    Mode,
    /// Owner or group, by number.
    Owner,
    /// Extended attributes, ACLs among them.
    Xattrs,
    /// Time of modification.
    Time,
}

impl Aspect {
    /// A word for people and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattrs => "xattrs",
            Self::Time => "time",
        }
    }
}

/// One difference: an entry that is on one side only, or that is not the same.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where, below the two roots.
    pub path: EntryPath,
    /// The entry on the first side.
    pub before: Option<Node>,
    /// The entry on the second side.
    pub after: Option<Node>,
    /// In what they differ, if both are there.
    pub aspects: Vec<Aspect>,
}

/// Two directories that are gone through side by side.
struct Level<'a> {
    path: EntryPath,
    before: Peekable<Cursor<'a>>,
    after: Peekable<Cursor<'a>>,
}

/// Calls `each` for every difference between what is at and below `before` and `after`, in path order.
pub fn compare(
    blocks: &dyn Blocks,
    before: &Node,
    after: &Node,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<()> {
    let mut compare = Compare {
        blocks,
        monitor,
        each,
        levels: Vec::new(),
    };
    compare.pair(EntryPath::root(), before, after)?;
    while let Some(level) = compare.levels.last_mut() {
        if monitor.interrupted() {
            return Err(Error::new(Class::Interrupted, "interrupted"));
        }
        let (before, after) = level.next()?;
        let Some(found) = before.as_ref().or(after.as_ref()) else {
            compare.levels.pop();
            continue;
        };
        let path = level.path.join(&found.name);
        let path = path.map_err(|e| Error::corrupt(e.to_string()))?;
        match (before, after) {
            (Some(before), Some(after)) => compare.pair(path, &before, &after)?,
            (before, after) => compare.lone(&path, before.as_deref(), after.as_deref())?,
        }
    }
    Ok(())
}

impl Level<'_> {
    /// The next name, with the nodes that have it.
    fn next(&mut self) -> Result<(Option<Found>, Option<Found>)> {
        let order = match (self.before.peek(), self.after.peek()) {
            (Some(Ok(before)), Some(Ok(after))) => before.name.cmp(&after.name),
            // An error is taken from its own side, and ends it all.
            (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
            _ => Ordering::Greater,
        };
        let before = if order.is_le() {
            self.before.next().transpose()?
        } else {
            None
        };
        let after = if order.is_ge() {
            self.after.next().transpose()?
        } else {
            None
        };
        Ok((before, after))
    }
}

struct Compare<'a, 'b> {
    blocks: &'a dyn Blocks,
    monitor: &'b dyn Monitor,
    each: &'b mut dyn FnMut(Difference) -> Result<()>,
    levels: Vec<Level<'a>>,
}

impl Compare<'_, '_> {
    /// Both sides have the entry.
    fn pair(&mut self, path: EntryPath, before: &Node, after: &Node) -> Result<()> {
        self.monitor.doing(&|| path.to_string());
        let aspects = aspects(self.blocks, before, after)
            .map_err(|error| error.within(format!("'{path}'")))?;
        if !aspects.is_empty() {
            (self.each)(Difference {
                path: path.clone(),
                before: Some(before.clone()),
                after: Some(after.clone()),
                aspects: aspects.clone(),
            })?;
        }
        match (&before.body, &after.body) {
            (Body::Directory(a), Body::Directory(b)) if a.id != b.id => {
                self.levels.push(Level {
                    path,
                    before: Cursor::new(self.blocks, a)?.peekable(),
                    after: Cursor::new(self.blocks, b)?.peekable(),
                });
                Ok(())
            }
            _ if aspects.contains(&Aspect::Kind) => {
                self.below(&path, before, true)?;
                self.below(&path, after, false)
            }
            _ => Ok(()),
        }
    }

    /// One side has the entry; exactly one of the two is given.
    fn lone(
        &mut self,
        path: &EntryPath,
        before: Option<&Node>,
        after: Option<&Node>,
    ) -> Result<()> {
        (self.each)(Difference {
            path: path.clone(),
            before: before.cloned(),
            after: after.cloned(),
            aspects: Vec::new(),
        })?;
        match (before, after) {
            (Some(node), _) => self.below(path, node, true),
            (_, Some(node)) => self.below(path, node, false),
            _ => Ok(()),
        }
    }

    /// Everything below a directory that only one side has.
    fn below(&mut self, path: &EntryPath, node: &Node, is_before: bool) -> Result<()> {
        for step in Walk::new(self.blocks, node, path.clone()) {
            if self.monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "interrupted"));
            }
            let (path, node) = step.map_err(|(path, error)| error.within(format!("'{path}'")))?;
            let (before, after) = if is_before {
                (Some(node), None)
            } else {
                (None, Some(node))
            };
            (self.each)(Difference {
                path,
                before,
                after,
                aspects: Vec::new(),
            })?;
        }
        Ok(())
    }
}

/// In what two nodes differ, not looking at their names and at what is below them.
fn aspects(blocks: &dyn Blocks, before: &Node, after: &Node) -> Result<Vec<Aspect>> {
    let mut aspects = Vec::new();
    match (&before.body, &after.body) {
        (Body::File { content: x, .. }, Body::File { content: y, .. }) => {
            if before.bytes() != after.bytes() || !same_content(blocks, x, y)? {
                aspects.push(Aspect::Content);
            }
        }
        (Body::Symlink(a), Body::Symlink(b)) if a != b => aspects.push(Aspect::Target),
        (a, b) if a.file_type() != b.file_type() => aspects.push(Aspect::Kind),
        (Body::CharDevice(..) | Body::BlockDevice(..), other) if before.body != *other => {
            aspects.push(Aspect::Device);
        }
        _ => {}
    }
    let (a, b) = (&before.meta, &after.meta);
    let differs = [
        (Aspect::Mode, a.mode != b.mode),
        (Aspect::Owner, (a.uid, a.gid) != (b.uid, b.gid)),
        (Aspect::Xattrs, a.xattrs != b.xattrs),
        (Aspect::Time, a.mtime != b.mtime),
    ];
    aspects.extend(
        differs
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(aspect, _)| *aspect),
    );
    Ok(aspects)
}

/// True if two contents of one size have the same bytes.
fn same_content(blocks: &dyn Blocks, before: &[Item], after: &[Item]) -> Result<bool> {
    if before == after {
        return Ok(true);
    }
    let (before, after) = (Content::new(before), Content::new(after));
    let mut left = before.extents(blocks, 0);
    let mut right = after.extents(blocks, 0);
    let (mut a, mut b) = (left.next().transpose()?, right.next().transpose()?);
    let mut at = 0;
    while let (Some(x), Some(y)) = (a, b) {
        let end = x.end().min(y.end());
        let whole = x.start == y.start && x.end() == y.end();
        match (x.item, y.item) {
            (Item::Data { id: one, .. }, Item::Data { id: other, .. }) if whole => {
                if one != other {
                    return Ok(false);
                }
            }
            (Item::Hole(_) | Item::Zeros(_), Item::Hole(_) | Item::Zeros(_)) => {}
            _ => {
                if !same_bytes(blocks, &before, &after, at, end)? {
                    return Ok(false);
                }
            }
        }
        at = end;
        let passed = |extent: Extent| extent.end() <= at;
        if passed(x) {
            a = left.next().transpose()?;
        }
        if passed(y) {
            b = right.next().transpose()?;
        }
    }
    Ok(a.is_none() && b.is_none())
}

fn same_bytes(
    blocks: &dyn Blocks,
    before: &Content,
    after: &Content,
    mut at: u64,
    end: u64,
) -> Result<bool> {
    let mut left = vec![0; COMPARED_BYTES];
    let mut right = vec![0; COMPARED_BYTES];
    while at < end {
        let piece = usize::try_from(end - at).map_or(COMPARED_BYTES, |n| n.min(COMPARED_BYTES));
        let (left, right) = (&mut left[..piece], &mut right[..piece]);
        let read = before.read_at(blocks, at, left)?;
        if read != piece || after.read_at(blocks, at, right)? != piece {
            return Err(Error::corrupt("a content is shorter than its items say"));
        }
        if left != right {
            return Ok(false);
        }
        at += piece as u64;
    }
    Ok(true)
}
