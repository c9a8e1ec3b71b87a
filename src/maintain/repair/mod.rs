//! Repair: makes of a damaged repository one that is whole but for what is lost, and says exactly what is. `docs/durability.md` has what it
//! promises and why it may be done beside others.
//!
//! ```text
//! plans          open ones are carried out as far as they can be
//! session        a repair is a pruner: plans of others wait for it
//! survey         snapshots, index objects, packs, and the bytes of packs
//! put back       whole objects that lie in the wrong area
//! salvage        what damaged packs still hold is stored again, durable and indexed
//! plan           condemns damaged and lost packs: from now on what they held does not count as stored
//! execute        once no older writer lives: index objects without them, then they go to the quarantine
//! index          packs that no index object lists are listed; index objects that cannot be read go to the quarantine
//! check          which paths of which snapshots are lost
//! ```
//! Nothing is removed that is not elsewhere: what is damaged is moved. Killed at any point, the next repair does what is left.

mod survey;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::check::{CheckReport, Harm, ReadData, check_knowing};
use super::prune::{SetAside, Waiting, publish_plan, settle_what_can_be};
use crate::backend::{Area, Key};
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::plan::MAX_PLAN_PACKS;
use crate::format::session::SessionKind;
use crate::id::{ObjectId, PackId, PlanId, ShortChunkId};
use crate::progress::{Count, Monitor};
use crate::repository::{Condemned, Homes, Repository, Salvaged, Session, Writer, WriterOptions};
use survey::{Survey, pack_key};

/// How to repair.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairOptions {
    /// Read file content only of packs with which something is wrong already. Trees are always read.
    pub quick: bool,
    /// Say what would be done; change nothing.
    pub dry_run: bool,
    /// Take snapshots that cannot be read out of use.
    pub quarantine_snapshots: bool,
    /// How to write what is stored again.
    pub writer: WriterOptions,
}

/// An object with which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The object.
    pub object: Key,
    /// What.
    pub what: String,
}

impl Fault {
    fn new(object: &Key, what: &dyn std::fmt::Display) -> Self {
        Self {
            object: object.clone(),
            what: what.to_string(),
        }
    }
}

/// A pack that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPack {
    /// The pack.
    pub object: Key,
    /// What is wrong with it.
    pub reasons: Vec<String>,
    /// Chunks that can be read from it.
    pub readable: u64,
    /// How many of them were stored again; the others are elsewhere as well. None in a dry run.
    pub stored_again: u64,
    /// Chunks that it should hold and that cannot be read from it.
    pub unreadable: u64,
}

/// What a repair found and did.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// Packs in the store.
    pub packs: u64,
    /// Packs of which every byte was read.
    pub packs_read: u64,
    /// Raw bytes that were compared with their chunk ids.
    pub raw_bytes_read: u64,
    /// Damaged packs.
    pub damaged: Vec<DamagedPack>,
    /// Packs that index objects list and that are not there.
    pub missing: Vec<Key>,
    /// Packs that no index object listed, and that one lists now.
    pub listed: u64,
    /// Index objects that cannot be read, or say what is not so. All that they said is in packs as well.
    pub indexes: Vec<Fault>,
    /// Snapshots that cannot be read.
    pub snapshots: Vec<Fault>,
    /// Whole objects that were in the wrong area: where they were, where they are.
    pub put_back: Vec<(Key, Key)>,
    /// Objects that were left as they are: the medium does not give them, or they are of a version or key that is not at hand.
    pub left: Vec<Fault>,
    /// What was moved to the quarantine.
    pub set_aside: Vec<SetAside>,
    /// Stored bytes of what was written.
    pub written_bytes: u64,
    /// The plan that waits, if older writers are at work.
    pub waiting: Vec<Waiting>,
    /// Damaged packs that are still in their place: for that reason, or since somebody else was at it.
    pub in_place: u64,
    /// What is lost after all, and whatever else a check without reading content says.
    pub check: CheckReport,
}

impl RepairReport {
    /// True if nothing was wrong.
    pub fn is_untouched(&self) -> bool {
        self.damaged.is_empty()
            && self.missing.is_empty()
            && self.listed == 0
            && self.indexes.is_empty()
            && self.snapshots.is_empty()
            && self.put_back.is_empty()
            && self.left.is_empty()
            && self.check.is_sound()
    }

    /// True if everything can be read back as it was.
    pub fn is_mended(&self) -> bool {
        self.snapshots.is_empty() && self.left.is_empty() && self.check.is_sound()
    }
}

