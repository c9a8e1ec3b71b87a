//! A file's content under construction: items in order, moved out into list chunks as they grow many.

use super::super::Writer;
use crate::error::{Class, Error, Result};
use crate::format::content::{self, Item, MAX_CONTENT_LEN};

/// Content with at most this many items stays in its node.
const INLINE_ITEMS: usize = 256;
/// A list ends at the latest with this many items.
const MAX_LIST_ITEMS: usize = 1024;
/// A list that may end where an id says so has at least this many: an insertion into a long file changes one list, not all.
const MIN_LIST_ITEMS: usize = 128;

/// Collects the items of one content.
#[derive(Default)]
pub(crate) struct ItemList {
    /// Items of the content, then lists of those, then lists of lists.
    levels: Vec<Vec<Item>>,
    len: u64,
    stream_bytes: u64,
}

impl ItemList {
    /// Logical bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes so far that are no holes: what an archive's stream has of it.
    pub(crate) fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    pub(crate) fn push(&mut self, item: Item, writer: &Writer) -> Result<()> {
        self.len = grown(self.len, item.len())?;
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
    pub(crate) fn finish(mut self, writer: &Writer) -> Result<Vec<Item>> {
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

/// The length of a content that grows; beyond what a reader takes it must not be stored.
fn grown(len: u64, by: u64) -> Result<u64> {
    len.checked_add(by)
        .filter(|sum| *sum <= MAX_CONTENT_LEN)
        .ok_or_else(|| {
            let what = "the file is longer than 2 EiB, which cannot be stored: leave it out";
            Error::new(Class::Unsupported, what)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sparse file of 8 EiB was stored, and then its whole directory could not be read.
    #[test]
    fn what_is_too_long_to_be_read_is_never_written() {
        assert_eq!(grown(MAX_CONTENT_LEN - 1, 1).unwrap(), MAX_CONTENT_LEN);
        for (len, by) in [(MAX_CONTENT_LEN, 1), (4096, u64::MAX >> 1), (1, u64::MAX)] {
            assert_eq!(grown(len, by).unwrap_err().class(), Class::Unsupported);
        }
        let fits = content::encode(&[Item::Hole(MAX_CONTENT_LEN)]);
        assert_eq!(
            content::decode(&fits).unwrap(),
            [Item::Hole(MAX_CONTENT_LEN)]
        );
    }
}
