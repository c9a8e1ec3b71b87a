//! What a restore says about itself: each step as it is planned, each loss as it is met, and the sums at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::format::content::total_data;
use crate::format::tree::{Body, Node};
use crate::id::SnapshotId;
use crate::progress::Monitor;
use crate::repository::content::Content;

/// How many losses are kept one by one; all of them are counted and go to the monitor.
const MAX_LOSSES: usize = 10_000;

/// What is done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there and is made.
    Create,
    /// Something is there and is replaced.
    Replace,
    /// A file is there that may be the same: it is read, and replaced if it is not.
    Compare,
    /// What is there has the right content and gets the metadata.
    Refresh,
    /// What is there stays as it is.
    Keep,
    /// It cannot be restored.
    LeaveOut,
}

impl Action {
    /// The word for it in output and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Compare => "compare",
            Self::Refresh => "refresh",
            Self::Keep => "keep",
            Self::LeaveOut => "leave-out",
        }
    }
}

/// One entry as it is planned.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What is done with it.
    pub action: Action,
    /// Where, relative to the target.
    pub path: &'a EntryPath,
    /// What it is, as [`Kind::name`](crate::entry::Kind::name) says it.
    pub kind: &'static str,
    /// Logical size of a file.
    pub bytes: u64,
}

/// An entry that is in the snapshot and could not be restored, because the repository is damaged or does not have it.
#[derive(Debug)]
pub struct Loss {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The path in the snapshot.
    pub path: EntryPath,
    /// Why.
    pub error: Error,
}

/// The sums of a restore.
#[derive(Debug, Default)]
pub struct RestoreSummary {
    /// Where it is: the target, or its staging place while nothing has its final name.
    pub place: PathBuf,
    /// Files that were written, or would be.
    pub files: u64,
    /// Directories made or given their metadata.
    pub directories: u64,
    /// Links, devices, pipes and sockets made, further names of files among them.
    pub others: u64,
    /// Entries that were there and stayed (their metadata may have been set).
    pub kept: u64,
    /// Logical bytes of the files written.
    pub bytes: u64,
    /// Bytes of those that take space: the rest are holes and zeros.
    pub data_bytes: u64,
    /// Entries that were planned and that the target did not take.
    pub left_out: u64,
    /// Files read back and compared.
    pub verified: u64,
    /// How many entries were lost. Above 0 is an integrity failure, although the rest was restored.
    pub lost: u64,
    /// The first of them.
    pub losses: Vec<Loss>,
}

impl RestoreSummary {
    /// Counts a planned step and tells of it.
    pub(super) fn step(
        &mut self,
        action: Action,
        path: &EntryPath,
        kind: &'static str,
        node: &Node,
        each: &mut dyn FnMut(&Step<'_>),
    ) {
        let (bytes, data_bytes) = match &node.body {
            Body::File { size, content } if kind == "file" => (*size, total_data(content)),
            _ => (0, 0),
        };
        match action {
            Action::Keep => self.kept += 1,
            Action::LeaveOut => self.left_out += 1,
            Action::Refresh if kind != "directory" => self.kept += 1,
            _ => match kind {
                "file" => {
                    self.files += 1;
                    self.bytes += bytes;
                    self.data_bytes += data_bytes;
                }
                "directory" => self.directories += 1,
                _ => self.others += 1,
            },
        }
        each(&Step {
            action,
            path,
            kind,
            bytes,
        });
    }
}

/// What was counted when it was planned and did not come to be.
#[derive(Default)]
struct Unmade {
    files: AtomicU64,
    others: AtomicU64,
    bytes: AtomicU64,
    data_bytes: AtomicU64,
    /// How many of these the target refused.
    left_out: AtomicU64,
}

/// What workers report to; shared by threads.
pub(super) struct Report<'a> {
    monitor: &'a dyn Monitor,
    losses: Mutex<Vec<Loss>>,
    lost: AtomicU64,
    pub(super) verified: AtomicU64,
    unmade: Unmade,
    fatal: Mutex<Option<Error>>,
    stopped: AtomicBool,
}

impl<'a> Report<'a> {
    pub(super) fn new(monitor: &'a dyn Monitor) -> Self {
        Self {
            monitor,
            losses: Mutex::default(),
            lost: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            unmade: Unmade::default(),
            fatal: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn monitor(&self) -> &'a dyn Monitor {
        self.monitor
    }

    /// An entry is lost; the rest goes on.
    pub(super) fn lose(&self, snapshot: SnapshotId, path: EntryPath, error: Error) {
        self.monitor.warn(&format!(
            "{} is damaged in the repository and left out: {error}",
            path.quoted()
        ));
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut losses = lock(&self.losses);
        if losses.len() < MAX_LOSSES {
            losses.push(Loss {
                snapshot,
                path,
                error,
            });
        }
    }

    /// A planned file is not there after all: it is lost, or the target refused it.
    pub(super) fn unmake_file(&self, content: &Content, refused: bool) {
        let add = |count: &AtomicU64, n| count.fetch_add(n, Ordering::Relaxed);
        add(&self.unmade.files, 1);
        add(&self.unmade.bytes, content.len());
        add(&self.unmade.data_bytes, content.data_bytes());
        add(&self.unmade.left_out, u64::from(refused));
    }

    /// The same for one more name of a file.
    pub(super) fn unmake_link(&self, refused: bool) {
        self.unmade.others.fetch_add(1, Ordering::Relaxed);
        let left_out = u64::from(refused);
        self.unmade.left_out.fetch_add(left_out, Ordering::Relaxed);
    }

    /// Nothing can go on; the first reason counts.
    pub(super) fn stop(&self, error: Error) {
        lock(&self.fatal).get_or_insert(error);
        self.halt();
    }

    /// What is still to be done is no longer wanted.
    pub(super) fn halt(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The reason to stop, if there is one.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_stopped() {
            return Err(lock(&self.fatal).take().unwrap_or_else(interrupted));
        }
        if self.monitor.interrupted() {
            return Err(interrupted());
        }
        Ok(())
    }

    /// Moves the losses into a summary.
    pub(super) fn settle(self, summary: &mut RestoreSummary) {
        summary.lost = self.lost.into_inner();
        summary.losses = self
            .losses
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        summary.verified = self.verified.into_inner();
        let take = |from: &mut u64, unmade: AtomicU64| {
            *from = from.saturating_sub(unmade.into_inner());
        };
        take(&mut summary.files, self.unmade.files);
        take(&mut summary.others, self.unmade.others);
        take(&mut summary.bytes, self.unmade.bytes);
        take(&mut summary.data_bytes, self.unmade.data_bytes);
        summary.left_out += self.unmade.left_out.into_inner();
    }
}

fn interrupted() -> Error {
    Error::new(Class::Interrupted, "the restore was interrupted")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
