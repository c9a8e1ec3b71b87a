//! The second pass over a snapshot: its trees, made anew from below, with the contents that the first pass stored.
//!
//! A node keeps everything but the chunks that it names. Directories are cut into shards as an ingest does, so a tree that was also
//! ingested at the destination is the same tree there. A directory that was copied once is not looked into again.

use super::Run;
use crate::entry::EntryPath;
use crate::error::{Error, Result};
use crate::format::tree::{Body, Node, TreeRef};
use crate::repository::Writer;
use crate::repository::compose::{ShardWriter, Weight};
use crate::repository::trees::Cursor;

/// A directory of which entries are still to come.
struct Open<'a> {
    path: EntryPath,
    /// Its own node in the source.
    node: Node,
    tree: TreeRef,
    cursor: Cursor<'a>,
    shards: ShardWriter,
}

/// Copies the tree below `root`, whose contents are copied; the root in the destination.
pub(super) fn copy_tree(run: &Run<'_>, root: &Node, writer: &Writer) -> Result<Node> {
    let mut stack = Vec::new();
    let mut finished = enter(run, EntryPath::root(), root.clone(), &mut stack)?;
    loop {
        let Some(open) = stack.last_mut() else {
            return finished.ok_or_else(|| Error::invalid("a tree without a root"));
        };
        if let Some(directory) = finished.take() {
            add(&mut open.shards, &directory, writer)?;
        }
        run.check()?;
        let next = open.cursor.next().transpose();
        let Some(found) = next.map_err(|e| e.within(format!("'{}'", open.path)))? else {
            finished = Some(close(run, &mut stack, writer)?);
            continue;
        };
        let mut node = Node::clone(&found);
        if matches!(node.body, Body::Directory(_)) {
            let path = open.path.join(&node.name);
            let path = path.map_err(|e| Error::corrupt(format!("name in a tree: {e}")))?;
            finished = enter(run, path, node, &mut stack)?;
            continue;
        }
        if let Body::File { content, .. } = &mut node.body {
            *content = run
                .translate(content)
                .map_err(|e| e.within(format!("'{}'", open.path)))?;
        }
        add(&mut open.shards, &node, writer)?;
    }
}

/// Begins a directory; its node in the destination, if it was copied before.
fn enter<'a>(
    run: &Run<'a>,
    path: EntryPath,
    mut node: Node,
    stack: &mut Vec<Open<'a>>,
) -> Result<Option<Node>> {
    let Body::Directory(tree) = node.body else {
        return Err(Error::corrupt("the root is no directory"));
    };
    if let Some(copied) = run.memo.tree(&tree)? {
        node.body = Body::Directory(copied);
        return Ok(Some(node));
    }
    let cursor = Cursor::new(run.source, &tree).map_err(|e| e.within(format!("'{path}'")))?;
    stack.push(Open {
        path,
        node,
        tree,
        cursor,
        shards: ShardWriter::new(),
    });
    Ok(None)
}

/// Ends the innermost directory; its node in the destination.
fn close(run: &Run<'_>, stack: &mut Vec<Open<'_>>, writer: &Writer) -> Result<Node> {
    let open = stack
        .pop()
        .ok_or_else(|| Error::invalid("no directory is open"))?;
    let copied = open.shards.finish(writer)?;
    run.memo.keep_tree(&open.tree, &copied)?;
    let mut node = open.node;
    node.body = Body::Directory(copied);
    Ok(node)
}

fn add(shards: &mut ShardWriter, node: &Node, writer: &Writer) -> Result<()> {
    let mut encoded = Vec::with_capacity(160);
    node.encode(&mut encoded);
    shards.push(&node.name, &encoded, Weight::of(node), writer)
}
