//! What is stored, who takes part, and what must hold. Sets of chunks, packs, snapshots, plans and sessions are bit sets.

use crate::explore::Model;
use crate::order::{Do, Order, Slip};

/// A set of small numbers.
pub(crate) type Set = u8;

/// The members of a set.
pub(crate) fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..8).filter(move |number| set & (1 << number) != 0)
}

/// The set of one number.
pub(crate) fn only(number: usize) -> Set {
    1 << number
}

/// What a plan may condemn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Any packs at all, however wrong that is.
    Anything,
    /// Any one pack, however wrong that is.
    AnyOne,
    /// Packs in which no chunk is reachable that has no other home.
    Sensible,
    /// Nothing: plans that are there are executed.
    Nothing,
}

/// How plans are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Design {
    /// By one executor at a time, which spares what is needed again.
    Alone,
    /// By any number of executors at once, which copy what is needed again: what is condemned is so for ever.
    Copying,
}

/// Who takes part, and what is there when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// The chunks of each pack that is there.
    pub(crate) packs: &'static [Set],
    /// Which of them no index object names.
    pub(crate) unindexed: Set,
    /// The chunks of each snapshot that is there.
    pub(crate) snapshots: &'static [Set],
    /// The chunks of each writer's snapshot.
    pub(crate) writers: &'static [Set],
    /// How many pruners there are, besides the last one, which comes alone when all have ended.
    pub(crate) pruners: usize,
    /// The snapshot of the reader, if there is one.
    pub(crate) reader: Option<u8>,
    /// How many snapshots may be forgotten.
    pub(crate) forgets: u8,
    /// What a plan condemns that a pruner left which died.
    pub(crate) open_plan: Set,
    /// Whether it was recorded; those who were have ended.
    pub(crate) open_record: bool,
    /// What plans condemn.
    pub(crate) policy: Policy,
    /// How plans are carried out.
    pub(crate) design: Design,
    /// The order in which everybody does things.
    pub(crate) order: Order,
    /// What is done wrong.
    pub(crate) slip: Option<Slip>,
    /// The fault that is looked for; all, if none is named.
    pub(crate) expect: Option<Fault>,
}

/// Packs there can be.
const PACKS: usize = 8;
/// Plans there can be: one of each pruner, and one that was there.
pub(crate) const PLANS: usize = 4;
/// In the set of a plan or a record: the object exists.
pub(crate) const THERE: Set = 0x80;
/// Somebody who has not come.
pub(crate) const IDLE: u8 = 0;
/// Somebody who has ended or died.
pub(crate) const ENDED: u8 = u8::MAX;

/// Everything that is stored, and where everybody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The packs that exist.
    pub(crate) exists: Set,
    /// The packs that index objects name.
    pub(crate) indexed: Set,
    /// The chunks of each pack.
    pub(crate) content: [Set; PACKS],
    /// The snapshots that exist.
    pub(crate) snapshots: Set,
    /// What each plan condemns, and `THERE`.
    pub(crate) plans: [Set; PLANS],
    /// The sessions that lived when each plan was recorded, and `THERE`.
    pub(crate) records: [Set; PLANS],
    /// How many snapshots may still be forgotten.
    pub(crate) forgets: u8,
    pub(crate) writers: [Writer; 2],
    pub(crate) pruners: [Pruner; 3],
    pub(crate) reader: Reader,
}

/// A writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Writer {
    /// How many of its steps it has done.
    pub(crate) at: u8,
    /// Packs that plans condemn.
    pub(crate) avoid: Set,
    /// Packs that it found; once it knows what is missing, those of them that it has to index.
    pub(crate) packs: Set,
    /// The chunks that it has to store.
    pub(crate) missing: Set,
}

/// A pruner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pruner {
    /// How many of its steps it has done.
    pub(crate) at: u8,
    /// Packs that plans condemn, its own included.
    pub(crate) avoid: Set,
    /// The plans that it knows, then those that it executes.
    pub(crate) plans: Set,
    /// The sessions that it saw.
    pub(crate) sessions: Set,
    /// The packs that it is about to delete.
    pub(crate) doomed: Set,
    /// The chunks that are reachable.
    pub(crate) live: Set,
    /// The chunks that it has to copy.
    pub(crate) copy: Set,
    /// The snapshots that it marked from when it planned, and `THERE` if it saw the reader.
    pub(crate) known: Set,
}

/// A reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    /// How many of its steps it has done.
    pub(crate) at: u8,
    /// Its snapshot.
    pub(crate) root: u8,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A chunk that a snapshot or a reader needs is in no pack that exists and is indexed.
    Lost,
    /// An index object names a pack that does not exist.
    Dangling,
    /// One prune alone leaves garbage, a plan, a record or a pack without an index object.
    Leftover,
}

