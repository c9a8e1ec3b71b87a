//! Looking at stored objects as they are, not as the catalog remembers them: what a check is made of.

use rayon::prelude::*;

use super::object::{decoded, key_of, open_block, opener, read_blocks, read_directory};
use super::{Repository, lock};
use crate::backend::{Backend, Key};
use crate::codec::Decompressor;
use crate::error::{Class, Error, Result};
use crate::format::MAX_OBJECT_BYTES;
use crate::format::header::{HEADER_BYTES, ObjectKind};
use crate::format::index::PackRecord;
use crate::format::pack::{BlockEntry, Directory};
use crate::id::{ObjectId, PackId};

/// Read at once where only a digest is wanted.
const READ_BYTES: u64 = 4 << 20;
/// Blocks that are in memory together while a pack is read.
const BLOCKS_AHEAD: usize = 8;

/// What reading all of a pack showed.
#[derive(Debug, Default)]
pub struct PackAudit {
    /// What the pack says is in it, if that can be read, and its blocks with it.
    pub directory: Option<Directory>,
    /// What is wrong with it as a whole: its bytes are not those that its name stands for, or its directory cannot be read.
    pub errors: Vec<Error>,
    /// Its bytes are those that its name stands for: nothing happened to it since it was written.
    pub is_original: bool,
    /// Blocks that cannot be read or hold wrong chunks, by position.
    pub bad_blocks: Vec<(u32, Error)>,
    /// Raw bytes that were checked.
    pub raw_bytes: u64,
    /// Stored bytes that were read.
    pub stored_bytes: u64,
}

impl PackAudit {
    /// True if it is what it was, and all of it can be read.
    pub fn is_sound(&self) -> bool {
        self.is_original && self.errors.is_empty() && self.bad_blocks.is_empty()
    }
}

impl Repository {
    /// Calls `each` with every record of an index object as it is stored.
    pub fn index_records(
        &self,
        id: &ObjectId,
        each: &mut dyn FnMut(PackRecord) -> Result<()>,
    ) -> Result<()> {
        let key = key_of(ObjectKind::Index, id);
        let mut take = |block: &[u8]| {
            let mut records = Vec::new();
            PackRecord::decode_all(block, |record| records.push(record)).map_err(decoded(&key))?;
            records.into_iter().try_for_each(&mut *each)
        };
        read_blocks(
            self.backend().as_ref(),
            self.keys(),
            ObjectKind::Index,
            id,
            &mut take,
        )
    }

    /// What an index object would say of a pack, from the pack itself.
    pub(crate) fn own_record(&self, kind: ObjectKind, id: &PackId) -> Result<PackRecord> {
        let (directory, stored_bytes) =
            read_directory(self.backend().as_ref(), self.keys(), kind, id)?;
        Ok(PackRecord {
            id: *id,
            kind,
            stored_bytes,
            directory,
        })
    }

    /// The directory that a pack has itself, whatever index objects say.
    pub(crate) fn pack_directory(&self, kind: ObjectKind, id: &PackId) -> Result<Directory> {
        Ok(self.own_record(kind, id)?.directory)
    }

    /// Reads all of a pack: its name against its bytes, every block, every chunk. Memory: a few blocks.
    /// An error is one of the medium, or that the pack is not there; what is wrong with the pack is in the answer.
    pub fn audit_pack(&self, kind: ObjectKind, id: &PackId) -> Result<PackAudit> {
        self.require_full("check content")?;
        let backend = self.backend().as_ref();
        let key = key_of(kind, id);
        let mut audit = PackAudit::default();
        let mut digest = match Digest::new(backend, &key) {
            Ok(digest) => digest,
            Err(e) if is_verdict(&e) => {
                audit.errors.push(e);
                return Ok(audit);
            }
            Err(e) => return Err(e),
        };
        audit.stored_bytes = digest.size;
        match read_directory(backend, self.keys(), kind, id) {
            Ok((directory, _)) => audit.directory = Some(directory),
            Err(e) if is_verdict(&e) => audit.errors.push(e),
            Err(e) => return Err(e),
        }
        if let Some(directory) = audit.directory.take() {
            let opened = self.audit_blocks(kind, &key, &directory, &mut digest, &mut audit)?;
            audit.directory = opened.then_some(directory);
        }
        match digest.finish(id) {
            Ok(()) => audit.is_original = true,
            Err(e) if e.class() == Class::Corrupt => audit.errors.push(e),
            Err(e) => return Err(e),
        }
        Ok(audit)
    }

