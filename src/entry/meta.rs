//! An entry's metadata: what `stat`, `listxattr` and a tar header say beside name, kind and content.

/// A point in time: seconds since 1970 (negative before) and nanoseconds within the second (always 0..1e9, counted up).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    /// A time; nanoseconds beyond a second are carried into the seconds (saturating).
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds: seconds.saturating_add(i64::from(nanoseconds / 1_000_000_000)),
            nanoseconds: nanoseconds % 1_000_000_000,
        }
    }
}

/// One extended attribute: full name (`user.x`, `system.posix_acl_access`, `security.capability` ...) and raw value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// Full name with its namespace.
    pub name: Vec<u8>,
    /// Raw value as the kernel gives it.
    pub value: Vec<u8>,
}

/// Mode, owner, times and extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most; the file type is in `Kind`.
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Owner by name, empty if unknown.
    pub user: Vec<u8>,
    /// Group by name, empty if unknown.
    pub group: Vec<u8>,
    /// Time of last modification.
    pub mtime: Time,
    /// Time of last access, if the source told it (an archive may).
    pub atime: Option<Time>,
    /// Time of last status change, if the source told it. Kept for information; it cannot be restored.
    pub ctime: Option<Time>,
    /// Extended attributes, sorted by name; POSIX ACLs and capabilities are among them.
    pub xattrs: Vec<Xattr>,
}

/// What a file system says about a file's identity; equal values mean that the content did not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Number of names.
    pub links: u32,
    /// Status change time.
    pub ctime: Time,
    /// 512-byte units allocated.
    pub blocks: u64,
}
