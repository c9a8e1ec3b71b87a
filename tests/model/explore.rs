//! A small breadth-first explorer: every state that any order of steps reaches, each once, compared whole (no fingerprints).
//! The first fault that it meets is therefore one of the shortest, and comes with the steps that lead to it.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

/// What is explored.
pub(crate) trait Model {
    /// Everything that decides what can happen next.
    type State: Copy + Eq + Hash;
    /// One atomic step of somebody, for the trace.
    type Step: Copy + Debug;
    /// What can be wrong.
    type Fault: Debug;

    /// Where it begins.
    fn initial(&self) -> Self::State;

    /// Every step that can be taken in `state`.
    fn steps(&self, state: &Self::State, out: &mut Vec<(Self::Step, Self::State)>);

    /// What is wrong with `state`.
    fn fault(&self, state: &Self::State) -> Option<Self::Fault>;
}

/// What an exploration found.
#[derive(Debug)]
pub(crate) struct Found<F> {
    /// States reached, each counted once.
    pub(crate) states: usize,
    /// Steps taken, those to known states included.
    pub(crate) steps: usize,
    /// The longest of the shortest ways.
    pub(crate) depth: usize,
    /// The first fault, and the steps that lead to it.
    pub(crate) fault: Option<(F, Vec<String>)>,
}

struct Node<S> {
    state: S,
    parent: u32,
}

/// Explores `model` until nothing new is reached or a fault is.
pub(crate) fn explore<M: Model>(model: &M) -> Found<M::Fault> {
    let mut nodes = vec![Node {
        state: model.initial(),
        parent: 0,
    }];
    let mut seen = Seen::new();
    seen.insert(&nodes, 0);
    let (mut at, mut steps, mut depth, mut level_ends) = (0, 0, 0, 1);
    let mut next = Vec::new();
    while at < nodes.len() {
        if at == level_ends {
            depth += 1;
            level_ends = nodes.len();
        }
        next.clear();
        model.steps(&nodes[at].state, &mut next);
        steps += next.len();
        if let Some(fault) = model.fault(&nodes[at].state) {
            return Found {
                states: nodes.len(),
                steps,
                depth,
                fault: Some((fault, way_to(model, &nodes, at))),
            };
        }
        let parent = index(at);
        for (_, state) in next.drain(..) {
            nodes.push(Node { state, parent });
            if !seen.insert(&nodes, nodes.len() - 1) {
                nodes.pop();
            }
        }
        at += 1;
    }
    Found {
        states: nodes.len(),
        steps,
        depth,
        fault: None,
    }
}

/// The steps that lead to `nodes[at]`, found again from the states.
fn way_to<M: Model>(model: &M, nodes: &[Node<M::State>], mut at: usize) -> Vec<String> {
    let mut way = Vec::new();
    while at != 0 {
        let from = nodes[at].parent as usize;
        let mut next = Vec::new();
        model.steps(&nodes[from].state, &mut next);
        way.extend(
            next.iter()
                .find(|(_, state)| *state == nodes[at].state)
                .map(|(step, _)| format!("{step:?}")),
        );
        at = from;
    }
    way.reverse();
    way
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than four thousand million states")
}

/// Which states are known: an open table of positions in the list of nodes, which holds the states themselves.
struct Seen {
    table: Vec<u32>,
    len: usize,
}

const FREE: u32 = u32::MAX;

impl Seen {
    fn new() -> Self {
        Self {
            table: vec![FREE; 1 << 16],
            len: 0,
        }
    }

    /// Notes the state of `nodes[at]`; false if one like it was known.
    fn insert<S: Copy + Eq + Hash>(&mut self, nodes: &[Node<S>], at: usize) -> bool {
        if self.len * 2 > self.table.len() {
            let mut table = vec![FREE; self.table.len() * 4];
            for &known in self.table.iter().filter(|&&known| known != FREE) {
                let mut slot = slot_of(&nodes[known as usize].state, table.len());
                while table[slot] != FREE {
                    slot = (slot + 1) & (table.len() - 1);
                }
                table[slot] = known;
            }
            self.table = table;
        }
        let state = &nodes[at].state;
        let mut slot = slot_of(state, self.table.len());
        while self.table[slot] != FREE {
            if nodes[self.table[slot] as usize].state == *state {
                return false;
            }
            slot = (slot + 1) & (self.table.len() - 1);
        }
        self.table[slot] = index(at);
        self.len += 1;
        true
    }
}

fn slot_of<S: Hash>(state: &S, slots: usize) -> usize {
    let mut mix = Mix(0);
    state.hash(&mut mix);
    // The high bits are the mixed ones.
    (mix.0 >> 20) as usize & (slots - 1)
}

/// A quick hash: nobody chooses these states to collide.
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}
