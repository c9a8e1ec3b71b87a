//! One row of the table of packs: how its blocks are stored in one value, and a bounded cache of decoded rows.
//!
//! A pack's blocks are one value and no rows of their own: they are written together, wanted together, and lie side by
//! side, so that offsets are sums. The value ends in a checksum over the whole row.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::format::header::{Codec, HEADER_BYTES, ObjectKind};
use crate::format::index::PackRecord;
use crate::format::pack::Directory;
use crate::id::{ObjectId, PackId};

/// Bytes of one block in the `blocks` value: codec u8, stored bytes u32, raw bytes u32.
const BLOCK_BYTES: usize = 9;
/// Bytes of the checksum at its end.
const SUM_BYTES: usize = 8;
/// How many blocks the cache holds at most: 8 MiB.
const CACHED_BLOCKS: usize = 1 << 19;

/// A pack as the catalog knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRow {
    /// Its number in this catalog; never used again.
    pub no: i64,
    /// Its name.
    pub id: PackId,
    /// Data or meta.
    pub kind: ObjectKind,
    /// Its length as stored.
    pub stored_bytes: u64,
    /// How many chunks are in it.
    pub chunks: u32,
}

impl PackRow {
    /// The row of a pack that has no number yet, and the value of its blocks.
    pub(super) fn of(record: &PackRecord) -> (Self, Vec<u8>) {
        let row = Self {
            no: 0,
            id: record.id,
            kind: record.kind,
            stored_bytes: record.stored_bytes,
            chunks: u32::try_from(record.directory.chunk_count()).unwrap_or(u32::MAX),
        };
        let blocks = encode_blocks(&row, &record.directory);
        (row, blocks)
    }
}

/// A decoded row.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) row: PackRow,
    pub(super) blocks: Vec<Block>,
}

/// One block of a pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// Fits: no stored object is longer than 1 GiB.
    pub(super) offset: u32,
    pub(super) stored_bytes: u32,
    pub(super) raw_bytes: u32,
    pub(super) codec: Codec,
}

/// Decoded rows by pack number. The oldest goes when there are too many: loading one again is a single small read.
#[derive(Debug, Default)]
pub(super) struct PackCache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    packs: HashMap<i64, Arc<Pack>>,
    order: VecDeque<i64>,
    blocks: usize,
}

impl PackCache {
    pub(super) fn get(&self, no: i64) -> Option<Arc<Pack>> {
        self.cached().packs.get(&no).cloned()
    }

    pub(super) fn put(&self, no: i64, pack: &Arc<Pack>) {
        let mut cached = self.cached();
        if cached.packs.insert(no, pack.clone()).is_some() {
            return;
        }
        cached.order.push_back(no);
        cached.blocks += pack.weight();
        while cached.blocks > CACHED_BLOCKS {
            let Some(oldest) = cached.order.pop_front() else {
                return;
            };
            if let Some(pack) = cached.packs.remove(&oldest) {
                cached.blocks -= pack.weight();
            }
        }
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pack {
    /// What it takes in the cache, in blocks; the row itself counts for a few.
    fn weight(&self) -> usize {
        self.blocks.len() + 8
    }
}

/// `no, id, kind, stored_bytes, chunks` as SQLite gives them.
pub(super) type Columns = (i64, Vec<u8>, i64, i64, i64);

/// A row of the table; nothing if it cannot be one.
pub(super) fn pack_row((no, id, kind, stored_bytes, chunks): &Columns) -> Option<PackRow> {
    Some(PackRow {
        no: *no,
        id: ObjectId::from_slice(id)?,
        kind: ObjectKind::from_u8(u8::try_from(*kind).ok()?)?,
        stored_bytes: u64::try_from(*stored_bytes).ok()?,
        chunks: u32::try_from(*chunks).ok()?,
    })
}

/// All blocks of a pack side by side, then a checksum over the row.
fn encode_blocks(row: &PackRow, directory: &Directory) -> Vec<u8> {
    let blocks = &directory.blocks;
    let mut out = Vec::with_capacity(blocks.len() * BLOCK_BYTES + SUM_BYTES);
    for block in blocks {
        out.push(block.codec as u8);
        out.extend_from_slice(&block.stored_bytes.to_le_bytes());
        out.extend_from_slice(&block.raw_bytes.to_le_bytes());
    }
    let sum = sum(row, &out);
    out.extend_from_slice(&sum);
    out
}

/// The blocks in a value; nothing if a bit of the row is not what it was.
pub(super) fn decode_blocks(row: &PackRow, value: &[u8]) -> Option<Vec<Block>> {
    let (blocks, stored_sum) = value.split_last_chunk::<SUM_BYTES>()?;
    if sum(row, blocks) != *stored_sum {
        return None;
    }
    let mut offset = u32::try_from(HEADER_BYTES).ok()?;
    let decode = |bytes: &[u8]| {
        let (codec, lengths) = bytes.split_first()?;
        let (stored, raw) = lengths.split_first_chunk::<4>()?;
        let block = Block {
            offset,
            stored_bytes: u32::from_le_bytes(*stored),
            raw_bytes: u32::from_le_bytes(raw.try_into().ok()?),
            codec: Codec::from_u8(*codec)?,
        };
        offset = offset.checked_add(block.stored_bytes)?;
        Some(block)
    };
    blocks.chunks(BLOCK_BYTES).map(decode).collect()
}

fn sum(row: &PackRow, blocks: &[u8]) -> [u8; SUM_BYTES] {
    let mut hash = blake3::Hasher::new();
    hash.update(row.id.as_bytes());
    hash.update(&[row.kind as u8]);
    hash.update(&row.stored_bytes.to_le_bytes());
    hash.update(&row.chunks.to_le_bytes());
    hash.update(blocks);
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&hash.finalize().as_bytes()[..SUM_BYTES]);
    sum
}