/// Repairs a repository; `each` gets every part of a snapshot that is lost. An error means that the repair could not be made, or
/// not to its end: then run it again.
pub fn repair(
    repository: &Arc<Repository>,
    options: &RepairOptions,
    monitor: &Arc<dyn Monitor>,
    each: &mut dyn FnMut(&Harm),
) -> Result<RepairReport> {
    repository.require_full("repair the repository")?;
    let mut report = RepairReport::default();
    // What is wrong is in the report; it need not be told each time that somebody meets it.
    let monitor: &Arc<dyn Monitor> = &(Arc::new(Quiet(Arc::clone(monitor))) as Arc<dyn Monitor>);
    let mut run = Run {
        repository,
        options,
        monitor,
        saved: HashSet::new(),
    };
    let survey = if options.dry_run {
        run.look(&mut report)?
    } else {
        run.mend(&mut report)?
    };
    report.damaged.sort_by(|a, b| a.object.cmp(&b.object));
    let moved: HashSet<&Key> = report.set_aside.iter().map(|moved| &moved.from).collect();
    let mut damage = survey.damage(&|key| !moved.contains(key));
    damage.saved = run.saved;
    report.check = check_knowing(repository, ReadData::None, damage, monitor.as_ref(), each)?;
    Ok(report)
}

struct Run<'a> {
    repository: &'a Arc<Repository>,
    options: &'a RepairOptions,
    monitor: &'a Arc<dyn Monitor>,
    /// Chunks of damaged packs that could be read.
    saved: HashSet<ShortChunkId>,
}

