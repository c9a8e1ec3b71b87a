//! Pins: snapshots that no rule may drop. One object for each, named by the snapshot.
//!
//! The container is a pack's with one block of numbered fields, sealed under the index key. The name alone makes the pin,
//! also where the object is damaged: a pin that cannot be read keeps a snapshot rather than losing it.

use super::cursor::DecodeError;
use super::fields::{Unknown, put_field, read_fields};
use crate::id::SnapshotId;

/// The longest encoded pin.
pub const MAX_PIN_BYTES: usize = 64 << 10;

/// A decoded pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The snapshot that it keeps.
    pub snapshot: SnapshotId,
    /// Fields of later versions.
    pub unknown: Unknown,
}

impl Pin {
    /// A pin on `snapshot`.
    pub fn new(snapshot: SnapshotId) -> Self {
        Self {
            snapshot,
            unknown: Unknown::default(),
        }
    }

    /// The encoded fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 1, self.snapshot.as_bytes());
        self.unknown.put(&mut out);
        out
    }

    /// Decodes fields that fill `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bad = |what| DecodeError { what, offset: 0 };
        if bytes.len() > MAX_PIN_BYTES {
            return Err(bad("pin too long"));
        }
        let mut snapshot = None;
        let mut unknown = Unknown::default();
        read_fields(bytes, |number, value| {
            match number {
                1 if snapshot.is_none() => {
                    let id = SnapshotId::from_slice(value.bytes(32, "pinned snapshot")?);
                    snapshot = Some(id.ok_or(bad("pinned snapshot"))?);
                }
                1 => return Err(bad("pinned snapshot twice")),
                _ => unknown.keep(number, value),
            }
            Ok(())
        })?;
        Ok(Self {
            snapshot: snapshot.ok_or(bad("pin without a snapshot"))?,
            unknown,
        })
    }
}
