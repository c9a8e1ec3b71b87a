//! Directories are listed ahead of the walk by a few threads: on a cold cache each costs a wait for the disk.
//!
//! Nobody waits for a thread to become free: the walk lists a directory itself if no thread has begun with it. What is
//! listed but not yet walked is bounded in bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::handle::{Dir, Handles, lock};
use super::listing::{Filter, Listing};

/// Memory for listings that the walk has not come to.
const AHEAD_BYTES: usize = 8 << 20;
/// Subdirectories of one directory that are queued at a time.
const QUEUED_CHILDREN: usize = 64;

/// The queue between the walk and the listing threads.
#[derive(Debug)]
pub(super) struct Ahead<'a> {
    handles: &'a Handles,
    filter: &'a Filter,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The next to list is at the back.
    pending: VecDeque<Arc<Pending>>,
    ahead_bytes: usize,
    closed: bool,
}

/// A directory that will be needed.
#[derive(Debug)]
pub(super) struct Pending {
    dir: Arc<Dir>,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug)]
enum State {
    Queued,
    /// A thread is at it.
    Running,
    Done(io::Result<Listed>),
    /// The walk has it.
    Taken,
}

/// A directory that was listed, and its next subdirectories, which are queued.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) dir: Arc<Dir>,
    pub(super) listing: Arc<Listing>,
    children: VecDeque<(usize, Arc<Pending>)>,
    /// Names before this one were looked at for subdirectories.
    looked_at: usize,
}

impl Listed {
    fn bytes(&self) -> usize {
        self.listing.bytes() + self.children.len() * (size_of::<Pending>() + size_of::<Dir>())
    }

    /// The next subdirectory that is not yet among the children.
    fn grow(&mut self) -> Option<Arc<Pending>> {
        while self.looked_at < self.listing.len() {
            let at = self.looked_at;
            self.looked_at += 1;
            if let Some((name, true)) = self.listing.get(at) {
                let pending = Arc::new(Pending {
                    dir: Dir::child(&self.dir, name),
                    state: Mutex::new(State::Queued),
                    done: Condvar::new(),
                });
                self.children.push_back((at, pending.clone()));
                return Some(pending);
            }
        }
        None
    }
}

impl<'a> Ahead<'a> {
    pub(super) fn new(handles: &'a Handles, filter: &'a Filter) -> Self {
        Self {
            handles,
            filter,
            queue: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// A listing thread: works until [`Ahead::close`].
    pub(super) fn work(&self) {
        while let Some(pending) = self.next() {
            {
                let mut state = lock(&pending.state);
                if !matches!(*state, State::Queued) {
                    continue;
                }
                *state = State::Running;
            }
            let listed = self.list(&pending.dir);
            if let Ok(listed) = &listed {
                lock(&self.queue).ahead_bytes += listed.bytes();
            }
            *lock(&pending.state) = State::Done(listed);
            pending.done.notify_one();
        }
    }

    fn next(&self) -> Option<Arc<Pending>> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            if queue.ahead_bytes < AHEAD_BYTES
                && let Some(pending) = queue.pending.pop_back()
            {
                return Some(pending);
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lists `dir` now, on the calling thread.
    pub(super) fn list(&self, dir: &Arc<Dir>) -> io::Result<Listed> {
        let path = match &self.filter.exclude {
            Some(_) => dir.path(),
            None => Vec::new(),
        };
        let listing = Listing::read(dir, self.handles, self.filter, &path)?;
        let mut listed = Listed {
            dir: dir.clone(),
            listing: Arc::new(listing),
            children: VecDeque::new(),
            looked_at: 0,
        };
        while listed.children.len() < QUEUED_CHILDREN && listed.grow().is_some() {}
        if !listed.children.is_empty() {
            let children = listed.children.iter().rev().map(|(_, child)| child.clone());
            lock(&self.queue).pending.extend(children);
            self.wake.notify_all();
        }
        Ok(listed)
    }

    /// The walk has come to the subdirectory that is name number `at` in `parent`.
    pub(super) fn child(&self, parent: &mut Listed, at: usize) -> Option<io::Result<Listed>> {
        while parent
            .children
            .front()
            .is_some_and(|(first, _)| *first < at)
        {
            parent.children.pop_front();
        }
        let pending = match parent.children.pop_front() {
            Some((first, pending)) if first == at => pending,
            _ => return None,
        };
        if let Some(more) = parent.grow() {
            lock(&self.queue).pending.push_front(more);
            self.wake.notify_one();
        }
        Some(self.take(&pending))
    }

    fn take(&self, pending: &Pending) -> io::Result<Listed> {
        let mut state = lock(&pending.state);
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Queued => {
                    drop(state);
                    return self.list(&pending.dir);
                }
                State::Running => {
                    *state = State::Running;
                    state = pending
                        .done
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                State::Done(listed) => {
                    if let Ok(listed) = &listed {
                        lock(&self.queue).ahead_bytes -= listed.bytes();
                        self.wake.notify_one();
                    }
                    return listed;
                }
                State::Taken => return Err(io::Error::other("a directory was taken twice")),
            }
        }
    }

    /// Ends the listing threads.
    pub(super) fn close(&self) {
        lock(&self.queue).closed = true;
        self.wake.notify_all();
    }
}
