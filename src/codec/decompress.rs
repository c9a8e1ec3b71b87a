//! Decompressing blocks: whole, to exactly the length that is recorded for them, or only as far as somebody reads.

use super::{Codec, CodecError, MAX_RAW_BYTES};
use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, find_frame_compressed_size,
    get_error_name,
};

/// `log2` of [`MAX_RAW_BYTES`]: no frame of ours needs a larger window, and a decoder that stops has to hold the window.
const WINDOW_LOG_MAX: u32 = MAX_RAW_BYTES.ilog2();
/// In how many portions the rest of a frame is given to the decoder at most.
const PORTIONS: usize = 16;

/// Decompresses blocks; one per worker.
pub struct Decompressor(DCtx<'static>);

impl Decompressor {
    /// A decompressor.
    pub fn new() -> Result<Self, CodecError> {
        let mut context = DCtx::try_create().ok_or(CodecError::Failed("out of memory"))?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .and_then(|_| context.set_parameter(DParameter::StableOutBuffer(true)))
            .map_err(|code| CodecError::Failed(get_error_name(code)))?;
        Ok(Self(context))
    }

    /// Replaces what is in `out` by the `raw_len` bytes that `stored` stands for.
    pub fn decompress(
        &mut self,
        codec: Codec,
        stored: &[u8],
        raw_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        if raw_len > MAX_RAW_BYTES {
            return Err(CodecError::TooLong(raw_len));
        }
        out.clear();
        match codec {
            Codec::Raw => {
                check_len(raw_len, stored.len())?;
                out.extend_from_slice(stored);
            }
            Codec::Zstd => {
                // zstd would go on with a second frame behind the first; a block is one frame.
                if find_frame_compressed_size(stored).map_err(damaged)? != stored.len() {
                    return Err(CodecError::Damaged("it does not end where it should"));
                }
                out.reserve_exact(raw_len);
                // zstd writes no further than the capacity, which may be larger than the length expected.
                let found = self.0.decompress(out, stored).map_err(damaged)?;
                check_len(raw_len, found).inspect_err(|_| out.clear())?;
            }
        }
        Ok(())
    }

    /// Replaces what is in `out` by the first `prefix_len` of the `raw_len` bytes that a zstd frame stands for, and some more. What comes
    /// behind them is not looked at: only for frames that are authenticated as a whole.
    pub fn decompress_prefix(
        &mut self,
        stored: &[u8],
        raw_len: usize,
        prefix_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        if raw_len > MAX_RAW_BYTES {
            return Err(CodecError::TooLong(raw_len));
        }
        let prefix_len = prefix_len.min(raw_len);
        out.clear();
        // Room for all of it, so that zstd needs no window of its own and copies nothing.
        out.reserve_exact(raw_len);
        self.0
            .reset(ResetDirective::SessionOnly)
            .map_err(|code| CodecError::Failed(get_error_name(code)))?;
        let mut output = OutBuffer::around(out);
        // zstd decodes all of the input that it gets, so it gets the share that should do, and then more in small portions.
        let share = stored.len() as u64 * prefix_len as u64 / raw_len.max(1) as u64;
        let mut given = usize::try_from(share).unwrap_or(stored.len());
        let mut consumed = 0;
        loop {
            given = (given + stored.len() / PORTIONS + 1).min(stored.len());
            let mut input = InBuffer::around(&stored[..given]);
            input.set_pos(consumed);
            let left = self.0.decompress_stream(&mut output, &mut input);
            // Behind the end of its frame zstd would go on with a next one; a block is one frame.
            let ended = left.map_err(damaged)? == 0;
            let still = (consumed, given) == (input.pos(), stored.len());
            consumed = input.pos();
            if ended || still || output.pos() >= prefix_len {
                break;
            }
        }
        let found = output.pos();
        if (prefix_len..=raw_len).contains(&found) {
            return Ok(());
        }
        out.clear();
        Err(CodecError::Length {
            expected: raw_len,
            found,
        })
    }
}

fn check_len(expected: usize, found: usize) -> Result<(), CodecError> {
    if expected == found {
        Ok(())
    } else {
        Err(CodecError::Length { expected, found })
    }
}

fn damaged(code: usize) -> CodecError {
    CodecError::Damaged(get_error_name(code))
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}
