//! Members of an archive, in any order and with repeats, to one tree.
//!
//! The last member of a path is what the tree shows, and a hard link is what its target was where the link stands, both as when
//! the archive is extracted; contents that the tree does not show become overrides of the recipe, so the archive still comes
//! out as it went in.

use std::path::PathBuf;
use std::sync::Arc;

use super::links::Links;
use super::recipe::Overrides;
use super::sorter::{Record, Sorter};
use super::tree::TreeBuilder;
use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::format::recipe::Override;
use crate::format::tree::{Body, Node};
use crate::format::{Cursor, put_bytes, put_varint};
use crate::progress::Monitor;
use crate::repository::{Repository, Writer};

/// What one member is.
pub(super) enum Member {
    Node(Box<Node>),
    Link(EntryPath),
    /// No member, but the place of a link among the members of its target: right before the link, whose ordinal is the next.
    Sought,
}

/// A member read back from the sorter.
pub(super) struct Sorted {
    pub(super) path: EntryPath,
    pub(super) ordinal: u64,
    /// Which content operation of the recipe has its content.
    operation: Option<u64>,
    pub(super) member: Member,
}

/// Collects the members of an archive.
pub(super) struct ArchiveTree {
    sorter: Sorter,
    ordinal: u64,
    links: u64,
    repository: Arc<Repository>,
    scratch: Option<PathBuf>,
}

impl ArchiveTree {
    pub(super) fn new(repository: &Arc<Repository>, scratch: Option<PathBuf>) -> Self {
        Self {
            sorter: Sorter::new(repository, scratch.clone()),
            ordinal: 0,
            links: 0,
            repository: Arc::clone(repository),
            scratch,
        }
    }

    /// A member that is no hard link.
    pub(super) fn node(
        &mut self,
        path: &EntryPath,
        node: &Node,
        operation: Option<u64>,
    ) -> Result<()> {
        let mut value = vec![0];
        put_varint(&mut value, operation.map_or(0, |n| n + 1));
        put_bytes(&mut value, path.as_bytes());
        node.encode(&mut value);
        self.ordinal += 2;
        self.push(path, self.ordinal, value)
    }

    /// A hard link.
    pub(super) fn link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<()> {
        self.links += 1;
        let mut value = vec![1];
        put_varint(&mut value, 0);
        put_bytes(&mut value, path.as_bytes());
        value.extend_from_slice(target.as_bytes());
        self.ordinal += 2;
        self.push(path, self.ordinal, value)?;
        let mut sought = vec![2, 0];
        put_bytes(&mut sought, target.as_bytes());
        self.push(target, self.ordinal - 1, sought)
    }

    fn push(&mut self, path: &EntryPath, ordinal: u64, value: Vec<u8>) -> Result<()> {
        self.sorter.push(Record {
            key: sort_key(path),
            ordinal,
            value,
        })
    }

    /// Builds the tree; the contents that it does not show are returned.
    pub(super) fn build(
        mut self,
        tree: &mut TreeBuilder,
        writer: &Writer,
        monitor: &dyn Monitor,
    ) -> Result<Overrides> {
        let links = if self.links == 0 {
            None
        } else {
            Some(Links::find(&mut self.sorter, self.scratch.as_deref())?)
        };
        let mut placer = Placer {
            tree,
            writer,
            monitor,
            links,
            blocked: None,
            overrides: Overrides::new(Sorter::new(&self.repository, self.scratch)),
        };
        let mut last: Option<Sorted> = None;
        self.sorter.for_each(|record| {
            let next = read(&record)?;
            if matches!(next.member, Member::Sought) {
                return Ok(());
            }
            if let Some(before) = last.take() {
                if before.path == next.path {
                    placer.superseded(&before)?;
                } else {
                    placer.place(before)?;
                }
            }
            last = Some(next);
            Ok(())
        })?;
        if let Some(before) = last {
            placer.place(before)?;
        }
        Ok(placer.overrides)
    }
}

/// Puts members into the tree in walk order.
struct Placer<'a> {
    tree: &'a mut TreeBuilder,
    writer: &'a Writer,
    monitor: &'a dyn Monitor,
    links: Option<Links>,
    /// The last path that is no directory: nothing can lie below it.
    blocked: Option<EntryPath>,
    overrides: Overrides,
}

impl Placer<'_> {
    /// A member that a later one of the same path replaced.
    fn superseded(&mut self, sorted: &Sorted) -> Result<()> {
        let (Some(ordinal), Member::Node(node)) = (sorted.operation, &sorted.member) else {
            return Ok(());
        };
        let Body::File { content, .. } = &node.body else {
            return Ok(());
        };
        self.overrides.push(&Override {
            ordinal,
            content: content.clone(),
        })
    }

    fn place(&mut self, sorted: Sorted) -> Result<()> {
        let Sorted {
            path,
            ordinal,
            operation,
            member,
        } = sorted;
        let below = self
            .blocked
            .as_ref()
            .is_some_and(|b| path != *b && path.is_within(b));
        let directory = matches!(&member, Member::Node(n) if matches!(n.body, Body::Directory(_)));
        if below || (path.is_root() && !directory) {
            self.monitor.warn(&format!(
                "'{path}' lies below something that is no directory: it is kept in the archive but not shown"
            ));
            return self.superseded(&Sorted {
                path,
                ordinal,
                operation,
                member,
            });
        }
        let mut node = match member {
            Member::Sought => return Ok(()),
            Member::Node(node) => *node,
            Member::Link(target) => {
                let linked = match &self.links {
                    Some(links) => links.linked(ordinal)?,
                    None => None,
                };
                let Some(linked) = linked.filter(|n| !matches!(n.body, Body::Directory(_))) else {
                    self.monitor.warn(&format!(
                        "the hard link '{path}' points to '{target}', which the archive does not have: \
                         it is kept in the archive but not shown"
                    ));
                    return Ok(());
                };
                linked
            }
        };
        node.name = path.name().to_vec();
        if path.is_root() {
            self.tree.set_root(&node.meta);
            return Ok(());
        }
        if directory {
            return self.tree.directory(&path, node, self.writer);
        }
        if let Some(links) = &self.links {
            links.join(&mut node, ordinal)?;
        }
        self.tree.leaf(&path, &node, None, self.writer)?;
        self.blocked = Some(path);
        Ok(())
    }
}

/// Byte order of these keys is the order of a walk: a slash sorts before every byte that a name can have.
fn sort_key(path: &EntryPath) -> Vec<u8> {
    path.as_bytes()
        .iter()
        .map(|b| if *b == b'/' { 0 } else { *b })
        .collect()
}

pub(super) fn read(record: &Record) -> Result<Sorted> {
    let bad = |e| Error::caused(Class::Corrupt, "a record of the ingest", e);
    let mut cursor = Cursor::new(&record.value);
    let kind = cursor.byte("kind").map_err(bad)?;
    let operation = cursor.varint("operation").map_err(bad)?.checked_sub(1);
    let path = cursor.bytes(usize::MAX, "path").map_err(bad)?;
    let parse = |bytes: &[u8]| {
        EntryPath::parse(bytes).map_err(|e| Error::invalid(format!("a path of the archive: {e}")))
    };
    let path = parse(path)?;
    let rest = cursor.take(cursor.remaining(), "member").map_err(bad)?;
    let member = match kind {
        0 => Member::Node(Box::new(Node::decode(rest).map_err(bad)?)),
        1 => Member::Link(parse(rest)?),
        _ => Member::Sought,
    };
    Ok(Sorted {
        path,
        ordinal: record.ordinal,
        operation,
        member,
    })
}
