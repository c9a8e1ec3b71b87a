//! Index objects while executors rewrite them: a pack that stays is named at every instant, and a reader finds it.
//!
//! The model of the whole protocol takes the index for one set that changes at once. It is many objects: an executor reads those that name packs
//! which it deletes, writes one object in their place and removes them, while writers add theirs and other executors do the same.

use crate::explore::Model;
use crate::world::{ENDED, Set, members, only};

/// Objects there can be.
const OBJECTS: usize = 8;
/// The pack that stays.
const STAYS: Set = 0b0100;
/// The pack that the writer stores.
const NEW: Set = 0b1000;

/// How it could be got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    /// Old objects are removed before the new one is written.
    RemoveFirst,
    /// What is in the listing at the end is removed, read or not.
    RemoveUnread,
    /// A reader goes on if an object of its listing is gone.
    GoneIsNothing,
    /// A reader's listing is not of one instant (as on any real store), and it takes it for whole.
    TrustListing,
}

/// Who takes part.
#[derive(Clone, Debug)]
pub(crate) struct IndexWorld {
    /// What each executor deletes.
    pub(crate) executors: &'static [Set],
    /// What is done wrong.
    pub(crate) slip: Option<Slip>,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No object names a pack that exists, was named and is not being deleted.
    Unnamed,
    /// An object names a pack that is not there, with one executor.
    Dangling,
    /// A reader has read the index and does not know the pack that stays.
    Missed,
    /// One executor alone leaves an object that names a pack that is not there.
    Leftover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    packs: Set,
    /// The objects that exist.
    objects: Set,
    names: [Set; OBJECTS],
    /// How many objects there ever were: none has the name of another.
    made: u8,
    writer: u8,
    /// The last is the one that comes alone.
    executors: [Task; 3],
    reader: Task,
}

/// Somebody who goes through the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Task {
    at: u8,
    /// The objects still to be read.
    unread: Set,
    /// The objects to be replaced.
    old: Set,
    /// What they name.
    names: Set,
}

const LIST: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;
const REMOVE: u8 = 3;
const DELETE: u8 = 4;

