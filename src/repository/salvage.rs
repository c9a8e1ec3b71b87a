//! What a damaged pack still holds. Its own directory tells, or index objects do, and every chunk is compared with its id: whatever comes
//! out is right, wherever its bytes come from.

use std::collections::{HashMap, HashSet};

use super::Repository;
use super::audit::is_verdict;
use super::object::{key_of, open_block, opener, read_directory_as};
use crate::backend::Area;
use crate::codec::Decompressor;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::pack::Directory;
use crate::id::{ObjectId, PackId, ShortChunkId};

/// What index objects say of packs.
pub(crate) type Told = HashMap<PackId, Vec<Directory>>;

/// A chunk that could be read.
pub(crate) struct Salvaged<'a> {
    /// What kind of pack its bytes come from.
    pub(crate) kind: ObjectKind,
    pub(crate) id: ShortChunkId,
    pub(crate) bytes: &'a [u8],
}

/// How much of a pack could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Chunks that can be read.
    pub(crate) chunks: u64,
    /// Chunks that should be there, and cannot be read from here.
    pub(crate) unread: u64,
}

impl Repository {
    /// What index objects that can be read say of these packs.
    pub(crate) fn told(&self, packs: &HashSet<PackId>) -> Result<Told> {
        let mut told = Told::new();
        if packs.is_empty() {
            return Ok(told);
        }
        let mut indexes = Vec::new();
        self.backend().list(Area::Index, &mut |name, _| {
            indexes.extend(name.parse::<ObjectId>().ok());
            Ok(())
        })?;
        for id in indexes {
            let read = self.index_records(&id, &mut |record| {
                if packs.contains(&record.id) {
                    let all = told.entry(record.id).or_default();
                    if !all.contains(&record.directory) {
                        all.push(record.directory);
                    }
                }
                Ok(())
            });
            match read {
                Err(e) if e.class() != Class::NotFound && !is_verdict(&e) => return Err(e),
                _ => {}
            }
        }
        Ok(told)
    }

    /// Calls `each` with every chunk that can be read from a pack, once. An error is one of the medium, or of `each`, or that the
    /// pack is not there. Memory: one block, and the ids of the pack's chunks.
    pub(crate) fn salvage(
        &self,
        kind: ObjectKind,
        id: &PackId,
        told: &Told,
        each: &mut dyn FnMut(Salvaged<'_>) -> Result<()>,
    ) -> Result<Remains> {
        let mut salvage = Salvage {
            repository: self,
            key: key_of(kind, id),
            read: HashSet::new(),
            named: HashSet::new(),
        };
        let size = match self.backend().size(&salvage.key) {
            Ok(size) => size,
            Err(e) if is_verdict(&e) => return Ok(Remains::default()),
            Err(e) => return Err(e),
        };
        // The bytes may be those of another pack, of the other kind even: then they are worth as much.
        let mut kinds = [ObjectKind::DataPack, ObjectKind::MetaPack];
        kinds.sort_by_key(|other| *other != kind);
        for kind in kinds {
            let backend = self.backend().as_ref();
            match read_directory_as(backend, self.keys(), kind, &salvage.key) {
                Ok((directory, _)) => salvage.blocks(kind, &directory, size, each)?,
                Err(e) if is_verdict(&e) => {}
                Err(e) => return Err(e),
            }
        }
        for directory in told.get(id).into_iter().flatten() {
            salvage.blocks(kind, directory, size, each)?;
        }
        Ok(Remains {
            chunks: salvage.read.len() as u64,
            unread: salvage.named.difference(&salvage.read).count() as u64,
        })
    }

    /// Whether a chunk has a home outside of some packs from which it can be read.
    pub(crate) fn is_sound_elsewhere(
        &self,
        id: &ShortChunkId,
        is_out: &dyn Fn(&PackId) -> bool,
    ) -> Result<bool> {
        let homes = self.homes(id)?;
        Ok(homes
            .iter()
            .any(|home| !is_out(&home.block.pack) && self.chunk_at_home(id, home).is_ok()))
    }
}

struct Salvage<'a> {
    repository: &'a Repository,
    key: crate::backend::Key,
    read: HashSet<ShortChunkId>,
    named: HashSet<ShortChunkId>,
}

impl Salvage<'_> {
    /// Reads what a directory names, but what was read before.
    fn blocks(
        &mut self,
        kind: ObjectKind,
        directory: &Directory,
        size: u64,
        each: &mut dyn FnMut(Salvaged<'_>) -> Result<()>,
    ) -> Result<()> {
        let chunks = directory.blocks.iter().flat_map(|block| &block.chunks);
        self.named.extend(chunks.map(|chunk| chunk.id));
        let backend = self.repository.backend().as_ref();
        let opener = match opener(backend, self.repository.keys(), kind, &self.key) {
            Ok(opener) => opener,
            Err(e) if is_verdict(&e) => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut decompressor =
            Decompressor::new().map_err(|e| Error::caused(Class::Io, "start a decompressor", e))?;
        let blocks = directory.blocks.iter().zip(directory.offsets());
        for (number, (entry, offset)) in (0_u32..).zip(blocks) {
            let known = |id| self.read.contains(id);
            if offset + u64::from(entry.stored_bytes) > size
                || entry.chunks.iter().all(|chunk| known(&chunk.id))
            {
                continue;
            }
            let bytes = backend.read(&self.key, offset, entry.stored_bytes as usize)?;
            let opened = open_block(&opener, number, entry, bytes, &mut decompressor, &self.key);
            let raw = match opened {
                Ok(raw) => raw,
                Err(e) if is_verdict(&e) => continue,
                Err(e) => return Err(e),
            };
            let mut rest = &raw[..];
            for chunk in &entry.chunks {
                let Some((bytes, after)) = rest.split_at_checked(chunk.raw_bytes as usize) else {
                    break;
                };
                rest = after;
                let id = self.repository.chunk_id(bytes).shorten();
                if id == chunk.id && self.read.insert(id) {
                    each(Salvaged { kind, id, bytes })?;
                }
            }
        }
        Ok(())
    }
}
