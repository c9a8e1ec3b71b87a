//! Carrying out plans: removing condemned packs once nobody can need them who does not know that they are condemned.
//!
//! ```text
//! alone          one executor at a time, by a session that the others see
//! waits          none of the sessions that may have missed the plan lives
//! others         what other open plans condemn is as good as absent
//! mark           from snapshots, then living sessions: packs that something still needs are released
//! index objects  new ones without the doomed packs, then away with the old ones
//! packs          trees before content; then the plan
//! ```
//! Killed in between, the next one does it again: nothing is told that is not decided anew from what is stored. Whoever finds a plan
//! may carry it out. Only the run that made the plan may spare itself the mark from snapshots that it marked for the plan.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::mark::Mark;
use super::quarantine::SetAside;
use super::table::Table;
use super::{Ids, Packs, Roots, interrupted};
use crate::backend::Key;
use crate::catalog::Home;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::plan::Plan;
use crate::id::{PackId, PlanId, SessionId, SnapshotId};
use crate::progress::Monitor;
use crate::repository::{Condemned, Repository, Session};

/// What only the run that made a plan knows of it.
pub struct Known {
    pub(super) plan: PlanId,
    /// Snapshots that need nothing of what it condemns.
    pub(super) snapshots: HashSet<SnapshotId>,
    /// Readers that need nothing of it.
    pub(super) readers: HashSet<SessionId>,
}

/// A plan that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The plan.
    pub plan: PlanId,
    /// What it condemns.
    pub packs: Packs,
    /// How many sessions it waits for: writers and prunes that began before it. None means that another prune is at it.
    pub sessions: u64,
}

/// What became of open plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Packs that were removed.
    pub removed: Packs,
    /// Condemned packs that something needed after all.
    pub released: u64,
    /// Plans that wait.
    pub waiting: Vec<Waiting>,
    /// Damaged packs that a repair had condemned, and that were moved to the quarantine.
    pub set_aside: Vec<SetAside>,
}

/// What open plans would free, without touching them.
pub(super) fn look(repository: &Repository) -> Result<Settled> {
    let mut settled = Settled::default();
    for id in repository.plan_ids()? {
        if let Some(plan) = repository.plan(&id)? {
            settled.waiting.push(Waiting {
                plan: id,
                packs: sizes(repository, &plan)?,
                sessions: 0,
            });
        }
    }
    Ok(settled)
}

/// Carries out every open plan that can be. Costs two lists of an empty folder where there is none. `patient` waits a moment
/// for another who is at it.
pub fn settle(
    repository: &Repository,
    known: Option<&Known>,
    patient: bool,
    monitor: &dyn Monitor,
) -> Result<Settled> {
    let (settled, hindered) = settle_what_can_be(repository, known, patient, monitor)?;
    hindered.map_or(Ok(settled), Err)
}

/// The same where the repository may be damaged: what kept a plan from being carried out is in the answer, and others are.
pub(in crate::maintain) fn settle_what_can_be(
    repository: &Repository,
    known: Option<&Known>,
    patient: bool,
    monitor: &dyn Monitor,
) -> Result<(Settled, Option<Error>)> {
    let mut settled = Settled::default();
    let mut hindered = None;
    let (mut plans, stray) = repository.list_gc()?;
    if plans.is_empty() && stray.is_empty() {
        return Ok((settled, None));
    }
    // Our own first: for it least is to be marked.
    plans.sort_by_key(|id| known.is_none_or(|known| known.plan != *id));
    repository.require_full("carry out a prune")?;
    let Some(session) = repository.begin_executing(patient)? else {
        settled.waiting = look(repository)?.waiting;
        return Ok((settled, None));
    };
    for id in plans {
        interrupted(monitor)?;
        let known = known.filter(|known| known.plan == id);
        let run = Run {
            repository,
            session: &session,
            monitor,
        };
        match run.plan(&id, known, &mut settled) {
            // Damage keeps an ordinary plan from being carried out, and shall not keep that of a repair.
            Err(e) if e.class() == Class::Corrupt => hindered = hindered.or(Some(e)),
            done => done?,
        }
    }
    repository.remove_stray_waits()?;
    Ok((settled, hindered))
}

pub(super) struct Run<'a> {
    pub(super) repository: &'a Repository,
    pub(super) session: &'a Session,
    pub(super) monitor: &'a dyn Monitor,
}

