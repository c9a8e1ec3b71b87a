//! Names without content: symbolic links, pipes, sockets, devices, and further names of a file.
//!
//! Replacing goes by a temporary name and a rename, as for files. What this process may not make is a warning.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::apply::Object;
use super::{Existing, Given, Place, Shared};
use crate::entry::{Entry, EntryPath, Kind};
use crate::error::{Class, Error, Result};

impl Place {
    /// Creates what has no content, with its metadata: a symbolic link, a pipe, a socket, a device, a hard link (to a
    /// path beneath the same place). False if it was left out with a warning.
    pub fn create_node(&self, entry: &Entry, existing: Existing) -> Result<bool> {
        let path = &entry.path;
        if let Kind::HardLink(to) = &entry.kind {
            return self.hard_link(path, to, existing).map(|()| true);
        }
        let (dir, name) = self.parent_of(path)?;
        let temporary;
        let made = match existing {
            Existing::Refuse => name,
            Existing::Replace => {
                temporary = self.shared.temporary_name();
                temporary.as_slice()
            }
        };
        match self.make(&dir.fd, made, entry) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // These say that such a thing cannot be here, not that something went wrong.
            Err(e @ (Errno::PERM | Errno::OPNOTSUPP)) => {
                self.shared.refused(path, entry.kind.name(), e);
                return Ok(false);
            }
            Err(e) => return Err(self.failed("create", path, e)),
        }
        let symlink = matches!(entry.kind, Kind::Symlink(_));
        let object = Object::Node {
            dir: dir.fd.as_fd(),
            name: made,
            symlink,
        };
        let stat = fs::statat(&dir.fd, made, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.failed("stat", path, e))?;
        let given = Given {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        };
        let strip = dir.inherits_acl && !symlink;
        self.shared.apply(&object, path, &entry.meta, given, strip);
        if existing == Existing::Replace {
            self.shared.take_name(&dir.fd, made, path)?;
        }
        Ok(true)
    }

    /// Gives the file at `existing_path` the further name `path`; both beneath this place, links in between not followed.
    fn hard_link(&self, path: &EntryPath, to: &EntryPath, existing: Existing) -> Result<()> {
        let (to_dir, to_name) = self
            .parent_of(to)
            .map_err(|e| e.within(format!("link '{path}' to '{to}'")))?;
        let (dir, name) = self.parent_of(path)?;
        let link = |name: &[u8]| fs::linkat(&to_dir.fd, to_name, &dir.fd, name, AtFlags::empty());
        let failed = |e| {
            self.failed("link", path, e)
                .within(format!("hard link to '{to}'"))
        };
        if existing == Existing::Refuse {
            return link(name).map_err(failed);
        }
        let temporary = self.shared.temporary_name();
        link(&temporary).map_err(failed)?;
        self.shared.take_name(&dir.fd, &temporary, path)
    }

    /// Makes the bare object under `name`; false if the options forbid it (with a warning).
    fn make(&self, dir: &OwnedFd, name: &[u8], entry: &Entry) -> rustix::io::Result<bool> {
        // Set-ID bits and the final mode follow with the metadata; until then nobody else may open it.
        let mode = Mode::RUSR | Mode::WUSR;
        let (kind, device) = match &entry.kind {
            Kind::Symlink(target) => {
                fs::symlinkat(target.as_slice(), dir, name)?;
                return Ok(true);
            }
            Kind::Fifo => (FileType::Fifo, 0),
            Kind::Socket => (FileType::Socket, 0),
            Kind::CharDevice(major, minor) => {
                (FileType::CharacterDevice, fs::makedev(*major, *minor))
            }
            Kind::BlockDevice(major, minor) => (FileType::BlockDevice, fs::makedev(*major, *minor)),
            Kind::File | Kind::Directory | Kind::HardLink(_) => return Err(Errno::INVAL),
        };
        if device_kind(kind) && !self.shared.options.devices {
            self.shared.monitor.warn(&format!(
                "'{}': {} left out: making devices is not allowed here",
                entry.path,
                entry.kind.name()
            ));
            return Ok(false);
        }
        fs::mknodat(dir, name, kind, mode, device)?;
        Ok(true)
    }
}

fn device_kind(kind: FileType) -> bool {
    matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
}

impl Shared {
    /// Renames a finished object from its temporary name to its final one.
    pub(super) fn take_name(
        &self,
        dir: &OwnedFd,
        temporary: &[u8],
        path: &EntryPath,
    ) -> Result<()> {
        let renamed = fs::renameat(dir, temporary, dir, path.name());
        // After a rename between two names of one file both are still there; after a failure the temporary one is.
        let _ = fs::unlinkat(dir, temporary, AtFlags::empty());
        renamed.map_err(|e| self.occupied(path, e))
    }

    /// Why a rename onto `path` failed: a directory there is the caller's to remove.
    fn occupied(&self, path: &EntryPath, errno: Errno) -> Error {
        match errno {
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST => Error::new(
                Class::Exists,
                format!("'{path}' is a directory in {}", self.target.display()),
            ),
            _ => self.failed("replace", path, errno),
        }
    }
}
