//! Where an export goes: standard output, a new file that gets its name at the end, or a device.
//!
//! A file is written under a name of its own beside the final one, readable by its owner only whatever the umask, made durable,
//! and then renamed: at no moment is there half an archive under the name of a whole one, and what was there before stays until
//! the new one is complete. Dropped before [`Destination::finish`], nothing is left.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::cli::exit::{Done, Failure};
use crate::error::{At, Class, Error};

/// Where an export goes.
pub(super) struct Destination {
    file: File,
    kind: Kind,
    force: bool,
    state: Arc<State>,
    finished: Cell<bool>,
}

enum Kind {
    Stdout,
    /// Something that has its name: a device or a named pipe.
    Named(PathBuf),
    /// A regular file with its final name, and the name it has until then.
    New {
        path: PathBuf,
        temporary: PathBuf,
    },
}

/// What the writers that were handed out have seen.
#[derive(Default)]
struct State {
    bytes: AtomicU64,
    reader_is_gone: AtomicBool,
}

struct Writer {
    file: File,
    state: Arc<State>,
}

impl Destination {
    /// Standard output; not a terminal.
    pub(super) fn stdout() -> Done<Self> {
        if io::stdout().is_terminal() {
            return Err(Failure::usage("standard output is a terminal")
                .hint("redirect it, or name a file with -o"));
        }
        let file = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .at("open standard output")?;
        Ok(Self::new(file.into(), Kind::Stdout, false))
    }

    /// A file, which must not be there unless it may be replaced; or a device or named pipe.
    pub(super) fn file(path: &Path, force: bool) -> Done<Self> {
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(Failure::usage(format!("{} is a directory", path.display()))
                    .hint("name a file in it, or use --format dir"));
            }
            Ok(meta) if !meta.is_file() => {
                if meta.file_type().is_block_device() && !force {
                    let what = format!(
                        "{} is a device: all that is on it would be lost",
                        path.display()
                    );
                    return Err(Failure::from(Error::new(Class::Refused, what))
                        .hint("--force writes to it"));
                }
                let file = OpenOptions::new()
                    .write(true)
                    .open(path)
                    .at_path("open", path)?;
                return Ok(Self::new(file, Kind::Named(path.to_path_buf()), force));
            }
            Ok(_) if !force => return Err(exists(path)),
            _ => {}
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .at_path("create", path)?;
        Ok(Self::new(
            file,
            Kind::New {
                path: path.to_path_buf(),
                temporary,
            },
            force,
        ))
    }

    fn new(file: File, kind: Kind, force: bool) -> Self {
        Self {
            file,
            kind,
            force,
            state: Arc::default(),
            finished: Cell::new(false),
        }
    }

    /// A writer to it.
    pub(super) fn writer(&self) -> Done<Box<dyn Write + Send>> {
        let file = self.file.try_clone().at("open the output")?;
        Ok(Box::new(Writer {
            file,
            state: Arc::clone(&self.state),
        }))
    }

    /// The file itself, if holes can be left in it.
    pub(super) fn sparse_file(&self) -> Done<Option<File>> {
        match self.kind {
            Kind::New { .. } => Ok(Some(self.file.try_clone().at("open the output")?)),
            Kind::Stdout | Kind::Named(_) => Ok(None),
        }
    }

    /// True if whoever read our output went away.
    pub(super) fn reader_is_gone(&self) -> bool {
        self.state.reader_is_gone.load(Ordering::Relaxed)
    }

    /// The final name, if it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Stdout => None,
            Kind::Named(path) | Kind::New { path, .. } => Some(path),
        }
    }

    /// All was written: it is made durable and gets its name. How long it is.
    pub(super) fn finish(&self) -> Done<u64> {
        let bytes = self.state.bytes.load(Ordering::Relaxed);
        let Kind::New { path, temporary } = &self.kind else {
            // A device may hold bytes back; a pipe cannot, and says so.
            let _ = self.file.sync_all();
            return Ok(bytes);
        };
        self.file.sync_all().at_path("write", temporary)?;
        let flags = if self.force {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        match renameat_with(CWD, temporary, CWD, path, flags) {
            // Some file systems cannot promise it; then looking once more must do.
            Err(Errno::INVAL | Errno::NOSYS) if !path.exists() => {
                std::fs::rename(temporary, path).at_path("name the export", path)?;
            }
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => return Err(exists(path)),
            other => other.at_path("name the export", path)?,
        }
        self.finished.set(true);
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        File::open(parent)
            .and_then(|folder| folder.sync_all())
            .at_path("write", parent)?;
        Ok(self.file.metadata().at_path("look at", path)?.len())
    }
}

fn exists(path: &Path) -> Failure {
    let what = format!("{} is there already", path.display());
    Failure::from(Error::new(Class::Refused, what))
        .hint("name another file, or replace it: --force")
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let (Kind::New { temporary, .. }, false) = (&self.kind, self.finished.get()) {
            // Nothing can be done about a file that cannot be removed; its name says what it is.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).inspect_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.state.reader_is_gone.store(true, Ordering::Relaxed);
            }
        })?;
        self.state
            .bytes
            .fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_appears_complete_private_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let destination = Destination::file(&path, false).unwrap();
        destination.writer().unwrap().write_all(b"new").unwrap();
        assert!(!path.exists());
        assert_eq!(destination.finish().unwrap(), 3);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(Destination::file(&path, false).err().unwrap().code(), 4);
        let again = Destination::file(&path, true).unwrap();
        again.writer().unwrap().write_all(b"other").unwrap();
        drop(again);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn what_appears_meanwhile_is_not_replaced_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let destination = Destination::file(&path, false).unwrap();
        std::fs::File::create(&path)
            .unwrap()
            .write_all(b"mine")
            .unwrap();
        assert_eq!(destination.finish().unwrap_err().code(), 4);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
