//! The storer: one thread that finishes packs, makes them durable, and lists them in index objects, while the packer
//! fills the next one.
//!
//! Packs come in the order in which they must become durable. A pack is durable before the catalog knows it, and an index
//! object lists durable packs only. Index objects are written as they fill, so that an ingest of any size holds a bounded
//! list in memory; the last one is written when the writer finishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use super::super::lock;
use super::super::object::{BuiltObject, ObjectBuilder};
use super::indexer::{Indexer, compressor, store};
use super::{Shared, spawn_thread};
use crate::codec::Compressor;
use crate::error::{Class, Result};
use crate::format::header::ObjectKind;
use crate::format::index::PackRecord;
use crate::progress::Count;

pub(super) fn spawn(
    shared: &Arc<Shared>,
    packs: Receiver<ObjectBuilder>,
) -> Result<JoinHandle<()>> {
    let mut storer = Storer {
        shared: Arc::clone(shared),
        compressor: compressor()?,
        indexer: Indexer::new(&shared.keys)?,
    };
    spawn_thread("storer", shared, move || {
        for pack in packs {
            if storer.shared.failed.load(Ordering::Acquire) {
                continue;
            }
            if let Err(e) = storer.write(pack) {
                storer.shared.fail(e);
            }
        }
        if !storer.shared.failed.load(Ordering::Acquire)
            && let Err(e) = storer.finish()
        {
            storer.shared.fail(e);
        }
    })
}

struct Storer {
    shared: Arc<Shared>,
    compressor: Compressor,
    indexer: Indexer,
}

impl Storer {
    /// Finishes a pack, makes it durable, then tells the catalog and the index.
    fn write(&mut self, pack: ObjectBuilder) -> Result<()> {
        let object = pack.finish(&mut self.compressor)?;
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
        let catalog = self.shared.repository.catalog();
        catalog.add_packs(std::slice::from_ref(&record))?;
        self.shared.claims.settle(&record.directory);
        self.shared.totals.packs.fetch_add(1, Ordering::Relaxed);
        self.list(&record)?;
        if kind == ObjectKind::DataPack {
            lock(&self.shared.pack_buffers).push(bytes);
        }
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

    /// Adds a pack to the index object in progress.
    fn list(&mut self, record: &PackRecord) -> Result<()> {
        self.indexer.add(&self.shared.repository, record)?;
        let written = self.indexer.take_written();
        self.count(written);
        Ok(())
    }

    /// Lists the packs that an interrupted run left without an index object as well, then writes the last index object. Those
    /// that a plan condemns are on their way out.
    fn finish(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let repository = &shared.repository;
        for (id, kind) in repository.catalog().unindexed_packs()? {
            if self.indexer.lists(&id) || shared.homes.is_condemned(&id) {
                continue;
            }
            match repository.own_record(kind, &id) {
                Ok(record) => self.list(&record)?,
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
