//! Identifiers: fixed-length byte strings with hexadecimal text, one type per kind so that none stands for another.

use std::fmt;
use std::str::FromStr;

/// Text that is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what} ({digits} hexadecimal digits)")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
    digits: usize,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:expr, $what:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The identifier made of these bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The identifier in `bytes`, if the length is right.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// All of it in lower-case hexadecimal.
            pub fn to_hex(&self) -> String {
                to_hex(&self.0)
            }

            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                to_hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $len];
                if from_hex(text, &mut bytes) {
                    Ok(Self(bytes))
                } else {
                    Err(ParseIdError { text: text.to_owned(), what: $what, digits: 2 * $len })
                }
            }
        }
    };
}

id_type!(
    /// Keyed BLAKE3-256 of a chunk's plaintext: equal content has equal ids, within one repository only.
    ChunkId, 32, "a chunk id"
);
id_type!(
    /// The first half of a [`ChunkId`]: what directories, index objects and the catalog know a chunk by. Trees and contents have the whole
    /// id, so what is read is compared with all of it; a place is found by half of it.
    ShortChunkId, 16, "half of a chunk id"
);
id_type!(
    /// Name of a stored object: the unkeyed BLAKE3-256 of its stored bytes, so that anyone can verify it.
    ObjectId, 32, "an object id"
);
id_type!(
    /// Random identity of a repository; bound into every sealed byte.
    RepositoryId, 16, "a repository id"
);
id_type!(
    /// Random name of a key slot.
    SlotId, 16, "a key slot id"
);

id_type!(
    /// Random name of a session: a running writer, reader or pruner.
    SessionId, 16, "a session id"
);
id_type!(
    /// Random name of a pruner's plan.
    PlanId, 16, "a plan id"
);

/// A pack's name.
pub type PackId = ObjectId;
/// A snapshot's name.
pub type SnapshotId = ObjectId;

impl ChunkId {
    /// What directories and the catalog know it by.
    pub fn shorten(&self) -> ShortChunkId {
        let mut short = [0; ShortChunkId::LEN];
        short.copy_from_slice(&self.0[..ShortChunkId::LEN]);
        ShortChunkId(short)
    }
}

impl ObjectId {
    /// The name that an object with these stored bytes has.
    pub fn of(stored: &[u8]) -> Self {
        Self(*blake3::hash(stored).as_bytes())
    }
}

/// Lower-case hexadecimal text of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Fills `bytes` from hexadecimal `text`; false if the text has another length or other characters.
fn from_hex(text: &str, bytes: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != bytes.len() * 2 {
        return false;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return false;
        };
        *byte = high << 4 | low;
    }
    true
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip() {
        let id = ObjectId::of(b"x");
        assert_eq!(id.to_hex().parse::<ObjectId>().unwrap(), id);
        assert!("12".parse::<SlotId>().is_err());
        assert!(
            "ZZ345678901234567890123456789012"
                .parse::<SlotId>()
                .is_err()
        );
    }
}
