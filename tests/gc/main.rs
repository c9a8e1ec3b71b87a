//! Forget and prune under everything that can go wrong or happen at once: faults at any call, others at work at any moment, and
//! real processes that are killed. What was committed is there bit for bit, and nothing is left that a person must clean up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod faults;
mod interleaved;
mod keys;
mod processes;
mod reading;
mod repair;

use std::sync::Arc;

use repo::backend::fault::Faulty;
use repo::backend::{Area, Backend, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::entry::{
    Entry, EntryPath, Kind, MemoryEntry, MemorySource, Order, Outcome, Piece, Stat, Time,
};
use repo::error::Result;
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::format::tree::Body;
use repo::ingest::{Ingest, IngestRequest, StreamFacts};
use repo::maintain::check::{ReadData, check};
use repo::maintain::prune::{MaxUnused, PruneOptions, PruneReport, prune};
use repo::progress::{Monitor, Silent};
use repo::repository::content::Content;
use repo::repository::trees::find_path;
use repo::repository::{CreateOptions, Cutting, Repository, SlotOptions, WriterOptions};

/// A store, and clients of it.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) memory: Arc<Memory>,
    key: Arc<KeyFile>,
}

/// Two workers would make the order of calls differ from run to run.
pub(crate) const WRITER: WriterOptions = WriterOptions {
    level: 1,
    workers: 1,
};

impl Store {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let key = KeyFile::generate().unwrap();
        let slot = SlotOptions {
            role: Role::Full,
            label: String::new(),
            created: 0,
            kdf: KdfParams::default(),
        };
        let suite = Suite::ChaCha20Poly1305;
        let options = CreateOptions { suite, slot };
        Repository::create(memory.as_ref(), &options, Unlock::KeyFile(&key)).unwrap();
        Self {
            memory,
            key: Arc::new(key),
        }
    }

    /// The store as a crash of all its clients would leave it.
    pub(crate) fn image(&self) -> Self {
        Self {
            memory: Arc::new(self.memory.image()),
            key: Arc::clone(&self.key),
        }
    }

    pub(crate) fn open_by(&self, backend: Arc<dyn Backend>) -> Result<Arc<Repository>> {
        let unlock = Unlock::KeyFile(&self.key);
        Repository::open(backend, unlock, &CatalogPlace::Memory, &Silent)
    }

    /// A new client.
    pub(crate) fn open(&self) -> Arc<Repository> {
        self.open_by(self.memory.clone()).unwrap()
    }

    pub(crate) fn faulty(&self) -> Arc<Faulty> {
        Faulty::new(self.memory.clone())
    }

    pub(crate) fn count(&self, area: Area) -> usize {
        let mut count = 0;
        let mut each = |_: &str, _| {
            count += 1;
            Ok(())
        };
        self.memory.list(area, &mut each).unwrap();
        count
    }

    /// Every byte is checked, by somebody who knows only the store.
    pub(crate) fn assert_sound(&self, what: &str) {
        let repository = self.open();
        let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
        assert!(report.is_sound(), "{what}: {:?}", report.problems);
    }

    /// The newest snapshot of that name holds the files of `seed`, bit for bit.
    pub(crate) fn assert_holds(&self, name: &str, seed: u8, what: &str) {
        assert_holds_by(&self.open(), name, seed, what);
    }

    /// Nothing is left of anybody who was at work, and nothing that nobody needs.
    pub(crate) fn assert_clean(&self, packs: usize, what: &str) {
        for area in [Area::Sessions, Area::Gc] {
            assert_eq!(self.count(area), 0, "{what}: {area:?}");
        }
        let found = self.count(Area::Data) + self.count(Area::Meta);
        assert_eq!(found, packs, "{what}: packs");
    }
}

/// The newest snapshot of that name holds the files of `seed`, as a client sees it that may have been there before.
pub(crate) fn assert_holds_by(repository: &Arc<Repository>, name: &str, seed: u8, what: &str) {
    let info = repository.resolve(name);
    let root = info.unwrap_or_else(|e| panic!("{what}: {e}")).snapshot.root;
    for (file, expected) in files(seed) {
        let path = EntryPath::parse(file.as_bytes()).unwrap();
        let node = find_path(&**repository, &root, &path).unwrap().unwrap();
        let Body::File { size, content } = node.body else {
            panic!("no file")
        };
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let read = Content::new(&content).read_at(&**repository, 0, &mut bytes);
        read.unwrap_or_else(|e| panic!("{what}: {file} of {name}: {e}"));
        assert!(
            bytes == expected,
            "{what}: {file} of {name} has other bytes"
        );
    }
}

/// Bytes without pattern.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Two files of its own for each seed, and one that all share.
fn files(seed: u8) -> [(&'static str, Vec<u8>); 3] {
    [
        ("dir/small", noise(seed, 100)),
        ("new", noise(seed + 100, 150_000)),
        ("same", noise(0, 90_000)),
    ]
}

fn entries(seed: u8) -> Vec<MemoryEntry> {
    let directory = |path: &str| MemoryEntry {
        entry: Entry::new(EntryPath::parse(path.as_bytes()).unwrap(), Kind::Directory),
        content: Vec::new(),
        outcome: None,
    };
    let mut all = vec![directory(""), directory("dir")];
    for (name, bytes) in files(seed) {
        let mut entry = Entry::new(EntryPath::parse(name.as_bytes()).unwrap(), Kind::File);
        entry.size = bytes.len() as u64;
        entry.stat = Some(Stat {
            inode: u64::from(seed),
            links: 1,
            ctime: Time::new(5, 5),
            ..Stat::default()
        });
        all.push(MemoryEntry {
            entry,
            content: vec![Piece::Data(bytes)],
            outcome: Some(Outcome::Whole),
        });
    }
    all
}

pub(crate) fn begin(repository: &Arc<Repository>, name: &str) -> Result<Ingest> {
    let request = IngestRequest {
        name: name.to_owned(),
        description: String::new(),
        tags: Vec::new(),
        time: Time::new(100, 0),
        host: String::new(),
        user: String::new(),
        sources: Vec::new(),
        program: "test".to_owned(),
        known_as: Some(b"/source".to_vec()),
        scratch: None,
        clock: Time::default,
        writer: WRITER,
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    Ingest::begin(repository, request, &monitor)
}

pub(crate) fn finish(ingest: Ingest, seed: u8) -> Result<()> {
    let source = MemorySource::new(entries(seed), Order::Walk);
    let facts = |_: &MemorySource| Ok(StreamFacts::of(StreamKind::Dir));
    ingest.run(source, |_| Cutting::File, facts).map(drop)
}

pub(crate) fn ingest(repository: &Arc<Repository>, name: &str, seed: u8) -> Result<()> {
    finish(begin(repository, name)?, seed)
}

pub(crate) fn forget(repository: &Repository, name: &str) -> Result<()> {
    repository.forget(&repository.resolve(name)?.id, false)
}

pub(crate) fn prune_all(repository: &Arc<Repository>) -> Result<PruneReport> {
    let options = PruneOptions {
        max_unused: MaxUnused::Bytes(0),
        writer: WRITER,
        ..PruneOptions::default()
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    prune(repository, &options, &monitor)
}
