//! The order in which readers ahead get memory: the batch that is emitted soonest first.
//!
//! Readers work on many batches at once and learn sizes only as they go, so plain reservations could end with all memory
//! held by late batches while the next one to emit waits for ever. Here the lowest batch goes first, and the batch at the
//! head never waits: what does not fit there is read by the emitter itself. The budget is never exceeded.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread::{self, Thread};

use super::handle::lock;
use crate::budget::{Budget, Reservation};

/// Memory for content that was read ahead.
#[derive(Debug)]
pub(super) struct Window {
    budget: Budget,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// The batch that the emitter waits for or works on.
    head: u64,
    closed: bool,
    /// Who waits, by batch.
    waiting: BTreeMap<u64, Thread>,
}

impl Window {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            turns: Mutex::default(),
        }
    }

    /// Memory for `bytes` of batch `batch`; waits for it unless the batch is the next to emit. `None`: leave it to the emitter.
    pub(super) fn reserve(&self, batch: u64, bytes: usize) -> Option<Reservation> {
        let mut turns = lock(&self.turns);
        loop {
            let first = turns.waiting.first_key_value().map_or(batch, |(at, _)| *at);
            let held = (batch <= first)
                .then(|| self.budget.try_reserve(bytes))
                .flatten();
            if held.is_some() || turns.closed || batch <= turns.head {
                turns.waiting.remove(&batch);
                if let Some((_, next)) = turns.waiting.first_key_value() {
                    next.unpark();
                }
                return held;
            }
            turns.waiting.insert(batch, thread::current());
            drop(turns);
            thread::park();
            turns = lock(&self.turns);
        }
    }

    /// The emitter now needs batch `batch`; what it held of earlier ones is free again.
    pub(super) fn advance(&self, batch: u64) {
        let mut turns = lock(&self.turns);
        turns.head = batch;
        if let Some((_, next)) = turns.waiting.first_key_value() {
            next.unpark();
        }
    }

    /// Nobody will read any more: all waiters return.
    pub(super) fn close(&self) {
        let mut turns = lock(&self.turns);
        turns.closed = true;
        for waiter in turns.waiting.values() {
            waiter.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_head_never_waits_and_others_go_in_order() {
        let window = Arc::new(Window::new(Budget::new(10)));
        let late = window.reserve(5, 10).unwrap();
        assert!(window.reserve(0, 1).is_none(), "the head is told to go on");
        let waiters: Vec<_> = [3_u64, 2]
            .map(|batch| {
                let window = window.clone();
                thread::spawn(move || window.reserve(batch, 10).map(|held| held.bytes()))
            })
            .into_iter()
            .collect();
        while lock(&window.turns).waiting.len() < 2 {
            thread::yield_now();
        }
        drop(late);
        window.advance(1);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Some(10));
        }
    }

    #[test]
    fn closing_frees_the_waiters() {
        let window = Arc::new(Window::new(Budget::new(1)));
        let _held = window.reserve(0, 1).unwrap();
        let waiter = thread::spawn({
            let window = window.clone();
            move || window.reserve(7, 1).is_none()
        });
        window.close();
        assert!(waiter.join().unwrap());
    }
}
