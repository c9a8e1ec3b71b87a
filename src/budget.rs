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
    used_bytes: Mutex<usize>,
    freed: Condvar,
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
            used_bytes: Mutex::new(0),
            freed: Condvar::new(),
        }))
    }

    /// Waits until `bytes` are free and takes them. A request above the whole limit waits for an
    /// empty budget and then passes alone, so that one large item can never deadlock.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        let mut used = self.used();
        while *used > 0 && used.saturating_add(bytes) > self.0.limit_bytes {
            used = self
                .0
                .freed
                .wait(used)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *used += bytes;
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    /// Takes `bytes` if they are free now.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut used = self.used();
        if *used > 0 && used.saturating_add(bytes) > self.0.limit_bytes {
            return None;
        }
        *used += bytes;
        Some(Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// Bytes reserved now.
    pub fn used_bytes(&self) -> usize {
        *self.used()
    }

    fn used(&self) -> MutexGuard<'_, usize> {
        self.0
            .used_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        *self.budget.used() -= self.bytes;
        self.budget.0.freed.notify_all();
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