impl Run<'_> {
    fn plan(&self, id: &PlanId, known: Option<&Known>, settled: &mut Settled) -> Result<()> {
        let repository = self.repository;
        // Looked for again now that we are alone: whoever was at it before may have done it.
        let plan = match repository.plan(id) {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(()),
            Err(e) if e.class() == Class::Corrupt => {
                self.session.confirm()?;
                return repository.remove_plan(id);
            }
            Err(e) => return Err(e),
        };
        let living = repository.living_sessions()?;
        let writers: Vec<SessionId> = living
            .iter()
            .filter(|living| living.record.kind.writes())
            .map(|living| living.id)
            .collect();
        let waits = repository.waits(id, &writers)?;
        let sessions = writers.iter().filter(|id| waits.contains(*id)).count() as u64;
        if sessions > 0 {
            settled.waiting.push(Waiting {
                plan: *id,
                packs: sizes(repository, &plan)?,
                sessions,
            });
            return Ok(());
        }
        if plan.quarantine {
            self.quarantine(&plan, settled)?;
            self.session.confirm()?;
            return repository.remove_plan(id);
        }
        let mut doomed: HashMap<PackId, ObjectKind> = plan.packs.iter().copied().collect();
        let released = self.released(&plan, known)?;
        doomed.retain(|id, _| !released.contains(id));
        settled.released += released.len() as u64;
        self.unlist(&doomed)?;
        self.remove(&doomed, &mut settled.removed)?;
        self.session.confirm()?;
        repository.remove_plan(id)
    }

    /// The packs of a plan that something needs.
    fn released(&self, plan: &Plan, known: Option<&Known>) -> Result<Ids> {
        let repository = self.repository;
        let mut others = Condemned::default();
        others.plans.insert(plan.id);
        repository.take_in_plans_while_executing(&mut others)?;
        let roots = Roots::find(repository, self.monitor, (Some(self.session.id()), &[]))?;
        repository.catch_up(self.monitor)?;
        let known = known.filter(|_| others.packs.is_empty());
        let table = Table::new(repository.catalog())?;
        let condemned: Ids = plan.packs.iter().map(|(id, _)| *id).collect();
        let mut released = Ids::new();
        let mut reached = |homes: &[Home]| {
            let ids = || homes.iter().filter_map(|home| table.name(home.pack_no));
            if !ids().any(|id| !condemned.contains(&id) && !others.packs.contains(&id)) {
                released.extend(ids().filter(|id| condemned.contains(id)));
            }
            Ok(())
        };
        let mut mark = Mark::new(repository, &table, self.monitor, &mut reached);
        for info in &roots.snapshots {
            if !known.is_some_and(|known| known.snapshots.contains(&info.id)) {
                mark.snapshot(&info.snapshot)
                    .map_err(|e| e.within(format!("snapshot {}", info.id.short())))?;
            }
        }
        for (id, needs) in &roots.readers {
            if !known.is_some_and(|known| known.readers.contains(id)) {
                mark.needs(needs)
                    .map_err(|e| e.within("what a reader needs"))?;
            }
        }
        mark.finish()?;
        Ok(released)
    }

    /// Replaces the index objects that list doomed packs.
    pub(super) fn unlist(&self, doomed: &HashMap<PackId, ObjectKind>) -> Result<()> {
        let repository = self.repository;
        let mut old = BTreeSet::new();
        for pack in doomed.keys() {
            for index in repository.catalog().listings(pack)? {
                old.insert(index);
            }
        }
        if old.is_empty() {
            return Ok(());
        }
        self.session.confirm()?;
        repository.replace_index_objects(&old, &|pack| doomed.contains_key(pack))
    }

    fn remove(&self, doomed: &HashMap<PackId, ObjectKind>, removed: &mut Packs) -> Result<()> {
        let repository = self.repository;
        let mut packs: Vec<_> = doomed.iter().map(|(id, kind)| (*kind, *id)).collect();
        // No tree shall outlive the content that it names.
        packs.sort_by_key(|(kind, id)| (*kind != ObjectKind::MetaPack, *id));
        let mut gone = Vec::new();
        let work = || {
            for (kind, id) in packs {
                interrupted(self.monitor)?;
                let key = Key::object(area(kind), &id);
                let bytes = match repository.backend().size(&key) {
                    Ok(bytes) => bytes,
                    Err(e) if e.class() == Class::NotFound => {
                        gone.push(id);
                        continue;
                    }
                    Err(e) => return Err(e),
                };
                self.session.confirm()?;
                match repository.backend().remove(&key) {
                    Ok(()) => removed.add(bytes),
                    Err(e) if e.class() == Class::NotFound => {}
                    Err(e) => return Err(e),
                }
                gone.push(id);
            }
            Ok(())
        };
        let done = work();
        let forgotten = if gone.is_empty() {
            Ok(())
        } else {
            repository.catalog().remove_packs(&gone)
        };
        done.and(forgotten)
    }
}

pub(super) fn area(kind: ObjectKind) -> crate::backend::Area {
    if kind == ObjectKind::MetaPack {
        crate::backend::Area::Meta
    } else {
        crate::backend::Area::Data
    }
}

/// The packs of a plan that are still there.
fn sizes(repository: &Repository, plan: &Plan) -> Result<Packs> {
    let mut packs = Packs::default();
    for (id, kind) in &plan.packs {
        match repository.backend().size(&Key::object(area(*kind), id)) {
            Ok(bytes) => packs.add(bytes),
            Err(e) if e.class() == Class::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(packs)
}
