//! Reading files: at any offset from the block cache, with sequential readers recognised and read ahead for.
//!
//! There are no handles: the kernel is told that files need no opening. What is known of a file (its extents, where the last
//! read ended) is kept by inode number in a small cache, so two readers of one file share their read-ahead and a
//! file that was not read for a while costs nothing.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pool::Pool;
use crate::budget::Budget;
use crate::error::Result;
use crate::format::content::Item;
use crate::repository::address::BlockAddress;
use crate::repository::block_cache::{Blocks, ChunkBytes};
use crate::repository::content::{self, Content};

/// A read that begins within this distance of where the last one ended continues it: the kernel sends the
/// parts of its own read-ahead at once, and they arrive in any order.
const NEAR_BYTES: u64 = 2 << 20;
/// How far ahead of a sequential reader blocks are fetched, at most.
const AHEAD_BYTES: u64 = 8 << 20;
/// Read-ahead in flight for all files together, in raw bytes of blocks.
const AHEAD_BUDGET_BYTES: usize = 32 << 20;

/// What is known of a file that is being read.
#[derive(Debug)]
pub(super) struct FileState {
    content: Content,
    /// Where the furthest sequential read ended.
    end: AtomicU64,
    /// How many bytes were read in sequence so far; read-ahead grows with it.
    run: AtomicU64,
    /// Up to where blocks were asked for ahead of time.
    ahead: AtomicU64,
}

impl FileState {
    pub(super) fn new(items: &[Item]) -> Self {
        Self {
            content: Content::new(items),
            end: AtomicU64::new(0),
            run: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
        }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.content.memory_bytes()
    }

    /// Notes a read; returns the range to read ahead, if the reader is sequential. Races only lose a hint.
    fn note(&self, offset: u64, len: u64) -> Option<(u64, u64)> {
        let (end, new_end) = (self.end.load(Ordering::Relaxed), offset + len);
        if offset.abs_diff(end) > NEAR_BYTES {
            self.end.store(new_end, Ordering::Relaxed);
            self.run.store(len, Ordering::Relaxed);
            self.ahead.store(new_end, Ordering::Relaxed);
            return None;
        }
        self.end.fetch_max(new_end, Ordering::Relaxed);
        let run = self.run.fetch_add(len, Ordering::Relaxed) + len;
        // The first read of a file is at its start, too: only a second one makes a sequence.
        if run <= len {
            return None;
        }
        let from = self.ahead.load(Ordering::Relaxed).max(new_end);
        let to = (new_end + (run * 2).min(AHEAD_BYTES)).min(self.content.len());
        if from >= to {
            return None;
        }
        self.ahead.store(to, Ordering::Relaxed);
        Some((from, to))
    }
}

/// What a hole reads as; the kernel never asks for more at once.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

thread_local! {
    /// The buffer of this thread's last answer that was put together. A fresh one of a megabyte would be mapped, cleared and
    /// unmapped for every request.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer that is used again once it was sent.
#[derive(Debug, Default)]
pub struct Assembled(Vec<u8>);

impl Assembled {
    /// `len` bytes, which are anything.
    fn take(len: usize) -> Self {
        let mut bytes = SPARE.take();
        bytes.resize(len, 0);
        Self(bytes)
    }
}

impl Drop for Assembled {
    fn drop(&mut self) {
        if self.0.capacity() <= ZEROS.len() {
            // A thread that is ending has no place for it any more.
            let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.0)));
        }
    }
}

/// Bytes of a file.
#[derive(Debug)]
pub enum FileBytes {
    /// A range of one chunk, not copied.
    Chunk {
        /// The chunk.
        bytes: ChunkBytes,
        /// First byte of the range.
        start: usize,
        /// The byte after the last.
        end: usize,
    },
    /// So many zeros.
    Zeros(usize),
    /// Bytes put together.
    Assembled(Assembled),
}

impl Deref for FileBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Chunk { bytes, start, end } => &bytes[*start..*end],
            Self::Zeros(len) => &ZEROS[..*len],
            Self::Assembled(bytes) => &bytes.0,
        }
    }
}

/// Reads up to `len` bytes at `offset`; fewer only at the end of the file.
pub(super) fn read(
    blocks: &dyn Blocks,
    file: &FileState,
    offset: u64,
    len: usize,
) -> Result<FileBytes> {
    let rest = file.content.len().saturating_sub(offset);
    let len = usize::try_from(rest).unwrap_or(usize::MAX).min(len);
    if len == 0 {
        return Ok(FileBytes::Zeros(0));
    }
    if let Some(extent) = file.content.extent_at(blocks, offset)?
        && extent.end() >= offset + len as u64
    {
        if let Item::Data { id, len: whole } = extent.item {
            let bytes = content::chunk(blocks, &id, whole)?;
            let start = usize::try_from(offset - extent.start).unwrap_or(usize::MAX);
            let end = start + len;
            return Ok(FileBytes::Chunk { bytes, start, end });
        }
        if len <= ZEROS.len() {
            return Ok(FileBytes::Zeros(len));
        }
    }
    let mut out = Assembled::take(len);
    let filled = file.content.read_at(blocks, offset, &mut out.0)?;
    out.0.truncate(filled);
    Ok(FileBytes::Assembled(out))
}

