//! Reading a recipe ahead, operation by operation, and finding the contents that it names.
//!
//! Members' contents are looked up in the tree, or taken from the overrides where the tree shows something else. Archives go directory by
//! directory, so the last directories are remembered. Memory: one chunk and one record of each stream.

use std::collections::HashMap;

use crate::error::{Class, Error, Result};
use crate::format::DecodeError;
use crate::format::content::Item;
use crate::format::recipe::{HEADER_BLOCK_BYTES, Header, Headers, Operation, Override, padding};
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Body, TreeRef};
use crate::repository::block_cache::Blocks;
use crate::repository::content::{Content, Extents};
use crate::repository::load::{fetch, locate};
use crate::repository::trees::lookup;
use crate::restore::stream::{Holes, Plan};

static ZEROS: [u8; HEADER_BLOCK_BYTES] = [0; HEADER_BLOCK_BYTES];
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

/// An archive's recipe while it is read.
pub(super) struct Recipe<'a> {
    blocks: &'a dyn Blocks,
    snapshot: &'a Snapshot,
    overrides: Records<'a>,
    /// The next override, if its ordinal was not reached yet.
    next: Option<Override>,
    directories: HashMap<Vec<u8>, TreeRef>,
    headers: Headers,
    /// Bytes of the archive so far.
    offset: u64,
    /// Contents so far.
    ordinal: u64,
}

impl<'a> Recipe<'a> {
    pub(super) fn new(blocks: &'a dyn Blocks, snapshot: &'a Snapshot) -> Self {
        Self {
            blocks,
            snapshot,
            overrides: Records::new(blocks, &Content::new(&snapshot.overrides)),
            next: None,
            directories: HashMap::new(),
            headers: Headers::default(),
            offset: 0,
            ordinal: 0,
        }
    }

    /// Plans the whole archive.
    pub(super) fn plan(mut self, plan: &mut Plan<'_>) -> Result<()> {
        let mut operations = Records::new(self.blocks, &Content::new(&self.snapshot.recipe));
        self.next = self.next_override()?;
        loop {
            let Some((operation, used)) = Operation::decode(operations.window()).map_err(bad)?
            else {
                if operations.more()? {
                    continue;
                }
                if !operations.window().is_empty() {
                    return Err(Error::corrupt("the recipe ends within an operation"));
                }
                return Ok(());
            };
            match operation {
                Operation::Literal(bytes) => self.literal(bytes, plan)?,
                Operation::Content(path) => {
                    let content = self.member(path)?;
                    let size = stream_bytes(self.blocks, &content)?;
                    self.content(path, &content, size, plan)?;
                }
                Operation::Member(header) => {
                    let path = Headers::path_of(self.headers.name(&header).map_err(bad)?);
                    let content = self.member(&path)?;
                    let size = stream_bytes(self.blocks, &content)?;
                    self.header(&header, size, plan)?;
                    self.content(&path, &content, size, plan)?;
                }
                Operation::Header(header) => {
                    self.headers.name(&header).map_err(bad)?;
                    self.header(&header, 0, plan)?;
                }
            }
            operations.at += used;
        }
    }

    fn literal(&mut self, bytes: &[u8], plan: &mut Plan<'_>) -> Result<()> {
        self.offset += bytes.len() as u64;
        plan.literal(bytes)
    }

    /// A header block, and what pads the archive to its place.
    fn header(&mut self, header: &Header<'_>, size: u64, plan: &mut Plan<'_>) -> Result<()> {
        let padding = padding(self.offset);
        let block = self.headers.block(header, size).map_err(bad)?;
        plan.literal(&ZEROS[..padding])?;
        plan.literal(block)?;
        self.offset += (padding + block.len()) as u64;
        Ok(())
    }

    fn content(
        &mut self,
        path: &[u8],
        content: &[Item],
        size: u64,
        plan: &mut Plan<'_>,
    ) -> Result<()> {
        self.ordinal += 1;
        self.offset = self.offset.saturating_add(size);
        plan.content(&Content::new(content), Holes::Drop)
            .map_err(|e| e.within(format!("'{}'", String::from_utf8_lossy(path))))
    }

    /// The content of a member.
    fn member(&mut self, path: &[u8]) -> Result<Vec<Item>> {
        if self
            .next
            .as_ref()
            .is_some_and(|next| next.ordinal == self.ordinal)
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
        let Body::Directory(mut tree) = self.snapshot.root.body else {
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

/// How many bytes of an archive a content is: its holes are not in it.
fn stream_bytes(blocks: &dyn Blocks, content: &[Item]) -> Result<u64> {
    let mut sum = 0_u64;
    for item in content {
        let bytes = match *item {
            Item::Data { .. } | Item::Zeros(_) => item.len(),
            Item::List {
                len, data_bytes, ..
            } if len == data_bytes => len,
            Item::List { .. } => {
                let list = Content::new(std::slice::from_ref(item));
                let mut bytes = 0_u64;
                for extent in list.extents(blocks, 0) {
                    let item = extent?.item;
                    if !matches!(item, Item::Hole(_)) {
                        bytes = bytes.saturating_add(item.len());
                    }
                }
                bytes
            }
            Item::Hole(_) => 0,
        };
        sum = sum.saturating_add(bytes);
    }
    Ok(sum)
}

fn bad(error: DecodeError) -> Error {
    Error::caused(Class::Corrupt, "the recipe", error)
}
