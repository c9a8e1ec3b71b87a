//! A repository in memory with snapshots in it, for the tests of whole-store work.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::backend::{Area, Backend, Key, Memory};
use crate::catalog::CatalogPlace;
use crate::crypto::slot::Unlock;
use crate::crypto::{KdfParams, KeyFile, Role};
use crate::entry::{
    Entry, EntryPath, Kind, MemoryEntry, MemorySource, Order, Outcome, Piece, Source, Time,
};
use crate::format::config::Config;
use crate::format::header::Suite;
use crate::format::snapshot::StreamKind;
use crate::id::{ObjectId, SnapshotId};
use crate::ingest::{Ingest, IngestRequest, StreamFacts};
use crate::progress::{Monitor, Silent};
use crate::repository::{CreateOptions, Cutting, Repository, SlotOptions, WriterOptions};

/// What happens to an object's bytes.
pub(crate) type Change = dyn Fn(&mut Vec<u8>);

pub(crate) struct Store {
    pub(crate) backend: Arc<Memory>,
    key: KeyFile,
    /// Seconds of the next snapshot: reports list snapshots by time, so no two may share one.
    clock: AtomicI64,
}

impl Store {
    pub(crate) fn new() -> Self {
        let id = crate::crypto::new_repository_id().unwrap();
        Self::with(&Config::new(id, Suite::ChaCha20Poly1305))
    }

    /// One with parameters of its own.
    pub(crate) fn with(config: &Config) -> Self {
        let backend = Arc::new(Memory::new());
        let key = KeyFile::generate().unwrap();
        let slot = SlotOptions {
            role: Role::Full,
            label: String::new(),
            created: 0,
            kdf: KdfParams::default(),
        };
        let suite = config.suite().unwrap();
        let options = CreateOptions { suite, slot };
        let unlock = Unlock::KeyFile(&key);
        Repository::create_configured(backend.as_ref(), config, &options, unlock).unwrap();
        let clock = AtomicI64::new(1000);
        Self {
            backend,
            key,
            clock,
        }
    }

    /// Opens it with a new catalog.
    pub(crate) fn open(&self) -> Arc<Repository> {
        let backend: Arc<dyn Backend> = self.backend.clone();
        let unlock = Unlock::KeyFile(&self.key);
        Repository::open(backend, unlock, &CatalogPlace::Memory, &Silent).unwrap()
    }

    /// Adds a snapshot of files with these contents; directories are made as needed.
    pub(crate) fn ingest(&self, name: &str, files: &[(&str, &[u8])]) -> SnapshotId {
        let mut entries = std::collections::BTreeMap::new();
        for (path, bytes) in files {
            let path = EntryPath::parse(path.as_bytes()).unwrap();
            let mut above = path.parent();
            while let Some(directory) = above {
                above = directory.parent();
                let entry = Entry::new(directory.clone(), Kind::Directory);
                entries.insert(directory, (entry, Vec::new(), None));
            }
            let mut entry = Entry::new(path.clone(), Kind::File);
            entry.size = bytes.len() as u64;
            let content = vec![Piece::Data(bytes.to_vec())];
            entries.insert(path, (entry, content, Some(Outcome::Whole)));
        }
        let entries = entries
            .into_values()
            .map(|(entry, content, outcome)| MemoryEntry {
                entry,
                content,
                outcome,
            })
            .collect();
        let source = MemorySource::new(entries, Order::Walk);
        self.ingest_source(name, source, StreamFacts::of(StreamKind::Dir))
    }

    /// Adds a snapshot of any source.
    pub(crate) fn ingest_source<S: Source>(
        &self,
        name: &str,
        source: S,
        facts: StreamFacts,
    ) -> SnapshotId {
        let request = IngestRequest {
            name: name.into(),
            description: String::new(),
            tags: Vec::new(),
            time: Time::new(self.clock.fetch_add(1, Ordering::Relaxed), 0),
            host: String::new(),
            user: String::new(),
            sources: Vec::new(),
            program: "test".into(),
            known_as: None,
            scratch: None,
            clock: crate::entry::Time::default,
            writer: WriterOptions {
                level: 1,
                workers: 2,
            },
        };
        let monitor: Arc<dyn Monitor> = Arc::new(Silent);
        let ingest = Ingest::begin(&self.open(), request, &monitor).unwrap();
        let done = ingest.run(source, |_| Cutting::File, |_| Ok(facts));
        done.unwrap().id
    }

    /// The keys of all objects of an area.
    pub(crate) fn keys(&self, area: Area) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut take = |name: &str, _| {
            keys.push(Key::object(area, &name.parse::<ObjectId>().unwrap()));
            Ok(())
        };
        self.backend.list(area, &mut take).unwrap();
        keys
    }

    /// Changes an object as bit rot would; `None` loses it.
    pub(crate) fn tamper(&self, key: &Key, change: Option<&Change>) {
        let bytes = change.map(|change| {
            let mut bytes = self.backend.read_all(key, u64::MAX).unwrap();
            change(&mut bytes);
            bytes
        });
        self.backend.tamper(key, bytes);
    }
}

/// Bytes that do not compress and differ with `seed`.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}
