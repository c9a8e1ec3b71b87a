//! The store: the only place where formats, transforms, backend and catalog meet.
//!
//! A [`Repository`] is opened once per process and shared by threads. Reading goes chunk id -> catalog -> block -> one
//! ranged read -> unseal -> decompress. Writing goes through a [`Writer`], one per run. Commands are functions in
//! the row below that take a repository; there are none here.

pub mod address;
pub(crate) mod ahead;
pub mod audit;
pub mod block_cache;
pub(crate) mod compose;
pub mod content;
mod keys;
pub(crate) mod load;
#[cfg(test)]
pub(crate) mod memory_blocks;
mod neighbours;
mod object;
mod pins;
mod plans;
mod quarantine;
mod record;
mod refresh;
mod reindex;
mod reserve;
mod salvage;
pub mod scratch;
mod session;
pub mod shelf;
pub mod single_flight;
mod snapshots;
pub mod trees;
mod unlock;
#[cfg(test)]
mod unlock_tests;
mod writer;

pub use address::{BlockAddress, Location};
pub use block_cache::{BlockCache, Blocks};
pub(crate) use plans::Condemned;
pub(crate) use salvage::{Salvaged, Told};
pub use session::{Needs, Session};
pub use snapshots::{MIN_ID_DIGITS, SnapshotInfo};
pub use unlock::{CreateOptions, Created, SlotOptions, check_slots};
pub(crate) use writer::Homes;
pub use writer::{Batch, BatchResult, Cutting, Finished, Writer, WriterOptions};

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{Backend, Key};
use crate::catalog::Catalog;
use crate::codec::Decompressor;
use crate::crypto::seal::{ObjectKeys, ObjectOpener};
use crate::crypto::{CatalogKey, Keyring, Role};
use crate::error::{Class, Error, Result};
use crate::format::config::Config;
use crate::format::header::Suite;
use crate::format::pack::BlockEntry;
use crate::id::{ChunkId, ObjectId, PackId, RepositoryId, ShortChunkId, SlotId, SnapshotId};
use crate::progress::Monitor;
use neighbours::Neighbours;

/// Openers (derived keys) of this many packs are remembered.
const MAX_OPENERS: usize = 4096;
/// Decoded blocks that are kept for readers.
const CACHE_BYTES: usize = 64 << 20;

/// What opens the blocks of a pack.
struct PackOpener {
    opener: ObjectOpener,
    /// A chunk that it opened was the one that it must be, so it is the opener of that pack, and not of another object that
    /// somebody put in its place.
    vouched: AtomicBool,
}

/// An open repository.
pub struct Repository {
    backend: Arc<dyn Backend>,
    config: Config,
    id: RepositoryId,
    suite: Suite,
    keyring: Keyring,
    /// The slot that gave the keyring.
    slot: SlotId,
    /// What older generations of that slot hold, where a change of keys was interrupted.
    older_keyrings: Vec<Keyring>,
    keys: ObjectKeys,
    catalog_key: CatalogKey,
    catalog: Catalog,
    cache: BlockCache,
    /// Packs that the catalog did not know were looked for.
    searched: Mutex<bool>,
    /// Snapshots that are in the store and could not be read when it was last looked at.
    unreadable: Mutex<BTreeSet<SnapshotId>>,
    /// Index objects and snapshots of which it was said that they cannot be read: once is enough, however often a run looks.
    told: Mutex<HashSet<ObjectId>>,
    /// Packs that something could not be read from; others were looked for then.
    failed: Mutex<HashSet<PackId>>,
    openers: Mutex<HashMap<PackId, Arc<PackOpener>>>,
    decompressors: Mutex<Vec<Decompressor>>,
    neighbours: Neighbours,
}

impl Repository {
    /// Where the objects are.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// The fixed parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The repository's id.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// What the key that opened it may do.
    pub fn role(&self) -> Role {
        self.keyring.role()
    }

