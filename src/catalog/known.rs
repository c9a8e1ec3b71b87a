//! What each source path was last time: values under keyed hashes, both the caller's secret.

use rusqlite::OptionalExtension;

use super::Catalog;
use crate::error::Result;

/// A row to be stored: key, part, sealed value.
pub type KnownRow<'a> = (&'a [u8; 16], u32, &'a [u8]);

impl Catalog {
    /// The value of one part of a key.
    pub fn known(&self, key: &[u8; 16], part: u32) -> Result<Option<Vec<u8>>> {
        self.connections.read(|connection| {
            connection
                .prepare_cached("SELECT value FROM known WHERE key = ?1 AND part = ?2")?
                .query_row((&key[..], part), |row| row.get(0))
                .optional()
        })
    }

    /// Stores values, replacing older ones, in one transaction. Sorted by key it is fastest.
    pub fn put_known(&self, rows: &[KnownRow<'_>]) -> Result<()> {
        self.connections.write(|transaction| {
            let mut put =
                transaction.prepare_cached("INSERT OR REPLACE INTO known VALUES (?1, ?2, ?3)")?;
            for (key, part, value) in rows {
                put.execute((&key[..], part, value))?;
            }
            Ok(())
        })
    }

    /// Forgets the parts of a key from `from_part` on.
    pub fn trim_known(&self, key: &[u8; 16], from_part: u32) -> Result<()> {
        self.connections.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM known WHERE key = ?1 AND part >= ?2")?
                .execute((&key[..], from_part))?;
            Ok(())
        })
    }
}
