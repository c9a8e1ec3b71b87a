//! Where the neighbours of a chunk lie, from the directories of the packs read last.
//!
//! Who asks for many chunks of a pack asks for most of them: whole files and archives lie in the order in which they are
//! read. One look at the pack's directory then costs far less than a look into the catalog for each chunk. Nothing
//! depends on it: what is not found here is asked of the catalog.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::address::{BlockAddress, Location};
use super::lock;
use super::object::length;
use crate::error::Result;
use crate::format::header::ObjectKind;
use crate::format::pack::Directory;
use crate::id::{PackId, ShortChunkId};

/// How many packs are remembered: two streams of packs may be read side by side.
const MAX_PACKS: usize = 4;
/// Chunks of one pack that are asked for together before its directory is read.
const MIN_CHUNKS: usize = 256;

/// The chunks of one pack.
struct Pack {
    id: PackId,
    chunks: HashMap<ShortChunkId, Location>,
}

/// The packs read last.
#[derive(Default)]
pub(super) struct Neighbours(Mutex<State>);

#[derive(Default)]
struct State {
    packs: Vec<Arc<Pack>>,
    /// [`Catalog::removals`](crate::catalog::Catalog::removals) when they were read: what goes later may be among them.
    removals: u64,
}

impl Neighbours {
    /// Where those of `ids` are that lie in a remembered pack. Packs went since if `removals` is another than before: all
    /// are forgotten then.
    pub(super) fn find(&self, ids: &[ShortChunkId], removals: u64) -> Vec<Option<Location>> {
        let mut state = lock(&self.0);
        if state.removals != removals {
            state.packs.clear();
            state.removals = removals;
        }
        let packs = state.packs.clone();
        drop(state);
        let find = |id| packs.iter().find_map(|pack| pack.chunks.get(id).copied());
        ids.iter().map(find).collect()
    }

    /// Remembers the packs that many of these locations are in; `read` gives a pack's directory. One that cannot be
    /// read is no error here: whoever reads its blocks is told.
    pub(super) fn learn(
        &self,
        locations: impl Iterator<Item = Location>,
        read: impl Fn(ObjectKind, &PackId) -> Result<Directory>,
    ) {
        let mut counts: HashMap<(PackId, ObjectKind), usize> = HashMap::new();
        for location in locations {
            *counts
                .entry((location.block.pack, location.block.kind))
                .or_default() += 1;
        }
        counts.retain(|_, count| *count >= MIN_CHUNKS);
        for (id, kind) in counts.into_keys() {
            if lock(&self.0).packs.iter().any(|pack| pack.id == id) {
                continue;
            }
            let Ok(chunks) = read(kind, &id).and_then(|directory| locate(kind, &id, &directory))
            else {
                continue;
            };
            let mut state = lock(&self.0);
            state.packs.truncate(MAX_PACKS - 1);
            state.packs.insert(0, Arc::new(Pack { id, chunks }));
        }
    }
}

fn locate(
    kind: ObjectKind,
    pack: &PackId,
    directory: &Directory,
) -> Result<HashMap<ShortChunkId, Location>> {
    let mut chunks = HashMap::with_capacity(directory.chunk_count());
    let offsets = directory.offsets();
    for (number, (entry, at)) in directory.blocks.iter().zip(offsets).enumerate() {
        let block = BlockAddress {
            pack: *pack,
            kind,
            number: length(number)?,
            offset: at,
            stored_bytes: entry.stored_bytes,
            raw_bytes: entry.raw_bytes,
            codec: entry.codec,
        };
        let mut offset = 0;
        for chunk in &entry.chunks {
            let len = chunk.raw_bytes;
            chunks.insert(chunk.id, Location { block, offset, len });
            offset += len;
        }
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Error;
    use crate::format::header::Codec;
    use crate::format::pack::{BlockEntry, ChunkEntry};
    use crate::id::ChunkId;

    fn id(n: u32) -> ShortChunkId {
        ChunkId::new(*blake3::hash(&n.to_le_bytes()).as_bytes()).shorten()
    }

    fn directory() -> Directory {
        let block = |from: u32| BlockEntry {
            codec: Codec::Zstd,
            stored_bytes: 100,
            raw_bytes: 3000,
            chunks: (from..from + 300)
                .map(|n| ChunkEntry {
                    id: id(n),
                    raw_bytes: 10,
                })
                .collect(),
        };
        let blocks = vec![block(0), block(300)];
        Directory { blocks }
    }

    #[test]
    fn a_directory_is_read_once_and_only_for_many_chunks() {
        let pack = PackId::new([7; 32]);
        let all: Vec<Location> = locate(ObjectKind::DataPack, &pack, &directory())
            .unwrap()
            .into_values()
            .collect();
        let (neighbours, reads) = (Neighbours::default(), Cell::new(0));
        let read = |_: ObjectKind, _: &PackId| {
            reads.set(reads.get() + 1);
            Ok(directory())
        };
        let few = || all.iter().copied().take(MIN_CHUNKS - 1);
        neighbours.learn(few(), read);
        assert_eq!((reads.get(), neighbours.find(&[id(1)], 0)), (0, vec![None]));
        neighbours.learn(all.iter().copied(), |_, _| Err(Error::corrupt("gone")));
        neighbours.learn(all.iter().copied(), read);
        neighbours.learn(all.iter().copied(), read);
        assert_eq!(reads.get(), 1);
        let found = neighbours.find(&[id(301), id(9999)], 0);
        let place = found[0].unwrap();
        let block = place.block;
        assert_eq!((block.number, block.offset, place.offset), (1, 260, 10));
        assert_eq!((block.pack, place.len, found[1]), (pack, 10, None));
        assert_eq!(neighbours.find(&[id(301)], 1), [None], "a pack went since");
    }
}
