//! Trees: one directory each, sorted by name bytes, cut into shards when large.
//!
//! ```text
//! shard = 0 | (varint length | node)*                      a leaf: nodes in ascending order of their names
//!       | 1 | (bytes first name | tree reference)*         an index: shards in order, each covering names from its first
//! tree reference = id (32) | varint names | varint directories | varint total | varint bytes
//! node  = numbered fields (see `fields`), numbers below
//! ```
//! Where a leaf ends depends only on the names and sizes in it ([`is_boundary`]), so that one new name in a directory of a
//! million changes one leaf. A reference carries sums of what is below it: a reader numbers every entry of a snapshot
//! (its inode number) and answers `statfs` without reading any of it.

use super::content::{self, Item, MAX_CONTENT_BYTES};
use super::cursor::{Cursor, DecodeError, put_bytes, put_varint, put_zigzag};
use super::fields::{
    Unknown, Value, put_field, put_nonempty, put_nonzero, put_number, read_fields,
};
use crate::entry::{MAX_NAME_BYTES, Meta, Time, Xattr};
use crate::id::ChunkId;

/// A leaf ends at the latest when it is this long.
pub const MAX_LEAF_BYTES: usize = 256 << 10;
/// The longest encoded node: bounded by its extended attributes and inline content.
pub const MAX_NODE_BYTES: usize = 6 << 20;
/// The longest encoded shard.
pub const MAX_SHARD_BYTES: usize = MAX_LEAF_BYTES + MAX_NODE_BYTES + 16;
/// The most bytes of extended attributes of one node, names and values.
pub const MAX_XATTR_BYTES: usize = 4 << 20;
/// The longest symlink target.
pub const MAX_TARGET_BYTES: usize = 64 << 10;
/// How deep shards may nest.
pub const MAX_SHARD_DEPTH: usize = 6;

/// Leaves end after one in this many names, on average.
const LEAF_NAMES: u32 = 1024;

/// A directory's content by reference: the chunk of its topmost shard, and sums over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeRef {
    /// The chunk of the shard.
    pub id: ChunkId,
    /// Names directly in the directory (or in this shard of it).
    pub names: u64,
    /// How many of those are directories.
    pub directories: u64,
    /// Names at any depth below.
    pub total: u64,
    /// Logical bytes of all files below.
    pub bytes: u64,
}

impl TreeRef {
    /// Appends the encoded bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        for sum in [self.names, self.directories, self.total, self.bytes] {
            put_varint(out, sum);
        }
    }

    /// Decodes at the cursor.
    pub fn decode_from(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let tree = Self {
            id: ChunkId::new(cursor.array("tree id")?),
            names: cursor.varint("names")?,
            directories: cursor.varint("directories")?,
            total: cursor.varint("total")?,
            bytes: cursor.varint("bytes")?,
        };
        // The bound leaves room for sums of many trees in 64 bits.
        if tree.directories > tree.names || tree.names > tree.total || tree.total > 1 << 40 {
            return Err(cursor.error("sums of a tree reference"));
        }
        Ok(tree)
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A regular file and its content.
    File {
        /// Logical size; the sum of the items.
        size: u64,
        /// Its content.
        content: Vec<Item>,
    },
    /// A directory.
    Directory(TreeRef),
    /// A symbolic link's target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device, major and minor number.
    CharDevice(u32, u32),
    /// A block device, major and minor number.
    BlockDevice(u32, u32),
}

impl Body {
    /// The `S_IFMT` bits that stand for it.
    pub fn file_type(&self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice(..) => 0o020_000,
            Self::Directory(_) => 0o040_000,
            Self::BlockDevice(..) => 0o060_000,
            Self::File { .. } => 0o100_000,
            Self::Symlink(_) => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name; empty only for the root of a snapshot.
    pub name: Vec<u8>,
    /// Mode, owner, times, extended attributes.
    pub meta: Meta,
    /// What it is.
    pub body: Body,
    /// Hard-link group within the snapshot, 0 for none: nodes of one group are names of one file.
    pub link_group: u64,
    /// How many names the group has in the snapshot; 1 for none.
    pub links: u32,
    /// The file changed while it was read.
    pub torn: bool,
    /// Fields of later versions.
    pub unknown: Unknown,
}

impl Node {
    /// A node with default metadata.
    pub fn new(name: Vec<u8>, body: Body) -> Self {
        Self {
            name,
            meta: Meta::default(),
            body,
            link_group: 0,
            links: 1,
            torn: false,
            unknown: Unknown::default(),
        }
    }

    /// Logical bytes of the file, or of all files below the directory.
    pub fn bytes(&self) -> u64 {
        match &self.body {
            Body::File { size, .. } => *size,
            Body::Directory(tree) => tree.bytes,
            _ => 0,
        }
    }

