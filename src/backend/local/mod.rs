//! A repository in a local directory.
//!
//! One file per object, 0600 in directories of 0700, written under a temporary name and renamed into place. Symbolic
//! links are followed for the repository and for its folders, so that an operator can put `data` on another disk; an
//! object itself must be a regular file, because opening anything else could block or read from a device.
//!
//! The path is resolved anew by every operation that opens something. So a disk that went away gives errors, one that
//! comes back works again, and nothing is ever created on the file system beneath an unmounted one: only
//! [`Backend::prepare`] makes the top directory.

mod handles;
mod held;
mod list;
mod reserve;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::handles::Handles;
use super::{Area, Backend, Drawn, Held, Key};
use crate::error::{Class, Error, Result};
use crate::format::MAX_OBJECT_BYTES;

/// How many files of packs stay open, so that random reads do not open one each.
const OPEN_FILES: usize = 64;

/// Objects as files below one directory.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    handles: Handles,
    written: write::Directories,
    reserve: reserve::Reserve,
}

impl Local {
    /// The store in the directory `root`; touches nothing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            handles: Handles::new(OPEN_FILES),
            written: write::Directories::default(),
            reserve: reserve::Reserve::default(),
        }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file of an object is, or would be.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.to_string())
    }

    /// A directory that has other uses does not become a repository.
    fn refuse_other_files(&self) -> Result<()> {
        let failed = |e| path_error("list", &self.root, e);
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let ours = Area::ALL.iter().any(|area| name == area.name())
                || name
                    .to_string_lossy()
                    .starts_with(super::key::TEMPORARY_PREFIX);
            if !ours && !HARMLESS.iter().any(|harmless| name == *harmless) {
                return Err(Error::new(
                    Class::Refused,
                    format!(
                        "{} holds other files ('{}'): choose an empty or a new directory",
                        self.root.display(),
                        name.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn open(&self, key: &Key) -> Result<handles::Handle> {
        handles::open(&self.path(key)).map_err(|e| self.error("read", key, e))
    }

    /// An error about one object.
    fn error(&self, verb: &str, key: &Key, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::NotFound {
            if !self.root.is_dir() {
                return path_error(verb, &self.root, error);
            }
            let what = format!("{key} is not in {}", self.root.display());
            return Error::new(Class::NotFound, what);
        }
        path_error(verb, &self.path(key), error)
    }
}

/// An error about a path, with what to do where that is known.
fn path_error(verb: &str, path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Error::new(Class::NotFound, format!("there is no directory {path}"))
        }
        io::ErrorKind::NotADirectory => Error::new(
            Class::Invalid,
            format!("{verb} {path}: a part of the path is a file where a directory must be"),
        ),
        io::ErrorKind::ReadOnlyFilesystem => Error::new(
            Class::Denied,
            format!(
                "{verb} {path}: the file system is mounted read-only; remount it writable or choose another place"
            ),
        ),
        io::ErrorKind::PermissionDenied => Error::new(
            Class::Denied,
            format!(
                "{verb} {path}: permission denied; run as the repository's owner, or give this user access"
            ),
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::caused(
            Class::Full,
            format!("{verb} {path}: nothing was stored; make room, then run again"),
            error,
        ),
        _ => Error::io(format!("{verb} {path}"), error),
    }
}

/// What is no object but may lie in a directory that becomes a repository: the root of a fresh file system has the first, and an
/// init that was killed leaves the second.
const HARMLESS: &[&str] = &["lost+found", reserve::FOLDER];

impl Backend for Local {
    fn prepare(&self) -> Result<()> {
        let failed = |e| path_error("create", &self.root, e);
        write::create_directories(&self.root).map_err(failed)?;
        if !self.exists(&Key::config())? {
            self.refuse_other_files()?;
        }
        for area in Area::ALL.into_iter().filter(|area| *area != Area::Config) {
            self.written
                .ensure(&self.root, Path::new(area.name()))
                .map_err(|e| path_error("create", &self.root.join(area.name()), e))?;
        }
        Ok(())
    }

    fn read(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        if !key.area().is_content_named() {
            return self
                .open(key)?
                .read(offset, len)
                .map_err(|e| self.error("read", key, e));
        }
        let cached = self.handles.get(key);
        let handle = match &cached {
            Some(handle) => handle.clone(),
            None => self.handles.put(key, self.open(key)?),
        };
        match handle.read(offset, len) {
            Ok(bytes) => Ok(bytes),
            Err(_) if cached.is_some() => {
                // A handle can be stale (network file system) where the object is not: try once with a new one.
                self.handles.forget(key);
                let handle = self.handles.put(key, self.open(key)?);
                handle
                    .read(offset, len)
                    .map_err(|e| self.error("read", key, e))
            }
            Err(error) => {
                self.handles.forget(key);
                Err(self.error("read", key, error))
            }
        }
    }

    fn read_all(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        let handle = self.open(key)?;
        let bytes = handle.bytes();
        let len = usize::try_from(bytes)
            .ok()
            .filter(|_| bytes <= limit)
            .ok_or_else(|| {
                Error::corrupt(format!(
                    "{} has {bytes} bytes, more than the limit of {limit}",
                    self.path(key).display()
                ))
            })?;
        handle.read(0, len).map_err(|e| self.error("read", key, e))
    }

    fn write_new(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.reserve.write(&self.root, key.area(), || {
            self.written.write_new(&self.root, key, bytes)
        })
    }

    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        self.handles.forget(from);
        if self.written.rename(&self.root, from, to)? {
            return Ok(());
        }
        // An operator may have put one of the folders on another disk.
        let bytes = self.read_all(from, MAX_OBJECT_BYTES)?;
        self.write_new(to, &bytes)?;
        self.remove(from)
    }

    fn hold(&self, key: &Key, bytes: &[u8]) -> Result<Box<dyn Held>> {
        let file = self.reserve.write(&self.root, key.area(), || {
            self.written.hold(&self.root, key, bytes)
        })?;
        Ok(Box::new(held::LockedFile::new(file, self.path(key))))
    }

    fn is_held(&self, key: &Key) -> Result<bool> {
        held::is_locked(&self.path(key)).map_err(|e| self.error("look at", key, e))
    }

    fn list(&self, area: Area, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        // Whoever lists wants to know what changed; a good moment to let go of what was pruned.
        self.handles.forget_removed();
        list::list(&self.root, area, each)
    }

    fn size(&self, key: &Key) -> Result<u64> {
        let metadata =
            fs::symlink_metadata(self.path(key)).map_err(|e| self.error("look at", key, e))?;
        if metadata.is_file() {
            Ok(metadata.len())
        } else {
            Err(self.error("look at", key, handles::not_regular()))
        }
    }

    fn remove(&self, key: &Key) -> Result<()> {
        self.handles.forget(key);
        let path = self.path(key);
        fs::remove_file(&path).map_err(|e| self.error("remove", key, e))?;
        // That a key or a snapshot is gone was somebody's wish, and packs go only after the snapshots that need them.
        if matches!(key.area(), Area::Keys | Area::Snapshots) {
            let folder = self.root.join(key.area().name());
            write::sync_directory(&folder).map_err(|e| path_error("sync", &folder, e))?;
        }
        Ok(())
    }

    fn remove_leftovers(&self) -> Result<u64> {
        list::remove_leftovers(&self.root)
    }

    fn draw_on_reserve(&self, what: Drawn, allowed: bool) {
        self.reserve.draw(what, allowed);
    }

    fn fill_reserve(&self) -> Result<bool> {
        reserve::fill(&self.root)
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

#[cfg(test)]
mod tests;
