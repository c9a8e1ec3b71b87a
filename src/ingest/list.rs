//! A file's content under construction: items in order, moved out into list chunks as they grow many.

use crate::error::Result;
use crate::format::content::{self, Item};
use crate::repository::Writer;

/// Content with at most this many items stays in its node.
const INLINE_ITEMS: usize = 256;
/// A list ends at the latest with this many items.
const MAX_LIST_ITEMS: usize = 1024;
/// A list that may end where an id says so has at least this many: an insertion into a long file changes one list, not all.
const MIN_LIST_ITEMS: usize = 128;

/// Collects the items of one content.
#[derive(Default)]
pub(super) struct ItemList {
    /// Items of the content, then lists of those, then lists of lists.
    levels: Vec<Vec<Item>>,
    len: u64,
    stream_bytes: u64,
}

impl ItemList {
    /// Logical bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes so far that are no holes: what an archive's stream has of it.
    pub(super) fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    pub(super) fn push(&mut self, item: Item, writer: &Writer) -> Result<()> {
        self.len += item.len();
        if !matches!(item, Item::Hole(_)) {
            self.stream_bytes += item.len();
        }
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        match (self.levels[0].last_mut(), item) {
            (Some(Item::Hole(last)), Item::Hole(len))
            | (Some(Item::Zeros(last)), Item::Zeros(len)) => {
                *last += len;
                Ok(())
            }
            _ => self.push_at(0, item, writer),
        }
    }

    fn push_at(&mut self, level: usize, item: Item, writer: &Writer) -> Result<()> {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let items = &mut self.levels[level];
        // The list is closed before the next item comes, so that a run which still grows stays open.
        if items.len() >= MAX_LIST_ITEMS || (items.len() >= MIN_LIST_ITEMS && ends_list(items)) {
            self.close(level, writer)?;
        }
        self.levels[level].push(item);
        Ok(())
    }

    fn close(&mut self, level: usize, writer: &Writer) -> Result<()> {
        let items = std::mem::take(&mut self.levels[level]);
        let id = writer.put_meta(&content::encode(&items))?;
        let list = Item::List {
            id,
            len: content::total_len(&items),
            data_bytes: content::total_data(&items),
        };
        self.push_at(level + 1, list, writer)
    }

    /// The finished content.
    pub(super) fn finish(mut self, writer: &Writer) -> Result<Vec<Item>> {
        let mut level = 0;
        while level + 1 < self.levels.len()
            || self
                .levels
                .get(level)
                .is_some_and(|l| l.len() > INLINE_ITEMS)
        {
            if !self.levels[level].is_empty() {
                self.close(level, writer)?;
            }
            level += 1;
        }
        Ok(self.levels.pop().unwrap_or_default())
    }
}

fn ends_list(items: &[Item]) -> bool {
    match items.last() {
        Some(Item::Data { id, .. } | Item::List { id, .. }) => id.as_bytes()[0] == 0,
        _ => false,
    }
}
