//! A stream cut into blocks that are compressed on several threads and written in order.
//!
//! What comes out depends on the input and the block size only, never on the number of threads or their speed: the same
//! export has the same bytes on every machine. Memory is bounded by the blocks in flight (twice the threads, and one that
//! is being filled); their buffers go round. The caller's thread writes, so the writer behind need not be `Send`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Compresses blocks; every thread has its own.
pub(super) trait Codec: Send + 'static {
    /// What is summed up over all blocks, in order (a check sum, or nothing).
    type Sum: Default + Send + 'static;

    /// Appends `input` in compressed form to `out`; `history` is what came directly before it.
    fn compress(
        &mut self,
        history: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<Self::Sum>;

    /// The sum over all blocks so far, and the one that follows.
    fn join(total: &mut Self::Sum, next: Self::Sum);
}

/// How a stream is cut.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Plain bytes of a block.
    pub(super) block_bytes: usize,
    /// How many bytes before it a block may refer to.
    pub(super) history_bytes: usize,
}

/// One block on its way to a worker and back; the buffers are used again.
#[derive(Default)]
struct Job {
    /// History, then input.
    plain: Vec<u8>,
    history_bytes: usize,
    last: bool,
    out: Vec<u8>,
}

/// A job that was done, with its sum.
type Reply<S> = io::Result<(Job, S)>;
/// A job, and where its result is awaited.
type Task<S> = (Job, Sender<Reply<S>>);

/// Cuts what is written into blocks; see the module.
pub(super) struct BlockWriter<W: Write, C: Codec> {
    inner: W,
    cut: Cut,
    current: Job,
    jobs: Option<Sender<Task<C::Sum>>>,
    waiting: VecDeque<Receiver<Reply<C::Sum>>>,
    workers: Vec<JoinHandle<()>>,
    spare: Vec<Job>,
    total: C::Sum,
}

impl<W: Write, C: Codec> BlockWriter<W, C> {
    /// Writes to `inner`, with one worker for each of `codecs` (at least one).
    pub(super) fn new(inner: W, cut: Cut, codecs: Vec<C>) -> Self {
        let (jobs, queue) = bounded(codecs.len() * 2);
        let workers = codecs.into_iter().map(|codec| {
            let queue = Receiver::clone(&queue);
            thread::spawn(move || work(codec, &queue))
        });
        Self {
            inner,
            cut,
            current: Job::default(),
            jobs: Some(jobs),
            waiting: VecDeque::new(),
            workers: workers.collect(),
            spare: Vec::new(),
            total: C::Sum::default(),
        }
    }

    /// Writes bytes of the container itself; only before the first block or after the last.
    pub(super) fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)
    }

    /// Compresses what is left as the last block and writes everything; answers the sum over all blocks.
    pub(super) fn finish(mut self) -> io::Result<(W, C::Sum)> {
        self.dispatch(true)?;
        while !self.waiting.is_empty() {
            self.write_oldest()?;
        }
        self.jobs = None;
        for worker in self.workers {
            worker.join().map_err(|_| lost_worker())?;
        }
        Ok((self.inner, self.total))
    }

    /// Hands the current block to the workers and begins the next with its end as history.
    fn dispatch(&mut self, last: bool) -> io::Result<()> {
        while self.waiting.len() >= self.workers.len() * 2 {
            self.write_oldest()?;
        }
        let mut next = self.spare.pop().unwrap_or_default();
        let keep = self.current.plain.len().min(self.cut.history_bytes);
        let tail = self.current.plain.len() - keep;
        next.plain.clear();
        next.plain.extend_from_slice(&self.current.plain[tail..]);
        next.history_bytes = keep;
        let mut job = std::mem::replace(&mut self.current, next);
        job.last = last;
        let (reply, result) = bounded(1);
        let jobs = self.jobs.as_ref().ok_or_else(lost_worker)?;
        jobs.send((job, reply)).map_err(|_| lost_worker())?;
        self.waiting.push_back(result);
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        if let Some(result) = self.waiting.pop_front() {
            let (job, sum) = result.recv().map_err(|_| lost_worker())??;
            self.inner.write_all(&job.out)?;
            C::join(&mut self.total, sum);
            self.spare.push(job);
        }
        Ok(())
    }
}

impl<W: Write, C: Codec> Write for BlockWriter<W, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block waits for more: only then is it known not to be the last.
        let mut room = self.room();
        if room == 0 && !bytes.is_empty() {
            self.dispatch(false)?;
            room = self.room();
        }
        let taken = room.min(bytes.len());
        let full = self.current.history_bytes + self.cut.block_bytes;
        let plain = &mut self.current.plain;
        if plain.capacity() < full {
            plain.reserve_exact(full - plain.len());
        }
        plain.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Passes on what was written so far; the block being filled stays, as cutting it would make the result depend on the flushes.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write, C: Codec> BlockWriter<W, C> {
    fn room(&self) -> usize {
        self.current.history_bytes + self.cut.block_bytes - self.current.plain.len()
    }
}

fn work<C: Codec>(mut codec: C, queue: &Receiver<Task<C::Sum>>) {
    while let Ok((mut job, reply)) = queue.recv() {
        job.out.clear();
        let (history, input) = job.plain.split_at(job.history_bytes);
        let sum = codec.compress(history, input, job.last, &mut job.out);
        // Nobody listens any more when the writer was given up.
        let _ = reply.send(sum.map(|sum| (job, sum)));
    }
}

fn lost_worker() -> io::Error {
    io::Error::other("a compression thread ended early")
}
