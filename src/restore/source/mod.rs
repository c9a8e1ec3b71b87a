//! A snapshot, or selected entries of it, as a source of entries: for export, for copies, for comparison.
//!
//! Everything is known in advance, so blocks are read, decoded and checked ahead by workers in the order of use, while the sink
//! takes entries on the caller's thread. Damage ends the stream with an error that names the path: a sink cannot
//! take back what it was given. Memory: the pieces that are ahead, each bounded by [`Load`], and the block cache.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use super::first_names::FirstNames;
use super::plan::kind_of;
use super::select::{Filter, Picks, Root, Selection, roots};
use crate::entry::{Entry, EntryPath, Extent, Kind, Order, Outcome, Sink, Source, Stat, Want};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::tree::{Body, Node};
use crate::id::ChunkId;
use crate::progress::Monitor;
use crate::repository::Location;
use crate::repository::ahead::{Queue, in_order};
use crate::repository::block_cache::{Blocks, ChunkBytes};
use crate::repository::content::Content;
use crate::repository::load::{Load, fetch, locate_all, zeros};

/// The most extents that are listed ahead of a file's content; a file in more pieces does without.
const MAX_EXTENTS: usize = 1 << 16;

/// See the module. Paths are as [`restore`](super::restore) would place them: a whole snapshot begins with its root (the empty
/// path), a selected entry has its own name.
pub struct SnapshotSource<'a> {
    blocks: &'a dyn Blocks,
    roots: Vec<Root>,
    filter: Filter,
    threads: NonZeroUsize,
    monitor: Arc<dyn Monitor>,
    scratch: Option<PathBuf>,
}

/// One call of the sink to come. `C` is a chunk: planned, then prepared.
enum Step<C> {
    Entry(Box<Entry>),
    Data(C),
    Zeros(u64),
    Hole(u64),
    End,
}

/// Steps whose chunks are located together.
const GROUP_STEPS: usize = 4096;

/// Bytes of entries that wait meanwhile.
const GROUP_BYTES: usize = 4 << 20;

type Planned = (ChunkId, Location);
/// The path of the file that the batch begins in, and its steps.
type Batch<C> = (EntryPath, Vec<Step<C>>);

impl<C: Copy> Step<C> {
    fn chunk(&self) -> Option<C> {
        match self {
            Self::Data(chunk) => Some(*chunk),
            _ => None,
        }
    }
}

impl<'a> SnapshotSource<'a> {
    /// A source of what was selected and passes the filter.
    pub fn new(
        blocks: &'a dyn Blocks,
        selections: &[Selection],
        filter: Filter,
        threads: NonZeroUsize,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self> {
        Ok(Self {
            roots: roots(blocks, selections)?,
            blocks,
            filter,
            threads,
            monitor,
            scratch: None,
        })
    }

    /// What does not fit in memory goes to `scratch` (sealed).
    #[must_use]
    pub fn with_scratch(mut self, scratch: Option<PathBuf>) -> Self {
        self.scratch = scratch;
        self
    }

    /// Entries and logical bytes that will come, if nothing is filtered out.
    pub fn totals(&self) -> (u64, u64) {
        let entries = self.roots.iter().map(|r| r.node.entries());
        let bytes = self.roots.iter().map(|r| r.node.bytes());
        (entries.sum(), bytes.sum())
    }
}

impl Source for SnapshotSource<'_> {
    fn order(&self) -> Order {
        Order::Walk
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let this = &*self;
        let mut wanted = true;
        in_order(
            this.threads,
            |queue| Planner::new(this, queue).run(),
            |batch: Batch<Planned>| this.prepare(batch),
            |(_, steps): Batch<ChunkBytes>| {
                for step in steps {
                    match step {
                        Step::Entry(entry) => {
                            let want = sink.entry(&entry)?;
                            wanted = entry.is_file() && want == Want::Content;
                        }
                        _ if !wanted => {}
                        Step::Data(bytes) => sink.data(&bytes)?,
                        Step::Zeros(len) => zeros(len, |bytes| sink.data(bytes))?,
                        Step::Hole(len) => sink.hole(len)?,
                        Step::End => sink.end(Outcome::Whole)?,
                    }
                }
                Ok(())
            },
        )
    }
}

impl SnapshotSource<'_> {
    /// Reads what a batch needs.
    fn prepare(&self, (mut path, steps): Batch<Planned>) -> Result<Batch<ChunkBytes>> {
        let mut ready = Vec::with_capacity(steps.len());
        for step in steps {
            ready.push(match step {
                Step::Entry(entry) => {
                    path = entry.path.clone();
                    Step::Entry(entry)
                }
                Step::Data((id, location)) => {
                    let bytes = fetch(self.blocks, &id, &location);
                    Step::Data(bytes.map_err(|e| damaged(&path, e))?)
                }
                Step::Zeros(len) => Step::Zeros(len),
                Step::Hole(len) => Step::Hole(len),
                Step::End => Step::End,
            });
        }
        Ok((path, ready))
    }
}

fn damaged(path: &EntryPath, error: Error) -> Error {
    if path.is_root() {
        return error;
    }
    error.within(format!("'{path}'"))
}

/// Walks the trees and says what will be needed.
struct Planner<'a> {
    source: &'a SnapshotSource<'a>,
    queue: &'a mut Queue<Batch<Planned>, Batch<ChunkBytes>>,
    /// Steps whose chunks are not located yet, and about how many bytes they take.
    group: Vec<Step<(ChunkId, u32)>>,
    group_bytes: usize,
    /// The entry that was handed over last.
    last: EntryPath,
    first_names: FirstNames,
}

