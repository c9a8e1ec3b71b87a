//! The kernel's requests, translated: each asks the file system and sends the answer.
//!
//! Nothing is decided here but what the kernel is told about caching: snapshots never change, so what is in one is kept
//! for as long as the kernel likes; the directories above the snapshots are asked for again after a second. Everything that
//! would change something is `EROFS` (the mount is read-only as well; this holds even if somebody remounts it).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answers::{Answers, LONG, send_xattr};
use super::convert::{file_attr, file_type, nothing};
use crate::entry::Xattr;

const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// The translation.
pub(super) struct RepoFilesystem {
    answers: Answers,
    /// The kernel checks POSIX ACLs.
    check_acls: bool,
    /// Files need no opening.
    no_open: bool,
    /// Directories need no opening.
    no_open_dir: bool,
}

impl RepoFilesystem {
    pub(super) fn new(answers: Answers, check_acls: bool) -> Self {
        Self {
            answers,
            check_acls,
            no_open: false,
            no_open_dir: false,
        }
    }
}

impl Filesystem for RepoFilesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            // Each only makes it faster; a kernel without it is asked for less.
            let _ = config.add_capabilities(wanted);
        }
        if self.check_acls {
            let _ = config.add_capabilities(InitFlags::FUSE_POSIX_ACL);
        }
        self.no_open = config
            .add_capabilities(InitFlags::FUSE_NO_OPEN_SUPPORT)
            .is_ok();
        // Without opening, the kernel caches every listing for good: wrong for directories that change.
        self.no_open_dir = self.answers.vfs().is_fixed()
            && config
                .add_capabilities(InitFlags::FUSE_NO_OPENDIR_SUPPORT)
                .is_ok();
        let _ = config.set_max_background(64);
        let _ = config.set_congestion_threshold(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (parent, name) = (parent.0, name.as_bytes().to_vec());
        self.answers.give(
            reply,
            move |vfs, wait| vfs.lookup(parent, &name, wait),
            move |shared, reply, answer| match answer {
                Ok(Some(attr)) => {
                    let (attr_ttl, entry_ttl) = (shared.ttl(attr.inode), shared.ttl(parent));
                    reply.entry_with_ttls(&attr_ttl, &entry_ttl, &file_attr(&attr), Generation(0));
                }
                Ok(None) if shared.vfs.is_fixed_inode(parent) => {
                    reply.entry(&LONG, &nothing(), Generation(0));
                }
                Ok(None) => reply.error(Errno::ENOENT),
                Err(error) => reply.error(shared.failed(parent, &error)),
            },
        );
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let inode = inode.0;
        self.answers.give(
            reply,
            move |vfs, wait| vfs.attr(inode, wait),
            move |shared, reply, answer| match answer {
                Ok(attr) => reply.attr(&shared.ttl(inode), &file_attr(&attr)),
                Err(error) => reply.error(shared.failed(inode, &error)),
            },
        );
    }

    fn readlink(&self, _: &Request, inode: INodeNo, reply: ReplyData) {
        let inode = inode.0;
        self.answers.give(
            reply,
            move |vfs, wait| vfs.read_link(inode, wait),
            move |shared, reply, answer| match answer {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(shared.failed(inode, &error)),
            },
        );
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != fuser::OpenAccMode::O_RDONLY {
            reply.error(Errno::EROFS);
        } else if self.no_open {
            // The kernel does not ask again, keeps pages, and sends no release.
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (inode, size) = (inode.0, size as usize);
        self.answers.give(
            reply,
            move |vfs, wait| vfs.read(inode, offset, size, wait),
            move |shared, reply, answer| match answer {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(shared.failed(inode, &error)),
            },
        );
    }

    fn opendir(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.no_open_dir {
            reply.error(Errno::ENOSYS);
        } else if self.answers.vfs().is_fixed_inode(inode.0) {
            let flags = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
            reply.opened(FileHandle(0), flags);
        } else {
            reply.opened(FileHandle(0), FopenFlags::empty());
        }
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.answers
            .list(inode.0, offset, reply, |reply, entry, _| {
                let (inode, kind) = (INodeNo(entry.attr.inode), file_type(&entry.attr));
                reply.add(inode, entry.next, kind, OsStr::from_bytes(entry.name))
            });
    }

    fn readdirplus(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.answers
            .list(inode.0, offset, reply, |reply, entry, ttl| {
                let (attr, name) = (file_attr(&entry.attr), OsStr::from_bytes(entry.name));
                reply.add(attr.ino, entry.next, name, &ttl, &attr, Generation(0))
            });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u32 = 4096;
        let totals = self.answers.vfs().totals();
        let blocks = totals.bytes.div_ceil(u64::from(BLOCK));
        reply.statfs(blocks, 0, 0, totals.entries, 0, BLOCK, 255, BLOCK);
    }

    fn getxattr(&self, _: &Request, inode: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if self.answers.vfs().has_no_xattrs() {
            // The kernel does not ask again, for any inode.
            return reply.error(Errno::ENOSYS);
        }
        let (inode, name) = (inode.0, name.as_bytes().to_vec());
        let value = move |xattrs: &[Xattr]| {
            let found = xattrs.iter().find(|xattr| xattr.name == name);
            found.map(|xattr| xattr.value.clone())
        };
        self.answers.give(
            reply,
            move |vfs, wait| vfs.xattrs(inode, wait, &value),
            move |shared, reply, answer| match answer {
                Ok(Some(value)) => send_xattr(reply, &value, size),
                Ok(None) => reply.error(Errno::ENODATA),
                Err(error) => reply.error(shared.failed(inode, &error)),
            },
        );
    }

    fn listxattr(&self, _: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        let inode = inode.0;
        let names = |xattrs: &[Xattr]| {
            let mut names = Vec::new();
            for xattr in xattrs {
                names.extend_from_slice(&xattr.name);
                names.push(0);
            }
            names
        };
        self.answers.give(
            reply,
            move |vfs, wait| vfs.xattrs(inode, wait, names),
            move |shared, reply, answer| match answer {
                Ok(names) => send_xattr(reply, &names, size),
                Err(error) => reply.error(shared.failed(inode, &error)),
            },
        );
    }

    fn lseek(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let (inode, Ok(offset)) = (inode.0, u64::try_from(offset)) else {
            return reply.error(Errno::ENXIO);
        };
        if whence != SEEK_DATA && whence != SEEK_HOLE {
            return reply.error(Errno::EINVAL);
        }
        self.answers.give(
            reply,
            move |vfs, wait| match whence {
                SEEK_DATA => vfs.next_data(inode, offset, wait),
                _ => vfs.next_hole(inode, offset, wait),
            },
            move |shared, reply, answer| match answer {
                Ok(Some(found)) => match i64::try_from(found) {
                    Ok(found) => reply.offset(found),
                    Err(_) => reply.error(Errno::EOVERFLOW),
                },
                Ok(None) => reply.error(Errno::ENXIO),
                Err(error) => reply.error(shared.failed(inode, &error)),
            },
        );
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: INodeNo,
        _: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }
}
