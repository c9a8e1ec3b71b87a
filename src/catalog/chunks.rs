//! Chunks: where each lies. The largest table and the hot path of reading.
//!
//! The key is the first half of the id, 16 bytes, as in directories (docs/decisions/0003-half-ids.md has why that is enough for
//! deduplication to trust). The place is 16 bytes of
//! which 4 are a checksum over the id, the pack and the place: SQLite does not notice a bit that flipped in a row, and
//! a wrong offset would be wrong bytes to whoever reads.

use std::convert::Infallible;

use rusqlite::{Connection, OptionalExtension};

use super::Catalog;
use super::connections::Stopped;
use super::pack_row::Pack;
use super::piles::Piles;
use crate::error::Result;
use crate::format::header::{Codec, ObjectKind};
use crate::format::index::PackRecord;
use crate::id::{PackId, ShortChunkId};

/// Length of a place: block number u16, offset u32, length u32, position among the pack's chunks u16, checksum u32.
pub(super) const PLACE_BYTES: usize = 16;
/// Length of what the checksum covers of it.
const PLAIN_BYTES: usize = PLACE_BYTES - SUM_BYTES;
/// Length of the checksum at its end.
const SUM_BYTES: usize = 4;

/// Where a chunk lies, with all that is needed to read its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// What kind of pack.
    pub kind: ObjectKind,
    /// The block in it.
    pub block_no: u32,
    /// Where the block begins in the pack.
    pub block_offset: u64,
    /// Length of the sealed block.
    pub block_stored_bytes: u32,
    /// Length of the block after decompression.
    pub block_raw_bytes: u32,
    /// How the block is encoded.
    pub codec: Codec,
    /// Where the chunk begins in the raw block.
    pub offset: u32,
    /// Length of the chunk.
    pub len: u32,
}

/// Where a chunk lies, in a few bytes: for work on all chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The number of the pack.
    pub pack_no: i64,
    /// Which of the pack's chunks it is, from 0.
    pub position: u16,
    /// Length of the chunk.
    pub len: u32,
}

/// A row before it is inserted.
pub(super) struct Row {
    id: ShortChunkId,
    pack_no: i64,
    place: [u8; PLACE_BYTES],
}

/// A decoded place.
#[derive(Clone, Copy)]
pub(super) struct Place {
    block_no: u16,
    offset: u32,
    pub(super) len: u32,
    pub(super) position: u16,
}

impl Place {
    fn encode(self, id: &ShortChunkId, pack: &PackId) -> [u8; PLACE_BYTES] {
        let mut out = [0; PLACE_BYTES];
        out[..2].copy_from_slice(&self.block_no.to_le_bytes());
        out[2..6].copy_from_slice(&self.offset.to_le_bytes());
        out[6..10].copy_from_slice(&self.len.to_le_bytes());
        out[10..12].copy_from_slice(&self.position.to_le_bytes());
        let sum = sum(id, pack, &out[..PLAIN_BYTES]);
        out[PLAIN_BYTES..].copy_from_slice(&sum);
        out
    }

    /// Nothing if the row is not what was written.
    pub(super) fn decode(
        value: &[u8; PLACE_BYTES],
        id: &ShortChunkId,
        pack: &PackId,
    ) -> Option<Self> {
        let place = Self {
            block_no: u16::from_le_bytes([value[0], value[1]]),
            offset: u32::from_le_bytes([value[2], value[3], value[4], value[5]]),
            len: u32::from_le_bytes([value[6], value[7], value[8], value[9]]),
            position: u16::from_le_bytes([value[10], value[11]]),
        };
        (place.encode(id, pack) == *value).then_some(place)
    }
}

/// The input is one block of the hash.
fn sum(id: &ShortChunkId, pack: &PackId, place: &[u8]) -> [u8; SUM_BYTES] {
    let mut row = [0; ShortChunkId::LEN + PackId::LEN + PLAIN_BYTES];
    row[..16].copy_from_slice(id.as_bytes());
    row[16..48].copy_from_slice(pack.as_bytes());
    row[48..].copy_from_slice(place);
    let [a, b, c, d, ..] = *blake3::hash(&row).as_bytes();
    [a, b, c, d]
}

/// Tells the place of each of a pack's chunks. What lies beyond the limits of the format has none.
pub(super) fn places<E>(
    record: &PackRecord,
    mut each: impl FnMut(ShortChunkId, [u8; PLACE_BYTES]) -> Result<(), E>,
) -> Result<(), E> {
    let mut position = 0_usize;
    for (number, block) in record.directory.blocks.iter().enumerate() {
        let mut offset = 0_u32;
        for chunk in &block.chunks {
            if let (Ok(block_no), Ok(position)) = (u16::try_from(number), u16::try_from(position)) {
                let place = Place {
                    block_no,
                    offset,
                    len: chunk.raw_bytes,
                    position,
                };
                each(chunk.id, place.encode(&chunk.id, &record.id))?;
            }
            offset = offset.saturating_add(chunk.raw_bytes);
            position += 1;
        }
    }
    Ok(())
}

