//! Recipes: how an ingested archive is put together again, byte for byte.
//!
//! A recipe is a stream of operations, stored like a file's content:
//!
//! ```text
//! operation = 0 | bytes literal              bytes that are no member's content: padding, end blocks, odd headers
//!           | 1 | bytes path                 the data and zeros (not the holes) of the file at that path in the tree
//!           | 2 | header                     padding, then a header block, then the content of the file that it names
//!           | 3 | header                     padding, then a header block
//! header    = type flag u8 | varint shared | bytes rest | bytes changes        (see [`Headers`])
//! override  = varint ordinal | bytes content | the ordinal counts operations of kinds 1 and 2 from 0
//! ```
//! Padding is zeros up to the next multiple of 512 bytes of the archive.
//! Overrides are a second stream, sorted by ordinal: members whose content the tree does not show at that path
//! (a later member of the same name replaced it) carry their content there.

mod header;

pub use header::{HEADER_BLOCK_BYTES, Header, HeaderBlock, Headers, padding};

use super::content::{self, Item, MAX_CONTENT_BYTES};
use super::cursor::{Cursor, DecodeError, put_bytes, put_varint};
use header::MAX_HEADER_BYTES;

/// The longest literal of one operation; longer ones are several operations.
pub const MAX_LITERAL_BYTES: usize = 64 << 10;
/// The longest path in a recipe.
pub const MAX_PATH_BYTES: usize = 1 << 20;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// These bytes.
    Literal(&'a [u8]),
    /// The content of the file at this path.
    Content(&'a [u8]),
    /// Padding and a header block; then the content of the file that it names.
    Member(Header<'a>),
    /// Padding and a header block.
    Header(Header<'a>),
}

impl<'a> Operation<'a> {
    /// Appends the encoded bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, bytes) = match self {
            Self::Literal(bytes) => (0, bytes),
            Self::Content(path) => (1, path),
            Self::Member(header) | Self::Header(header) => {
                out.push(if matches!(self, Self::Member(_)) {
                    2
                } else {
                    3
                });
                return header.encode(out);
            }
        };
        out.push(kind);
        put_bytes(out, bytes);
    }

    /// The first operation in `window`, and how many bytes it takes; `None` if the window ends within it, which is
    /// an error of the caller's only if no more bytes can come.
    pub fn decode(window: &'a [u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some(kind) = window.first() else {
            return Ok(None);
        };
        let limit = match kind {
            0 => MAX_LITERAL_BYTES,
            1 => MAX_PATH_BYTES,
            2 | 3 => return Self::decode_header(window, *kind == 2),
            _ => {
                return Err(DecodeError {
                    what: "unknown recipe operation",
                    offset: 0,
                });
            }
        };
        let Some((bytes, used)) = prefixed(window, 1, limit)? else {
            return Ok(None);
        };
        Ok(Some((
            if *kind == 0 {
                Self::Literal(bytes)
            } else {
                Self::Content(bytes)
            },
            used,
        )))
    }

    fn decode_header(window: &'a [u8], member: bool) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut cursor = Cursor::new(window);
        cursor.byte("operation")?;
        let header = match Header::decode(&mut cursor) {
            Ok(header) => header,
            Err(_) if window.len() <= MAX_HEADER_BYTES => return Ok(None),
            Err(error) => return Err(error),
        };
        let operation = if member {
            Self::Member(header)
        } else {
            Self::Header(header)
        };
        Ok(Some((operation, cursor.offset())))
    }
}

/// The content of the member that the `ordinal`-th content operation stands for, where the tree does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Which content operation, from 0.
    pub ordinal: u64,
    /// The content.
    pub content: Vec<Item>,
}

impl Override {
    /// Appends the encoded bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.ordinal);
        put_bytes(out, &content::encode(&self.content));
    }

    /// The first override in `window`, as [`Operation::decode`].
    pub fn decode(window: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut cursor = Cursor::new(window);
        let Ok(ordinal) = cursor.varint("ordinal") else {
            return if window.len() < 10 {
                Ok(None)
            } else {
                Err(cursor.error("ordinal"))
            };
        };
        let Some((bytes, used)) = prefixed(window, cursor.offset(), MAX_CONTENT_BYTES)? else {
            return Ok(None);
        };
        Ok(Some((
            Self {
                ordinal,
                content: content::decode(bytes)?,
            },
            used,
        )))
    }
}

/// Length-prefixed bytes at `at`, and where they end; `None` if the window ends before.
fn prefixed(window: &[u8], at: usize, limit: usize) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let rest = window.get(at..).unwrap_or_default();
    let mut cursor = Cursor::new(rest);
    let Ok(len) = cursor.varint("length") else {
        return if rest.len() < 10 {
            Ok(None)
        } else {
            Err(cursor.error("length"))
        };
    };
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= limit) else {
        return Err(cursor.error("recipe operation too long"));
    };
    let start = at + cursor.offset();
    Ok(window
        .get(start..start + len)
        .map(|bytes| (bytes, start + len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stream() {
        let mut bytes = Vec::new();
        Operation::Literal(&[1; 300]).encode(&mut bytes);
        Operation::Content(b"a/b").encode(&mut bytes);
        let (first, used) = Operation::decode(&bytes).unwrap().unwrap();
        assert_eq!(first, Operation::Literal(&[1; 300]));
        let (second, rest) = Operation::decode(&bytes[used..]).unwrap().unwrap();
        assert_eq!(
            (second, used + rest),
            (Operation::Content(b"a/b"), bytes.len())
        );
        for len in 0..used {
            assert_eq!(Operation::decode(&bytes[..len]).unwrap(), None);
        }
        assert!(Operation::decode(&[4, 0]).is_err());
        assert!(Operation::decode(&[0, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }

    #[test]
    fn headers_stream() {
        let header = Header {
            flag: b'0',
            shared: 3,
            rest: b"one.c",
            changes: &[1, 2, 3, 4],
        };
        for operation in [Operation::Member(header), Operation::Header(header)] {
            let mut bytes = Vec::new();
            operation.encode(&mut bytes);
            let end = bytes.len();
            for len in 0..end {
                assert_eq!(Operation::decode(&bytes[..len]).unwrap(), None);
            }
            bytes.push(9);
            assert_eq!(Operation::decode(&bytes).unwrap(), Some((operation, end)));
        }
        let mut endless = vec![2, b'0', 101];
        endless.resize(4096, 0);
        assert!(Operation::decode(&endless).is_err());
    }

    #[test]
    fn overrides_stream() {
        let one = Override {
            ordinal: 300,
            content: vec![Item::Zeros(9)],
        };
        let mut bytes = Vec::new();
        one.encode(&mut bytes);
        assert_eq!(Override::decode(&bytes).unwrap(), Some((one, bytes.len())));
        assert_eq!(Override::decode(&bytes[..3]).unwrap(), None);
    }
}
