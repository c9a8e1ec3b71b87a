//! The sink: runs on the source's thread, cuts content into chunks, and hands full batches to the workers.
//!
//! Beside each batch goes the list of what happened meanwhile ([`Event`]), to the assembler, which turns both into nodes
//! again in stream order. The source's thread does nothing else, so it is never the bottleneck.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::known::KnownFiles;
use crate::chunk::Cutter;
use crate::entry::{Entry, Outcome, Sink, Want};
use crate::error::{Class, Error, Result};
use crate::format::tree::Node;
use crate::progress::{Count, Monitor};
use crate::repository::{Batch, Cutting, Writer};

/// Chunks at which a batch is handed over.
const BATCH_CHUNKS: usize = 4096;
/// Events at which they are handed over without a batch.
const MAX_EVENTS: usize = 512;
/// Bytes in events (literals, attributes, paths) at which they are handed over.
const MAX_CARRIED: usize = 256 << 10;

/// What happened in the stream.
pub(super) enum Event {
    /// An entry came; with the node it had, if it is known unchanged.
    Entry(Box<Entry>, Option<Box<Node>>),
    /// So many chunks of the batch belong to the current file.
    Chunks(usize),
    /// A hole in the current file.
    Hole(u64),
    /// The current file ended.
    End(Outcome),
    /// Bytes of an archive that are no content.
    Literal(Vec<u8>),
}

/// Events in order, and the batch whose chunks they count.
pub(super) struct Turn {
    pub(super) batch: Option<u64>,
    pub(super) events: Vec<Event>,
}

/// Decides how a file is cut, by its entry.
pub(super) type Choose = dyn Fn(&Entry) -> Cutting + Send;

/// See the module.
pub(super) struct Feed<'a> {
    pub(super) writer: &'a Writer,
    pub(super) turns: Sender<Turn>,
    pub(super) known: Option<Arc<KnownFiles>>,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) content: Cutter,
    pub(super) fixed: Cutter,
    pub(super) choose: Box<Choose>,
    pub(super) archive: bool,
    /// Raw bytes at which a batch is handed over: those of a block, so that what is new in a batch becomes one block
    /// and neighbours in the stream are neighbours in the store.
    pub(super) batch_bytes: usize,
    pub(super) state: FeedState,
}

/// Where the feed is in the stream.
#[derive(Default)]
pub(super) struct FeedState {
    sequence: u64,
    cutting: Option<Cutting>,
    file_cutting: Option<Cutting>,
    bytes: Vec<u8>,
    /// Where the open chunk begins in `bytes`.
    open: usize,
    /// Offset of the open chunk in its file.
    offset: u64,
    lens: Vec<u32>,
    events: Vec<Event>,
    /// Bytes that the events carry.
    carried: usize,
}

impl Feed<'_> {
    fn cutter(&self) -> &Cutter {
        match self.state.file_cutting {
            Some(Cutting::Disk) => &self.fixed,
            _ => &self.content,
        }
    }

    /// Cuts what is open, as far as cuts are certain; all of it at the end of an extent.
    fn cut(&mut self, eof: bool) -> Result<()> {
        let max = self.cutter().max();
        loop {
            let window = &self.state.bytes[self.state.open..];
            if window.is_empty() || (!eof && window.len() < max) {
                return Ok(());
            }
            let Some(cut) = self.cutter().next_cut(self.state.offset, window, eof) else {
                return Ok(());
            };
            let state = &mut self.state;
            state
                .lens
                .push(u32::try_from(cut).map_err(|_| Error::invalid("a chunk beyond 4 GiB"))?);
            state.open += cut;
            state.offset += cut as u64;
            match state.events.last_mut() {
                Some(Event::Chunks(n)) => *n += 1,
                _ => state.events.push(Event::Chunks(1)),
            }
            if state.open >= self.batch_bytes || state.lens.len() >= BATCH_CHUNKS {
                self.hand_over()?;
            }
        }
    }

    /// Sends the batch and the events so far; the open chunk stays.
    fn hand_over(&mut self) -> Result<()> {
        let state = &mut self.state;
        let events = std::mem::take(&mut state.events);
        state.carried = 0;
        let batch = if state.lens.is_empty() {
            None
        } else {
            let mut next = self.writer.buffer();
            next.reserve(self.batch_bytes + self.content.max());
            next.extend_from_slice(&state.bytes[state.open..]);
            let mut bytes = std::mem::replace(&mut state.bytes, next);
            bytes.truncate(state.open);
            state.open = 0;
            let sequence = state.sequence;
            state.sequence += 1;
            self.writer.submit(Batch {
                sequence,
                cutting: state.cutting.unwrap_or(Cutting::File),
                bytes,
                lens: std::mem::take(&mut state.lens),
            })?;
            Some(sequence)
        };
        self.turns
            .send(Turn { batch, events })
            .map_err(|_| hung_up())
    }

    /// Sends what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        self.cut(true)?;
        self.hand_over()
    }
}

