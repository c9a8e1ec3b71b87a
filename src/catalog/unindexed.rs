//! Packs that no index object lists yet: those of a run in progress, and those that an interrupted run left.
//!
//! The next writer lists them in its own index object, so that other clients learn of them. A pack is noted here before
//! its chunks are added, so that an interruption in between can only note too much.

use super::Catalog;
use crate::error::{Error, Result};
use crate::format::header::ObjectKind;
use crate::id::{ObjectId, PackId};

impl Catalog {
    /// Notes a pack that no index object lists.
    pub fn note_unindexed(&self, id: &PackId, kind: ObjectKind) -> Result<()> {
        self.connections.write(|transaction| {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO unindexed VALUES (?1, ?2)")?
                .execute((&id.as_bytes()[..], kind as u8))?;
            Ok(())
        })
    }

    /// The packs that no index object lists.
    pub fn unindexed_packs(&self) -> Result<Vec<(PackId, ObjectKind)>> {
        let rows: Vec<(Vec<u8>, u8)> = self.connections.read(|connection| {
            connection
                .prepare_cached("SELECT id, kind FROM unindexed")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.iter()
            .map(|(id, kind)| ObjectId::from_slice(id).zip(ObjectKind::from_u8(*kind)))
            .collect::<Option<_>>()
            .ok_or_else(|| Error::corrupt("the catalog has a bad row: delete it, it is rebuilt"))
    }

    /// These packs are listed by a durable index object now.
    pub fn mark_indexed(&self, ids: &[PackId]) -> Result<()> {
        self.connections.write(|transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM unindexed WHERE id = ?1")?;
            for id in ids {
                delete.execute([&id.as_bytes()[..]])?;
            }
            Ok(())
        })
    }
}
