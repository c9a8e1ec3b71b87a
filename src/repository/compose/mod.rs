//! What is composed of chunks on the way in: contents, directories, streams of records, documents.
//!
//! Ingest and copy share this, so that the same bytes become the same chunks whichever way they came.

mod list;
mod records;
mod shards;

pub(crate) use list::ItemList;
pub(crate) use records::RecordStream;
pub use shards::{ShardWriter, Weight};

use super::Writer;
use crate::error::{Error, Result};
use crate::format::content::Item;

/// Stores a small document as meta chunks: it is read to list and show, so it must not lie among cold content.
pub(crate) fn store_document(writer: &Writer, document: &[u8]) -> Result<Vec<Item>> {
    let mut list = ItemList::default();
    for piece in document.chunks(256 << 10) {
        let id = writer.put_meta(piece)?;
        let len = u32::try_from(piece.len()).map_err(|_| Error::invalid("a document too long"))?;
        list.push(Item::Data { id, len }, writer)?;
    }
    list.finish(writer)
}
