//! Bytes out in order: literals, chunks, zeros and holes planned ahead, put together by workers, taken by the caller.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::format::content::Item;
use crate::id::ChunkId;
use crate::repository::ahead::{Queue, in_order};
use crate::repository::block_cache::Blocks;
use crate::repository::content::Content;
use crate::repository::load::{Load, fetch, locate_all};
use crate::repository::{Location, lock};

/// Chunks that are located together, and bytes of literals that wait meanwhile.
const GROUP_CHUNKS: usize = 2048;
const GROUP_BYTES: usize = 4 << 20;
/// The most zeros that are put together with other bytes; longer runs are told by their length, which costs no memory.
const MAX_ZEROS: u64 = 16 << 10;

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub enum Stretch<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// A hole of this many bytes.
    Hole(u64),
    /// Data that is so many zeros.
    Zeros(u64),
}

/// What the holes of a content become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holes {
    /// They are told as holes.
    Keep,
    /// Nothing: an archive that knows of them does not contain them.
    Drop,
}

enum Part {
    /// So many of the literal bytes of the piece.
    Literal(usize),
    Chunk(ChunkId, Location),
    Zeros(usize),
    Gap(Gap),
}

/// What comes between bytes.
#[derive(Clone, Copy)]
enum Gap {
    Hole(u64),
    Zeros(u64),
}

/// A piece of the plan.
#[derive(Default)]
pub(super) struct Piece {
    parts: Vec<Part>,
    literals: Vec<u8>,
}

/// A piece put together: bytes, and where in them gaps are.
pub(super) struct Ready {
    bytes: Vec<u8>,
    gaps: Vec<(usize, Gap)>,
}

/// Takes the plan of a stream: in groups, whose chunks are located together, and from there in pieces.
pub(super) struct Plan<'a> {
    blocks: &'a dyn Blocks,
    queue: &'a mut Queue<Piece, Ready>,
    group: Vec<Wanted>,
    literals: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

/// A part before its chunk was located.
enum Wanted {
    Literal(usize),
    Chunk,
    Zeros(usize),
    Gap(Gap),
}

