//! The assembler: from events and the workers' results to nodes, in stream order, on a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::archive::ArchiveTree;
use super::feed::{Event, Turn};
use super::known::KnownFiles;
use super::links::FirstNames;
use super::recipe::RecipeWriter;
use super::tree::{TreeBuilder, directory};
use crate::chunk::GearTable;
use crate::entry::{Entry, EntryPath, Kind, Outcome};
use crate::error::{Error, Result};
use crate::format::content::Item;
use crate::format::snapshot::Counts;
use crate::format::tree::{Body, Node};
use crate::progress::Monitor;
use crate::repository::Writer;
use crate::repository::compose::ItemList;

/// What the stream became.
pub(super) struct Assembled {
    pub(super) root: Node,
    pub(super) counts: Counts,
    pub(super) recipe: Vec<Item>,
    pub(super) overrides: Vec<Item>,
}

/// How the stream is ordered, and what that needs.
pub(super) enum Mode {
    /// Entries come in walk order.
    Walk,
    /// Members come in any order, and literals with them.
    Archive(Box<ArchiveTree>, Box<RecipeWriter>),
}

/// See the module.
pub(super) struct Assembler<'a> {
    writer: &'a Writer,
    monitor: &'a dyn Monitor,
    tree: TreeBuilder,
    mode: Mode,
    table: Arc<GearTable>,
    /// Results of the present batch that are not used up.
    items: VecDeque<Item>,
    file: Option<(Box<Entry>, ItemList)>,
    /// Files with names still to come, by their first path.
    links: FirstNames,
    link_groups: u64,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(
        writer: &'a Writer,
        monitor: &'a dyn Monitor,
        known: Option<Arc<KnownFiles>>,
        mode: Mode,
        table: Arc<GearTable>,
        links: FirstNames,
    ) -> Self {
        Self {
            writer,
            monitor,
            tree: TreeBuilder::new(known),
            mode,
            table,
            items: VecDeque::new(),
            file: None,
            links,
            link_groups: 0,
        }
    }

    /// Works until the feed hangs up.
    pub(super) fn run(mut self, turns: &Receiver<Turn>) -> Result<Assembled> {
        for turn in turns {
            if let Some(sequence) = turn.batch {
                self.items.extend(self.writer.wait(sequence)?);
            }
            for event in turn.events {
                self.event(event)?;
            }
        }
        self.finish()
    }

    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Entry(entry, known) => self.entry(entry, known),
            Event::Chunks(count) => {
                let (_, list) = self.file.as_mut().ok_or_else(outside)?;
                for _ in 0..count {
                    let item = self.items.pop_front().ok_or_else(outside)?;
                    list.push(item, self.writer)?;
                }
                Ok(())
            }
            Event::Hole(len) => {
                let (entry, list) = self.file.as_mut().ok_or_else(outside)?;
                list.push(Item::Hole(len), self.writer)
                    .map_err(|e| e.within(format!("'{}'", entry.path)))
            }
            Event::End(outcome) => self.end(outcome),
            Event::Literal(bytes) => match &mut self.mode {
                Mode::Archive(_, recipe) => recipe.literal(&bytes, self.writer),
                Mode::Walk => Ok(()),
            },
        }
    }

    fn entry(&mut self, entry: Box<Entry>, known: Option<Box<Node>>) -> Result<()> {
        let name = entry.path.name().to_vec();
        let body = match &entry.kind {
            Kind::File => {
                let Some(node) = known else {
                    self.file = Some((entry, ItemList::default()));
                    return Ok(());
                };
                self.file_node(&entry, *node, true)?;
                self.tree.reused();
                return Ok(());
            }
            Kind::HardLink(target) => return self.hard_link(&entry, target),
            Kind::Directory => {
                let mut node = directory(name);
                node.meta = entry.meta.clone();
                return match &mut self.mode {
                    Mode::Archive(tree, _) => tree.node(&entry.path, &node, None),
                    Mode::Walk if entry.path.is_root() => {
                        self.tree.set_root(&entry.meta);
                        Ok(())
                    }
                    Mode::Walk => self.tree.directory(&entry.path, node, self.writer),
                };
            }
            Kind::Symlink(target) => Body::Symlink(target.clone()),
            Kind::Fifo => Body::Fifo,
            Kind::Socket => Body::Socket,
            Kind::CharDevice(major, minor) => Body::CharDevice(*major, *minor),
            Kind::BlockDevice(major, minor) => Body::BlockDevice(*major, *minor),
        };
        let mut node = Node::new(name, body);
        node.meta = entry.meta.clone();
        match &mut self.mode {
            Mode::Archive(tree, _) => tree.node(&entry.path, &node, None),
            Mode::Walk => {
                self.begin_group(&entry, &mut node)?;
                self.tree.leaf(&entry.path, &node, None, self.writer)
            }
        }
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        let (entry, list) = self.file.take().ok_or_else(outside)?;
        if outcome == Outcome::Failed {
            return Ok(());
        }
        let stream_bytes = list.stream_bytes();
        let size = list.len();
        let content = list.finish(self.writer)?;
        let mut node = Node::new(entry.path.name().to_vec(), Body::File { size, content });
        node.meta = entry.meta.clone();
        node.torn = outcome == Outcome::Changed;
        match &mut self.mode {
            Mode::Archive(tree, recipe) => {
                let operation = if stream_bytes > 0 {
                    Some(recipe.content(entry.path.as_bytes(), stream_bytes, self.writer)?)
                } else {
                    None
                };
                tree.node(&entry.path, &node, operation)
            }
            Mode::Walk => self.file_node(&entry, node, outcome == Outcome::Whole),
        }
    }

    /// A file in walk order, read or known.
    fn file_node(&mut self, entry: &Entry, mut node: Node, settled: bool) -> Result<()> {
        self.begin_group(entry, &mut node)?;
        self.tree.leaf(
            &entry.path,
            &node,
            Some(entry).filter(|_| settled),
            self.writer,
        )
    }

    /// The first name of a file with several.
    fn begin_group(&mut self, entry: &Entry, node: &mut Node) -> Result<()> {
        node.link_group = 0;
        node.links = 1;
        if let Some(stat) = entry.stat.filter(|stat| stat.links > 1) {
            self.link_groups += 1;
            node.link_group = self.link_groups;
            node.links = stat.links;
            self.links.put(&entry.path, node, stat.links - 1)?;
        }
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, target: &EntryPath) -> Result<()> {
        if let Mode::Archive(tree, _) = &mut self.mode {
            return tree.link(&entry.path, target);
        }
        let Some(mut node) = self.links.take(target)? else {
            self.monitor.warn(&format!(
                "'{}' is a hard link to '{target}', which could not be read: left out",
                entry.path
            ));
            return Ok(());
        };
        node.name = entry.path.name().to_vec();
        self.tree.leaf(&entry.path, &node, None, self.writer)
    }

    fn finish(mut self) -> Result<Assembled> {
        if self.file.is_some() || !self.items.is_empty() {
            return Err(outside());
        }
        let (mut recipe, mut overrides) = (Vec::new(), Vec::new());
        if let Mode::Archive(members, ops) = std::mem::replace(&mut self.mode, Mode::Walk) {
            let replaced = members.build(&mut self.tree, self.writer, self.monitor)?;
            recipe = ops.finish(self.writer)?;
            overrides = replaced.finish(&self.table, self.writer)?;
        }
        let (root, counts) = self.tree.finish(self.writer)?;
        Ok(Assembled {
            root,
            counts,
            recipe,
            overrides,
        })
    }
}

fn outside() -> Error {
    Error::invalid("the source broke its contract: content outside a file")
}
