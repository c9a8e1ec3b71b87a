//! The recipe of an archive while it is ingested: literals and content operations, cut and stored as they come.

use std::sync::Arc;

use super::sorter::{Record, Sorter};
use crate::chunk::GearTable;
use crate::error::Result;
use crate::format::content::Item;
use crate::format::recipe::{
    HEADER_BLOCK_BYTES, Headers, MAX_LITERAL_BYTES, Operation, Override, padding,
};
use crate::repository::Writer;
use crate::repository::compose::RecordStream;

/// Writes a recipe.
pub(super) struct RecipeWriter {
    stream: RecordStream,
    headers: Headers,
    /// Bytes that are no content, not told yet.
    literal: Vec<u8>,
    /// Where they begin in the archive.
    offset: u64,
    ordinal: u64,
}

/// The content that comes behind what is told.
#[derive(Clone, Copy)]
struct Following<'a> {
    path: &'a [u8],
    /// Bytes of it in the archive.
    size: u64,
}

impl RecipeWriter {
    pub(super) fn new(table: &Arc<GearTable>) -> Result<Self> {
        Ok(Self {
            stream: RecordStream::new(table)?,
            headers: Headers::default(),
            literal: Vec::new(),
            offset: 0,
            ordinal: 0,
        })
    }

    /// Bytes of the archive that are no content.
    pub(super) fn literal(&mut self, bytes: &[u8], writer: &Writer) -> Result<()> {
        self.literal.extend_from_slice(bytes);
        if self.literal.len() < MAX_LITERAL_BYTES {
            return Ok(());
        }
        self.tell(None);
        self.stream.flush(writer, false)
    }

    /// The content of the member at `path`, of which `size` bytes are in the archive; its ordinal.
    pub(super) fn content(&mut self, path: &[u8], size: u64, writer: &Writer) -> Result<u64> {
        self.tell(Some(Following { path, size }));
        self.offset += size;
        self.ordinal += 1;
        self.stream.flush(writer, false)?;
        Ok(self.ordinal - 1)
    }

    pub(super) fn finish(mut self, writer: &Writer) -> Result<Vec<Item>> {
        self.tell(None);
        put_literal(&self.literal, self.stream.window());
        self.stream.finish(writer)
    }

    /// Tells what was collected: headers as headers, the rest as it is. Without content behind it, a last block that
    /// is not whole yet stays.
    fn tell(&mut self, following: Option<Following<'_>>) {
        let out = self.stream.window();
        let literal = &self.literal;
        let (mut told, mut named) = (0, false);
        let mut start = padding(self.offset);
        while let Some(block) = literal.get(start..).and_then(<[u8]>::first_chunk) {
            let end = start + HEADER_BLOCK_BYTES;
            if Headers::is_header(block) {
                put_literal(without_padding(&literal[told..start]), out);
                let path = Headers::path_of(Headers::name_of(block));
                let member = following.filter(|f| end == literal.len() && path == f.path);
                named = member.is_some();
                // A header whose content is told by a path of its own is told as one without content.
                let header = self.headers.tell(block, member.map_or(0, |f| f.size));
                let operation = if named {
                    Operation::Member(header)
                } else {
                    Operation::Header(header)
                };
                operation.encode(out);
                told = end;
            }
            start = end;
        }
        if let Some(Following { path, .. }) = following {
            put_literal(&literal[told..], out);
            if !named {
                Operation::Content(path).encode(out);
            }
            told = literal.len();
        } else if start <= literal.len() {
            put_literal(&literal[told..start], out);
            told = start;
        }
        self.offset += told as u64;
        self.literal.drain(..told);
    }
}

/// What a header follows, without the zeros that are implied in front of a header.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().rev().take_while(|b| **b == 0).count();
    &bytes[..bytes.len() - zeros.min(HEADER_BLOCK_BYTES - 1)]
}

fn put_literal(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(MAX_LITERAL_BYTES) {
        Operation::Literal(piece).encode(out);
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
        let mut stream = RecordStream::new(table)?;
        self.0.for_each(|record| {
            stream.window().extend_from_slice(&record.value);
            stream.flush(writer, false)
        })?;
        stream.finish(writer)
    }
}