impl Run<'_> {
    /// Says what would be done.
    fn look(&mut self, report: &mut RepairReport) -> Result<Survey> {
        let mut survey = self.survey(report)?;
        self.salvage(&mut survey, None, report)?;
        report.put_back.clone_from(&survey.misplaced);
        tell(&survey, report);
        Ok(survey)
    }

    /// Does it.
    fn mend(&mut self, report: &mut RepairReport) -> Result<Survey> {
        let repository = self.repository;
        let (before, _) = settle_what_can_be(repository, None, false, self.monitor.as_ref())?;
        report.set_aside.extend(before.set_aside);
        let session = Arc::new(repository.begin_session(SessionKind::Pruner)?);
        repository.remove_ended_sessions()?;
        let mut condemned = Condemned::default();
        repository.take_in_plans(&mut condemned)?;
        let mut survey = self.survey(report)?;
        if !survey.misplaced.is_empty() {
            self.put_back(&survey.misplaced, report)?;
            survey = self.survey(report)?;
        }
        let homes = Homes::after_plans(repository, condemned.clone(), self.monitor.as_ref())?;
        self.salvage(&mut survey, Some((&session, homes, condemned)), report)?;
        let plans = self.condemn(&survey, &session)?;
        // Our own session ends before the plan is carried out: it would wait for it.
        drop(session);
        let (settled, _) = settle_what_can_be(repository, None, true, self.monitor.as_ref())?;
        report.set_aside.extend(settled.set_aside);
        report.waiting = settled.waiting;
        report
            .waiting
            .retain(|waiting| plans.contains(&waiting.plan));
        for pack in &survey.damaged {
            let key = pack_key(pack.kind, &pack.id);
            report.in_place += u64::from(repository.backend().exists(&key)?);
        }
        self.mend_index(&survey, report)?;
        if self.options.quarantine_snapshots {
            for id in survey.snapshots.keys() {
                self.set_aside(&Key::object(Area::Snapshots, id), report)?;
                repository.catalog().remove_snapshot(id)?;
            }
        }
        tell(&survey, report);
        repository.refresh(self.monitor.as_ref())?;
        Ok(survey)
    }

    fn survey(&self, report: &mut RepairReport) -> Result<Survey> {
        Survey::make(
            self.repository,
            self.options.quick,
            self.monitor.as_ref(),
            report,
        )
    }

    /// Moves whole objects to where they belong. Nobody can use them where they are.
    fn put_back(&self, misplaced: &[(Key, Key)], report: &mut RepairReport) -> Result<()> {
        for (from, to) in misplaced {
            match self.repository.backend().rename(from, to) {
                Ok(()) => report.put_back.push((from.clone(), to.clone())),
                // It is also where it belongs.
                Err(e) if e.class() == Class::Exists => self.set_aside(from, report)?,
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Stores again what damaged packs still hold; without a writer, only looks what that is. Packs that the medium does not give are
    /// left alone.
    fn salvage(
        &mut self,
        survey: &mut Survey,
        writing: Option<(&Arc<Session>, Homes, Condemned)>,
        report: &mut RepairReport,
    ) -> Result<()> {
        if survey.damaged.is_empty() {
            return Ok(());
        }
        let repository = self.repository;
        let damaged: HashSet<PackId> = survey.damaged.iter().map(|pack| pack.id).collect();
        let told = repository.told(&damaged)?;
        let mut out = damaged;
        let mut writer = None;
        if let Some((session, homes, mut condemned)) = writing {
            condemned.packs.extend(&out);
            out.clone_from(&condemned.packs);
            let homes = Arc::new(homes.with_condemned(condemned)?);
            let how = (self.options.writer, self.monitor);
            writer = Some(Writer::start(repository, Arc::clone(session), homes, how)?);
        }
        for pack in std::mem::take(&mut survey.damaged) {
            if self.monitor.interrupted() {
                return Err(interrupted());
            }
            let object = pack_key(pack.kind, &pack.id);
            self.monitor.doing(&|| format!("salvaging {object}"));
            let saved = &mut self.saved;
            let mut stored_again = 0;
            let mut failed = None;
            let mut store = |chunk: &Salvaged<'_>| -> Result<()> {
                saved.insert(chunk.id);
                let Some(writer) = &writer else {
                    return Ok(());
                };
                if writer.is_pending(&chunk.id)
                    || repository.is_sound_elsewhere(&chunk.id, &|id| out.contains(id))?
                {
                    return Ok(());
                }
                let kept = writer.keep(chunk.kind, &chunk.id, chunk.bytes)?;
                stored_again += u64::from(kept.is_some());
                Ok(())
            };
            let remains = repository.salvage(pack.kind, &pack.id, &told, &mut |chunk| {
                store(&chunk).map_err(|e| {
                    failed = Some(e);
                    Error::invalid("what was read could not be stored")
                })
            });
            if let Some(e) = failed {
                return Err(e);
            }
            match remains {
                Ok(remains) => {
                    report.damaged.push(DamagedPack {
                        object,
                        reasons: pack.reasons.clone(),
                        readable: remains.chunks,
                        stored_again,
                        unreadable: remains.unread,
                    });
                    survey.damaged.push(pack);
                }
                Err(e) if e.class() == Class::Io => survey.left.push(Fault::new(&object, &e)),
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        if let Some(writer) = &mut writer {
            report.written_bytes = writer.finish()?.stored_bytes;
        }
        Ok(())
    }

    /// Condemns what is damaged or lost: all that could be saved of it is elsewhere now.
    fn condemn(&self, survey: &Survey, session: &Session) -> Result<Vec<PlanId>> {
        let damaged = survey.damaged.iter().map(|pack| (pack.id, pack.kind));
        let missing = survey.missing.iter().map(|(kind, id)| (*id, *kind));
        let packs: Vec<(PackId, ObjectKind)> = damaged.chain(missing).collect();
        packs
            .chunks(MAX_PLAN_PACKS)
            .map(|packs| publish_plan(self.repository, packs.to_vec(), true, session))
            .collect()
    }

    /// Lists what no index object lists, then takes away index objects that are worth nothing.
    fn mend_index(&self, survey: &Survey, report: &mut RepairReport) -> Result<()> {
        if survey.unlisted == 0 && survey.indexes.is_empty() {
            return Ok(());
        }
        let repository = self.repository;
        let Some(executor) = repository.begin_executing(true)? else {
            return Err(Error::new(
                Class::Busy,
                "a prune is at work, and only one may change index objects: run the repair again when it is done",
            ));
        };
        let mut condemned = Condemned::default();
        repository.take_in_plans_while_executing(&mut condemned)?;
        let bad: BTreeSet<ObjectId> = survey.indexes.keys().copied().collect();
        executor.confirm()?;
        repository.list_unlisted(&bad, &|id| condemned.packs.contains(id))?;
        for id in &bad {
            executor.confirm()?;
            self.set_aside(&Key::object(Area::Index, id), report)?;
        }
        let bad: Vec<ObjectId> = bad.into_iter().collect();
        repository.catalog().remove_index_objects(&bad)
    }

    fn set_aside(&self, from: &Key, report: &mut RepairReport) -> Result<()> {
        if let Some(to) = self.repository.set_aside(from)? {
            let from = from.clone();
            report.set_aside.push(SetAside { from, to });
        }
        Ok(())
    }
}

/// A monitor that hears no warnings and notes.
struct Quiet(Arc<dyn Monitor>);

impl Monitor for Quiet {
    fn add(&self, count: Count, by: u64) {
        self.0.add(count, by);
    }
    fn expect(&self, count: Count, total: u64) {
        self.0.expect(count, total);
    }
    fn doing(&self, what: &dyn Fn() -> String) {
        self.0.doing(what);
    }
    fn warn(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

fn interrupted() -> Error {
    Error::new(
        Class::Interrupted,
        "interrupted: nothing is worse than before; run the repair again",
    )
}

/// Says what was found.
fn tell(survey: &Survey, report: &mut RepairReport) {
    let missing = survey.missing.iter();
    report.missing = missing.map(|(kind, id)| pack_key(*kind, id)).collect();
    let faults = |area, all: &std::collections::BTreeMap<ObjectId, String>| {
        let fault = |(id, why): (&ObjectId, &String)| Fault::new(&Key::object(area, id), why);
        all.iter().map(fault).collect()
    };
    report.indexes = faults(Area::Index, &survey.indexes);
    report.snapshots = faults(Area::Snapshots, &survey.snapshots);
    report.left.clone_from(&survey.left);
    report.listed = survey.unlisted;
}
