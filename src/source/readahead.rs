//! Reads a large file in order, one segment ahead of whoever consumes it: so a cold read overlaps with hashing.
//!
//! A thread reads segments into a few buffers that go round; the kernel is told what comes next, because its own read-ahead is
//! too short for a fast disk. Holes are passed over without reading.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::extents;
use crate::entry::Extent;
use crate::error::{Error, Result};

/// One read.
pub(crate) const SEGMENT_BYTES: usize = 1 << 20;
/// How far ahead of the reads the kernel is told to read.
const ADVISED_BYTES: u64 = 8 << 20;
/// Buffers that go round between the thread and the consumer.
const BUFFERS: usize = 4;
/// Below this a thread costs more than it gives.
const THREAD_FROM_BYTES: u64 = 4 << 20;

/// What to read.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) file: BorrowedFd<'a>,
    /// Read up to here, or to the end of the file if that comes first. `u64::MAX`: to the end.
    pub(crate) size: u64,
    /// Look for holes.
    pub(crate) sparse: bool,
    /// The ranges of data if they were listed before; else they are asked for on the way.
    pub(crate) extents: Option<&'a [Extent]>,
}

/// A piece of content.
#[derive(Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// Bytes, never empty.
    Data(&'a [u8]),
    /// A hole of that length, above 0.
    Hole(u64),
}

/// Why reading ended early.
pub(crate) enum Stop {
    /// The consumer failed, or the producer for another reason than reading.
    Failed(Error),
    /// The file could not be read at this offset.
    Read(u64, io::Error),
}

