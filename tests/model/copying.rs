//! A pruner in the design without an exclusive executor: what a plan condemns is so for ever, and whoever executes a plan first copies what
//! would lose its last home.

use crate::order::{Do, Slip};
use crate::world::{ENDED, PLANS, Policy, Pruner, Set, State, THERE, Ways, World, members, only};

impl World {
    /// The steps that pruner `j` can take.
    pub(crate) fn pruner_copying(&self, state: &State, j: usize, ways: &mut Ways) {
        let mut p = state.pruners[j];
        let Some(step) = self.order.pruner.step(p.at) else {
            return;
        };
        let mut next = *state;
        let mut what = 0;
        p.at += 1;
        match step {
            Do::ListPlans => {
                what = state.condemned();
                if !self.slips(Slip::PrunersIgnoreEachOther) {
                    p.avoid = what;
                    p.plans = (0..PLANS)
                        .filter(|&k| state.plans[k] | state.records[k] != 0)
                        .fold(0, |all, k| all | only(k));
                }
            }
            Do::Plan => return self.plan(state, j, ways),
            Do::ListSessions => {
                what = self.sessions(state) & !only(2 + j);
                p.sessions = what;
                if what == 0 && self.order.pruner.step(p.at) == Some(Do::Record) {
                    // Nobody to record: no call.
                    p.at -= 1;
                    next.pruners[j] = p;
                    return self.record(&next, j, p.at + 2, ways);
                }
            }
            Do::Record => return self.record(state, j, p.at, ways),
            Do::MarkSnapshots => {
                what = state.snapshots;
                p.live |= self.mark(state.snapshots);
            }
            Do::MarkReaders => {
                what = self.listed_by_reader(state);
                p.live |= what;
            }
            Do::ListPacks => {
                self.find_homes(state, &mut p);
                what = p.copy;
            }
            Do::CopyLive if p.copy & !state.chunks(state.exists) != 0 => {
                // Another executor has copied them and deleted the pack: it looks again.
                p.at = self.order.pruner.before(Do::ListPacks);
            }
            Do::CopyLive => {
                let pack = self.packs.len() + self.writers.len() + j;
                what = p.copy;
                next.exists |= only(pack);
                next.content[pack] = p.copy;
                (p.live, p.avoid) = (0, 0);
            }
            Do::IndexCopies => {
                what = only(self.packs.len() + self.writers.len() + j);
                next.indexed |= what;
                p.copy = 0;
            }
            Do::DropEntries => {
                what = p.doomed;
                next.indexed &= !p.doomed;
            }
            Do::Delete => return self.delete(state, j, ways),
            Do::RemovePlans => return self.remove_plans(state, j, ways),
            _ => {}
        }
        self.arrive(&mut p);
        next.pruners[j] = p;
        self.push(("pruner", j), (Some(step), what), next, ways);
    }

    /// Goes past steps at which nothing is to be done.
    fn arrive(&self, p: &mut Pruner) {
        loop {
            match self.order.pruner.step(p.at) {
                Some(Do::CopyLive | Do::IndexCopies) if p.copy == 0 => p.at += 1,
                Some(Do::DropEntries | Do::Delete) if p.doomed == 0 => p.at += 1,
                Some(Do::RemovePlans) if p.plans == 0 => p.at += 1,
                Some(_) => break,
                None => {
                    *p = gone();
                    break;
                }
            }
        }
    }

    fn plan(&self, state: &State, j: usize, ways: &mut Ways) {
        let p = state.pruners[j];
        let sets = self.choices(state, j, p.avoid);
        // Beside planning, it may only execute what is there.
        if j < self.pruners || sets.is_empty() {
            let mut next = *state;
            next.pruners[j].at += 1;
            if p.plans == 0 {
                next.pruners[j] = gone();
            }
            self.push(("pruner", j), (Some(Do::Plan), 0), next, ways);
        }
        for set in sets {
            let mut next = *state;
            next.plans[j] = set | THERE;
            next.pruners[j].plans |= only(j);
            next.pruners[j].avoid |= set;
            next.pruners[j].at += 1;
            self.push(("pruner", j), (Some(Do::Plan), set), next, ways);
        }
    }

