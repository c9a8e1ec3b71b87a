//! A regular file while it is written: under its final name in a fresh tree, or beside it until a rename.
//!
//! Writes go to given offsets, so that several threads can fill one file in any order; what is never written is a hole.
//! A handle that is dropped before `finish` removes its file: half a file never stays under a name that looks whole.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::apply::Object;
use super::dirs::Dir;
use super::{Existing, Given, Place, Shared};
use crate::entry::{EntryPath, Meta};
use crate::error::{Error, Result};

/// How often a temporary name is tried again where a crashed run left one behind.
const NAME_TRIES: usize = 1000;

/// A file that is being written; see the module.
pub struct FileHandle {
    file: File,
    dir: Arc<Dir>,
    path: EntryPath,
    /// The name it has until it takes its final one.
    temporary: Option<Vec<u8>>,
    given: Given,
    shared: Arc<Shared>,
    finished: bool,
}

impl Place {
    /// Creates the file `path`, empty, for an entry of permission bits `mode`. With [`Existing::Replace`] it is written under a
    /// temporary name beside and takes its place in [`FileHandle::finish`].
    pub fn create_file(
        &self,
        path: &EntryPath,
        mode: u32,
        existing: Existing,
    ) -> Result<FileHandle> {
        let (dir, name) = self.parent_of(path)?;
        // Never set-user-ID before the owner is right.
        let wanted = mode & 0o777;
        let (fd, temporary) = match existing {
            Existing::Refuse => (create(&dir, name, wanted), None),
            Existing::Replace => {
                let mut temporary = self.shared.temporary_name();
                let mut fd = create(&dir, &temporary, wanted);
                for _ in 0..NAME_TRIES {
                    if !matches!(fd, Err(Errno::EXIST)) {
                        break;
                    }
                    temporary = self.shared.temporary_name();
                    fd = create(&dir, &temporary, wanted);
                }
                (fd, Some(temporary))
            }
        };
        let fd = fd.map_err(|e| self.failed("create", path, e))?;
        let given = self
            .shared
            .given(&dir, &fd, wanted)
            .map_err(|e| self.failed("stat", path, e))?;
        Ok(FileHandle {
            file: File::from(fd),
            dir,
            path: path.clone(),
            temporary,
            given,
            shared: Arc::clone(&self.shared),
            finished: false,
        })
    }
}

impl FileHandle {
    /// Writes `bytes` at `offset`.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| self.io("write", e))
    }

    /// Makes the file `len` bytes long; what was not written reads as zeros and takes no space.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|e| self.io("resize", e))
    }

    /// Asks for space for `len` bytes ahead, so that a full disk shows before the writing. A file system that
    /// cannot is no error.
    pub fn allocate(&self, len: u64) -> Result<()> {
        match fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(e) => Err(self.shared.failed("allocate", &self.path, e)),
        }
    }

    /// Waits until what was written is on the medium.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.io("sync", e))
    }

    /// Where it is going to be.
    pub fn path(&self) -> &EntryPath {
        &self.path
    }

    /// Sets the metadata and lets the file take its final name.
    pub fn finish(mut self, meta: &Meta) -> Result<()> {
        let object = Object::File(self.file.as_fd());
        let strip = self.dir.inherits_acl;
        self.shared
            .apply(&object, &self.path, meta, self.given, strip);
        self.finished = true;
        match &self.temporary {
            Some(temporary) => self.shared.take_name(&self.dir.fd, temporary, &self.path),
            None => Ok(()),
        }
    }

    fn io(&self, verb: &str, error: std::io::Error) -> Error {
        let target = self.shared.target.display();
        Error::io(format!("{verb} '{}' in {target}", self.path), error)
    }
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        if !self.finished {
            let name = self.temporary.as_deref().unwrap_or(self.path.name());
            // The failure that brought us here is already on its way to the caller.
            let _ = fs::unlinkat(&self.dir.fd, name, AtFlags::empty());
        }
    }
}

fn create(dir: &Dir, name: &[u8], mode: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(&dir.fd, name, flags, Mode::from_raw_mode(mode))
}
