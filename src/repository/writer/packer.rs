//! The packer: one thread that seals blocks into packs, writes them, and lists them in index objects.
//!
//! A pack is durable before the catalog knows it, and an index object lists durable packs only. Index objects are written
//! as they fill, so that an ingest of any size holds a bounded list in memory; the last one is written when
//! the writer finishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use super::super::object::{BuiltObject, EncodedBlock, ObjectBuilder, key_of, read_directory};
use super::{Shared, ToPacker, spawn_thread};
use crate::codec::Compressor;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::index::PackRecord;
use crate::id::PackId;
use crate::progress::Count;

/// Raw bytes at which a block of an index object is closed.
const INDEX_BLOCK_BYTES: usize = 1 << 20;
/// Stored bytes at which an index object is closed.
const INDEX_BYTES: usize = 8 << 20;
/// Level for directories and index objects: mostly ids, which do not compress.
const DIRECTORY_LEVEL: i32 = 1;

pub(super) fn spawn(shared: &Arc<Shared>, blocks: Receiver<ToPacker>) -> Result<JoinHandle<()>> {
    let mut packer = Packer {
        shared: Arc::clone(shared),
        compressor: Compressor::new(DIRECTORY_LEVEL)
            .map_err(|e| Error::caused(Class::Io, "start a compressor", e))?,
        data: None,
        meta: None,
        index: None,
        index_block: Vec::new(),
        listed: Vec::new(),
        spare: Vec::new(),
    };
    spawn_thread("packer", shared, move || {
        for message in blocks {
            if packer.shared.failed.load(Ordering::Acquire) {
                continue;
            }
            if let Err(e) = packer.take(message) {
                packer.shared.fail(e);
            }
        }
        if !packer.shared.failed.load(Ordering::Acquire)
            && let Err(e) = packer.finish()
        {
            packer.shared.fail(e);
        }
    })
}

struct Packer {
    shared: Arc<Shared>,
    compressor: Compressor,
    data: Option<ObjectBuilder>,
    meta: Option<ObjectBuilder>,
    index: Option<ObjectBuilder>,
    index_block: Vec<u8>,
    /// Packs that the index object in progress lists.
    listed: Vec<PackId>,
    spare: Vec<Vec<u8>>,
}

impl Packer {
    fn take(&mut self, message: ToPacker) -> Result<()> {
        match message {
            ToPacker::Data(block) => self.add_data(block),
            ToPacker::Meta(block) => {
                let builder = match self.meta.take() {
                    Some(builder) => builder,
                    None => self.builder(ObjectKind::MetaPack)?,
                };
                self.meta.insert(builder).add(block)
            }
            ToPacker::Flush => {
                self.write(|packer| packer.data.take())?;
                self.write(|packer| packer.meta.take())
            }
        }
    }

    fn add_data(&mut self, block: EncodedBlock) -> Result<()> {
        // A pack is closed before the block that would take it beyond its target: full packs then end just below
        // a Padme length and waste little on padding.
        let pack_bytes = self.shared.repository.config().blocks.pack_bytes as usize;
        if self
            .data
            .as_ref()
            .is_some_and(|data| !data.has_room(&block, pack_bytes))
        {
            self.write(|packer| packer.data.take())?;
        }
        let builder = match self.data.take() {
            Some(builder) => builder,
            None => self.builder(ObjectKind::DataPack)?,
        };
        self.data.insert(builder).add(block)
    }

    fn builder(&mut self, kind: ObjectKind) -> Result<ObjectBuilder> {
        ObjectBuilder::new(
            &self.shared.keys,
            kind,
            self.spare.pop().unwrap_or_default(),
        )
    }

    /// Finishes a pack, makes it durable, then tells the catalog and the index.
    fn write(&mut self, which: impl FnOnce(&mut Self) -> Option<ObjectBuilder>) -> Result<()> {
        let Some(builder) = which(self).filter(|b| b.block_count() > 0) else {
            return Ok(());
        };
        let object = builder.finish(&mut self.compressor)?;
        self.store(&object)?;
        let BuiltObject {
            kind,
            id,
            bytes,
            directory,
        } = object;
        let record = PackRecord {
            id,
            kind,
            stored_bytes: bytes.len() as u64,
            directory,
        };
        let catalog = self.shared.repository.catalog();
        catalog.note_unindexed(&id, kind)?;
        catalog.add_packs(std::slice::from_ref(&record))?;
        self.shared.claims.settle(&record.directory);
        self.shared.totals.packs.fetch_add(1, Ordering::Relaxed);
        self.list(&record)?;
        self.spare.push(bytes);
        Ok(())
    }

    fn store(&self, object: &BuiltObject) -> Result<()> {
        let backend = self.shared.repository.backend();
        match backend.write_new(&key_of(object.kind, &object.id), &object.bytes) {
            // The name is the hash of the bytes: what is there already is this very object.
            Err(e) if e.class() == Class::Exists => {}
            other => other?,
        }
        let bytes = object.bytes.len() as u64;
        self.shared
            .totals
            .stored_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.shared.monitor.add(Count::StoredBytes, bytes);
        Ok(())
    }

    /// Adds a pack to the index object in progress.
    fn list(&mut self, record: &PackRecord) -> Result<()> {
        record.encode(&mut self.index_block);
        self.listed.push(record.id);
        if self.index_block.len() >= INDEX_BLOCK_BYTES {
            self.close_index_block()?;
        }
        if self
            .index
            .as_ref()
            .is_some_and(|index| index.stored_bytes() >= INDEX_BYTES)
        {
            self.write_index()?;
        }
        Ok(())
    }

    fn close_index_block(&mut self) -> Result<()> {
        if self.index_block.is_empty() {
            return Ok(());
        }
        let block = EncodedBlock::new(&self.index_block, Vec::new(), &mut self.compressor)?;
        self.index_block.clear();
        let builder = match self.index.take() {
            Some(builder) => builder,
            None => self.builder(ObjectKind::Index)?,
        };
        self.index.insert(builder).add(block)
    }

    fn write_index(&mut self) -> Result<()> {
        self.close_index_block()?;
        let Some(builder) = self.index.take() else {
            return Ok(());
        };
        let object = builder.finish(&mut self.compressor)?;
        self.store(&object)?;
        let catalog = self.shared.repository.catalog();
        catalog.add_index_object(&object.id, &[])?;
        catalog.mark_indexed(&self.listed)?;
        self.listed.clear();
        self.spare.push(object.bytes);
        Ok(())
    }

    /// Lists the packs that an interrupted run left without an index object as well, then writes the last index object.
    /// Trees that were not flushed belong to a run that was given up: the chunks that they name may be nowhere.
    fn finish(&mut self) -> Result<()> {
        self.write(|packer| packer.data.take())?;
        let shared = Arc::clone(&self.shared);
        let repository = &shared.repository;
        for (id, kind) in repository.catalog().unindexed_packs()? {
            if self.listed.contains(&id) {
                continue;
            }
            match read_directory(repository.backend().as_ref(), repository.keys(), kind, &id) {
                Ok((directory, stored_bytes)) => {
                    self.list(&PackRecord {
                        id,
                        kind,
                        stored_bytes,
                        directory,
                    })?;
                }
                Err(e) if e.class() == Class::NotFound => {
                    repository.catalog().remove_packs(&[id])?;
                }
                Err(e) => shared
                    .monitor
                    .warn(&format!("a pack cannot be listed: {e}")),
            }
        }
        self.write_index()
    }
}
