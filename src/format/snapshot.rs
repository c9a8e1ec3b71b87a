//! Snapshot objects: the root tree, and when, what, who, from what kind of stream.
//!
//! The container is a pack's with one block, whose raw bytes are numbered fields (numbers below). A snapshot is the only thing
//! that makes data reachable; writing it is the commit point.

use super::content::{self, Item, MAX_CONTENT_BYTES};
use super::cursor::{Cursor, DecodeError, put_bytes};
use super::fields::{
    Unknown, Value, put_field, put_nonempty, put_nonzero, put_number, read_fields,
};
use super::tree::{MAX_NODE_BYTES, Node};
use crate::entry::Time;
use crate::id::{RepositoryId, SnapshotId};

/// The longest encoded snapshot.
pub const MAX_SNAPSHOT_BYTES: usize = 16 << 20;
/// The longest name of a snapshot, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest single text (description, tag, warning, source path).
pub const MAX_TEXT_BYTES: usize = 64 << 10;
/// The most tags, sources or warnings.
pub const MAX_LIST: usize = 4096;

/// An enum whose variants are stored as a number and shown as a word: one row for each.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident[$count:literal] {
        $($(#[$row:meta])* $variant:ident = $number:literal $word:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$row])* $variant = $number,)*
        }

        impl $name {
            /// All of them, by number.
            pub const ALL: [Self; $count] = [$(Self::$variant),*];

            /// The one with this number.
            pub fn from_u8(value: u8) -> Option<Self> {
                Self::ALL.into_iter().find(|one| *one as u8 == value)
            }

            /// The word for it on the command line and in JSON.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

table! {
    /// What a snapshot was made from.
    StreamKind[8] {
        /// A directory of a file system.
        Dir = 1 "dir",
        /// A tar archive.
        Tar = 2 "tar",
        /// A stack archive: a tar with a `manifest.json` object.
        Stack = 3 "stack",
        /// A volume archive: a tar with a `manifest.json` array.
        Volume = 4 "volume",
        /// A VM snapshot: a tar with a `snapshot.json`.
        Vm = 5 "vm",
        /// A disk image or block device.
        Disk = 6 "disk",
        /// A database dump.
        Db = 7 "db",
        /// Any other stream of bytes.
        Stream = 8 "stream",
    }
}

table! {
    /// The outer compression that was peeled off a stream.
    #[derive(Default)]
    Wrapping[6] {
        /// None.
        #[default]
        Plain = 0 "none",
        /// gzip.
        Gzip = 1 "gzip",
        /// zstd.
        Zstd = 2 "zstd",
        /// xz.
        Xz = 3 "xz",
        /// bzip2.
        Bzip2 = 4 "bzip2",
        /// A disk in qcow2 format.
        Qcow2 = 5 "qcow2",
    }
}

/// A stream of bytes and its digest (unkeyed BLAKE3-256, as `b3sum` prints it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamDigest {
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub blake3: [u8; 32],
}

/// The snapshot that another is a copy of, through any number of copies: the one that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The repository that it was taken in.
    pub repository: RepositoryId,
    /// Its id there.
    pub snapshot: SnapshotId,
}

/// How much there is in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files (names of one hard-linked file count once each).
    pub files: u64,
    /// Directories, the root not counted.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Logical bytes of all files.
    pub bytes: u64,
    /// Bytes that this ingest added to the repository, as stored.
    pub added_bytes: u64,
}

