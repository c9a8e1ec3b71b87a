//! The lane of trees, content lists and recipes: small, so one thread feeds and compresses it.

use super::super::object::EncodedBlock;
use super::workers::OpenBlock;
use crate::codec::Compressor;
use crate::error::{Class, Error, Result};
use crate::format::config::Config;
use crate::format::{MAX_PACK_CHUNKS, header::TAG_BYTES};
use crate::id::ShortChunkId;

pub(super) struct MetaLane {
    open: OpenBlock,
    compressor: Compressor,
    block_bytes: usize,
    pack_bytes: usize,
    pack_stored: usize,
    pack_chunks: usize,
}

impl MetaLane {
    pub(super) fn new(config: &Config, level: i32) -> Result<Self> {
        Ok(Self {
            open: OpenBlock::default(),
            compressor: Compressor::new(level)
                .map_err(|e| Error::caused(Class::Io, "start a compressor", e))?,
            block_bytes: config.blocks.meta_bytes as usize,
            pack_bytes: config.blocks.pack_bytes as usize / 2,
            pack_stored: 0,
            pack_chunks: 0,
        })
    }

    /// Appends a chunk; a block that is full is returned.
    pub(super) fn append(
        &mut self,
        id: ShortChunkId,
        bytes: &[u8],
    ) -> Result<Option<EncodedBlock>> {
        self.open.append(id, bytes)?;
        if self.open.is_full(self.block_bytes) {
            self.close_block()
        } else {
            Ok(None)
        }
    }

    /// The open block, if there is anything in it.
    pub(super) fn close_block(&mut self) -> Result<Option<EncodedBlock>> {
        let block = self.open.close(&mut self.compressor)?;
        if let Some(block) = &block {
            self.pack_stored += block.bytes.len() + TAG_BYTES;
            self.pack_chunks += block.chunks.len();
        }
        Ok(block)
    }

    /// True if the blocks so far fill a pack.
    pub(super) fn is_pack_full(&self) -> bool {
        self.pack_stored >= self.pack_bytes || self.pack_chunks > MAX_PACK_CHUNKS / 2
    }

    /// The blocks so far were flushed.
    pub(super) fn begin_pack(&mut self) {
        self.pack_stored = 0;
        self.pack_chunks = 0;
    }
}
