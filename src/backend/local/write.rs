//! Writing one object so that it is there whole and for good, or not at all.
//!
//! ```text
//! create tmp-RANDOM beside the final name, lock it
//! write in pieces, start their writeback at once       the disk works while the next piece is copied
//! fdatasync                                            the bytes are durable
//! rename, refusing to replace                          the object appears
//! fsync of the directory                               its name is durable
//! ```
//! The lock tells `remove_leftovers` of any process that the file is in use; it dies with its writer.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use super::super::key::TEMPORARY_PREFIX;
use super::{Key, path_error};
use crate::error::{Class, Error, Result};

/// Writeback starts each time so much was written: 2.8 GB/s to disk instead of 1.9 with one sync at the end.
const PIECE_BYTES: usize = 8 << 20;
/// How often a temporary file may be lost to a cleaner before its lock is taken. Once is rare already.
const ATTEMPTS: usize = 8;

/// Folders whose own name is known to be durable, and the writing into them.
#[derive(Debug, Default)]
pub(super) struct Directories {
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Stores a new object.
    pub(super) fn write_new(&self, root: &Path, key: &Key, bytes: &[u8]) -> Result<()> {
        self.write(root, key, bytes, true).map(drop)
    }

    /// Stores a new object; its file, locked exclusively since before it had its name. Whoever holds it needs it no longer than the
    /// machine runs, so it need not be durable.
    pub(super) fn hold(&self, root: &Path, key: &Key, bytes: &[u8]) -> Result<File> {
        self.write(root, key, bytes, false)
    }

    fn write(&self, root: &Path, key: &Key, bytes: &[u8], durable: bool) -> Result<File> {
        let path = root.join(key.to_string());
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::new(Class::Exists, format!("{} exists already", path.display()))
            }
            io::ErrorKind::NotFound => path_error("write", root, e),
            _ => path_error("write", &path, e),
        };
        if fs::symlink_metadata(&path).is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let folder = folder_of(key);
        let directory = root.join(&folder);
        let create = || {
            self.ensure(root, &folder)?;
            Temporary::create(&directory)
        };
        let temporary = create().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                // A folder was there and is gone: somebody removed empty ones, or changed disks.
                self.durable().clear();
                create()
            }
            _ => Err(error),
        });
        let temporary = temporary.map_err(failed)?;
        temporary.fill(bytes, durable).map_err(failed)?;
        // The lock belongs to the open file, which both handles share.
        let file = temporary.file.try_clone().map_err(failed)?;
        temporary.publish(&path).map_err(failed)?;
        if durable {
            sync_directory(&directory).map_err(failed)?;
        }
        Ok(file)
    }

    /// Gives an object another name, durably; false if the two are not on one file system.
    pub(super) fn rename(&self, root: &Path, from: &Key, to: &Key) -> Result<bool> {
        let (old, new) = (root.join(from.to_string()), root.join(to.to_string()));
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::new(Class::Exists, format!("{} exists already", new.display()))
            }
            io::ErrorKind::NotFound => Error::new(
                Class::NotFound,
                format!("{from} is not in {}", root.display()),
            ),
            _ => path_error("move", &old, e),
        };
        fs::symlink_metadata(&old).map_err(failed)?;
        if fs::symlink_metadata(&new).is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let folder = folder_of(to);
        self.ensure(root, &folder).map_err(failed)?;
        match rename_new(&old, &new) {
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
            other => other.map_err(failed)?,
        }
        sync_directory(&root.join(folder)).map_err(failed)?;
        sync_directory(&root.join(folder_of(from))).map_err(failed)?;
        Ok(true)
    }

    /// Makes `folder` below `root` (which must exist) where it is missing, and its name durable.
    pub(super) fn ensure(&self, root: &Path, folder: &Path) -> io::Result<()> {
        if folder.as_os_str().is_empty() || self.durable().contains(folder) {
            return Ok(());
        }
        let parent = folder.parent().unwrap_or(Path::new(""));
        self.ensure(root, parent)?;
        create_directory(&private_directory(), &root.join(folder))?;
        // Also where it was there already: whoever made it may have been killed before this sync.
        sync_directory(&root.join(parent))?;
        self.durable().insert(folder.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of an object below the repository.
fn folder_of(key: &Key) -> PathBuf {
    let folder = Path::new(key.area().name());
    match key.fan_out() {
        Some(fan_out) => folder.join(fan_out),
        None if *key == Key::config() => PathBuf::new(),
        None => folder.to_owned(),
    }
}

/// Makes a directory and what is missing above it, for this user only.
pub(super) fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    create_directory(private_directory().recursive(true), path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Makes one directory for this user only, or finds it made. Its name need not be durable.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    create_directory(&private_directory(), path)
}

/// Makes a directory, or finds it made.
fn create_directory(builder: &DirBuilder, path: &Path) -> io::Result<()> {
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if !path.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        _ => Ok(()),
    }
}

fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network file systems cannot sync a directory; what they can do was done.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// A locked file under a temporary name; removed when dropped, unless it got its final name.
struct Temporary {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Temporary {
    fn create(directory: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let mut random = [0; 12];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let name = format!("{TEMPORARY_PREFIX}{}", crate::id::to_hex(&random));
            let path = directory.join(name);
            let mut options = File::options();
            let file = options
                .write(true)
                .read(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            let temporary = Self {
                file,
                path,
                published: false,
            };
            // A cleaner may have seen the file before it was locked: then the lock is taken or the name is gone.
            match rustix::fs::flock(&temporary.file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {}
                _ if temporary.file.metadata()?.nlink() == 0 => {}
                // No locks on this file system: then cleaners cannot take one either and leave the file alone.
                _ => return Ok(temporary),
            }
        }
        Err(io::Error::other("temporary files keep disappearing"))
    }

    fn fill(&self, bytes: &[u8], durable: bool) -> io::Result<()> {
        let mut file = &self.file;
        let mut offset = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            file.write_all(piece)?;
            if !durable {
                continue;
            }
            start_writeback(file, offset, piece.len() as u64);
            offset += piece.len() as u64;
        }
        if durable {
            rustix::fs::fdatasync(file)?;
        }
        Ok(())
    }

    fn publish(mut self, path: &Path) -> io::Result<()> {
        rename_new(&self.path, path)?;
        self.published = true;
        Ok(())
    }
}

/// Renames a file, refusing to replace another one.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_by_link(from, to),
        result => Ok(result?),
    }
}

/// Where the kernel or the file system cannot rename without replacing.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::linkat(CWD, from, CWD, to, rustix::fs::AtFlags::empty()) {
        Ok(()) => fs::remove_file(from),
        // No hard links either (FAT and its like). Two writers of one name at the same instant could replace each
        // other here; names are random or hashes of the bytes, so that does not happen.
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS) if !to.exists() => fs::rename(from, to),
        Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // If this fails too, the lock goes with the handle and `remove_leftovers` finds the file.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Asks the kernel to start writing a range that was just written. Only a hint, so failure does not matter.
fn start_writeback(file: &File, offset: u64, bytes: u64) {
    let bytes = std::num::NonZeroU64::new(bytes);
    let _hint = rustix::fs::fadvise(file, offset, bytes, rustix::fs::Advice::DontNeed);
}
