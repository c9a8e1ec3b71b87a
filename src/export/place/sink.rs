//! A tree of entries into a directory: `export --format dir`, and the reference for what placing means.
//!
//! An entry that cannot be placed (a name that the file system refuses, a path that would pass through a link, an object of
//! another kind in the way) is left out with a warning and the rest goes on; a full or failing disk ends everything.

use std::path::Path;
use std::sync::Arc;

use super::{Directories, Existing, FileHandle, Options, Place};
use crate::entry::{Entry, EntryPath, Kind, Meta, Order, Outcome, Sink, Want};
use crate::error::{Class, Error, Result};
use crate::progress::{Count, Monitor};

/// Places what comes beneath a directory.
pub struct DirSink {
    place: Place,
    monitor: Arc<dyn Monitor>,
    directories: Directories,
    file: Option<OpenFile>,
}

struct OpenFile {
    handle: FileHandle,
    meta: Meta,
    /// Where the next content goes.
    offset: u64,
    /// How long the file is by what was written: short of `offset` after a hole.
    written: u64,
}

impl DirSink {
    /// A sink into `target`, which must be empty or absent unless `occupied` allows otherwise: then files that exist
    /// are replaced and others stay.
    pub fn create(
        target: &Path,
        options: Options,
        order: Order,
        occupied: bool,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Self> {
        let place = Place::create(target, options, Arc::clone(monitor))?;
        if !occupied && !place.is_empty()? {
            let target = target.display();
            return Err(Error::new(
                Class::Refused,
                format!("{target} is not empty: name an empty or new directory"),
            ));
        }
        Ok(Self {
            place,
            monitor: Arc::clone(monitor),
            directories: Directories::new(order),
            file: None,
        })
    }

    /// Everything came: directories get their metadata.
    pub fn finish(self) -> Result<()> {
        self.directories.finish(&self.place)
    }

    /// Resolves as on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn refuse_openat2(&self) {
        self.place.refuse_openat2();
    }

    /// Places one entry; for a file answers the open handle.
    fn put(&mut self, entry: &Entry) -> Result<Option<FileHandle>> {
        let path = &entry.path;
        match &entry.kind {
            Kind::Directory => {
                if !path.is_root() {
                    self.put_dir(path)?;
                }
                self.directories.entered(path, &entry.meta);
                Ok(None)
            }
            Kind::File => {
                let mode = entry.meta.mode;
                let create = |existing| self.place.create_file(path, mode, existing);
                self.with_retries(path, create).map(Some)
            }
            _ => {
                let create = |existing| self.place.create_node(entry, existing);
                self.with_retries(path, create).map(|_| None)
            }
        }
    }

    fn put_dir(&self, path: &EntryPath) -> Result<()> {
        self.with_retries(path, |existing| {
            if existing == Existing::Refuse {
                return self.place.create_dir(path);
            }
            if self.place.lookup(path)?.is_some_and(|f| f.is_directory()) {
                return self.place.adopt_dir(path);
            }
            // As when a tar is extracted: the last entry of a path counts.
            self.place.remove(path)?;
            self.place.create_dir(path)
        })
    }

    /// Creates as in a fresh tree; where the parent is missing or the name taken, makes or replaces it.
    fn with_retries<T>(
        &self,
        path: &EntryPath,
        create: impl Fn(Existing) -> Result<T>,
    ) -> Result<T> {
        let again = |error: Error, existing| match (error.class(), path.parent()) {
            (Class::NotFound, Some(parent)) => {
                self.place.create_dir_all(&parent)?;
                create(existing)
            }
            (Class::Exists, _) => create(Existing::Replace),
            _ => Err(error),
        };
        create(Existing::Refuse).or_else(|error| again(error, Existing::Refuse))
    }
}

impl Sink for DirSink {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        self.directories.reached(&self.place, &entry.path)?;
        self.monitor.add(Count::Entries, 1);
        match self.put(entry) {
            Ok(Some(handle)) => {
                self.file = Some(OpenFile {
                    handle,
                    meta: entry.meta.clone(),
                    offset: 0,
                    written: 0,
                });
                Ok(Want::Content)
            }
            Ok(None) => Ok(Want::Skip),
            Err(error) => {
                self.place.warn_or_fail(error)?;
                Ok(Want::Skip)
            }
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.handle.write_at(file.offset, bytes)?;
            file.offset += bytes.len() as u64;
            file.written = file.offset;
            self.monitor.add(Count::Bytes, bytes.len() as u64);
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.offset = file.offset.saturating_add(len);
        }
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        // Of a failed file nothing must stay; dropping the handle removes it.
        if outcome == Outcome::Failed {
            return Ok(());
        }
        if file.offset > file.written {
            file.handle.set_len(file.offset)?;
        }
        match file.handle.finish(&file.meta) {
            Ok(()) => Ok(()),
            Err(error) => self.place.warn_or_fail(error),
        }
    }

    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}
