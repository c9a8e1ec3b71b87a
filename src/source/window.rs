//! A buffered reader that lets its user look ahead by any number of bytes up to its capacity, and hand slices on
//! without copying them.
//!
//! `std::io::BufReader` cannot extend what it shows: a header that straddles two reads would have to be copied.

use std::io::{self, BufRead, Read};

/// A sliding view of a stream.
#[derive(Debug)]
pub(super) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    ended: bool,
    failed: bool,
    /// A failure that was not told yet.
    pending: Option<io::Error>,
}

impl<R: Read> Window<R> {
    /// A window of `capacity_bytes` over `reader`.
    pub(super) fn new(reader: R, capacity_bytes: usize) -> Self {
        Self {
            reader,
            buffer: vec![0; capacity_bytes],
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            failed: false,
            pending: None,
        }
    }

    /// All bytes read and not yet consumed: at least `wanted` (at most the capacity), fewer only at the end.
    pub(super) fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        debug_assert!(wanted <= self.buffer.len());
        if self.end - self.start < wanted && !self.ended {
            self.fill(wanted)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// As [`peek`](Self::peek), but a failure only means that fewer bytes are shown: whoever needs more is told of it.
    pub(super) fn peek_some(&mut self, wanted: usize) -> &[u8] {
        if self.end - self.start < wanted
            && !self.ended
            && let Err(error) = self.fill(wanted)
        {
            self.pending = Some(error);
        }
        &self.buffer[self.start..self.end]
    }

    /// Takes `len` bytes that `peek` showed.
    pub(super) fn advance(&mut self, len: usize) {
        debug_assert!(len <= self.end - self.start);
        self.start += len;
        self.offset += len as u64;
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// True once the reader itself has failed (as opposed to what is done with its bytes).
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    #[cold]
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < wanted && !self.ended {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(len) => self.end += len,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.failed = true;
                    return Err(e);
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Window<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end
            && !self.ended
            && self.pending.is_none()
            && out.len() >= self.buffer.len()
        {
            // Nothing to show and much wanted: past the buffer, without a copy.
            let len = self.reader.read(out).inspect_err(|e| {
                self.failed |= e.kind() != io::ErrorKind::Interrupted;
            })?;
            self.ended = len == 0;
            self.offset += len as u64;
            return Ok(len);
        }
        let shown = self.peek(1)?;
        let len = shown.len().min(out.len());
        out[..len].copy_from_slice(&shown[..len]);
        self.advance(len);
        Ok(len)
    }
}

impl<R: Read> BufRead for Window<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)
    }

    fn consume(&mut self, len: usize) {
        self.advance(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte more with every call, so that every look ahead straddles reads.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            let len = self.1.min(out.len()).min(self.0.len());
            out[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn looks_ahead_across_reads() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut window = Window::new(Trickle(&bytes, 0), 16);
        let mut seen = Vec::new();
        loop {
            let shown = window.peek(10).unwrap();
            if shown.is_empty() {
                break;
            }
            let len = shown.len().min(7);
            seen.extend_from_slice(&shown[..len]);
            window.advance(len);
        }
        assert_eq!(seen, bytes);
        assert_eq!(window.offset(), 256);
    }

    #[test]
    fn reads_past_its_buffer_in_order() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut window = Window::new(Trickle(&bytes, 0), 16);
        assert_eq!(window.peek(3).unwrap(), [0, 1, 2]);
        let mut seen = vec![0; 400];
        let mut len = 0;
        loop {
            match window.read(&mut seen[len..]).unwrap() {
                0 => break,
                more => len += more,
            }
        }
        assert_eq!(seen[..len], bytes);
        assert_eq!((window.offset(), window.peek(1).unwrap()), (256, &[][..]));
    }
}
