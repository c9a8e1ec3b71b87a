//! Reading files by inode number, and noticing who reads a whole tree.
//!
//! A program that copies or searches a tree opens file after file in the order of the listing, which is the order of the entry
//! numbers. Once that is seen, the blocks of files some way ahead are fetched: small files lie many to a block, in
//! that order too, so there is seldom more than one block to fetch, and it is decoded while the reader is still busy with the
//! files of the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::file::{self, FileBytes, FileState};
use super::{Inode, Vfs, Wait, numbers};
use crate::error::{Error, Result};
use crate::format::content::Item;
use crate::format::tree::Body;
use crate::repository::block_cache::Blocks;

/// Files further apart than this many entries are not read in order.
const NEAR_ENTRIES: u64 = 64;
/// So many files in order make a walk.
const WALK_FILES: u64 = 8;
/// It is looked ahead once in so many files.
const LOOK_EVERY: u64 = 16;
/// How many entries ahead: first for large files, of which a block holds few, then for small ones.
const LOOK_AHEAD: [u64; 3] = [8, 32, 128];

/// Notices files read in the order of their numbers. Races only lose a hint.
#[derive(Debug, Default)]
pub(super) struct Walk {
    last: AtomicU64,
    run: AtomicU64,
}

impl Walk {
    /// Notes that a file is read for the first time; true if it is time to look ahead.
    fn note(&self, inode: u64) -> bool {
        let last = self.last.swap(inode, Ordering::Relaxed);
        if inode <= last || inode - last > NEAR_ENTRIES {
            self.run.store(0, Ordering::Relaxed);
            return false;
        }
        let run = self.run.fetch_add(1, Ordering::Relaxed);
        run >= WALK_FILES && run % LOOK_EVERY == WALK_FILES
    }
}

impl Vfs {
    /// Up to `len` bytes of a file at `offset`; fewer only at its end.
    pub fn read(&self, inode: u64, offset: u64, len: usize, wait: Wait) -> Result<FileBytes> {
        let blocks = self.view(wait);
        let file = self.file(&*blocks, inode)?;
        if wait == Wait::No {
            // What comes next is fetched while this answer waits for its own bytes or is on its way.
            self.read_ahead.note(&file, offset, len);
        }
        file::read(&*blocks, &file, offset, len)
    }

    /// The first byte of data at or after `offset`; `None` if there is none.
    pub fn next_data(&self, inode: u64, offset: u64, wait: Wait) -> Result<Option<u64>> {
        let blocks = self.view(wait);
        self.file(&*blocks, inode)?
            .content()
            .next_data(&*blocks, offset)
    }

    /// The first byte of a hole at or after `offset`, the end of the file being one; `None` beyond the end.
    pub fn next_hole(&self, inode: u64, offset: u64, wait: Wait) -> Result<Option<u64>> {
        let blocks = self.view(wait);
        let file = self.file(&*blocks, inode)?;
        if offset >= file.content().len() {
            return Ok(None);
        }
        file.content().next_hole(&*blocks, offset).map(Some)
    }

    fn file(&self, blocks: &dyn Blocks, inode: u64) -> Result<Arc<FileState>> {
        if let Some(file) = self.files.peek(&inode) {
            return Ok(file);
        }
        let Inode::Entry { entry, .. } = self.resolve(blocks, inode)? else {
            return Err(Error::invalid("not a file"));
        };
        let Body::File { content, .. } = &entry.node.body else {
            return Err(Error::invalid("not a file"));
        };
        self.look_ahead(inode);
        self.files.get(&inode, || Ok(FileState::new(content)))
    }

    /// Fetches blocks of files ahead, if files are read in order.
    fn look_ahead(&self, inode: u64) {
        if !self.walk.note(inode) {
            return;
        }
        let (slot, Some(number)) = numbers::parts(inode) else {
            return;
        };
        let Ok(Some(view)) = self.view_of(slot) else {
            return;
        };
        self.read_ahead.submit(move |ahead| {
            for distance in LOOK_AHEAD {
                let blocks = ahead.blocks();
                let Some(entry) = view.entry(blocks, number + distance)? else {
                    break;
                };
                if let Body::File { content, .. } = &entry.node.body
                    && let Some(Item::Data { id, .. }) = content.first()
                    && !ahead.fetch(&blocks.locate(id)?.block)
                {
                    break;
                }
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_order_are_a_walk_and_others_are_not() {
        let walk = Walk::default();
        let looks = (0..100).filter(|n| walk.note(1000 + n * 2)).count();
        assert_eq!(looks, 6);
        assert!((0..100).all(|n| !walk.note(100_000 - n)));
        assert!((0..100).all(|n| !walk.note(n * 100)));
    }
}