/// A decoded snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was begun.
    pub time: Time,
    /// When it was committed.
    pub finished: Time,
    /// Its name, for REFs; any number of snapshots may share one.
    pub name: String,
    /// What it is of.
    pub kind: StreamKind,
    /// The root directory, with its own metadata and an empty name.
    pub root: Node,
    /// Free text.
    pub description: String,
    /// Tags `key=value`, sorted by key.
    pub tags: Vec<(String, String)>,
    /// The host and user that made it.
    pub host: String,
    /// The user that made it.
    pub user: String,
    /// What was read: absolute paths, `-`, or the program of a command.
    pub sources: Vec<Vec<u8>>,
    /// How much there is.
    pub counts: Counts,
    /// The recipe stream of an archive.
    pub recipe: Vec<Item>,
    /// The overrides of the recipe.
    pub overrides: Vec<Item>,
    /// The archive or stream as it was after its outer compression was peeled off.
    pub stream: Option<StreamDigest>,
    /// The outer compression.
    pub wrapping: Wrapping,
    /// The stream as it came, if it was wrapped.
    pub wrapped: Option<StreamDigest>,
    /// The very bytes of a wrapped stream, if they were kept (`--exact`).
    pub original: Vec<Item>,
    /// The identity document of a stack, volume or VM archive, byte for byte.
    pub identity: Vec<Item>,
    /// Warnings of the ingest; the first few thousand.
    pub warnings: Vec<String>,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The snapshot before it of the same name and source, if any.
    pub parent: Option<SnapshotId>,
    /// The program that wrote it.
    pub program: String,
    /// What it is a copy of; `None` if it was taken here.
    pub origin: Option<Origin>,
    /// Fields of later versions.
    pub unknown: Unknown,
}

impl Snapshot {
    /// A snapshot of `root` with everything else empty.
    pub fn new(kind: StreamKind, root: Node) -> Self {
        Self {
            time: Time::default(),
            finished: Time::default(),
            name: String::new(),
            kind,
            root,
            description: String::new(),
            tags: Vec::new(),
            host: String::new(),
            user: String::new(),
            sources: Vec::new(),
            counts: Counts::default(),
            recipe: Vec::new(),
            overrides: Vec::new(),
            stream: None,
            wrapping: Wrapping::Plain,
            wrapped: None,
            original: Vec::new(),
            identity: Vec::new(),
            warnings: Vec::new(),
            warning_count: 0,
            parent: None,
            program: String::new(),
            origin: None,
            unknown: Unknown::default(),
        }
    }

