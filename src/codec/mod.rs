//! Compression of blocks: zstd, or the bytes as they are when that is not worth it.
//!
//! Contexts are made once per worker and reused (a fresh one costs more than compressing a small block). The raw length
//! of everything is known from outside, authenticated: decoding allocates exactly that, and any other outcome
//! is an error. Frames carry no checksum: they are inside a seal.
//!
//! | file | holds |
//! |---|---|
//! | `compress` | [`Compressor`] and the decision between zstd and raw |
//! | `decompress` | [`Decompressor`], of whole blocks and of their first part |

mod compress;
mod decompress;

pub use compress::{Compressor, LEVELS};
pub use decompress::Decompressor;

use crate::error::{At, Class, Error, Result};
use std::fmt;

pub use crate::format::header::Codec;

/// The longest raw block that is ever encoded or decoded.
pub const MAX_RAW_BYTES: usize = crate::format::MAX_BLOCK_BYTES;

/// A failure to encode or decode a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A compression level out of range.
    #[error("compression level {0} is not between -7 and 19")]
    Level(i32),
    /// A block above the limit.
    #[error("a block of {0} bytes is longer than any block may be")]
    TooLong(usize),
    /// The bytes are not what the codec makes.
    #[error("the compressed bytes are damaged ({0})")]
    Damaged(&'static str),
    /// The bytes decode to another length than recorded.
    #[error("the block has {found} bytes or more instead of {expected}")]
    Length {
        /// The recorded length.
        expected: usize,
        /// What it decodes to, as far as it was decoded.
        found: usize,
    },
    /// The compressor itself failed, for want of memory.
    #[error("the compressor failed ({0})")]
    Failed(&'static str),
}

impl CodecError {
    /// The class that code in the higher rows acts on.
    pub fn class(&self) -> Class {
        match self {
            Self::Level(_) | Self::TooLong(_) => Class::Invalid,
            Self::Damaged(_) | Self::Length { .. } => Class::Corrupt,
            Self::Failed(_) => Class::Full,
        }
    }
}

impl<T> At<T> for std::result::Result<T, CodecError> {
    fn at(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::caused(error.class(), what.to_string(), error))
    }

    fn at_path(self, what: &str, path: &std::path::Path) -> Result<T> {
        self.at(format_args!("{what} {}", path.display()))
    }
}

#[cfg(test)]
mod tests;
