//! Sizes of chunks, recorded in a repository's `config` and never changed afterwards: other sizes, other cuts,
//! nothing deduplicates any more.

use crate::format::config::ChunkSizes;

/// Sizes of content-defined chunks in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// No chunk but a stream's last is shorter.
    pub min: u32,
    /// The size that cuts are steered towards; a power of two. The real mean is about a fifth to a third above it.
    pub avg: u32,
    /// No chunk is longer.
    pub max: u32,
}

/// Parameters that cannot be cut by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The sizes are out of bounds, odd, or in the wrong order.
    #[error(
        "chunk sizes {min}/{avg}/{max} are not usable: even, 64 B to 1 MiB / a power of two, 256 B to 4 MiB / \
         up to 16 MiB, in rising order"
    )]
    Sizes {
        /// Minimum.
        min: u32,
        /// Average.
        avg: u32,
        /// Maximum.
        max: u32,
    },
    /// A fixed size out of bounds.
    #[error("a fixed chunk size of {0} bytes is not usable: a power of two, 512 B to 16 MiB")]
    Fixed(u32),
}

impl From<ChunkSizes> for Params {
    fn from(sizes: ChunkSizes) -> Self {
        Self {
            min: sizes.min_bytes,
            avg: sizes.avg_bytes,
            max: sizes.max_bytes,
        }
    }
}

impl Params {
    /// A quarter of the average to four times the average.
    pub const fn around(avg: u32) -> Self {
        Self {
            min: avg / 4,
            avg,
            max: avg * 4,
        }
    }

    /// Refuses sizes that cuts are not defined for. Odd ones would shift cuts by a byte, silently.
    pub fn check(self) -> Result<Self, ChunkError> {
        let Self { min, avg, max } = self;
        let even = min.is_multiple_of(2) && max.is_multiple_of(2) && avg.is_power_of_two();
        let bounded = (64..=1 << 20).contains(&min) && (256..=4 << 20).contains(&avg);
        if even && bounded && min < avg && avg < max && max <= 16 << 20 {
            Ok(self)
        } else {
            Err(ChunkError::Sizes { min, avg, max })
        }
    }
}
