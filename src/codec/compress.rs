//! Compressing a block, and deciding that it is not worth it.

use super::{Codec, CodecError, MAX_RAW_BYTES};
use std::ops::RangeInclusive;
use zstd::zstd_safe::{CCtx, CParameter, compress_bound, get_error_name};

/// The compression levels there are. Higher is smaller and slower.
pub const LEVELS: RangeInclusive<i32> = -7..=19;

/// From this level on incompressible bytes are found out at level 1 first: they cost a slow level all its
/// time (31 MB/s at level 19) and level 1 next to nothing (10 GB/s).
const PROBED_FROM: i32 = 10;

/// Compresses blocks; one per worker.
pub struct Compressor {
    context: CCtx<'static>,
    probe: Option<CCtx<'static>>,
}

impl Compressor {
    /// A compressor for `level`.
    pub fn new(level: i32) -> Result<Self, CodecError> {
        if !LEVELS.contains(&level) {
            return Err(CodecError::Level(level));
        }
        let probe = (level >= PROBED_FROM).then(|| context(1)).transpose()?;
        Ok(Self {
            context: context(level)?,
            probe,
        })
    }

    /// Replaces what is in `out` by the stored form of `raw`, and says which form that is: zstd where it
    /// saves at least a 64th, else the bytes as they are.
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<Codec, CodecError> {
        if raw.len() > MAX_RAW_BYTES {
            return Err(CodecError::TooLong(raw.len()));
        }
        let worthwhile = raw.len() - raw.len() / 64;
        let probed = match &mut self.probe {
            Some(probe) => compress(probe, raw, out)? < worthwhile,
            None => true,
        };
        if probed && compress(&mut self.context, raw, out)? < worthwhile {
            return Ok(Codec::Zstd);
        }
        out.clear();
        out.extend_from_slice(raw);
        Ok(Codec::Raw)
    }
}

fn context(level: i32) -> Result<CCtx<'static>, CodecError> {
    let mut context = CCtx::try_create().ok_or(CodecError::Failed("out of memory"))?;
    let failed = |code| CodecError::Failed(get_error_name(code));
    context
        .set_parameter(CParameter::CompressionLevel(level))
        .map_err(failed)?;
    // The raw length is authenticated outside; in the frame it only lets other tools read the block too.
    context
        .set_parameter(CParameter::ContentSizeFlag(true))
        .map_err(failed)?;
    context
        .set_parameter(CParameter::ChecksumFlag(false))
        .map_err(failed)?;
    Ok(context)
}

fn compress(
    context: &mut CCtx<'static>,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, CodecError> {
    out.clear();
    // With less than the bound zstd takes slower, more careful paths.
    out.reserve(compress_bound(raw.len()));
    context
        .compress2(out, raw)
        .map_err(|code| CodecError::Failed(get_error_name(code)))
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}
