//! Open plans: which packs are condemned, as every writer must know, and which sessions must end before they go.

use std::collections::HashSet;
use std::time::Duration;

use super::Repository;
use super::object::crypto as sealed;
use super::session::{Session, remove_ended};
use crate::backend::{Area, Key};
use crate::crypto;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::plan::{MAX_PLAN_BYTES, Plan, Waits};
use crate::format::session::SessionKind;
use crate::id::{PackId, PlanId, SessionId};

/// What the name of a plan's list of sessions ends with.
const WAITS: &str = ".waits";
/// How often, and how long, an executor waits for another: most are done in milliseconds, and about a second is enough for them.
/// What a longer one is at, it does.
const TRIES: u32 = 16;
const PAUSE: Duration = Duration::from_millis(10);

/// The plans that a writer knows: packs that they condemn are as good as absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condemned {
    pub(crate) plans: HashSet<PlanId>,
    pub(crate) packs: HashSet<PackId>,
}

fn plan_key(id: &PlanId) -> Result<Key> {
    Key::named(Area::Gc, &id.to_hex())
}

fn waits_name(id: &PlanId) -> String {
    format!("{id}{WAITS}")
}

impl Repository {
    /// All plans that are there, with those of which only the list of sessions is left.
    pub(crate) fn list_gc(&self) -> Result<(Vec<PlanId>, Vec<PlanId>)> {
        let (mut plans, mut waits) = (Vec::new(), Vec::new());
        self.backend().list(Area::Gc, &mut |name, _| {
            match name.strip_suffix(WAITS) {
                Some(plan) => waits.extend(plan.parse::<PlanId>().ok()),
                None => plans.extend(name.parse::<PlanId>().ok()),
            }
            Ok(())
        })?;
        waits.retain(|id| !plans.contains(id));
        Ok((plans, waits))
    }

    /// The names of all open plans.
    pub(crate) fn plan_ids(&self) -> Result<Vec<PlanId>> {
        Ok(self.list_gc()?.0)
    }

