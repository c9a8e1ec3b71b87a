//! What readers share: decoded blocks, and the tree shards and content lists that were decoded from them.
//!
//! kernel or restore -> chunk id -> location -> block (hit | join the load in flight | load) -> range of the block.
//! Everything that reads goes through [`Blocks`], so that caches, trees and contents are tested against blocks in
//! memory. Each of the three caches is bounded in bytes; together they are the memory of a mount.

use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::address::{BlockAddress, Location};
use super::content::ItemList;
use super::single_flight::{CacheCounts, SingleFlight};
use super::trees::IndexedShard;
use crate::error::{Class, Error, Result};
use crate::id::ChunkId;

/// Where blocks come from: the repository, or memory in tests.
pub trait Blocks: Send + Sync {
    /// Where a chunk is. A chunk that is nowhere is class `Corrupt`: something that exists names it.
    fn locate(&self, id: &ChunkId) -> Result<Location>;
    /// The same for many: one answer for each, in order. An error is one of the store, not of a chunk.
    fn locate_many(&self, ids: &[ChunkId]) -> Result<Vec<Result<Location>>> {
        Ok(ids.iter().map(|id| self.locate(id)).collect())
    }
    /// Where else the chunk is, after reading it at `tried` failed: packs may have been removed, or chunks moved, since it was located.
    fn other_homes(&self, _id: &ChunkId, _tried: &BlockAddress) -> Result<Vec<Location>> {
        Ok(Vec::new())
    }
    /// Reads and unseals one block and decompresses at least its first `up_to` bytes; never more than its `raw_bytes`.
    fn read_block(&self, block: &BlockAddress, up_to: usize) -> Result<Vec<u8>>;
    /// Checks that `bytes` are the chunk `id` (keyed hash), class `Corrupt` if not. What leaves the repository for good is checked:
    /// restore, export and check do, a mount relies on the seal.
    fn verify_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()>;
    /// Called with every chunk before it is used: a seal proves that a block belongs to an object, but not that it is the object
    /// which the pack's name stands for. Class `Corrupt` if it is another one.
    fn vouch(&self, _: &BlockAddress, _: &ChunkId, _: &[u8]) -> Result<()> {
        Ok(())
    }
    /// The caches of this store.
    fn cache(&self) -> &BlockCache;
    /// False for a view that answers from memory only: what is not there is an error of class `Busy`.
    fn may_load(&self) -> bool {
        true
    }
}

impl<T: Blocks + ?Sized> Blocks for Arc<T> {
    fn locate(&self, id: &ChunkId) -> Result<Location> {
        (**self).locate(id)
    }
    fn locate_many(&self, ids: &[ChunkId]) -> Result<Vec<Result<Location>>> {
        (**self).locate_many(ids)
    }
    fn other_homes(&self, id: &ChunkId, tried: &BlockAddress) -> Result<Vec<Location>> {
        (**self).other_homes(id, tried)
    }
    fn read_block(&self, block: &BlockAddress, up_to: usize) -> Result<Vec<u8>> {
        (**self).read_block(block, up_to)
    }
    fn verify_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        (**self).verify_chunk(id, bytes)
    }
    fn vouch(&self, block: &BlockAddress, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        (**self).vouch(block, id, bytes)
    }
    fn cache(&self) -> &BlockCache {
        (**self).cache()
    }
    fn may_load(&self) -> bool {
        (**self).may_load()
    }
}

/// The same store, but answering only from memory; for threads that must not wait.
pub struct CachedOnly<'a>(pub &'a dyn Blocks);

impl Blocks for CachedOnly<'_> {
    fn locate(&self, id: &ChunkId) -> Result<Location> {
        self.0.locate(id)
    }
    fn read_block(&self, _: &BlockAddress, _: usize) -> Result<Vec<u8>> {
        Err(not_in_memory())
    }
    fn verify_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        self.0.verify_chunk(id, bytes)
    }
    fn vouch(&self, block: &BlockAddress, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        self.0.vouch(block, id, bytes)
    }
    fn cache(&self) -> &BlockCache {
        self.0.cache()
    }
    fn may_load(&self) -> bool {
        false
    }
}

