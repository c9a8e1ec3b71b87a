//! The 160 bytes in front of every sealed object, and the 48 sealed bytes at its end.
//!
//! ```text
//! 0   8  magic  "repoobj" 0x01 (the format version)
//! 8   1  kind
//! 9   1  suite
//! 10  1  key source: 0 index key, 1 session secret
//! 11  1  zero
//! 12  4  epoch, u32 (0 with the index key)
//! 16 32  salt, random for each object
//! 48 32  ephemeral X25519 public key (zeros with the index key)
//! 80 48  session secret sealed to the epoch's public key (zeros with the index key)
//! 128 32 key commitment
//! ```
//! Then block frames side by side, a padding frame, the directory frame and the trailer frame (see [`super::pack`]).

use super::FORMAT_VERSION;
use super::cursor::{Cursor, DecodeError};

/// Length of the header.
pub const HEADER_BYTES: usize = 160;
/// Bytes of the header that the commitment covers: all before it.
pub const COMMITTED_BYTES: usize = 128;
/// Length of the tag that a seal adds to a frame.
pub const TAG_BYTES: usize = 16;
/// Length of the trailer's plaintext.
pub const TRAILER_PLAIN_BYTES: usize = 32;
/// Length of the sealed trailer, the last bytes of an object.
pub const TRAILER_BYTES: usize = TRAILER_PLAIN_BYTES + TAG_BYTES;

/// Frame number of the padding frame.
pub const PADDING_FRAME: u32 = u32::MAX - 2;
/// Frame number of the directory frame.
pub const DIRECTORY_FRAME: u32 = u32::MAX - 1;
/// Frame number of the trailer frame.
pub const TRAILER_FRAME: u32 = u32::MAX;

const MAGIC: [u8; 7] = *b"repoobj";

/// What an object is. Bound into its key, so that none can stand for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// A pack of file content, under `data/`.
    DataPack = 1,
    /// A pack of trees, content lists and recipes, under `meta/`.
    MetaPack = 2,
    /// What packs hold, under `index/`.
    Index = 3,
    /// A snapshot, under `snapshots/`.
    Snapshot = 4,
    /// A running writer, reader or pruner, under `sessions/`.
    Session = 5,
    /// The packs that a pruner condemns, under `gc/`.
    Plan = 6,
    /// The sessions that a plan waits for, under `gc/`.
    Waits = 7,
    /// A snapshot that no rule may drop, under `pins/`.
    Pin = 8,
}

impl ObjectKind {
    /// The kind with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::DataPack,
            2 => Self::MetaPack,
            3 => Self::Index,
            4 => Self::Snapshot,
            5 => Self::Session,
            6 => Self::Plan,
            7 => Self::Waits,
            8 => Self::Pin,
            _ => return None,
        })
    }
}

/// The AEAD of a repository, chosen at its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// ChaCha20-Poly1305, constant time everywhere.
    ChaCha20Poly1305 = 1,
    /// AES-256-GCM, for machines with AES instructions.
    Aes256Gcm = 2,
}

impl Suite {
    /// The suite with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::ChaCha20Poly1305,
            2 => Self::Aes256Gcm,
            _ => return None,
        })
    }
}

/// How block frames are encoded before they are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    /// The codec with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Raw,
            1 => Self::Zstd,
            _ => return None,
        })
    }
}

/// The secret that an object's key derives from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The index key, which every key slot holds.
    Index,
    /// A writer's session secret, which only holders of the epoch's private key can recover.
    Session {
        /// Which epoch's key it is sealed to.
        epoch: u32,
        /// The writer's ephemeral public key.
        ephemeral: [u8; 32],
        /// The sealed session secret.
        sealed_secret: [u8; 48],
    },
}

/// A decoded header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the object is.
    pub kind: ObjectKind,
    /// Its AEAD.
    pub suite: Suite,
    /// Where its key comes from.
    pub source: KeySource,
    /// Random salt, which makes its key its own.
    pub salt: [u8; 32],
    /// Commitment to the key, checked before anything is decrypted.
    pub commitment: [u8; 32],
}

