//! What was copied in this run: source contents and directories, and what they became.
//!
//! Fifty snapshots of nearly the same tree name nearly the same contents; each is read once. The tables lie on shelves, so
//! memory is bounded whatever is copied. What they say holds as long as the run's session lives: nobody removes what it
//! took for stored.

use std::fmt::Display;
use std::path::PathBuf;

use crate::entry::{Shelf, ShelfKey};
use crate::error::{Error, Result};
use crate::format::Cursor;
use crate::format::content::{self, Item};
use crate::format::tree::TreeRef;
use crate::id::ChunkId;
use crate::repository::shelf::SpillShelf;

const PLANNED: u8 = 0;
const DONE: u8 = 1;
const LOST: u8 = 2;

/// What is known of a source content.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// It is on its way.
    Planned,
    /// It is this content in the destination.
    Done(Vec<Item>),
    /// It cannot be read, and why.
    Lost(String),
}

/// See the module.
pub(super) struct Memo {
    contents: SpillShelf,
    /// Chunks that are cut at fixed places, the same in both repositories.
    chunks: SpillShelf,
    trees: SpillShelf,
}

impl Memo {
    pub(super) fn new(scratch: Option<PathBuf>) -> Self {
        Self {
            contents: SpillShelf::new(scratch.clone()),
            chunks: SpillShelf::new(scratch.clone()),
            trees: SpillShelf::new(scratch),
        }
    }

    pub(super) fn content(&self, key: &ShelfKey) -> Result<Option<Fate>> {
        let Some(value) = self.contents.get(key)? else {
            return Ok(None);
        };
        let (kind, rest) = value.split_first().ok_or_else(|| broken("empty"))?;
        Ok(Some(match *kind {
            PLANNED => Fate::Planned,
            DONE => Fate::Done(content::decode(rest).map_err(broken)?),
            _ => Fate::Lost(String::from_utf8_lossy(rest).into_owned()),
        }))
    }

    pub(super) fn plan(&self, key: ShelfKey) -> Result<()> {
        self.contents.put(key, &[PLANNED])
    }

    pub(super) fn done(&self, key: ShelfKey, items: &[Item]) -> Result<()> {
        let mut value = vec![DONE];
        value.extend_from_slice(&content::encode(items));
        self.contents.put(key, &value)
    }

    pub(super) fn lost(&self, key: ShelfKey, why: &str) -> Result<()> {
        let mut value = vec![LOST];
        value.extend_from_slice(why.as_bytes());
        self.contents.put(key, &value)
    }

    /// What a source chunk became that was cut at fixed places.
    pub(super) fn chunk(&self, id: &ChunkId) -> Result<Option<Item>> {
        let Some(value) = self.chunks.get(id.shorten().as_bytes())? else {
            return Ok(None);
        };
        Ok(content::decode(&value).map_err(broken)?.pop())
    }

    pub(super) fn keep_chunk(&self, id: &ChunkId, item: &Item) -> Result<()> {
        let mut value = Vec::with_capacity(40);
        item.encode(&mut value);
        self.chunks.put(*id.shorten().as_bytes(), &value)
    }

    /// What a source directory became.
    pub(super) fn tree(&self, tree: &TreeRef) -> Result<Option<TreeRef>> {
        let Some(value) = self.trees.get(&tree_key(tree))? else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&value);
        let copied = TreeRef::decode_from(&mut cursor).map_err(broken)?;
        Ok(Some(copied))
    }

    pub(super) fn keep_tree(&self, tree: &TreeRef, copied: &TreeRef) -> Result<()> {
        let mut value = Vec::with_capacity(64);
        copied.encode(&mut value);
        self.trees.put(tree_key(tree), &value)
    }
}

/// The key of a content; `None` if it has no chunks, so that it is the same in every repository.
pub(super) fn content_key(items: &[Item]) -> Option<ShelfKey> {
    let in_chunks = |item: &Item| matches!(item, Item::Data { .. } | Item::List { .. });
    items
        .iter()
        .any(in_chunks)
        .then(|| short(&content::encode(items)))
}

fn tree_key(tree: &TreeRef) -> ShelfKey {
    let mut bytes = Vec::with_capacity(64);
    tree.encode(&mut bytes);
    short(&bytes)
}

fn short(bytes: &[u8]) -> ShelfKey {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    key
}

fn broken(error: impl Display) -> Error {
    Error::corrupt(format!("a record of what was copied: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_come_back_also_from_the_scratch_file() {
        let folder = tempfile::tempdir().unwrap();
        let memo = Memo::new(Some(folder.path().to_owned()));
        let item = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let id = ChunkId::new(id);
            Item::Data { id, len: n + 1 }
        };
        let key = |n| content_key(&[item(n)]).unwrap();
        for n in 0..300 {
            memo.plan(key(n)).unwrap();
        }
        for n in 0..200 {
            memo.done(key(n), &[item(n + 1000), Item::Hole(7)]).unwrap();
        }
        memo.lost(key(200), "a reason").unwrap();
        for n in 0..200 {
            let expected = Fate::Done(vec![item(n + 1000), Item::Hole(7)]);
            assert_eq!(memo.content(&key(n)).unwrap(), Some(expected));
        }
        let lost = Fate::Lost("a reason".into());
        assert_eq!(memo.content(&key(200)).unwrap(), Some(lost));
        assert_eq!(memo.content(&key(201)).unwrap(), Some(Fate::Planned));
        assert_eq!(memo.content(&key(300)).unwrap(), None);
        assert_eq!(content_key(&[Item::Hole(5), Item::Zeros(6)]), None);
    }
}