/// Who does what.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) who: &'static str,
    pub(crate) number: usize,
    /// `None`: dies.
    pub(crate) does: Option<Do>,
    pub(crate) what: Set,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (who, number, does, what) = (self.who, self.number, self.does, self.what);
        match does {
            Some(does) => write!(f, "{who} {number} {does:?} {what:04b}"),
            None => write!(f, "{who} {number} dies"),
        }
    }
}

/// The ways on from a state.
pub(crate) type Ways = Vec<(Step, State)>;

impl State {
    /// The chunks in `packs`.
    pub(crate) fn chunks(&self, packs: Set) -> Set {
        let mut chunks = 0;
        for pack in 0..PACKS {
            if packs & (1 << pack) != 0 {
                chunks |= self.content[pack];
            }
        }
        chunks
    }

    /// What all plans condemn.
    pub(crate) fn condemned(&self) -> Set {
        (self.plans[0] | self.plans[1] | self.plans[2] | self.plans[3]) & !THERE
    }
}

impl World {
    pub(crate) fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    /// The chunks of snapshot `number`.
    pub(crate) fn reach(&self, number: usize) -> Set {
        let there = self.snapshots.len();
        if number < there {
            self.snapshots[number]
        } else {
            self.writers[number - there]
        }
    }

    /// The chunks that `snapshots` reach.
    pub(crate) fn mark(&self, snapshots: Set) -> Set {
        members(snapshots).fold(0, |live, number| live | self.reach(number))
    }

    /// The sessions of writers and pruners that live.
    pub(crate) fn sessions(&self, state: &State) -> Set {
        let mut living = 0;
        for i in 0..self.writers.len() {
            if self.order.writer.lives(state.writers[i].at) {
                living |= only(i);
            }
        }
        for j in 0..self.pruners {
            if self.order.pruner.lives(state.pruners[j].at)
                && !self.slips(Slip::PrunersNotRecorded)
                && !self.slips(Slip::PrunersIgnoreEachOther)
            {
                living |= only(2 + j);
            }
        }
        living
    }

    /// The chunks that the session of the reader lists, checked or not.
    pub(crate) fn listed_by_reader(&self, state: &State) -> Set {
        if self.order.reader.lives(state.reader.at) {
            self.reach(usize::from(state.reader.root))
        } else {
            0
        }
    }

    /// Forgets what makes no difference any more: nobody asks whether a session that is gone lives, or for a pack or a snapshot that is
    /// gone. None of them ever comes back.
    fn settle(&self, state: &mut State) {
        let living = self.sessions(state);
        let exists = state.exists;
        for k in 0..PLANS {
            state.plans[k] &= exists | THERE;
            state.records[k] &= living | THERE;
        }
        let reads = if self.listed_by_reader(state) == 0 {
            0
        } else {
            THERE
        };
        for p in &mut state.pruners {
            p.avoid &= exists;
            p.doomed &= exists;
            p.sessions &= living;
            p.known &= state.snapshots | reads;
        }
        for w in &mut state.writers {
            w.avoid &= exists;
        }
        for pack in self.packs.len()..PACKS {
            if exists & only(pack) == 0 {
                state.content[pack] = 0;
            }
        }
        if let Some(root) = self.reader
            && state.reader.at == IDLE
            && state.snapshots & only(usize::from(root)) == 0
        {
            // Its snapshot is gone: it does not come any more.
            state.reader.at = ENDED;
        }
    }