impl Header {
    /// The stored bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..7].copy_from_slice(&MAGIC);
        out[7] = FORMAT_VERSION;
        out[8] = self.kind as u8;
        out[9] = self.suite as u8;
        if let KeySource::Session {
            epoch,
            ephemeral,
            sealed_secret,
        } = &self.source
        {
            out[10] = 1;
            out[12..16].copy_from_slice(&epoch.to_le_bytes());
            out[48..80].copy_from_slice(ephemeral);
            out[80..128].copy_from_slice(sealed_secret);
        }
        out[16..48].copy_from_slice(&self.salt);
        out[128..].copy_from_slice(&self.commitment);
        out
    }

    /// Decodes the first [`HEADER_BYTES`] of an object.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array::<7>("header magic")? != MAGIC {
            return Err(DecodeError {
                what: "not a sealed object (bad magic)",
                offset: 0,
            });
        }
        if cursor.byte("header version")? != FORMAT_VERSION {
            return Err(DecodeError {
                what: "unknown object format version",
                offset: 7,
            });
        }
        let kind = ObjectKind::from_u8(cursor.byte("object kind")?).ok_or(DecodeError {
            what: "unknown object kind",
            offset: 8,
        })?;
        let suite = Suite::from_u8(cursor.byte("suite")?).ok_or(DecodeError {
            what: "unknown suite",
            offset: 9,
        })?;
        let source = cursor.byte("key source")?;
        if cursor.byte("reserved")? != 0 {
            return Err(DecodeError {
                what: "reserved byte is not zero",
                offset: 11,
            });
        }
        let epoch = cursor.u32("epoch")?;
        let salt = cursor.array("salt")?;
        let ephemeral = cursor.array::<32>("ephemeral key")?;
        let sealed_secret = cursor.array::<48>("sealed session secret")?;
        let commitment = cursor.array("commitment")?;
        let source = match source {
            0 if epoch == 0 && ephemeral == [0; 32] && sealed_secret == [0; 48] => KeySource::Index,
            1 => KeySource::Session {
                epoch,
                ephemeral,
                sealed_secret,
            },
            _ => {
                return Err(DecodeError {
                    what: "bad key source",
                    offset: 10,
                });
            }
        };
        Ok(Self {
            kind,
            suite,
            source,
            salt,
            commitment,
        })
    }
}

/// The plaintext of the trailer: where the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Offset of the directory frame in the object.
    pub directory_offset: u64,
    /// Its sealed length, tag included.
    pub directory_stored_bytes: u32,
    /// Its raw length after decompression.
    pub directory_raw_bytes: u32,
    /// Its codec.
    pub directory_codec: Codec,
}

impl Trailer {
    /// The plaintext bytes.
    pub fn encode(&self) -> [u8; TRAILER_PLAIN_BYTES] {
        let mut out = [0; TRAILER_PLAIN_BYTES];
        out[..8].copy_from_slice(&self.directory_offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.directory_stored_bytes.to_le_bytes());
        out[12..16].copy_from_slice(&self.directory_raw_bytes.to_le_bytes());
        out[16] = self.directory_codec as u8;
        out
    }

    /// Decodes an opened trailer of an object of `object_bytes`; the directory must end where the trailer begins.
    pub fn decode(bytes: &[u8], object_bytes: u64) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let trailer = Self {
            directory_offset: cursor.u64("directory offset")?,
            directory_stored_bytes: cursor.u32("directory length")?,
            directory_raw_bytes: cursor.u32("raw directory length")?,
            directory_codec: Codec::from_u8(cursor.byte("directory codec")?).ok_or(
                DecodeError {
                    what: "unknown directory codec",
                    offset: 16,
                },
            )?,
        };
        if cursor.array::<15>("reserved")? != [0; 15] {
            return Err(cursor.error("reserved bytes are not zero"));
        }
        cursor.finish("trailer too long")?;
        let end = trailer
            .directory_offset
            .checked_add(u64::from(trailer.directory_stored_bytes))
            .and_then(|end| end.checked_add(TRAILER_BYTES as u64));
        let limit = super::MAX_DIRECTORY_BYTES as u64;
        if end != Some(object_bytes)
            || trailer.directory_offset < HEADER_BYTES as u64
            || u64::from(trailer.directory_raw_bytes) > limit
            || u64::from(trailer.directory_stored_bytes) > limit + (limit >> 7) + 1024
        {
            return Err(DecodeError {
                what: "directory out of bounds",
                offset: 0,
            });
        }
        Ok(trailer)
    }
}
