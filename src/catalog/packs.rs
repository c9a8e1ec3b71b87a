//! Packs: taking them in with their chunks, from index objects or alone, and forgetting them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::pack_row::{Columns, Pack, PackRow, decode_blocks, pack_row};
use super::{Catalog, schema};
use crate::error::{Error, Result};
use crate::format::MAX_OBJECT_BYTES;
use crate::format::index::PackRecord;
use crate::id::{ObjectId, PackId, ShortChunkId};

/// How many packs are read at a time while listing.
const PAGE: usize = 256;
/// Chunks per write transaction: other processes wait for it, and its rows are in memory.
const TRANSACTION_CHUNKS: usize = 1 << 18;

impl Catalog {
    /// Takes in packs and their chunks. Packs that are known already stay as they are.
    pub fn add_packs(&self, records: &[PackRecord]) -> Result<()> {
        for group in grouped(records) {
            self.take_in(group, &[], &[])?;
        }
        Ok(())
    }

    /// Takes in what an index object lists, and last that it was taken in.
    pub fn add_index_object(&self, id: &ObjectId, records: &[PackRecord]) -> Result<()> {
        self.add_packs(records)?;
        let packs: Vec<PackId> = records.iter().map(|record| record.id).collect();
        self.note_index_object(id, &packs)
    }

    /// Takes in packs, which index object lists which pack, and index objects whose packs are all there then, in one transaction.
    pub(super) fn take_in(
        &self,
        records: &[PackRecord],
        listed: &[(PackId, ObjectId)],
        whole: &[ObjectId],
    ) -> Result<()> {
        records.iter().try_for_each(judge)?;
        if records.is_empty() && listed.is_empty() && whole.is_empty() {
            return Ok(());
        }
        self.connections.write(|transaction| {
            insert(transaction, records)?;
            super::listings::insert(transaction, listed, whole)
        })
    }

    /// Whether a pack is known.
    pub fn has_pack(&self, id: &PackId) -> Result<bool> {
        self.connections.read(|connection| {
            let sql = "SELECT 1 FROM packs WHERE id = ?1";
            connection.prepare_cached(sql)?.exists([&id.as_bytes()[..]])
        })
    }

    /// Tells every pack, the oldest first. `each` may call the catalog.
    pub fn packs(&self, mut each: impl FnMut(PackRow) -> Result<()>) -> Result<()> {
        let mut after = 0;
        loop {
            let page = self.connections.read(|connection| {
                let sql = "SELECT no, id, kind, stored_bytes, chunks FROM packs \
                           WHERE no > ?1 ORDER BY no LIMIT ?2";
                let mut statement = connection.prepare_cached(sql)?;
                let page = i64::try_from(PAGE).unwrap_or(1);
                let rows = statement.query_map((after, page), columns)?;
                rows.collect::<rusqlite::Result<Vec<Columns>>>()
            })?;
            let count = page.len();
            for row in page {
                let row = pack_row(&row).ok_or_else(|| self.connections.damaged_row())?;
                after = row.no;
                each(row)?;
            }
            if count < PAGE {
                return Ok(());
            }
        }
    }

