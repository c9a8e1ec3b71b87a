//! A file's content: a list of items, in order, that together are its logical bytes.
//!
//! ```text
//! content = item*
//! item    = varint length << 2 | kind, then
//!           kind 0 data:  chunk id (32)
//!           kind 1 hole:  nothing (a hole of the source)
//!           kind 2 zeros: nothing (data of the source that was all zero: reads the same, takes no chunk)
//!           kind 3 list:  varint data bytes | chunk id (32) of a chunk that holds more items of this form
//! ```
//! Long contents are trees of lists: a list covers `length` logical bytes, of which `data bytes` come from chunks. The
//! difference between holes and zeros matters only when a recipe puts an archive together again, where zeros were bytes and holes were not.

use super::MAX_CHUNK_BYTES;
use super::cursor::{Cursor, DecodeError, put_varint};
use crate::id::ChunkId;

/// How deep lists may nest: 1,024 items each make 2^40 chunks.
pub const MAX_LIST_DEPTH: usize = 4;
/// The most encoded bytes of one content or list.
pub const MAX_CONTENT_BYTES: usize = 1 << 20;

/// The most logical bytes of one content: a reader refuses more, so nothing more may be written.
pub const MAX_CONTENT_LEN: u64 = 1 << 61;

/// One run of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A chunk.
    Data {
        /// The chunk.
        id: ChunkId,
        /// Its length.
        len: u32,
    },
    /// A hole of the source.
    Hole(u64),
    /// Data of the source that was all zero.
    Zeros(u64),
    /// More items, in a chunk of their own.
    List {
        /// The chunk that holds them.
        id: ChunkId,
        /// Logical bytes that they cover.
        len: u64,
        /// How many of those are in chunks.
        data_bytes: u64,
    },
}

impl Item {
    /// Logical bytes that it covers.
    pub fn len(&self) -> u64 {
        match *self {
            Self::Data { len, .. } => u64::from(len),
            Self::Hole(len) | Self::Zeros(len) | Self::List { len, .. } => len,
        }
    }

    /// True if it covers nothing; no stored item does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of its bytes are in chunks.
    pub fn data_bytes(&self) -> u64 {
        match *self {
            Self::Data { len, .. } => u64::from(len),
            Self::List { data_bytes, .. } => data_bytes,
            Self::Hole(_) | Self::Zeros(_) => 0,
        }
    }

    /// Appends the encoded bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, id) = match self {
            Self::Data { id, .. } => (0, Some(id)),
            Self::Hole(_) => (1, None),
            Self::Zeros(_) => (2, None),
            Self::List { id, .. } => (3, Some(id)),
        };
        put_varint(out, self.len() << 2 | kind);
        if let Self::List { data_bytes, .. } = self {
            put_varint(out, *data_bytes);
        }
        if let Some(id) = id {
            out.extend_from_slice(id.as_bytes());
        }
    }
}

/// Encodes items.
pub fn encode(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.len() * 36);
    for item in items {
        item.encode(&mut out);
    }
    out
}

/// Decodes items that fill `bytes`; empty items and sums beyond 2^62 are refused.
pub fn decode(bytes: &[u8]) -> Result<Vec<Item>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    if bytes.len() > MAX_CONTENT_BYTES {
        return Err(cursor.error("content list too long"));
    }
    let mut items = Vec::new();
    let mut total = 0_u64;
    while !cursor.is_empty() {
        let tag = cursor.varint("item")?;
        let len = tag >> 2;
        total = total
            .checked_add(len)
            .ok_or_else(|| cursor.error("content too long"))?;
        if len == 0 || total > MAX_CONTENT_LEN {
            return Err(cursor.error("item length"));
        }
        items.push(match tag & 3 {
            0 => {
                let len = u32::try_from(len).map_err(|_| cursor.error("chunk length"))?;
                if len as usize > MAX_CHUNK_BYTES {
                    return Err(cursor.error("chunk length"));
                }
                Item::Data {
                    id: ChunkId::new(cursor.array("chunk id")?),
                    len,
                }
            }
            1 => Item::Hole(len),
            2 => Item::Zeros(len),
            _ => {
                let data_bytes = cursor.varint("data bytes")?;
                if data_bytes > len {
                    return Err(cursor.error("data bytes of a list"));
                }
                Item::List {
                    id: ChunkId::new(cursor.array("list id")?),
                    len,
                    data_bytes,
                }
            }
        });
    }
    Ok(items)
}

/// Logical length of items.
pub fn total_len(items: &[Item]) -> u64 {
    items.iter().map(Item::len).sum()
}

/// Bytes of items that are in chunks.
pub fn total_data(items: &[Item]) -> u64 {
    items.iter().map(Item::data_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let id = ChunkId::new([9; 32]);
        let items = [
            Item::Data { id, len: 5 },
            Item::Hole(1 << 40),
            Item::Zeros(4096),
            Item::List {
                id,
                len: 100,
                data_bytes: 60,
            },
        ];
        let bytes = encode(&items);
        assert_eq!(decode(&bytes).unwrap(), items);
        assert_eq!(
            (total_len(&items), total_data(&items)),
            ((1 << 40) + 4201, 65)
        );
        for len in [1, 10, 32, bytes.len() - 1] {
            assert!(decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(decode(&[1]).is_err(), "an empty hole");
    }
}
