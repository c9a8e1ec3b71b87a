//! Decompressing a block only as far as somebody reads: a random read near its start need not wait for its end.
//!
//! The decoder stands still where the furthest request ended and goes on from there at the next one; nothing is
//! decoded twice. Invariant: what it has given out never changes, and it never holds more than the block's raw length.

use super::decompress::{check_len, damaged};
use super::{Codec, CodecError, MAX_RAW_BYTES};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Decoding goes on in steps of this many bytes, zstd's own block size.
const STEP: usize = 128 << 10;
/// `log2` of [`MAX_RAW_BYTES`]: no frame of ours needs a larger window.
const WINDOW_LOG_MAX: u32 = MAX_RAW_BYTES.ilog2();

/// A block on its way to being decoded.
pub struct PrefixDecoder {
    state: State,
    raw_len: usize,
}

enum State {
    /// All of the raw bytes are here.
    Whole(Vec<u8>),
    Partial(Box<Partial>),
}

struct Partial {
    context: DCtx<'static>,
    stored: Vec<u8>,
    consumed: usize,
    ended: bool,
    raw: Vec<u8>,
}

impl PrefixDecoder {
    /// A decoder of `stored`, which stands for `raw_len` bytes. Decodes nothing yet.
    pub fn new(codec: Codec, stored: Vec<u8>, raw_len: usize) -> Result<Self, CodecError> {
        if raw_len > MAX_RAW_BYTES {
            return Err(CodecError::TooLong(raw_len));
        }
        let state = match codec {
            Codec::Raw => {
                check_len(raw_len, stored.len())?;
                State::Whole(stored)
            }
            Codec::Zstd => {
                let mut context = DCtx::try_create().ok_or(CodecError::Failed("out of memory"))?;
                context
                    .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                    .map_err(damaged)?;
                State::Partial(Box::new(Partial {
                    context,
                    stored,
                    consumed: 0,
                    ended: false,
                    raw: Vec::new(),
                }))
            }
        };
        Ok(Self { state, raw_len })
    }

    /// At least the first `up_to` bytes, or all of them if the block has fewer.
    pub fn get(&mut self, up_to: usize) -> Result<&[u8], CodecError> {
        let up_to = up_to.min(self.raw_len);
        if let State::Partial(partial) = &mut self.state {
            partial.advance(up_to, self.raw_len)?;
            if partial.raw.len() == self.raw_len {
                partial.finish(self.raw_len)?;
                self.state = State::Whole(std::mem::take(&mut partial.raw));
            }
        }
        Ok(self.available())
    }

    /// What is decoded already.
    pub fn available(&self) -> &[u8] {
        match &self.state {
            State::Whole(raw) => raw,
            State::Partial(partial) => &partial.raw,
        }
    }

    /// Whether all of the block is decoded, and checked to have the right length.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole(_))
    }
}

impl Partial {
    fn advance(&mut self, up_to: usize, raw_len: usize) -> Result<(), CodecError> {
        while self.raw.len() < up_to {
            let target = up_to.next_multiple_of(STEP).min(raw_len);
            self.raw.reserve_exact(target - self.raw.len());
            let before = (self.raw.len(), self.consumed);
            // Behind the end of its frame zstd would start with a next one; a block is one frame.
            if !self.ended {
                self.step(target)?;
            }
            if before == (self.raw.len(), self.consumed) {
                return Err(CodecError::Length {
                    expected: raw_len,
                    found: self.raw.len(),
                });
            }
        }
        Ok(())
    }

    /// Decodes until there are `target` bytes, or the input ends, or the frame does.
    fn step(&mut self, target: usize) -> Result<(), CodecError> {
        let start = self.raw.len();
        // A slice bounds what zstd may write; a vector would offer it all of its capacity.
        self.raw.resize(target, 0);
        let slice = self.raw.get_mut(start..).unwrap_or_default();
        let mut output = OutBuffer::around(slice);
        let mut input = InBuffer::around(&self.stored);
        input.set_pos(self.consumed);
        let result = self.context.decompress_stream(&mut output, &mut input);
        let written = output.pos();
        self.consumed = input.pos();
        self.raw.truncate(start + written);
        self.ended = result.map_err(damaged)? == 0;
        Ok(())
    }

    /// All raw bytes are out: the frame must end here, with nothing behind it.
    fn finish(&mut self, raw_len: usize) -> Result<(), CodecError> {
        if !self.ended {
            // What is left may be no more than the mark of the end.
            self.step(raw_len + 1)?;
            check_len(raw_len, self.raw.len())?;
        }
        if self.ended && self.consumed == self.stored.len() {
            Ok(())
        } else {
            Err(CodecError::Damaged("it does not end where it should"))
        }
    }
}

impl std::fmt::Debug for PrefixDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixDecoder")
            .field("raw_len", &self.raw_len)
            .finish_non_exhaustive()
    }
}
