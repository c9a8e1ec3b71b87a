//! Copies snapshots from one repository to another that has other keys and parameters.
//!
//! ```text
//! source trees -> planner -> chunks, read ahead and checked -> cut again -> destination's writer     (contents)
//!                               memo: content -> content  <----------------------+
//! source trees ------------------> | -> nodes with the destination's chunks -> shards -> writer -> snapshot      (trees)
//! ```
//! Ids, cuts and seals are the destination's, so what is copied shares everything with what was ingested there directly. Everything
//! that a snapshot says is kept, and it says what it is a copy of ([`Origin`]): a copy that is run again leaves out what is
//! there, and finds the chunks of what was broken off.
//!
//! Not the pair of `Source` and `Sink`: a subtree that was copied is one reference here, and a node keeps what no entry
//! tells (link groups, files that changed while they were read).
//!
//! All snapshots of a run are written within one session, so what the [`Memo`] remembers stays as long as it is used. Each
//! source snapshot is read within a reader session of its own.

mod base;
mod contents;
mod journal;
mod memo;
mod pour;
mod streams;
#[cfg(test)]
mod tests;
mod trees;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chunk::GearTable;
use crate::crypto::Role;
use crate::error::{Class, Error, Result};
use crate::format::snapshot::{Origin, Snapshot};
use crate::id::SnapshotId;
use crate::progress::Monitor;
use crate::repository::{Finished, Homes, Repository, SnapshotInfo, Writer, WriterOptions};
use base::Bases;
use memo::Memo;

/// Losses of one snapshot that are named.
const MAX_NAMED_LOSSES: usize = 100;

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// How to write.
    pub writer: WriterOptions,
    /// Threads that read.
    pub threads: NonZeroUsize,
    /// Where what does not fit in memory may go (sealed); `None` keeps all in memory.
    pub scratch: Option<PathBuf>,
}

/// Something of a snapshot that could not be read, or not be understood.
#[derive(Clone, Debug)]
pub struct Loss {
    /// A path in the snapshot, or what part of it.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Of what kind it is.
    pub class: Class,
}

impl Loss {
    fn new(name: String, error: &Error) -> Self {
        Self {
            name,
            reason: error.to_string(),
            class: error.class(),
        }
    }

    /// What an earlier snapshot of the run has lost, too.
    fn again(name: &str, reason: &str) -> Self {
        Self {
            name: name.to_owned(),
            reason: reason.to_owned(),
            class: Class::Corrupt,
        }
    }
}

/// What a snapshot has lost: there may be more of it than anybody reads.
#[derive(Clone, Debug, Default)]
pub struct Losses {
    /// The first hundred.
    pub named: Vec<Loss>,
    /// How many there are.
    pub count: u64,
}

impl Losses {
    fn add(&mut self, loss: Loss) {
        self.count += 1;
        if self.named.len() < MAX_NAMED_LOSSES {
            self.named.push(loss);
        }
    }
}

/// What became of a snapshot.
#[derive(Clone, Debug)]
pub enum Copied {
    /// It was copied, and has this id in the destination.
    New(SnapshotId),
    /// The destination has it, by this id.
    There(SnapshotId),
    /// It is not whole, so it was not copied.
    Damaged(Losses),
    /// It was forgotten before its turn came.
    Gone,
}

/// What a run wrote.
pub type CopySums = Finished;

/// Which snapshots the destination has, by what they are copies of. With a key of role `ingest` only copies that were
/// made through the same catalog are known.
#[derive(Debug)]
pub struct Present {
    by_origin: HashMap<Origin, SnapshotId>,
}

impl Present {
    /// Looks.
    pub fn look(destination: &Repository) -> Result<Self> {
        let mut by_origin = HashMap::new();
        if destination.role() == Role::Full {
            for info in destination.snapshots()? {
                by_origin.insert(origin_of(destination, &info), info.id);
            }
        }
        Ok(Self { by_origin })
    }

    /// The copy of a source snapshot, if there is one.
    pub fn copy_of(
        &self,
        source: &Repository,
        info: &SnapshotInfo,
        destination: &Repository,
    ) -> Result<Option<SnapshotId>> {
        let origin = origin_of(source, info);
        match self.by_origin.get(&origin) {
            Some(id) => Ok(Some(*id)),
            None => journal::find(destination, &origin),
        }
    }
}

/// What a snapshot is a copy of: itself, if it was taken here.
fn origin_of(repository: &Repository, info: &SnapshotInfo) -> Origin {
    info.snapshot.origin.unwrap_or(Origin {
        repository: repository.id(),
        snapshot: info.id,
    })
}

/// Refuses two repositories between which nothing can be copied.
pub fn check_pair(source: &Repository, destination: &Repository) -> Result<()> {
    if source.id() == destination.id() {
        return Err(Error::new(
            Class::Refused,
            format!(
                "{} and {} are the same repository, or one was copied from the other file by file",
                source.backend().location(),
                destination.backend().location()
            ),
        ));
    }
    source.require_full("copy snapshots out of the repository")
}

