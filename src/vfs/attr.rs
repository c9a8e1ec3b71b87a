//! What `stat` says about an entry: a projection of its node, without anything of FUSE in it.

use crate::entry::Time;
use crate::format::content;
use crate::format::tree::{Body, Node};

/// Shown as owner of everything, instead of what the snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The attributes of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub inode: u64,
    /// File type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Logical size.
    pub size: u64,
    /// 512-byte units that are in chunks: a sparse file shows as sparse.
    pub blocks: u64,
    /// How many names it has.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Last access.
    pub atime: Time,
    /// Last modification.
    pub mtime: Time,
    /// Last status change.
    pub ctime: Time,
}

/// What a directory says its size is; file systems differ, and nothing reads it.
const DIRECTORY_BYTES: u64 = 4096;

impl Attr {
    /// The attributes of a node.
    pub(super) fn of(node: &Node, inode: u64, owner: Option<Owner>) -> Self {
        let meta = &node.meta;
        let (size, blocks, links) = match &node.body {
            Body::File { size, content } => {
                let blocks = content::total_data(content).div_ceil(512);
                (*size, blocks, node.links)
            }
            // "." and ".." of each directory below are names too.
            Body::Directory(tree) => {
                let links =
                    u32::try_from(tree.directories).map_or(u32::MAX, |n| n.saturating_add(2));
                (DIRECTORY_BYTES, DIRECTORY_BYTES / 512, links)
            }
            Body::Symlink(target) => (target.len() as u64, 0, node.links),
            _ => (0, 0, node.links),
        };
        let device = match node.body {
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => (major, minor),
            _ => (0, 0),
        };
        let owner = owner.unwrap_or(Owner {
            uid: meta.uid,
            gid: meta.gid,
        });
        Self {
            inode,
            mode: node.body.file_type() | meta.mode & 0o7777,
            size,
            blocks,
            links,
            uid: owner.uid,
            gid: owner.gid,
            device,
            atime: meta.atime.unwrap_or(meta.mtime),
            mtime: meta.mtime,
            ctime: meta.ctime.unwrap_or(meta.mtime),
        }
    }

    /// The attributes of a directory that no snapshot holds.
    pub(super) fn of_virtual_directory(inode: u64, subdirectories: usize, time: Time) -> Self {
        let links = u32::try_from(subdirectories).map_or(u32::MAX, |n| n.saturating_add(2));
        Self {
            inode,
            mode: DIRECTORY | 0o555,
            size: DIRECTORY_BYTES,
            blocks: 0,
            links,
            uid: 0,
            gid: 0,
            device: (0, 0),
            atime: time,
            mtime: time,
            ctime: time,
        }
    }

    /// The attributes of a symbolic link that no snapshot holds.
    pub(super) fn of_virtual_link(inode: u64, target_bytes: usize, time: Time) -> Self {
        Self {
            mode: SYMLINK | 0o777,
            size: target_bytes as u64,
            links: 1,
            ..Self::of_virtual_directory(inode, 0, time)
        }
    }

    /// The `S_IFMT` bits.
    pub fn file_type(&self) -> u32 {
        self.mode & 0o170_000
    }
}

pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const SYMLINK: u32 = 0o120_000;
