//! Which paths of which snapshots need what is missing or damaged. Walked only when something is.
//!
//! A directory that was found whole once is not entered again, in whatever snapshot it comes: most snapshots share most of
//! their trees.

use std::collections::HashSet;

use super::{Damage, streams};
use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::tree::Body;
use crate::id::{ChunkId, SnapshotId};
use crate::progress::Monitor;
use crate::repository::block_cache::Blocks;
use crate::repository::content::Content;
use crate::repository::trees::Walk;
use crate::repository::{Repository, SnapshotInfo};

/// What part of a snapshot is hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HarmedPart {
    /// A file's content.
    File,
    /// A directory: what is (further) in it is unknown.
    Directory,
    /// What makes its archive byte-identical; the files are not touched by it.
    Archive,
    /// The very bytes that were kept beside.
    Original,
    /// Its identity document.
    Identity,
}

impl HarmedPart {
    /// The word for it in output and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Archive => "archive",
            Self::Original => "original",
            Self::Identity => "identity",
        }
    }
}

/// Something of a snapshot that cannot be read.
#[derive(Clone, Debug)]
pub struct Harm {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its name.
    pub name: String,
    /// What of it.
    pub part: HarmedPart,
    /// The path, of files and directories.
    pub path: EntryPath,
    /// Why.
    pub reason: String,
}

struct Search<'a> {
    repository: &'a Repository,
    damage: &'a Damage,
}

/// Tells `each` what is hurt, snapshot by snapshot in the order given.
pub(super) fn find(
    repository: &Repository,
    snapshots: &[SnapshotInfo],
    damage: &Damage,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(Harm),
) -> Result<()> {
    let search = Search { repository, damage };
    let mut whole: HashSet<ChunkId> = HashSet::new();
    for info in snapshots {
        let harm = |part, path, reason| Harm {
            snapshot: info.id,
            name: info.snapshot.name.clone(),
            part,
            path,
            reason,
        };
        for (part, items) in streams(info) {
            if let Some(reason) = search.content(items)? {
                each(harm(part, EntryPath::root(), reason));
            }
        }
        // Directories that the walk is in: path, tree, and whether anything in them was hurt.
        let mut inside: Vec<(EntryPath, ChunkId, bool)> = Vec::new();
        let mut walk = Walk::new(repository, &info.snapshot.root, EntryPath::root());
        if let Body::Directory(tree) = &info.snapshot.root.body {
            inside.push((EntryPath::root(), tree.id, false));
        }
        while let Some(step) = walk.next() {
            if monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "the check was interrupted"));
            }
            let (path, node) = match step {
                Ok(step) => step,
                Err((path, error)) => {
                    for dir in &mut inside {
                        dir.2 |= path.is_within(&dir.0);
                    }
                    each(harm(HarmedPart::Directory, path, error.to_string()));
                    continue;
                }
            };
            leave(&mut inside, Some(&path), &mut whole);
            match &node.body {
                Body::Directory(tree) if whole.contains(&tree.id) => walk.skip_below(),
                Body::Directory(tree) => inside.push((path, tree.id, false)),
                Body::File { content, .. } => {
                    if let Some(reason) = search.content(content)? {
                        for dir in &mut inside {
                            dir.2 = true;
                        }
                        each(harm(HarmedPart::File, path, reason));
                    }
                }
                _ => {}
            }
        }
        leave(&mut inside, None, &mut whole);
    }
    Ok(())
}

/// Leaves the directories that `path` is not within; those where nothing was hurt are whole.
fn leave(
    inside: &mut Vec<(EntryPath, ChunkId, bool)>,
    path: Option<&EntryPath>,
    whole: &mut HashSet<ChunkId>,
) {
    let left = |(dir, ..): &mut (EntryPath, _, _)| !path.is_some_and(|p| p.is_within(dir));
    while let Some((_, tree, hurt)) = inside.pop_if(left) {
        if !hurt {
            whole.insert(tree);
        }
    }
}

impl Search<'_> {
    /// Why a content cannot be read, if so.
    fn content(&self, items: &[Item]) -> Result<Option<String>> {
        for item in items {
            if let Item::List { id, .. } = item
                && let Some(reason) = self.chunk(id)?
            {
                return Ok(Some(reason));
            }
        }
        for extent in Content::new(items).extents(self.repository, 0) {
            let reason = match extent.map(|extent| extent.item) {
                Ok(Item::Data { id, .. }) => self.chunk(&id)?,
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            if reason.is_some() {
                return Ok(reason);
            }
        }
        Ok(None)
    }

    fn chunk(&self, id: &ChunkId) -> Result<Option<String>> {
        match self.repository.locate(id) {
            Ok(location) if self.damage.at(&location).is_none() => Ok(None),
            Ok(_) => self.damage.everywhere(self.repository, id),
            Err(error) if error.class() == Class::Corrupt => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }
}