    /// A plan; nothing if it is gone.
    pub(crate) fn plan(&self, id: &PlanId) -> Result<Option<Plan>> {
        let name = id.to_hex();
        match self.read_record(ObjectKind::Plan, &name, MAX_PLAN_BYTES, Plan::decode) {
            Ok(plan) if plan.id == *id => Ok(Some(plan)),
            Ok(_) => Err(Error::corrupt(format!("gc/{id} is another plan"))),
            Err(e) if e.class() == Class::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Adds the plans that `known` has not yet; true if there are any. A plan that nobody can read is removed.
    pub(crate) fn take_in_plans(&self, known: &mut Condemned) -> Result<bool> {
        self.take_in_plans_or(known, &|id, why| self.remove_broken_plan(id, why))
    }

    /// The same for the executor, who need not become it.
    pub(crate) fn take_in_plans_while_executing(&self, known: &mut Condemned) -> Result<bool> {
        self.take_in_plans_or(known, &|id, _| self.remove_plan(id))
    }

    fn take_in_plans_or(
        &self,
        known: &mut Condemned,
        broken: &dyn Fn(&PlanId, &Error) -> Result<()>,
    ) -> Result<bool> {
        let mut new = false;
        for id in self.plan_ids()? {
            if known.plans.contains(&id) {
                continue;
            }
            let plan = match self.plan(&id) {
                Err(e) if e.class() == Class::Corrupt => {
                    broken(&id, &e)?;
                    None
                }
                plan => plan?,
            };
            // One that went meanwhile is done: its packs are gone, and the list of packs that follows shows it.
            if let Some(plan) = plan {
                known.packs.extend(plan.packs.iter().map(|(id, _)| *id));
            }
            known.plans.insert(id);
            new = true;
        }
        Ok(new)
    }

    /// Writes a plan: from now on every writer that begins takes these packs for absent.
    /// With `quarantine` they are damaged, and are moved away instead of being removed.
    pub(crate) fn write_plan(
        &self,
        packs: Vec<(PackId, ObjectKind)>,
        quarantine: bool,
    ) -> Result<Plan> {
        let id = crypto::new_plan_id().map_err(sealed("name a plan"))?;
        let plan = Plan {
            quarantine,
            ..Plan::new(id, packs)
        };
        let bytes = self.seal_record(ObjectKind::Plan, &plan.encode())?;
        self.backend().write_new(&plan_key(&id)?, &bytes)?;
        Ok(plan)
    }

    /// The sessions that may have missed a plan. Where that was not recorded yet, `living` is: whoever lived when the plan was
    /// written has ended or lives now.
    pub(crate) fn waits(&self, id: &PlanId, living: &[SessionId]) -> Result<HashSet<SessionId>> {
        let name = waits_name(id);
        for _ in 0..2 {
            match self.read_record(ObjectKind::Waits, &name, MAX_PLAN_BYTES, Waits::decode) {
                Ok(waits) if waits.plan == *id => return Ok(waits.sessions.into_iter().collect()),
                // Of no use to anybody, and another one can be made.
                Ok(_) => self.remove_waits(id)?,
                Err(e) if e.class() == Class::Corrupt => self.remove_waits(id)?,
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => return Err(e),
            }
            let waits = Waits::new(*id, living.to_vec());
            let bytes = self.seal_record(ObjectKind::Waits, &waits.encode())?;
            match self
                .backend()
                .write_new(&Key::named(Area::Gc, &name)?, &bytes)
            {
                Ok(()) => return Ok(living.iter().copied().collect()),
                Err(e) if e.class() == Class::Exists => {}
                Err(e) => return Err(e),
            }
        }
        // Somebody writes and somebody removes: whatever they say, who lives now is enough.
        Ok(living.iter().copied().collect())
    }

    fn remove_waits(&self, id: &PlanId) -> Result<()> {
        let key = Key::named(Area::Gc, &waits_name(id))?;
        remove_ended(self.backend().as_ref(), &key)
    }

    /// Removes a plan that was carried out or given up. Only the executor may.
    pub(crate) fn remove_plan(&self, id: &PlanId) -> Result<()> {
        remove_ended(self.backend().as_ref(), &plan_key(id)?)?;
        self.remove_waits(id)
    }

    /// Removes lists of sessions whose plans are gone.
    pub(crate) fn remove_stray_waits(&self) -> Result<()> {
        let (_, stray) = self.list_gc()?;
        stray.iter().try_for_each(|id| self.remove_waits(id))
    }

    /// Becomes the one executor; nothing if another one is at it and stays. Two that begin at once see each other, and both
    /// step back; then they try again.
    pub(crate) fn begin_executing(&self, patient: bool) -> Result<Option<Session>> {
        for attempt in 0..if patient { TRIES } else { 3 } {
            let session = self.begin_session(SessionKind::Executor)?;
            let living = self.living_sessions()?;
            let other = |kind: SessionKind, id| kind == SessionKind::Executor && id != session.id();
            if !living.iter().any(|l| other(l.record.kind, l.id)) {
                return Ok(Some(session));
            }
            // The random name makes the pauses of two differ.
            let pause = PAUSE * (1 + u32::from(session.id().as_bytes()[0]) % 8) * (1 + attempt / 8);
            drop(session);
            std::thread::sleep(pause);
        }
        Ok(None)
    }

    /// Removes a plan that cannot be read: nobody can carry it out, so nothing of it was or will be done.
    fn remove_broken_plan(&self, id: &PlanId, why: &Error) -> Result<()> {
        let busy = || {
            let what =
                format!("a plan of a prune cannot be read, and another prune is at work: {why}");
            Error::new(Class::Busy, what)
        };
        let executor = self.begin_executing(true)?.ok_or_else(busy)?;
        match self.plan(id) {
            Err(e) if e.class() == Class::Corrupt => {
                executor.confirm()?;
                self.remove_plan(id)
            }
            Err(e) => Err(e),
            // It can be read after all, or is gone.
            Ok(_) => Err(busy()),
        }
    }
}
