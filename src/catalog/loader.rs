//! Taking in much at once, as after a lost catalog.
//!
//! Chunk ids are random: rows that are inserted as they come touch pages all over the table, so that a page is written again and again.
//! A [`Loader`] gathers the rows of any number of index objects beside the catalog ([`Piles`]), and inserts them once, in the order of
//! the table, in one transaction: who looks sees nothing of it or all. Memory: [`Piles`], and 24 bytes for each pack.

use std::path::Path;

use rusqlite::Transaction;

use super::Catalog;
use super::chunks::{self, PLACE_BYTES};
use super::connections::Stopped;
use super::pack_row::PackRow;
use super::packs::{insert_row, judge};
use super::piles::{Log, Piles};
use crate::error::Result;
use crate::format::header::ObjectKind;
use crate::format::index::PackRecord;
use crate::id::{ObjectId, PackId, ShortChunkId};

/// A chunk's row: id, which of the packs in the log (big-endian), place.
const ROW_BYTES: usize = ID_BYTES + 4 + PLACE_BYTES;
const ID_BYTES: usize = ShortChunkId::LEN;

/// Gathers packs and index objects. Dropped before [`Loader::finish`] nothing is taken in, and all is read again next time.
#[derive(Debug)]
pub struct Loader<'a> {
    catalog: &'a Catalog,
    rows: Piles<ROW_BYTES>,
    /// The packs, each with the index object that lists it.
    packs: Log,
    indexes: Vec<ObjectId>,
}

impl Catalog {
    /// A loader into this catalog.
    pub fn loader(&self) -> Loader<'_> {
        Loader {
            catalog: self,
            rows: Piles::new(self.file()),
            packs: Log::default(),
            indexes: Vec::new(),
        }
    }

    /// Piles whose scratch file lies beside this catalog.
    pub fn piles<const N: usize>(&self) -> Piles<N> {
        Piles::new(self.file())
    }

    fn file(&self) -> Option<&Path> {
        self.connections.file()
    }

    /// Whether it is in memory, from the beginning or because its file cannot be written any more.
    pub fn is_in_memory(&self) -> bool {
        self.connections.in_memory()
    }
}

impl Loader<'_> {
    /// Takes in a pack that the index object `index` lists. One that cannot be is refused alone: what was added before it stays.
    pub fn add(&mut self, index: ObjectId, record: &PackRecord) -> Result<()> {
        judge(record)?;
        let at = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        self.packs
            .push(&encode(&index, record), self.catalog.file())?;
        chunks::places(record, |id, place| {
            let mut row = [0; ROW_BYTES];
            let (key, rest) = row.split_at_mut(ID_BYTES);
            let (number, rest) = rest.split_at_mut(4);
            key.copy_from_slice(id.as_bytes());
            number.copy_from_slice(&at.to_be_bytes());
            rest.copy_from_slice(&place);
            self.rows.push(row)
        })
    }

    /// Notes an index object all of whose packs were added before.
    pub fn index_object(&mut self, id: ObjectId) {
        self.indexes.push(id);
    }

    /// Makes all of it part of the catalog. If that fails and the catalog is in memory now, it has to be gathered again.
    pub fn finish(self) -> Result<()> {
        if self.packs.len() == 0 && self.indexes.is_empty() {
            return Ok(());
        }
        let Self {
            catalog,
            rows,
            packs,
            indexes,
        } = self;
        catalog.connections.load(|transaction| {
            let numbers = insert_packs(catalog, transaction, &packs)?;
            chunks::insert_piles(transaction, rows, &numbers)?;
            super::listings::insert(transaction, &[], &indexes)?;
            Ok(())
        })
    }
}

/// Their numbers in the catalog; none for those that it has: another process was faster, or two index objects list one.
fn insert_packs(
    catalog: &Catalog,
    transaction: &Transaction<'_>,
    packs: &Log,
) -> Result<Vec<Option<i64>>, Stopped> {
    let mut numbers = Vec::with_capacity(packs.len());
    packs.each(|entry| {
        let (index, row, blocks) =
            decode(entry).ok_or_else(|| catalog.connections.lost_scratch())?;
        numbers.push(insert_row(transaction, &row, blocks)?);
        super::listings::insert(transaction, &[(row.id, index)], &[])?;
        Ok::<(), Stopped>(())
    })?;
    Ok(numbers)
}

fn encode(index: &ObjectId, record: &PackRecord) -> Vec<u8> {
    let (row, blocks) = PackRow::of(record);
    let mut entry = Vec::with_capacity(ENTRY_BYTES + blocks.len());
    entry.extend_from_slice(index.as_bytes());
    entry.extend_from_slice(row.id.as_bytes());
    entry.push(row.kind as u8);
    entry.extend_from_slice(&row.stored_bytes.to_le_bytes());
    entry.extend_from_slice(&row.chunks.to_le_bytes());
    entry.extend_from_slice(&blocks);
    entry
}

const ENTRY_BYTES: usize = ObjectId::LEN + PackId::LEN + 1 + 8 + 4;

fn decode(entry: &[u8]) -> Option<(ObjectId, PackRow, &[u8])> {
    let (index, rest) = entry.split_first_chunk::<{ ObjectId::LEN }>()?;
    let (id, rest) = rest.split_first_chunk::<{ PackId::LEN }>()?;
    let (kind, rest) = rest.split_first()?;
    let (stored_bytes, rest) = rest.split_first_chunk::<8>()?;
    let (chunks, blocks) = rest.split_first_chunk::<4>()?;
    let row = PackRow {
        no: 0,
        id: PackId::new(*id),
        kind: ObjectKind::from_u8(*kind)?,
        stored_bytes: u64::from_le_bytes(*stored_bytes),
        chunks: u32::from_le_bytes(*chunks),
    };
    Some((ObjectId::new(*index), row, blocks))
}
