//! Decompressing whole blocks, to exactly the length that is recorded for them.

use super::{Codec, CodecError, MAX_RAW_BYTES};
use zstd::zstd_safe::{DCtx, find_frame_compressed_size, get_error_name};

/// Decompresses blocks; one per worker.
pub struct Decompressor(DCtx<'static>);

impl Decompressor {
    /// A decompressor.
    pub fn new() -> Result<Self, CodecError> {
        DCtx::try_create()
            .map(Self)
            .ok_or(CodecError::Failed("out of memory"))
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
