//! Contents in, items out: cuts as the destination does, hands batches to its writer, and notes what each content became.
//!
//! Runs on one thread. A few batches are with the workers while the next is cut; their items are taken when there are enough of
//! those, or at the end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::memo::Memo;
use crate::chunk::{Cutter, GearTable};
use crate::entry::ShelfKey;
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::id::ChunkId;
use crate::repository::compose::ItemList;
use crate::repository::{Batch, Cutting, Repository, Writer};

/// Chunks at which a batch is handed over.
const BATCH_CHUNKS: usize = 4096;
/// Events at which they are handed over without a batch.
const MAX_EVENTS: usize = 4096;

/// What happened in the stream of contents.
enum Event {
    Begin(ShelfKey),
    /// What follows begins with this chunk of the source, of this length.
    From(ChunkId, u64),
    Chunks(usize),
    /// What is stored already.
    Known(Item),
    Hole(u64),
    End,
    Fail,
}

/// Events in order, and the batch whose chunks they count.
struct Turn {
    batch: Option<u64>,
    events: Vec<Event>,
}

/// See the module.
pub(super) struct Pour<'a> {
    writer: &'a Writer,
    memo: &'a Memo,
    content: Cutter,
    fixed: Cutter,
    batch_bytes: usize,
    /// Turns that may be on their way.
    ahead: usize,
    cutting: Cutting,
    sequence: u64,
    bytes: Vec<u8>,
    /// Where the open chunk begins in `bytes`.
    open: usize,
    /// Offset of the open chunk in its content.
    offset: u64,
    lens: Vec<u32>,
    events: Vec<Event>,
    turns: VecDeque<Turn>,
    /// Results of the present turn that are not used up.
    items: VecDeque<Item>,
    building: Option<(ShelfKey, ItemList)>,
    from: Option<(ChunkId, u64)>,
}

impl<'a> Pour<'a> {
    pub(super) fn new(
        destination: &Repository,
        writer: &'a Writer,
        memo: &'a Memo,
        table: &Arc<GearTable>,
        ahead: usize,
    ) -> Result<Self> {
        let config = destination.config();
        let bad = |e| Error::caused(Class::Invalid, "the chunker", e);
        Ok(Self {
            writer,
            memo,
            content: Cutter::content(config.chunks.into(), Arc::clone(table)).map_err(bad)?,
            fixed: Cutter::fixed(config.chunks.fixed_bytes).map_err(bad)?,
            batch_bytes: config.blocks.file_bytes as usize,
            ahead,
            cutting: Cutting::File,
            sequence: 0,
            bytes: Vec::new(),
            open: 0,
            offset: 0,
            lens: Vec::new(),
            events: Vec::new(),
            turns: VecDeque::new(),
            items: VecDeque::new(),
            building: None,
            from: None,
        })
    }

    /// A content begins.
    pub(super) fn begin(&mut self, key: ShelfKey, cutting: Cutting) -> Result<()> {
        if self.events.len() >= MAX_EVENTS || (self.cutting != cutting && !self.lens.is_empty()) {
            self.hand_over()?;
        }
        self.cutting = cutting;
        self.offset = 0;
        self.events.push(Event::Begin(key));
        Ok(())
    }

    /// Its next bytes.
    pub(super) fn data(&mut self, mut bytes: &[u8]) -> Result<()> {
        // Taken in pieces, so that the buffer never grows beyond a batch and a chunk.
        while !bytes.is_empty() {
            let room = (self.batch_bytes + self.content.max())
                .saturating_sub(self.bytes.len())
                .max(self.cutter().max());
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            self.bytes.extend_from_slice(piece);
            bytes = rest;
            self.cut(false)?;
        }
        Ok(())
    }

    /// The next bytes are those of this source chunk. If they become one chunk here, that is remembered.
    pub(super) fn from(&mut self, id: ChunkId, len: u64) {
        if self.open == self.bytes.len() {
            self.events.push(Event::From(id, len));
        }
    }

    /// What comes next is stored as this item; it begins where a chunk does.
    pub(super) fn known(&mut self, item: Item) -> Result<()> {
        self.cut(true)?;
        self.offset += item.len();
        self.events.push(Event::Known(item));
        if self.events.len() >= MAX_EVENTS {
            self.hand_over()?;
        }
        Ok(())
    }

