//! Where bytes lie: a block in a pack, and a chunk in a block.
//!
//! These are values, not handles: copying one costs nothing and keeps nothing alive. An address says all that is
//! needed to read a block with one ranged read and to open it without the pack's directory.

use crate::format::header::{Codec, ObjectKind};
use crate::id::PackId;

/// One block of one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockAddress {
    /// The pack.
    pub pack: PackId,
    /// [`ObjectKind::DataPack`] or [`ObjectKind::MetaPack`].
    pub kind: ObjectKind,
    /// Position of the block in the pack, from 0; also its frame number.
    pub number: u32,
    /// Offset of the sealed frame in the object.
    pub offset: u64,
    /// Length of the sealed frame, tag included.
    pub stored_bytes: u32,
    /// Length after decompression.
    pub raw_bytes: u32,
    /// How the frame is encoded.
    pub codec: Codec,
}

/// One chunk: a range of a raw block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The block that it is in.
    pub block: BlockAddress,
    /// First byte in the raw block.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}
