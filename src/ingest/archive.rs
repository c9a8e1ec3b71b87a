//! Members of an archive, in any order and with repeats, to one tree.
//!
//! The last member of a path is what the tree shows, as when the archive is extracted; contents that the tree does not show
//! become overrides of the recipe, so the archive still comes out as it went in.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::sorter::{Record, Sorter};
use super::tree::TreeBuilder;
use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::format::recipe::Override;
use crate::format::tree::{Body, Node};
use crate::format::{Cursor, put_bytes, put_varint};
use crate::progress::Monitor;
use crate::repository::{Repository, Writer};

/// Hard links that point to hard links are followed this far.
const MAX_LINK_HOPS: usize = 64;

/// What one member is.
enum Member {
    Node(Box<Node>),
    Link(EntryPath),
}

/// A member read back from the sorter.
struct Sorted {
    path: EntryPath,
    /// Which content operation of the recipe has its content.
    operation: Option<u64>,
    member: Member,
}

/// Collects the members of an archive.
pub(super) struct ArchiveTree {
    sorter: Sorter,
    ordinal: u64,
    links: u64,
}

/// A file with several names.
struct Group {
    number: u64,
    names: u32,
    node: Option<Node>,
}

impl ArchiveTree {
    pub(super) fn new(repository: &Arc<Repository>, scratch: Option<PathBuf>) -> Self {
        Self {
            sorter: Sorter::new(repository, scratch),
            ordinal: 0,
            links: 0,
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
        self.push(path, value)
    }

    /// A hard link.
    pub(super) fn link(&mut self, path: &EntryPath, target: &EntryPath) -> Result<()> {
        self.links += 1;
        let mut value = vec![1];
        put_varint(&mut value, 0);
        put_bytes(&mut value, path.as_bytes());
        value.extend_from_slice(target.as_bytes());
        self.push(path, value)
    }

    fn push(&mut self, path: &EntryPath, value: Vec<u8>) -> Result<()> {
        self.ordinal += 1;
        self.sorter.push(Record {
            key: sort_key(path),
            ordinal: self.ordinal,
            value,
        })
    }

    /// Builds the tree; the contents that it does not show are returned, sorted.
    pub(super) fn build(
        mut self,
        tree: &mut TreeBuilder,
        writer: &Writer,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Override>> {
        let groups = if self.links == 0 {
            Links::default()
        } else {
            self.find_groups()?
        };
        let mut placer = Placer {
            tree,
            writer,
            monitor,
            groups,
            blocked: None,
            overrides: Vec::new(),
        };
        let mut last: Option<Sorted> = None;
        self.sorter.for_each(|record| {
            let next = read(&record)?;
            if let Some(before) = last.take() {
                if before.path == next.path {
                    placer.superseded(&before);
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
        let mut overrides = placer.overrides;
        overrides.sort_by_key(|o| o.ordinal);
        Ok(overrides)
    }

    /// Which files have several names: one pass over the links, one to fetch what they point to.
    fn find_groups(&mut self) -> Result<Links> {
        let mut targets: HashMap<EntryPath, Option<EntryPath>> = HashMap::new();
        self.sorter.for_each(|record| {
            let sorted = read(&record)?;
            match sorted.member {
                Member::Link(target) => targets.insert(sorted.path, Some(target)),
                Member::Node(_) => targets
                    .get_mut(&sorted.path)
                    .and_then(Option::take)
                    .map(Some),
            };
            Ok(())
        })?;
        let mut links: Vec<(&EntryPath, EntryPath)> = Vec::new();
        for (path, target) in &targets {
            let Some(mut end) = target.clone() else {
                continue;
            };
            for _ in 0..MAX_LINK_HOPS {
                match targets.get(&end) {
                    Some(Some(next)) => end = next.clone(),
                    _ => break,
                }
            }
            links.push((path, end));
        }
        links.sort();
        let mut found = Links::default();
        for (path, end) in links {
            let number = found.groups.len() as u64 + 1;
            let group = found.groups.entry(end.clone()).or_insert(Group {
                number,
                names: 1,
                node: None,
            });
            group.names = group.names.saturating_add(1);
            found.targets.insert(path.clone(), end);
        }
        self.sorter.for_each(|record| {
            let sorted = read(&record)?;
            if let (Some(group), Member::Node(node)) =
                (found.groups.get_mut(&sorted.path), sorted.member)
            {
                group.node = Some(*node);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// Hard links of an archive.
#[derive(Default)]
struct Links {
    /// Where each link ends.
    targets: HashMap<EntryPath, EntryPath>,
    /// The files at those ends.
    groups: HashMap<EntryPath, Group>,
}

/// Puts members into the tree in walk order.
struct Placer<'a> {
    tree: &'a mut TreeBuilder,
    writer: &'a Writer,
    monitor: &'a dyn Monitor,
    groups: Links,
    /// The last path that is no directory: nothing can lie below it.
    blocked: Option<EntryPath>,
    overrides: Vec<Override>,
}

impl Placer<'_> {
    /// A member that a later one of the same path replaced.
    fn superseded(&mut self, sorted: &Sorted) {
        let (Some(ordinal), Member::Node(node)) = (sorted.operation, &sorted.member) else {
            return;
        };
        let Body::File { content, .. } = &node.body else {
            return;
        };
        self.overrides.push(Override {
            ordinal,
            content: content.clone(),
        });
    }

    fn place(&mut self, sorted: Sorted) -> Result<()> {
        let Sorted {
            path,
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
            self.superseded(&Sorted {
                path,
                operation,
                member,
            });
            return Ok(());
        }
        let mut node = match member {
            Member::Node(node) => *node,
            Member::Link(target) => {
                let end = self.groups.targets.get(&path).unwrap_or(&target);
                let linked = self.groups.groups.get(end).and_then(|g| g.node.as_ref());
                let Some(linked) = linked.filter(|n| !matches!(n.body, Body::Directory(_))) else {
                    self.monitor.warn(&format!(
                        "the hard link '{path}' points to '{target}', which the archive does not have: \
                         it is kept in the archive but not shown"
                    ));
                    return Ok(());
                };
                let mut node = linked.clone();
                self.join_group(&mut node, &end.clone());
                node
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
        if node.link_group == 0 {
            self.join_group(&mut node, &path);
        }
        self.tree.leaf(&path, &node, None, self.writer)?;
        self.blocked = Some(path);
        Ok(())
    }

    fn join_group(&self, node: &mut Node, end: &EntryPath) {
        if let Some(group) = self.groups.groups.get(end) {
            node.link_group = group.number;
            node.links = group.names;
        }
    }
}

/// Byte order of these keys is the order of a walk: a slash sorts before every byte that a name can have.
fn sort_key(path: &EntryPath) -> Vec<u8> {
    path.as_bytes()
        .iter()
        .map(|b| if *b == b'/' { 0 } else { *b })
        .collect()
}

fn read(record: &Record) -> Result<Sorted> {
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
    let member = if kind == 0 {
        Member::Node(Box::new(Node::decode(rest).map_err(bad)?))
    } else {
        Member::Link(parse(rest)?)
    };
    Ok(Sorted {
        path,
        operation,
        member,
    })
}