    /// Adds a way on.
    pub(crate) fn push(
        &self,
        who: (&'static str, usize),
        what: (Option<Do>, Set),
        mut next: State,
        ways: &mut Ways,
    ) {
        self.settle(&mut next);
        self.put_in_order(&mut next);
        let step = Step {
            who: who.0,
            number: who.1,
            does: what.0,
            what: what.1,
        };
        ways.push((step, next));
    }

    fn needed(&self, state: &State) -> Set {
        let mut needed = self.mark(state.snapshots);
        if self.order.reader.step(state.reader.at) == Some(Do::Read) {
            needed |= self.reach(usize::from(state.reader.root));
        }
        needed
    }

    fn unsafe_now(&self, state: &State) -> Option<Fault> {
        self.lost(state)
            .or_else(|| (state.indexed & !state.exists != 0).then_some(Fault::Dangling))
    }

    fn lost(&self, state: &State) -> Option<Fault> {
        let homes = state.chunks(state.exists & state.indexed);
        (self.needed(state) & !homes != 0).then_some(Fault::Lost)
    }

    /// Whether nobody is there now. Whoever has not come yet then never does.
    fn quiet(state: &State) -> bool {
        let gone = |at| at == IDLE || at == ENDED;
        state.writers.iter().all(|writer| gone(writer.at))
            && state.pruners.iter().all(|pruner| gone(pruner.at))
            && gone(state.reader.at)
    }

    /// Lets pruner `j` run to its end, alone.
    fn run(&self, state: &mut State, j: usize) -> Option<Fault> {
        let mut ways = Ways::new();
        loop {
            ways.clear();
            self.prune(state, j, &mut ways);
            let (_, next) = ways.first()?;
            *state = *next;
            if let Some(fault) = self.unsafe_now(state) {
                return Some(fault);
            }
        }
    }

    fn prune(&self, state: &State, j: usize, ways: &mut Ways) {
        match self.design {
            Design::Alone => self.pruner_alone(state, j, ways),
            Design::Copying => self.pruner_copying(state, j, ways),
        }
    }

    /// Lets one prune run alone, and says what it does wrong or leaves behind.
    fn last_prune(&self, state: &State) -> Option<Fault> {
        let right = World {
            order: Order::right(self.design),
            slip: None,
            ..*self
        };
        let mut state = *state;
        if self.design == Design::Alone {
            // First it carries out what is there: packs that are spared can be condemned again.
            state.pruners[self.pruners].at = right.order.pruner.before(Do::Execute);
            if let Some(fault) = right.run(&mut state, self.pruners) {
                return Some(fault);
            }
            state.pruners[self.pruners] = Pruner::default();
        }
        if let Some(fault) = right.run(&mut state, self.pruners) {
            return Some(fault);
        }
        let clean = state.plans == [0; PLANS]
            && state.records == [0; PLANS]
            && state.exists == state.indexed
            && state.chunks(state.exists) & !self.mark(state.snapshots) == 0;
        (!clean).then_some(Fault::Leftover)
    }
}

impl Model for World {
    type State = State;
    type Step = Step;
    type Fault = Fault;

    fn initial(&self) -> State {
        let mut content = [0; PACKS];
        content[..self.packs.len()].copy_from_slice(self.packs);
        let all = only(self.packs.len()) - 1;
        let open_plan = match self.open_plan {
            0 => 0,
            set => set | THERE,
        };
        State {
            exists: all,
            indexed: all & !self.unindexed,
            content,
            snapshots: only(self.snapshots.len()) - 1,
            plans: [0, 0, 0, open_plan],
            records: [0, 0, 0, if self.open_record { THERE } else { 0 }],
            forgets: self.forgets,
            writers: Default::default(),
            pruners: Default::default(),
            reader: Reader::default(),
        }
    }

    fn steps(&self, state: &State, ways: &mut Ways) {
        for i in 0..self.writers.len() {
            let before = ways.len();
            self.writer(state, i, ways);
            assert!(
                ways.len() > before || state.writers[i].at == ENDED,
                "a writer is blocked"
            );
            if state.writers[i].at != IDLE && state.writers[i].at != ENDED {
                let mut next = *state;
                next.writers[i] = Writer {
                    at: ENDED,
                    ..Writer::default()
                };
                self.push(("writer", i), (None, 0), next, ways);
            }
        }
        for j in 0..self.pruners {
            self.prune(state, j, ways);
            if state.pruners[j].at != IDLE && state.pruners[j].at != ENDED {
                let mut next = *state;
                next.pruners[j] = Pruner {
                    at: ENDED,
                    ..Pruner::default()
                };
                self.push(("pruner", j), (None, 0), next, ways);
            }
        }
        if let Some(root) = self.reader {
            self.reader(state, root, ways);
            if state.reader.at != IDLE && state.reader.at != ENDED {
                let mut next = *state;
                next.reader = Reader { at: ENDED, root: 0 };
                self.push(("reader", 0), (None, 0), next, ways);
            }
        }
        if state.forgets > 0 {
            for number in members(state.snapshots) {
                let mut next = *state;
                next.snapshots &= !only(number);
                next.forgets -= 1;
                self.push(("forget", 0), (Some(Do::Forget), only(number)), next, ways);
            }
        }
    }

    fn fault(&self, state: &State) -> Option<Fault> {
        let wrong = match self.expect {
            Some(Fault::Lost) => return self.lost(state),
            _ => self.unsafe_now(state),
        };
        wrong.or_else(|| Self::quiet(state).then(|| self.last_prune(state)).flatten())
    }
}