impl<'a> Planner<'a> {
    fn new(
        source: &'a SnapshotSource<'a>,
        queue: &'a mut Queue<Batch<Planned>, Batch<ChunkBytes>>,
    ) -> Self {
        Self {
            source,
            queue,
            group: Vec::new(),
            group_bytes: 0,
            last: EntryPath::root(),
            first_names: FirstNames::new(source.scratch.clone()),
        }
    }

    fn run(mut self) -> Result<()> {
        let source = self.source;
        for root in &source.roots {
            for pick in Picks::new(source.blocks, root, &source.filter) {
                let (path, node) = pick.map_err(|(path, error)| damaged(&path, error))?;
                self.entry(root, path, &node)?;
                if source.monitor.interrupted() {
                    return Err(Error::new(Class::Interrupted, "interrupted"));
                }
            }
        }
        self.flush()
    }

    fn entry(&mut self, root: &Root, path: EntryPath, node: &Node) -> Result<()> {
        let roots = &self.source.roots;
        let (_, first) = self.first_names.see(roots, root, &path, node)?;
        let kind = match first {
            Some(first) => Kind::HardLink(first),
            None => kind_of(&node.body).unwrap_or(Kind::Directory),
        };
        let mut entry = Entry::new(path, kind);
        entry.meta = node.meta.clone();
        let content = match &node.body {
            Body::File { size, content } if entry.is_file() => {
                entry.size = *size;
                Some(Content::new(content))
            }
            _ => None,
        };
        let Some(content) = content else {
            return self.push(Step::Entry(Box::new(entry)));
        };
        if node.links > 1 {
            // All that is left of the file's identity: that more names come.
            entry.stat = Some(Stat {
                links: node.links,
                ..Stat::default()
            });
        }
        let path = entry.path.clone();
        entry.extents = self.extents(&content).map_err(|e| damaged(&path, e))?;
        self.push(Step::Entry(Box::new(entry)))?;
        self.content(&content).map_err(|e| damaged(&path, e))?;
        self.push(Step::End)
    }

    fn content(&mut self, content: &Content) -> Result<()> {
        let blocks = self.source.blocks;
        for extent in content.extents(blocks, 0) {
            match extent?.item {
                Item::Data { id, len } => self.push(Step::Data((id, len)))?,
                Item::Zeros(len) => self.push(Step::Zeros(len))?,
                Item::Hole(len) => self.push(Step::Hole(len))?,
                Item::List { .. } => {}
            }
        }
        Ok(())
    }

    /// Where a file with holes has its data.
    fn extents(&self, content: &Content) -> Result<Option<Vec<Extent>>> {
        if content.data_bytes() == content.len() {
            return Ok(None);
        }
        let mut extents: Vec<Extent> = Vec::new();
        let mut holes = false;
        for found in content.extents(self.source.blocks, 0) {
            let found = found?;
            let (offset, len) = (found.start, found.item.len());
            let count = extents.len();
            match (found.item, extents.last_mut()) {
                (Item::Hole(_), _) => holes = true,
                (_, Some(last)) if last.offset + last.len == offset => last.len += len,
                _ if count >= MAX_EXTENTS => return Ok(None),
                _ => extents.push(Extent { offset, len }),
            }
        }
        Ok(holes.then_some(extents))
    }

    fn push(&mut self, step: Step<(ChunkId, u32)>) -> Result<()> {
        if let Step::Entry(entry) = &step {
            self.group_bytes += entry_bytes(entry);
        }
        self.group.push(step);
        if self.group.len() >= GROUP_STEPS || self.group_bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Locates the chunks of the group and hands it over batch by batch.
    fn flush(&mut self) -> Result<()> {
        let chunks: Vec<_> = self.group.iter().filter_map(Step::chunk).collect();
        let mut located = locate_all(self.source.blocks, &chunks)?.into_iter();
        let (mut begins, mut steps) = (self.last.clone(), Vec::new());
        let mut load = Load::default();
        self.group_bytes = 0;
        for step in self.group.drain(..) {
            let step = match step {
                Step::Data((id, _)) => {
                    let location = located.next().unwrap_or_else(|| Err(unanswered()));
                    let location = location.map_err(|e| damaged(&self.last, e))?;
                    load.add_chunk(&location);
                    Step::Data((id, location))
                }
                Step::Entry(entry) => {
                    load.add(entry_bytes(&entry));
                    self.last = entry.path.clone();
                    Step::Entry(entry)
                }
                Step::Zeros(len) => Step::Zeros(len),
                Step::Hole(len) => Step::Hole(len),
                Step::End => Step::End,
            };
            load.add(0);
            steps.push(step);
            if load.is_full() {
                load = Load::default();
                self.queue.push((begins, std::mem::take(&mut steps)))?;
                begins = self.last.clone();
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        self.queue.push((begins, steps))
    }
}

/// About how much memory an entry takes.
fn entry_bytes(entry: &Entry) -> usize {
    let xattrs = entry
        .meta
        .xattrs
        .iter()
        .map(|x| x.name.len() + x.value.len());
    let extents = entry
        .extents
        .as_ref()
        .map_or(0, |e| e.len() * size_of::<Extent>());
    512 + entry.path.as_bytes().len() + extents + xattrs.sum::<usize>()
}

fn unanswered() -> Error {
    Error::corrupt("a chunk was asked for and not answered")
}

#[cfg(test)]
mod tests;