/// Reads ahead, within one budget.
pub(super) struct ReadAhead(Arc<Ahead>);

/// What jobs that read ahead use.
pub(super) struct Ahead {
    blocks: Arc<dyn Blocks>,
    pool: Pool,
    budget: Budget,
}

impl ReadAhead {
    pub(super) fn new(blocks: Arc<dyn Blocks>, threads: usize) -> Result<Self> {
        Ok(Self(Arc::new(Ahead {
            blocks,
            pool: Pool::new("read-ahead", threads)?,
            budget: Budget::new(AHEAD_BUDGET_BYTES),
        })))
    }

    /// Notes that `len` bytes at `offset` are being read, and fetches what comes next if that is a sequence.
    pub(super) fn note(&self, file: &Arc<FileState>, offset: u64, len: usize) {
        if let Some((from, to)) = file.note(offset, len as u64) {
            let file = Arc::clone(file);
            self.submit(move |ahead| ahead.fetch_range(&file, from..to));
        }
    }

    /// Does `job` on a thread: finding blocks may itself read trees and content lists. Errors come again, and are reported, when
    /// the bytes are really wanted.
    pub(super) fn submit(&self, job: impl FnOnce(&Arc<Ahead>) -> Result<()> + Send + 'static) {
        let ahead = Arc::clone(&self.0);
        self.0.pool.submit(move || {
            let _ = job(&ahead);
        });
    }
}

impl Ahead {
    pub(super) fn blocks(&self) -> &dyn Blocks {
        &*self.blocks
    }

    /// Has a block fetched that is not in memory; false if the budget is used up.
    pub(super) fn fetch(self: &Arc<Self>, block: &BlockAddress) -> bool {
        if self.blocks.cache().is_known(block) {
            return true;
        }
        let Some(reservation) = self.budget.try_reserve(block.raw_bytes as usize) else {
            return false;
        };
        let (ahead, block) = (Arc::clone(self), *block);
        self.pool.submit(move || {
            let _ = ahead.blocks.cache().get(&ahead.blocks, &block);
            drop(reservation);
        });
        true
    }

    /// Has the blocks fetched that hold a range of a file, in order, until the budget is used up.
    fn fetch_range(self: &Arc<Self>, file: &FileState, range: Range<u64>) -> Result<()> {
        let mut last = None;
        for extent in file.content.extents(self.blocks(), range.start) {
            let extent = extent?;
            if extent.start >= range.end {
                break;
            }
            if let Item::Data { id, .. } = extent.item {
                let block = self.blocks.locate(&id)?.block;
                if last.replace(block) != Some(block) && !self.fetch(&block) {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::memory_blocks::MemoryBlocks;

    #[test]
    fn a_second_read_in_a_row_reads_ahead_and_a_jump_does_not() {
        let file = FileState::new(&[Item::Hole(1 << 30)]);
        assert_eq!(file.note(0, 100), None);
        assert_eq!(file.note(100, 100), Some((200, 600)));
        assert_eq!(file.note(200, 100), Some((600, 900)));
        assert_eq!(file.note(1 << 29, 100), None);
        assert_eq!(
            file.note((1 << 29) + 100, 100).map(|range| range.0),
            Some((1 << 29) + 200)
        );
    }

    #[test]
    fn read_ahead_ends_with_the_file() {
        let file = FileState::new(&[Item::Hole(300)]);
        assert_eq!(file.note(0, 100), None);
        assert_eq!(file.note(100, 100), Some((200, 300)));
        assert_eq!(file.note(200, 100), None);
    }

    #[test]
    fn a_buffer_that_is_used_again_shows_nothing_of_its_last_answer() {
        let blocks = MemoryBlocks::new();
        let ids = [blocks.put(&[7; 100]), blocks.put(&[8; 100])];
        let data = |id| Item::Data { id, len: 100 };
        let full = FileState::new(&[data(ids[0]), data(ids[1])]);
        assert_eq!(
            *read(&blocks, &full, 50, 100).unwrap(),
            [[7; 50], [8; 50]].concat()
        );
        // The next answer is put together in the same buffer: holes must be zeros, and its length its own.
        let sparse = FileState::new(&[data(ids[0]), Item::Hole(30), data(ids[1])]);
        let expected = [&[7; 10][..], &[0; 30], &[8; 20]].concat();
        assert_eq!(*read(&blocks, &sparse, 90, 60).unwrap(), expected);
        assert_eq!(*read(&blocks, &sparse, 110, 10).unwrap(), [0; 10]);
        assert_eq!(read(&blocks, &sparse, 225, 100).unwrap().len(), 5);
        assert!(read(&blocks, &sparse, 230, 100).unwrap().is_empty());
    }
}
