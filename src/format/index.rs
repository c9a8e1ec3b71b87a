//! Index objects: what packs hold, so that nobody has to read pack tails.
//!
//! The container is a pack's (see [`super::pack`]), sealed under the index key; each of its blocks holds whole records:
//!
//! ```text
//! record = pack id (32) | kind u8 (1 data, 2 meta) | varint stored bytes of the pack | directory
//! ```

use super::MAX_OBJECT_BYTES;
use super::cursor::{Cursor, DecodeError, put_varint};
use super::header::ObjectKind;
use super::pack::Directory;
use crate::id::{ObjectId, PackId};

/// One pack as an index object lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// The pack's name.
    pub id: PackId,
    /// [`ObjectKind::DataPack`] or [`ObjectKind::MetaPack`].
    pub kind: ObjectKind,
    /// Its length as stored.
    pub stored_bytes: u64,
    /// What is in it.
    pub directory: Directory,
}

impl PackRecord {
    /// Appends the encoded bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(self.kind as u8);
        put_varint(out, self.stored_bytes);
        self.directory.encode(out);
    }

    /// Decodes all records of one block, one by one.
    pub fn decode_all(block: &[u8], mut each: impl FnMut(PackRecord)) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(block);
        while !cursor.is_empty() {
            let id = ObjectId::new(cursor.array("pack id")?);
            let Some(kind @ (ObjectKind::DataPack | ObjectKind::MetaPack)) =
                ObjectKind::from_u8(cursor.byte("pack kind")?)
            else {
                return Err(cursor.error("not a pack kind"));
            };
            let stored_bytes = cursor.varint("pack length")?;
            if stored_bytes > MAX_OBJECT_BYTES {
                return Err(cursor.error("pack length"));
            }
            let directory = Directory::decode_from(&mut cursor)?;
            each(PackRecord {
                id,
                kind,
                stored_bytes,
                directory,
            });
        }
        Ok(())
    }
}