    /// The encoded fields.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_nonempty(&mut out, 1, &time_bytes(self.time));
        put_nonempty(&mut out, 2, &time_bytes(self.finished));
        put_nonempty(&mut out, 3, self.name.as_bytes());
        put_number(&mut out, 4, self.kind as u64);
        let mut root = Vec::new();
        self.root.encode(&mut root);
        put_nonempty(&mut out, 5, &root);
        put_nonempty(&mut out, 6, self.description.as_bytes());
        for (key, value) in &self.tags {
            let mut pair = Vec::new();
            put_bytes(&mut pair, key.as_bytes());
            pair.extend_from_slice(value.as_bytes());
            put_field(&mut out, 7, &pair);
        }
        put_nonempty(&mut out, 8, self.host.as_bytes());
        put_nonempty(&mut out, 9, self.user.as_bytes());
        for source in &self.sources {
            put_field(&mut out, 10, source);
        }
        let counts = &self.counts;
        put_nonzero(&mut out, 11, counts.files);
        put_nonzero(&mut out, 12, counts.directories);
        put_nonzero(&mut out, 13, counts.others);
        put_nonzero(&mut out, 14, counts.bytes);
        put_nonzero(&mut out, 15, counts.added_bytes);
        put_nonempty(&mut out, 16, &content::encode(&self.recipe));
        put_nonempty(&mut out, 17, &content::encode(&self.overrides));
        put_nonempty(
            &mut out,
            18,
            &self.stream.map(digest_bytes).unwrap_or_default(),
        );
        put_nonzero(&mut out, 19, self.wrapping as u64);
        put_nonempty(
            &mut out,
            20,
            &self.wrapped.map(digest_bytes).unwrap_or_default(),
        );
        put_nonempty(&mut out, 21, &content::encode(&self.original));
        put_nonempty(&mut out, 22, &content::encode(&self.identity));
        for warning in &self.warnings {
            put_field(&mut out, 23, warning.as_bytes());
        }
        put_nonzero(&mut out, 24, self.warning_count);
        put_nonempty(
            &mut out,
            25,
            self.parent.as_ref().map_or(&[], |id| id.as_bytes()),
        );
        put_nonempty(&mut out, 26, self.program.as_bytes());
        put_nonempty(
            &mut out,
            27,
            &self.origin.map(origin_bytes).unwrap_or_default(),
        );
        self.unknown.put(&mut out);
        out
    }

    /// Decodes fields that fill `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_SNAPSHOT_BYTES {
            return Err(DecodeError {
                what: "snapshot too long",
                offset: 0,
            });
        }
        let missing = Node::new(Vec::new(), super::tree::Body::Fifo);
        let mut snapshot = Self::new(StreamKind::Dir, missing);
        let mut kind = None;
        read_fields(bytes, |number, value| {
            snapshot.take(number, value, &mut kind)
        })?;
        snapshot.kind = kind.ok_or(DecodeError {
            what: "snapshot without a kind",
            offset: 0,
        })?;
        if !matches!(snapshot.root.body, super::tree::Body::Directory(_))
            || !snapshot.root.name.is_empty()
        {
            return Err(DecodeError {
                what: "snapshot without a root directory",
                offset: 0,
            });
        }
        Ok(snapshot)
    }

    fn take(
        &mut self,
        number: u64,
        value: Value<'_>,
        kind: &mut Option<StreamKind>,
    ) -> Result<(), DecodeError> {
        let items = |value: Value<'_>, what| content::decode(value.bytes(MAX_CONTENT_BYTES, what)?);
        let number_u8 = |what| Ok(u8::try_from(value.number(what)?).unwrap_or(u8::MAX));
        match number {
            1 => self.time = read_time(value)?,
            2 => self.finished = read_time(value)?,
            3 => self.name = text(value, MAX_NAME_BYTES, "name")?,
            4 => *kind = StreamKind::from_u8(number_u8("kind")?),
            5 => self.root = Node::decode(value.bytes(MAX_NODE_BYTES, "root")?)?,
            6 => self.description = text(value, MAX_TEXT_BYTES, "description")?,
            7 => push(&mut self.tags, read_tag(value)?)?,
            8 => self.host = text(value, MAX_TEXT_BYTES, "host")?,
            9 => self.user = text(value, MAX_TEXT_BYTES, "user")?,
            10 => push(
                &mut self.sources,
                value.bytes(MAX_TEXT_BYTES, "source")?.to_vec(),
            )?,
            11 => self.counts.files = value.number("files")?,
            12 => self.counts.directories = value.number("directories")?,
            13 => self.counts.others = value.number("others")?,
            14 => self.counts.bytes = value.number("bytes")?,
            15 => self.counts.added_bytes = value.number("added bytes")?,
            16 => self.recipe = items(value, "recipe")?,
            17 => self.overrides = items(value, "overrides")?,
            18 => self.stream = Some(read_digest(value)?),
            19 => {
                self.wrapping = Wrapping::from_u8(number_u8("wrapping")?).ok_or(DecodeError {
                    what: "unknown wrapping",
                    offset: 0,
                })?;
            }
            20 => self.wrapped = Some(read_digest(value)?),
            21 => self.original = items(value, "original")?,
            22 => self.identity = items(value, "identity")?,
            23 => push(&mut self.warnings, text(value, MAX_TEXT_BYTES, "warning")?)?,
            24 => self.warning_count = value.number("warning count")?,
            25 => {
                self.parent = Some(SnapshotId::from_slice(value.bytes(32, "parent")?).ok_or(
                    DecodeError {
                        what: "parent id",
                        offset: 0,
                    },
                )?);
            }
            26 => self.program = text(value, MAX_TEXT_BYTES, "program")?,
            27 => self.origin = Some(read_origin(value)?),
            _ => self.unknown.keep(number, value),
        }
        Ok(())
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), DecodeError> {
    if list.len() >= MAX_LIST {
        return Err(DecodeError {
            what: "too many list items",
            offset: 0,
        });
    }
    list.push(item);
    Ok(())
}

fn text(value: Value<'_>, limit: usize, what: &'static str) -> Result<String, DecodeError> {
    String::from_utf8(value.bytes(limit, what)?.to_vec())
        .map_err(|_| DecodeError { what, offset: 0 })
}

