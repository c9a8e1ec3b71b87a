//! Reading a recipe ahead, operation by operation, and finding the contents that it names.
//!
//! Members' contents are looked up in the tree, or taken from the overrides where the tree shows something else. Archives go directory by
//! directory, so the last directories are remembered. Memory: one chunk and one record of each stream.

use std::collections::HashMap;

use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::recipe::{Operation, Override};
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Body, Node, TreeRef};
use crate::repository::block_cache::Blocks;
use crate::repository::content::{Content, Extents};
use crate::repository::trees::lookup;
use crate::restore::load::{fetch, locate};
use crate::restore::stream::{Holes, Plan};

/// How many directories are remembered.
const MAX_DIRECTORIES: usize = 1024;

/// The bytes of a stored stream of records, chunk by chunk; memory is one chunk and one record.
struct Records<'a> {
    blocks: &'a dyn Blocks,
    extents: Extents<'a>,
    window: Vec<u8>,
    at: usize,
}

impl<'a> Records<'a> {
    fn new(blocks: &'a dyn Blocks, content: &Content) -> Self {
        Self {
            blocks,
            extents: content.extents(blocks, 0),
            window: Vec::new(),
            at: 0,
        }
    }

    /// What is there of the next record.
    fn window(&self) -> &[u8] {
        &self.window[self.at..]
    }

    /// Adds the next chunk to the window; false at the end of the stream.
    fn more(&mut self) -> Result<bool> {
        self.window.drain(..self.at);
        self.at = 0;
        match self.extents.next().transpose()?.map(|extent| extent.item) {
            None => return Ok(false),
            Some(Item::Data { id, len }) => {
                let location = locate(self.blocks, &id, len)?;
                let bytes = fetch(self.blocks, &id, &location)?;
                self.window.extend_from_slice(&bytes);
            }
            Some(_) => return Err(Error::corrupt("a recipe with holes")),
        }
        Ok(true)
    }
}

/// The operations of an archive's recipe.
pub(super) struct Recipe<'a> {
    blocks: &'a dyn Blocks,
    root: &'a Node,
    operations: Records<'a>,
    overrides: Records<'a>,
    /// The next override, if its ordinal was not reached yet.
    next: Option<Override>,
    directories: HashMap<Vec<u8>, TreeRef>,
}

impl<'a> Recipe<'a> {
    pub(super) fn new(blocks: &'a dyn Blocks, snapshot: &'a Snapshot) -> Self {
        Self {
            blocks,
            root: &snapshot.root,
            operations: Records::new(blocks, &Content::new(&snapshot.recipe)),
            overrides: Records::new(blocks, &Content::new(&snapshot.overrides)),
            next: None,
            directories: HashMap::new(),
        }
    }

    /// Plans the whole archive.
    pub(super) fn plan(mut self, plan: &mut Plan<'_>) -> Result<()> {
        let mut ordinal = 0;
        self.next = self.next_override()?;
        loop {
            let bad = |e| Error::caused(Class::Corrupt, "the recipe", e);
            let Some((operation, used)) =
                Operation::decode(self.operations.window()).map_err(bad)?
            else {
                if self.operations.more()? {
                    continue;
                }
                if !self.operations.window().is_empty() {
                    return Err(Error::corrupt("the recipe ends within an operation"));
                }
                return Ok(());
            };
            match operation {
                Operation::Literal(bytes) => plan.literal(bytes)?,
                Operation::Content(path) => {
                    let path = path.to_vec();
                    let content = self.member(&path, ordinal)?;
                    plan.content(&Content::new(&content), Holes::Drop)
                        .map_err(|e| e.within(format!("'{}'", String::from_utf8_lossy(&path))))?;
                    ordinal += 1;
                }
            }
            self.operations.at += used;
        }
    }

    /// The content of a member.
    fn member(&mut self, path: &[u8], ordinal: u64) -> Result<Vec<Item>> {
        if self
            .next
            .as_ref()
            .is_some_and(|next| next.ordinal == ordinal)
            && let Some(found) = self.next.take()
        {
            self.next = self.next_override()?;
            return Ok(found.content);
        }
        let missing = || {
            let path = String::from_utf8_lossy(path);
            Error::corrupt(format!(
                "the recipe names '{path}', which the tree does not have as a file"
            ))
        };
        let cut = path.iter().rposition(|b| *b == b'/');
        let (parent, name) = match cut {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path),
        };
        let tree = self.directory(parent)?.ok_or_else(missing)?;
        let found = lookup(self.blocks, &tree, name)?.ok_or_else(missing)?;
        match &found.body {
            Body::File { content, .. } => Ok(content.clone()),
            _ => Err(missing()),
        }
    }

    fn directory(&mut self, path: &[u8]) -> Result<Option<TreeRef>> {
        if let Some(tree) = self.directories.get(path) {
            return Ok(Some(*tree));
        }
        let Body::Directory(mut tree) = self.root.body else {
            return Ok(None);
        };
        for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            let found = lookup(self.blocks, &tree, name)?;
            match found.map(|found| found.body.clone()) {
                Some(Body::Directory(below)) => tree = below,
                _ => return Ok(None),
            }
        }
        if self.directories.len() >= MAX_DIRECTORIES {
            self.directories.clear();
        }
        self.directories.insert(path.to_vec(), tree);
        Ok(Some(tree))
    }

    fn next_override(&mut self) -> Result<Option<Override>> {
        loop {
            let bad = |e| Error::caused(Class::Corrupt, "the overrides of the recipe", e);
            if let Some((found, used)) = Override::decode(self.overrides.window()).map_err(bad)? {
                self.overrides.at += used;
                return Ok(Some(found));
            }
            if !self.overrides.more()? {
                if self.overrides.window().is_empty() {
                    return Ok(None);
                }
                return Err(Error::corrupt("the overrides of the recipe end within one"));
            }
        }
    }
}
