//! Prune: frees what no snapshot and no reader reaches, while others write and read. `docs/durability.md` has the protocol and
//! why it is safe; its order is kept here.
//!
//! ```text
//! session        a pruner is a writer: plans of others wait for it
//! plans          what others condemn is as good as absent
//! roots          snapshots, then living sessions: who reads what was forgotten is seen by one or the other
//! mark           what is reached, by two bits for each chunk
//! choose         packs without anything, and those that are mostly garbage; within the bounds asked for
//! repack         what is still needed of them is stored again, durable and indexed
//! plan           written; then the sessions that may have missed it are recorded
//! execute        once none of those lives: see `execute`
//! ```

mod choose;
mod execute;
mod mark;
mod quarantine;
mod repack;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

pub(super) use self::execute::settle_what_can_be;
pub use self::execute::{Known, Settled, Waiting, settle};
pub use self::quarantine::SetAside;
use crate::backend::{Area, Drawn, Key};
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::session::SessionKind;
use crate::id::{ObjectId, PackId, PlanId, SessionId, SnapshotId};
use crate::progress::{Count, Monitor};
use crate::repository::{
    Condemned, Homes, Needs, Repository, Session, SnapshotInfo, WriterOptions,
};
use choose::Choice;
use mark::Mark;
use repack::Copied;
use table::{Bits, Table};

/// How much garbage may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnused {
    /// In thousandths of what is stored.
    Thousandths(u64),
    /// In stored bytes.
    Bytes(u64),
}

/// How to prune.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// Garbage in packs that also hold something needed may stay up to this.
    pub max_unused: MaxUnused,
    /// The most stored bytes of packs that are repacked in one run.
    pub max_repack_bytes: Option<u64>,
    /// Say what would be done; change nothing.
    pub dry_run: bool,
    /// How to write what is repacked.
    pub writer: WriterOptions,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            max_unused: MaxUnused::Thousandths(50),
            max_repack_bytes: None,
            dry_run: false,
            writer: WriterOptions::default(),
        }
    }
}

/// Packs and their stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packs {
    /// How many.
    pub count: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Packs {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn join(&mut self, others: Self) {
        self.count += others.count;
        self.bytes += others.bytes;
    }
}

/// What a prune did, or would do.
#[derive(Clone, Debug, Default)]
pub struct PruneReport {
    /// Snapshots that it marked from.
    pub snapshots: u64,
    /// Readers whose snapshots it kept, forgotten or not.
    pub readers: u64,
    /// All packs, before.
    pub stored: Packs,
    /// Packs that nothing needs.
    pub unneeded: Packs,
    /// Packs that were mostly garbage and were repacked.
    pub repacked: Packs,
    /// Raw bytes that were stored again for that.
    pub copied_bytes: u64,
    /// Stored bytes of objects that were written for that.
    pub written_bytes: u64,
    /// About how many stored bytes of garbage stay in packs that are also needed.
    pub unused_bytes: u64,
    /// About how many stored bytes this frees: packs that nothing needs, and the garbage in those that are repacked.
    pub gained_bytes: u64,
    /// Packs that no index object lists and that were left alone, since a writer is at work.
    pub in_progress: Packs,
    /// What was removed, of this plan and of earlier ones, and what waits.
    pub settled: Settled,
}

/// What a mark starts from.
struct Roots {
    snapshots: Vec<SnapshotInfo>,
    readers: Vec<(SessionId, Needs)>,
    /// Sessions that may reuse what is stored, other than our own.
    writers: Vec<SessionId>,
}

impl Roots {
    /// Snapshots first, then sessions.
    fn find(
        repository: &Repository,
        monitor: &dyn Monitor,
        (own, absent): (Option<SessionId>, &[SnapshotId]),
    ) -> Result<Self> {
        let snapshots = all_snapshots(repository, absent, monitor)?;
        let mut roots = Self {
            snapshots,
            readers: Vec::new(),
            writers: Vec::new(),
        };
        for living in repository.living_sessions()? {
            let record = living.record;
            if Some(living.id) == own {
                continue;
            }
            if record.kind.writes() {
                roots.writers.push(living.id);
            }
            if !record.trees.is_empty() || !record.contents.is_empty() {
                let needs = Needs {
                    snapshots: record.snapshots,
                    trees: record.trees,
                    contents: record.contents,
                };
                roots.readers.push((living.id, needs));
            }
        }
        Ok(roots)
    }
}

