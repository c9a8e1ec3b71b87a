//! Which names are one inode: the first in walk order is the file, later ones are hard links to it.
//!
//! Only inodes with several names are kept, and each only until all its names were seen. Those of which other names lie outside of
//! what is read are kept to the end, so they go on a [`Shelf`], which does not hold them all in memory.

use std::sync::{Arc, Mutex};

use super::facts::Facts;
use super::handle::lock;
use crate::entry::{EntryPath, Meta, Shelf, shelf_key};
use crate::error::{Error, Result};
use crate::format::tree::{Body, MAX_NODE_BYTES, Node};
use crate::format::{Cursor, DecodeError, put_bytes, put_varint};

/// Device and inode number.
pub(super) type Key = (u64, u64);

/// Inodes with several names, some of them not seen yet. Shared by the readers and the emitter.
pub(super) struct Links {
    shelf: Arc<dyn Shelf>,
    /// Held from looking at an inode until it is back on the shelf.
    turn: Mutex<()>,
}

/// What is known of one inode. A reader that takes care of the content puts it on the shelf.
#[derive(Debug, Default)]
struct Inode {
    names_seen: u32,
    /// The name that was emitted as the file, with its metadata.
    first: Option<(EntryPath, Meta)>,
}

impl Links {
    pub(super) fn new(shelf: Arc<dyn Shelf>) -> Self {
        Self {
            shelf,
            turn: Mutex::default(),
        }
    }

    /// True for the first reader that asks: it reads the content, the others leave it. A shelf that fails is the emitter's to tell.
    pub(super) fn claim(&self, facts: &Facts) -> bool {
        let _turn = lock(&self.turn);
        let key = (facts.device, facts.inode);
        matches!(self.find(key), Ok(None)) && self.keep(key, &Inode::default()).is_ok()
    }

    /// The emitter comes to one more name: the earlier name that it is a link to, or `None` if it is the first.
    pub(super) fn see(&self, key: Key, links: u32) -> Result<Option<(EntryPath, Meta)>> {
        let _turn = lock(&self.turn);
        let mut inode = self.find(key)?.unwrap_or_default();
        inode.names_seen = inode.names_seen.saturating_add(1);
        if inode.names_seen >= links {
            self.shelf.forget(&shelf_key(key.0, key.1));
        } else {
            self.keep(key, &inode)?;
        }
        Ok(inode.first)
    }

    /// `path` was emitted as the file; later names link to it.
    pub(super) fn emitted(&self, key: Key, path: &EntryPath, meta: &Meta) -> Result<()> {
        let _turn = lock(&self.turn);
        // Absent when all names were seen: nobody will ask.
        let Some(mut inode) = self.find(key)? else {
            return Ok(());
        };
        inode.first = Some((path.clone(), meta.clone()));
        self.keep(key, &inode)
    }

    fn find(&self, key: Key) -> Result<Option<Inode>> {
        let found = self.shelf.get(&shelf_key(key.0, key.1))?;
        let inode = found.map(|bytes| Inode::decode(&bytes)).transpose();
        inode.map_err(|error| Error::corrupt(format!("a scratch record: {error}")))
    }

    fn keep(&self, key: Key, inode: &Inode) -> Result<()> {
        self.shelf.put(shelf_key(key.0, key.1), &inode.encode())
    }
}

impl Inode {
    /// The number of names; then, if one was emitted, its path and a node that has its metadata.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_varint(&mut out, u64::from(self.names_seen));
        if let Some((path, meta)) = &self.first {
            put_bytes(&mut out, path.as_bytes());
            let mut node = Node::new(Vec::new(), Body::Socket);
            node.meta = meta.clone();
            node.encode(&mut out);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let names_seen = cursor.varint_u32("names")?;
        if cursor.is_empty() {
            return Ok(Self {
                names_seen,
                first: None,
            });
        }
        let path = EntryPath::parse(cursor.bytes(MAX_NODE_BYTES, "path")?)
            .map_err(|_| cursor.error("path"))?;
        let node = Node::decode(cursor.take(cursor.remaining(), "node")?)?;
        Ok(Self {
            names_seen,
            first: Some((path, node.meta)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{MemoryShelf, Time, Xattr};

    #[test]
    fn an_inode_is_kept_until_all_its_names_were_seen() {
        let shelf = Arc::new(MemoryShelf::default());
        let links = Links::new(shelf.clone());
        let (key, name) = ((1, 2), EntryPath::parse(b"a/b").unwrap());
        let meta = Meta {
            mode: 0o640,
            user: b"ana".to_vec(),
            mtime: Time::new(-1, 5),
            ctime: Some(Time::new(7, 8)),
            xattrs: vec![Xattr {
                name: b"user.x".to_vec(),
                value: vec![0, 255],
            }],
            ..Meta::default()
        };
        assert!(links.see(key, 3).unwrap().is_none());
        links.emitted(key, &name, &meta).unwrap();
        let first = Some((name, meta));
        assert_eq!(links.see(key, 3).unwrap(), first);
        assert!(shelf.get(&shelf_key(1, 2)).unwrap().is_some());
        assert_eq!(links.see(key, 3).unwrap(), first);
        assert!(shelf.get(&shelf_key(1, 2)).unwrap().is_none());
    }
}
