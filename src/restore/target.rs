//! Where a restore goes: an existing directory, or a new one that appears under its name only when it is complete.
//!
//! A target that does not exist is filled beside its final name, as `.NAME.restore-PID-N`, and renamed at the end. Until then,
//! and after a failure, the staging directory is what there is, and errors name it. Who fills it holds a lock on it, which ends with
//! the process: one without a lock was left by a restore that was killed, and the next one to the same target says so.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::select::Root;
use crate::error::{At, Class, Error, Result};
use crate::export::place::{Options, Place};
use crate::progress::Monitor;

/// How many staging names of crashed runs are stepped over.
const STAGING_TRIES: u32 = 1000;
/// How many of them are named.
const MAX_NAMED: usize = 10;

/// See the module.
pub(super) struct Target {
    pub(super) place: Place,
    final_path: PathBuf,
    /// The staging directory and the mode that a new directory has here.
    staging: Option<(PathBuf, Mode)>,
    /// Says that the staging directory is not left over.
    _lock: Option<OwnedFd>,
}

/// True if nothing has the name `target`; an error if something does that is no directory.
pub(super) fn is_absent(target: &Path) -> Result<bool> {
    match std::fs::metadata(target) {
        Ok(found) if found.is_dir() => Ok(false),
        Ok(_) => Err(Error::new(
            Class::Refused,
            format!(
                "{} is no directory: name a directory to restore into",
                target.display()
            ),
        )),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            // A dangling link would be replaced by the rename.
            if target.is_symlink() {
                let what = format!("{} is a link to nowhere", target.display());
                return Err(Error::new(Class::Refused, what));
            }
            Ok(true)
        }
        Err(e) => Err(e).at_path("look up", target),
    }
}

impl Target {
    /// Opens an existing target or begins a staged one; directories above it are made as needed.
    pub(super) fn open(
        target: &Path,
        options: Options,
        monitor: &Arc<dyn Monitor>,
    ) -> Result<Self> {
        let monitor = Arc::clone(monitor);
        if !is_absent(target)? {
            return Ok(Self {
                place: Place::open(target, options, monitor)?,
                final_path: target.to_owned(),
                staging: None,
                _lock: None,
            });
        }
        let parent = parent_of(target);
        std::fs::create_dir_all(&parent).at_path("make", &parent)?;
        tell_left_over(target, &parent, monitor.as_ref());
        let (staging, mode) = make_staging(target, &parent)?;
        let lock = open_dir(&staging).at_path("open", &staging)?;
        // Where there are no locks nobody takes it for left over. Who looks holds it for an instant.
        let _ = fs::flock(&lock, FlockOperation::LockExclusive);
        Ok(Self {
            place: Place::open(&staging, options, monitor)?,
            final_path: target.to_owned(),
            staging: Some((staging, mode)),
            _lock: Some(lock),
        })
    }

    /// True if the target is new, so that nothing can be in the way.
    pub(super) fn is_new(&self) -> bool {
        self.staging.is_some()
    }

    /// Where things are now.
    pub(super) fn path(&self) -> &Path {
        self.staging
            .as_ref()
            .map_or(&self.final_path, |(staging, _)| staging)
    }

    /// Gives a staged directory the mode of a new one, where no root of a snapshot says another.
    pub(super) fn open_up(&self, roots: &[Root]) -> Result<()> {
        match &self.staging {
            Some((staging, mode)) if !roots.iter().any(|root| root.to.is_root()) => {
                fs::chmod(staging, *mode).at_path("change the mode of", staging)
            }
            _ => Ok(()),
        }
    }

    /// Makes everything durable, and lets a staged target take its name: never before what is in it is. One flush of the file system,
    /// however many files there are.
    pub(super) fn publish(self) -> Result<PathBuf> {
        self.place.sync()?;
        let Some((staging, _)) = self.staging else {
            return Ok(self.final_path);
        };
        let renamed =
            fs::renameat_with(CWD, &staging, CWD, &self.final_path, RenameFlags::NOREPLACE);
        let renamed = match renamed {
            // Not every file system can; a directory that appeared meanwhile is then only replaced if it is empty.
            Err(Errno::INVAL | Errno::NOSYS) => fs::rename(&staging, &self.final_path),
            other => other,
        };
        renamed.at(format!(
            "everything was restored to {}, but it cannot be renamed to {}",
            staging.display(),
            self.final_path.display()
        ))?;
        let parent = parent_of(&self.final_path);
        // A parent that we may not read can still have got the name.
        if let Ok(opened) = open_dir(&parent) {
            fs::fsync(&opened).at_path("sync", &parent)?;
        }
        Ok(self.final_path)
    }
}

/// The directory that holds `target`.
pub(super) fn parent_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => target.to_owned(),
    }
}

fn open_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty())
}

/// `.NAME.restore-`, with which the names of staging directories begin.
fn staging_prefix(name: &OsStr) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".restore-");
    hidden
}

/// Names what restores to the same target left that did not come to an end. It may be all that somebody has: it stays.
fn tell_left_over(target: &Path, parent: &Path, monitor: &dyn Monitor) {
    let (Some(name), Ok(entries)) = (target.file_name(), std::fs::read_dir(parent)) else {
        return;
    };
    let prefix = staging_prefix(name);
    let is_staging = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name.as_bytes().starts_with(prefix.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let is_free = |path: &PathBuf| {
        let dir = open_dir(path);
        dir.is_ok_and(|dir| fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok())
    };
    let staging = entries.flatten().filter(is_staging);
    let left_over = staging.map(|entry| entry.path()).filter(is_free);
    for path in left_over.take(MAX_NAMED) {
        monitor.note(&format!(
            "an earlier restore to {} did not come to its end; what there is of it is in {}: remove that if you do not need it",
            target.display(),
            path.display()
        ));
    }
}

fn make_staging(target: &Path, parent: &Path) -> Result<(PathBuf, Mode)> {
    let Some(name) = target.file_name() else {
        let what = format!("{} has no name of its own", target.display());
        return Err(Error::invalid(what));
    };
    let pid = rustix::process::getpid().as_raw_nonzero();
    let mut errno = Errno::EXIST;
    for number in 0..STAGING_TRIES {
        let mut hidden = staging_prefix(name);
        hidden.push(format!("{pid}-{number}"));
        let path = parent.join(hidden);
        match fs::mkdir(&path, Mode::from_raw_mode(0o777)) {
            Ok(()) => {
                // Made open to learn the umask; closed until the restore is done.
                let stat = fs::stat(&path).at_path("stat", &path)?;
                fs::chmod(&path, Mode::RWXU).at_path("change the mode of", &path)?;
                return Ok((path, Mode::from_raw_mode(stat.st_mode & 0o7777)));
            }
            Err(Errno::EXIST) => {}
            Err(e) => {
                errno = e;
                break;
            }
        }
    }
    Err(errno).at(format!(
        "make a staging directory for {} in {}",
        target.display(),
        parent.display()
    ))
}

/// Bytes and names that fit where `path` is or will be; a file system that does not count names has no bound on them.
pub(super) fn free_space(path: &Path) -> Result<(u64, u64)> {
    let mut near = path.to_owned();
    let stat = loop {
        match fs::statvfs(&near) {
            Err(Errno::NOENT) if near != parent_of(&near) => near = parent_of(&near),
            other => break other.at_path("ask for the free space of", &near)?,
        }
    };
    let names = if stat.f_files == 0 {
        u64::MAX
    } else {
        stat.f_favail
    };
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), names))
}
