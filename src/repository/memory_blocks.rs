//! A store in memory, for tests of everything that reads: chunks in blocks, directories cut into shards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::address::{BlockAddress, Location};
use super::block_cache::{BlockCache, Blocks};
use crate::error::{Error, Result};
use crate::format::content::{self, Item};
use crate::format::header::{Codec, ObjectKind};
use crate::format::put_bytes;
use crate::format::tree::{Body, Node, Shard, TreeRef};
use crate::id::{ChunkId, ObjectId};

/// The store. Every chunk is a block of its own, unless [`MemoryBlocks::put_together`] made it.
pub(crate) struct MemoryBlocks {
    cache: BlockCache,
    state: Mutex<State>,
    reads: AtomicU64,
    broken: AtomicBool,
}

#[derive(Default)]
struct State {
    blocks: Vec<Vec<u8>>,
    chunks: HashMap<ChunkId, Location>,
}

impl MemoryBlocks {
    pub(crate) fn new() -> Self {
        Self {
            cache: BlockCache::new(16 << 20),
            state: Mutex::default(),
            reads: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// How many blocks were read so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// From now on every read of a block fails.
    pub(crate) fn take_disk_away(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// Changes one bit of a stored chunk.
    pub(crate) fn damage(&self, id: &ChunkId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let location = state.chunks[id];
        state.blocks[location.block.number as usize][location.offset as usize] ^= 1;
    }

    /// Loses the place of a stored chunk.
    pub(crate) fn lose(&self, id: &ChunkId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.chunks.remove(id);
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> ChunkId {
        self.put_together(&[bytes])[0]
    }

    /// Stores several chunks in one block.
    pub(crate) fn put_together(&self, chunks: &[&[u8]]) -> Vec<ChunkId> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let raw = chunks.concat();
        let block = BlockAddress {
            pack: ObjectId::new([0; 32]),
            kind: ObjectKind::DataPack,
            number: u32::try_from(state.blocks.len()).unwrap(),
            offset: 0,
            stored_bytes: 0,
            raw_bytes: u32::try_from(raw.len()).unwrap(),
            codec: Codec::Raw,
        };
        state.blocks.push(raw);
        let mut offset = 0;
        let mut ids = Vec::new();
        for chunk in chunks {
            let id = ChunkId::new(*blake3::hash(chunk).as_bytes());
            let len = u32::try_from(chunk.len()).unwrap();
            state.chunks.insert(id, Location { block, offset, len });
            offset += len;
            ids.push(id);
        }
        ids
    }

    /// Stores `bytes` in chunks of `chunk_bytes`; the items of a file.
    pub(crate) fn put_content(&self, bytes: &[u8], chunk_bytes: usize) -> Vec<Item> {
        bytes
            .chunks(chunk_bytes)
            .map(|chunk| Item::Data {
                id: self.put(chunk),
                len: u32::try_from(chunk.len()).unwrap(),
            })
            .collect()
    }

    /// Stores items as a list.
    pub(crate) fn put_list(&self, items: &[Item]) -> Item {
        Item::List {
            id: self.put(&content::encode(items)),
            len: content::total_len(items),
            data_bytes: content::total_data(items),
        }
    }

    /// Stores a directory, with leaves of at most `leaf_names` and indexes of at most `leaf_names` entries.
    pub(crate) fn put_directory(&self, mut nodes: Vec<Node>, leaf_names: usize) -> TreeRef {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut level: Vec<(Vec<u8>, TreeRef)> = Vec::new();
        for leaf in nodes.chunks(leaf_names) {
            let mut bytes = vec![Shard::LEAF];
            for node in leaf {
                let mut encoded = Vec::new();
                node.encode(&mut encoded);
                put_bytes(&mut bytes, &encoded);
            }
            let tree = TreeRef {
                id: self.put(&bytes),
                names: leaf.len() as u64,
                directories: leaf
                    .iter()
                    .filter(|n| matches!(n.body, Body::Directory(_)))
                    .count() as u64,
                total: leaf.iter().map(Node::entries).sum(),
                bytes: leaf.iter().map(Node::bytes).sum(),
            };
            level.push((leaf[0].name.clone(), tree));
        }
        while level.len() > 1 {
            level = level
                .chunks(leaf_names.max(2))
                .map(|c| self.put_index(c))
                .collect();
        }
        level.pop().map_or_else(
            || TreeRef {
                id: self.put(&[Shard::LEAF]),
                names: 0,
                directories: 0,
                total: 0,
                bytes: 0,
            },
            |(_, tree)| tree,
        )
    }

    pub(crate) fn put_index(&self, shards: &[(Vec<u8>, TreeRef)]) -> (Vec<u8>, TreeRef) {
        let mut bytes = vec![Shard::INDEX];
        for (name, tree) in shards {
            Shard::put_index_entry(&mut bytes, name, tree);
        }
        let sum = |field: fn(&TreeRef) -> u64| shards.iter().map(|(_, tree)| field(tree)).sum();
        let tree = TreeRef {
            id: self.put(&bytes),
            names: sum(|t| t.names),
            directories: sum(|t| t.directories),
            total: sum(|t| t.total),
            bytes: sum(|t| t.bytes),
        };
        (shards[0].0.clone(), tree)
    }
}

impl Blocks for MemoryBlocks {
    fn locate(&self, id: &ChunkId) -> Result<Location> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let location = state.chunks.get(id).copied();
        location.ok_or_else(|| Error::corrupt(format!("chunk {id} is in no pack")))
    }

    fn read_block(&self, block: &BlockAddress, up_to: usize) -> Result<Vec<u8>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(Error::io("read", std::io::Error::other("the disk is gone")));
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = &state.blocks[block.number as usize];
        Ok(whole[..up_to.min(whole.len())].to_vec())
    }

    fn verify_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        if blake3::hash(bytes).as_bytes() == id.as_bytes() {
            return Ok(());
        }
        Err(Error::corrupt(format!("chunk {id} has other bytes")))
    }

    fn cache(&self) -> &BlockCache {
        &self.cache
    }
}
