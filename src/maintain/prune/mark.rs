//! Mark: what snapshots and readers reach.
//!
//! Trees are entered once, in however many snapshots they are. What they name is looked up at the end, all of it together. Memory: two bits
//! for each chunk ([`Table`]), a stack of trees that is as deep as directories are, and ids in [`Piles`]. Whatever cannot be read ends
//! the mark with an error: what lies below it would be taken for garbage.

use super::interrupted;
use super::table::{Bits, Table};
use crate::catalog::{Home, Piles};
use crate::error::{Class, Error, Result};
use crate::format::content::{self, Item, MAX_LIST_DEPTH};
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Body, Shard, TreeRef};
use crate::id::{ChunkId, ShortChunkId};
use crate::progress::{Count, Monitor};
use crate::repository::{Blocks, Needs, Repository, trees};

/// How many trees are known to have been entered without a look at the catalog.
const LATELY: usize = 1 << 14;

/// Is told the homes of every chunk that is reached, perhaps more than once.
pub(super) type Reached<'a> = dyn FnMut(&[Home]) -> Result<()> + 'a;

/// See the module.
pub(super) struct Mark<'a> {
    repository: &'a Repository,
    table: &'a Table,
    monitor: &'a dyn Monitor,
    reached: &'a mut Reached<'a>,
    /// Trees and lists that were entered. A set of its own: a file may have the very bytes of a tree, and a chunk that was reached
    /// as content was not entered.
    entered: Bits,
    /// Some of those, at a place that their bytes say: snapshots share most of their trees, and these need not be looked up again.
    lately: Vec<Option<ShortChunkId>>,
    /// What is to be looked up.
    named: Piles<{ ShortChunkId::LEN }>,
}

impl<'a> Mark<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        table: &'a Table,
        monitor: &'a dyn Monitor,
        reached: &'a mut Reached<'a>,
    ) -> Self {
        Self {
            repository,
            table,
            monitor,
            reached,
            entered: table.bits(),
            lately: vec![None; LATELY],
            named: repository.catalog().piles(),
        }
    }

    /// Marks from a snapshot.
    pub(super) fn snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        for items in [
            &snapshot.recipe,
            &snapshot.overrides,
            &snapshot.original,
            &snapshot.identity,
        ] {
            self.items(items, 0)?;
        }
        if let Body::Directory(root) = snapshot.root.body {
            self.tree(root)?;
        }
        Ok(())
    }

    /// Marks from what a reader needs.
    pub(super) fn needs(&mut self, needs: &Needs) -> Result<()> {
        for items in &needs.contents {
            self.items(items, 0)?;
        }
        needs.trees.iter().try_for_each(|tree| self.tree(*tree))
    }

    /// Looks up all that the trees name.
    pub(super) fn finish(self) -> Result<()> {
        let (table, reached, monitor) = (self.table, self.reached, self.monitor);
        let name = |no| table.name(no);
        let catalog = self.repository.catalog();
        catalog.homes_of_piles(self.named, table.chunks(), &name, |id, homes| {
            if homes.is_empty() {
                return Err(nowhere(id));
            }
            interrupted(monitor)?;
            reached(homes)
        })
    }

    fn tree(&mut self, root: TreeRef) -> Result<()> {
        let mut stack = vec![root];
        while let Some(tree) = stack.pop() {
            if tree.names == 0 {
                // The shard of an empty directory: nothing is below it.
                self.named.push(*tree.id.shorten().as_bytes())?;
                continue;
            }
            if !self.enter(&tree.id)? {
                continue;
            }
            interrupted(self.monitor)?;
            let shard = trees::shard(self.repository, &tree)?;
            self.monitor.add(Count::Objects, 1);
            match &**shard {
                Shard::Index(shards) => stack.extend(shards.iter().map(|(_, below)| *below)),
                Shard::Leaf(nodes) => {
                    for node in nodes {
                        match &node.body {
                            Body::Directory(below) => stack.push(*below),
                            Body::File { content, .. } => self.items(content, 0)?,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn items(&mut self, items: &[Item], depth: usize) -> Result<()> {
        if depth > MAX_LIST_DEPTH {
            return Err(Error::corrupt("content lists nest too deep"));
        }
        for item in items {
            match item {
                Item::Data { id, .. } => self.named.push(*id.shorten().as_bytes())?,
                Item::List { id, .. } if self.enter(id)? => {
                    let bytes = self.repository.cache().chunk(self.repository, id)?;
                    let below = content::decode(&bytes)
                        .map_err(|e| Error::caused(Class::Corrupt, format!("list {id}"), e))?;
                    drop(bytes);
                    self.items(&below, depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks a tree or list; true if what is below it was not looked at yet.
    fn enter(&mut self, id: &ChunkId) -> Result<bool> {
        let short = id.shorten();
        let [a, b, ..] = *short.as_bytes();
        let lately = &mut self.lately[usize::from(u16::from_le_bytes([a, b])) % LATELY];
        if lately.replace(short) == Some(short) {
            return Ok(false);
        }
        let (table, reached, entered) = (self.table, &mut *self.reached, &mut self.entered);
        let name = |no| table.name(no);
        let mut new = false;
        self.repository
            .catalog()
            .homes(&[short], &name, |_, homes| {
                if homes.is_empty() {
                    return Err(nowhere(id));
                }
                for home in homes {
                    new |= entered.set(table.bit(home)?);
                }
                if new { reached(homes) } else { Ok(()) }
            })?;
        Ok(new)
    }
}

fn nowhere(id: &dyn std::fmt::Display) -> Error {
    Error::corrupt(format!(
        "chunk {id}, which a snapshot needs, is in no pack: nothing is pruned from a damaged repository"
    ))
}
