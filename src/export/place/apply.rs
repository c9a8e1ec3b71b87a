//! Metadata onto an object: owner, attributes, mode, ACLs, times, in the order in which none undoes another.
//!
//! A change of owner clears capabilities and set-user-ID bits, so it comes first. User attributes need write permission, so they
//! come before the final mode; a mode rewrites the mask of an ACL, so ACLs come after it. Everything changes the status
//! time and nothing else touches the modification time, which comes last.
//!
//! Nothing here is an error: the content is there, and what the file system or the process's rights refuse is one warning per
//! object and kind of refusal. Rights are never wider than recorded: without its owner a file loses its set-user-ID bit,
//! without its ACL the group gets what the ACL gave it, not the mask.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    self, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::{Given, Owner, Shared};
use crate::entry::{EntryPath, Meta, Time, Xattr};

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// What metadata is applied to.
pub(super) enum Object<'a> {
    /// An open regular file.
    File(BorrowedFd<'a>),
    /// An open directory.
    Directory(BorrowedFd<'a>),
    /// A name in an open directory: what cannot be opened (links, devices) or must not be.
    Node {
        /// The directory.
        dir: BorrowedFd<'a>,
        /// The name in it.
        name: &'a [u8],
        /// A symbolic link has no mode.
        symlink: bool,
    },
}

impl Shared {
    /// Gives `object` its metadata; `given` is what it has now, `strip_acl` says that it may have inherited an ACL.
    pub(super) fn apply(
        &self,
        object: &Object<'_>,
        path: &EntryPath,
        meta: &Meta,
        given: Given,
        strip_acl: bool,
    ) {
        if strip_acl {
            // Absent is as good as removed.
            let _ = object.remove_xattr(ACL_ACCESS);
            let _ = object.remove_xattr(ACL_DEFAULT);
        }
        let owned = self.apply_owner(object, path, meta, given);
        let (acls, others): (Vec<&Xattr>, Vec<&Xattr>) = meta
            .xattrs
            .iter()
            .partition(|x| x.name == ACL_ACCESS || x.name == ACL_DEFAULT);
        let mut mode_now = (!strip_acl).then_some(owned.mode);
        if others.iter().any(|x| x.name.starts_with(b"user.")) && owned.mode & 0o200 == 0 {
            // Needs no report: a refusal shows when the attribute is set.
            let _ = object.chmod(owned.mode | 0o600);
            mode_now = None;
        }
        self.apply_xattrs(object, path, &others);
        let mode = self.permitted_mode(object, path, meta, owned);
        if !object.is_symlink()
            && mode_now != Some(mode)
            && let Err(e) = object.chmod(mode)
        {
            self.refused(path, &format!("its mode {mode:o}"), e);
        }
        if !self.apply_xattrs(object, path, &acls)
            && let Some(group) = acls.iter().find_map(|x| group_behind_mask(x))
        {
            let _ = object.chmod(mode & !0o070 | group << 3);
        }
        if let Err(e) = object.set_times(meta) {
            self.refused(path, "its modification time", e);
        }
    }

    /// Sets the owner where asked; answers what the object has afterwards.
    fn apply_owner(
        &self,
        object: &Object<'_>,
        path: &EntryPath,
        meta: &Meta,
        given: Given,
    ) -> Given {
        let Some((uid, gid)) = self.wanted_owner(meta) else {
            return given;
        };
        if (uid, gid) == (given.uid, given.gid) {
            return given;
        }
        match object.chown(uid, gid) {
            Ok(()) => Given { uid, gid, ..given },
            Err(e) => {
                self.refused(path, &format!("its owner {uid}:{gid}"), e);
                given
            }
        }
    }

    fn wanted_owner(&self, meta: &Meta) -> Option<(u32, u32)> {
        match self.options.owner {
            Owner::Skip => None,
            Owner::Numeric => Some((meta.uid, meta.gid)),
            Owner::ByName => Some((
                self.names.uid(&meta.user).unwrap_or(meta.uid),
                self.names.gid(&meta.group).unwrap_or(meta.gid),
            )),
        }
    }

    /// The recorded mode, without what must not be given to another owner than the recorded one.
    fn permitted_mode(
        &self,
        object: &Object<'_>,
        path: &EntryPath,
        meta: &Meta,
        owned: Given,
    ) -> u32 {
        let mode = meta.mode & 0o7777;
        let (uid, gid) = self.wanted_owner(meta).unwrap_or((meta.uid, meta.gid));
        let mut withheld = 0;
        if uid != owned.uid {
            withheld |= SET_USER_ID;
        }
        // On a directory it only decides the group of what is created there.
        if gid != owned.gid && !matches!(object, Object::Directory(_)) {
            withheld |= SET_GROUP_ID;
        }
        if mode & withheld != 0 {
            self.monitor.warn(&format!(
                "'{path}': its set-ID bits ({:o}) are not restored, as its owner is not",
                mode & withheld
            ));
        }
        mode & !withheld
    }

    /// Sets attributes; false if one was refused. All refusals of one kind are one warning.
    fn apply_xattrs(&self, object: &Object<'_>, path: &EntryPath, xattrs: &[&Xattr]) -> bool {
        let mut refusals: Vec<(Errno, String)> = Vec::new();
        for xattr in xattrs {
            if let Err(errno) = object.set_xattr(xattr) {
                let name = String::from_utf8_lossy(&xattr.name);
                match refusals.iter_mut().find(|(e, _)| *e == errno) {
                    Some((_, names)) => {
                        names.push_str(", ");
                        names.push_str(&name);
                    }
                    None => refusals.push((errno, name.into_owned())),
                }
            }
        }
        for (errno, names) in &refusals {
            let names = names.escape_debug();
            self.refused(path, &format!("attributes {names}"), *errno);
        }
        refusals.is_empty()
    }

    /// Warns that something of `path` was not restored.
    pub(super) fn refused(&self, path: &EntryPath, what: &str, errno: Errno) {
        let why = std::io::Error::from(errno);
        self.monitor
            .warn(&format!("'{path}': {what} not restored: {why}"));
    }
}

impl Object<'_> {
    fn is_symlink(&self) -> bool {
        matches!(self, Self::Node { symlink: true, .. })
    }

    fn chown(&self, uid: u32, gid: u32) -> rustix::io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::File(fd) | Self::Directory(fd) => fs::fchown(fd, uid, gid),
            Self::Node { dir, name, .. } => {
                fs::chownat(dir, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    fn chmod(&self, mode: u32) -> rustix::io::Result<()> {
        match self {
            Self::File(fd) | Self::Directory(fd) => fs::fchmod(fd, Mode::from_raw_mode(mode)),
            Self::Node { dir, name, .. } => chmod_name(dir, name, mode),
        }
    }

    fn set_xattr(&self, xattr: &Xattr) -> rustix::io::Result<()> {
        let (name, value) = (xattr.name.as_slice(), xattr.value.as_slice());
        match self {
            Self::File(fd) | Self::Directory(fd) => {
                fs::fsetxattr(fd, name, value, XattrFlags::empty())
            }
            Self::Node {
                dir, name: node, ..
            } => fs::lsetxattr(through_proc(*dir, node), name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::File(fd) | Self::Directory(fd) => fs::fremovexattr(fd, name),
            Self::Node {
                dir, name: node, ..
            } => fs::lremovexattr(through_proc(*dir, node), name),
        }
    }

    fn set_times(&self, meta: &Meta) -> rustix::io::Result<()> {
        let times = Timestamps {
            last_access: meta.atime.map_or(
                Timespec {
                    tv_sec: 0,
                    tv_nsec: UTIME_OMIT,
                },
                timespec,
            ),
            last_modification: timespec(meta.mtime),
        };
        match self {
            Self::File(fd) | Self::Directory(fd) => fs::futimens(fd, &times),
            Self::Node { dir, name, .. } => {
                fs::utimensat(dir, *name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }
}

/// Changes the mode of a name that is no symbolic link: pinned by a handle first, as `chmod` itself would follow one.
pub(super) fn chmod_name(dir: impl AsFd, name: &[u8], mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned: OwnedFd = fs::openat(dir, name, flags, Mode::empty())?;
    if fs::FileType::from_raw_mode(fs::fstat(&pinned)?.st_mode) == fs::FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let path = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    fs::chmod(path.as_bytes(), Mode::from_raw_mode(mode))
}

/// A path to `name` in `dir` for calls that take no directory handle; they must be of the kind that does not follow links.
fn through_proc(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

fn timespec(time: Time) -> Timespec {
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    }
}

/// The owning group's permission in an access ACL that has a mask: what the mode's group bits meant before the ACL.
fn group_behind_mask(xattr: &Xattr) -> Option<u32> {
    const GROUP_OBJ: u16 = 0x04;
    if xattr.name != ACL_ACCESS {
        return None;
    }
    let entries = xattr.value.get(4..)?;
    entries.as_chunks::<8>().0.iter().find_map(|entry| {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let perm = u16::from_le_bytes([entry[2], entry[3]]);
        (tag == GROUP_OBJ).then_some(u32::from(perm & 7))
    })
}