type Ways = Vec<(&'static str, State)>;

impl IndexWorld {
    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn writer(state: &State, ways: &mut Ways) {
        if state.writer > 1 {
            return;
        }
        let mut next = *state;
        next.writer += 1;
        match state.writer {
            0 => next.packs |= NEW,
            _ => add(&mut next, NEW),
        }
        ways.push(("the writer goes on", next));
        let mut next = *state;
        next.writer = ENDED;
        ways.push(("the writer dies", next));
    }

    fn executor(&self, state: &State, e: usize, doomed: Set, ways: &mut Ways) {
        let mut next = *state;
        let mut task = state.executors[e];
        let replace = if self.slips(Slip::RemoveFirst) {
            REMOVE
        } else {
            WRITE
        };
        let does = match task.at {
            LIST => {
                task = Task {
                    at: READ,
                    unread: state.objects,
                    ..Task::default()
                };
                "an executor lists"
            }
            READ => {
                match members(task.unread).next() {
                    // Another has replaced it: what it named is in an object that was not listed.
                    Some(object) if state.objects & only(object) == 0 => task = Task::default(),
                    Some(object) => {
                        task.unread &= !only(object);
                        let names = state.names[object];
                        // Entries of packs that are gone are dropped as well: another executor may have left them.
                        if names & (doomed | !state.packs) != 0 {
                            task.old |= only(object);
                            task.names |= names;
                        }
                    }
                    None if task.old == 0 => task.at = DELETE,
                    None => task.at = replace,
                }
                "an executor reads"
            }
            WRITE => {
                let keep = task.names & !doomed & state.packs;
                if keep != 0 {
                    add(&mut next, keep);
                }
                task.at = if replace == WRITE { REMOVE } else { DELETE };
                if self.slips(Slip::RemoveUnread) {
                    let new = if keep == 0 {
                        0
                    } else {
                        only(usize::from(next.made) - 1)
                    };
                    task.old = next.objects & !new;
                }
                "an executor writes"
            }
            REMOVE => {
                match members(task.old).next() {
                    Some(object) => {
                        next.objects &= !only(object);
                        next.names[object] = 0;
                        task.old &= !only(object);
                    }
                    None => task.at = if replace == WRITE { DELETE } else { WRITE },
                }
                "an executor removes"
            }
            DELETE => {
                next.packs &= !doomed;
                task = Task {
                    at: ENDED,
                    ..Task::default()
                };
                "an executor deletes packs"
            }
            _ => return,
        };
        next.executors[e] = task;
        ways.push((does, next));
        let mut next = *state;
        next.executors[e] = Task {
            at: ENDED,
            ..Task::default()
        };
        ways.push(("an executor dies", next));
    }

    fn reader(&self, state: &State, ways: &mut Ways) {
        let mut next = *state;
        let mut task = state.reader;
        let does = match task.at {
            LIST => {
                task = Task {
                    at: READ,
                    unread: state.objects,
                    ..task
                };
                if self.slips(Slip::TrustListing) {
                    // Name by name, each at its own instant.
                    task.unread = Set::MAX;
                }
                "the reader lists"
            }
            READ => {
                // Downwards: names are hashes, a scan can well come to the newest first.
                match members(task.unread).last() {
                    None => task.at = ENDED,
                    Some(object) if state.objects & only(object) != 0 => {
                        task.unread &= !only(object);
                        task.names |= state.names[object];
                    }
                    Some(object)
                        if self.slips(Slip::GoneIsNothing) || self.slips(Slip::TrustListing) =>
                    {
                        task.unread &= !only(object);
                    }
                    Some(_) => task.at = LIST,
                }
                "the reader reads"
            }
            _ => return,
        };
        next.reader = task;
        ways.push((does, next));
    }

    /// One executor alone, which deletes what any other was to delete.
    fn last_executor(&self, state: &State) -> Option<Fault> {
        let right = Self {
            executors: self.executors,
            slip: None,
        };
        let doomed = self.executors.iter().fold(0, |all, doomed| all | doomed);
        let mut state = *state;
        let mut ways = Ways::new();
        loop {
            ways.clear();
            right.executor(&state, 2, doomed, &mut ways);
            let Some((_, next)) = ways.first() else {
                break;
            };
            state = *next;
        }
        (named(&state) & !state.packs != 0).then_some(Fault::Leftover)
    }
}

fn add(state: &mut State, names: Set) {
    let object = usize::from(state.made);
    state.names[object] = names;
    state.objects |= only(object);
    state.made += 1;
}

fn named(state: &State) -> Set {
    state.names.iter().fold(0, |all, names| all | names)
}

impl Model for IndexWorld {
    type State = State;
    type Step = &'static str;
    type Fault = Fault;

    fn initial(&self) -> State {
        let mut state = State {
            packs: 0b0111,
            objects: 0,
            names: [0; OBJECTS],
            made: 0,
            writer: 0,
            executors: [Task::default(); 3],
            reader: Task::default(),
        };
        add(&mut state, 0b0111);
        state
    }

    fn steps(&self, state: &State, ways: &mut Ways) {
        Self::writer(state, ways);
        for (e, &doomed) in self.executors.iter().enumerate() {
            self.executor(state, e, doomed, ways);
        }
        self.reader(state, ways);
    }

    fn fault(&self, state: &State) -> Option<Fault> {
        let named = named(state);
        let new = if state.writer == 2 { NEW } else { 0 };
        if (STAYS | new) & !named != 0 {
            return Some(Fault::Unnamed);
        }
        if self.executors.len() == 1 && named & !state.packs != 0 {
            return Some(Fault::Dangling);
        }
        if state.reader.at == ENDED && state.reader.names & STAYS == 0 {
            return Some(Fault::Missed);
        }
        let gone = state.executors[..self.executors.len()]
            .iter()
            .all(|task| task.at == ENDED);
        gone.then(|| self.last_executor(state)).flatten()
    }
}
