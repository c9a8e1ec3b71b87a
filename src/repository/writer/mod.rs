//! Writing: chunks in, a committed snapshot out, on all cores and in bounded memory.
//!
//! ```text
//! submit(batch) -> [worker: id, claim, append to its open block, compress] -> [packer: seal] -> [storer: write, catalog]
//!      wait(sequence) <- items of the batch                                         ^
//! put_meta(bytes) -> open meta block -> compress ------------------------------------
//! finish -> index object;  commit -> snapshot object (the commit point) -> catalog
//! ```
//! A worker takes a whole batch through hashing, deduplication and compression: no hand-over per chunk. The claim is the
//! single decision whether a chunk is stored. Order of writes: a meta pack is written only after a [`Writer::barrier`], which
//! makes every chunk that was handed out before it durable, so no durable tree names a chunk that is not.
//! Every finished pack goes into the catalog at once: an ingest that is interrupted and run again finds it.

mod claims;
mod homes;
mod indexer;
mod meta;
mod packer;
mod rehome;
mod storer;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::object::{EncodedBlock, ObjectBuilder, crypto, key_of};
use super::session::Session;
use super::{Repository, lock};
use crate::codec::Compressor;
use crate::crypto::seal::WriterKeys;
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::header::ObjectKind;
use crate::format::session::SessionKind;
use crate::format::snapshot::Snapshot;
use crate::id::{ChunkId, SnapshotId};
use crate::progress::{Count, Monitor};
use claims::Claims;
pub(crate) use homes::Homes;
pub(crate) use indexer::{Indexer, OBJECT_BYTES};
use meta::MetaLane;
use workers::Slot;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// zstd level of file content and trees.
    pub level: i32,
    /// Threads that hash and compress.
    pub workers: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            level: 3,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// Which blocks chunks go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Content-defined chunks of files: large blocks.
    File,
    /// Aligned chunks of disks and RAM dumps: smaller blocks, since they are read at random.
    Disk,
}

/// Chunks that lie side by side in a buffer.
#[derive(Debug)]
pub struct Batch {
    /// Place in the stream, counted from 0 without gaps.
    pub sequence: u64,
    /// Which blocks its chunks go to.
    pub cutting: Cutting,
    /// The chunks' bytes.
    pub bytes: Vec<u8>,
    /// Their lengths, which sum to that of `bytes`.
    pub lens: Vec<u32>,
}

/// What became of a batch: one data or zeros item per chunk.
pub type BatchResult = Vec<Item>;

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Bytes of objects written, as stored.
    pub stored_bytes: u64,
    /// Packs written.
    pub packs: u64,
    /// Chunks stored.
    pub new_chunks: u64,
    /// Raw bytes of chunks stored.
    pub new_bytes: u64,
    /// Raw bytes of chunks that were there already.
    pub known_bytes: u64,
}

/// One run of writing. Dropped without [`Writer::commit`] it leaves packs that the next run finds.
pub struct Writer {
    shared: Arc<Shared>,
    to_workers: Option<Sender<Batch>>,
    to_packer: Option<Sender<ToPacker>>,
    workers: Vec<JoinHandle<()>>,
    /// The packer, then the storer; none once they are through.
    packers: Vec<JoinHandle<()>>,
    meta: Mutex<MetaLane>,
}

/// What the threads of a writer share.
struct Shared {
    repository: Arc<Repository>,
    keys: WriterKeys,
    monitor: Arc<dyn Monitor>,
    options: WriterOptions,
    /// Ends after the last thread.
    session: Arc<Session>,
    homes: Arc<Homes>,
    claims: Claims,
    slots: Vec<Mutex<Slot>>,
    results: Mutex<std::collections::HashMap<u64, BatchResult>>,
    result_ready: Condvar,
    buffers: Mutex<Vec<Vec<u8>>>,
    /// Buffers of data packs that are stored.
    pack_buffers: Mutex<Vec<Vec<u8>>>,
    failed: AtomicBool,
    failure: Mutex<Option<Error>>,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    stored_bytes: AtomicU64,
    packs: AtomicU64,
    new_chunks: AtomicU64,
    new_bytes: AtomicU64,
    known_bytes: AtomicU64,
}

/// Messages to the thread that seals and writes packs.
enum ToPacker {
    /// A block of file content.
    Data(EncodedBlock),
    /// A block of trees, lists and recipes.
    Meta(EncodedBlock),
    /// Write the data pack, then the meta pack, whatever their size.
    Flush,
}

