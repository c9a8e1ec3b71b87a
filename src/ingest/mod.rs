//! Ingest: a source in, a snapshot out.
//!
//! ```text
//! source -> Feed (cut, batch) -> writer's workers (id, dedup, compress) -> packs
//!              |                        |
//!              +---- events ----> Assembler (nodes, trees, recipe) -> snapshot
//! ```
//! Nothing is visible before the snapshot object is written, which happens only after the source said that its stream was complete.

mod archive;
mod assemble;
mod feed;
mod known;
mod links;
mod recipe;
mod sorter;
mod stream;
mod tree;
mod warnings;

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::bounded;

use crate::chunk::{Cutter, GearTable, Params};
use crate::entry::{Entry, Known, Order, Shelf, Source, Time};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::snapshot::{Counts, Snapshot, StreamDigest, StreamKind, Wrapping};
use crate::id::SnapshotId;
use crate::progress::Monitor;
use crate::repository::compose::store_document;
pub use crate::repository::compose::{ShardWriter, Weight};
use crate::repository::shelf::SpillShelf;
use crate::repository::{Cutting, Finished, Repository, Writer, WriterOptions};
use archive::ArchiveTree;
use assemble::{Assembled, Assembler, Mode};
use feed::{Choose, Feed, FeedState};
use known::KnownFiles;
use links::FirstNames;
use recipe::RecipeWriter;
pub use stream::{StreamRequest, ingest_stream};
use warnings::WarningLog;

/// Turns that may wait between the feed and the assembler.
const TURNS: usize = 16;

/// What the snapshot shall say of itself, and how it is made.
#[derive(Clone, Debug)]
pub struct IngestRequest {
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Tags, sorted by key.
    pub tags: Vec<(String, String)>,
    /// When the ingest began.
    pub time: Time,
    /// The host that makes it.
    pub host: String,
    /// The user that makes it.
    pub user: String,
    /// What is read, for people.
    pub sources: Vec<Vec<u8>>,
    /// The program that makes it.
    pub program: String,
    /// Identifies the source among those of this repository, so that its unchanged files are recognised; `None` for streams.
    pub known_as: Option<Vec<u8>>,
    /// Where members of a large archive and files with many names may be spilled (sealed); `None` keeps all in memory.
    pub scratch: Option<PathBuf>,
    /// Tells the time of the commit; the library reads no clock.
    pub clock: fn() -> Time,
    /// How to write.
    pub writer: WriterOptions,
}

/// What is known about the stream only at its end.
#[derive(Clone, Debug)]
pub struct StreamFacts {
    /// What it was.
    pub kind: StreamKind,
    /// The stream without its outer compression.
    pub stream: Option<StreamDigest>,
    /// The outer compression.
    pub wrapping: Wrapping,
    /// The stream as it came, if it was wrapped.
    pub wrapped: Option<StreamDigest>,
    /// Its very bytes, if they were kept.
    pub original: Vec<Item>,
    /// Its identity document.
    pub identity: Option<Vec<u8>>,
}

impl StreamFacts {
    /// The facts of something that is no stream.
    pub fn of(kind: StreamKind) -> Self {
        Self {
            kind,
            stream: None,
            wrapping: Wrapping::Plain,
            wrapped: None,
            original: Vec::new(),
            identity: None,
        }
    }
}

/// What an ingest did.
#[derive(Clone, Debug)]
pub struct IngestSummary {
    /// The new snapshot.
    pub id: SnapshotId,
    /// What it says.
    pub snapshot: Snapshot,
    /// What was written.
    pub finished: Finished,
}

/// One ingest in progress.
pub struct Ingest {
    repository: Arc<Repository>,
    request: IngestRequest,
    writer: Arc<Writer>,
    known: Option<Arc<KnownFiles>>,
    log: Arc<WarningLog>,
}

