//! The packer: one thread that seals blocks into packs, writes them, and lists them in index objects.
//!
//! A pack is durable before the catalog knows it, and an index object lists durable packs only. Index objects are written
//! as they fill, so that an ingest of any size holds a bounded list in memory; the last one is written when
//! the writer finishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use super::super::object::{BuiltObject, EncodedBlock, ObjectBuilder, read_directory};
use super::indexer::{Indexer, compressor, store};
use super::{Shared, ToPacker, spawn_thread};
use crate::codec::Compressor;
use crate::error::{Class, Result};
use crate::format::header::ObjectKind;
use crate::format::index::PackRecord;
use crate::progress::Count;

pub(super) fn spawn(shared: &Arc<Shared>, blocks: Receiver<ToPacker>) -> Result<JoinHandle<()>> {
    let mut packer = Packer {
        shared: Arc::clone(shared),
        compressor: compressor()?,
        data: None,
        meta: None,
        indexer: Indexer::new(&shared.keys)?,
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
    indexer: Indexer,
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
        self.shared.homes.add_own(record.id);
        self.shared
            .repository
            .catalog()
            .add_packs(std::slice::from_ref(&record))?;
        self.shared.claims.settle(&record.directory);
        self.shared.totals.packs.fetch_add(1, Ordering::Relaxed);
        self.list(&record)?;
        self.spare.push(bytes);
        Ok(())
    }

    fn store(&self, object: &BuiltObject) -> Result<()> {
        store(&self.shared.repository, object)?;
        self.count(object.bytes.len() as u64);
        Ok(())
    }

    fn count(&self, stored_bytes: u64) {
        let total = &self.shared.totals.stored_bytes;
        total.fetch_add(stored_bytes, Ordering::Relaxed);
        self.shared.monitor.add(Count::StoredBytes, stored_bytes);
    }

    fn list(&mut self, record: &PackRecord) -> Result<()> {
        self.indexer.add(&self.shared.repository, record)?;
        let written = self.indexer.take_written();
        self.count(written);
        Ok(())
    }

    /// Lists the packs that an interrupted run left without an index object as well, then writes the last index object. Those that a
    /// plan condemns are on their way out.
    /// Trees that were not flushed belong to a run that was given up: the chunks that they name may be nowhere.
    fn finish(&mut self) -> Result<()> {
        self.write(|packer| packer.data.take())?;
        let shared = Arc::clone(&self.shared);
        let repository = &shared.repository;
        for (id, kind) in repository.catalog().unindexed_packs()? {
            if self.indexer.lists(&id) || shared.homes.is_condemned(&id) {
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
        self.indexer.write(repository)?;
        let written = self.indexer.take_written();
        self.count(written);
        Ok(())
    }
}
