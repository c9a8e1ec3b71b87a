//! Participants that are alike: of two states that differ only in which of them is which, one stands for both.

use crate::world::{Set, State, World};

/// `set` with two members exchanged.
fn exchanged(set: Set, a: usize, b: usize) -> Set {
    let differ = ((set >> a) ^ (set >> b)) & 1;
    set ^ (differ << a) ^ (differ << b)
}

fn exchange_packs(state: &mut State, a: usize, b: usize) {
    state.content.swap(a, b);
    let sets = [&mut state.exists, &mut state.indexed]
        .into_iter()
        .chain(&mut state.plans)
        .chain(state.pruners.iter_mut().map(|p| &mut p.doomed));
    sets.for_each(|set| *set = exchanged(*set, a, b));
    for p in &mut state.pruners {
        p.avoid = exchanged(p.avoid, a, b);
    }
    for w in &mut state.writers {
        w.avoid = exchanged(w.avoid, a, b);
        w.packs = exchanged(w.packs, a, b);
    }
}

fn exchange_sessions(state: &mut State, a: usize, b: usize) {
    for record in &mut state.records {
        *record = exchanged(*record, a, b);
    }
    for p in &mut state.pruners {
        p.sessions = exchanged(p.sessions, a, b);
    }
}

impl World {
    /// Puts those who are alike in the order of what they are at.
    pub(crate) fn put_in_order(&self, state: &mut State) {
        let own = self.packs.len();
        if self.pruners == 2 && state.pruners[0] < state.pruners[1] {
            let pack = own + self.writers.len();
            state.pruners.swap(0, 1);
            state.plans.swap(0, 1);
            state.records.swap(0, 1);
            for p in &mut state.pruners {
                p.plans = exchanged(p.plans, 0, 1);
            }
            exchange_packs(state, pack, pack + 1);
            exchange_sessions(state, 2, 3);
        }
        if self.writers.len() == 2
            && self.writers[0] == self.writers[1]
            && state.writers[0] < state.writers[1]
        {
            let snapshot = self.snapshots.len();
            state.writers.swap(0, 1);
            state.snapshots = exchanged(state.snapshots, snapshot, snapshot + 1);
            for p in &mut state.pruners {
                p.known = exchanged(p.known, snapshot, snapshot + 1);
            }
            exchange_packs(state, own, own + 1);
            exchange_sessions(state, 0, 1);
        }
    }
}
