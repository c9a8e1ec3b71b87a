//! A source and a sink over a vector, for tests and for small trees.

use super::{Entry, Order, Outcome, Sink, Source, Want};
use crate::error::Result;

/// One piece of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Vec<u8>),
    /// A hole of this many bytes.
    Hole(u64),
}

/// An entry with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryEntry {
    /// The entry.
    pub entry: Entry,
    /// Its content, adjacent pieces of one kind merged.
    pub content: Vec<Piece>,
    /// How its content ended; `None` for other kinds than files.
    pub outcome: Option<Outcome>,
}

impl MemoryEntry {
    /// The content with its holes as zeros.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in &self.content {
            match piece {
                Piece::Data(bytes) => all.extend_from_slice(bytes),
                Piece::Hole(len) => all.resize(all.len() + usize::try_from(*len).unwrap_or(0), 0),
            }
        }
        all
    }
}

/// Emits a list of entries.
#[derive(Clone, Debug)]
pub struct MemorySource {
    entries: Vec<MemoryEntry>,
    order: Order,
}

impl MemorySource {
    /// A source of `entries`, which must be in the given order.
    pub fn new(entries: Vec<MemoryEntry>, order: Order) -> Self {
        Self { entries, order }
    }
}

impl Source for MemorySource {
    fn order(&self) -> Order {
        self.order
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        for item in &self.entries {
            let want = sink.entry(&item.entry)?;
            if !item.entry.is_file() || want == Want::Skip {
                continue;
            }
            for piece in &item.content {
                match piece {
                    Piece::Data(bytes) if bytes.is_empty() => {}
                    Piece::Data(bytes) => sink.data(bytes)?,
                    Piece::Hole(0) => {}
                    Piece::Hole(len) => sink.hole(*len)?,
                }
            }
            sink.end(item.outcome.unwrap_or(Outcome::Whole))?;
        }
        Ok(())
    }
}

/// Collects everything.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    /// The entries in the order in which they came.
    pub entries: Vec<MemoryEntry>,
    /// The original stream: literal bytes and data in order.
    pub stream: Vec<u8>,
}

impl MemorySink {
    /// The last entry of that path.
    pub fn get(&self, path: &[u8]) -> Option<&MemoryEntry> {
        self.entries
            .iter()
            .rev()
            .find(|e| e.entry.path.as_bytes() == path)
    }

    fn content(&mut self) -> Option<&mut Vec<Piece>> {
        self.entries.last_mut().map(|e| &mut e.content)
    }
}

impl Sink for MemorySink {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        self.entries.push(MemoryEntry {
            entry: entry.clone(),
            content: Vec::new(),
            outcome: None,
        });
        Ok(Want::Content)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.extend_from_slice(bytes);
        if let Some(content) = self.content() {
            match content.last_mut() {
                Some(Piece::Data(last)) => last.extend_from_slice(bytes),
                _ => content.push(Piece::Data(bytes.to_vec())),
            }
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        if let Some(content) = self.content() {
            match content.last_mut() {
                Some(Piece::Hole(last)) => *last += len,
                _ => content.push(Piece::Hole(len)),
            }
        }
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        if let Some(last) = self.entries.last_mut() {
            last.outcome = Some(outcome);
        }
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.extend_from_slice(bytes);
        Ok(())
    }
}
