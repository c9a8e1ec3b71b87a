//! Which names are one file: the first that was seen, by link group, in bounded memory; and whether it became what was planned.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::select::Root;
use crate::entry::{EntryPath, Shelf, ShelfKey, shelf_key};
use crate::error::{Error, Result};
use crate::format::tree::{MAX_NODE_BYTES, Node};
use crate::format::{Cursor, put_bytes, put_varint};
use crate::repository::lock;
use crate::repository::shelf::SpillShelf;

/// Why a file is not what was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoiler {
    /// The repository cannot give its content.
    Repository,
    /// The target refused it.
    Target,
}

/// Files with several names that were spoiled: only of those is anything kept.
type Spoiled = Arc<Mutex<HashMap<ShelfKey, Spoiler>>>;

/// What became of a file, for its further names. The default is that of a file with one name, which nobody asks for.
#[derive(Clone, Default)]
pub(super) struct Fate(Option<(ShelfKey, Spoiled)>);

impl Fate {
    /// The file will not be what was planned.
    pub(super) fn spoil(&self, by: Spoiler) {
        if let Some((key, spoiled)) = &self.0 {
            lock(spoiled).entry(*key).or_insert(by);
        }
    }

    /// Why it is not what was planned, if it is not.
    pub(super) fn spoiler(&self) -> Option<Spoiler> {
        let (key, spoiled) = self.0.as_ref()?;
        lock(spoiled).get(key).copied()
    }
}

/// First names of files with several, until the last name was seen.
pub(super) struct FirstNames {
    shelf: SpillShelf,
    spoiled: Spoiled,
}

impl FirstNames {
    /// None yet; what does not fit in memory goes to `scratch`.
    pub(super) fn new(scratch: Option<PathBuf>) -> Self {
        Self {
            shelf: SpillShelf::new(scratch),
            spoiled: Spoiled::default(),
        }
    }

    /// The fate of the file that `path` names, and the earlier name of it, if there was one. Link groups are numbered within
    /// one snapshot; two selections of it share them.
    pub(super) fn see(
        &self,
        roots: &[Root],
        root: &Root,
        path: &EntryPath,
        node: &Node,
    ) -> Result<(Fate, Option<EntryPath>)> {
        if node.link_group == 0 || node.links < 2 {
            return Ok((Fate::default(), None));
        }
        let snapshot = roots.iter().position(|other| other.id == root.id);
        let key = shelf_key(snapshot.unwrap_or(root.number) as u64, node.link_group);
        let fate = Fate(Some((key, Arc::clone(&self.spoiled))));
        let Some(value) = self.shelf.get(&key)? else {
            self.shelf.put(key, &record(node.links - 1, path))?;
            return Ok((fate, None));
        };
        let broken = |e| Error::corrupt(format!("a scratch record: {e}"));
        let mut cursor = Cursor::new(&value);
        let more = cursor.varint_u32("names").map_err(broken)?;
        let first = cursor.bytes(MAX_NODE_BYTES, "path").map_err(broken)?;
        let first = EntryPath::parse(first)
            .map_err(|e| Error::corrupt(format!("a scratch record: {e}")))?;
        if more > 1 {
            self.shelf.put(key, &record(more - 1, &first))?;
        } else {
            self.shelf.forget(&key);
        }
        Ok((fate, Some(first)))
    }
}

fn record(more: u32, path: &EntryPath) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.as_bytes().len() + 8);
    put_varint(&mut out, u64::from(more));
    put_bytes(&mut out, path.as_bytes());
    out
}
