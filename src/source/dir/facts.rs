//! What `statx` says about one inode, and the [`Entry`] that follows from it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, makedev, statx};

use crate::entry::{Entry, EntryPath, Kind, Meta, Stat, Time};

/// One inode's metadata. Equal facts before and after reading mean that the content is of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// File type and permission bits.
    mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// In units of 512 bytes.
    blocks: u64,
    pub(crate) mtime: Time,
    ctime: Time,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u32,
    node: (u32, u32),
}

impl Facts {
    /// Of the name in the directory, not of what a symbolic link points to.
    pub(crate) fn of_name(dir: impl AsFd, name: &[u8]) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let raw = statx(dir, OsStr::from_bytes(name), flags, StatxFlags::BASIC_STATS)?;
        Ok(Self::from_raw(&raw))
    }

    /// Of an open file.
    pub(crate) fn of_handle(handle: impl AsFd) -> io::Result<Self> {
        let raw = statx(handle, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(Self::from_raw(&raw))
    }

    fn from_raw(raw: &Statx) -> Self {
        Self {
            mode: u32::from(raw.stx_mode),
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            mtime: time(&raw.stx_mtime),
            ctime: time(&raw.stx_ctime),
            device: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            inode: raw.stx_ino,
            links: raw.stx_nlink,
            node: (raw.stx_rdev_major, raw.stx_rdev_minor),
        }
    }

    /// What kind of inode it is.
    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// True for a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    /// True if fewer bytes are allocated than the size says: there may be holes (or compression, or inline data).
    pub(crate) fn may_have_holes(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size
    }

    /// True if what was read between `self` and `after` is the content of one moment.
    pub(crate) fn same_content(&self, after: &Self) -> bool {
        (self.device, self.inode, self.size) == (after.device, after.inode, after.size)
            && (self.mtime, self.ctime) == (after.mtime, after.ctime)
    }

    /// The entry at `path`, without owner names and extended attributes. `None` for a type that this system should not
    /// have. A symbolic link gets an empty target.
    pub(crate) fn entry(&self, path: EntryPath) -> Option<Entry> {
        let kind = match self.file_type() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(Vec::new()),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice => Kind::CharDevice(self.node.0, self.node.1),
            FileType::BlockDevice => Kind::BlockDevice(self.node.0, self.node.1),
            FileType::Unknown => return None,
        };
        let mut entry = Entry::new(path, kind);
        entry.size = if self.is_file() { self.size } else { 0 };
        self.describe(&mut entry);
        Some(entry)
    }

    /// Writes mode, owner numbers, times and identity into `entry`. Access and status change times stay out of the
    /// metadata: they differ between equal trees, whose stored nodes should be equal.
    fn describe(&self, entry: &mut Entry) {
        entry.meta = Meta {
            mode: self.mode & 0o7777,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            ..Meta::default()
        };
        entry.stat = Some(Stat {
            device: self.device,
            inode: self.inode,
            links: self.links,
            ctime: self.ctime,
            blocks: self.blocks,
        });
    }
}

fn time(raw: &StatxTimestamp) -> Time {
    Time::new(raw.tv_sec, raw.tv_nsec)
}
