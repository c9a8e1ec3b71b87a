//! The order of the stream: walks the listings depth first and cuts the walk into batches of names for the readers.
//!
//! A batch is a run of the walk, across directories, small enough to be one unit of work and of memory. Nothing is opened or
//! asked about here but directories.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ahead::{Ahead, Listed};
use super::handle::Dir;
use super::listing::Listing;
use super::load::Item;
use crate::entry::EntryPath;

/// Names in one batch at most.
const BATCH_NAMES: usize = 64;
/// Bytes of paths in one batch: in a very deep tree every path is long.
const BATCH_PATH_BYTES: usize = 256 << 10;
/// Below this a tree is no tree any more: a file system that makes up directories must not fill the memory.
const DEPTH_LIMIT: usize = 1 << 16;

/// What a reader has to do, in the order of the stream.
#[derive(Debug)]
pub(super) enum Step {
    /// Emit the directory itself.
    Directory(EntryPath, Arc<Listing>),
    /// Emit a range of its names, none of them a directory.
    Names {
        dir: Arc<Dir>,
        path: EntryPath,
        listing: Arc<Listing>,
        range: Range<usize>,
    },
    /// Emit the one name in `dir` as `path`, whatever it is.
    Single {
        dir: Arc<Dir>,
        name: Box<[u8]>,
        path: EntryPath,
    },
    /// Warn.
    Problem(String),
}

/// One unit of work for a reader.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) steps: Vec<Step>,
    pub(super) reply: Sender<Vec<Item>>,
}

/// The emitter went away: stop quietly.
pub(super) struct Gone;

/// Walks and sends batches: to the readers, and where each will be answered to the emitter, in order.
pub(super) struct Walk<'a> {
    ahead: &'a Ahead<'a>,
    show: &'a (dyn Fn(&EntryPath) -> String + Sync),
    batches: Sender<Batch>,
    order: Sender<Receiver<Vec<Item>>>,
    steps: Vec<Step>,
    names: usize,
    path_bytes: usize,
    number: u64,
}

struct Frame {
    listed: Listed,
    at: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        ahead: &'a Ahead<'a>,
        show: &'a (dyn Fn(&EntryPath) -> String + Sync),
        batches: Sender<Batch>,
        order: Sender<Receiver<Vec<Item>>>,
    ) -> Self {
        Self {
            ahead,
            show,
            batches,
            order,
            steps: Vec::new(),
            names: 0,
            path_bytes: 0,
            number: 0,
        }
    }

    /// Adds one entry that is not below a directory of the walk.
    pub(super) fn single(
        &mut self,
        dir: &Arc<Dir>,
        name: &[u8],
        path: &EntryPath,
    ) -> Result<(), Gone> {
        self.path_bytes += path.as_bytes().len();
        self.add(
            Step::Single {
                dir: dir.clone(),
                name: name.into(),
                path: path.clone(),
            },
            1,
        )
    }

    /// Adds a whole tree; its root becomes `root_path`.
    pub(super) fn tree(&mut self, root: &Arc<Dir>, root_path: &EntryPath) -> Result<(), Gone> {
        let mut path = root_path.clone();
        let mut stack = match self.ahead.list(root) {
            Ok(listed) => vec![self.enter(listed, &path)?],
            Err(error) => {
                let message = format!("read directory {}: {error}", (self.show)(&path));
                return self.add(Step::Problem(message), 1);
            }
        };
        while let Some(frame) = stack.last_mut() {
            let start = frame.at;
            let listing = frame.listed.listing.clone();
            while matches!(listing.get(frame.at), Some((_, false))) {
                frame.at += 1;
            }
            let (end, dir) = (frame.at, frame.listed.dir.clone());
            frame.at += 1;
            self.files(&dir, &path, &listing, start..end)?;
            let Some((name, _)) = listing.get(end) else {
                stack.pop();
                path = path.parent().unwrap_or_default();
                continue;
            };
            let Some(result) = self.ahead.child(&mut frame.listed, end) else {
                continue;
            };
            let below = match path.join(name) {
                Ok(below) => below,
                Err(error) => {
                    let (shown, name) = ((self.show)(&path), name.escape_ascii());
                    let message = format!("{shown}/{name}: {error}; it is left out");
                    self.add(Step::Problem(message), 1)?;
                    continue;
                }
            };
            let result = match result {
                Ok(_) if stack.len() >= DEPTH_LIMIT => Err(io::Error::other("nested too deeply")),
                result => result,
            };
            match result {
                Ok(listed) => {
                    stack.push(self.enter(listed, &below)?);
                    path = below;
                }
                Err(error) => self.unreadable(&dir, name, &below, &error)?,
            }
        }
        Ok(())
    }

    /// Begins a directory: its own entry comes before what is in it.
    fn enter(&mut self, listed: Listed, path: &EntryPath) -> Result<Frame, Gone> {
        let listing = listed.listing.clone();
        if let Some(error) = &listing.incomplete {
            let shown = (self.show)(path);
            let message =
                format!("read directory {shown}: {error}; what was not listed is left out");
            self.add(Step::Problem(message), 1)?;
        }
        self.path_bytes += path.as_bytes().len();
        self.add(Step::Directory(path.clone(), listing), 1)?;
        Ok(Frame { listed, at: 0 })
    }

    /// A directory whose names cannot be read is kept for itself, unless it vanished.
    fn unreadable(
        &mut self,
        parent: &Arc<Dir>,
        name: &[u8],
        path: &EntryPath,
        error: &io::Error,
    ) -> Result<(), Gone> {
        let shown = (self.show)(path);
        let there = error.kind() == io::ErrorKind::PermissionDenied;
        let rest = if there { "what is in it" } else { "it" };
        let message = format!("read directory {shown}: {error}; {rest} is left out");
        self.add(Step::Problem(message), 1)?;
        if there {
            self.single(parent, name, path)?;
        }
        Ok(())
    }

    /// Adds a run of names, split so that no batch grows too large.
    fn files(
        &mut self,
        dir: &Arc<Dir>,
        path: &EntryPath,
        listing: &Arc<Listing>,
        mut range: Range<usize>,
    ) -> Result<(), Gone> {
        let each = path.as_bytes().len() + 32;
        while !range.is_empty() {
            let room = (BATCH_PATH_BYTES / each)
                .min(BATCH_NAMES - self.names)
                .max(1);
            let end = range.end.min(range.start + room);
            let names = end - range.start;
            self.path_bytes += names * each;
            self.add(
                Step::Names {
                    dir: dir.clone(),
                    path: path.clone(),
                    listing: listing.clone(),
                    range: range.start..end,
                },
                names,
            )?;
            range.start = end;
        }
        Ok(())
    }

    fn add(&mut self, step: Step, names: usize) -> Result<(), Gone> {
        self.steps.push(step);
        self.names += names;
        if self.names >= BATCH_NAMES || self.path_bytes >= BATCH_PATH_BYTES {
            return self.flush();
        }
        Ok(())
    }

    /// Sends what was collected; to be called at the end as well.
    pub(super) fn flush(&mut self) -> Result<(), Gone> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let (reply, answer) = bounded(1);
        let batch = Batch {
            number: self.number,
            steps: std::mem::take(&mut self.steps),
            reply,
        };
        self.number += 1;
        self.names = 0;
        self.path_bytes = 0;
        self.order.send(answer).map_err(|_| Gone)?;
        self.batches.send(batch).map_err(|_| Gone)
    }
}