fn time_bytes(time: Time) -> Vec<u8> {
    let mut out = Vec::new();
    super::cursor::put_zigzag(&mut out, time.seconds);
    super::cursor::put_varint(&mut out, u64::from(time.nanoseconds));
    out
}

fn read_time(value: Value<'_>) -> Result<Time, DecodeError> {
    let mut cursor = Cursor::new(value.bytes(16, "time")?);
    let time = Time::new(cursor.zigzag("seconds")?, cursor.varint_u32("nanoseconds")?);
    cursor.finish("time too long")?;
    Ok(time)
}

fn read_tag(value: Value<'_>) -> Result<(String, String), DecodeError> {
    let mut cursor = Cursor::new(value.bytes(MAX_TEXT_BYTES, "tag")?);
    let key = cursor.bytes(MAX_TEXT_BYTES, "tag key")?.to_vec();
    let rest = cursor.take(cursor.remaining(), "tag value")?.to_vec();
    let bad = |_| DecodeError {
        what: "tag is not UTF-8",
        offset: 0,
    };
    Ok((
        String::from_utf8(key).map_err(bad)?,
        String::from_utf8(rest).map_err(bad)?,
    ))
}

fn digest_bytes(digest: StreamDigest) -> Vec<u8> {
    let mut out = digest.blake3.to_vec();
    super::cursor::put_varint(&mut out, digest.bytes);
    out
}

fn read_digest(value: Value<'_>) -> Result<StreamDigest, DecodeError> {
    let mut cursor = Cursor::new(value.bytes(64, "digest")?);
    let blake3 = cursor.array("digest")?;
    let bytes = cursor.varint("stream length")?;
    cursor.finish("digest too long")?;
    Ok(StreamDigest { bytes, blake3 })
}

fn origin_bytes(origin: Origin) -> Vec<u8> {
    let mut out = origin.repository.as_bytes().to_vec();
    out.extend_from_slice(origin.snapshot.as_bytes());
    out
}

fn read_origin(value: Value<'_>) -> Result<Origin, DecodeError> {
    let bytes = value.bytes(RepositoryId::LEN + SnapshotId::LEN, "origin")?;
    let mut cursor = Cursor::new(bytes);
    let origin = Origin {
        repository: RepositoryId::new(cursor.array("origin")?),
        snapshot: SnapshotId::new(cursor.array("origin")?),
    };
    cursor.finish("origin too long")?;
    Ok(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tree::{Body, TreeRef};
    use crate::id::ChunkId;

    #[test]
    fn empty_texts_in_lists_are_kept() {
        let tree = TreeRef {
            id: ChunkId::new([1; 32]),
            names: 0,
            directories: 0,
            total: 0,
            bytes: 0,
        };
        let root = Node::new(Vec::new(), Body::Directory(tree));
        let mut snapshot = Snapshot::new(StreamKind::Dir, root);
        snapshot.sources = vec![b"a".to_vec(), Vec::new()];
        snapshot.warnings = vec![String::new()];
        assert_eq!(Snapshot::decode(&snapshot.encode()).unwrap(), snapshot);
    }

    #[test]
    fn round_trip() {
        let tree = TreeRef {
            id: ChunkId::new([1; 32]),
            names: 0,
            directories: 0,
            total: 0,
            bytes: 0,
        };
        let mut snapshot =
            Snapshot::new(StreamKind::Vm, Node::new(Vec::new(), Body::Directory(tree)));
        snapshot.name = "web".into();
        snapshot.tags = vec![("a".into(), "b=c".into()), ("z".into(), String::new())];
        snapshot.stream = Some(StreamDigest {
            bytes: 10,
            blake3: [4; 32],
        });
        snapshot.wrapping = Wrapping::Xz;
        snapshot.identity = vec![Item::Zeros(3)];
        snapshot.warnings = vec!["w".into()];
        snapshot.parent = Some(SnapshotId::new([8; 32]));
        let bytes = snapshot.encode();
        assert_eq!(Snapshot::decode(&bytes).unwrap(), snapshot);
        for len in 0..bytes.len() {
            let _ = Snapshot::decode(&bytes[..len]);
        }
        assert!(Snapshot::decode(&[]).is_err());
    }
}
