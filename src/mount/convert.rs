//! The two tables between our words and the kernel's: attributes, and classes of errors to errno.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo};

use crate::entry::Time;
use crate::error::Class;
use crate::vfs::Attr;

/// What a program that reads through the mount gets for an error of this class.
///
/// A name that does not exist is no error here, so `NotFound` means that an object of the repository is
/// missing: bytes cannot be had, which is `EIO` like every damage. A mount never answers with wrong bytes.
pub(super) fn errno(class: Class) -> Errno {
    match class {
        Class::Invalid => Errno::EINVAL,
        Class::Unsupported => Errno::EOPNOTSUPP,
        Class::Interrupted => Errno::EINTR,
        _ => Errno::EIO,
    }
}

/// The kernel's attributes.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.inode),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr),
        perm: u16::try_from(attr.mode & 0o7777).unwrap_or(0),
        nlink: attr.links,
        uid: attr.uid,
        gid: attr.gid,
        rdev: device(attr.device),
        blksize: 128 << 10,
        flags: 0,
    }
}

/// The attributes that say "there is no such name, and there will be none".
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// The type of an entry.
pub(super) fn file_type(attr: &Attr) -> FileType {
    match attr.file_type() {
        0o010_000 => FileType::NamedPipe,
        0o020_000 => FileType::CharDevice,
        0o040_000 => FileType::Directory,
        0o060_000 => FileType::BlockDevice,
        0o120_000 => FileType::Symlink,
        0o140_000 => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

/// A device number as FUSE sends it: 12 bits of major, 20 of minor, in the kernel's 32-bit layout. Larger numbers,
/// which Linux has none of, lose their upper bits: the mount is `nodev`, they are for show.
fn device((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xf_ff00) << 12)
}

/// A time for the kernel; one that it cannot express becomes 1970.
fn system_time(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let seconds = if time.seconds >= 0 {
        UNIX_EPOCH.checked_add(whole)
    } else {
        UNIX_EPOCH.checked_sub(whole)
    };
    seconds
        .and_then(|seconds| seconds.checked_add(Duration::from_nanos(time.nanoseconds.into())))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_up() {
        let time = system_time(Time::new(-2, 250_000_000));
        let before = UNIX_EPOCH.duration_since(time).unwrap();
        assert_eq!(before, Duration::from_millis(1750));
        system_time(Time::new(i64::MIN, 0));
        system_time(Time::new(i64::MAX, 999_999_999));
    }

    #[test]
    fn device_numbers_have_the_kernels_layout() {
        assert_eq!(device((8, 1)), 0x801);
        assert_eq!(device((0x123, 0x45678)), 0x4561_2378);
    }

    #[test]
    fn nothing_but_bad_requests_and_damage() {
        assert_eq!(i32::from(errno(Class::Corrupt)), 5);
        assert_eq!(i32::from(errno(Class::NotFound)), 5);
        assert_eq!(i32::from(errno(Class::Invalid)), 22);
    }
}
