//! Storing again what lies in condemned packs only: what a prune repacks.

use super::{ToPacker, Writer, over, workers};
use crate::error::{Error, Result};
use crate::format::header::ObjectKind;
use crate::id::{PackId, ShortChunkId};

impl Writer {
    /// Stores a chunk once more, unless it has a home that stays. The copy is read and compared with its id first. Its length if it
    /// was stored.
    pub(crate) fn rehome(&self, id: &ShortChunkId) -> Result<Option<u64>> {
        if self.shared.claims.has(id)? {
            return Ok(None);
        }
        let repository = &self.shared.repository;
        let mut failure = None;
        for home in repository.homes(id)? {
            match repository.chunk_at_home(id, &home) {
                Ok(bytes) => return self.keep(home.block.kind, id, &bytes),
                Err(e) => failure = Some(e),
            }
        }
        Err(failure.unwrap_or_else(|| Error::corrupt(format!("chunk {id} is in no pack"))))
    }

    /// Stores verified bytes of a chunk, unless that was done in this run.
    pub(crate) fn keep(
        &self,
        kind: ObjectKind,
        id: &ShortChunkId,
        bytes: &[u8],
    ) -> Result<Option<u64>> {
        self.shared.check()?;
        if !self.shared.claims.claim_own(id) {
            return Ok(None);
        }
        if kind == ObjectKind::MetaPack {
            self.append_meta(*id, bytes)?;
        } else {
            let sender = self.to_packer.as_ref().ok_or_else(over)?;
            workers::keep(&self.shared, *id, bytes, sender)?;
        }
        Ok(Some(bytes.len() as u64))
    }

    /// True if this run wrote the pack.
    pub(crate) fn is_own(&self, pack: &PackId) -> bool {
        self.shared.homes.is_own(pack)
    }

    /// True if this run is about to store the chunk.
    pub(crate) fn is_pending(&self, id: &ShortChunkId) -> bool {
        self.shared.claims.is_pending(id)
    }

    pub(super) fn append_meta(&self, id: ShortChunkId, bytes: &[u8]) -> Result<()> {
        let mut meta = super::lock(&self.meta);
        if let Some(block) = meta.append(id, bytes)? {
            self.send(ToPacker::Meta(block))?;
        }
        if meta.is_pack_full() {
            self.barrier(&mut meta)?;
        }
        Ok(())
    }
}
