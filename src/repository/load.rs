//! Chunks on their way out in order: how much may be prepared at once, and preparing one.

use super::block_cache::{Blocks, ChunkBytes};
use super::{BlockAddress, Location};
use crate::error::{Error, Result};
use crate::id::ChunkId;

/// The most steps of one piece of work.
const MAX_STEPS: usize = 512;
/// The most bytes of one piece of work, and of the blocks that it keeps in memory.
const MAX_BYTES: usize = 4 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a piece of work will hold in memory when it is prepared.
#[derive(Default)]
pub(crate) struct Load {
    steps: usize,
    bytes: usize,
    block_bytes: usize,
    last: Option<BlockAddress>,
}

impl Load {
    /// One more step with `bytes` of its own.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.steps += 1;
        self.bytes += bytes;
    }

    /// One more chunk.
    pub(crate) fn add_chunk(&mut self, location: &Location) {
        self.add(location.len as usize);
        if self.last.replace(location.block) != Some(location.block) {
            self.block_bytes += location.block.raw_bytes as usize;
        }
    }

    /// True if the next step belongs into the next piece.
    pub(crate) fn is_full(&self) -> bool {
        self.steps >= MAX_STEPS || self.bytes >= MAX_BYTES || self.block_bytes >= MAX_BYTES
    }
}

/// Where the chunk `id` of a file is; it must have the length that the file says.
pub(crate) fn locate(blocks: &dyn Blocks, id: &ChunkId, len: u32) -> Result<Location> {
    of_length(id, len, blocks.locate(id)?)
}

/// The same for many, which costs far less than one by one.
pub(crate) fn locate_all(
    blocks: &dyn Blocks,
    chunks: &[(ChunkId, u32)],
) -> Result<Vec<Result<Location>>> {
    let ids: Vec<ChunkId> = chunks.iter().map(|(id, _)| *id).collect();
    let found = blocks.locate_many(&ids)?;
    let answers = chunks.iter().zip(found);
    Ok(answers
        .map(|((id, len), found)| found.and_then(|location| of_length(id, *len, location)))
        .collect())
}

fn of_length(id: &ChunkId, len: u32, location: Location) -> Result<Location> {
    if location.len == len {
        return Ok(location);
    }
    let what = format!("chunk {id} has another length than the file says");
    Err(Error::corrupt(what))
}

/// The checked bytes of a chunk.
pub(crate) fn fetch(blocks: &dyn Blocks, id: &ChunkId, location: &Location) -> Result<ChunkBytes> {
    let bytes = blocks.cache().chunk_at(blocks, id, location)?;
    match blocks.verify_chunk(id, &bytes) {
        Ok(()) => Ok(bytes),
        Err(e) => blocks.cache().elsewhere(blocks, id, location, e),
    }
}

/// Gives `len` zeros to `take`, piece by piece.
pub(crate) fn zeros(mut len: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    while len > 0 {
        let piece = usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()));
        take(&ZEROS[..piece])?;
        len -= piece as u64;
    }
    Ok(())
}
