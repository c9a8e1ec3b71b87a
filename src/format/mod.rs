//! Persistent layouts: every byte that is stored, one structure per file, in the order of `docs/format.md`.
//!
//! Nothing here does I/O or knows a key. Decoders read through one bounds-checked [`Cursor`]; every length is compared
//! with a limit before anything is allocated, and what is not exactly right is refused: a decoder never guesses.
//!
//! Two encodings are used. *Fixed* layouts (header, trailer) are little-endian byte tables. *Records* are varints and
//! length-prefixed bytes; the evolvable ones (node, snapshot) are numbered fields in ascending order, and fields that a
//! reader does not know are kept and written back.

pub mod config;
pub mod content;
mod cursor;
pub mod fields;
pub mod header;
pub mod index;
pub mod pack;
pub mod pin;
pub mod plan;
pub mod recipe;
pub mod session;
pub mod snapshot;
pub mod tree;

pub use cursor::{Cursor, DecodeError, put_bytes, put_varint, put_zigzag};

/// The version of the repository format that this program reads and writes.
pub const FORMAT_VERSION: u8 = 1;

/// The largest chunk, raw bytes. A reader refuses longer ones before it allocates.
pub const MAX_CHUNK_BYTES: usize = 16 << 20;
/// The largest block, raw bytes: a block holds at least one chunk and normally ends at its target size.
pub const MAX_BLOCK_BYTES: usize = 32 << 20;
/// The most chunks in one pack; bounds a pack's directory in memory.
pub const MAX_PACK_CHUNKS: usize = 1 << 16;
/// The largest raw directory of a pack or frame of an index object.
pub const MAX_DIRECTORY_BYTES: usize = 8 << 20;
/// The largest stored object.
pub const MAX_OBJECT_BYTES: u64 = 1 << 30;
