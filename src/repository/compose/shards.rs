//! One directory under construction: nodes in, shards out.

use super::super::Writer;
use crate::error::{Error, Result};
use crate::format::put_bytes;
use crate::format::tree::{Body, MAX_NODE_BYTES, Node, Shard, TreeRef, is_boundary};
use crate::id::ChunkId;

/// Entries of one index shard.
const INDEX_ENTRIES: usize = 1024;

/// What a node adds to the sums of its directory.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) directory: bool,
}

impl Weight {
    /// What this node adds.
    pub fn of(node: &Node) -> Self {
        Self {
            entries: node.entries(),
            bytes: node.bytes(),
            directory: matches!(node.body, Body::Directory(_)),
        }
    }
}

/// Takes the nodes of one directory in the order of their names.
pub struct ShardWriter {
    leaf: Vec<u8>,
    first: Option<Vec<u8>>,
    sums: TreeRef,
    done: Vec<(Vec<u8>, TreeRef)>,
}

impl ShardWriter {
    /// An empty directory.
    #[expect(
        clippy::new_without_default,
        reason = "a directory under construction is no value to default to"
    )]
    pub fn new() -> Self {
        Self {
            leaf: vec![Shard::LEAF],
            first: None,
            sums: empty(),
            done: Vec::new(),
        }
    }

    /// Appends an encoded node, whose name comes after those before it.
    pub fn push(
        &mut self,
        name: &[u8],
        encoded: &[u8],
        weight: Weight,
        writer: &Writer,
    ) -> Result<()> {
        if encoded.len() > MAX_NODE_BYTES {
            return Err(Error::invalid(
                "the metadata of an entry is larger than a node may be",
            ));
        }
        put_bytes(&mut self.leaf, encoded);
        self.first.get_or_insert_with(|| name.to_vec());
        self.sums.names += 1;
        self.sums.directories += u64::from(weight.directory);
        self.sums.total += weight.entries;
        self.sums.bytes = self.sums.bytes.saturating_add(weight.bytes);
        if is_boundary(name, self.leaf.len()) {
            self.close(writer)?;
        }
        Ok(())
    }

    fn close(&mut self, writer: &Writer) -> Result<()> {
        let Some(first) = self.first.take() else {
            return Ok(());
        };
        let id = writer.put_meta(&self.leaf)?;
        self.done.push((first, TreeRef { id, ..self.sums }));
        self.leaf.clear();
        self.leaf.push(Shard::LEAF);
        self.sums = empty();
        Ok(())
    }

    /// The finished directory; its shards are stored.
    pub fn finish(mut self, writer: &Writer) -> Result<TreeRef> {
        self.close(writer)?;
        if self.done.is_empty() {
            return Ok(TreeRef {
                id: writer.put_meta(&[Shard::LEAF])?,
                ..empty()
            });
        }
        let mut level = self.done;
        while level.len() > 1 {
            level = level
                .chunks(INDEX_ENTRIES)
                .map(|shards| index(shards, writer))
                .collect::<Result<_>>()?;
        }
        level
            .pop()
            .map(|(_, tree)| tree)
            .ok_or_else(|| Error::invalid("an empty directory"))
    }
}

/// Writes one index shard over these.
fn index(shards: &[(Vec<u8>, TreeRef)], writer: &Writer) -> Result<(Vec<u8>, TreeRef)> {
    let mut bytes = vec![Shard::INDEX];
    let mut sums = empty();
    for (name, tree) in shards {
        Shard::put_index_entry(&mut bytes, name, tree);
        sums.names += tree.names;
        sums.directories += tree.directories;
        sums.total += tree.total;
        sums.bytes = sums.bytes.saturating_add(tree.bytes);
    }
    let first = shards
        .first()
        .map(|(name, _)| name.clone())
        .unwrap_or_default();
    Ok((
        first,
        TreeRef {
            id: writer.put_meta(&bytes)?,
            ..sums
        },
    ))
}

fn empty() -> TreeRef {
    TreeRef {
        id: ChunkId::new([0; 32]),
        names: 0,
        directories: 0,
        total: 0,
        bytes: 0,
    }
}
