//! Snapshots, so that listing them reads nothing from the store: sealed by the caller, by id.

use super::Catalog;
use crate::error::Result;
use crate::id::{ObjectId, SnapshotId};

impl Catalog {
    /// All snapshots with their sealed values, in no order.
    pub fn snapshots(&self) -> Result<Vec<(SnapshotId, Vec<u8>)>> {
        let rows = self.connections.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, sealed FROM snapshots")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(Vec<u8>, Vec<u8>)>>>()
        })?;
        rows.into_iter()
            .map(|(id, sealed)| match ObjectId::from_slice(&id) {
                Some(id) => Ok((id, sealed)),
                None => Err(self.connections.damaged_row()),
            })
            .collect()
    }

    /// Keeps the sealed value of a snapshot.
    pub fn put_snapshot(&self, id: &SnapshotId, sealed: &[u8]) -> Result<()> {
        self.connections.write(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO snapshots VALUES (?1, ?2)")?
                .execute((&id.as_bytes()[..], sealed))?;
            Ok(())
        })
    }

    /// Forgets a snapshot.
    pub fn remove_snapshot(&self, id: &SnapshotId) -> Result<()> {
        self.connections.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM snapshots WHERE id = ?1")?
                .execute([&id.as_bytes()[..]])?;
            Ok(())
        })
    }
}