/// Appends the rows of a pack's chunks.
pub(super) fn collect(record: &PackRecord, pack_no: i64, rows: &mut Vec<Row>) {
    rows.reserve(record.directory.chunk_count());
    let taken: Result<(), Infallible> = places(record, |id, place| {
        rows.push(Row { id, pack_no, place });
        Ok(())
    });
    let Ok(()) = taken;
}

const INSERT: &str = "INSERT OR IGNORE INTO chunks VALUES (?1, ?2, ?3)";

/// Inserts rows in the order of the table, which is an order of magnitude faster than any other.
pub(super) fn insert(connection: &Connection, rows: &mut [Row]) -> rusqlite::Result<()> {
    rows.sort_unstable_by_key(|row| (row.id, row.pack_no));
    let mut statement = connection.prepare_cached(INSERT)?;
    for row in rows {
        statement.execute((&row.id.as_bytes()[..], row.pack_no, &row.place[..]))?;
    }
    Ok(())
}

/// Inserts the rows of a loader, whose packs got these numbers.
pub(super) fn insert_piles<const N: usize>(
    connection: &Connection,
    rows: Piles<N>,
    numbers: &[Option<i64>],
) -> Result<(), Stopped> {
    let mut statement = connection.prepare_cached(INSERT)?;
    rows.drain(|pile| {
        for row in pile {
            let (id, rest) = row.split_at(ShortChunkId::LEN);
            let (at, place) = rest.split_at(4);
            let at = at.try_into().map_or(u32::MAX, u32::from_be_bytes);
            if let Some(no) = numbers.get(at as usize).copied().flatten() {
                statement.execute((id, no, place))?;
            }
        }
        Ok::<(), Stopped>(())
    })
}

impl Catalog {
    /// Where a chunk lies; nothing if it is not known. The hot path of every read.
    pub fn locate(&self, id: &ShortChunkId) -> Result<Option<Location>> {
        for _ in 0..2 {
            let Some((pack_no, place)) = self.connections.read(|c| probe(c, id))? else {
                return Ok(None);
            };
            if let Some(pack) = self.pack(pack_no)? {
                return self.location(id, &pack, &place).map(Some);
            }
            // The pack went between the two looks. If the chunk has another home, the second try finds it.
        }
        Ok(None)
    }

    /// The same for many, in the order asked. Probes in the order of the table, on one connection.
    pub fn locate_many(&self, ids: &[ShortChunkId]) -> Result<Vec<Option<Location>>> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|&at| ids[at]);
        let found = self.connections.read_at_once(|connection| {
            let probes = order
                .iter()
                .map(|&at| Ok((at, probe(connection, &ids[at])?)));
            probes.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let mut locations = vec![None; ids.len()];
        for (at, found) in found {
            let Some((pack_no, place)) = found else {
                continue;
            };
            locations[at] = match self.pack(pack_no)? {
                Some(pack) => Some(self.location(&ids[at], &pack, &place)?),
                None => self.locate(&ids[at])?,
            };
        }
        Ok(locations)
    }

    /// Whether a chunk is known.
    pub fn contains(&self, id: &ShortChunkId) -> Result<bool> {
        self.connections.read(|connection| {
            let sql = "SELECT 1 FROM chunks WHERE id = ?1 LIMIT 1";
            connection.prepare_cached(sql)?.exists([&id.as_bytes()[..]])
        })
    }

    /// How many homes chunks have, all together: the number of chunks, and those stored twice counted twice. Reads
    /// through the whole table.
    pub fn chunk_count(&self) -> Result<u64> {
        let count: i64 = self.connections.read(|connection| {
            connection
                .prepare_cached("SELECT count(*) FROM chunks")?
                .query_one([], |row| row.get(0))
        })?;
        Ok(count.unsigned_abs())
    }

    pub(super) fn location(
        &self,
        id: &ShortChunkId,
        pack: &Pack,
        place: &[u8; PLACE_BYTES],
    ) -> Result<Location> {
        let decode = || {
            let place = Place::decode(place, id, &pack.row.id)?;
            let block = pack.blocks.get(usize::from(place.block_no))?;
            Some(Location {
                pack: pack.row.id,
                kind: pack.row.kind,
                block_no: u32::from(place.block_no),
                block_offset: u64::from(block.offset),
                block_stored_bytes: block.stored_bytes,
                block_raw_bytes: block.raw_bytes,
                codec: block.codec,
                offset: place.offset,
                len: place.len,
            })
        };
        decode().ok_or_else(|| self.connections.damaged_row())
    }
}

/// The row of one home of a chunk: pack number and place. It is the oldest, in practice; to ask for the oldest
/// (ORDER BY) makes SQLite twice as slow.
fn probe(
    connection: &Connection,
    id: &ShortChunkId,
) -> rusqlite::Result<Option<(i64, [u8; PLACE_BYTES])>> {
    let mut statement =
        connection.prepare_cached("SELECT pack_no, place FROM chunks WHERE id = ?1 LIMIT 1")?;
    statement
        .query_row([&id.as_bytes()[..]], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
