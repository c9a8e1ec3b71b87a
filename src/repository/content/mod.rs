//! Reading a file's content: items with prefix sums, found by binary search, lists read only where they are needed.
//!
//! A seek costs one binary search per level of lists (at most four), whatever the size of the file; a list covers
//! its bytes by number, so nothing before the offset is looked at. What an item says (length, bytes in chunks) is
//! compared with what the list or chunk holds whenever it is read: a mismatch is an error, never shifted bytes.

use std::sync::Arc;

use super::block_cache::{Blocks, ChunkBytes};
use crate::error::{Error, Result};
use crate::format::content::{self, Item, MAX_LIST_DEPTH};
use crate::id::ChunkId;

/// Items in order, with where each ends.
#[derive(Clone, Debug, Default)]
pub struct ItemList {
    items: Vec<Item>,
    ends: Vec<u64>,
    data_bytes: u64,
}

impl ItemList {
    /// A list of `items`.
    pub fn new(items: Vec<Item>) -> Self {
        let mut end = 0_u64;
        let ends = items
            .iter()
            .map(|item| {
                end = end.saturating_add(item.len());
                end
            })
            .collect();
        let data_bytes = content::total_data(&items);
        Self {
            items,
            ends,
            data_bytes,
        }
    }

    /// Logical bytes that it covers.
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// True if it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many of its bytes are in chunks; the rest are holes and zeros.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.items.len() * (size_of::<Item>() + 8)
    }

    /// Index of the item that covers `offset`, and where that item starts.
    fn find(&self, offset: u64) -> Option<(usize, u64)> {
        let at = self.ends.partition_point(|end| *end <= offset);
        (at < self.items.len()).then(|| (at, if at == 0 { 0 } else { self.ends[at - 1] }))
    }
}

/// A file's content, ready to be read at any offset.
#[derive(Clone, Debug)]
pub struct Content {
    top: Arc<ItemList>,
}

/// One item that is no list, and where it starts in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first byte in the file.
    pub start: u64,
    /// Data, hole or zeros.
    pub item: Item,
}

impl Extent {
    /// The byte after its last.
    pub fn end(&self) -> u64 {
        self.start + self.item.len()
    }
}

impl Content {
    /// The content made of `items`.
    pub fn new(items: &[Item]) -> Self {
        Self {
            top: Arc::new(ItemList::new(items.to_vec())),
        }
    }

    /// Its logical length.
    pub fn len(&self) -> u64 {
        self.top.len()
    }

    /// True if it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.top.is_empty()
    }

    /// How many of its bytes are in chunks.
    pub fn data_bytes(&self) -> u64 {
        self.top.data_bytes()
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.top.memory_bytes()
    }

    /// The extent that covers `offset`; `None` at or beyond the end.
    pub fn extent_at(&self, blocks: &dyn Blocks, offset: u64) -> Result<Option<Extent>> {
        Extents::new(blocks, self, offset).next().transpose()
    }

    /// All extents from the one that covers `offset`, lists resolved.
    pub fn extents<'a>(&self, blocks: &'a dyn Blocks, offset: u64) -> Extents<'a> {
        Extents::new(blocks, self, offset)
    }

    /// Fills `out` from `offset` on; returns how many bytes, fewer only at the end of the file.
    pub fn read_at(&self, blocks: &dyn Blocks, offset: u64, out: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        for extent in self.extents(blocks, offset) {
            let extent = extent?;
            let rest = &mut out[filled..];
            let skip = (offset + filled as u64).saturating_sub(extent.start);
            let len = usize::try_from(extent.item.len() - skip)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            match extent.item {
                Item::Data { id, len: whole } => {
                    let bytes = chunk(blocks, &id, whole)?;
                    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                    rest[..len].copy_from_slice(&bytes[skip..skip + len]);
                }
                _ => rest[..len].fill(0),
            }
            filled += len;
            if filled == out.len() {
                break;
            }
        }
        Ok(filled)
    }

    /// The first byte at or after `offset` that is in a chunk: what `SEEK_DATA` answers. `None` if there is none.
    pub fn next_data(&self, blocks: &dyn Blocks, offset: u64) -> Result<Option<u64>> {
        self.next(blocks, offset, |extent| {
            matches!(extent.item, Item::Data { .. })
        })
    }

    /// The first byte at or after `offset` that is in no chunk; the length of the file if there is none: `SEEK_HOLE`.
    pub fn next_hole(&self, blocks: &dyn Blocks, offset: u64) -> Result<u64> {
        let hole = self.next(blocks, offset, |extent| {
            !matches!(extent.item, Item::Data { .. })
        })?;
        Ok(hole.unwrap_or(self.len()))
    }

    fn next(
        &self,
        blocks: &dyn Blocks,
        offset: u64,
        wanted: impl Fn(&Extent) -> bool,
    ) -> Result<Option<u64>> {
        for extent in self.extents(blocks, offset) {
            let extent = extent?;
            if wanted(&extent) {
                return Ok(Some(extent.start.max(offset)));
            }
        }
        Ok(None)
    }
}