impl<'a> Plan<'a> {
    fn new(blocks: &'a dyn Blocks, queue: &'a mut Queue<Piece, Ready>) -> Self {
        Self {
            blocks,
            queue,
            group: Vec::new(),
            literals: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// These bytes.
    pub(super) fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.literals.extend_from_slice(bytes);
        self.add(Wanted::Literal(bytes.len()))
    }

    /// All of a file's content.
    pub(super) fn content(&mut self, content: &Content, holes: Holes) -> Result<()> {
        for extent in content.extents(self.blocks, 0) {
            match (extent?.item, holes) {
                (Item::Data { id, len }, _) => {
                    self.chunks.push((id, len));
                    self.add(Wanted::Chunk)?;
                }
                (Item::Zeros(len), _) => self.zeros(len)?,
                (Item::Hole(len), Holes::Keep) => self.add(Wanted::Gap(Gap::Hole(len)))?,
                (Item::Hole(_), Holes::Drop) | (Item::List { .. }, _) => {}
            }
        }
        Ok(())
    }

    fn zeros(&mut self, len: u64) -> Result<()> {
        match usize::try_from(len) {
            Ok(few) if len <= MAX_ZEROS => self.add(Wanted::Zeros(few)),
            _ => self.add(Wanted::Gap(Gap::Zeros(len))),
        }
    }

    fn add(&mut self, wanted: Wanted) -> Result<()> {
        self.group.push(wanted);
        if self.group.len() >= GROUP_CHUNKS || self.literals.len() >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Locates the chunks of the group and hands it over piece by piece.
    fn flush(&mut self) -> Result<()> {
        let mut located = locate_all(self.blocks, &self.chunks)?.into_iter();
        let mut chunks = self.chunks.drain(..);
        let mut literals = self.literals.as_slice();
        let (mut piece, mut load) = (Piece::default(), Load::default());
        for wanted in self.group.drain(..) {
            let part = match wanted {
                Wanted::Literal(len) => {
                    let (head, rest) = literals.split_at_checked(len).ok_or_else(lost)?;
                    literals = rest;
                    piece.literals.extend_from_slice(head);
                    load.add(len);
                    Part::Literal(len)
                }
                Wanted::Chunk => {
                    let (id, _) = chunks.next().ok_or_else(lost)?;
                    let location = located.next().ok_or_else(lost)??;
                    load.add_chunk(&location);
                    Part::Chunk(id, location)
                }
                Wanted::Zeros(len) => {
                    load.add(len);
                    Part::Zeros(len)
                }
                Wanted::Gap(gap) => {
                    load.add(0);
                    Part::Gap(gap)
                }
            };
            piece.parts.push(part);
            if load.is_full() {
                load = Load::default();
                self.queue.push(std::mem::take(&mut piece))?;
            }
        }
        drop(chunks);
        self.literals.clear();
        if piece.parts.is_empty() {
            return Ok(());
        }
        self.queue.push(piece)
    }
}

fn lost() -> Error {
    Error::corrupt("a piece of a stream was lost while it was planned")
}

/// Streams what `plan` says to `take`, prepared ahead by `threads` workers. Every chunk is checked.
pub(super) fn stream(
    blocks: &dyn Blocks,
    threads: NonZeroUsize,
    plan: impl FnOnce(&mut Plan<'_>) -> Result<()> + Send,
    take: &mut dyn FnMut(Stretch<'_>) -> Result<()>,
) -> Result<()> {
    // Buffers of pieces that were taken: given back to the allocator each time, every page would be cleared anew.
    let spare = Mutex::new(Vec::new());
    in_order(
        threads,
        |queue| {
            let mut taken = Plan::new(blocks, queue);
            plan(&mut taken)?;
            taken.flush()
        },
        |piece: Piece| {
            let buffer = lock(&spare).pop().unwrap_or_default();
            put_together(blocks, &piece, buffer)
        },
        |ready: Ready| {
            let mut at = 0;
            for (offset, gap) in &ready.gaps {
                bytes(&ready.bytes[at..*offset], take)?;
                take(match *gap {
                    Gap::Hole(len) => Stretch::Hole(len),
                    Gap::Zeros(len) => Stretch::Zeros(len),
                })?;
                at = *offset;
            }
            bytes(&ready.bytes[at..], take)?;
            lock(&spare).push(ready.bytes);
            Ok(())
        },
    )
}

fn bytes(bytes: &[u8], take: &mut dyn FnMut(Stretch<'_>) -> Result<()>) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    take(Stretch::Bytes(bytes))
}

fn put_together(blocks: &dyn Blocks, piece: &Piece, mut buffer: Vec<u8>) -> Result<Ready> {
    let sizes = piece.parts.iter().map(|part| match part {
        Part::Literal(len) | Part::Zeros(len) => *len,
        Part::Chunk(_, location) => location.len as usize,
        Part::Gap(_) => 0,
    });
    buffer.clear();
    buffer.reserve(sizes.sum());
    let mut ready = Ready {
        bytes: buffer,
        gaps: Vec::new(),
    };
    let mut literals = piece.literals.as_slice();
    for part in &piece.parts {
        match part {
            Part::Literal(len) => {
                let (head, rest) = literals.split_at_checked(*len).ok_or_else(lost)?;
                ready.bytes.extend_from_slice(head);
                literals = rest;
            }
            Part::Chunk(id, location) => {
                ready.bytes.extend_from_slice(&fetch(blocks, id, location)?);
            }
            Part::Zeros(len) => ready.bytes.resize(ready.bytes.len() + len, 0),
            Part::Gap(gap) => ready.gaps.push((ready.bytes.len(), *gap)),
        }
    }
    Ok(ready)
}
