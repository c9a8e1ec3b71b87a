//! Workers: each takes a whole batch through hashing, deduplication and compression.
//!
//! A worker's open blocks live in a slot behind a lock, so that a barrier can close them. The worker holds its slot's lock from the first
//! chunk of a batch until its last full block is with the packer: at no instant is a claimed chunk in neither place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use super::super::lock;
use super::super::object::{EncodedBlock, length};
use super::{Batch, BatchResult, Batches, Cutting, Shared, ToPacker, over, spawn_thread};
use crate::chunk::is_zero;
use crate::codec::Compressor;
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::pack::ChunkEntry;
use crate::id::ShortChunkId;
use crate::progress::Count;

/// A block ends at the latest with this many chunks, so that a pack always has room for one more block.
pub(super) const MAX_BLOCK_CHUNKS: usize = 1 << 14;

/// New chunks side by side, not compressed yet.
#[derive(Default)]
pub(super) struct OpenBlock {
    raw: Vec<u8>,
    chunks: Vec<ChunkEntry>,
}

impl OpenBlock {
    pub(super) fn append(&mut self, id: ShortChunkId, bytes: &[u8]) -> Result<()> {
        self.raw.extend_from_slice(bytes);
        self.chunks.push(ChunkEntry {
            id,
            raw_bytes: length(bytes.len())?,
        });
        Ok(())
    }

    pub(super) fn is_full(&self, target_bytes: usize) -> bool {
        self.raw.len() >= target_bytes || self.chunks.len() >= MAX_BLOCK_CHUNKS
    }

    /// The compressed block, if there is anything in it; it is empty again afterwards.
    pub(super) fn close(&mut self, compressor: &mut Compressor) -> Result<Option<EncodedBlock>> {
        if self.chunks.is_empty() {
            return Ok(None);
        }
        let chunks = std::mem::take(&mut self.chunks);
        let block = EncodedBlock::new(&self.raw, chunks, compressor)?;
        self.raw.clear();
        Ok(Some(block))
    }
}

/// One worker's open blocks and its compressor.
pub(super) struct Slot {
    file: OpenBlock,
    disk: OpenBlock,
    compressor: Compressor,
}

impl Slot {
    pub(super) fn new(level: i32) -> Result<Self> {
        Ok(Self {
            file: OpenBlock::default(),
            disk: OpenBlock::default(),
            compressor: Compressor::new(level)
                .map_err(|e| Error::caused(Class::Io, "start a compressor", e))?,
        })
    }

    /// Closes both blocks.
    pub(super) fn drain(&mut self) -> Result<Vec<EncodedBlock>> {
        let file = self.file.close(&mut self.compressor)?;
        let disk = self.disk.close(&mut self.compressor)?;
        Ok(file.into_iter().chain(disk).collect())
    }
}

pub(super) fn spawn(
    shared: &Arc<Shared>,
    index: usize,
    batches: &Batches,
    to_packer: &Sender<ToPacker>,
) -> Result<JoinHandle<()>> {
    let (shared, batches, to_packer) = (Arc::clone(shared), batches.clone(), to_packer.clone());
    let alarmed = Arc::clone(&shared);
    spawn_thread("worker", &alarmed, move || {
        for mut batch in batches {
            if shared.failed.load(Ordering::Acquire) {
                continue;
            }
            match process(&shared, index, &batch, &to_packer) {
                Ok(items) => {
                    lock(&shared.results).insert(batch.sequence, items);
                    shared.result_ready.notify_all();
                }
                Err(e) => shared.fail(e),
            }
            batch.bytes.clear();
            lock(&shared.buffers).push(batch.bytes);
        }
    })
}

/// Stores one chunk through the last slot, which no worker uses.
pub(super) fn put_one(shared: &Shared, bytes: &[u8], to_packer: &Sender<ToPacker>) -> Result<Item> {
    let batch = Batch {
        sequence: 0,
        cutting: Cutting::File,
        bytes: bytes.to_vec(),
        lens: vec![length(bytes.len())?],
    };
    let items = process(shared, shared.slots.len() - 1, &batch, to_packer)?;
    items.first().copied().ok_or_else(over)
}

/// Stores a chunk that the caller has claimed, as it is, through the last slot.
pub(super) fn keep(
    shared: &Shared,
    id: ShortChunkId,
    bytes: &[u8],
    to_packer: &Sender<ToPacker>,
) -> Result<()> {
    let target = shared.repository.config().blocks.file_bytes as usize;
    let mut slot = lock(&shared.slots[shared.slots.len() - 1]);
    let Slot {
        file, compressor, ..
    } = &mut *slot;
    file.append(id, bytes)?;
    if file.is_full(target)
        && let Some(block) = file.close(compressor)?
    {
        to_packer.send(ToPacker::Data(block)).map_err(|_| over())?;
    }
    Ok(())
}

fn process(
    shared: &Shared,
    index: usize,
    batch: &Batch,
    to_packer: &Sender<ToPacker>,
) -> Result<BatchResult> {
    let mut slot = lock(&shared.slots[index]);
    let sizes = &shared.repository.config().blocks;
    let target = match batch.cutting {
        Cutting::File => sizes.file_bytes,
        Cutting::Disk => sizes.disk_bytes,
    } as usize;
    let mut items = Vec::with_capacity(batch.lens.len());
    let mut rest = batch.bytes.as_slice();
    let (mut new_chunks, mut new_bytes, mut known_bytes) = (0, 0, 0);
    for len in &batch.lens {
        let (chunk, behind) = rest
            .split_at_checked(*len as usize)
            .ok_or_else(|| Error::invalid("a batch is shorter than its chunks"))?;
        rest = behind;
        if is_zero(chunk) {
            items.push(Item::Zeros(u64::from(*len)));
            continue;
        }
        let id = shared.repository.chunk_id(chunk);
        items.push(Item::Data { id, len: *len });
        let id = id.shorten();
        if !shared.claims.claim(&id)? {
            known_bytes += u64::from(*len);
            continue;
        }
        new_chunks += 1;
        new_bytes += u64::from(*len);
        let Slot {
            file,
            disk,
            compressor,
        } = &mut *slot;
        let block = match batch.cutting {
            Cutting::File => file,
            Cutting::Disk => disk,
        };
        block.append(id, chunk)?;
        if block.is_full(target)
            && let Some(block) = block.close(compressor)?
        {
            to_packer.send(ToPacker::Data(block)).map_err(|_| over())?;
        }
    }
    let totals = &shared.totals;
    totals.new_chunks.fetch_add(new_chunks, Ordering::Relaxed);
    totals.new_bytes.fetch_add(new_bytes, Ordering::Relaxed);
    totals.known_bytes.fetch_add(known_bytes, Ordering::Relaxed);
    shared.monitor.add(Count::KnownBytes, known_bytes);
    Ok(items)
}
