//! One file on its way into the target, filled by several workers in any order.
//!
//! Its content is planned as runs of chunks, each run in one block. Whoever writes a run takes the shared handle, and whoever
//! accounts for the last run finishes the file. A chunk that cannot be had spoils the whole file: its handle is dropped,
//! which removes what was written, and what stood there before stays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::first_names::{Fate, Spoiler};
use crate::entry::{EntryPath, Meta};
use crate::error::Result;
use crate::export::place::{Existing, FileHandle, Place};
use crate::repository::content::Content;

/// How many files may be open at once for runs still to come; further ones are written whole by one worker.
pub(super) const MAX_OPEN_FILES: usize = 128;

/// What a file is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing is there: create it.
    Create,
    /// Something is there: take its place.
    Replace,
    /// A file is there: only if its content differs, take its place.
    Compare,
}

impl Purpose {
    pub(super) fn existing(self) -> Existing {
        if self == Self::Create {
            Existing::Refuse
        } else {
            Existing::Replace
        }
    }
}

/// A planned file.
pub(super) struct FilePlan {
    /// Position of its root.
    pub(super) root: usize,
    pub(super) path: EntryPath,
    pub(super) meta: Meta,
    pub(super) content: Content,
    pub(super) purpose: Purpose,
    fate: Fate,
    /// Runs that are planned and not yet accounted for, and one for the planner while it may add more.
    outstanding: AtomicUsize,
    state: Mutex<State>,
}

enum State {
    /// Nothing was created yet.
    Waiting,
    Open(Arc<FileHandle>),
    /// Finished by one worker, whatever runs are still to come.
    Written,
    Spoiled,
}

/// What a worker gets to write a run into.
pub(super) enum Access {
    /// The run is all that is left of a file that was not begun: create, write and finish it.
    Alone(FileHandle),
    /// Write the run; others write others.
    Shared(Arc<FileHandle>),
    /// Too many files are open: write all of it now.
    Everything,
    /// It needs no more runs.
    Nothing,
}

impl FilePlan {
    pub(super) fn new(
        root: usize,
        path: EntryPath,
        meta: Meta,
        content: Content,
        purpose: Purpose,
        fate: Fate,
    ) -> Self {
        Self {
            root,
            path,
            meta,
            content,
            purpose,
            fate,
            outstanding: AtomicUsize::new(1),
            state: Mutex::new(State::Waiting),
        }
    }

    /// The planner adds runs.
    pub(super) fn expect(&self, runs: usize) {
        self.outstanding.fetch_add(runs, Ordering::Relaxed);
    }

    /// Accounts for runs; true for whoever accounts for the last.
    pub(super) fn settle(&self, runs: usize) -> bool {
        self.outstanding.fetch_sub(runs, Ordering::AcqRel) == runs
    }

    /// What to write `runs` runs into. `open` counts the files that are open for more than one worker.
    pub(super) fn access(&self, place: &Place, runs: usize, open: &AtomicUsize) -> Result<Access> {
        let mut state = self.state();
        match &*state {
            State::Open(handle) => return Ok(Access::Shared(Arc::clone(handle))),
            State::Written | State::Spoiled => return Ok(Access::Nothing),
            State::Waiting => {}
        }
        if self.outstanding.load(Ordering::Acquire) == runs {
            *state = State::Written;
            return self.create(place).map(Access::Alone);
        }
        if open.load(Ordering::Relaxed) >= MAX_OPEN_FILES {
            *state = State::Written;
            return Ok(Access::Everything);
        }
        let handle = Arc::new(self.create(place)?);
        open.fetch_add(1, Ordering::Relaxed);
        *state = State::Open(Arc::clone(&handle));
        Ok(Access::Shared(handle))
    }

    /// The handle of a file whose runs are all accounted for; `None` if there is nothing to finish.
    pub(super) fn take(&self, open: &AtomicUsize) -> Option<FileHandle> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Written) {
            State::Open(handle) => {
                open.fetch_sub(1, Ordering::Relaxed);
                // Every other worker dropped its share before it accounted for its runs.
                Arc::into_inner(handle)
            }
            State::Spoiled => {
                *state = State::Spoiled;
                None
            }
            State::Waiting | State::Written => None,
        }
    }

    /// Gives the file up; true for the first who does.
    pub(super) fn spoil(&self, open: &AtomicUsize, by: Spoiler) -> bool {
        let mut state = self.state();
        self.fate.spoil(by);
        match std::mem::replace(&mut *state, State::Spoiled) {
            State::Spoiled => false,
            State::Open(_) => {
                open.fetch_sub(1, Ordering::Relaxed);
                true
            }
            State::Waiting | State::Written => true,
        }
    }

    pub(super) fn is_spoiled(&self) -> bool {
        matches!(*self.state(), State::Spoiled)
    }

    pub(super) fn create(&self, place: &Place) -> Result<FileHandle> {
        place.create_file(&self.path, self.meta.mode, self.purpose.existing())
    }

    /// Gives a complete file its length and metadata, and its name.
    pub(super) fn finish(&self, handle: FileHandle) -> Result<()> {
        // Content in chunks up to the end has set the length already.
        if self.content.data_bytes() < self.content.len() {
            handle.set_len(self.content.len())?;
        }
        handle.finish(&self.meta)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
