//! Objects that are held: files with a kernel lock, which dies with the process that took it.
//!
//! The lock is taken on the temporary file, before it has its name, so nobody ever sees the object without it. Observers try a
//! shared lock: they do not hinder each other, and the holder's exclusive one refuses them.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::super::Held;
use super::path_error;
use crate::error::{Class, Error, Result};

/// A file whose lock is held as long as this lives.
pub(super) struct LockedFile {
    file: File,
    path: PathBuf,
}

impl LockedFile {
    /// Around a file that is locked.
    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self { file, path }
    }
}

impl Held for LockedFile {
    fn confirm(&self) -> Result<()> {
        let metadata = self.file.metadata();
        match metadata.map_err(|e| path_error("look at", &self.path, e)) {
            Ok(metadata) if metadata.nlink() > 0 => Ok(()),
            Ok(_) => Err(Error::new(
                Class::Busy,
                format!(
                    "{} was removed while it was in use: run again",
                    self.path.display()
                ),
            )),
            Err(error) => Err(error),
        }
    }
}

/// Whether somebody holds the lock of the file at `path`.
pub(super) fn is_locked(path: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::INTR) => is_locked(path),
        // Held, or a file system without locks, where nobody can tell.
        Err(_) => Ok(true),
    }
}
