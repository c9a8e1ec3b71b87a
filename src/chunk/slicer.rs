//! Slices of any length in, whole chunks out.
//!
//! Chunks that lie within one slice are handed on without a copy; only the bytes around the borders between slices
//! pass through a buffer, which never exceeds twice the longest chunk.

use super::Cutter;

/// Cuts one stream that arrives in slices.
#[derive(Debug)]
pub struct Slicer {
    cutter: Cutter,
    /// Where the next chunk starts in the stream.
    offset: u64,
    /// From `start` on: what came of the next chunk with earlier slices.
    pending: Vec<u8>,
    start: usize,
}

impl Slicer {
    /// A slicer at the start of a stream.
    pub fn new(cutter: Cutter) -> Self {
        Self {
            cutter,
            offset: 0,
            pending: Vec::new(),
            start: 0,
        }
    }

    /// Takes the next `data` of the stream and hands every chunk that is complete to `emit`, with its offset.
    pub fn push<E>(
        &mut self,
        data: &[u8],
        mut emit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut taken = 0;
        while self.start < self.pending.len() {
            taken += self.refill(data.get(taken..).unwrap_or_default());
            let window = self.pending.get(self.start..).unwrap_or_default();
            let Some(length) = self.cutter.next_cut(self.offset, window, false) else {
                return Ok(()); // all of `data` is pending
            };
            emit(self.offset, window.get(..length).unwrap_or_default())?;
            self.offset += length as u64;
            self.start += length;
            let left = self.pending.len() - self.start;
            if let Some(position) = taken.checked_sub(left) {
                // What is left came with `data`: go on there, where nothing needs a copy.
                taken = position;
                self.clear();
            }
        }
        let mut rest = data.get(taken..).unwrap_or_default();
        while let Some(length) = self.cutter.next_cut(self.offset, rest, false) {
            let (chunk, tail) = rest.split_at(length);
            emit(self.offset, chunk)?;
            self.offset += length as u64;
            rest = tail;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the stream: hands on what is left, and is then at the start of a new stream.
    pub fn finish<E>(
        &mut self,
        mut emit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = self.pending.get(self.start..).unwrap_or_default();
        while let Some(length) = self.cutter.next_cut(self.offset, rest, true) {
            let (chunk, tail) = rest.split_at(length);
            emit(self.offset, chunk)?;
            self.offset += length as u64;
            rest = tail;
        }
        self.clear();
        self.offset = 0;
        Ok(())
    }

    /// Passes over a hole: ends the chunk at hand, and goes on `length` bytes further.
    pub fn skip<E>(
        &mut self,
        length: u64,
        emit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let pending = (self.pending.len() - self.start) as u64;
        let next = self.offset + pending + length;
        self.finish(emit)?;
        self.offset = next;
        Ok(())
    }

    /// Makes what is pending as long as the longest chunk, if `more` has enough; how much of it was taken.
    fn refill(&mut self, more: &[u8]) -> usize {
        let pending = self.pending.len() - self.start;
        let missing = self.cutter.max().saturating_sub(pending);
        let more = more.get(..missing).unwrap_or(more);
        if self.start >= self.cutter.max() {
            self.pending.drain(..self.start);
            self.start = 0;
        }
        self.pending.extend_from_slice(more);
        more.len()
    }

    fn clear(&mut self) {
        self.pending.clear();
        self.start = 0;
    }
}