    /// Looks at every block; false if none can be, since the header says nothing that opens them.
    fn audit_blocks(
        &self,
        kind: ObjectKind,
        key: &Key,
        directory: &Directory,
        digest: &mut Digest<'_>,
        audit: &mut PackAudit,
    ) -> Result<bool> {
        let opener = match opener(self.backend().as_ref(), self.keys(), kind, key) {
            Ok(opener) => opener,
            Err(e) if is_verdict(&e) => {
                audit.errors.push(e);
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        digest.take(HEADER_BYTES)?;
        let mut number = 0_u32;
        for group in directory.blocks.chunks(BLOCKS_AHEAD) {
            let mut read = Vec::with_capacity(group.len());
            for entry in group {
                read.push((number, entry, digest.take(entry.stored_bytes as usize)?));
                number += 1;
            }
            let checked: Vec<_> = read
                .into_par_iter()
                .map(|(number, entry, bytes)| {
                    let mut decompressor = match lock(&self.decompressors).pop() {
                        Some(decompressor) => decompressor,
                        None => Decompressor::new()
                            .map_err(|e| Error::caused(Class::Io, "start a decompressor", e))?,
                    };
                    let raw = open_block(&opener, number, entry, bytes, &mut decompressor, key);
                    lock(&self.decompressors).push(decompressor);
                    let verdict = raw.and_then(|raw| self.audit_chunks(entry, &raw));
                    Ok((number, entry.raw_bytes, verdict))
                })
                .collect::<Result<_>>()?;
            for (number, raw_bytes, verdict) in checked {
                audit.raw_bytes += u64::from(raw_bytes);
                if let Err(error) = verdict {
                    audit.bad_blocks.push((number, error));
                }
            }
        }
        Ok(true)
    }

    fn audit_chunks(&self, entry: &BlockEntry, raw: &[u8]) -> Result<()> {
        let mut rest = raw;
        for chunk in &entry.chunks {
            let (bytes, after) = rest
                .split_at_checked(chunk.raw_bytes as usize)
                .ok_or_else(|| Error::corrupt("a block is shorter than its chunks"))?;
            self.verify_short(&chunk.id, bytes)?;
            rest = after;
        }
        Ok(())
    }
}

/// True if the error says something about the object, and not that it could not be looked at.
pub(super) fn is_verdict(error: &Error) -> bool {
    matches!(
        error.class(),
        Class::Corrupt | Class::Unsupported | Class::WrongKey | Class::Invalid
    )
}

/// True if the error says that an object is of a version or a key that is not at hand.
pub(crate) fn is_unjudged(error: &Error) -> bool {
    matches!(error.class(), Class::Unsupported | Class::WrongKey)
}

/// Compares an object's bytes with its name; needs no key. Its length.
pub fn verify_name(backend: &dyn Backend, key: &Key, id: &ObjectId) -> Result<u64> {
    let digest = Digest::new(backend, key)?;
    let size = digest.size;
    digest.finish(id)?;
    Ok(size)
}

/// Reads an object from its beginning and hashes all of it.
struct Digest<'a> {
    backend: &'a dyn Backend,
    key: &'a Key,
    size: u64,
    at: u64,
    hasher: blake3::Hasher,
}

impl<'a> Digest<'a> {
    fn new(backend: &'a dyn Backend, key: &'a Key) -> Result<Self> {
        let size = backend.size(key)?;
        if size > MAX_OBJECT_BYTES {
            // To read a file of terabytes, which a hostile store shows for nothing, would take hours.
            return Err(Error::corrupt(format!(
                "{key}: it is longer than any object"
            )));
        }
        Ok(Self {
            backend,
            key,
            size,
            at: 0,
            hasher: blake3::Hasher::new(),
        })
    }

    /// The next `len` bytes.
    fn take(&mut self, len: usize) -> Result<Vec<u8>> {
        let bytes = self.backend.read(self.key, self.at, len)?;
        self.hasher.update(&bytes);
        self.at += len as u64;
        Ok(bytes)
    }

    /// Reads the rest and compares.
    fn finish(mut self, id: &ObjectId) -> Result<()> {
        while self.at < self.size {
            let len = READ_BYTES.min(self.size - self.at);
            self.take(usize::try_from(len).unwrap_or_default())?;
        }
        if self.hasher.finalize().as_bytes() == id.as_bytes() {
            return Ok(());
        }
        Err(misnamed(self.key))
    }
}

/// The verdict on an object whose bytes do not have the digest that is its name.
pub(super) fn misnamed(key: &Key) -> Error {
    Error::corrupt(format!(
        "{key}: its bytes are not those that its name stands for"
    ))
}
