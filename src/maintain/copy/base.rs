//! What an earlier copy tells: the snapshot before, which this client copied, and its copy hold the same files under the same
//! paths. Both trees are walked side by side, and what is the same file need not be read again.
//!
//! Only copies of the client's own journal count: what a snapshot says of its origin can be written by anybody who may ingest into the
//! destination, and nothing but its content could prove it. It is a hint and no more: at the first difference the walk ends.

use std::collections::HashSet;

use super::contents::cutting;
use super::memo::content_key;
use super::{Run, journal, origin_of};
use crate::crypto::Role;
use crate::error::{Error, Result};
use crate::format::content::Item;
use crate::format::tree::{Body, Node, TreeRef};
use crate::id::SnapshotId;
use crate::repository::content::Content;
use crate::repository::trees::{Cursor, Found};
use crate::repository::{Cutting, Homes, SnapshotInfo};

/// The snapshots of the source, and which of them the memo knows.
pub(super) struct Bases {
    /// Oldest first.
    all: Vec<SnapshotInfo>,
    known: HashSet<SnapshotId>,
}

impl Bases {
    pub(super) fn new(run: &Run<'_>) -> Result<Self> {
        let reads = run.destination.role() == Role::Full;
        Ok(Self {
            all: if reads {
                run.source.snapshots()?
            } else {
                Vec::new()
            },
            known: HashSet::new(),
        })
    }

    /// A snapshot was copied in this run.
    pub(super) fn add(&mut self, id: SnapshotId) {
        self.known.insert(id);
    }

    /// Learns from the newest copied snapshot before this one. The destination's session has begun.
    pub(super) fn learn(
        &mut self,
        run: &Run<'_>,
        info: &SnapshotInfo,
        homes: &Homes,
    ) -> Result<()> {
        let age = |info: &SnapshotInfo| (info.snapshot.time, info.id);
        let older = self
            .all
            .iter()
            .rev()
            .filter(|base| age(base) < age(info) && base.snapshot.name == info.snapshot.name);
        // What a plan condemns may be all that an old copy has.
        if !homes.is_clear() {
            return Ok(());
        }
        for base in older {
            if self.known.contains(&base.id) {
                return Ok(());
            }
            let origin = origin_of(run.source, base);
            let Some(copy) = journal::find(run.destination, &origin)? else {
                continue;
            };
            self.known.insert(base.id);
            let one = std::slice::from_ref(base);
            let Ok(_reading) = run.source.begin_reading(one, run.monitor) else {
                return Ok(());
            };
            // Whatever cannot be read here is found and told by the copy itself.
            if let Ok(copy) = run.destination.snapshot(&copy) {
                let (from, to) = (&base.snapshot.root, &copy.root);
                if let (Body::Directory(from), Body::Directory(to)) = (&from.body, &to.body) {
                    let _ = Pair::new(run, homes).walk(from, to);
                }
            }
            return run.check();
        }
        Ok(())
    }
}

/// Two directories that are gone through side by side.
struct Level<'a> {
    from: Cursor<'a>,
    to: Cursor<'a>,
    trees: (TreeRef, TreeRef),
}

struct Pair<'a> {
    run: &'a Run<'a>,
    homes: &'a Homes,
    stack: Vec<Level<'a>>,
}

impl<'a> Pair<'a> {
    fn new(run: &'a Run<'a>, homes: &'a Homes) -> Self {
        Self {
            run,
            homes,
            stack: Vec::new(),
        }
    }

    fn walk(&mut self, from: &TreeRef, to: &TreeRef) -> Result<()> {
        self.enter(from, to)?;
        while let Some(level) = self.stack.last_mut() {
            self.run.check()?;
            match (level.from.next().transpose()?, level.to.next().transpose()?) {
                (None, None) => {
                    let trees = level.trees;
                    self.run.memo.keep_tree(&trees.0, &trees.1)?;
                    self.stack.pop();
                }
                (Some(from), Some(to)) if alike(&from, &to) => self.nodes(&from, &to)?,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn enter(&mut self, from: &TreeRef, to: &TreeRef) -> Result<()> {
        if self.run.memo.tree(from)?.is_none() {
            self.stack.push(Level {
                from: Cursor::new(self.run.source, from)?,
                to: Cursor::new(self.run.destination, to)?,
                trees: (*from, *to),
            });
        }
        Ok(())
    }

    fn nodes(&mut self, from: &Found, to: &Found) -> Result<()> {
        match (&from.body, &to.body) {
            (Body::Directory(from), Body::Directory(to)) => self.enter(from, to),
            (Body::File { content: from, .. }, Body::File { content: to, .. }) => {
                self.contents(from, to)
            }
            _ => Ok(()),
        }
    }

    fn contents(&self, from: &[Item], to: &[Item]) -> Result<()> {
        let Some(key) = content_key(from) else {
            return Ok(());
        };
        if self.run.memo.content(&key)?.is_some() {
            return Ok(());
        }
        let (run, content) = (self.run, Content::new(from));
        let aligned = run.cuts_alike() && cutting(run.source, &content) == Cutting::Disk;
        let mut sources = content.extents(run.source, 0);
        for extent in Content::new(to).extents(run.destination, 0) {
            let to = extent?;
            if let Item::Data { id, .. } = to.item
                && !self.homes.has(&id.shorten())?
            {
                // Lost there: the whole directory is not what it should be.
                return Err(Error::corrupt("the copy before has lost something"));
            }
            // What changes in a disk is a few of its chunks.
            if aligned
                && let Some(from) = sources.next().transpose()?
                && let (Item::Data { id, .. }, Item::Data { .. }) = (from.item, to.item)
                && (from.start, from.end()) == (to.start, to.end())
            {
                run.memo.keep_chunk(&id, &to.item)?;
            }
        }
        run.memo.done(key, to)
    }
}

/// True if two nodes are the same but for the chunks that they name.
fn alike(from: &Node, to: &Node) -> bool {
    let bodies = match (&from.body, &to.body) {
        (Body::File { size: one, .. }, Body::File { size: other, .. }) => one == other,
        (Body::Directory(one), Body::Directory(other)) => {
            TreeRef {
                id: other.id,
                ..*one
            } == *other
        }
        (one, other) => one == other,
    };
    bodies
        && from.name == to.name
        && from.meta == to.meta
        && (from.link_group, from.links, from.torn) == (to.link_group, to.links, to.torn)
        && from.unknown.is_empty()
        && to.unknown.is_empty()
}
