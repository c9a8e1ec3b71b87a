//! A pruner that makes a plan, then becomes the one executor and carries out every plan that it can.

use crate::copying::gone;
use crate::order::{Do, Slip};
use crate::world::{PLANS, Policy, Pruner, Set, State, THERE, Ways, World, members, only};

impl World {
    /// The steps that pruner `j` can take.
    pub(crate) fn pruner_alone(&self, state: &State, j: usize, ways: &mut Ways) {
        let mut p = state.pruners[j];
        let Some(step) = self.order.pruner.step(p.at) else {
            return;
        };
        let executes = self.order.pruner.executes(p.at);
        let pack = self.packs.len() + self.writers.len() + j;
        let mut next = *state;
        let mut what = 0;
        p.at += 1;
        match step {
            Do::ListPlans => {
                what = state.condemned();
                if !self.slips(Slip::PrunersIgnoreEachOther) {
                    p.avoid = what;
                }
            }
            Do::MarkSnapshots if !executes => {
                what = state.snapshots;
                p.live |= self.mark(what);
                p.known |= what;
            }
            Do::MarkReaders if !executes => {
                what = self.listed_by_reader(state);
                p.live |= what;
                if what != 0 {
                    p.known |= THERE;
                }
            }
            Do::Choose => return self.choose(state, j, ways),
            Do::CopyLive if p.copy & !state.chunks(state.exists) != 0 => p = gone(),
            Do::CopyLive => {
                what = p.copy;
                next.exists |= only(pack);
                next.content[pack] = p.copy;
            }
            Do::IndexCopies => {
                what = only(pack);
                next.indexed |= what;
                p.copy = 0;
            }
            Do::Plan => {
                what = p.doomed;
                next.plans[j] = what | THERE;
                p.doomed = 0;
            }
            Do::ListSessions => {
                what = self.sessions(state) & !only(2 + j);
                p.sessions = what;
            }
            Do::RecordSessions => {
                what = p.sessions;
                if state.records[j] == 0 {
                    next.records[j] = what | THERE;
                }
                p.sessions = 0;
            }
            Do::BeAlone => return self.be_alone(state, j, ways),
            Do::TakePlan if p.plans == 0 => return self.leave(state, j, ways),
            _ => return self.carry_out(state, j, ways),
        }
        self.go_past(&mut p);
        next.pruners[j] = p;
        self.push(("pruner", j), (Some(step), what), next, ways);
    }

    /// Goes past steps at which nothing is to be done.
    fn go_past(&self, p: &mut Pruner) {
        while let Some(Do::CopyLive | Do::IndexCopies) = self.order.pruner.step(p.at)
            && p.copy == 0
        {
            p.at += 1;
        }
    }

    /// Chooses what to condemn, and what has to be copied before.
    fn choose(&self, state: &State, j: usize, ways: &mut Ways) {
        let p = state.pruners[j];
        let sets = if self.policy == Policy::Nothing && j < self.pruners {
            Vec::new()
        } else {
            self.choices(state, j, p.avoid)
        };
        let mut to = |p: Pruner, set| {
            let mut next = *state;
            next.pruners[j] = Pruner {
                live: 0,
                avoid: 0,
                ..p
            };
            self.push(("pruner", j), (Some(Do::Choose), set), next, ways);
        };
        if j < self.pruners || sets.is_empty() {
            let nothing = Pruner {
                at: self.order.pruner.before(Do::Retire) + 1,
                known: 0,
                ..p
            };
            to(nothing, 0);
        }
        for set in sets {
            let homes = state.exists & state.indexed & !p.avoid & !set;
            let mut chosen = Pruner {
                at: p.at + 1,
                doomed: set,
                copy: p.live & state.chunks(set) & !state.chunks(homes),
                ..p
            };
            self.go_past(&mut chosen);
            to(chosen, set);
        }
    }

    /// Goes on if no other executor is there; else it tries again, or leaves the plans to the other one.
    fn be_alone(&self, state: &State, j: usize, ways: &mut Ways) {
        let mut next = *state;
        let other = (0..self.pruners)
            .any(|other| other != j && self.order.pruner.executes(state.pruners[other].at));
        if other && !self.slips(Slip::NotAlone) {
            next.pruners[j].at = self.order.pruner.before(Do::Execute);
            self.push(("pruner", j), (Some(Do::BeAlone), 0), next, ways);
            next.pruners[j] = gone();
        } else {
            let p = &mut next.pruners[j];
            p.plans = (0..PLANS)
                .filter(|&k| state.plans[k] != 0)
                .fold(0, |all, k| all | only(k));
            if p.plans & only(j) == 0 {
                p.known = 0;
            }
            p.at += 1;
        }
        self.push(("pruner", j), (Some(Do::BeAlone), 1), next, ways);
    }

    /// Removes records without a plan, then leaves.
    fn leave(&self, state: &State, j: usize, ways: &mut Ways) {
        for k in 0..PLANS {
            if state.records[k] != 0 && state.plans[k] == 0 {
                let mut next = *state;
                next.records[k] = 0;
                self.push(("pruner", j), (Some(Do::RemoveStray), only(k)), next, ways);
                return;
            }
        }
        let mut next = *state;
        next.pruners[j] = gone();
        self.push(("pruner", j), (Some(Do::Leave), 0), next, ways);
    }

