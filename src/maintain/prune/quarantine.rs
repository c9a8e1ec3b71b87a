//! Carrying out the plan of a repair: damaged packs are moved to the quarantine, and nothing of them is removed.
//!
//! No mark is needed, which a damaged repository may not allow: a pack goes if *everything* that can still be read from it can be read from
//! elsewhere as well, reached or not. That is more than a mark asks for, and what cannot be read anywhere is lost already.

use std::collections::{HashMap, HashSet};

use super::execute::{Run, Settled, area};
use super::{Ids, interrupted};
use crate::backend::Key;
use crate::error::{Class, Result};
use crate::format::header::ObjectKind;
use crate::format::plan::Plan;
use crate::id::PackId;
use crate::repository::{Condemned, Told};

/// An object that was moved to the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it was.
    pub from: Key,
    /// Where it is.
    pub to: Key,
}

impl Run<'_> {
    /// Moves away what nothing needs from where it is; the other packs of the plan are released.
    pub(super) fn quarantine(&self, plan: &Plan, settled: &mut Settled) -> Result<()> {
        let repository = self.repository;
        let mut others = Condemned::default();
        others.plans.insert(plan.id);
        repository.take_in_plans_while_executing(&mut others)?;
        repository.catch_up(self.monitor)?;
        let condemned: Ids = plan.packs.iter().map(|(id, _)| *id).collect();
        let is_out = |id: &PackId| condemned.contains(id) || others.packs.contains(id);
        let told = repository.told(&condemned)?;
        let mut doomed: Vec<(ObjectKind, PackId)> = Vec::new();
        for (id, kind) in &plan.packs {
            interrupted(self.monitor)?;
            if self.may_go(*kind, id, &told, &is_out)? {
                doomed.push((*kind, *id));
            } else {
                settled.released += 1;
            }
        }
        let all: HashSet<(ObjectKind, PackId)> = doomed.iter().copied().collect();
        let mut unlisted: HashMap<PackId, ObjectKind> = HashMap::new();
        for (kind, id) in &doomed {
            // Something of that name may be in both areas: what is said of the one that stays is so still.
            let other = match kind {
                ObjectKind::MetaPack => ObjectKind::DataPack,
                _ => ObjectKind::MetaPack,
            };
            let stays = || match repository.backend().size(&Key::object(area(other), id)) {
                Ok(_) => Ok(true),
                Err(e) if matches!(e.class(), Class::NotFound | Class::Corrupt) => Ok(false),
                Err(e) => Err(e),
            };
            if all.contains(&(other, *id)) || !stays()? {
                unlisted.insert(*id, *kind);
            }
        }
        self.unlist(&unlisted)?;
        self.set_aside(doomed, settled)
    }

    /// Whether a pack is damaged, or lost, and all that is left of it is elsewhere.
    fn may_go(
        &self,
        kind: ObjectKind,
        id: &PackId,
        told: &Told,
        is_out: &dyn Fn(&PackId) -> bool,
    ) -> Result<bool> {
        let gone = |e: crate::error::Error| match e.class() {
            Class::NotFound => Ok(true),
            _ => Err(e),
        };
        match self.repository.audit_pack(kind, id) {
            Ok(audit) if audit.is_sound() => return Ok(false),
            Ok(_) => {}
            Err(e) => return gone(e),
        }
        let mut all_elsewhere = true;
        let read = self.repository.salvage(kind, id, told, &mut |chunk| {
            all_elsewhere =
                all_elsewhere && self.repository.is_sound_elsewhere(&chunk.id, is_out)?;
            Ok(())
        });
        match read {
            Ok(_) => Ok(all_elsewhere),
            Err(e) => gone(e),
        }
    }

    fn set_aside(&self, mut packs: Vec<(ObjectKind, PackId)>, settled: &mut Settled) -> Result<()> {
        packs.sort_by_key(|(kind, id)| (*kind != ObjectKind::MetaPack, *id));
        let mut gone = Vec::new();
        let work = || {
            for (kind, id) in packs {
                interrupted(self.monitor)?;
                self.session.confirm()?;
                let from = Key::object(area(kind), &id);
                let to = self.repository.set_aside(&from)?;
                gone.push(id);
                if let Some(to) = to {
                    settled.set_aside.push(SetAside { from, to });
                }
            }
            Ok(())
        };
        let done = work();
        let forgotten = if gone.is_empty() {
            Ok(())
        } else {
            self.repository.catalog().remove_packs(&gone)
        };
        done.and(forgotten)
    }
}
