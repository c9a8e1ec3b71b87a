//! Index objects as they are written: records gather in blocks, blocks in an object, and objects are closed at a size, so that
//! a run of any length holds a bounded list in memory.

use super::super::Repository;
use super::super::object::{BuiltObject, EncodedBlock, ObjectBuilder, key_of};
use crate::codec::Compressor;
use crate::crypto::seal::WriterKeys;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::index::PackRecord;
use crate::id::PackId;

/// Raw bytes at which a block of an index object is closed.
const BLOCK_BYTES: usize = 1 << 20;
/// Stored bytes at which an index object is closed.
pub(crate) const OBJECT_BYTES: usize = 8 << 20;
/// Level for directories and index objects: mostly ids, which do not compress.
pub(crate) const LEVEL: i32 = 1;

/// Writes index objects.
pub(crate) struct Indexer {
    keys: WriterKeys,
    compressor: Compressor,
    builder: Option<ObjectBuilder>,
    block: Vec<u8>,
    /// Packs that the object in progress lists.
    listed: Vec<PackId>,
    /// Stored bytes of the objects written since somebody asked.
    written: u64,
}

impl Indexer {
    pub(crate) fn new(keys: &WriterKeys) -> Result<Self> {
        Ok(Self {
            keys: keys.clone(),
            compressor: compressor()?,
            builder: None,
            block: Vec::new(),
            listed: Vec::new(),
            written: 0,
        })
    }

    /// Lists a durable pack; an object that is full is written.
    pub(crate) fn add(&mut self, repository: &Repository, record: &PackRecord) -> Result<()> {
        record.encode(&mut self.block);
        self.listed.push(record.id);
        if self.block.len() >= BLOCK_BYTES {
            self.close_block()?;
        }
        let full = |index: &ObjectBuilder| index.stored_bytes() >= OBJECT_BYTES;
        if self.builder.as_ref().is_some_and(full) {
            self.write(repository)?;
        }
        Ok(())
    }

    /// True if the object in progress lists this pack.
    pub(crate) fn lists(&self, id: &PackId) -> bool {
        self.listed.contains(id)
    }

    fn close_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = EncodedBlock::new(&self.block, Vec::new(), &mut self.compressor)?;
        self.block.clear();
        let builder = match self.builder.take() {
            Some(builder) => builder,
            None => ObjectBuilder::new(&self.keys, ObjectKind::Index, Vec::new())?,
        };
        self.builder.insert(builder).add(block)
    }

    /// Writes the object in progress, if it lists anything, and tells the catalog.
    pub(crate) fn write(&mut self, repository: &Repository) -> Result<()> {
        self.close_block()?;
        let Some(builder) = self.builder.take() else {
            return Ok(());
        };
        let object = builder.finish(&mut self.compressor)?;
        store(repository, &object)?;
        self.written += object.bytes.len() as u64;
        repository
            .catalog()
            .note_index_object(&object.id, &self.listed)?;
        self.listed.clear();
        Ok(())
    }

    /// Stored bytes written since this was asked last.
    pub(crate) fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }
}

/// A compressor for directories and index objects.
pub(super) fn compressor() -> Result<Compressor> {
    Compressor::new(LEVEL).map_err(|e| Error::caused(Class::Io, "start a compressor", e))
}

/// Makes an object durable.
pub(super) fn store(repository: &Repository, object: &BuiltObject) -> Result<()> {
    let key = key_of(object.kind, &object.id);
    match repository.backend().write_new(&key, &object.bytes) {
        // The name is the hash of the bytes: what is there already is this very object.
        Err(e) if e.class() == Class::Exists => Ok(()),
        other => other,
    }
}
