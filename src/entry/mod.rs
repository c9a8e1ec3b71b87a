//! What a tree of files is, independent of where it came from and how it is stored.
//!
//! [`Entry`] is the model; a stored node is only its bytes, FUSE attributes and tar headers only its projections.
//! Entries flow from a [`Source`] into a [`Sink`] (see [`stream`](self::Sink)): ingest, restore, export and tests
//! all use that one pair.

mod accounts;
mod checked;
mod memory;
mod meta;
mod path;
mod shelf;
mod stream;

pub use accounts::accounts;
pub use checked::Checked;
pub use memory::{MemoryEntry, MemorySink, MemorySource, Piece};
pub use meta::{Meta, Stat, Time, Xattr};
pub use path::{EntryPath, MAX_NAME_BYTES, PathError};
pub use shelf::{MemoryShelf, Shelf, ShelfKey, shelf_key};
pub use stream::{Known, Order, Outcome, Sink, Source, Want};

/// What an entry is. Everything that a name in a directory can stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; its content follows as `data` and `hole` calls.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target bytes, never interpreted.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket's name (a socket has no content to keep).
    Socket,
    /// A character device with its major and minor numbers.
    CharDevice(u32, u32),
    /// A block device with its major and minor numbers.
    BlockDevice(u32, u32),
    /// One more name of a file that came earlier in the stream, by that earlier path. The entry's metadata is
    /// the file's as the source told it here; no content follows. A source in walk order has told with the first name that
    /// there are more ([`Stat::links`]), so that a sink need not remember every file.
    HardLink(EntryPath),
}

impl Kind {
    /// A word for people and JSON: `file`, `directory`, `symlink` ...
    pub fn name(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink(_) => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice(..) => "char-device",
            Self::BlockDevice(..) => "block-device",
            Self::HardLink(_) => "hard-link",
        }
    }
}

/// A range of a file's content that holds data; what lies between extents is hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte, from the start of the file.
    pub offset: u64,
    /// How many bytes; above 0.
    pub len: u64,
}

/// One name in a tree, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, relative to the root of the tree. The root itself is the empty path.
    pub path: EntryPath,
    /// What it is.
    pub kind: Kind,
    /// Mode, owner, times, extended attributes.
    pub meta: Meta,
    /// Logical size of a file as the source announced it, holes included; what follows is authoritative. 0 for others.
    pub size: u64,
    /// What the source's file system says about its identity, to recognise it unchanged; `None` for archives.
    pub stat: Option<Stat>,
    /// Where a file's data lies, sorted and apart from each other, when the source knows ahead that there are holes (an empty
    /// list is a file that is all hole). It must agree with the `data` and `hole` calls that follow: archives write the
    /// map in front of the content. `None` says nothing: holes may still come.
    pub extents: Option<Vec<Extent>>,
}

impl Entry {
    /// An entry with default metadata.
    pub fn new(path: EntryPath, kind: Kind) -> Self {
        Self {
            path,
            kind,
            meta: Meta::default(),
            size: 0,
            stat: None,
            extents: None,
        }
    }

    /// True for a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}
