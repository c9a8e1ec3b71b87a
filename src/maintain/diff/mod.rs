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

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second tree has it.
    Added,
    /// Only the first tree has it.
    Removed,
    /// It is of another type.
    Type,
    /// Its content, link target or device number is another; its metadata may be too.
    Content,
    /// Only its mode, owner, time or attributes are others.
    Metadata,
}

impl Change {
    /// The word for it in output and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Type => "type",
            Self::Content => "content",
            Self::Metadata => "metadata",
        }
    }

    /// The letter for it in listings.
    pub fn letter(self) -> char {
        match self {
            Self::Added => '+',
            Self::Removed => '-',
            Self::Type => 'T',
            Self::Content => 'M',
            Self::Metadata => 'm',
        }
    }
}

/// One entry that differs.
#[derive(Clone, Copy, Debug)]
pub struct Difference<'a> {
    /// How.
    pub change: Change,
    /// Where, below the two roots.
    pub path: &'a EntryPath,
    /// What the first tree has there.
    pub from: Option<&'a Node>,
    /// What the second tree has there.
    pub to: Option<&'a Node>,
    /// In what they differ, if both are there.
    pub aspects: &'a [Aspect],
}

type Each<'b> = dyn FnMut(&Difference<'_>) -> Result<()> + 'b;

/// Two directories that are gone through side by side.
struct Level<'a> {
    path: EntryPath,
    from: Peekable<Cursor<'a>>,
    to: Peekable<Cursor<'a>>,
}

/// Tells `each` every difference between what is at and below `from` and `to`, in the order of a walk.
pub fn diff(
    blocks: &dyn Blocks,
    from: &Node,
    to: &Node,
    monitor: &dyn Monitor,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut compare = Compare {
        blocks,
        monitor,
        each,
        levels: Vec::new(),
    };
    compare.pair(EntryPath::root(), from, to)?;
    while let Some(level) = compare.levels.last_mut() {
        if monitor.interrupted() {
            return Err(Error::new(Class::Interrupted, "interrupted"));
        }
        let (from, to) = level.next()?;
        let Some(found) = from.as_ref().or(to.as_ref()) else {
            compare.levels.pop();
            continue;
        };
        let path = level.path.join(&found.name);
        let path = path.map_err(|e| Error::corrupt(format!("name in a tree: {e}")))?;
        match (from, to) {
            (Some(from), Some(to)) => compare.pair(path, &from, &to)?,
            (Some(from), None) => compare.lone(&path, &from, Change::Removed)?,
            (None, Some(to)) => compare.lone(&path, &to, Change::Added)?,
            (None, None) => {}
        }
    }
    Ok(())
}

impl Level<'_> {
    /// The next name, with the nodes that have it.
    fn next(&mut self) -> Result<(Option<Found>, Option<Found>)> {
        let order = match (self.from.peek(), self.to.peek()) {
            (Some(Ok(from)), Some(Ok(to))) => from.name.cmp(&to.name),
            // An error is taken from its own side, and ends it all.
            (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
            _ => Ordering::Greater,
        };
        let from = if order.is_le() {
            self.from.next().transpose()?
        } else {
            None
        };
        let to = if order.is_ge() {
            self.to.next().transpose()?
        } else {
            None
        };
        Ok((from, to))
    }
}

struct Compare<'a, 'b> {
    blocks: &'a dyn Blocks,
    monitor: &'b dyn Monitor,
    each: &'b mut Each<'b>,
    levels: Vec<Level<'a>>,
}

impl Compare<'_, '_> {
    /// Both sides have the entry.
    fn pair(&mut self, path: EntryPath, from: &Node, to: &Node) -> Result<()> {
        self.monitor.doing(&|| path.to_string());
        let aspects =
            aspects(self.blocks, from, to).map_err(|error| error.within(path.quoted()))?;
        if let Some(first) = aspects.first() {
            let change = match first {
                Aspect::Kind => Change::Type,
                Aspect::Content | Aspect::Target | Aspect::Device => Change::Content,
                Aspect::Mode | Aspect::Owner | Aspect::Xattrs | Aspect::Time => Change::Metadata,
            };
            let (path, aspects) = (&path, aspects.as_slice());
            let (from, to) = (Some(from), Some(to));
            (self.each)(&Difference {
                change,
                path,
                from,
                to,
                aspects,
            })?;
        }
        match (&from.body, &to.body) {
            (Body::Directory(a), Body::Directory(b)) if a.id != b.id => {
                self.levels.push(Level {
                    path,
                    from: Cursor::new(self.blocks, a)?.peekable(),
                    to: Cursor::new(self.blocks, b)?.peekable(),
                });
                Ok(())
            }
            (Body::Directory(_), Body::Directory(_)) => Ok(()),
            // At most one of them is a directory.
            _ => {
                self.below(&path, from, Change::Removed)?;
                self.below(&path, to, Change::Added)
            }
        }
    }

    /// Only one side has the entry, and all that is below it.
    fn lone(&mut self, path: &EntryPath, node: &Node, change: Change) -> Result<()> {
        self.one_sided(path, node, change)?;
        self.below(path, node, change)
    }

    fn below(&mut self, path: &EntryPath, node: &Node, change: Change) -> Result<()> {
        for step in Walk::new(self.blocks, node, path.clone()) {
            if self.monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "interrupted"));
            }
            let (path, node) = step.map_err(|(path, error)| error.within(path.quoted()))?;
            self.one_sided(&path, &node, change)?;
        }
        Ok(())
    }

    fn one_sided(&mut self, path: &EntryPath, node: &Node, change: Change) -> Result<()> {
        let added = change == Change::Added;
        (self.each)(&Difference {
            change,
            path,
            from: (!added).then_some(node),
            to: added.then_some(node),
            aspects: &[],
        })
    }
}

/// In what two nodes differ, not looking at their names and at what is below them; in the order of [`Aspect`].
fn aspects(blocks: &dyn Blocks, from: &Node, to: &Node) -> Result<Vec<Aspect>> {
    let mut aspects = Vec::new();
    match (&from.body, &to.body) {
        (Body::File { content: x, .. }, Body::File { content: y, .. }) => {
            let same = from.bytes() == to.bytes() && same_content(blocks, x, y)?;
            aspects.extend((!same).then_some(Aspect::Content));
        }
        (Body::Directory(_), Body::Directory(_)) => {}
        (a, b) if a.file_type() != b.file_type() => aspects.push(Aspect::Kind),
        (Body::Symlink(a), Body::Symlink(b)) if a != b => aspects.push(Aspect::Target),
        (a, b) if a != b => aspects.push(Aspect::Device),
        _ => {}
    }
    let (a, b) = (&from.meta, &to.meta);
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

#[cfg(test)]
mod tests;
