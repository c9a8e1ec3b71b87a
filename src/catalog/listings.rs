//! Index objects: which were taken in, and which packs each of them lists.
//!
//! Packs that none lists are those of a run in progress, and those that an interrupted run left: the next writer lists them in its own
//! index object, so that other clients learn of them.

use std::collections::HashSet;

use rusqlite::Transaction;

use super::Catalog;
use crate::error::Result;
use crate::format::header::ObjectKind;
use crate::id::{ObjectId, PackId};

impl Catalog {
    /// Whether all of an index object was taken in.
    pub fn has_index_object(&self, id: &ObjectId) -> Result<bool> {
        self.connections.read(|connection| {
            let sql = "SELECT 1 FROM index_objects WHERE id = ?1 AND whole = 1";
            connection.prepare_cached(sql)?.exists([&id.as_bytes()[..]])
        })
    }

    /// All index objects that were taken in.
    pub fn index_objects(&self) -> Result<Vec<ObjectId>> {
        self.ids("SELECT id FROM index_objects WHERE whole = 1")
    }

    /// Notes a durable index object that lists `packs`, which are all there.
    pub fn note_index_object(&self, id: &ObjectId, packs: &[PackId]) -> Result<()> {
        let listed: Vec<_> = packs.iter().map(|pack| (*pack, *id)).collect();
        self.take_in(&[], &listed, std::slice::from_ref(id))
    }

    /// Forgets index objects and what they list; their packs stay.
    pub fn remove_index_objects(&self, ids: &[ObjectId]) -> Result<()> {
        self.connections.write(|transaction| {
            let mut unlist =
                transaction.prepare_cached("DELETE FROM listings WHERE index_id = ?1")?;
            let mut delete =
                transaction.prepare_cached("DELETE FROM index_objects WHERE id = ?1")?;
            for id in ids {
                unlist.execute([&id.as_bytes()[..]])?;
                delete.execute([&id.as_bytes()[..]])?;
            }
            Ok(())
        })
    }

    /// Forgets every index object that is not among `stored`.
    pub fn keep_index_objects(&self, stored: &HashSet<ObjectId>) -> Result<()> {
        let mut gone = self.ids("SELECT id FROM index_objects")?;
        gone.retain(|id| !stored.contains(id));
        if gone.is_empty() {
            return Ok(());
        }
        self.remove_index_objects(&gone)
    }

    /// The index objects that list a pack, which need not be known.
    pub fn listings(&self, pack: &PackId) -> Result<Vec<ObjectId>> {
        let rows = self.connections.read(|connection| {
            let sql = "SELECT index_id FROM listings WHERE pack_id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([&pack.as_bytes()[..]], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<Vec<u8>>>>()
        })?;
        rows.iter()
            .map(|id| ObjectId::from_slice(id).ok_or_else(|| self.connections.damaged_row()))
            .collect()
    }

    /// The packs that no index object lists.
    pub fn unindexed_packs(&self) -> Result<Vec<(PackId, ObjectKind)>> {
        let rows: Vec<(Vec<u8>, u8)> = self.connections.read(|connection| {
            let sql = "SELECT id, kind FROM packs \
                       WHERE NOT EXISTS (SELECT 1 FROM listings WHERE pack_id = packs.id)";
            connection
                .prepare_cached(sql)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.iter()
            .map(|(id, kind)| {
                let row = ObjectId::from_slice(id).zip(ObjectKind::from_u8(*kind));
                row.ok_or_else(|| self.connections.damaged_row())
            })
            .collect()
    }
}

/// Notes which index objects list which packs, and which of them were taken in as a whole.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    listed: &[(PackId, ObjectId)],
    whole: &[ObjectId],
) -> rusqlite::Result<()> {
    let mut list = transaction.prepare_cached("INSERT OR IGNORE INTO listings VALUES (?1, ?2)")?;
    let mut begin =
        transaction.prepare_cached("INSERT OR IGNORE INTO index_objects VALUES (?1, 0)")?;
    let mut last = None;
    for (pack, index) in listed {
        if last.replace(index) != Some(index) {
            begin.execute([&index.as_bytes()[..]])?;
        }
        list.execute((&pack.as_bytes()[..], &index.as_bytes()[..]))?;
    }
    let mut end =
        transaction.prepare_cached("INSERT OR REPLACE INTO index_objects VALUES (?1, 1)")?;
    for id in whole {
        end.execute([&id.as_bytes()[..]])?;
    }
    Ok(())
}
