//! A byte budget: memory is reserved before it is filled, and given back when the reservation is dropped.
//!
//! One budget bounds everything that is in flight in one operation, whatever the number of threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A bound on bytes in flight, shared by threads.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit_bytes: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: usize,
    /// How many wait for bytes: waking nobody would cost a system call each time.
    waiting: usize,
}

/// Bytes reserved from a [`Budget`]; dropped, they are free again.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            limit_bytes,
            state: Mutex::default(),
            freed: Condvar::new(),
        }))
    }

    /// Waits until `bytes` are free and takes them. A request above the whole limit waits for an
    /// empty budget and then passes alone, so that one large item can never deadlock.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        let mut state = self.state();
        while state.used_bytes > 0 && !self.fits(&state, bytes) {
            state.waiting += 1;
            state = self
                .0
                .freed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.used_bytes += bytes;
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    /// Takes `bytes` if they are free now.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut state = self.state();
        if state.used_bytes > 0 && !self.fits(&state, bytes) {
            return None;
        }
        state.used_bytes += bytes;
        Some(Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// Bytes reserved now.
    pub fn used_bytes(&self) -> usize {
        self.state().used_bytes
    }

    fn fits(&self, state: &State, bytes: usize) -> bool {
        state.used_bytes.saturating_add(bytes) <= self.0.limit_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// How many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used_bytes -= self.bytes;
        if state.waiting > 0 {
            self.budget.0.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_refuses_until_freed() {
        let budget = Budget::new(10);
        let first = budget.reserve(8);
        assert!(budget.try_reserve(3).is_none());
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        let huge = budget.reserve(100);
        assert!(budget.try_reserve(1).is_none());
        drop(huge);
        assert!(budget.try_reserve(1).is_some());
    }

    #[test]
    fn a_waiter_wakes_when_bytes_come_back() {
        let budget = Budget::new(1);
        let held = budget.reserve(1);
        let waiter = std::thread::spawn({
            let budget = budget.clone();
            move || budget.reserve(1).bytes()
        });
        drop(held);
        assert_eq!(waiter.join().unwrap(), 1);
    }
}
