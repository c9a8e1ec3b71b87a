//! What a stream is, by its first bytes.
//!
//! Content decides, never a file name. The answer for anything in doubt is [`Detected::Opaque`], which is always safe:
//! an opaque stream is kept as it is. A dump's label is only shown to people; nothing depends on it, since
//! the heads of dumps change from release to release.

use std::fmt;

use super::tar::is_header;

/// How many first bytes of a stream [`detect`] wants to see; fewer only if the stream is shorter.
pub const HEAD_BYTES: usize = 64 << 10;

/// The longest run of zeros that is taken for an empty tar: one record of the usual 20 blocks.
const EMPTY_TAR_BYTES: usize = 10_240;

/// A compressed container that can be taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames, skippable ones included.
    Zstd,
    /// The `.xz` container, one or more streams.
    Xz,
    /// bzip2, one or more streams.
    Bzip2,
}

/// A dump of a database, as a label for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dump {
    /// `pg_dump` in its custom format.
    PostgresCustom,
    /// `pg_dump` or `pg_dumpall` as SQL text.
    PostgresText,
    /// `mysqldump` or `mariadb-dump`.
    Mysql,
    /// `mongodump --archive`.
    Mongo,
    /// A Redis RDB file.
    Redis,
    /// A database file of `SQLite`.
    Sqlite,
}

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detected {
    /// Compressed; what is inside is not known yet.
    Compressed(Compression),
    /// A tar archive, perhaps an empty one.
    Tar,
    /// A QEMU disk image with clusters of its own.
    Qcow2,
    /// A database dump.
    Dump(Dump),
    /// Anything else: bytes.
    Opaque,
}

impl Compression {
    /// The container's name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The container that begins with these bytes. A skippable zstd frame is also what LZ4 calls skippable:
    /// the frame after it must be in `head` to decide.
    pub fn detect(head: &[u8]) -> Option<Self> {
        match head {
            // Method 8 (deflate), and none of the reserved flags.
            [0x1f, 0x8b, 8, flags, ..] if flags & 0xe0 == 0 => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] => {
                // A block, or the end mark of an empty stream.
                let follows = rest.get(..6)?;
                let known = follows == b"1AY&SY" || follows == b"\x17\x72\x45\x38\x50\x90";
                known.then_some(Self::Bzip2)
            }
            _ => is_zstd(head).then_some(Self::Zstd),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Dump {
    /// A word for people and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::PostgresCustom => "postgres-custom",
            Self::PostgresText => "postgres-sql",
            Self::Mysql => "mysql-sql",
            Self::Mongo => "mongo-archive",
            Self::Redis => "redis-rdb",
            Self::Sqlite => "sqlite",
        }
    }

    fn detect(head: &[u8]) -> Option<Self> {
        const MYSQL: [&[u8]; 4] = [
            b"-- MySQL dump",
            b"-- MariaDB dump",
            b"-- mysqldump",
            b"-- mariadb-dump",
        ];
        // Newer MariaDB puts a comment that switches its client to a sandbox mode before the first line.
        let text = match head.strip_prefix(b"/*") {
            Some(rest) => rest
                .iter()
                .position(|b| *b == b'\n')
                .map_or(head, |at| &rest[at + 1..]),
            None => head,
        };
        if head.starts_with(b"PGDMP") {
            Some(Self::PostgresCustom)
        } else if head.starts_with(b"--\n-- PostgreSQL database") {
            Some(Self::PostgresText)
        } else if MYSQL.iter().any(|magic| text.starts_with(magic)) {
            Some(Self::Mysql)
        } else if head.starts_with(b"\x6d\xe2\x99\x81") {
            Some(Self::Mongo)
        } else if head.starts_with(b"REDIS") {
            Some(Self::Redis)
        } else if head.starts_with(b"SQLite format 3\0") {
            Some(Self::Sqlite)
        } else {
            None
        }
    }
}

/// What the stream that begins with `head` is: up to [`HEAD_BYTES`], or all of a shorter stream.
pub fn detect(head: &[u8]) -> Detected {
    if let Some(compression) = Compression::detect(head) {
        Detected::Compressed(compression)
    } else if is_tar(head) {
        Detected::Tar
    } else if head.starts_with(b"QFI\xfb") {
        Detected::Qcow2
    } else {
        Dump::detect(head).map_or(Detected::Opaque, Detected::Dump)
    }
}

/// A first block that is a header (or says so), or nothing but end blocks. A longer run of zeros is
/// rather the beginning of a disk image, so only what an archiver writes for "nothing" counts.
fn is_tar(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<512>() else {
        return false;
    };
    if block[257..262] == *b"ustar" || is_header(block) {
        return true;
    }
    head.len() <= EMPTY_TAR_BYTES && head.len().is_multiple_of(512) && head.iter().all(|b| *b == 0)
}

/// A zstd frame, after any number of skippable ones.
fn is_zstd(mut head: &[u8]) -> bool {
    loop {
        match head {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return true,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] => {
                let skipped = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d]));
                match skipped.ok().and_then(|skipped| rest.get(skipped..)) {
                    Some(rest) => head = rest,
                    None => return false,
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_by_their_magic() {
        let compressed = |head: &[u8]| match detect(head) {
            Detected::Compressed(compression) => Some(compression),
            _ => None,
        };
        assert_eq!(compressed(b"\x1f\x8b\x08\0aaaaaa"), Some(Compression::Gzip));
        assert_eq!(compressed(b"\x1f\x8b\x08\xe0aaaaaa"), None);
        assert_eq!(compressed(b"\xfd7zXZ\0aa"), Some(Compression::Xz));
        assert_eq!(compressed(b"BZh91AY&SYxx"), Some(Compression::Bzip2));
        assert_eq!(compressed(b"BZh9 is a sentence"), None);
        assert_eq!(compressed(b"\x28\xb5\x2f\xfd"), Some(Compression::Zstd));
        let skippable = b"\x53\x2a\x4d\x18\x02\0\0\0zz";
        let lz4 = [&skippable[..], b"\x04\x22\x4d\x18"].concat();
        let zstd = [&skippable[..], skippable, b"\x28\xb5\x2f\xfd"].concat();
        assert_eq!(compressed(&zstd), Some(Compression::Zstd));
        assert_eq!(compressed(&lz4), None);
        assert_eq!(compressed(b"\x53\x2a\x4d\x18\xff\xff\xff\xff"), None);
    }

    #[test]
    fn dumps_are_labelled() {
        let sandboxed = b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19";
        assert_eq!(detect(sandboxed), Detected::Dump(Dump::Mysql));
        assert_eq!(
            detect(b"PGDMP\x01\x0e"),
            Detected::Dump(Dump::PostgresCustom)
        );
        assert_eq!(detect(b"SQLite format 3\0"), Detected::Dump(Dump::Sqlite));
        assert_eq!(detect(b"QFI\xfb\0\0\0\x03"), Detected::Qcow2);
        assert_eq!(detect(b""), Detected::Opaque);
    }

    #[test]
    fn zeros_are_an_empty_tar_only_as_long_as_one() {
        assert_eq!(detect(&[0; 1024]), Detected::Tar);
        assert_eq!(detect(&[0; 10_240]), Detected::Tar);
        assert_eq!(detect(&vec![0; HEAD_BYTES]), Detected::Opaque);
        assert_eq!(detect(&[0; 700]), Detected::Opaque);
    }
}