    /// The local catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The keys that the opening secret unwrapped.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(crate) fn keys(&self) -> &ObjectKeys {
        &self.keys
    }

    /// Seals rows of the catalog.
    pub fn catalog_key(&self) -> &CatalogKey {
        &self.catalog_key
    }

    /// The id of these bytes as a chunk.
    pub fn chunk_id(&self, bytes: &[u8]) -> ChunkId {
        self.keyring.id.id(bytes)
    }

    /// The chunker's gear table.
    pub fn gear(&self) -> zeroize::Zeroizing<[u64; 256]> {
        self.keyring.chunker.gear()
    }

    /// Warns that an object cannot be read, unless that was said before.
    fn tell_unreadable(&self, id: &ObjectId, what: &str, error: &Error, monitor: &dyn Monitor) {
        if lock(&self.told).insert(*id) {
            monitor.warn(&format!("{what}: {error}"));
        }
    }

    /// An error unless the key's role is `full`.
    pub fn require_full(&self, what: &str) -> Result<()> {
        match self.role() {
            Role::Full => Ok(()),
            Role::Ingest => Err(Error::new(
                Class::Denied,
                format!("this key may only ingest, not {what}: use a key with the role full"),
            )),
        }
    }

    /// What is said of an object that something needs: that it is not there is damage, unless the whole repository is away.
    fn lost(&self, error: Error) -> Error {
        if error.class() == Class::NotFound
            && self.backend.exists(&Key::config()).unwrap_or_default()
        {
            return Error::corrupt(format!("{error}: it is lost"));
        }
        error
    }

    /// Everywhere that the catalog has a chunk.
    pub(crate) fn homes(&self, id: &ShortChunkId) -> Result<Vec<Location>> {
        let homes = self.catalog.locate_all(id)?;
        Ok(homes.into_iter().map(address).collect())
    }

    /// The bytes of a chunk at one of its homes, compared with what is known of its id.
    pub(crate) fn chunk_at_home(
        &self,
        id: &ShortChunkId,
        home: &Location,
    ) -> Result<block_cache::ChunkBytes> {
        let bytes = self.cache.bytes_at(self, home)?;
        self.verify_short(id, &bytes)?;
        Ok(bytes)
    }

    /// Checks that `bytes` are the chunk that a directory calls `id`, class `Corrupt` if not.
    pub(crate) fn verify_short(&self, id: &ShortChunkId, bytes: &[u8]) -> Result<()> {
        if self.chunk_id(bytes).shorten() == *id {
            Ok(())
        } else {
            Err(other_bytes(id))
        }
    }

    /// Another home of the chunk, if nothing can be read from the pack of this one.
    fn prefer_sound(&self, id: &ChunkId, found: Location) -> Result<Location> {
        let failed = lock(&self.failed);
        if failed.is_empty() || !failed.contains(&found.block.pack) {
            return Ok(found);
        }
        let mut homes = self.homes(&id.shorten())?.into_iter();
        let other = homes.find(|home| !failed.contains(&home.block.pack));
        Ok(other.unwrap_or(found))
    }

    /// The opener of a block's pack; one read of the header per pack, then remembered.
    fn opener(&self, block: &BlockAddress) -> Result<Arc<PackOpener>> {
        if let Some(opener) = lock(&self.openers).get(&block.pack) {
            return Ok(Arc::clone(opener));
        }
        let key = object::key_of(block.kind, &block.pack);
        let opener = Arc::new(PackOpener {
            opener: object::opener(self.backend.as_ref(), &self.keys, block.kind, &key)?,
            vouched: AtomicBool::new(false),
        });
        let mut openers = lock(&self.openers);
        if openers.len() >= MAX_OPENERS {
            openers.clear();
        }
        openers.insert(block.pack, Arc::clone(&opener));
        Ok(opener)
    }
}

impl Blocks for Repository {
    fn locate(&self, id: &ChunkId) -> Result<Location> {
        if let Some(found) = self.catalog.locate(&id.shorten())? {
            return self.prefer_sound(id, address(found));
        }
        // Another process may have written it since, or its index object may be lost: the objects decide, not the catalog.
        // Whoever misses meanwhile waits for what the search finds. Once is enough: a chunk that is really lost must not make every look at it a search of the store.
        let mut searched = lock(&self.searched);
        if !*searched {
            self.search_packs()?;
            *searched = true;
        }
        drop(searched);
        if let Some(found) = self.catalog.locate(&id.shorten())? {
            return Ok(address(found));
        }
        Err(Error::corrupt(format!(
            "chunk {id} is in no pack: its pack is lost"
        )))
    }