/// Reads all of `plan` into `consume`; returns how many bytes came, holes included: fewer than planned if the file is shorter.
pub(crate) fn pump(
    plan: &Plan<'_>,
    consume: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<u64, Stop> {
    if plan.size <= THREAD_FROM_BYTES {
        return inline(plan, consume);
    }
    // Nothing to do about a file system that takes no advice.
    let _ = fadvise(plan.file, 0, None, Advice::Sequential);
    let plan = *plan;
    ahead(move |feed| produce(&plan, feed), consume)
}

/// Runs `produce` on a thread, a few buffers ahead of `consume`; returns how many bytes came, holes included.
pub(crate) fn ahead(
    produce: impl FnOnce(&Feed) -> Result<(), Stop> + Send,
    consume: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<u64, Stop> {
    thread::scope(|scope| {
        let (filled_in, filled) = bounded(BUFFERS);
        let (spent, spent_out) = bounded(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for all of them.
            let _ = spent.send(Vec::new());
        }
        let feed = Feed {
            filled: filled_in,
            spent: spent_out,
        };
        let work = move || {
            if let Err(stop) = produce(&feed) {
                // If nobody listens, nobody needs to know.
                let _ = feed.filled.send(Step::Stopped(stop));
            }
        };
        thread::Builder::new()
            .name("read-ahead".into())
            .spawn_scoped(scope, work)
            .map_err(|error| Stop::Read(0, error))?;
        let mut total = 0;
        for step in filled {
            match step {
                Step::Data(buffer) => {
                    if !buffer.is_empty() {
                        consume(Piece::Data(&buffer)).map_err(Stop::Failed)?;
                        total += buffer.len() as u64;
                    }
                    // The thread may have ended: then nobody needs the buffer.
                    let _ = spent.send(buffer);
                }
                Step::Hole(len) => {
                    consume(Piece::Hole(len)).map_err(Stop::Failed)?;
                    total += len;
                }
                Step::Stopped(stop) => return Err(stop),
            }
        }
        Ok(total)
    })
}

/// Where a producer on its thread gets buffers and puts what it made.
pub(crate) struct Feed {
    filled: Sender<Step>,
    spent: Receiver<Vec<u8>>,
}

enum Step {
    Data(Vec<u8>),
    Hole(u64),
    Stopped(Stop),
}

impl Feed {
    /// A buffer of [`SEGMENT_BYTES`] with any content. `None`: nobody wants more.
    pub(crate) fn buffer(&self) -> Option<Vec<u8>> {
        let mut buffer = self.spent.recv().ok()?;
        buffer.resize(SEGMENT_BYTES, 0);
        Some(buffer)
    }

    /// Passes on a buffer that came from here, cut to its content. False: nobody wants more.
    pub(crate) fn data(&self, buffer: Vec<u8>) -> bool {
        self.filled.send(Step::Data(buffer)).is_ok()
    }

    /// Passes on a hole; an empty one is nothing.
    pub(crate) fn hole(&self, len: u64) -> bool {
        len == 0 || self.filled.send(Step::Hole(len)).is_ok()
    }
}

/// The thread that reads a file.
fn produce(plan: &Plan<'_>, feed: &Feed) -> Result<(), Stop> {
    walk(plan, &mut |task| {
        let go_on = match task {
            Task::Hole(len) => feed.hole(len),
            Task::Read(at, len) => {
                let Some(mut buffer) = feed.buffer() else {
                    return Ok(Next::Stop);
                };
                advise(plan, at);
                let got = read_full(plan.file, buffer.get_mut(..len).unwrap_or_default(), at)
                    .map_err(|error| (at, error))?;
                buffer.truncate(got);
                feed.data(buffer) && got == len
            }
        };
        Ok(if go_on { Next::Continue } else { Next::Stop })
    })
    .map_err(|(at, error)| Stop::Read(at, error))
}

/// The same without a thread.
fn inline(plan: &Plan<'_>, consume: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<u64, Stop> {
    let mut buffer = Vec::new();
    let mut total = 0;
    let mut failed = None;
    let outcome = walk(plan, &mut |task| {
        let (piece, short) = match task {
            Task::Hole(len) => (Piece::Hole(len), false),
            Task::Read(at, len) => {
                buffer.resize(SEGMENT_BYTES, 0);
                let room = buffer.get_mut(..len).unwrap_or_default();
                let got = read_full(plan.file, room, at).map_err(|error| (at, error))?;
                (
                    Piece::Data(buffer.get(..got).unwrap_or_default()),
                    got < len,
                )
            }
        };
        let len = match &piece {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Hole(len) => *len,
        };
        if len > 0
            && let Err(error) = consume(piece)
        {
            failed = Some(error);
            return Ok(Next::Stop);
        }
        total += len;
        Ok(if short { Next::Stop } else { Next::Continue })
    });
    match (failed, outcome) {
        (Some(error), _) => Err(Stop::Failed(error)),
        (None, Err((at, error))) => Err(Stop::Read(at, error)),
        (None, Ok(())) => Ok(total),
    }
}

enum Task {
    Hole(u64),
    /// Offset and length of one read.
    Read(u64, usize),
}

enum Next {
    Continue,
    Stop,
}

/// Splits the plan into holes and reads of one segment at most.
fn walk(
    plan: &Plan<'_>,
    act: &mut dyn FnMut(Task) -> Result<Next, (u64, io::Error)>,
) -> Result<(), (u64, io::Error)> {
    let mut at = 0;
    let mut listed = plan.extents.map(|extents| extents.iter());
    while at < plan.size {
        let whole = Extent {
            offset: at,
            len: plan.size - at,
        };
        let extent = match &mut listed {
            Some(rest) => rest.next().copied(),
            None if plan.sparse => {
                extents::next(plan.file, at, plan.size).map_err(|e| (at, e.into()))?
            }
            None => Some(whole),
        };
        let data = extent.map_or(plan.size, |extent| extent.offset);
        if data > at && matches!(act(Task::Hole(data - at))?, Next::Stop) {
            return Ok(());
        }
        let end = extent.map_or(plan.size, |extent| extent.offset.saturating_add(extent.len));
        at = data;
        while at < end {
            let len = usize::try_from(end - at).map_or(SEGMENT_BYTES, |n| n.min(SEGMENT_BYTES));
            if matches!(act(Task::Read(at, len))?, Next::Stop) {
                return Ok(());
            }
            at += len as u64;
        }
    }
    Ok(())
}

/// Tells the kernel what will be read soon.
fn advise(plan: &Plan<'_>, at: u64) {
    let ahead = at.saturating_add(ADVISED_BYTES);
    let (from, len) = if at == 0 {
        (0, ADVISED_BYTES)
    } else {
        (ahead, SEGMENT_BYTES as u64)
    };
    if from < plan.size {
        // Advice only: a refusal costs speed, nothing else.
        let _ = fadvise(plan.file, from, NonZeroU64::new(len), Advice::WillNeed);
    }
}

/// Fills `buffer` from `at` on; fewer bytes only at the end of the file.
pub(crate) fn read_full(file: impl AsFd, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        let room = buffer.get_mut(got..).unwrap_or_default();
        match rustix::io::pread(&file, room, at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(got)
}