/// A chunk that an item names, of the length that the item says.
pub fn chunk(blocks: &dyn Blocks, id: &ChunkId, len: u32) -> Result<ChunkBytes> {
    let bytes = blocks.cache().chunk(blocks, id)?;
    if bytes.len() == len as usize {
        Ok(bytes)
    } else {
        Err(damaged(id, "its length is not what the file says"))
    }
}

fn damaged(id: &ChunkId, what: &str) -> Error {
    Error::corrupt(format!("content chunk {id}: {what}"))
}

/// Goes over a file's extents in order. Holds one list per level.
pub struct Extents<'a> {
    blocks: &'a dyn Blocks,
    /// Lists from the outermost: the list, the next item in it, and where that item starts in the file.
    levels: Vec<(Arc<ItemList>, usize, u64)>,
    /// Where to begin in the lists that are still to be entered.
    offset: u64,
}

impl<'a> Extents<'a> {
    fn new(blocks: &'a dyn Blocks, content: &Content, offset: u64) -> Self {
        let levels = match content.top.find(offset) {
            Some((at, start)) => vec![(content.top.clone(), at, start)],
            None => Vec::new(),
        };
        Self {
            blocks,
            levels,
            offset,
        }
    }

    fn enter(&mut self, id: &ChunkId, start: u64, len: u64, data_bytes: u64) -> Result<()> {
        let list = self.blocks.cache().list(self.blocks, id, |bytes| {
            let items = content::decode(bytes).map_err(|e| damaged(id, &e.to_string()))?;
            Ok(ItemList::new(items))
        })?;
        if list.len() != len || list.data_bytes() != data_bytes {
            return Err(damaged(id, "the list's sums are not what its item says"));
        }
        if self.levels.len() > MAX_LIST_DEPTH {
            return Err(damaged(id, "lists nest too deep"));
        }
        let within = self.offset.saturating_sub(start);
        let (at, item_start) = list
            .find(within)
            .ok_or_else(|| damaged(id, "the list is empty"))?;
        self.levels.push((list, at, start + item_start));
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Extent>> {
        while let Some((list, at, start)) = self.levels.last_mut() {
            let Some(item) = list.items.get(*at).copied() else {
                self.levels.pop();
                continue;
            };
            let item_start = *start;
            *at += 1;
            *start += item.len();
            match item {
                Item::List {
                    id,
                    len,
                    data_bytes,
                } => self.enter(&id, item_start, len, data_bytes)?,
                item => {
                    return Ok(Some(Extent {
                        start: item_start,
                        item,
                    }));
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Extents<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if let Some(Err(_)) = step {
            self.levels.clear();
        }
        step
    }
}

#[cfg(test)]
mod tests;
