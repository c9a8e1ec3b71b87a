//! The directory of an object: its blocks in order, and the chunks in each.
//!
//! ```text
//! object    = header (160) | block frame* | padding frame | directory frame | trailer frame (48)
//! directory = varint block count, block*
//! block     = codec u8 | varint stored bytes (tag included) | varint raw bytes | varint chunk count | chunk*
//! chunk     = first half of its id (16) | varint raw bytes
//! ```
//! Packs list chunks; index and snapshot objects use the same container with blocks that hold no chunks. Blocks lie side by
//! side from byte 160, so offsets are sums and take no space. The padding frame brings the object to a Padme length.

use super::cursor::{Cursor, DecodeError, put_varint};
use super::header::{Codec, HEADER_BYTES, TAG_BYTES};
use super::{MAX_BLOCK_BYTES, MAX_CHUNK_BYTES, MAX_DIRECTORY_BYTES, MAX_PACK_CHUNKS};
use crate::id::ShortChunkId;

/// Shortest entry of a chunk: half an id, and one byte of length.
const MIN_CHUNK_ENTRY_BYTES: usize = ShortChunkId::LEN + 1;

/// One chunk in a block. Chunks lie side by side in the raw block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// The first half of its id.
    pub id: ShortChunkId,
    /// Its length in raw bytes.
    pub raw_bytes: u32,
}

/// One block in a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// How it is encoded.
    pub codec: Codec,
    /// Length of its sealed frame, tag included.
    pub stored_bytes: u32,
    /// Length after decompression.
    pub raw_bytes: u32,
    /// The chunks in it, in order; their lengths sum to `raw_bytes`. Empty in index and snapshot objects.
    pub chunks: Vec<ChunkEntry>,
}

/// All blocks of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// In the order in which they lie in the object.
    pub blocks: Vec<BlockEntry>,
}

impl Directory {
    /// Appends the encoded bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.blocks.len() as u64);
        for block in &self.blocks {
            out.push(block.codec as u8);
            put_varint(out, u64::from(block.stored_bytes));
            put_varint(out, u64::from(block.raw_bytes));
            put_varint(out, block.chunks.len() as u64);
            for chunk in &block.chunks {
                out.extend_from_slice(chunk.id.as_bytes());
                put_varint(out, u64::from(chunk.raw_bytes));
            }
        }
    }

    /// Decodes a whole directory.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let directory = Self::decode_from(&mut cursor)?;
        cursor.finish("bytes after the directory")?;
        Ok(directory)
    }

    /// Decodes the directory at the cursor and leaves the cursor behind it.
    pub fn decode_from(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let count = cursor.bounded(MAX_PACK_CHUNKS.min(cursor.remaining()), "block count")?;
        let mut blocks = Vec::with_capacity(count);
        let mut chunk_count = 0;
        for _ in 0..count {
            let codec = Codec::from_u8(cursor.byte("block codec")?)
                .ok_or_else(|| cursor.error("unknown block codec"))?;
            let stored_bytes =
                cursor.bounded(MAX_BLOCK_BYTES + TAG_BYTES, "stored block length")?;
            let raw_bytes = cursor.bounded(MAX_BLOCK_BYTES, "raw block length")?;
            if stored_bytes < TAG_BYTES
                || (codec == Codec::Raw && stored_bytes != raw_bytes + TAG_BYTES)
            {
                return Err(cursor.error("block length does not fit its codec"));
            }
            let chunks = decode_chunks(cursor, raw_bytes, MAX_PACK_CHUNKS - chunk_count)?;
            chunk_count += chunks.len();
            blocks.push(BlockEntry {
                codec,
                stored_bytes: u32::try_from(stored_bytes).map_err(|_| cursor.error("block"))?,
                raw_bytes: u32::try_from(raw_bytes).map_err(|_| cursor.error("block"))?,
                chunks,
            });
        }
        Ok(Self { blocks })
    }

    /// Offset of every block in its object, in order, then the offset behind the last.
    pub fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        let mut at = HEADER_BYTES as u64;
        std::iter::once(at).chain(self.blocks.iter().map(move |block| {
            at += u64::from(block.stored_bytes);
            at
        }))
    }

    /// How many chunks all blocks hold.
    pub fn chunk_count(&self) -> usize {
        self.blocks.iter().map(|b| b.chunks.len()).sum()
    }
}

fn decode_chunks(
    cursor: &mut Cursor<'_>,
    raw_bytes: usize,
    most: usize,
) -> Result<Vec<ChunkEntry>, DecodeError> {
    let count = cursor.bounded(
        most.min(cursor.remaining() / MIN_CHUNK_ENTRY_BYTES),
        "chunk count",
    )?;
    let mut chunks = Vec::with_capacity(count);
    let mut sum = 0;
    for _ in 0..count {
        let id = ShortChunkId::new(cursor.array("chunk id")?);
        let len = cursor.bounded(MAX_CHUNK_BYTES, "chunk length")?;
        sum += len;
        let raw_bytes = u32::try_from(len).map_err(|_| cursor.error("chunk length"))?;
        chunks.push(ChunkEntry { id, raw_bytes });
    }
    if count > 0 && sum != raw_bytes {
        return Err(cursor.error("chunk lengths do not sum to the block"));
    }
    Ok(chunks)
}

/// The Padme length for an object of `bytes`: at most 12 % more, and only the top bits of the length vary, so that a
/// length tells little about what is inside (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019).
pub fn padme(bytes: u64) -> u64 {
    if bytes < 2 {
        return bytes;
    }
    let exponent = bytes.ilog2();
    let kept_bits = exponent.ilog2() + 1;
    let mask = (1_u64 << (exponent.saturating_sub(kept_bits))) - 1;
    bytes.saturating_add(mask) & !mask
}

const _: () = assert!(MAX_PACK_CHUNKS * 24 < MAX_DIRECTORY_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_grows_little() {
        for bytes in [0_u64, 1, 2, 9, 100, 1 << 20, (1 << 25) + 12345] {
            let padded = padme(bytes);
            assert!(
                padded >= bytes && padded <= bytes + bytes * 12 / 100 + 1,
                "{bytes} {padded}"
            );
            assert_eq!(padme(padded), padded);
        }
    }

    #[test]
    fn directory_round_trip_and_refusals() {
        let chunk = ChunkEntry {
            id: ShortChunkId::new([7; 16]),
            raw_bytes: 300,
        };
        let block = BlockEntry {
            codec: Codec::Zstd,
            stored_bytes: 90,
            raw_bytes: 600,
            chunks: vec![chunk; 2],
        };
        let directory = Directory {
            blocks: vec![block; 3],
        };
        let mut bytes = Vec::new();
        directory.encode(&mut bytes);
        assert_eq!(Directory::decode(&bytes).unwrap(), directory);
        assert_eq!(
            directory.offsets().collect::<Vec<_>>(),
            [160, 250, 340, 430]
        );
        for len in 0..bytes.len() {
            assert!(Directory::decode(&bytes[..len]).is_err());
        }
        bytes[4] ^= 1;
        assert!(Directory::decode(&bytes).is_err());
    }
}
