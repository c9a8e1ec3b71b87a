//! The single decision whether a chunk is stored: the first who claims an unknown id stores it.
//!
//! Ids with a home that stays ([`Homes`]) are known. Ids claimed by this run are held in memory until their pack is in the catalog, so
//! the memory is bounded by the packs in progress, not by the size of the ingest.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::super::lock;
use super::homes::Homes;
use crate::error::Result;
use crate::format::pack::Directory;
use crate::id::ShortChunkId;

pub(super) struct Claims {
    homes: Arc<Homes>,
    pending: Mutex<HashSet<ShortChunkId>>,
}

impl Claims {
    pub(super) fn new(homes: &Arc<Homes>) -> Self {
        Self {
            homes: Arc::clone(homes),
            pending: Mutex::default(),
        }
    }

    /// True if the caller must store the chunk: nobody has, and nobody else will.
    pub(super) fn claim(&self, id: &ShortChunkId) -> Result<bool> {
        if self.has(id)? {
            return Ok(false);
        }
        // Between the two looks another worker may have claimed it; the insertion decides. A pack that was
        // finished in between only means that the chunk is stored once more, which is harmless.
        Ok(lock(&self.pending).insert(*id))
    }

    /// True if this run has claimed the chunk and its pack is not finished.
    pub(super) fn is_pending(&self, id: &ShortChunkId) -> bool {
        lock(&self.pending).contains(id)
    }

    /// True if nobody in this run has claimed the chunk, whoever else stored it.
    pub(super) fn claim_own(&self, id: &ShortChunkId) -> bool {
        lock(&self.pending).insert(*id)
    }

    /// True if the chunk is stored or will be.
    pub(super) fn has(&self, id: &ShortChunkId) -> Result<bool> {
        if lock(&self.pending).contains(id) {
            return Ok(true);
        }
        self.homes.has(id)
    }

    /// The chunks of this pack are in the catalog now.
    pub(super) fn settle(&self, directory: &Directory) {
        let mut pending = lock(&self.pending);
        for block in &directory.blocks {
            for chunk in &block.chunks {
                pending.remove(&chunk.id);
            }
        }
    }
}
