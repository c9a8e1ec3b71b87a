//! Taking in much at once, as after a lost catalog.
//!
//! Chunk ids are random, so every transaction touches pages all over the table, and few large transactions write far
//! less than many small ones. A [`Loader`] gathers records over any number of index objects, up to a bound in memory.

use super::Catalog;
use super::packs::TRANSACTION_CHUNKS;
use crate::error::Result;
use crate::format::index::PackRecord;
use crate::id::{ObjectId, PackId};

/// Gathers packs and index objects. What was not flushed when it is dropped is not taken in, and is read again next time.
#[derive(Debug)]
pub struct Loader<'a> {
    catalog: &'a Catalog,
    records: Vec<PackRecord>,
    chunks: usize,
    listed: Vec<(PackId, ObjectId)>,
    indexes: Vec<ObjectId>,
}

impl Catalog {
    /// A loader into this catalog.
    pub fn loader(&self) -> Loader<'_> {
        Loader {
            catalog: self,
            records: Vec::new(),
            chunks: 0,
            listed: Vec::new(),
            indexes: Vec::new(),
        }
    }
}

impl Loader<'_> {
    /// Takes in a pack that the index object `index` lists. One that cannot be is refused alone: what was added before it stays.
    pub fn add(&mut self, index: ObjectId, record: PackRecord) -> Result<()> {
        super::packs::judge(&record)?;
        self.listed.push((record.id, index));
        self.chunks += record.directory.chunk_count();
        self.records.push(record);
        if self.chunks >= TRANSACTION_CHUNKS {
            self.flush()?;
        }
        Ok(())
    }

    /// Notes an index object all of whose packs were added before.
    pub fn index_object(&mut self, id: ObjectId) {
        self.indexes.push(id);
    }

    /// Makes all of it part of the catalog.
    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.catalog
            .take_in(&self.records, &self.listed, &self.indexes)?;
        self.records.clear();
        self.listed.clear();
        self.indexes.clear();
        self.chunks = 0;
        Ok(())
    }
}
