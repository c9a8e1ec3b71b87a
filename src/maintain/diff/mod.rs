//! What changed from one tree to another: both walked side by side, equal trees not entered at all.

use crate::entry::{EntryPath, Meta};
use crate::error::Result;
use crate::format::content::Item;
use crate::format::tree::{Body, Node};
use crate::repository::block_cache::Blocks;
use crate::repository::trees::{Cursor, Found, Walk};

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
    /// Where.
    pub path: &'a EntryPath,
    /// What the first tree has there.
    pub from: Option<&'a Node>,
    /// What the second tree has there.
    pub to: Option<&'a Node>,
}

/// A directory that is being compared.
struct Level<'a> {
    path: EntryPath,
    left: Side<'a>,
    right: Side<'a>,
}

/// A directory's names with the next one looked at.
struct Side<'a> {
    cursor: Option<Cursor<'a>>,
    next: Option<Found>,
}

impl<'a> Side<'a> {
    fn new(blocks: &'a dyn Blocks, node: &Node) -> Result<Self> {
        let cursor = match &node.body {
            Body::Directory(tree) => Some(Cursor::new(blocks, tree)?),
            _ => None,
        };
        let mut side = Self { cursor, next: None };
        side.advance()?;
        Ok(side)
    }

    /// The next name, which is passed.
    fn advance(&mut self) -> Result<Option<Found>> {
        let next = self.cursor.as_mut().and_then(Iterator::next).transpose()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// Tells `each` every entry that differs between two directories, in the order of a walk. Memory: one leaf per level.
pub fn diff(
    blocks: &dyn Blocks,
    from: &Node,
    to: &Node,
    each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    let mut levels = Vec::new();
    compare(blocks, EntryPath::root(), (from, to), &mut levels, each)?;
    while let Some(level) = levels.last_mut() {
        let (left, right) = match (&level.left.next, &level.right.next) {
            (None, None) => {
                levels.pop();
                continue;
            }
            (Some(left), Some(right)) => (left.name <= right.name, right.name <= left.name),
            (left, right) => (left.is_some(), right.is_some()),
        };
        let left = if left { level.left.advance()? } else { None };
        let right = if right { level.right.advance()? } else { None };
        let Some(name) = left.as_ref().or(right.as_ref()).map(|found| &found.name) else {
            continue;
        };
        let path = level
            .path
            .join(name)
            .map_err(|e| crate::error::Error::corrupt(format!("name in a tree: {e}")))?;
        match (&left, &right) {
            (Some(left), Some(right)) => compare(blocks, path, (left, right), &mut levels, each)?,
            (Some(left), None) => one_sided(blocks, Change::Removed, &path, left, each)?,
            (None, Some(right)) => one_sided(blocks, Change::Added, &path, right, each)?,
            (None, None) => {}
        }
    }
    Ok(())
}

/// Compares two entries of one path; directories that differ below are put on `levels`.
fn compare<'a>(
    blocks: &'a dyn Blocks,
    path: EntryPath,
    (from, to): (&Node, &Node),
    levels: &mut Vec<Level<'a>>,
    each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    let change = if from.body.file_type() != to.body.file_type() {
        Some(Change::Type)
    } else if !same_content(&from.body, &to.body) {
        Some(Change::Content)
    } else if !same_meta(&from.meta, &to.meta) {
        Some(Change::Metadata)
    } else {
        None
    };
    if let Some(change) = change {
        each(&Difference {
            change,
            path: &path,
            from: Some(from),
            to: Some(to),
        })?;
    }
    match (&from.body, &to.body) {
        (Body::Directory(left), Body::Directory(right)) if left.id == right.id => Ok(()),
        (Body::Directory(_), Body::Directory(_)) => {
            levels.push(Level {
                path,
                left: Side::new(blocks, from)?,
                right: Side::new(blocks, to)?,
            });
            Ok(())
        }
        (Body::Directory(_), _) => below(blocks, Change::Removed, &path, from, each),
        (_, Body::Directory(_)) => below(blocks, Change::Added, &path, to, each),
        _ => Ok(()),
    }
}

/// An entry that only one tree has, with all below it.
fn one_sided(
    blocks: &dyn Blocks,
    change: Change,
    path: &EntryPath,
    node: &Node,
    each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    each(&difference(change, path, node))?;
    below(blocks, change, path, node, each)
}

fn below(
    blocks: &dyn Blocks,
    change: Change,
    path: &EntryPath,
    node: &Node,
    each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    for step in Walk::new(blocks, node, path.clone()) {
        let (path, node) = step.map_err(|(path, e)| e.within(format!("'{path}'")))?;
        each(&difference(change, &path, &node))?;
    }
    Ok(())
}

fn difference<'a>(change: Change, path: &'a EntryPath, node: &'a Node) -> Difference<'a> {
    let added = change == Change::Added;
    Difference {
        change,
        path,
        from: (!added).then_some(node),
        to: added.then_some(node),
    }
}

/// True if both are the same but for metadata. What is in directories is not looked at.
fn same_content(from: &Body, to: &Body) -> bool {
    match (from, to) {
        (
            Body::File { size, content },
            Body::File {
                size: other_size,
                content: other,
            },
        ) => size == other_size && (content == other || readable(content) == readable(other)),
        (Body::Directory(_), Body::Directory(_)) => true,
        _ => from == to,
    }
}

/// Items as a reader sees them: holes and zeros are the same, and those side by side are one.
fn readable(items: &[Item]) -> Vec<Item> {
    let mut out: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        match (*item, out.last_mut()) {
            (Item::Hole(len) | Item::Zeros(len), Some(Item::Hole(before))) => *before += len,
            (Item::Hole(len) | Item::Zeros(len), _) => out.push(Item::Hole(len)),
            (item, _) => out.push(item),
        }
    }
    out
}

/// True if nothing differs that a restore would set.
fn same_meta(from: &Meta, to: &Meta) -> bool {
    let key = |meta: &Meta| (meta.mode, meta.uid, meta.gid, meta.mtime);
    key(from) == key(to)
        && from.user == to.user
        && from.group == to.group
        && from.xattrs == to.xattrs
}

#[cfg(test)]
mod tests;
