//! Small objects that are named by a random id and not by their bytes: sessions, plans and pins, as sealed fields.
//!
//! The container is that of every object, with one block, sealed under the index key: whoever has a key of the repository
//! reads and writes them. What binds an object to its name is the id in its first field, which the caller compares.

use super::Repository;
use super::object::{EncodedBlock, MAX_HELD_BYTES, ObjectBuilder, area_of, crypto, read_blocks_at};
use crate::backend::{Backend, Key, Memory};
use crate::codec::Compressor;
use crate::crypto::seal::WriterKeys;
use crate::error::{Class, Error, Result};
use crate::format::DecodeError;
use crate::format::header::ObjectKind;

impl Repository {
    /// The stored bytes of an object with these fields.
    pub(super) fn seal_record(&self, kind: ObjectKind, fields: &[u8]) -> Result<Vec<u8>> {
        let keys = WriterKeys::new(self.id(), self.suite(), self.keyring())
            .map_err(crypto("begin an object"))?;
        let mut compressor =
            Compressor::new(1).map_err(|e| Error::caused(Class::Io, "start a compressor", e))?;
        let mut builder = ObjectBuilder::new(&keys, kind, Vec::new())?;
        builder.add(EncodedBlock::new(fields, Vec::new(), &mut compressor)?)?;
        Ok(builder.finish(&mut compressor)?.bytes)
    }

    /// Reads an object of at most `limit` bytes of fields, and decodes it.
    pub(super) fn read_record<T>(
        &self,
        kind: ObjectKind,
        name: &str,
        limit: usize,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T> {
        let key = Key::named(area_of(kind), name)?;
        let held = Memory::new();
        held.write_new(&key, &self.backend().read_all(&key, MAX_HELD_BYTES)?)?;
        let mut fields = Vec::new();
        read_blocks_at(&held, self.keys(), kind, &key, &mut |block| {
            if fields.len() + block.len() > limit {
                return Err(Error::corrupt(format!("{key}: longer than it may be")));
            }
            fields.extend_from_slice(block);
            Ok(())
        })?;
        decode(&fields).map_err(|e| Error::caused(Class::Corrupt, key.to_string(), e))
    }
}
