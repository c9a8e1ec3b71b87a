//! A few threads that do jobs in the order in which they came. Ends, when dropped, after the jobs that are running.
//!
//! Two uses: answering requests that must wait for the store, so that one slow read never stops the rest; and reading
//! ahead. The thread that became idle last is woken first: one reader keeps one thread busy, whose memory is warm, and
//! the others take none (an allocator keeps megabytes for every thread that ever decoded a block). A job that panics ends
//! itself only: whoever waits for it hears that it failed, and its thread goes on.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{At, Result};

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
pub struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// One for each thread.
    wake: Vec<Condvar>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads with nothing to do, the latest last.
    idle: Vec<usize>,
    stopped: bool,
}

impl Pool {
    /// Starts `threads` threads called `name`.
    pub fn new(name: &str, threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let pool = Self(Arc::new(Shared {
            state: Mutex::default(),
            wake: (0..threads).map(|_| Condvar::new()).collect(),
        }));
        for number in 0..threads {
            let shared = Arc::clone(&pool.0);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || shared.work(number))
                .at("start a thread")?;
        }
        Ok(pool)
    }

    /// Does `job` on one of the threads, soon.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.state();
        state.jobs.push_back(Box::new(job));
        let idle = state.idle.pop();
        drop(state);
        if let Some(number) = idle {
            self.0.wake[number].notify_one();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stopped = true;
        let dropped = std::mem::take(&mut state.jobs);
        drop(state);
        for wake in &self.0.wake {
            wake.notify_one();
        }
        drop(dropped);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, number: usize) {
        while let Some(job) = self.next(number) {
            // A reply that is dropped unanswered answers with an error itself.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// The next job, when there is one; `None` at the end.
    fn next(&self, number: usize) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if !state.idle.contains(&number) {
                state.idle.push(number);
            }
            state = self.wake[number]
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn every_job_is_done_and_a_panic_ends_only_itself() {
        let pool = Pool::new("test", 3).unwrap();
        let (sender, done) = channel();
        for number in 0..1000 {
            let sender = sender.clone();
            pool.submit(move || {
                assert!(number % 100 != 50, "boom");
                sender.send(number).unwrap();
            });
        }
        drop(sender);
        let mut all: Vec<i32> = done.iter().collect();
        all.sort_unstable();
        assert_eq!(all.len(), 990);
        all.dedup();
        assert_eq!(all.len(), 990);
    }

    #[test]
    fn jobs_overlap_but_one_at_a_time_stays_on_one_thread() {
        let pool = Pool::new("test", 4).unwrap();
        let (sender, done) = channel();
        let mut threads = std::collections::HashSet::new();
        for _ in 0..20 {
            // Let the thread of the last job become idle.
            std::thread::sleep(Duration::from_millis(5));
            let sender = sender.clone();
            pool.submit(move || sender.send(std::thread::current().id()).unwrap());
            threads.insert(done.recv().unwrap());
        }
        assert!(threads.len() <= 3, "{threads:?}");
        let meet = Arc::new(std::sync::Barrier::new(4));
        for _ in 0..4 {
            let (meet, sender) = (meet.clone(), sender.clone());
            pool.submit(move || {
                meet.wait();
                sender.send(std::thread::current().id()).unwrap();
            });
        }
        for _ in 0..4 {
            done.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }
}