impl Ingest {
    /// Begins an ingest.
    pub fn begin(
        repository: &Arc<Repository>,
        request: IngestRequest,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Self> {
        let log = Arc::new(WarningLog::new(Arc::clone(monitor)));
        let as_monitor: Arc<dyn Monitor> = log.clone();
        let writer = Arc::new(Writer::begin(repository, request.writer, &as_monitor)?);
        let known = request.known_as.as_ref().map(|source| {
            let homes = writer.homes();
            Arc::new(KnownFiles::new(repository, homes, source, request.time))
        });
        Ok(Self {
            repository: Arc::clone(repository),
            request,
            writer,
            known,
            log,
        })
    }

    /// What sources report to: it also keeps the warnings for the snapshot.
    pub fn monitor(&self) -> Arc<dyn Monitor> {
        self.log.clone()
    }

    /// Tells a source which files need not be read.
    pub fn known(&self) -> Option<Arc<dyn Known>> {
        self.known.clone().map(|known| known as Arc<dyn Known>)
    }

    /// Where a source keeps files of which more names may come.
    pub fn shelf(&self) -> Arc<dyn Shelf> {
        Arc::new(SpillShelf::new(self.request.scratch.clone()))
    }

    /// Takes in a source, then commits the snapshot. `cutting` chooses how a file is cut; `facts` is asked when the
    /// stream is over.
    pub fn run<S: Source>(
        self,
        mut source: S,
        cutting: impl Fn(&Entry) -> Cutting + Send + 'static,
        facts: impl FnOnce(&S) -> Result<StreamFacts>,
    ) -> Result<IngestSummary> {
        let assembled = self.assemble(&mut source, Box::new(cutting))?;
        let facts = facts(&source)?;
        drop(source);
        self.commit(assembled, facts)
    }

    fn assemble(&self, source: &mut dyn Source, choose: Box<Choose>) -> Result<Assembled> {
        let table = Arc::new(GearTable::new(&self.repository.gear()));
        let sizes = self.repository.config().chunks;
        let params = Params {
            min: sizes.min_bytes,
            avg: sizes.avg_bytes,
            max: sizes.max_bytes,
        };
        let bad = |e| Error::caused(Class::Invalid, "the chunker", e);
        let content = Cutter::content(params, Arc::clone(&table)).map_err(bad)?;
        let fixed = Cutter::fixed(sizes.fixed_bytes).map_err(bad)?;
        let archive = source.order() == Order::Archive;
        let mode = if archive {
            let members = ArchiveTree::new(&self.repository, self.request.scratch.clone());
            Mode::Archive(Box::new(members), Box::new(RecipeWriter::new(&table)?))
        } else {
            Mode::Walk
        };
        let (turns, incoming) = bounded(TURNS);
        let mut feed = Feed {
            writer: &self.writer,
            turns,
            known: self.known.clone(),
            monitor: self.log.as_ref(),
            content,
            fixed,
            choose,
            archive,
            batch_bytes: self.repository.config().blocks.file_bytes as usize,
            state: FeedState::default(),
        };
        let known = self.known.clone();
        let links = FirstNames::new(self.request.scratch.clone());
        std::thread::scope(|scope| {
            let assembler = std::thread::Builder::new()
                .name("assembler".to_owned())
                .spawn_scoped(scope, || {
                    Assembler::new(&self.writer, self.log.as_ref(), known, mode, table, links)
                        .run(&incoming)
                })
                .map_err(|e| Error::io("start the assembler", e))?;
            let fed = match source.stream(&mut feed) {
                Ok(()) => feed.finish(),
                Err(e) => {
                    drop(feed);
                    Err(e)
                }
            };
            let assembled = assembler
                .join()
                .map_err(|_| Error::new(Class::Io, "the assembler panicked"))?;
            // When both failed, the one that hung up on the other has the reason.
            match (fed, assembled) {
                (Ok(()), assembled) => assembled,
                (Err(e), Ok(_)) => Err(e),
                (Err(fed), Err(assembled)) => Err(feed::reason(fed, assembled)),
            }
        })
    }

    fn commit(self, assembled: Assembled, facts: StreamFacts) -> Result<IngestSummary> {
        let Self {
            repository,
            request,
            writer,
            known,
            log,
        } = self;
        let mut writer = Arc::into_inner(writer)
            .ok_or_else(|| Error::invalid("a stream of the ingest is still open"))?;
        let identity = match &facts.identity {
            Some(document) => store_document(&writer, document)?,
            None => Vec::new(),
        };
        let finished = writer.finish()?;
        let (warnings, warning_count) = log.take();
        let mut snapshot = Snapshot::new(facts.kind, assembled.root);
        snapshot.time = request.time;
        snapshot.finished = (request.clock)();
        snapshot.name = request.name;
        snapshot.description = request.description;
        snapshot.tags = request.tags;
        snapshot.host = request.host;
        snapshot.user = request.user;
        snapshot.sources = request.sources;
        snapshot.counts = Counts {
            added_bytes: finished.stored_bytes,
            ..assembled.counts
        };
        snapshot.recipe = assembled.recipe;
        snapshot.overrides = assembled.overrides;
        snapshot.stream = facts.stream;
        snapshot.wrapping = facts.wrapping;
        snapshot.wrapped = facts.wrapped;
        snapshot.original = facts.original;
        snapshot.identity = identity;
        snapshot.warnings = warnings;
        snapshot.warning_count = warning_count;
        snapshot.parent = repository.newest_of(&snapshot.name)?;
        snapshot.program = request.program;
        let id = writer.commit(&snapshot)?;
        if let Some(known) = known {
            // Without it the next run only reads more than it must.
            if let Err(e) = known.commit() {
                log.note(&format!("unchanged files will be read again: {e}"));
            }
        }
        Ok(IngestSummary {
            id,
            snapshot,
            finished,
        })
    }
}

#[cfg(test)]
mod tests;
