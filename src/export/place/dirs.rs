//! From a path to the handle of its directory, without ever following a symbolic link.
//!
//! A bounded cache of handles answers nearly every question, as trees are filled depth first; a miss resolves the missing
//! rest from the nearest cached ancestor: by `openat2` beneath that handle, or name by name with `O_NOFOLLOW` where the
//! kernel (or a sandbox) does not offer it. Both refuse `..`, absolute paths and links, so no name can lead out. Paths longer
//! than `PATH_MAX` are resolved in pieces.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

use super::Given;
use crate::entry::EntryPath;

/// Handles kept open; far below the usual limit of 1024 per process.
const CACHED_DIRS: usize = 128;
/// The longest path given to one call: below `PATH_MAX` (4096).
const PIECE_BYTES: usize = 3800;

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open directory, and what it gives to what is created in it.
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    /// It has a default ACL, which every new child inherits.
    pub(super) inherits_acl: bool,
    /// Owner and group of what is created in it, once seen: a setgid directory or a mount option decides the group.
    pub(super) gives: OnceLock<(u32, u32)>,
}

impl Dir {
    /// A directory that existed: it is asked for its default ACL.
    pub(super) fn opened(fd: OwnedFd) -> Self {
        let inherits_acl = fs::fgetxattr(&fd, "system.posix_acl_default", &mut [0_u8; 0]).is_ok();
        Self {
            fd,
            inherits_acl,
            gives: OnceLock::new(),
        }
    }

    /// A directory just made in `parent`.
    pub(super) fn created(fd: OwnedFd, parent: &Self) -> Self {
        Self {
            fd,
            inherits_acl: parent.inherits_acl,
            gives: OnceLock::new(),
        }
    }
}

/// The directories beneath a root, by path.
pub(super) struct Dirs {
    root: Arc<Dir>,
    cache: Mutex<Cache>,
    beneath: AtomicBool,
}

#[derive(Default)]
struct Cache {
    open: HashMap<EntryPath, (Arc<Dir>, u64)>,
    clock: u64,
}

impl Dirs {
    pub(super) fn new(root: Dir) -> Self {
        Self {
            root: Arc::new(root),
            cache: Mutex::default(),
            beneath: AtomicBool::new(true),
        }
    }

    /// Resolves name by name, as on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn without_openat2(&self) {
        self.beneath.store(false, Ordering::Relaxed);
    }

    pub(super) fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// The handle of `path`, from the cache or by resolving it.
    pub(super) fn get(&self, path: &EntryPath) -> Result<Arc<Dir>> {
        if path.is_root() {
            return Ok(Arc::clone(&self.root));
        }
        let (mut dir, from) = {
            let mut cache = self.cache();
            let mut near = path.clone();
            loop {
                if let Some(dir) = cache.touch(&near) {
                    break (dir, near.as_bytes().len());
                }
                match near.parent() {
                    Some(parent) if !parent.is_root() => near = parent,
                    _ => break (Arc::clone(&self.root), 0),
                }
            }
        };
        let rest = path.as_bytes().get(from..).unwrap_or_default();
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        if rest.is_empty() {
            return Ok(dir);
        }
        for piece in pieces(rest) {
            dir = Arc::new(Dir::opened(self.resolve(&dir.fd, piece)?));
        }
        self.cache().insert(path.clone(), Arc::clone(&dir));
        Ok(dir)
    }

    /// Remembers a directory just made.
    pub(super) fn insert(&self, path: &EntryPath, dir: Dir) {
        self.cache().insert(path.clone(), Arc::new(dir));
    }

    /// Forgets `path` and all below it: it was removed, replaced, or got attributes that change what it gives.
    pub(super) fn forget(&self, path: &EntryPath) {
        self.cache().open.retain(|p, _| !p.is_within(path));
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the directory `relative` beneath `dir`.
    fn resolve(&self, dir: &OwnedFd, relative: &[u8]) -> Result<OwnedFd> {
        if !relative.contains(&b'/') {
            return open_one(dir, relative);
        }
        if self.beneath.load(Ordering::Relaxed) {
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match fs::openat2(dir, relative, DIR_FLAGS, Mode::empty(), how) {
                // Old kernels do not have it, and old sandboxes forbid what they do not know.
                Err(Errno::NOSYS | Errno::PERM) => self.beneath.store(false, Ordering::Relaxed),
                // The kernel saw a rename elsewhere while it checked and wants to be asked again.
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        let mut names = relative.split(|b| *b == b'/');
        let mut fd = open_one(dir, names.next().unwrap_or_default())?;
        for name in names {
            fd = open_one(&fd, name)?;
        }
        Ok(fd)
    }
}

impl Cache {
    fn touch(&mut self, path: &EntryPath) -> Option<Arc<Dir>> {
        self.clock += 1;
        let (dir, used) = self.open.get_mut(path)?;
        *used = self.clock;
        Some(Arc::clone(dir))
    }

    fn insert(&mut self, path: EntryPath, dir: Arc<Dir>) {
        self.clock += 1;
        if self.open.len() >= CACHED_DIRS {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                self.open.remove(&oldest);
            }
        }
        self.open.insert(path, (dir, self.clock));
    }
}

/// Opens the directory `name`, one component, in `dir`.
pub(super) fn open_one(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    fs::openat(dir, name, DIR_FLAGS, Mode::empty())
}

/// Mode and owner that an object has now.
pub(super) fn given(fd: &OwnedFd) -> Result<Given> {
    let stat = fs::fstat(fd)?;
    Ok(Given {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    })
}

/// True if a directory has an ACL of its own or for its children.
pub(super) fn has_acl(fd: &OwnedFd) -> bool {
    ["system.posix_acl_default", "system.posix_acl_access"]
        .iter()
        .any(|name| fs::fgetxattr(fd, *name, &mut [0_u8; 0]).is_ok())
}

/// Cuts a path into relative pieces that fit one call.
fn pieces(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while rest.len() > PIECE_BYTES {
        let Some(cut) = rest[..PIECE_BYTES].iter().rposition(|b| *b == b'/') else {
            break;
        };
        pieces.push(&rest[..cut]);
        rest = &rest[cut + 1..];
    }
    pieces.push(rest);
    pieces
}
