//! Storing again what lies in condemned packs only: what a prune repacks, and what a writer reused of packs that a plan, which it did
//! not know when it began, condemns.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::block_cache::Blocks;
use super::super::trees;
use super::{Shared, ToPacker, Writer, over, workers};
use crate::error::{Class, Error, Result};
use crate::format::content::{self, Item, MAX_LIST_DEPTH};
use crate::format::header::ObjectKind;
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Body, Shard, TreeRef};
use crate::id::{ChunkId, PackId, ShortChunkId};
use crate::progress::Monitor;

impl Writer {
    /// Stores a chunk once more, unless it has a home that stays. The copy is read and compared with its id first. Its length if it
    /// was stored.
    pub(crate) fn rehome(&self, id: &ShortChunkId) -> Result<Option<u64>> {
        if self.shared.claims.has(id)? {
            return Ok(None);
        }
        let repository = &self.shared.repository;
        let mut failure = None;
        for home in repository.homes(id)? {
            match repository.chunk_at_home(id, &home) {
                Ok(bytes) => return self.keep(home.block.kind, id, &bytes),
                Err(e) => failure = Some(e),
            }
        }
        Err(failure.unwrap_or_else(|| Error::corrupt(format!("chunk {id} is in no pack"))))
    }

    /// Stores verified bytes of a chunk, unless that was done in this run.
    pub(crate) fn keep(
        &self,
        kind: ObjectKind,
        id: &ShortChunkId,
        bytes: &[u8],
    ) -> Result<Option<u64>> {
        self.shared.check()?;
        if !self.shared.claims.claim_own(id) {
            return Ok(None);
        }
        if kind == ObjectKind::MetaPack {
            self.append_meta(*id, bytes)?;
        } else {
            let sender = self.to_packer.as_ref().ok_or_else(over)?;
            workers::keep(&self.shared, *id, bytes, sender)?;
        }
        Ok(Some(bytes.len() as u64))
    }

    /// True if this run wrote the pack.
    pub(crate) fn is_own(&self, pack: &PackId) -> bool {
        self.shared.homes.is_own(pack)
    }

    /// True if this run is about to store the chunk.
    pub(crate) fn is_pending(&self, id: &ShortChunkId) -> bool {
        self.shared.claims.is_pending(id)
    }

    pub(super) fn append_meta(&self, id: ShortChunkId, bytes: &[u8]) -> Result<()> {
        let mut meta = super::lock(&self.meta);
        if let Some(block) = meta.append(id, bytes)? {
            self.send(ToPacker::Meta(block))?;
        }
        if meta.is_pack_full() {
            self.barrier(&mut meta)?;
        }
        Ok(())
    }
}

/// Before a commit: looks for plans that were made since the run began, and stores again what the snapshot has in packs that they
/// condemn only; until there is no new plan. Where nothing was planned this is one list of an empty folder.
pub(super) fn move_out_of_condemned(shared: &Arc<Shared>, snapshot: &Snapshot) -> Result<()> {
    let repository = &shared.repository;
    let mut condemned = shared.homes.condemned().clone();
    while repository.take_in_plans(&mut condemned)? {
        let homes = shared.homes.with_condemned(condemned.clone())?;
        let monitor: Arc<dyn Monitor> = Arc::clone(&shared.monitor);
        let session = Arc::clone(&shared.session);
        let mut writer = Writer::start(repository, session, homes, (shared.options, &monitor))?;
        let mut walk = Walk {
            writer: &writer,
            seen: HashSet::new(),
        };
        match walk.snapshot(snapshot) {
            Ok(()) => {}
            // A key that may only ingest cannot read what others stored. Nothing is lost: who carries the plan out waits for this
            // session, then looks what its snapshot needs.
            Err(e) if e.class() == Class::Denied => return Ok(()),
            Err(e) if e.class() == Class::Corrupt => {
                return Err(e.within(
                    "a repair found meanwhile that something is damaged which this ingest took for stored; run it again, and it is stored anew",
                ));
            }
            Err(e) => return Err(e.within("store again what a prune condemned meanwhile")),
        }
        writer.finish()?;
    }
    Ok(())
}

/// Goes over all that a snapshot names.
struct Walk<'a> {
    writer: &'a Writer,
    /// Trees and lists that were entered.
    seen: HashSet<ChunkId>,
}

impl Walk<'_> {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        for items in [
            &snapshot.recipe,
            &snapshot.overrides,
            &snapshot.original,
            &snapshot.identity,
        ] {
            self.items(items, 0)?;
        }
        let Body::Directory(root) = snapshot.root.body else {
            return Ok(());
        };
        let mut stack = vec![root];
        while let Some(tree) = stack.pop() {
            self.tree(&tree, &mut stack)?;
        }
        Ok(())
    }

    fn tree(&mut self, tree: &TreeRef, stack: &mut Vec<TreeRef>) -> Result<()> {
        if !self.seen.insert(tree.id) {
            return Ok(());
        }
        if tree.names == 0 {
            return self.empty(&tree.id);
        }
        let repository = &self.writer.shared.repository;
        let shard = trees::shard(repository, tree)?;
        self.writer.rehome(&tree.id.shorten())?;
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
        Ok(())
    }

    /// The shard of an empty directory is never read, but it is named.
    fn empty(&self, id: &ChunkId) -> Result<()> {
        let known = self
            .writer
            .shared
            .repository
            .catalog()
            .contains(&id.shorten())?;
        if known {
            self.writer.rehome(&id.shorten())?;
        }
        Ok(())
    }

    fn items(&mut self, items: &[Item], depth: usize) -> Result<()> {
        if depth > MAX_LIST_DEPTH {
            return Err(Error::corrupt("content lists nest too deep"));
        }
        for item in items {
            match item {
                Item::Data { id, .. } => {
                    self.writer.rehome(&id.shorten())?;
                }
                Item::List { id, .. } if self.seen.insert(*id) => {
                    let repository = &self.writer.shared.repository;
                    let bytes = repository.cache().chunk(repository, id)?;
                    let below = content::decode(&bytes)
                        .map_err(|e| Error::caused(Class::Corrupt, format!("list {id}"), e))?;
                    drop(bytes);
                    self.writer.rehome(&id.shorten())?;
                    self.items(&below, depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
