//! Which names are one file: the first that was seen, by link group, in bounded memory.

use std::path::PathBuf;

use super::select::Root;
use crate::entry::{EntryPath, Shelf, shelf_key};
use crate::error::{Error, Result};
use crate::format::tree::{MAX_NODE_BYTES, Node};
use crate::format::{Cursor, put_bytes, put_varint};
use crate::repository::shelf::SpillShelf;

/// First names of files with several, until the last name was seen.
pub(super) struct FirstNames(SpillShelf);

impl FirstNames {
    /// None yet; what does not fit in memory goes to `scratch`.
    pub(super) fn new(scratch: Option<PathBuf>) -> Self {
        Self(SpillShelf::new(scratch))
    }

    /// The earlier name of the file that `path` is one more name of, if there was one. Link groups are numbered within one
    /// snapshot; two selections of it share them.
    pub(super) fn see(
        &self,
        roots: &[Root],
        root: &Root,
        path: &EntryPath,
        node: &Node,
    ) -> Result<Option<EntryPath>> {
        if node.link_group == 0 || node.links < 2 {
            return Ok(None);
        }
        let snapshot = roots.iter().position(|other| other.id == root.id);
        let key = shelf_key(snapshot.unwrap_or(root.number) as u64, node.link_group);
        let Some(value) = self.0.get(&key)? else {
            self.0.put(key, &record(node.links - 1, path))?;
            return Ok(None);
        };
        let broken = |e| Error::corrupt(format!("a scratch record: {e}"));
        let mut cursor = Cursor::new(&value);
        let more = cursor.varint_u32("names").map_err(broken)?;
        let first = cursor.bytes(MAX_NODE_BYTES, "path").map_err(broken)?;
        let first = EntryPath::parse(first)
            .map_err(|e| Error::corrupt(format!("a scratch record: {e}")))?;
        if more > 1 {
            self.0.put(key, &record(more - 1, &first))?;
        } else {
            self.0.forget(&key);
        }
        Ok(Some(first))
    }
}

fn record(more: u32, path: &EntryPath) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.as_bytes().len() + 8);
    put_varint(&mut out, u64::from(more));
    put_bytes(&mut out, path.as_bytes());
    out
}
