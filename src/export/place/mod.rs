//! Files placed beneath a directory that the operator chose, and never anywhere else.
//!
//! Names come from archives and snapshots, so every one of them is hostile until proven otherwise. All work happens relative
//! to directory handles: a path is resolved once to the handle of its parent (no symbolic link is ever followed, see
//! [`dirs`]) and the last component is created, replaced or changed by name within that handle. A link stored in an archive
//! can therefore be restored faithfully and still never lead a later entry out of the target.
//!
//! Speed comes from the same handles: they are cached, so a small file costs open, write, times and close, and one more call
//! for each thing that creation alone did not give it (owner, mode, attributes). What the file system refuses (an
//! attribute, a device, an owner) is a warning that names the path; a full disk is an error of class `Full`.
//!
//! Contents are complete before they appear: [`FileHandle`] removes a file that was not finished, and a staged one takes its
//! final name by a rename. Directories get their metadata last ([`Directories`]), since filling them changes their times and
//! their final mode may forbid it.

mod apply;
mod directories;
mod dirs;
mod file;
mod node;
mod owner;
mod sink;
#[cfg(test)]
mod tests;
mod tree;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

pub use self::directories::Directories;
use self::dirs::{Dir, Dirs};
pub use self::file::FileHandle;
pub use self::sink::DirSink;
pub use self::tree::Found;
use crate::entry::{EntryPath, Meta};
use crate::error::{At, Class, Error, Result};
use crate::progress::Monitor;

/// How owners are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// By number.
    Numeric,
    /// By name where this machine's `/etc/passwd` and `/etc/group` know it, by number otherwise.
    ByName,
    /// Not at all: everything belongs to whoever restores.
    Skip,
}

/// What may be placed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How owners are restored. A refusal is a warning, so ask only where it can succeed.
    pub owner: Owner,
    /// Whether device nodes are made (only a privileged process can); otherwise each is a warning.
    pub devices: bool,
}

impl Default for Options {
    /// Owners by number and devices for root; neither for others, who could set neither.
    fn default() -> Self {
        let root = rustix::process::geteuid().is_root();
        Self {
            owner: if root { Owner::Numeric } else { Owner::Skip },
            devices: root,
        }
    }
}

/// Whether something of the same name may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It must not: class `Exists`.
    Refuse,
    /// It is replaced by a rename, so that either the old or the new is there at every moment. A directory in the
    /// way is not replaced (class `Exists`): see [`Place::remove`].
    Replace,
}

/// A directory beneath which things are placed; shared by threads.
pub struct Place {
    shared: Arc<Shared>,
    dirs: Dirs,
}

/// What a file handle needs of its place.
struct Shared {
    target: PathBuf,
    options: Options,
    monitor: Arc<dyn Monitor>,
    names: owner::Names,
    /// Permission bits that creation was seen to keep, and to take away (the umask, learned by looking).
    kept_bits: AtomicU32,
    lost_bits: AtomicU32,
    next_temporary: AtomicU32,
}

/// Owner and mode that an object has right after its creation.
#[derive(Clone, Copy)]
struct Given {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Place {
    /// Places things beneath the existing directory `target`. Its own path is the operator's and may pass symbolic links.
    pub fn open(target: &Path, options: Options, monitor: Arc<dyn Monitor>) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(target, flags, Mode::empty()).at_path("open the target", target)?;
        Ok(Self {
            dirs: Dirs::new(Dir::opened(fd)),
            shared: Arc::new(Shared {
                target: target.to_owned(),
                options,
                monitor,
                names: owner::Names::default(),
                kept_bits: AtomicU32::new(0),
                lost_bits: AtomicU32::new(0),
                next_temporary: AtomicU32::new(0),
            }),
        })
    }

    /// The same, making `target` (mode 0700 until its metadata is set) if it is not there.
    pub fn create(target: &Path, options: Options, monitor: Arc<dyn Monitor>) -> Result<Self> {
        match fs::mkdir(target, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open(target, options, monitor),
            Err(e) => Err(e).at_path("make the target", target),
        }
    }

    /// Makes the directory `path`, empty and with mode 0700; its metadata comes by [`Place::finish_dir`]. Its parent must exist.
    pub fn create_dir(&self, path: &EntryPath) -> Result<()> {
        let (parent, name) = self.parent_of(path)?;
        fs::mkdirat(&parent.fd, name, Mode::RWXU).map_err(|e| self.failed("make", path, e))?;
        let fd = dirs::open_one(&parent.fd, name).map_err(|e| self.failed("open", path, e))?;
        self.dirs.insert(path, Dir::created(fd, &parent));
        Ok(())
    }