    /// How many entries it stands for: itself and everything below.
    pub fn entries(&self) -> u64 {
        match &self.body {
            Body::Directory(tree) => 1 + tree.total,
            _ => 1,
        }
    }

    /// Appends the encoded fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let meta = &self.meta;
        put_nonempty(out, 1, &self.name);
        put_number(
            out,
            2,
            u64::from(self.body.file_type() | meta.mode & 0o7777),
        );
        put_nonzero(out, 3, u64::from(meta.uid));
        put_nonzero(out, 4, u64::from(meta.gid));
        put_nonempty(out, 5, &meta.user);
        put_nonempty(out, 6, &meta.group);
        put_nonempty(out, 7, &encode_time(meta.mtime));
        put_nonempty(
            out,
            8,
            &meta.atime.map(encode_present_time).unwrap_or_default(),
        );
        put_nonempty(
            out,
            9,
            &meta.ctime.map(encode_present_time).unwrap_or_default(),
        );
        match &self.body {
            Body::File { size, content } => {
                put_nonzero(out, 10, *size);
                put_nonempty(out, 11, &content::encode(content));
            }
            Body::Directory(tree) => {
                let mut bytes = Vec::new();
                tree.encode(&mut bytes);
                put_field(out, 12, &bytes);
            }
            Body::Symlink(target) => put_nonempty(out, 13, target),
            Body::CharDevice(major, minor) | Body::BlockDevice(major, minor) => {
                put_nonzero(out, 14, u64::from(*major));
                put_nonzero(out, 15, u64::from(*minor));
            }
            Body::Fifo | Body::Socket => {}
        }
        for xattr in &meta.xattrs {
            let mut bytes = Vec::new();
            put_bytes(&mut bytes, &xattr.name);
            bytes.extend_from_slice(&xattr.value);
            put_field(out, 16, &bytes);
        }
        put_nonzero(out, 17, self.link_group);
        put_nonzero(out, 18, u64::from(self.links.max(1) - 1));
        put_nonzero(out, 19, u64::from(self.torn));
        self.unknown.put(out);
    }

    /// Decodes one node that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut draft = Draft::default();
        read_fields(bytes, |number, value| draft.take(number, value))?;
        draft.finish()
    }
}

/// A node under construction: the type is in the mode, which need not come first.
#[derive(Default)]
struct Draft<'a> {
    name: &'a [u8],
    meta: Meta,
    mode: u32,
    size: u64,
    content: Vec<Item>,
    tree: Option<TreeRef>,
    target: &'a [u8],
    device: (u32, u32),
    xattr_bytes: usize,
    link_group: u64,
    links: u32,
    torn: bool,
    unknown: Unknown,
}

impl<'a> Draft<'a> {
    fn take(&mut self, number: u64, value: Value<'a>) -> Result<(), DecodeError> {
        match number {
            1 => self.name = value.bytes(MAX_NAME_BYTES, "node name")?,
            2 => self.mode = value.number_u32("mode")?,
            3 => self.meta.uid = value.number_u32("uid")?,
            4 => self.meta.gid = value.number_u32("gid")?,
            5 => self.meta.user = value.bytes(4096, "user name")?.to_vec(),
            6 => self.meta.group = value.bytes(4096, "group name")?.to_vec(),
            7 => self.meta.mtime = decode_time(value.bytes(16, "mtime")?)?,
            8 => self.meta.atime = Some(decode_time(value.bytes(16, "atime")?)?),
            9 => self.meta.ctime = Some(decode_time(value.bytes(16, "ctime")?)?),
            10 => self.size = value.number("size")?,
            11 => self.content = content::decode(value.bytes(MAX_CONTENT_BYTES, "content")?)?,
            12 => {
                let mut cursor = Cursor::new(value.bytes(128, "tree reference")?);
                self.tree = Some(TreeRef::decode_from(&mut cursor)?);
                cursor.finish("tree reference too long")?;
            }
            13 => self.target = value.bytes(MAX_TARGET_BYTES, "symlink target")?,
            14 => self.device.0 = value.number_u32("major")?,
            15 => self.device.1 = value.number_u32("minor")?,
            16 => self.take_xattr(value.bytes(MAX_XATTR_BYTES, "xattr")?)?,
            17 => self.link_group = value.number("link group")?,
            18 => self.links = value.number_u32("links")?,
            19 => self.torn = value.number("torn")? != 0,
            _ => self.unknown.keep(number, value),
        }
        Ok(())
    }

    fn take_xattr(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let name = cursor.bytes(4096, "xattr name")?.to_vec();
        let value = cursor.take(cursor.remaining(), "xattr value")?.to_vec();
        self.xattr_bytes += bytes.len();
        if self.xattr_bytes > MAX_XATTR_BYTES {
            return Err(cursor.error("too many xattr bytes"));
        }
        self.meta.xattrs.push(Xattr { name, value });
        Ok(())
    }