const HUNG_UP: &str = "the ingest was given up after an earlier error";

fn hung_up() -> Error {
    Error::invalid(HUNG_UP)
}

/// The error that came first: the feed's, unless it only noticed that the assembler was gone.
pub(super) fn reason(fed: Error, assembled: Error) -> Error {
    if fed.what() == HUNG_UP {
        assembled
    } else {
        fed
    }
}

/// What an entry takes in memory beyond a few hundred bytes.
fn weight(entry: &Entry, known: Option<&Node>) -> usize {
    let attributes = |meta: &crate::entry::Meta| -> usize {
        let bytes = meta.xattrs.iter().map(|x| x.name.len() + x.value.len());
        bytes.sum()
    };
    let known = known.map_or(0, |node| {
        let items = match &node.body {
            crate::format::tree::Body::File { content, .. } => size_of_val(content.as_slice()),
            _ => 0,
        };
        items + attributes(&node.meta)
    });
    entry.path.as_bytes().len() + attributes(&entry.meta) + known
}

impl Sink for Feed<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        self.monitor.add(Count::Entries, 1);
        self.monitor.doing(&|| entry.path.to_string());
        if self.monitor.interrupted() {
            return Err(Error::new(Class::Interrupted, "interrupted"));
        }
        let known = match &self.known {
            Some(known) if entry.is_file() => known.find(entry).map(Box::new),
            _ => None,
        };
        let want = if known.is_some() || !entry.is_file() {
            Want::Skip
        } else {
            Want::Content
        };
        if known.is_some() {
            self.monitor.add(Count::UnchangedFiles, 1);
        }
        if want == Want::Content {
            let cutting = (self.choose)(entry);
            self.state.file_cutting = Some(cutting);
            if self.state.cutting.is_some_and(|c| c != cutting) && !self.state.lens.is_empty() {
                self.hand_over()?;
            }
            self.state.cutting = Some(cutting);
            self.state.offset = 0;
        }
        self.state.carried += weight(entry, known.as_deref());
        self.state
            .events
            .push(Event::Entry(Box::new(entry.clone()), known));
        if self.state.events.len() >= MAX_EVENTS || self.state.carried >= MAX_CARRIED {
            self.hand_over()?;
        }
        Ok(want)
    }

    fn data(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.monitor.add(Count::Bytes, bytes.len() as u64);
        // Taken in pieces, so that the buffer never grows beyond a batch and a chunk.
        while !bytes.is_empty() {
            let room = (self.batch_bytes + self.content.max())
                .saturating_sub(self.state.bytes.len())
                .max(self.cutter().max());
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            self.state.bytes.extend_from_slice(piece);
            bytes = rest;
            self.cut(false)?;
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        self.cut(true)?;
        self.state.offset += len;
        self.state.events.push(Event::Hole(len));
        if self.state.events.len() >= MAX_EVENTS {
            self.hand_over()?;
        }
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        self.cut(true)?;
        self.state.events.push(Event::End(outcome));
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.archive {
            return Ok(());
        }
        self.state.carried += bytes.len();
        match self.state.events.last_mut() {
            Some(Event::Literal(last)) => last.extend_from_slice(bytes),
            _ => self.state.events.push(Event::Literal(bytes.to_vec())),
        }
        if self.state.carried >= MAX_CARRIED {
            self.hand_over()?;
        }
        Ok(())
    }
}