/// Every snapshot in the store but those that are to be taken for absent. One that cannot be read is an error: it is not known what it needs.
fn all_snapshots(
    repository: &Repository,
    absent: &[SnapshotId],
    monitor: &dyn Monitor,
) -> Result<Vec<SnapshotInfo>> {
    let stored = repository.refresh_and_list_snapshots(monitor)?;
    let mut all = repository.snapshots()?;
    let read: HashSet<SnapshotId> = all.iter().map(|info| info.id).collect();
    let known = |id: &&SnapshotId| read.contains(*id) || absent.contains(*id);
    let mut missing = stored.iter().filter(|id| !known(id));
    all.retain(|info| !absent.contains(&info.id));
    let there = |id: &&SnapshotId| {
        let key = Key::object(Area::Snapshots, id);
        // One that was forgotten meanwhile needs nothing, and an error is met again.
        repository.backend().exists(&key).unwrap_or(true)
    };
    match missing.find(there) {
        None => Ok(all),
        Some(id) => Err(Error::corrupt(format!(
            "snapshot {id} cannot be read, so it is not known what it needs: nothing is pruned ('repo check' says what is wrong, \
             'repo forget {}' gives it up)",
            id.short()
        ))),
    }
}

/// What a prune decides on, and what it decided.
struct Survey {
    roots: Roots,
    homes: Homes,
    table: Table,
    reached: Bits,
    choice: Choice,
    report: PruneReport,
}

/// What a prune would do if the snapshots in `absent` were not there; changes nothing, and goes on where nothing can be written.
pub fn foresee(
    repository: &Arc<Repository>,
    options: &PruneOptions,
    absent: &[SnapshotId],
    monitor: &Arc<dyn Monitor>,
) -> Result<PruneReport> {
    repository.require_full("prune")?;
    let session = match repository.begin_session(SessionKind::Pruner) {
        Ok(session) => Some(session),
        Err(e) if matches!(e.class(), Class::Denied | Class::Full) => None,
        Err(e) => return Err(e),
    };
    let own = session.as_ref().map(Session::id);
    let mut survey = Survey::make(
        repository,
        (options, false),
        (own, absent),
        monitor.as_ref(),
    )?;
    survey.choice.tell(&survey.table, &mut survey.report);
    survey.report.settled = execute::look(repository)?;
    Ok(survey.report)
}

/// Prunes. With another prune at work nothing is lost; what one leaves the next one takes. Where there is no room to repack, what
/// nothing needs goes first, and packs of which little is needed.
pub fn prune(
    repository: &Arc<Repository>,
    options: &PruneOptions,
    monitor: &Arc<dyn Monitor>,
) -> Result<PruneReport> {
    if options.dry_run {
        return foresee(repository, options, &[], monitor);
    }
    repository.require_full("prune")?;
    let _drawing = repository.draw_on_reserve(Drawn::Small);
    let report = match round(repository, (options, false), monitor) {
        Err(e) if e.class() == Class::Full => squeeze(repository, options, e, monitor),
        report => report,
    };
    repository.tell_moved(monitor.as_ref());
    report
}

/// Prunes where there is no room: in turn, what takes next to none, and as much as then finds room. What that copied before the room
/// was used up need not be copied again, so that each turn frees more.
fn squeeze(
    repository: &Arc<Repository>,
    options: &PruneOptions,
    mut full: Error,
    monitor: &Arc<dyn Monitor>,
) -> Result<PruneReport> {
    let mut report = PruneReport::default();
    loop {
        let packs = repository.draw_on_reserve(Drawn::Packs);
        let tight = round(repository, (options, true), monitor)?;
        drop(packs);
        let gained = tight.settled.removed.bytes > tight.written_bytes;
        report.follow(tight);
        if !gained {
            break;
        }
        match round(repository, (options, false), monitor) {
            Ok(last) => {
                report.follow(last);
                return Ok(report);
            }
            Err(e) if e.class() == Class::Full => full = e,
            Err(e) => return Err(e),
        }
    }
    if report.settled.removed.count == 0 && report.settled.waiting.is_empty() {
        return Err(full);
    }
    monitor.warn(&format!(
        "there is no room to repack more: forget more snapshots, or make room, and prune again ({full})"
    ));
    Ok(report)
}

impl PruneReport {
    /// What another round did after this one.
    fn follow(&mut self, next: Self) {
        let before = std::mem::replace(self, next);
        if before.stored.count > 0 {
            self.stored = before.stored;
        }
        for (all, one) in [
            (&mut self.unneeded, before.unneeded),
            (&mut self.repacked, before.repacked),
            (&mut self.settled.removed, before.settled.removed),
        ] {
            all.join(one);
        }
        self.copied_bytes += before.copied_bytes;
        self.written_bytes += before.written_bytes;
        self.gained_bytes += before.gained_bytes;
        self.settled.released += before.settled.released;
    }
}

