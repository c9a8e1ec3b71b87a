//! A cache bounded in bytes that loads every value once, however many threads ask for it at the same time.
//!
//! A request for a value that is being loaded waits for that load (it *joins*); a failed load reaches everyone who
//! waits and is forgotten, so the next request tries again. Eviction is second chance: a value that was used since
//! it was last looked at stays for one more round, so a hit costs one flag and no list surgery.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Class, Error, Result};

/// What a cache did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Requests answered from memory.
    pub hits: u64,
    /// Requests that loaded.
    pub misses: u64,
    /// Requests that waited for another request's load.
    pub joined: u64,
}

/// The cache; shared by threads. Lock order: `state` before the `result` of a flight, never the other way.
pub struct SingleFlight<K, V> {
    state: Mutex<State<K, V>>,
    limit_bytes: usize,
    weigh: fn(&V) -> usize,
    evicted: Option<Evicted<V>>,
    hits: AtomicU64,
    misses: AtomicU64,
    joined: AtomicU64,
}

/// Takes values that nobody holds any more.
type Evicted<V> = Box<dyn Fn(V) + Send + Sync>;

struct State<K, V> {
    slots: HashMap<K, Slot<V>>,
    /// Keys of all ready slots, in the order in which eviction looks at them.
    ring: VecDeque<K>,
    used_bytes: usize,
}

enum Slot<V> {
    Ready {
        value: Arc<V>,
        bytes: usize,
        used: bool,
    },
    Loading(Arc<Flight<V>>),
}

struct Flight<V> {
    result: Mutex<Option<Result<Arc<V>>>>,
    landed: Condvar,
}

impl<K: Eq + Hash + Copy, V> SingleFlight<K, V> {
    /// A cache of at most `limit_bytes`, as counted by `weigh`. A value above the limit is handed out but not kept.
    pub fn new(limit_bytes: usize, weigh: fn(&V) -> usize) -> Self {
        Self {
            state: Mutex::new(State {
                slots: HashMap::new(),
                ring: VecDeque::new(),
                used_bytes: 0,
            }),
            limit_bytes,
            weigh,
            evicted: None,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            joined: AtomicU64::new(0),
        }
    }

    /// Hands evicted values to `take`, unless somebody still holds them.
    #[must_use]
    pub fn on_eviction(mut self, take: impl Fn(V) + Send + Sync + 'static) -> Self {
        self.evicted = Some(Box::new(take));
        self
    }

    /// The value if it is in memory now.
    pub fn peek(&self, key: &K) -> Option<Arc<V>> {
        match self.state().slots.get_mut(key) {
            Some(Slot::Ready { value, used, .. }) => {
                *used = true;
                self.hits.fetch_add(1, Ordering::Relaxed);
                Some(value.clone())
            }
            _ => None,
        }
    }

    /// True if a value that is `enough` is in memory, or any is on its way.
    pub fn is_known(&self, key: &K, enough: impl Fn(&V) -> bool) -> bool {
        match self.state().slots.get(key) {
            Some(Slot::Ready { value, .. }) => enough(value),
            Some(Slot::Loading(_)) => true,
            None => false,
        }
    }

    /// The value: from memory, from a load in flight, or by `load`.
    pub fn get(&self, key: &K, load: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        self.get_where(key, |_| true, |_| load())
    }

    /// The same where a value may hold too little: `load` makes one that is `enough`, and is told whether it replaces one that
    /// was not.
    pub fn get_where(
        &self,
        key: &K,
        enough: impl Fn(&V) -> bool,
        load: impl FnOnce(bool) -> Result<V>,
    ) -> Result<Arc<V>> {
        let mut again = false;
        let flight = loop {
            let mut state = self.state();
            match state.slots.get_mut(key) {
                Some(Slot::Ready { value, used, .. }) if enough(value) => {
                    *used = true;
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    return Ok(value.clone());
                }
                Some(Slot::Loading(flight)) => {
                    let flight = flight.clone();
                    drop(state);
                    self.joined.fetch_add(1, Ordering::Relaxed);
                    let landed = flight.wait()?;
                    if enough(&landed) {
                        return Ok(landed);
                    }
                    // Not kept if it is above the limit: then it is not there to be replaced.
                    again = true;
                }
                found => {
                    again |= found.is_some();
                    state.forget(key);
                    let flight = Arc::new(Flight {
                        result: Mutex::new(None),
                        landed: Condvar::new(),
                    });
                    state.slots.insert(*key, Slot::Loading(flight.clone()));
                    break flight;
                }
            }
        };
        self.misses.fetch_add(1, Ordering::Relaxed);
        // If `load` panics the guard still lands the flight, so that nobody waits for ever.
        let mut landing = Landing {
            cache: self,
            key: *key,
            flight,
            result: None,
        };
        landing.result = Some(load(again).map(Arc::new));
        match &landing.result {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(error)) => Err(copy_of(error)),
            None => Err(abandoned()),
        }
    }

    /// What it did so far.
    pub fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            joined: self.joined.load(Ordering::Relaxed),
        }
    }

    /// Bytes held now.
    pub fn used_bytes(&self) -> usize {
        self.state().used_bytes
    }

    fn land(&self, key: &K, flight: &Flight<V>, result: Result<Arc<V>>) {
        let mut state = self.state();
        state.slots.remove(key);
        let mut evicted = Vec::new();
        if let Ok(value) = &result {
            let bytes = (self.weigh)(value);
            if bytes <= self.limit_bytes {
                state.make_room(self.limit_bytes - bytes, &mut evicted);
                state.used_bytes += bytes;
                state.ring.push_back(*key);
                state.slots.insert(
                    *key,
                    Slot::Ready {
                        value: value.clone(),
                        bytes,
                        used: false,
                    },
                );
            }
        }
        drop(state);
        if let Some(take) = &self.evicted {
            evicted
                .into_iter()
                .filter_map(Arc::into_inner)
                .for_each(take);
        }
        *lock(&flight.result) = Some(result);
        flight.landed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        lock(&self.state)
    }
}