/// What all snapshots of a run share.
struct Run<'a> {
    source: &'a Repository,
    destination: &'a Repository,
    options: &'a CopyOptions,
    monitor: &'a dyn Monitor,
    memo: Memo,
    /// The destination's.
    table: Arc<GearTable>,
}

impl Run<'_> {
    fn check(&self) -> Result<()> {
        if self.monitor.interrupted() {
            return Err(Error::new(
                Class::Interrupted,
                "interrupted; what was stored is kept for the next run",
            ));
        }
        Ok(())
    }
}

/// Copies these snapshots in this order, and tells `each` what became of one as soon as that is known. A snapshot of which
/// anything cannot be read is not copied; the others are.
pub fn copy(
    source: &Arc<Repository>,
    destination: &Arc<Repository>,
    snapshots: &[SnapshotInfo],
    options: &CopyOptions,
    monitor: &Arc<dyn Monitor>,
    each: &mut dyn FnMut(&SnapshotInfo, &Copied),
) -> Result<CopySums> {
    check_pair(source, destination)?;
    let mut present = Present::look(destination)?;
    let run = Run {
        source,
        destination,
        options,
        monitor: monitor.as_ref(),
        memo: Memo::new(options.scratch.clone()),
        table: Arc::new(GearTable::new(&destination.gear())),
    };
    let mut lane = Lane::default();
    let mut bases = Bases::new(&run)?;
    for info in snapshots {
        run.check()?;
        let copied = match present.copy_of(source, info, destination)? {
            Some(id) => Copied::There(id),
            None => match source.begin_reading(std::slice::from_ref(info), run.monitor) {
                Ok(reading) => {
                    let writer = lane.writer(destination, options.writer, monitor)?;
                    bases.learn(&run, info, writer.homes())?;
                    let copied = copy_one(&run, info, &present, writer, &mut lane);
                    drop(reading);
                    copied.map_err(|e| e.within(format!("snapshot {}", info.id.short())))?
                }
                Err(e) if e.class() == Class::NotFound => Copied::Gone,
                Err(e) => return Err(e),
            },
        };
        if let Copied::New(id) = copied {
            present.by_origin.insert(origin_of(source, info), id);
            bases.add(info.id);
        }
        each(info, &copied);
    }
    Ok(lane.sums)
}

fn copy_one(
    run: &Run<'_>,
    info: &SnapshotInfo,
    present: &Present,
    mut writer: Writer,
    lane: &mut Lane,
) -> Result<Copied> {
    let from = &info.snapshot;
    if !from.unknown.is_empty() {
        let what = "it has fields of a later version of the program: copy it with that";
        let error = Error::new(Class::Unsupported, what);
        let mut losses = Losses::default();
        losses.add(Loss::new("the snapshot".into(), &error));
        return Ok(Copied::Damaged(losses));
    }
    let mut losses = contents::copy_contents(run, info, &writer)?;
    let mut to = Snapshot {
        origin: Some(origin_of(run.source, info)),
        ..from.clone()
    };
    if losses.count == 0 {
        losses = streams::copy_streams(run, from, &mut to, &writer)?;
    }
    if losses.count == 0 {
        to.root = trees::copy_tree(run, &from.root, &writer)?;
    }
    // Also of one that is not whole: the memo counts on what was stored.
    let finished = writer.finish()?;
    lane.add(finished);
    if losses.count > 0 {
        return Ok(Copied::Damaged(losses));
    }
    to.counts.added_bytes = finished.stored_bytes;
    to.parent = match from.parent {
        Some(snapshot) => {
            let repository = run.source.id();
            let taken = Origin {
                repository,
                snapshot,
            };
            present.by_origin.get(&taken).copied()
        }
        None => None,
    };
    let id = writer.commit(&to)?;
    journal::keep(
        run.destination,
        &origin_of(run.source, info),
        &id,
        run.monitor,
    );
    Ok(Copied::New(id))
}

/// The writers of a run, one after the other within one session.
#[derive(Default)]
struct Lane {
    session: Option<Arc<crate::repository::Session>>,
    homes: Option<Arc<Homes>>,
    sums: Finished,
}

impl Lane {
    /// A writer for the next snapshot. What others condemned since the session began is not known to it, as it is not to any writer
    /// that began before a plan: the plan waits for the session.
    fn writer(
        &mut self,
        destination: &Arc<Repository>,
        options: WriterOptions,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Writer> {
        let writer = match (&self.session, &self.homes) {
            (Some(session), Some(homes)) => {
                let (session, homes) = (Arc::clone(session), Arc::clone(homes));
                Writer::start(destination, session, homes, (options, monitor))?
            }
            _ => Writer::begin(destination, options, monitor)?,
        };
        self.session = Some(Arc::clone(writer.session()));
        self.homes = Some(Arc::clone(writer.homes()));
        Ok(writer)
    }

    fn add(&mut self, finished: Finished) {
        let sums = &mut self.sums;
        sums.stored_bytes += finished.stored_bytes;
        sums.packs += finished.packs;
        sums.new_chunks += finished.new_chunks;
        sums.new_bytes += finished.new_bytes;
        sums.known_bytes += finished.known_bytes;
    }
}