/// Prunes once; where room is tight, next to nothing is copied.
fn round(
    repository: &Arc<Repository>,
    (options, tight): (&PruneOptions, bool),
    monitor: &Arc<dyn Monitor>,
) -> Result<PruneReport> {
    // What is released now can be condemned again at once: else it would stay until the prune after this one.
    let before = settle(repository, None, false, monitor.as_ref())?;
    let session = Arc::new(repository.begin_session(SessionKind::Pruner)?);
    let own = (Some(session.id()), &[][..]);
    let Survey {
        roots,
        homes,
        table,
        reached,
        mut choice,
        mut report,
    } = Survey::make(repository, (options, tight), own, monitor.as_ref())?;
    let copied = repack::repack(
        repository,
        (&session, homes, options.writer),
        (&table, &reached),
        &mut choice,
        monitor,
    );
    let copied = match copied {
        // What nothing needs can go all the same.
        Err(e) if tight && e.class() == Class::Full => {
            choice.keep_reached(&table);
            Copied::default()
        }
        copied => copied?,
    };
    choice.tell(&table, &mut report);
    report.copied_bytes = copied.bytes;
    report.written_bytes = copied.written_bytes;
    let known = publish(repository, &table, &choice, &roots, &session)?;
    // Our own session ends before the plan is carried out: other plans need not wait for it any more.
    drop(session);
    report.settled = settle(repository, known.as_ref(), true, monitor.as_ref())?;
    report.settled.removed.join(before.removed);
    report.settled.released += before.released;
    report.settled.set_aside.extend(before.set_aside);
    Ok(report)
}

impl Survey {
    /// Plans, roots, mark and choice, in this order. The session has begun, unless nothing is to be changed.
    fn make(
        repository: &Arc<Repository>,
        (options, tight): (&PruneOptions, bool),
        (own, absent): (Option<SessionId>, &[SnapshotId]),
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut condemned = Condemned::default();
        repository.take_in_plans(&mut condemned)?;
        let roots = Roots::find(repository, monitor, (own, absent))?;
        let homes = Homes::after_plans(repository, condemned.clone(), monitor)?;
        let table = Table::new(repository.catalog())?;
        let reached = mark_all(repository, &table, &roots, monitor)?;
        let unindexed: HashSet<PackId> = if roots.writers.is_empty() {
            HashSet::new()
        } else {
            let packs = repository.catalog().unindexed_packs()?;
            packs.into_iter().map(|(id, _)| id).collect()
        };
        let choice = Choice::make(repository, &table, &reached, (options, tight), &|row| {
            condemned.packs.contains(&row.id) || unindexed.contains(&row.id)
        })?;
        let mut report = PruneReport {
            snapshots: roots.snapshots.len() as u64,
            readers: roots.readers.len() as u64,
            ..PruneReport::default()
        };
        for row in table.rows() {
            report.stored.add(row.stored_bytes);
            if unindexed.contains(&row.id) {
                report.in_progress.add(row.stored_bytes);
            }
        }
        Ok(Self {
            roots,
            homes,
            table,
            reached,
            choice,
            report,
        })
    }
}

/// Writes the plan, then records who may have missed it.
fn publish(
    repository: &Repository,
    table: &Table,
    choice: &Choice,
    roots: &Roots,
    session: &Session,
) -> Result<Option<Known>> {
    let packs = choice.condemned(table);
    if packs.is_empty() {
        return Ok(None);
    }
    Ok(Some(Known {
        plan: publish_plan(repository, packs, false, session)?,
        snapshots: roots.snapshots.iter().map(|info| info.id).collect(),
        readers: roots.readers.iter().map(|(id, _)| *id).collect(),
    }))
}

/// Writes a plan, then records who may have missed it: everybody who writes but us.
pub(super) fn publish_plan(
    repository: &Repository,
    packs: Vec<(PackId, ObjectKind)>,
    quarantine: bool,
    session: &Session,
) -> Result<PlanId> {
    session.confirm()?;
    let plan = repository.write_plan(packs, quarantine)?;
    let living = repository.living_sessions()?;
    let others: Vec<SessionId> = living
        .iter()
        .filter(|living| living.record.kind.writes() && living.id != session.id())
        .map(|living| living.id)
        .collect();
    repository.waits(&plan.id, &others)?;
    Ok(plan.id)
}

/// What all snapshots and readers reach.
fn mark_all(
    repository: &Repository,
    table: &Table,
    roots: &Roots,
    monitor: &dyn Monitor,
) -> Result<Bits> {
    let mut bits = table.bits();
    let mut set = |homes: &[crate::catalog::Home]| {
        for home in homes {
            bits.set(table.bit(home)?);
        }
        Ok(())
    };
    let mut mark = Mark::new(repository, table, monitor, &mut set);
    monitor.expect(Count::Entries, roots.snapshots.len() as u64);
    for info in &roots.snapshots {
        monitor.doing(&|| format!("marking {}", info.snapshot.name));
        mark.snapshot(&info.snapshot)
            .map_err(|e| e.within(format!("snapshot {}", info.id.short())))?;
        monitor.add(Count::Entries, 1);
    }
    for (_, needs) in &roots.readers {
        mark.needs(needs)
            .map_err(|e| e.within("what a reader needs"))?;
    }
    mark.finish()?;
    Ok(bits)
}

/// An error of the class that ends what a user no longer wants.
fn interrupted(monitor: &dyn Monitor) -> Result<()> {
    if monitor.interrupted() {
        let what = "interrupted: the next prune or ingest goes on where this one was";
        return Err(Error::new(Class::Interrupted, what));
    }
    Ok(())
}

/// Ids of objects in a set.
type Ids = HashSet<ObjectId>;