    /// Tells every pack that an index object lists, with the raw bytes in it, the oldest first. `each` may call the catalog.
    pub fn listed_packs(&self, mut each: impl FnMut(PackRow, u64) -> Result<()>) -> Result<()> {
        let mut after = 0;
        loop {
            let page = self.connections.read(|connection| {
                let sql = "SELECT no, id, kind, stored_bytes, chunks, blocks FROM packs \
                           WHERE no > ?1 AND EXISTS (SELECT 1 FROM listings WHERE pack_id = packs.id) \
                           ORDER BY no LIMIT ?2";
                let mut statement = connection.prepare_cached(sql)?;
                let page = i64::try_from(PAGE).unwrap_or(1);
                let rows = statement.query_map((after, page), |row| {
                    Ok((columns(row)?, row.get::<_, Vec<u8>>(5)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            })?;
            let count = page.len();
            for (row, blocks) in page {
                let row = pack_row(&row).ok_or_else(|| self.connections.damaged_row())?;
                let blocks =
                    decode_blocks(&row, &blocks).ok_or_else(|| self.connections.damaged_row())?;
                after = row.no;
                each(
                    row,
                    blocks.iter().map(|block| u64::from(block.raw_bytes)).sum(),
                )?;
            }
            if count < PAGE {
                return Ok(());
            }
        }
    }

    /// How many packs there are, and their stored bytes together.
    pub fn pack_totals(&self) -> Result<(u64, u64)> {
        let sql = "SELECT count(*), coalesce(sum(stored_bytes), 0) FROM packs";
        let (count, bytes): (i64, i64) = self.connections.read(|connection| {
            connection
                .prepare_cached(sql)?
                .query_one([], |row| Ok((row.get(0)?, row.get(1)?)))
        })?;
        Ok((count.unsigned_abs(), bytes.unsigned_abs()))
    }

    /// Forgets packs and the homes they gave to chunks, and counts up [`Catalog::removals`]. Reads through the whole
    /// table of chunks: call it once with all of them.
    pub fn remove_packs(&self, ids: &[PackId]) -> Result<()> {
        self.connections.write(|transaction| {
            transaction.execute_batch(
                "CREATE TEMP TABLE IF NOT EXISTS removed (no INTEGER PRIMARY KEY); DELETE FROM removed;",
            )?;
            {
                let mut mark = transaction
                    .prepare_cached("INSERT INTO removed SELECT no FROM packs WHERE id = ?1")?;
                for id in ids {
                    mark.execute([&id.as_bytes()[..]])?;
                }
            }
            {
                // Part by part: SQLite gathers the keys of what a statement deletes in memory before it deletes.
                let mut part = transaction.prepare_cached(
                    "DELETE FROM chunks WHERE id >= ?1 AND id < ?2 AND pack_no IN (SELECT no FROM removed)",
                )?;
                for first in 0..=u8::MAX {
                    // Longer than any id.
                    let beyond = match first.checked_add(1) {
                        Some(next) => vec![next],
                        None => vec![u8::MAX; ShortChunkId::LEN + 1],
                    };
                    part.execute((&[first][..], beyond))?;
                }
            }
            transaction.execute_batch(
                "DELETE FROM packs WHERE no IN (SELECT no FROM removed);
                 DELETE FROM removed;
                 UPDATE state SET value = value + 1 WHERE name = 'removals';",
            )
        })
    }

    /// Counts up whenever something known may have gone: who remembers answers of the catalog forgets them then.
    pub fn removals(&self) -> Result<u64> {
        let sql = "SELECT value FROM state WHERE name = 'removals'";
        let count: i64 = self.connections.read(|connection| {
            connection
                .prepare_cached(sql)?
                .query_one([], |row| row.get(0))
        })?;
        Ok(count.unsigned_abs())
    }

    /// Forgets everything derived, for a rebuild.
    pub fn clear(&self) -> Result<()> {
        self.connections
            .write(|transaction| transaction.execute_batch(schema::CLEAR))
    }

    /// Why its file could not be written any more, if it moved to memory since this was asked last. The process goes on with all that
    /// was known; what is new is known to it alone.
    pub fn take_moved(&self) -> Option<String> {
        self.connections.take_moved()
    }

    /// Whether an operation met damage. The file is dropped then, and the next opening makes a new one.
    pub fn is_damaged(&self) -> bool {
        self.connections.is_damaged()
    }

    /// The row of the pack with this number, if it is still known.
    pub fn pack_row(&self, no: i64) -> Result<Option<PackRow>> {
        Ok(self.pack(no)?.map(|pack| pack.row))
    }

    /// The pack with this number, if it is still known.
    pub(super) fn pack(&self, no: i64) -> Result<Option<Arc<Pack>>> {
        if let Some(pack) = self.packs.get(no) {
            return Ok(Some(pack));
        }
        let found = self.connections.read(|connection| {
            let sql = "SELECT no, id, kind, stored_bytes, chunks, blocks FROM packs WHERE no = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            statement
                .query_row([no], |row| Ok((columns(row)?, row.get::<_, Vec<u8>>(5)?)))
                .optional()
        })?;
        let Some((row, blocks)) = found else {
            return Ok(None);
        };
        let pack = pack_row(&row)
            .and_then(|row| {
                let blocks = decode_blocks(&row, &blocks)?;
                Some(Arc::new(Pack { row, blocks }))
            })
            .ok_or_else(|| self.connections.damaged_row())?;
        self.packs.put(no, &pack);
        Ok(Some(pack))
    }

    /// All ids that a statement finds.
    pub(super) fn ids(&self, sql: &str) -> Result<Vec<ObjectId>> {
        let ids = self.connections.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        ids.iter()
            .map(|id| ObjectId::from_slice(id).ok_or_else(|| self.connections.damaged_row()))
            .collect()
    }
}

/// The columns of [`Columns`], which the statement selects first.
fn columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<Columns> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
    ))
}

/// Refuses a record that cannot be of any pack.
pub(super) fn judge(record: &PackRecord) -> Result<()> {
    let end = record.directory.offsets().last();
    if end.is_none_or(|end| end > record.stored_bytes.min(MAX_OBJECT_BYTES)) {
        let id = record.id;
        return Err(Error::corrupt(format!(
            "pack {id} is listed with blocks beyond its end"
        )));
    }
    Ok(())
}

/// Records in groups of few enough chunks for one transaction; at least one record each.
fn grouped(records: &[PackRecord]) -> impl Iterator<Item = &[PackRecord]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut chunks = 0;
        let fit = rest.iter().take_while(|record| {
            chunks += record.directory.chunk_count();
            chunks <= TRANSACTION_CHUNKS
        });
        let count = fit.count().max(1).min(rest.len());
        let (group, others) = rest.split_at(count);
        rest = others;
        (!group.is_empty()).then_some(group)
    })
}

fn insert(transaction: &Transaction<'_>, records: &[PackRecord]) -> rusqlite::Result<()> {
    let mut rows = Vec::new();
    for record in records {
        if let Some(no) = insert_pack(transaction, record)? {
            super::chunks::collect(record, no, &mut rows);
        }
    }
    super::chunks::insert(transaction, &mut rows)
}

/// Inserts the row of a pack; nothing if it is known.
fn insert_pack(connection: &Connection, record: &PackRecord) -> rusqlite::Result<Option<i64>> {
    let (row, blocks) = PackRow::of(record);
    insert_row(connection, &row, &blocks)
}

/// The same of a row and its blocks as they are stored; its number.
pub(super) fn insert_row(
    connection: &Connection,
    row: &PackRow,
    blocks: &[u8],
) -> rusqlite::Result<Option<i64>> {
    let inserted = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO packs (id, kind, stored_bytes, chunks, blocks) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            &row.id.as_bytes()[..],
            row.kind as i64,
            row.stored_bytes.cast_signed(),
            row.chunks,
            blocks,
        ))?;
    Ok((inserted == 1).then(|| connection.last_insert_rowid()))
}
