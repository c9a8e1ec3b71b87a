//! A stream of records under construction: stored as content-defined meta chunks, as recipes and their overrides are.

use std::sync::Arc;

use super::super::Writer;
use super::list::ItemList;
use crate::chunk::{Cutter, GearTable, Params};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;

/// Mean length of a chunk of a recipe: smaller than content's, since one changed header changes one chunk.
const AVG_CHUNK_BYTES: u32 = 64 << 10;

/// A stream of bytes that is stored as content-defined meta chunks.
pub(crate) struct RecordStream {
    cutter: Cutter,
    window: Vec<u8>,
    items: ItemList,
}

impl RecordStream {
    /// An empty one.
    pub(crate) fn new(table: &Arc<GearTable>) -> Result<Self> {
        let cutter = Cutter::content(Params::around(AVG_CHUNK_BYTES), Arc::clone(table))
            .map_err(|e| Error::caused(Class::Invalid, "the chunker of recipes", e))?;
        Ok(Self {
            cutter,
            window: Vec::new(),
            items: ItemList::default(),
        })
    }

    /// What is not stored yet: records are appended here, then [`flush`](Self::flush)ed.
    pub(crate) fn window(&mut self) -> &mut Vec<u8> {
        &mut self.window
    }

    /// Stores the chunks that are complete.
    pub(crate) fn flush(&mut self, writer: &Writer, eof: bool) -> Result<()> {
        if !eof && self.window.len() < self.cutter.max() {
            return Ok(());
        }
        let mut at = 0;
        while eof || self.window.len() - at >= self.cutter.max() {
            let Some(cut) = self
                .cutter
                .next_cut(0, &self.window[at..], eof)
                .filter(|c| *c > 0)
            else {
                break;
            };
            let id = writer.put_meta(&self.window[at..at + cut])?;
            let len = u32::try_from(cut).map_err(|_| Error::invalid("a chunk beyond 4 GiB"))?;
            self.items.push(Item::Data { id, len }, writer)?;
            at += cut;
        }
        self.window.drain(..at);
        Ok(())
    }

    /// Stores what is left; the content.
    pub(crate) fn finish(mut self, writer: &Writer) -> Result<Vec<Item>> {
        self.flush(writer, true)?;
        self.items.finish(writer)
    }
}
