//! From nodes in walk order to a tree of directories: a stack of open directories, closed from below.

use super::known::{DirectoryRecord, KnownFiles};
use crate::entry::{Entry, EntryPath, Meta};
use crate::error::{Error, Result};
use crate::format::snapshot::Counts;
use crate::format::tree::{Body, Node, TreeRef};
use crate::id::ChunkId;
use crate::repository::Writer;
use crate::repository::compose::{ShardWriter, Weight};

/// A directory whose entries still come.
struct Open {
    path: EntryPath,
    node: Node,
    shards: ShardWriter,
    record: DirectoryRecord,
}

/// Builds the tree of a snapshot.
pub(super) struct TreeBuilder {
    stack: Vec<Open>,
    known: Option<std::sync::Arc<KnownFiles>>,
    /// What the tree holds so far.
    pub(super) counts: Counts,
}

impl TreeBuilder {
    pub(super) fn new(known: Option<std::sync::Arc<KnownFiles>>) -> Self {
        let root = Open::new(EntryPath::root(), directory(Vec::new()), known.is_some());
        Self {
            stack: vec![root],
            known,
            counts: Counts::default(),
        }
    }

    /// Metadata of the root directory.
    pub(super) fn set_root(&mut self, entry_meta: &crate::entry::Meta) {
        if let Some(root) = self.stack.first_mut() {
            root.node.meta = entry_meta.clone();
        }
    }

    /// Begins a directory; its entries follow.
    pub(super) fn directory(
        &mut self,
        path: &EntryPath,
        node: Node,
        writer: &Writer,
    ) -> Result<()> {
        self.enter(path, writer)?;
        self.counts.directories += 1;
        self.stack
            .push(Open::new(path.clone(), node, self.known.is_some()));
        Ok(())
    }

    /// Adds anything but a directory. `entry` is given where it may be recognised unchanged the next time.
    pub(super) fn leaf(
        &mut self,
        path: &EntryPath,
        node: &Node,
        entry: Option<&Entry>,
        writer: &Writer,
    ) -> Result<()> {
        self.enter(path, writer)?;
        match node.body {
            Body::File { size, .. } => {
                self.counts.files += 1;
                self.counts.bytes = self.counts.bytes.saturating_add(size);
            }
            _ => self.counts.others += 1,
        }
        let mut encoded = Vec::with_capacity(160);
        node.encode(&mut encoded);
        let open = self.stack.last_mut().ok_or_else(no_root)?;
        open.shards
            .push(&node.name, &encoded, Weight::of(node), writer)?;
        if let (Some(entry), Some(known)) = (entry, &self.known) {
            if node.link_group == 0 {
                known.record(&mut open.record, entry, &encoded)?;
            } else {
                let mut alone = node.clone();
                alone.link_group = 0;
                encoded.clear();
                alone.encode(&mut encoded);
                known.record(&mut open.record, entry, &encoded)?;
            }
        }
        Ok(())
    }

    /// A file in the directory of `path` was taken over unchanged.
    pub(super) fn reused(&mut self) {
        if let Some(open) = self.stack.last_mut() {
            open.record.reused += 1;
        }
    }

    /// Makes the parent of `path` the innermost open directory: closes what does not contain it, opens what is missing.
    fn enter(&mut self, path: &EntryPath, writer: &Writer) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        while self
            .stack
            .last()
            .is_some_and(|open| !parent.is_within(&open.path))
        {
            self.close(writer)?;
        }
        loop {
            let open = self.stack.last().ok_or_else(no_root)?;
            if open.path == parent {
                return Ok(());
            }
            let depth = open.path.depth();
            let name = parent.components().nth(depth).unwrap_or_default().to_vec();
            let path = open
                .path
                .join(&name)
                .map_err(|e| Error::invalid(format!("the path '{path}': {e}")))?;
            self.counts.directories += 1;
            self.stack
                .push(Open::new(path, directory(name), self.known.is_some()));
        }
    }

    /// Closes the innermost directory and adds it to the one above.
    fn close(&mut self, writer: &Writer) -> Result<Node> {
        let Open {
            path,
            mut node,
            shards,
            record,
        } = self.stack.pop().ok_or_else(no_root)?;
        node.body = Body::Directory(shards.finish(writer)?);
        if let Some(known) = &self.known {
            known.keep(&path, record)?;
        }
        if let Some(above) = self.stack.last_mut() {
            let mut encoded = Vec::with_capacity(160);
            node.encode(&mut encoded);
            above
                .shards
                .push(&node.name, &encoded, Weight::of(&node), writer)?;
        }
        Ok(node)
    }

    /// Closes everything; the root's node.
    pub(super) fn finish(mut self, writer: &Writer) -> Result<(Node, Counts)> {
        while self.stack.len() > 1 {
            self.close(writer)?;
        }
        let root = self.close(writer)?;
        Ok((root, self.counts))
    }
}

impl Open {
    fn new(path: EntryPath, node: Node, recorded: bool) -> Self {
        let record = DirectoryRecord::new(recorded);
        Self {
            path,
            node,
            shards: ShardWriter::new(),
            record,
        }
    }
}

/// A directory that was not described (yet).
pub(super) fn directory(name: Vec<u8>) -> Node {
    let tree = TreeRef {
        id: ChunkId::new([0; 32]),
        names: 0,
        directories: 0,
        total: 0,
        bytes: 0,
    };
    let mut node = Node::new(name, Body::Directory(tree));
    node.meta = implied_directory();
    node
}

/// The node of a directory that no entry described: an archive may leave its parents out.
fn implied_directory() -> Meta {
    Meta {
        mode: 0o755,
        ..Meta::default()
    }
}

fn no_root() -> Error {
    Error::invalid("an entry came after the root was closed")
}