    /// A hole comes next.
    pub(super) fn hole(&mut self, len: u64) -> Result<()> {
        self.cut(true)?;
        self.offset += len;
        self.events.push(Event::Hole(len));
        if self.events.len() >= MAX_EVENTS {
            self.hand_over()?;
        }
        Ok(())
    }

    /// The content is over.
    pub(super) fn end(&mut self) -> Result<()> {
        self.cut(true)?;
        self.events.push(Event::End);
        Ok(())
    }

    /// The content cannot be read to its end: what came of it is given up.
    pub(super) fn fail(&mut self) -> Result<()> {
        self.cut(true)?;
        self.events.push(Event::Fail);
        Ok(())
    }

    /// All contents are over: takes what is on its way.
    pub(super) fn finish(mut self) -> Result<()> {
        self.hand_over()?;
        self.take(0)
    }

    fn cutter(&self) -> &Cutter {
        match self.cutting {
            Cutting::File => &self.content,
            Cutting::Disk => &self.fixed,
        }
    }

    /// Cuts what is open, as far as cuts are certain; all of it at the end of an extent.
    fn cut(&mut self, eof: bool) -> Result<()> {
        let max = self.cutter().max();
        loop {
            let window = &self.bytes[self.open..];
            if window.is_empty() || (!eof && window.len() < max) {
                return Ok(());
            }
            let Some(cut) = self.cutter().next_cut(self.offset, window, eof) else {
                return Ok(());
            };
            let len = u32::try_from(cut).map_err(|_| Error::invalid("a chunk beyond 4 GiB"))?;
            self.lens.push(len);
            self.open += cut;
            self.offset += cut as u64;
            match self.events.last_mut() {
                Some(Event::Chunks(n)) => *n += 1,
                _ => self.events.push(Event::Chunks(1)),
            }
            if self.open >= self.batch_bytes || self.lens.len() >= BATCH_CHUNKS {
                self.hand_over()?;
            }
        }
    }

    /// Sends the batch and keeps the events so far; the open chunk stays.
    fn hand_over(&mut self) -> Result<()> {
        let events = std::mem::take(&mut self.events);
        let batch = if self.lens.is_empty() {
            None
        } else {
            let mut next = self.writer.buffer();
            next.reserve(self.batch_bytes + self.content.max());
            next.extend_from_slice(&self.bytes[self.open..]);
            let mut bytes = std::mem::replace(&mut self.bytes, next);
            bytes.truncate(self.open);
            self.open = 0;
            let sequence = self.sequence;
            self.sequence += 1;
            self.writer.submit(Batch {
                sequence,
                cutting: self.cutting,
                bytes,
                lens: std::mem::take(&mut self.lens),
            })?;
            Some(sequence)
        };
        self.turns.push_back(Turn { batch, events });
        self.take(self.ahead)
    }

    /// Takes the items of the oldest turns, until only `left` are on their way.
    fn take(&mut self, left: usize) -> Result<()> {
        while self.turns.len() > left {
            let Some(turn) = self.turns.pop_front() else {
                break;
            };
            if let Some(sequence) = turn.batch {
                self.items.extend(self.writer.wait(sequence)?);
            }
            for event in turn.events {
                self.event(&event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        match *event {
            Event::Begin(key) => {
                self.from = None;
                self.building = Some((key, ItemList::default()));
            }
            Event::From(id, len) => self.from = Some((id, len)),
            Event::Known(item) => {
                let (_, list) = self.building.as_mut().ok_or_else(outside)?;
                list.push(item, self.writer)?;
            }
            Event::Chunks(count) => {
                for _ in 0..count {
                    let item = self.items.pop_front().ok_or_else(outside)?;
                    // The first chunk that begins where that of the source does: of the same length, it has the same bytes.
                    if let Some((id, len)) = self.from.take()
                        && item.len() == len
                    {
                        self.memo.keep_chunk(&id, &item)?;
                    }
                    let (_, list) = self.building.as_mut().ok_or_else(outside)?;
                    list.push(item, self.writer)?;
                }
            }
            Event::Hole(len) => {
                let (_, list) = self.building.as_mut().ok_or_else(outside)?;
                list.push(Item::Hole(len), self.writer)?;
            }
            Event::End => {
                let (key, list) = self.building.take().ok_or_else(outside)?;
                let items = list.finish(self.writer)?;
                self.memo.done(key, &items)?;
            }
            Event::Fail => self.building = None,
        }
        Ok(())
    }
}

fn outside() -> Error {
    Error::invalid("bytes outside of a content")
}
