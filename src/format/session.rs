//! Session objects: who is at work in a repository, and what readers need meanwhile.
//!
//! The container is a pack's with one block of numbered fields, sealed under the index key. A session is named by a random
//! id, which is also its first field: a store cannot show one as another.

use super::content::{self, Item, MAX_CONTENT_BYTES};
use super::cursor::{Cursor, DecodeError};
use super::fields::{Unknown, Value, put_field, put_number, read_fields};
use super::tree::TreeRef;
use crate::id::{SessionId, SnapshotId};

/// The longest encoded session.
pub const MAX_SESSION_BYTES: usize = 16 << 20;

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SessionKind {
    /// Adds packs and a snapshot.
    Writer = 1,
    /// Reads snapshots.
    Reader = 2,
    /// Decides which packs are condemned, and repacks: a writer, too.
    Pruner = 3,
    /// Removes condemned packs; at most one does at a time.
    Executor = 4,
}

impl SessionKind {
    /// The kind with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Writer,
            2 => Self::Reader,
            3 => Self::Pruner,
            4 => Self::Executor,
            _ => return None,
        })
    }

    /// True if it may reuse chunks that are stored: plans wait for it.
    pub fn writes(self) -> bool {
        matches!(self, Self::Writer | Self::Pruner)
    }
}

/// A decoded session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// What it does.
    pub kind: SessionKind,
    /// The snapshots that a reader reads, for people.
    pub snapshots: Vec<SnapshotId>,
    /// Their root directories: what they reach is kept as long as the session lives.
    pub trees: Vec<TreeRef>,
    /// Contents that a reader needs beside (recipes, originals, identity documents).
    pub contents: Vec<Vec<Item>>,
    /// Fields of later versions.
    pub unknown: Unknown,
}

impl Session {
    /// A session that needs nothing kept.
    pub fn new(id: SessionId, kind: SessionKind) -> Self {
        Self {
            id,
            kind,
            snapshots: Vec::new(),
            trees: Vec::new(),
            contents: Vec::new(),
            unknown: Unknown::default(),
        }
    }

    /// The encoded fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 1, self.id.as_bytes());
        put_number(&mut out, 2, self.kind as u64);
        for id in &self.snapshots {
            put_field(&mut out, 3, id.as_bytes());
        }
        for tree in &self.trees {
            let mut reference = Vec::new();
            tree.encode(&mut reference);
            put_field(&mut out, 4, &reference);
        }
        for items in &self.contents {
            put_field(&mut out, 5, &content::encode(items));
        }
        self.unknown.put(&mut out);
        out
    }

    /// Decodes fields that fill `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bad = |what| DecodeError { what, offset: 0 };
        if bytes.len() > MAX_SESSION_BYTES {
            return Err(bad("session too long"));
        }
        let (mut id, mut kind) = (None, None);
        let mut session = Self::new(SessionId::new([0; 16]), SessionKind::Writer);
        read_fields(bytes, |number, value| {
            match number {
                1 if id.is_none() => {
                    id = Some(
                        SessionId::from_slice(value.bytes(16, "session id")?)
                            .ok_or(bad("session id"))?,
                    );
                }
                2 if kind.is_none() => {
                    let number = u8::try_from(value.number("session kind")?).unwrap_or(0);
                    kind = Some(SessionKind::from_u8(number).ok_or(bad("unknown session kind"))?);
                }
                3 => session.snapshots.push(
                    SnapshotId::from_slice(value.bytes(32, "snapshot id")?)
                        .ok_or(bad("snapshot id"))?,
                ),
                4 => session.trees.push(read_tree(value)?),
                5 => session
                    .contents
                    .push(content::decode(value.bytes(MAX_CONTENT_BYTES, "content")?)?),
                1 | 2 => return Err(bad("field twice")),
                _ => session.unknown.keep(number, value),
            }
            Ok(())
        })?;
        session.id = id.ok_or(bad("session without an id"))?;
        session.kind = kind.ok_or(bad("session without a kind"))?;
        Ok(session)
    }
}

fn read_tree(value: Value<'_>) -> Result<TreeRef, DecodeError> {
    let mut cursor = Cursor::new(value.bytes(80, "tree reference")?);
    let tree = TreeRef::decode_from(&mut cursor)?;
    cursor.finish("tree reference too long")?;
    Ok(tree)
}