    /// Makes `path` and what is missing above it, with mode 0755: for archives that do not list their directories. What
    /// exists stays as it is.
    pub fn create_dir_all(&self, path: &EntryPath) -> Result<()> {
        if self.dirs.get(path).is_ok() {
            return Ok(());
        }
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        self.create_dir_all(&parent)?;
        let (parent, name) = self.parent_of(path)?;
        match fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => self.dir(path).map(|_| ()),
            Err(e) => Err(self.failed("make", path, e)),
        }
    }

    /// Takes over a directory that exists: makes it writable for its owner until its metadata is set.
    pub fn adopt_dir(&self, path: &EntryPath) -> Result<()> {
        let Some(found) = self.lookup(path)? else {
            return Err(self.failed("adopt", path, Errno::NOENT));
        };
        if !found.is_directory() {
            return Err(self.failed("adopt", path, Errno::NOTDIR));
        }
        if found.mode & 0o700 != 0o700 && !path.is_root() {
            let (parent, name) = self.parent_of(path)?;
            apply::chmod_name(&parent.fd, name, found.mode | 0o700)
                .map_err(|e| self.failed("make writable", path, e))?;
        }
        self.dir(path).map(|_| ())
    }

    /// Gives the directory `path` its metadata, once everything is in it.
    pub fn finish_dir(&self, path: &EntryPath, meta: &Meta) -> Result<()> {
        let dir = self.dir(path)?;
        let given = dirs::given(&dir.fd).map_err(|e| self.failed("stat", path, e))?;
        let object = apply::Object::Directory(dir.fd.as_fd());
        let strip = dir.inherits_acl || dirs::has_acl(&dir.fd);
        self.shared.apply(&object, path, meta, given, strip);
        // From now on it may give its children other owners and attributes, so what was learned about it is void.
        self.dirs.forget(path);
        Ok(())
    }

    /// True if nothing is in the target.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.names_in(&EntryPath::root())?.is_empty())
    }

    /// Waits until everything placed is on the medium.
    pub fn sync(&self) -> Result<()> {
        fs::syncfs(&self.dirs.root().fd).at_path("sync", &self.shared.target)
    }

    /// Turns a failure of one entry into a warning; one of the medium stays an error.
    pub fn warn_or_fail(&self, error: Error) -> Result<()> {
        if matches!(error.class(), Class::Full | Class::Io | Class::Interrupted) {
            return Err(error);
        }
        self.shared.monitor.warn(&format!("left out: {error}"));
        Ok(())
    }

    #[cfg(test)]
    fn refuse_openat2(&self) {
        self.dirs.without_openat2();
    }

    /// The handle of the directory `path`.
    fn dir(&self, path: &EntryPath) -> Result<Arc<Dir>> {
        self.dirs
            .get(path)
            .map_err(|e| self.failed("enter", path, e))
    }

    /// The handle of the directory that holds `path`, and its last component.
    fn parent_of<'a>(&self, path: &'a EntryPath) -> Result<(Arc<Dir>, &'a [u8])> {
        let Some(parent) = path.parent() else {
            let what = "the root of a tree has no name to place it under";
            return Err(Error::invalid(what));
        };
        let dir = self
            .dirs
            .get(&parent)
            .map_err(|e| self.failed("place", path, e))?;
        Ok((dir, path.name()))
    }

    fn failed(&self, verb: &str, path: &EntryPath, errno: Errno) -> Error {
        self.shared.failed(verb, path, errno)
    }
}

impl Shared {
    /// An error of the operating system about `path`, as it is called beneath the target.
    fn failed(&self, verb: &str, path: &EntryPath, errno: Errno) -> Error {
        let place = self.target.display();
        match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Error::new(
                Class::Refused,
                format!(
                    "{verb} '{path}' in {place}: something on its way is no directory, \
                     and symbolic links are not followed"
                ),
            ),
            // The file system cannot have such a name, or not one more of it: no fault of the medium.
            Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ | Errno::MLINK => Error::caused(
                Class::Invalid,
                format!("{verb} '{path}' in {place}"),
                std::io::Error::from(errno),
            ),
            _ => Error::io(format!("{verb} '{path}' in {place}"), errno.into()),
        }
    }

    /// A name for something that is not finished, unique among those of this process and made with `O_EXCL`.
    fn temporary_name(&self) -> Vec<u8> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let pid = rustix::process::getpid().as_raw_nonzero();
        format!(".repo-unfinished-{pid}-{number}").into_bytes()
    }

    /// What creation with `wanted` mode bits gave in `dir`, without asking where it was seen before.
    fn given(&self, dir: &Dir, fd: &OwnedFd, wanted: u32) -> rustix::io::Result<Given> {
        let kept = self.kept_bits.load(Ordering::Relaxed);
        let lost = self.lost_bits.load(Ordering::Relaxed);
        // Inherited ACLs play the umask's part there, so nothing can be learned.
        if let (Some((uid, gid)), false) = (dir.gives.get(), dir.inherits_acl)
            && wanted & !(kept | lost) == 0
        {
            let (uid, gid) = (*uid, *gid);
            let mode = wanted & kept;
            return Ok(Given { mode, uid, gid });
        }
        let given = dirs::given(fd)?;
        // Another thread may learn the same at the same time; both see the same owner.
        let _ = dir.gives.set((given.uid, given.gid));
        // A file system without modes of its own shows bits that were not asked for: nothing to learn there.
        if !dir.inherits_acl && given.mode & !wanted == 0 {
            let (kept, lost) = (wanted & given.mode, wanted & !given.mode);
            self.kept_bits.fetch_or(kept, Ordering::Relaxed);
            self.lost_bits.fetch_or(lost, Ordering::Relaxed);
        }
        Ok(given)
    }
}
