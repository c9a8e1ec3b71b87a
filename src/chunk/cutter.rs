//! Where the next cut is, in a window of contiguous bytes.
//!
//! The scan itself is `fastcdc`'s, at 3.5 GB/s per core; masks and table are given by us. The masks are spelt out
//! here because they are part of the repository format, whatever that crate does later; golden cut points under
//! `tests/data/chunk/` hold both to it.

use super::params::{ChunkError, Params};
use fastcdc::v2020::cut_gear;
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Masks by the binary logarithm of the distance that they make likely, from 2^7 to 2^23 bytes.
const MASKS: [u64; 17] = [
    0x0000_0000_1803_5100,
    0x0000_0018_0003_5300,
    0x0000_0190_0035_3000,
    0x0000_5900_0353_0000,
    0x0000_d900_0353_0000,
    0x0000_d901_0353_0000,
    0x0000_d903_0353_0000,
    0x0000_d903_1353_0000,
    0x0000_d90f_0353_0000,
    0x0000_d903_0353_7000,
    0x0000_d907_0353_7000,
    0x0000_d907_0753_7000,
    0x0000_d917_0753_7000,
    0x0000_d917_4753_7000,
    0x0000_d917_6753_7000,
    0x0000_d937_6753_7000,
    0x0000_d937_7753_7000,
];
const FIRST_MASK_LOG: u32 = 7;

/// A gear table, and the same shifted by one bit, with which the scan takes two bytes at a time.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct GearTable {
    gear: [u64; 256],
    shifted: [u64; 256],
}

/// Cuts by content, or at fixed places. Cheap to clone and shared by threads.
#[derive(Clone, Debug)]
pub struct Cutter(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Content(Content),
    Fixed(u32),
}

#[derive(Clone, Debug)]
struct Content {
    min: usize,
    avg: usize,
    max: usize,
    strict: u64,
    loose: u64,
    table: Arc<GearTable>,
}

impl GearTable {
    /// The table with these entries.
    pub fn new(gear: &[u64; 256]) -> Self {
        Self {
            gear: *gear,
            shifted: gear.map(|entry| entry << 1),
        }
    }
}

impl std::fmt::Debug for GearTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<gear table>")
    }
}

impl Cutter {
    /// Content-defined cuts.
    pub fn content(params: Params, table: Arc<GearTable>) -> Result<Self, ChunkError> {
        let Params { min, avg, max } = params.check()?;
        // Below the average a cut needs one bit more than it would without normalisation, above it one less.
        let level = avg.ilog2() - FIRST_MASK_LOG;
        let mask = |log: u32| MASKS.get(log as usize).copied();
        let (strict, loose) = mask(level + 1)
            .zip(mask(level - 1))
            .ok_or(ChunkError::Sizes { min, avg, max })?;
        let (min, avg, max) = (min as usize, avg as usize, max as usize);
        Ok(Self(Kind::Content(Content {
            min,
            avg,
            max,
            strict,
            loose,
            table,
        })))
    }

    /// Cuts at the multiples of `size`.
    pub fn fixed(size: u32) -> Result<Self, ChunkError> {
        if size.is_power_of_two() && (512..=16 << 20).contains(&size) {
            Ok(Self(Kind::Fixed(size)))
        } else {
            Err(ChunkError::Fixed(size))
        }
    }

    /// No chunk is longer; a window of this many bytes always holds a cut.
    pub fn max(&self) -> usize {
        match &self.0 {
            Kind::Content(content) => content.max,
            Kind::Fixed(size) => *size as usize,
        }
    }

    /// Length of the chunk at the start of `window`, which is at `offset` in its stream. None if `window`
    /// must be longer to tell (it has [`Cutter::max`] bytes, or all that are left with `eof`), or is empty.
    pub fn next_cut(&self, offset: u64, window: &[u8], eof: bool) -> Option<usize> {
        match &self.0 {
            Kind::Content(content) => {
                let enough = eof || window.len() >= content.max;
                (enough && !window.is_empty()).then(|| content.cut(window))
            }
            Kind::Fixed(size) => {
                let size = u64::from(*size);
                let whole = usize::try_from(size - offset % size).ok()?;
                let enough = window.len() >= whole || (eof && !window.is_empty());
                enough.then(|| whole.min(window.len()))
            }
        }
    }
}

impl Content {
    fn cut(&self, window: &[u8]) -> usize {
        let (strict, loose) = (self.strict, self.loose);
        let (gear, shifted) = (self.table.gear.as_slice(), self.table.shifted.as_slice());
        let (_, length) = cut_gear(
            window,
            self.min,
            self.avg,
            self.max,
            strict,
            loose,
            strict << 1,
            loose << 1,
            gear,
            shifted,
        );
        length
    }
}