impl Writer {
    /// Begins a run and its session. Packs that an interrupted run left are taken into the catalog first, and those that are gone
    /// out of it.
    pub fn begin(
        repository: &Arc<Repository>,
        options: WriterOptions,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Self> {
        // The order is the safety of pruning: the session, then plans, then packs.
        let session = Arc::new(repository.begin_session(SessionKind::Writer)?);
        // An earlier prune may have used up what is set aside; what is added from now on must not take it for good.
        drop(repository.backend().fill_reserve());
        repository.remove_ended_sessions()?;
        let homes = Homes::look(repository, monitor.as_ref())?;
        Self::start(repository, session, Arc::new(homes), (options, monitor))
    }

    /// Begins to write within a session that has begun and looked around.
    pub(crate) fn start(
        repository: &Arc<Repository>,
        session: Arc<Session>,
        homes: Arc<Homes>,
        (options, monitor): (WriterOptions, &Arc<dyn Monitor>),
    ) -> Result<Self> {
        let keys = WriterKeys::new(repository.id(), repository.suite(), repository.keyring())
            .map_err(crypto("begin a session"))?;
        keys.remember_in(repository.keys());
        let workers = options.workers.max(1);
        // One slot more than workers: for streams that the caller stores chunk by chunk.
        let slots = (0..=workers)
            .map(|_| Slot::new(options.level).map(Mutex::new))
            .collect::<Result<_>>()?;
        let shared = Arc::new(Shared {
            repository: Arc::clone(repository),
            keys,
            monitor: Arc::clone(monitor),
            options,
            session,
            claims: Claims::new(&homes),
            homes,
            slots,
            results: Mutex::default(),
            result_ready: Condvar::new(),
            buffers: Mutex::default(),
            pack_buffers: Mutex::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::default(),
            totals: Totals::default(),
        });
        let (to_workers, batches) = bounded(workers * 2);
        let (to_packer, blocks) = bounded(workers * 2);
        let threads = (0..workers)
            .map(|index| workers::spawn(&shared, index, &batches, &to_packer))
            .collect::<Result<_>>()?;
        // No pack waits between the two: one is filled while another is stored.
        let (to_storer, packs) = bounded(0);
        let packers = vec![
            packer::spawn(&shared, blocks, to_storer)?,
            storer::spawn(&shared, packs)?,
        ];
        Ok(Self {
            meta: Mutex::new(MetaLane::new(repository.config(), options.level)?),
            shared,
            to_workers: Some(to_workers),
            to_packer: Some(to_packer),
            workers: threads,
            packers,
        })
    }

    /// Hands a batch to the workers; waits while they have enough to do.
    pub fn submit(&self, batch: Batch) -> Result<()> {
        self.shared.check()?;
        let sender = self.to_workers.as_ref().ok_or_else(over)?;
        sender.send(batch).map_err(|_| over())
    }

    /// An empty buffer, reused from a batch that is done.
    pub fn buffer(&self) -> Vec<u8> {
        lock(&self.shared.buffers).pop().unwrap_or_default()
    }

    /// The items of a batch; waits until a worker is through with it. Each result can be taken once.
    pub fn wait(&self, sequence: u64) -> Result<BatchResult> {
        let mut results = lock(&self.shared.results);
        loop {
            if let Some(result) = results.remove(&sequence) {
                return Ok(result);
            }
            self.shared.check()?;
            results = self
                .shared
                .result_ready
                .wait(results)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Stores one chunk of file content on the calling thread, for streams beside the main one.
    pub fn put_data(&self, bytes: &[u8]) -> Result<Item> {
        self.shared.check()?;
        let sender = self.to_packer.as_ref().ok_or_else(over)?;
        workers::put_one(&self.shared, bytes, sender)
    }

    /// Stores a tree shard, a content list or a piece of a recipe, if it is new, and returns its id.
    pub fn put_meta(&self, bytes: &[u8]) -> Result<ChunkId> {
        self.shared.check()?;
        let id = self.shared.repository.chunk_id(bytes);
        if self.shared.claims.claim(&id.shorten())? {
            self.append_meta(id.shorten(), bytes)?;
        }
        Ok(id)
    }

    /// True if the repository holds this chunk, or this run has stored it.
    pub fn has(&self, id: &ChunkId) -> Result<bool> {
        self.shared.claims.has(&id.shorten())
    }

    /// A pack of trees never becomes durable before the chunks that
    /// were handed out until now: all open blocks are closed and their packs written first.
    fn barrier(&self, meta: &mut MetaLane) -> Result<()> {
        for slot in &self.shared.slots {
            let blocks = lock(slot).drain()?;
            for block in blocks {
                self.send(ToPacker::Data(block))?;
            }
        }
        if let Some(block) = meta.close_block()? {
            self.send(ToPacker::Meta(block))?;
        }
        meta.begin_pack();
        self.send(ToPacker::Flush)
    }

    fn send(&self, message: ToPacker) -> Result<()> {
        let sender = self.to_packer.as_ref().ok_or_else(over)?;
        sender
            .send(message)
            .map_err(|_| self.shared.check().err().unwrap_or_else(over))
    }

    /// Makes everything durable except the snapshot: packs, then the index object.
    pub fn finish(&mut self) -> Result<Finished> {
        drop(self.to_workers.take());
        join(self.workers.drain(..))?;
        self.shared.check()?;
        self.barrier(&mut lock(&self.meta))?;
        drop(self.to_packer.take());
        join(self.packers.drain(..))?;
        self.shared.check()?;
        self.shared
            .repository
            .tell_moved(self.shared.monitor.as_ref());
        let totals = &self.shared.totals;
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Ok(Finished {
            stored_bytes: read(&totals.stored_bytes),
            packs: read(&totals.packs),
            new_chunks: read(&totals.new_chunks),
            new_bytes: read(&totals.new_bytes),
            known_bytes: read(&totals.known_bytes),
        })
    }

    /// The session that this run is part of.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.shared.session
    }

    /// What of the repository this run takes for stored.
    pub(crate) fn homes(&self) -> &Arc<Homes> {
        &self.shared.homes
    }

    /// Writes the snapshot object: from here on everything of this run is reachable. [`Writer::finish`] must have returned.
    pub fn commit(self, snapshot: &Snapshot) -> Result<SnapshotId> {
        if !self.packers.is_empty() || self.to_packer.is_some() {
            return Err(Error::invalid(
                "a snapshot may be written only after its packs",
            ));
        }
        let shared = &self.shared;
        let encoded = snapshot.encode();
        // What could not be read again must not look like a snapshot.
        Snapshot::decode(&encoded).map_err(|e| {
            Error::caused(
                Class::Invalid,
                "a snapshot beyond the limits of the format",
                e,
            )
        })?;
        shared.session.confirm()?;
        let mut compressor = Compressor::new(shared.options.level)
            .map_err(|e| Error::caused(Class::Io, "start a compressor", e))?;
        let mut builder = ObjectBuilder::new(&shared.keys, ObjectKind::Snapshot, Vec::new())?;
        builder.add(EncodedBlock::new(&encoded, Vec::new(), &mut compressor)?)?;
        let object = builder.finish(&mut compressor)?;
        let key = key_of(ObjectKind::Snapshot, &object.id);
        shared.repository.backend().write_new(&key, &object.bytes)?;
        shared
            .monitor
            .add(Count::StoredBytes, object.bytes.len() as u64);
        // The snapshot is committed; a catalog that cannot take it is brought up to date at the next open.
        if let Err(e) = shared.repository.remember_snapshot(&object.id, snapshot) {
            shared
                .monitor
                .note(&format!("the catalog is behind and will catch up: {e}"));
        }
        Ok(object.id)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.to_workers.take());
        drop(self.to_packer.take());
        // What the threads report no longer matters: nothing of this run is reachable.
        let _ = join(self.workers.drain(..));
        let _ = join(self.packers.drain(..));
    }
}

impl Shared {
    /// An error with the reason if any thread failed.
    fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            // Everyone who asks gets the reason: who comes first may be a thread that nobody listens to.
            let failure = lock(&self.failure);
            return Err(failure
                .as_ref()
                .map_or_else(over, |e| Error::new(e.class(), e.to_string())));
        }
        if self.monitor.interrupted() {
            return Err(Error::new(
                Class::Interrupted,
                "interrupted; what was stored is kept for the next run",
            ));
        }
        Ok(())
    }

    /// Records the failure of a thread and wakes whoever waits.
    fn fail(&self, error: Error) {
        let mut failure = lock(&self.failure);
        if !self.failed.swap(true, Ordering::AcqRel) {
            *failure = Some(error);
        }
        drop(failure);
        let _results = lock(&self.results);
        self.result_ready.notify_all();
    }
}

fn over() -> Error {
    Error::new(Class::Io, "writing was given up after an earlier error")
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) -> Result<()> {
    let mut whole = true;
    for thread in threads {
        whole &= thread.join().is_ok();
    }
    if whole {
        Ok(())
    } else {
        Err(Error::new(Class::Io, "a writing thread panicked"))
    }
}

fn spawn_thread(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let alarm = Alarm(Arc::clone(shared));
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _alarm = alarm;
            run();
        })
        .map_err(|e| Error::io(format!("start the {name} thread"), e))
}

/// Tells the others when a thread panics: nobody may wait for what it would have done.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .fail(Error::new(Class::Io, "a writing thread panicked"));
        }
    }
}

/// The receiving end that every worker shares.
type Batches = Receiver<Batch>;