impl<K: Eq + Hash + Copy, V> State<K, V> {
    /// Drops a ready value.
    fn forget(&mut self, key: &K) {
        if let Some(Slot::Ready { bytes, .. }) = self.slots.remove(key) {
            self.used_bytes -= bytes;
            self.ring.retain(|kept| kept != key);
        }
    }

    /// Evicts into `evicted` until at most `keep_bytes` are held.
    fn make_room(&mut self, keep_bytes: usize, evicted: &mut Vec<Arc<V>>) {
        while self.used_bytes > keep_bytes {
            let Some(key) = self.ring.pop_front() else {
                return;
            };
            if let Some(Slot::Ready { used, bytes, .. }) = self.slots.get_mut(&key) {
                if std::mem::take(used) {
                    self.ring.push_back(key);
                } else {
                    self.used_bytes -= *bytes;
                    if let Some(Slot::Ready { value, .. }) = self.slots.remove(&key) {
                        evicted.push(value);
                    }
                }
            }
        }
    }
}

impl<V> Flight<V> {
    fn wait(&self) -> Result<Arc<V>> {
        let mut result = lock(&self.result);
        loop {
            match &*result {
                Some(Ok(value)) => return Ok(value.clone()),
                Some(Err(error)) => return Err(copy_of(error)),
                None => {
                    result = self
                        .landed
                        .wait(result)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

struct Landing<'a, K: Eq + Hash + Copy, V> {
    cache: &'a SingleFlight<K, V>,
    key: K,
    flight: Arc<Flight<V>>,
    result: Option<Result<Arc<V>>>,
}

impl<K: Eq + Hash + Copy, V> Drop for Landing<'_, K, V> {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err(abandoned()));
        self.cache.land(&self.key, &self.flight, result);
    }
}

/// Every waiter gets an error of its own: the class, and the whole message.
fn copy_of(error: &Error) -> Error {
    Error::new(error.class(), error.to_string())
}

fn abandoned() -> Error {
    Error::new(Class::Io, "the thread that was loading this failed")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn cache(limit: usize) -> SingleFlight<u32, Vec<u8>> {
        SingleFlight::new(limit, Vec::len)
    }

    #[test]
    fn many_askers_cause_one_load() {
        let cache = cache(100);
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    let value = cache.get(&1, || {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok(vec![7; 10])
                    });
                    assert_eq!(*value.unwrap(), vec![7; 10]);
                });
            }
        });
        let counts = cache.counts();
        assert_eq!(counts.misses, 1);
        assert_eq!(counts.hits + counts.joined, 7);
    }

    #[test]
    fn a_value_that_holds_too_little_is_replaced() {
        let cache = cache(100);
        let at_least = |len: usize| {
            let load = |again| Ok(vec![0; if again { 40 } else { len }]);
            cache
                .get_where(&1, |value| value.len() >= len, load)
                .unwrap()
                .len()
        };
        assert_eq!([at_least(10), at_least(5), at_least(11)], [10, 10, 40]);
        assert!(!cache.is_known(&1, |value| value.len() > 40));
        assert_eq!((cache.used_bytes(), at_least(40)), (40, 40));
        assert_eq!((cache.counts().misses, cache.counts().hits), (2, 2));
        // Of two that ask at the same time, who wants more loads again after the one that wanted less.
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let load = |_| {
                    barrier.wait();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    Ok(vec![0; 1])
                };
                cache.get_where(&2, |_| true, load).unwrap();
            });
            barrier.wait();
            let more = |value: &Vec<u8>| value.len() > 1;
            let load = |again| Ok(vec![0; if again { 9 } else { 2 }]);
            assert_eq!(cache.get_where(&2, more, load).unwrap().len(), 9);
        });
    }

    #[test]
    fn errors_reach_everyone_and_are_not_kept() {
        let cache = cache(100);
        let failed = cache.get(&1, || Err(Error::corrupt("block 3")));
        assert_eq!(failed.unwrap_err().class(), Class::Corrupt);
        assert!(!cache.is_known(&1, |_| true));
        assert_eq!(cache.get(&1, || Ok(vec![1])).unwrap().len(), 1);
    }

    #[test]
    fn a_panic_in_a_load_leaves_nobody_waiting() {
        let cache = cache(100);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cache.get(&1, || panic!("boom")).map(|_| ())
        }));
        assert!(result.is_err());
        assert!(cache.get(&1, || Ok(vec![1])).is_ok());
    }

    #[test]
    fn the_bound_holds_and_used_values_stay_longer() {
        let cache = cache(30);
        for key in 0..3 {
            cache.get(&key, || Ok(vec![0; 10])).unwrap();
        }
        cache
            .get(&0, || Err(Error::corrupt("must be cached")))
            .unwrap();
        cache.get(&3, || Ok(vec![0; 10])).unwrap();
        assert!(cache.peek(&0).is_some(), "used since");
        assert!(cache.peek(&1).is_none(), "the oldest that was not used");
        assert_eq!(cache.used_bytes(), 30);
        cache.get(&9, || Ok(vec![0; 31])).unwrap();
        assert!(cache.peek(&9).is_none(), "larger than the whole cache");
        assert!(cache.used_bytes() <= 30);
    }
}
