//! Directory handles: every file is opened relative to the handle of its directory, never by a long path.
//!
//! So paths longer than `PATH_MAX` work, and a directory that someone swaps for a symbolic link in the middle of a walk is
//! not followed out of the tree. Holding one handle per level would bound the depth by the limit on open files:
//! instead a [`Dir`] remembers its parent, its name and its identity, [`Handles`] keeps the most recent ones open, and one that
//! was closed is opened again from the nearest open ancestor. It must then still be the same inode.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::facts::Facts;

/// How many directories stay open, with the landings well below the usual limit of 1024 open files.
const OPEN_DIRECTORIES: usize = 256;
/// Every so many levels is a landing, which stays open longer: the way back up a very deep tree begins there.
const LANDING_LEVELS: u32 = 128;
/// How many landings stay open.
const OPEN_LANDINGS: usize = 128;

/// Open handles, oldest first. The oldest is closed when there are too many.
#[derive(Debug, Default)]
pub(super) struct Handles {
    usual: Mutex<VecDeque<Weak<Dir>>>,
    landings: Mutex<VecDeque<Weak<Dir>>>,
}

/// One directory of the walk.
#[derive(Debug)]
pub(super) struct Dir {
    /// The directory above and the name there; `None` for a root, which stays open.
    place: Option<(Arc<Dir>, Box<[u8]>)>,
    /// Levels below the root.
    depth: u32,
    handle: Mutex<Option<Arc<OwnedFd>>>,
    /// Device and inode, once it was opened for the first time.
    identity: OnceLock<(u64, u64)>,
}

impl Handles {
    /// Notes that `dir` was opened, and closes the one opened longest ago if there are too many.
    fn opened(&self, dir: &Arc<Dir>) {
        let (open, limit) = if dir.depth.is_multiple_of(LANDING_LEVELS) {
            (&self.landings, OPEN_LANDINGS)
        } else {
            (&self.usual, OPEN_DIRECTORIES)
        };
        let mut open = lock(open);
        open.push_back(Arc::downgrade(dir));
        while open.len() > limit {
            if let Some(oldest) = open.pop_front().and_then(|dir| dir.upgrade()) {
                lock(&oldest.handle).take();
            }
        }
    }
}

impl Dir {
    /// A directory that the caller named: symbolic links in its path are followed.
    pub(super) fn root(path: &Path) -> io::Result<Arc<Self>> {
        let handle = open_with(CWD, path.as_os_str().as_bytes(), OFlags::DIRECTORY)?;
        let facts = Facts::of_handle(&handle)?;
        Ok(Arc::new(Self {
            place: None,
            depth: 0,
            handle: Mutex::new(Some(Arc::new(handle))),
            identity: OnceLock::from((facts.device, facts.inode)),
        }))
    }

    /// The directory `name` in `parent`; it is not opened yet.
    pub(super) fn child(parent: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            place: Some((parent.clone(), name.into())),
            depth: parent.depth.saturating_add(1),
            handle: Mutex::new(None),
            identity: OnceLock::new(),
        })
    }

    /// Its handle; opened, or opened again, where needed.
    pub(super) fn open(self: &Arc<Self>, handles: &Handles) -> io::Result<Arc<OwnedFd>> {
        if let Some(handle) = self.current() {
            return Ok(handle);
        }
        let mut chain = Vec::new();
        let mut at = self;
        let mut handle = loop {
            let Some((parent, name)) = &at.place else {
                return Err(io::Error::from(Errno::BADF));
            };
            chain.push((at, name));
            if let Some(handle) = parent.current() {
                break handle;
            }
            at = parent;
        };
        while let Some((dir, name)) = chain.pop() {
            let opened = open_with(&handle, name, OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
            handle = Arc::new(opened);
            if let Some(identity) = dir.identity.get() {
                let facts = Facts::of_handle(&handle)?;
                if *identity != (facts.device, facts.inode) {
                    return Err(io::Error::other(
                        "a directory above it was moved or replaced",
                    ));
                }
            }
            *lock(&dir.handle) = Some(handle.clone());
            handles.opened(dir);
        }
        Ok(handle)
    }

    /// Records which inode it is, when it was opened for the first time.
    pub(super) fn identify(&self, facts: &Facts) {
        // Set already only if two threads opened it: then a difference shows at the next opening.
        let _ = self.identity.set((facts.device, facts.inode));
    }

    /// Its path below its root, names joined by slashes.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some((parent, name)) = &at.place {
            names.push(&**name);
            at = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The device of its root.
    pub(super) fn root_device(&self) -> Option<u64> {
        let mut at = self;
        while let Some((parent, _)) = &at.place {
            at = parent;
        }
        at.identity.get().map(|(device, _)| *device)
    }

    fn current(&self) -> Option<Arc<OwnedFd>> {
        lock(&self.handle).clone()
    }
}

impl Drop for Dir {
    /// Gives up the chain of parents in a loop: the derived recursion would overflow the stack in a very deep tree.
    fn drop(&mut self) {
        let mut above = self.place.take();
        while let Some((parent, _)) = above {
            above = Arc::into_inner(parent).and_then(|mut dir| dir.place.take());
        }
    }
}

/// Opens the file `name` in `dir` for reading: never through a symbolic link, never blocking on a pipe.
pub(super) fn open_file(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    open_with(dir, name, OFlags::NOFOLLOW | OFlags::NONBLOCK)
}

/// Opens without touching the access time, where we may ask for that (owner or root).
fn open_with(dir: impl AsFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let name = OsStr::from_bytes(name);
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    match openat(&dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => Ok(openat(&dir, name, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// A poisoned lock only says that some thread panicked; what it guards is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
