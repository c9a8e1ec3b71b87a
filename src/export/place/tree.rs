//! What is there already: looking up names, changing what stays, removing what must go. Never through a link.

use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags, Dir as Listing, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::apply::Object;
use super::{Given, Place};
use crate::entry::{EntryPath, Meta, Time};
use crate::error::Result;

/// What a name stands for, by `lstat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What kind of thing it is.
    pub kind: FileType,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes of a file, of a link's target.
    pub size: u64,
    /// Last modification.
    pub mtime: Time,
    /// Device that it is on.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl Found {
    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// True for a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }
}

impl Place {
    /// What is at `path`, if anything; a symbolic link there is itself what is found.
    pub fn lookup(&self, path: &EntryPath) -> Result<Option<Found>> {
        let stat = if path.is_root() {
            fs::fstat(&self.dirs.root().fd)
        } else {
            let dir = match self.dirs.get(&path.parent().unwrap_or_default()) {
                Err(Errno::NOENT) => return Ok(None),
                other => other.map_err(|e| self.failed("look up", path, e))?,
            };
            fs::statat(&dir.fd, path.name(), AtFlags::SYMLINK_NOFOLLOW)
        };
        match stat {
            Ok(stat) => Ok(Some(found(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed("look up", path, e)),
        }
    }

    /// Gives what is at `path`, and is no directory, other metadata; its content stays.
    pub fn update(&self, path: &EntryPath, meta: &Meta) -> Result<()> {
        let (dir, name) = self.parent_of(path)?;
        let stat = fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("stat", path, e))?;
        let found = found(&stat);
        let symlink = found.kind == FileType::Symlink;
        let object = Object::Node {
            dir: dir.fd.as_fd(),
            name,
            symlink,
        };
        let given = Given {
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
        };
        self.shared.apply(&object, path, meta, given, !symlink);
        Ok(())
    }

    /// Opens the regular file at `path` for reading, to compare or verify it.
    pub fn open_file(&self, path: &EntryPath) -> Result<std::fs::File> {
        let (dir, name) = self.parent_of(path)?;
        // Should a pipe have taken the name, opening it must not hang.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = fs::openat(&dir.fd, name, flags, Mode::empty())
            .map_err(|e| self.failed("open", path, e))?;
        let stat = fs::fstat(&fd).map_err(|e| self.failed("stat", path, e))?;
        if !found(&stat).is_file() {
            return Err(self.failed("open", path, Errno::INVAL));
        }
        Ok(fd.into())
    }

    /// Removes what is at `path`, with all that is below it. Absent is as good as removed.
    pub fn remove(&self, path: &EntryPath) -> Result<()> {
        // A stack instead of recursion: depth is the archive's choice, the call stack is ours.
        let mut todo = vec![(path.clone(), false)];
        while let Some((path, emptied)) = todo.pop() {
            let (dir, name) = self.parent_of(&path)?;
            let flags = if emptied {
                self.dirs.forget(&path);
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            match fs::unlinkat(&dir.fd, name, flags) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) if !emptied => {
                    self.adopt_dir(&path)?;
                    let names = self.names_in(&path)?;
                    todo.push((path.clone(), true));
                    for name in names {
                        let below = path.join(&name);
                        let below = below.map_err(|_| self.failed("list", &path, Errno::INVAL))?;
                        todo.push((below, false));
                    }
                }
                Err(e) => return Err(self.failed("remove", &path, e)),
            }
        }
        Ok(())
    }

    /// The names in the directory `path`, in no order.
    pub fn names_in(&self, path: &EntryPath) -> Result<Vec<Vec<u8>>> {
        let dir = self.dir(path)?;
        let failed = |e| self.failed("list", path, e);
        let mut names = Vec::new();
        for item in Listing::read_from(&dir.fd).map_err(failed)? {
            let item = item.map_err(failed)?;
            let name = item.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }
}

fn found(stat: &fs::Stat) -> Found {
    Found {
        kind: FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: Time::new(
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        device: stat.st_dev,
        inode: stat.st_ino,
    }
}