/// Decoded blocks, tree shards and content lists, each kind bounded in bytes.
pub struct BlockCache {
    blocks: SingleFlight<BlockAddress, Vec<u8>>,
    shards: SingleFlight<ChunkId, IndexedShard>,
    lists: SingleFlight<ChunkId, ItemList>,
    buffers: Arc<Buffers>,
}

/// Buffers of evicted blocks, to be filled again. Blocks are large and of many lengths; given back to the allocator each
/// time they would leave it with three times the memory that is in use, and every page would be cleared anew.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Blocks are decoded in steps of this many bytes, zstd's own block size.
const DECODE_STEP: usize = 128 << 10;

/// How many buffers are kept; evictions come one by one as blocks are loaded.
const MAX_BUFFERS: usize = 4;

impl Buffers {
    fn put(&self, buffer: Vec<u8>) {
        let mut kept = lock(&self.0);
        if kept.len() >= MAX_BUFFERS {
            kept.remove(0);
        }
        kept.push(buffer);
    }

    /// An empty buffer for `len` bytes. One that is much too large is left for a larger block.
    fn take(&self, len: usize) -> Vec<u8> {
        let mut kept = lock(&self.0);
        let fits = |buffer: &Vec<u8>| (len..=len + len / 4).contains(&buffer.capacity());
        match kept.iter().position(fits) {
            Some(at) => kept.swap_remove(at),
            None => Vec::with_capacity(len.next_multiple_of(DECODE_STEP)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BlockCache {
    /// Caches of at most `limit_bytes` together: half of it for blocks, three eighths for tree shards, the rest for content
    /// lists. Blocks are worth least: who reads at random finds few of them again, who reads in sequence needs no old ones.
    pub fn new(limit_bytes: usize) -> Self {
        let eighth = limit_bytes / 8;
        let buffers = Arc::new(Buffers::default());
        let recycled = Arc::clone(&buffers);
        Self {
            blocks: SingleFlight::new(limit_bytes - 4 * eighth, Vec::capacity)
                .on_eviction(move |block| recycled.put(block)),
            shards: SingleFlight::new(3 * eighth, IndexedShard::memory_bytes),
            lists: SingleFlight::new(eighth, ItemList::memory_bytes),
            buffers,
        }
    }

    /// An empty buffer with room for a block of `len` bytes.
    pub(super) fn take_buffer(&self, len: usize) -> Vec<u8> {
        self.buffers.take(len)
    }

    /// A whole decoded block.
    pub fn get(&self, source: &dyn Blocks, block: &BlockAddress) -> Result<Arc<Vec<u8>>> {
        self.get_part(source, block, block.raw_bytes as usize)
    }

    /// At least the first `up_to` bytes of a block. Who reads at random finds few blocks again, so decoding stops where the first request
    /// ends; a second one that goes further shows that the block is being read, and has all of it decoded.
    fn get_part(
        &self,
        source: &dyn Blocks,
        block: &BlockAddress,
        up_to: usize,
    ) -> Result<Arc<Vec<u8>>> {
        let whole = block.raw_bytes as usize;
        let enough = |raw: &Vec<u8>| raw.len() >= up_to.min(whole);
        if !source.may_load() {
            let found = self.blocks.peek(block).filter(|raw| enough(raw));
            return found.ok_or_else(not_in_memory);
        }
        self.blocks.get_where(block, enough, |again| {
            let wanted = match up_to.checked_next_multiple_of(DECODE_STEP) {
                Some(part) if !again && part < whole => part,
                _ => whole,
            };
            let raw = source.read_block(block, wanted)?;
            if !(wanted..=whole).contains(&raw.len()) {
                return Err(Error::corrupt(format!(
                    "block {} of pack {} decodes to {} bytes instead of {whole}",
                    block.number,
                    block.pack,
                    raw.len(),
                )));
            }
            Ok(raw)
        })
    }

    /// A chunk's bytes; the block that they are in stays in memory while they are held.
    pub fn chunk(&self, source: &dyn Blocks, id: &ChunkId) -> Result<ChunkBytes> {
        let location = source.locate(id)?;
        self.chunk_at(source, id, &location)
    }

    /// The same where the location is known. If nothing can be read there, the chunk's other homes are tried.
    pub fn chunk_at(
        &self,
        source: &dyn Blocks,
        id: &ChunkId,
        location: &Location,
    ) -> Result<ChunkBytes> {
        match self.chunk_in(source, id, location) {
            Err(e) if source.may_load() => self.elsewhere(source, id, location, e),
            read => read,
        }
    }

    /// A chunk from another home than `tried`, checked against its id; `error` if that does not help.
    pub fn elsewhere(
        &self,
        source: &dyn Blocks,
        id: &ChunkId,
        tried: &Location,
        error: Error,
    ) -> Result<ChunkBytes> {
        if !matches!(error.class(), Class::NotFound | Class::Corrupt | Class::Io) {
            return Err(error);
        }
        let Ok(homes) = source.other_homes(id, &tried.block) else {
            return Err(error);
        };
        homes
            .iter()
            .filter_map(|home| self.chunk_in(source, id, home).ok())
            .find(|bytes| source.verify_chunk(id, bytes).is_ok())
            .ok_or(error)
    }

    fn chunk_in(
        &self,
        source: &dyn Blocks,
        id: &ChunkId,
        location: &Location,
    ) -> Result<ChunkBytes> {
        let bytes = self.bytes_at(source, location)?;
        source.vouch(&location.block, id, &bytes)?;
        Ok(bytes)
    }

    /// What lies at a location, whatever chunk that is: not compared with any id.
    pub(super) fn bytes_at(&self, source: &dyn Blocks, location: &Location) -> Result<ChunkBytes> {
        let start = location.offset as usize;
        let range = start..start.saturating_add(location.len as usize);
        let block = self.get_part(source, &location.block, range.end)?;
        if block.get(range.clone()).is_none() {
            return Err(Error::corrupt(format!(
                "a chunk lies beyond the end of block {} of pack {}",
                location.block.number, location.block.pack
            )));
        }
        Ok(ChunkBytes { block, range })
    }

    /// True if the whole block is in memory, or the block is being read.
    pub fn is_known(&self, block: &BlockAddress) -> bool {
        self.blocks
            .is_known(block, |raw| raw.len() == block.raw_bytes as usize)
    }

    /// What the cache of blocks did so far.
    pub fn counts(&self) -> CacheCounts {
        self.blocks.counts()
    }

    /// Bytes held now, of all three kinds.
    pub fn used_bytes(&self) -> usize {
        self.blocks.used_bytes() + self.shards.used_bytes() + self.lists.used_bytes()
    }

    /// The decoded shard in chunk `id`, if need be by `decode` of its bytes.
    pub(super) fn shard(
        &self,
        source: &dyn Blocks,
        id: &ChunkId,
        decode: impl FnOnce(&[u8]) -> Result<IndexedShard>,
    ) -> Result<Arc<IndexedShard>> {
        decoded(&self.shards, self, source, id, decode)
    }

    /// The decoded content list in chunk `id`, if need be by `decode` of its bytes.
    pub(super) fn list(
        &self,
        source: &dyn Blocks,
        id: &ChunkId,
        decode: impl FnOnce(&[u8]) -> Result<ItemList>,
    ) -> Result<Arc<ItemList>> {
        decoded(&self.lists, self, source, id, decode)
    }
}

fn decoded<V>(
    cache: &SingleFlight<ChunkId, V>,
    blocks: &BlockCache,
    source: &dyn Blocks,
    id: &ChunkId,
    decode: impl FnOnce(&[u8]) -> Result<V>,
) -> Result<Arc<V>> {
    if source.may_load() {
        return cache.get(id, || decode(&blocks.chunk(source, id)?));
    }
    if let Some(value) = cache.peek(id) {
        return Ok(value);
    }
    // The block may be in memory although the shard is not: decoding costs less than a change of thread. Others
    // must not join this load, since it may end in `Busy`.
    let bytes = blocks.chunk(source, id)?;
    cache.get(id, || decode(&bytes))
}

fn not_in_memory() -> Error {
    Error::new(Class::Busy, "not in memory")
}

/// A chunk's bytes: a range of a decoded block.
#[derive(Clone, Debug)]
pub struct ChunkBytes {
    block: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for ChunkBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.block[self.range.clone()]
    }
}
