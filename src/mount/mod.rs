//! Snapshots in the file system tree: mounts with FUSE, serves until it is unmounted or told to stop.
//!
//! ```text
//! kernel -> filesystem (translation) -> answers (which thread) -> vfs (inode -> node -> bytes) -> block cache
//! ```
//! [`run`] blocks, and uses threads: who wants a mount in the background runs it in a process of its own, which tells by
//! `ready` that the mount can be used. Such a process must get its secrets through a pipe, never by argument or environment.
//!
//! A mount is read-only in every respect, `nodev` and `nosuid`: devices are shown but cannot be opened as devices, and
//! programs do not gain rights by being in a snapshot. Damage is `EIO`, never wrong bytes.

mod answers;
mod convert;
mod filesystem;
mod kernel;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use fuser::{Config, Session, SessionACL};

pub use kernel::unmount;

use crate::error::{At, Class, Error, Result};
use crate::format::tree::Node;
use crate::progress::Monitor;
use crate::vfs::{Owner, Store, Vfs};
use answers::Answers;
use filesystem::RepoFilesystem;
use kernel::Attach;

/// What is shown.
#[derive(Clone, Debug)]
pub enum View {
    /// One snapshot, by its root.
    One(Box<Node>),
    /// All of them, by id, name and tag; new ones appear while mounted.
    All,
}

/// How it is shown.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Users other than the mounting one get in; the kernel then checks permissions and ACLs as on any file system.
    /// Without it, the mounting user reads everything.
    pub allow_other: bool,
    /// Shown as the owner of everything.
    pub owner: Option<Owner>,
    /// Shown as the device in `mount` and `df`.
    pub source: String,
    /// Directories that must not be hidden by the mount, or be mounted on: the repository and the catalog.
    pub keep_visible: Vec<PathBuf>,
}

/// How often a mount looks whether it was told to stop.
const POLL: Duration = Duration::from_millis(200);
/// How long it waits for its last requests once it is unmounted.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// Threads that wait for the store, on behalf of requests: reads of a disk or server overlap.
const THREADS: usize = 8;

/// Mounts and serves until the file system is unmounted or `monitor` says that it is to stop; then it is unmounted.
///
/// `ready` is called once the mount can be used. Errors before that mean that nothing is mounted.
pub fn run(
    store: Arc<dyn Store>,
    view: View,
    mountpoint: &Path,
    options: &Options,
    monitor: &Arc<dyn Monitor>,
    ready: impl FnOnce(),
) -> Result<()> {
    let mountpoint = check_mountpoint(mountpoint, &options.keep_visible)?;
    let vfs = match view {
        View::One(root) => Vfs::one(store, *root, options.owner)?,
        View::All => Vfs::all(store, options.owner)?,
    };
    let check_acls = options.allow_other && options.owner.is_none();
    let answers = Answers::new(vfs, monitor.clone(), THREADS)?;
    let filesystem = RepoFilesystem::new(answers, check_acls);
    let source = printable(&options.source);
    let attach = Attach {
        mountpoint: &mountpoint,
        source: &source,
        allow_other: options.allow_other,
    };
    let connection = attach.attach()?;
    let acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    let session = Session::from_fd(filesystem, connection, acl, Config::default());
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            let _ = kernel::detach(&mountpoint, true);
            return Err(Error::io("begin to serve the mount", error));
        }
    };
    let (sender, ended) = bounded(1);
    std::thread::Builder::new()
        .name("fuse".to_owned())
        .spawn(move || {
            // Nobody may be listening any more: then the process is about to end.
            let _ = sender.send(session.run());
        })
        .at("start a thread")?;
    kernel::raise_read_ahead(&mountpoint);
    ready();
    loop {
        match ended.recv_timeout(POLL) {
            Ok(result) => return result.at("serve the mount"),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = kernel::detach(&mountpoint, true);
                return Err(Error::new(
                    Class::Io,
                    "the thread that served the mount failed",
                ));
            }
            Err(RecvTimeoutError::Timeout) if monitor.interrupted() => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    stop(&mountpoint, &**monitor)?;
    let _ = ended.recv_timeout(LAST_REQUESTS);
    Ok(())
}

/// Unmounts; if somebody uses the mount, it is detached, and they get errors once this process ends.
fn stop(mountpoint: &Path, monitor: &dyn Monitor) -> Result<()> {
    match kernel::detach(mountpoint, false) {
        Err(error) if error.class() == Class::Busy => {
            monitor.note("the mount was in use: it is detached, and who uses it gets errors now");
            kernel::detach(mountpoint, true)
        }
        result => result,
    }
}

/// The canonical path of a directory that can be mounted on.
fn check_mountpoint(path: &Path, keep_visible: &[PathBuf]) -> Result<PathBuf> {
    let shown = path.display();
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error()) => {
            let what = format!(
                "{shown} is a dead mount, its process is gone: unmount it first (repo umount {shown})"
            );
            return Err(Error::new(Class::Busy, what));
        }
        Err(error) => return Err(Error::io(format!("mount on {shown}"), error)),
    };
    if !meta.is_dir() {
        return Err(Error::invalid(format!("{shown} is not a directory")));
    }
    let path = path.canonicalize().at_path("open", path)?;
    if kernel::is_ours(&path)? {
        let what = format!("snapshots are mounted on {shown} already: unmount them first");
        return Err(Error::new(Class::Busy, what));
    }
    for kept in keep_visible {
        let Ok(kept) = kept.canonicalize() else {
            continue;
        };
        if kept.starts_with(&path) {
            let what = format!(
                "a mount on {shown} would hide {}, which it reads from: choose another directory",
                kept.display()
            );
            return Err(Error::invalid(what));
        }
        if path.starts_with(&kept) {
            let what = format!(
                "{shown} is inside {}: choose a directory outside of it",
                kept.display()
            );
            return Err(Error::invalid(what));
        }
    }
    Ok(path)
}

/// A name that mount options and tables can carry.
fn printable(source: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    let name: String = source
        .chars()
        .map(|c| if keep(c) { c } else { '_' })
        .take(200)
        .collect();
    if name.is_empty() {
        "repo".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_words_that_options_can_carry() {
        assert_eq!(printable("/srv/a b,ro"), "/srv/a_b_ro");
        assert_eq!(printable(""), "repo");
        assert_eq!(printable("s3://bucket/x@y"), "s3://bucket/x@y");
    }

    #[test]
    fn what_must_stay_visible_is_not_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let kept = vec![folder.path().to_owned()];
        assert!(check_mountpoint(folder.path(), &kept).is_err());
        let other = tempfile::tempdir().unwrap();
        let found = check_mountpoint(other.path(), &kept).unwrap();
        assert_eq!(found, other.path().canonicalize().unwrap());
        assert!(check_mountpoint(&other.path().join("missing"), &kept).is_err());
    }
}