    /// The sets of packs that pruner `j` may condemn now.
    pub(crate) fn choices(&self, state: &State, j: usize, avoid: Set) -> Vec<Set> {
        let there = state.exists & !avoid;
        let live = self.mark(state.snapshots);
        if j == self.pruners {
            // The last one cleans up: whatever holds garbage, whatever is held twice, whatever is not indexed.
            let all = members(there)
                .filter(|&pack| {
                    let others = state.chunks(there & !only(pack));
                    let content = state.content[pack];
                    content & (others | !live) != 0 || state.indexed & only(pack) == 0
                })
                .fold(0, |all, pack| all | only(pack));
            return [all].into_iter().filter(|&all| all != 0).collect();
        }
        (1..=there)
            .filter(|&set| set & !there == 0)
            .filter(|&set| match self.policy {
                Policy::Anything => true,
                Policy::AnyOne => set.is_power_of_two(),
                Policy::Sensible => {
                    let homes = there & state.indexed & !set;
                    live & state.chunks(set) & !state.chunks(homes) == 0
                }
                Policy::Nothing => false,
            })
            .collect()
    }

    /// Writes the records that are missing, and decides which plans can be executed.
    fn record(&self, state: &State, j: usize, then: u8, ways: &mut Ways) {
        let mut next = *state;
        let p = &mut next.pruners[j];
        let mut ready = 0;
        for k in members(p.plans) {
            if state.plans[k] == 0 {
                // Gone by now, or a record that was left alone.
                ready |= only(k);
                continue;
            }
            if state.records[k] == 0 && p.sessions != 0 && !self.slips(Slip::MissingRecordIsEmpty) {
                next.records[k] = THERE | p.sessions;
            }
            if next.records[k] & p.sessions == 0 {
                ready |= only(k);
            }
        }
        p.sessions = 0;
        if ready == 0 {
            // It looks again, or leaves the plans to whoever finds them.
            p.at = self.order.pruner.before(Do::ListSessions);
            self.push(("pruner", j), (Some(Do::Record), 0), next, ways);
            next.pruners[j] = gone();
            self.push(("pruner", j), (Some(Do::Leave), 0), next, ways);
            return;
        }
        p.plans = ready;
        p.doomed = members(ready).fold(0, |all, k| all | state.plans[k]) & !THERE;
        if self.slips(Slip::CondemnedIsHome) {
            p.avoid = p.doomed;
        }
        p.at = then;
        self.arrive(p);
        self.push(("pruner", j), (Some(Do::Record), ready), next, ways);
    }

    /// Finds the live chunks that have no home but in packs that plans condemn.
    fn find_homes(&self, state: &State, p: &mut Pruner) {
        let mut homes = state.exists & !p.avoid;
        if !self.slips(Slip::UnindexedIsHome) {
            homes &= state.indexed;
        }
        p.copy = p.live & !state.chunks(homes);
        if self.slips(Slip::SpareInsteadOfCopy) {
            p.doomed = members(p.doomed)
                .filter(|&pack| state.content[pack] & p.copy == 0)
                .fold(0, |all, pack| all | only(pack));
            p.copy = 0;
        }
        if p.copy == 0 {
            (p.live, p.avoid) = (0, 0);
        }
    }

    fn delete(&self, state: &State, j: usize, ways: &mut Ways) {
        if state.pruners[j].doomed == 0 {
            // Others have deleted them.
            let mut next = *state;
            next.pruners[j].at += 1;
            self.arrive(&mut next.pruners[j]);
            self.push(("pruner", j), (Some(Do::Delete), 0), next, ways);
        }
        for pack in members(state.pruners[j].doomed) {
            let mut next = *state;
            let p = &mut next.pruners[j];
            next.exists &= !only(pack);
            p.doomed &= !only(pack);
            if p.doomed == 0 {
                p.at += 1;
                self.arrive(p);
            }
            self.push(("pruner", j), (Some(Do::Delete), only(pack)), next, ways);
        }
    }

    /// Removes the record of a plan, then the plan. A record without a plan (of an executor that was late) goes as well.
    fn remove_plans(&self, state: &State, j: usize, ways: &mut Ways) {
        for k in members(state.pruners[j].plans) {
            let mut next = *state;
            if state.records[k] != 0 {
                next.records[k] = 0;
            } else {
                let p = &mut next.pruners[j];
                next.plans[k] = 0;
                p.plans &= !only(k);
                if p.plans == 0 {
                    p.at += 1;
                    self.arrive(p);
                }
            }
            self.push(("pruner", j), (Some(Do::RemovePlans), only(k)), next, ways);
        }
    }
}

pub(crate) fn gone() -> Pruner {
    Pruner {
        at: ENDED,
        ..Pruner::default()
    }
}
