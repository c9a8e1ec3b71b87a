//! The recipe of an archive while it is ingested: literals and content operations, cut and stored as they come.

use std::sync::Arc;

use super::list::ItemList;
use super::sorter::{Record, Sorter};
use crate::chunk::{Cutter, GearTable, Params};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::recipe::{MAX_LITERAL_BYTES, Operation, Override};
use crate::repository::Writer;

/// Mean length of a chunk of a recipe: smaller than content's, since one changed header changes one chunk.
const AVG_CHUNK_BYTES: u32 = 64 << 10;

/// A stream of bytes that is stored as content-defined meta chunks.
pub(super) struct MetaStream {
    cutter: Cutter,
    window: Vec<u8>,
    items: ItemList,
}

impl MetaStream {
    pub(super) fn new(table: &Arc<GearTable>) -> Result<Self> {
        let cutter = Cutter::content(Params::around(AVG_CHUNK_BYTES), Arc::clone(table))
            .map_err(|e| Error::caused(Class::Invalid, "the chunker of recipes", e))?;
        Ok(Self {
            cutter,
            window: Vec::new(),
            items: ItemList::default(),
        })
    }

    pub(super) fn window(&mut self) -> &mut Vec<u8> {
        &mut self.window
    }

    /// Stores the chunks that are complete.
    pub(super) fn flush(&mut self, writer: &Writer, eof: bool) -> Result<()> {
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

    pub(super) fn finish(mut self, writer: &Writer) -> Result<Vec<Item>> {
        self.flush(writer, true)?;
        self.items.finish(writer)
    }
}

/// Writes a recipe.
pub(super) struct RecipeWriter {
    stream: MetaStream,
    literal: Vec<u8>,
    ordinal: u64,
}

impl RecipeWriter {
    pub(super) fn new(table: &Arc<GearTable>) -> Result<Self> {
        Ok(Self {
            stream: MetaStream::new(table)?,
            literal: Vec::new(),
            ordinal: 0,
        })
    }

    /// Bytes of the archive that are no content.
    pub(super) fn literal(&mut self, bytes: &[u8], writer: &Writer) -> Result<()> {
        self.literal.extend_from_slice(bytes);
        if self.literal.len() >= MAX_LITERAL_BYTES {
            self.put_literal(writer)
        } else {
            Ok(())
        }
    }

    fn put_literal(&mut self, writer: &Writer) -> Result<()> {
        for piece in self.literal.chunks(MAX_LITERAL_BYTES) {
            Operation::Literal(piece).encode(self.stream.window());
        }
        self.literal.clear();
        self.stream.flush(writer, false)
    }

    /// The content of the member at `path`; its ordinal.
    pub(super) fn content(&mut self, path: &[u8], writer: &Writer) -> Result<u64> {
        self.put_literal(writer)?;
        Operation::Content(path).encode(self.stream.window());
        self.ordinal += 1;
        Ok(self.ordinal - 1)
    }

    pub(super) fn finish(mut self, writer: &Writer) -> Result<Vec<Item>> {
        self.put_literal(writer)?;
        self.stream.finish(writer)
    }
}

/// The contents of members that the tree does not show, to be stored in the order of their ordinals: there may be as many as
/// members, so they are sorted like those.
pub(super) struct Overrides(Sorter);

impl Overrides {
    pub(super) fn new(sorter: Sorter) -> Self {
        Self(sorter)
    }

    /// One more.
    pub(super) fn push(&mut self, one: &Override) -> Result<()> {
        let mut value = Vec::new();
        one.encode(&mut value);
        self.0.push(Record {
            key: one.ordinal.to_be_bytes().to_vec(),
            ordinal: one.ordinal,
            value,
        })
    }

    /// Stores them.
    pub(super) fn finish(mut self, table: &Arc<GearTable>, writer: &Writer) -> Result<Vec<Item>> {
        let mut stream = MetaStream::new(table)?;
        self.0.for_each(|record| {
            stream.window().extend_from_slice(&record.value);
            stream.flush(writer, false)
        })?;
        stream.finish(writer)
    }
}
