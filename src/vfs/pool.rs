//! A few threads that do jobs in the order in which they came. Ends, when dropped, after the jobs that are running.
//!
//! Two uses: answering requests that must wait for the store, so that one slow read never stops the rest; and reading
//! ahead. A job that panics ends itself only: whoever waits for it hears that it failed, and its thread goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::error::{At, Result};

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
pub struct Pool {
    jobs: Option<Sender<Job>>,
    stopped: Arc<AtomicBool>,
}

impl Pool {
    /// Starts `threads` threads called `name`.
    pub fn new(name: &str, threads: usize) -> Result<Self> {
        let (jobs, queue) = unbounded::<Job>();
        let stopped = Arc::new(AtomicBool::new(false));
        for _ in 0..threads.max(1) {
            let (queue, stopped) = (queue.clone(), stopped.clone());
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&queue, &stopped))
                .at("start a thread")?;
        }
        Ok(Self {
            jobs: Some(jobs),
            stopped,
        })
    }

    /// Does `job` on one of the threads, soon.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            // Receivers live as long as the pool; a failed send could only drop the job, whose reply then says so.
            let _ = jobs.send(Box::new(job));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.jobs = None;
    }
}

fn work(queue: &Receiver<Job>, stopped: &AtomicBool) {
    for job in queue {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        // A reply that is dropped unanswered answers with an error itself.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}