    fn locate_many(&self, ids: &[ChunkId]) -> Result<Vec<Result<Location>>> {
        let shorts: Vec<ShortChunkId> = ids.iter().map(ChunkId::shorten).collect();
        let mut places = self.neighbours.find(&shorts, self.catalog.removals()?);
        let missing: Vec<ShortChunkId> = shorts
            .iter()
            .zip(&places)
            .filter_map(|(id, place)| place.is_none().then_some(*id))
            .collect();
        if !missing.is_empty() {
            let mut found = self.catalog.locate_many(&missing)?.into_iter();
            for place in places.iter_mut().filter(|place| place.is_none()) {
                *place = found.next().flatten().map(address);
            }
            self.neighbours
                .learn(places.iter().flatten().copied(), |kind, id| {
                    self.pack_directory(kind, id)
                });
        }
        let answers = ids.iter().zip(places);
        Ok(answers
            .map(|(id, place)| {
                place.map_or_else(|| self.locate(id), |found| self.prefer_sound(id, found))
            })
            .collect())
    }

    fn other_homes(&self, id: &ChunkId, tried: &BlockAddress) -> Result<Vec<Location>> {
        let mut others = self.homes(&id.shorten())?;
        others.retain(|home| home.block != *tried);
        let mut failed = lock(&self.failed);
        // A pack that is gone was pruned, and what somebody still needs of it moved to another that we may not know yet. Once for
        // each pack is enough; whoever fails meanwhile waits for what the search finds.
        if failed.insert(tried.pack) && others.iter().all(|home| failed.contains(&home.block.pack))
        {
            self.search_packs()?;
            others = self.homes(&id.shorten())?;
            others.retain(|home| home.block != *tried);
        }
        others.sort_by_key(|home| failed.contains(&home.block.pack));
        Ok(others)
    }

    fn read_block(&self, block: &BlockAddress, up_to: usize) -> Result<Vec<u8>> {
        let key = object::key_of(block.kind, &block.pack);
        let opener = self.opener(block).map_err(|e| self.lost(e))?;
        let mut bytes = self
            .backend
            .read(&key, block.offset, block.stored_bytes as usize)
            .map_err(|e| self.lost(e))?;
        let entry = BlockEntry {
            codec: block.codec,
            stored_bytes: block.stored_bytes,
            raw_bytes: block.raw_bytes,
            chunks: Vec::new(),
        };
        let mut decompressor = match lock(&self.decompressors).pop() {
            Some(decompressor) => decompressor,
            None => Decompressor::new()
                .map_err(|e| Error::caused(Class::Io, "start a decompressor", e))?,
        };
        object::unseal_block(&opener.opener, block.number, &entry, &mut bytes, &key)?;
        let buffer = |len| self.cache.take_buffer(len);
        let raw = object::decode_block(&entry, bytes, up_to, &mut decompressor, buffer)
            .map_err(|e| e.within(format_args!("{key}: block {}", block.number)))?;
        lock(&self.decompressors).push(decompressor);
        Ok(raw)
    }

    fn verify_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        if self.chunk_id(bytes) == *id {
            Ok(())
        } else {
            Err(other_bytes(id))
        }
    }
    fn vouch(&self, block: &BlockAddress, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        // Without a read: the caller may be a thread that must not wait.
        let opener = lock(&self.openers).get(&block.pack).cloned();
        if opener
            .as_ref()
            .is_some_and(|o| o.vouched.load(Ordering::Acquire))
        {
            return Ok(());
        }
        self.verify_chunk(id, bytes)
            .map_err(|e| e.within(format!("pack {} is not what it was", block.pack)))?;
        if let Some(opener) = opener {
            opener.vouched.store(true, Ordering::Release);
        }
        Ok(())
    }
    fn cache(&self) -> &BlockCache {
        &self.cache
    }
}

fn other_bytes(id: &dyn std::fmt::Display) -> Error {
    Error::corrupt(format!("chunk {id} holds other bytes than its name says"))
}

fn address(found: crate::catalog::Location) -> Location {
    Location {
        block: BlockAddress {
            pack: found.pack,
            kind: found.kind,
            number: found.block_no,
            offset: found.block_offset,
            stored_bytes: found.block_stored_bytes,
            raw_bytes: found.block_raw_bytes,
            codec: found.codec,
        },
        offset: found.offset,
        len: found.len,
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A poisoned lock only says that some thread panicked; what these locks guard is whole at every instant.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