    /// The plan at hand: its own first.
    fn at_hand(plans: Set, j: usize) -> usize {
        if plans & only(j) == 0 {
            members(plans).next().unwrap()
        } else {
            j
        }
    }

    /// The steps with one plan.
    fn carry_out(&self, state: &State, j: usize, ways: &mut Ways) {
        let mut p = state.pruners[j];
        let Some(step) = self.order.pruner.step(p.at) else {
            return;
        };
        let mut next = *state;
        let mut what = 0;
        p.at += 1;
        if p.plans != 0 {
            let k = Self::at_hand(p.plans, j);
            // What it marked for its own plan holds as long as no other plan is there.
            let known = if k == j && (p.avoid == 0 || self.slips(Slip::KnownTrusted)) {
                p.known
            } else {
                0
            };
            match step {
                Do::TakePlan => {
                    // A plan and its record are written once, and nobody else removes them: when they are read makes no difference.
                    what = self.sessions(state);
                    p.sessions = what;
                    p.doomed = state.plans[k] & !THERE;
                    if state.records[k] != 0 && self.order.pruner.step(p.at) == Some(Do::Judge) {
                        p.at += 1;
                        self.judge(state.records[k], &mut p, k);
                    }
                }
                Do::Judge => {
                    let missing = state.records[k] == 0;
                    if missing {
                        next.records[k] = p.sessions | THERE;
                    }
                    let record = if missing && self.slips(Slip::MissingRecordIsEmpty) {
                        THERE
                    } else {
                        next.records[k]
                    };
                    self.judge(record, &mut p, k);
                }
                Do::ListOthers => {
                    for other in (0..PLANS).filter(|&other| other != k) {
                        what |= state.plans[other] & !THERE;
                    }
                    if !self.slips(Slip::OthersIgnored) && !self.slips(Slip::PrunersIgnoreEachOther)
                    {
                        p.avoid = what;
                    }
                }
                Do::MarkSnapshots => {
                    what = state.snapshots & !known;
                    p.live |= self.mark(what);
                }
                Do::MarkReaders if known & THERE == 0 => {
                    what = self.listed_by_reader(state);
                    p.live |= what;
                }
                Do::Spare => {
                    self.spare(state, &mut p);
                    what = p.doomed;
                }
                Do::DropEntries => {
                    what = p.doomed;
                    next.indexed &= !p.doomed;
                }
                Do::Delete if p.doomed != 0 => return self.delete_one(state, j, ways),
                Do::RemovePlan => {
                    self.remove_plan(&mut next, &mut p, k);
                    what = only(k);
                }
                _ => {}
            }
        }
        next.pruners[j] = p;
        self.push(("pruner", j), (Some(step), what), next, ways);
    }

    /// Removes the plan, then its record.
    fn remove_plan(&self, next: &mut State, p: &mut Pruner, k: usize) {
        if next.plans[k] == 0 {
            next.records[k] = 0;
        }
        next.plans[k] = 0;
        if next.records[k] == 0 {
            self.next_plan(p, k);
        } else {
            p.at -= 1;
        }
    }

    /// Deletes one of the doomed packs, whichever.
    fn delete_one(&self, state: &State, j: usize, ways: &mut Ways) {
        for pack in members(state.pruners[j].doomed) {
            let mut next = *state;
            let p = &mut next.pruners[j];
            next.exists &= !only(pack);
            p.doomed &= !only(pack);
            if p.doomed == 0 {
                p.at += 1;
            }
            self.push(("pruner", j), (Some(Do::Delete), only(pack)), next, ways);
        }
    }

    /// Passes a plan over if somebody lives who was recorded.
    fn judge(&self, record: Set, p: &mut Pruner, k: usize) {
        let waits = record & p.sessions != 0;
        p.sessions = 0;
        if waits {
            p.doomed = 0;
            self.next_plan(p, k);
        }
    }

    fn next_plan(&self, p: &mut Pruner, k: usize) {
        // A mistake in the order may have left packs to be deleted.
        if p.doomed == 0 || self.order.pruner.step(p.at) != Some(Do::Delete) {
            p.plans &= !only(k);
            p.at = self.order.pruner.before(Do::TakePlan);
        }
        if p.plans == 0 {
            p.known = 0;
        }
    }

    /// Takes from the doomed what something needs that has no other home.
    fn spare(&self, state: &State, p: &mut Pruner) {
        let mut homes = state.exists & !p.avoid & !p.doomed;
        if !self.slips(Slip::UnindexedIsHome) {
            homes &= state.indexed;
        }
        let needed = p.live & !state.chunks(homes);
        p.doomed = members(p.doomed)
            .filter(|&pack| state.content[pack] & needed == 0)
            .fold(0, |all, pack| all | only(pack));
        (p.live, p.avoid) = (0, 0);
    }
}
