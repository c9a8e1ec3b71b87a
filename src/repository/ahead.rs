//! Work done ahead, in parallel, and taken in order.
//!
//! A planner knows the sequence of what will be needed; workers prepare pieces of it (read, unseal, decompress, verify) and the
//! caller's thread takes them one by one in the planner's order. Memory is bounded by `AHEAD_PER_WORKER` prepared pieces
//! for each worker, whatever their number: the planner waits when it is that far in front. The first error, wherever it
//! happens, stops everything and is what the caller gets.

use std::num::NonZeroUsize;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::{Class, Error, Result};

/// How many pieces may wait, prepared or in preparation, for each worker.
const AHEAD_PER_WORKER: usize = 3;

/// Where the planner puts its pieces.
pub(crate) struct Queue<J, R> {
    jobs: Sender<(J, Sender<Result<R>>)>,
    order: Sender<Receiver<Result<R>>>,
}

impl<J, R> Queue<J, R> {
    /// Hands over the next piece; waits while enough are on their way. An error means that nobody wants more.
    pub(crate) fn push(&mut self, job: J) -> Result<()> {
        let (done, result) = bounded(1);
        let sent = self.order.send(result).is_ok() && self.jobs.send((job, done)).is_ok();
        sent.then_some(()).ok_or_else(stopped)
    }
}

/// Runs `plan` and `threads` workers beside the caller, who takes what `work` made of the planner's pieces, in order.
pub(crate) fn in_order<J, R>(
    threads: NonZeroUsize,
    plan: impl FnOnce(&mut Queue<J, R>) -> Result<()> + Send,
    work: impl Fn(J) -> Result<R> + Sync,
    mut take: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    J: Send,
    R: Send,
{
    let (order, results) = bounded::<Receiver<Result<R>>>(threads.get() * AHEAD_PER_WORKER);
    let (jobs, todo) = bounded::<(J, Sender<Result<R>>)>(threads.get() * AHEAD_PER_WORKER);
    thread::scope(|scope| {
        let planner = scope.spawn(move || plan(&mut Queue { jobs, order }));
        for _ in 0..threads.get() {
            let (todo, work) = (todo.clone(), &work);
            scope.spawn(move || {
                for (job, done) in todo {
                    // A caller that stopped early has no use for it.
                    let _ = done.send(work(job));
                }
            });
        }
        drop(todo);
        let mut outcome = Ok(());
        for result in &results {
            outcome = match result.recv() {
                Ok(made) => made.and_then(&mut take),
                // A worker died in a panic, which `scope` passes on.
                Err(_) => Err(stopped()),
            };
            if outcome.is_err() {
                break;
            }
        }
        // The planner sees the closed channel and ends; so do the workers when it has dropped its own.
        drop(results);
        let planned = planner.join().unwrap_or_else(|_| Err(stopped()));
        outcome.and(planned)
    })
}

fn stopped() -> Error {
    Error::new(Class::Interrupted, "stopped")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    #[test]
    fn results_come_in_order_and_memory_is_bounded() {
        let out = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let mut taken = Vec::new();
        in_order(
            TWO,
            |queue| (0..500_usize).try_for_each(|n| queue.push(n)),
            |n| {
                most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if n % 7 == 0 {
                    thread::sleep(std::time::Duration::from_millis(1));
                }
                Ok(n * 2)
            },
            |n| {
                out.fetch_sub(1, Ordering::SeqCst);
                taken.push(n);
                Ok(())
            },
        )
        .unwrap();
        assert!(taken.iter().copied().eq((0..500).map(|n| n * 2)));
        let most = most.into_inner();
        assert!(most <= 2 * AHEAD_PER_WORKER + 3, "{most} at once");
    }

    #[test]
    fn the_first_error_ends_it() {
        let run = |bad_plan: bool, bad_work: bool, bad_take: bool| {
            in_order(
                TWO,
                |queue| {
                    for n in 0..1000 {
                        if bad_plan && n == 50 {
                            return Err(Error::invalid("plan"));
                        }
                        queue.push(n)?;
                    }
                    Ok(())
                },
                |n| {
                    if bad_work && n == 20 {
                        return Err(Error::corrupt("work"));
                    }
                    Ok(n)
                },
                |n| {
                    if bad_take && n == 10 {
                        return Err(Error::new(Class::Full, "take"));
                    }
                    Ok(())
                },
            )
        };
        assert_eq!(run(true, false, false).unwrap_err().what(), "plan");
        assert_eq!(run(true, true, false).unwrap_err().what(), "work");
        assert_eq!(run(true, true, true).unwrap_err().what(), "take");
        run(false, false, false).unwrap();
    }
}