    fn finish(mut self) -> Result<Node, DecodeError> {
        let bad = |what| Err(DecodeError { what, offset: 0 });
        if self.name.iter().any(|b| *b == b'/' || *b == 0) || matches!(self.name, b"." | b"..") {
            return bad("node name");
        }
        self.meta.mode = self.mode & 0o7777;
        let body = match self.mode & !0o7777 {
            0o010_000 => Body::Fifo,
            0o020_000 => Body::CharDevice(self.device.0, self.device.1),
            0o040_000 => match self.tree {
                Some(tree) => Body::Directory(tree),
                None => return bad("directory without a tree"),
            },
            0o060_000 => Body::BlockDevice(self.device.0, self.device.1),
            0o100_000 => {
                if content::total_len(&self.content) != self.size {
                    return bad("content does not sum to the size");
                }
                Body::File {
                    size: self.size,
                    content: self.content,
                }
            }
            0o120_000 => Body::Symlink(self.target.to_vec()),
            0o140_000 => Body::Socket,
            _ => return bad("unknown file type"),
        };
        Ok(Node {
            name: self.name.to_vec(),
            meta: self.meta,
            body,
            link_group: self.link_group,
            links: self.links.saturating_add(1),
            torn: self.torn,
            unknown: self.unknown,
        })
    }
}

fn encode_time(time: Time) -> Vec<u8> {
    if time == Time::default() {
        Vec::new()
    } else {
        encode_present_time(time)
    }
}

fn encode_present_time(time: Time) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    put_zigzag(&mut out, time.seconds);
    put_varint(&mut out, u64::from(time.nanoseconds));
    out
}

fn decode_time(bytes: &[u8]) -> Result<Time, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let seconds = cursor.zigzag("seconds")?;
    let nanoseconds = cursor.varint_u32("nanoseconds")?;
    cursor.finish("time too long")?;
    if nanoseconds >= 1_000_000_000 {
        return Err(cursor.error("nanoseconds"));
    }
    Ok(Time {
        seconds,
        nanoseconds,
    })
}

/// One piece of a directory, as stored in one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shard {
    /// Nodes in order.
    Leaf(Vec<Node>),
    /// The first name of each shard below, in order, and the shard.
    Index(Vec<(Vec<u8>, TreeRef)>),
}

impl Shard {
    /// Decodes a shard that fills `bytes`; names must ascend strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        if bytes.len() > MAX_SHARD_BYTES {
            return Err(cursor.error("shard too long"));
        }
        match cursor.byte("shard kind")? {
            0 => {
                let mut nodes: Vec<Node> = Vec::new();
                while !cursor.is_empty() {
                    let start = cursor.offset();
                    let node =
                        Node::decode(cursor.bytes(MAX_NODE_BYTES, "node")?).map_err(|e| {
                            DecodeError {
                                what: e.what,
                                offset: start + e.offset,
                            }
                        })?;
                    if node.name.is_empty() || nodes.last().is_some_and(|l| l.name >= node.name) {
                        return Err(cursor.error("names out of order"));
                    }
                    nodes.push(node);
                }
                Ok(Self::Leaf(nodes))
            }
            1 => {
                let mut shards: Vec<(Vec<u8>, TreeRef)> = Vec::new();
                while !cursor.is_empty() {
                    let name = cursor.bytes(MAX_NAME_BYTES, "first name")?.to_vec();
                    if shards.last().is_some_and(|(last, _)| *last >= name) {
                        return Err(cursor.error("shards out of order"));
                    }
                    shards.push((name, TreeRef::decode_from(&mut cursor)?));
                }
                if shards.is_empty() {
                    return Err(cursor.error("empty index shard"));
                }
                Ok(Self::Index(shards))
            }
            _ => Err(DecodeError {
                what: "unknown shard kind",
                offset: 0,
            }),
        }
    }

    /// First byte of an encoded leaf; nodes follow, each as length-prefixed bytes.
    pub const LEAF: u8 = 0;
    /// First byte of an encoded index; entries follow, see [`Shard::put_index_entry`].
    pub const INDEX: u8 = 1;

    /// Appends one entry of an index shard.
    pub fn put_index_entry(out: &mut Vec<u8>, first_name: &[u8], tree: &TreeRef) {
        put_bytes(out, first_name);
        tree.encode(out);
    }
}

/// True if a leaf that has grown to `leaf_bytes` ends after the node called `name`.
pub fn is_boundary(name: &[u8], leaf_bytes: usize) -> bool {
    if leaf_bytes >= MAX_LEAF_BYTES {
        return true;
    }
    let hash = blake3::hash(name);
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]) % LEAF_NAMES == 0
}

#[cfg(test)]
mod tests;
