//! The first pass over a snapshot: every content that was not copied yet is read once, cut again and stored.
//!
//! Ahead of it goes a planner, which walks the trees and knows the sequence of chunks, so that blocks are read, decoded and checked
//! by workers in the order of use. What a content became is noted in the [`Memo`]; the second pass makes trees of that.
//! A content that cannot be read is named, and nothing of it is kept; the others go on.

use std::sync::Mutex;

use super::memo::{Fate, Memo, content_key};
use super::pour::Pour;
use super::streams::{Overrides, is_damage};
use super::{Loss, Losses, Run};
use crate::entry::{EntryPath, ShelfKey};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::tree::{Body, Node};
use crate::id::ChunkId;
use crate::progress::Count;
use crate::repository::ahead::{Queue, in_order};
use crate::repository::block_cache::{Blocks, ChunkBytes};
use crate::repository::content::Content;
use crate::repository::load::{Load, fetch, locate_all, zeros};
use crate::repository::trees::Walk;
use crate::repository::{Cutting, Location, Repository, SnapshotInfo, Writer, lock};

/// Steps whose chunks are located together.
const GROUP_STEPS: usize = 4096;
/// So many chunks at the beginning of a content tell how it was cut.
const PROBED_CHUNKS: usize = 16;

/// A content that comes next.
struct Begin {
    key: ShelfKey,
    /// What it is, for people.
    name: String,
    cutting: Cutting,
    /// Its chunks are chunks in the destination as well: both cut at the same places.
    aligned: bool,
}

/// One call to come. `C` is a chunk: asked for, then located, then read.
enum Step<C> {
    Begin(Box<Begin>),
    Data(Result<C>),
    /// What the next bytes became before.
    Known(Item),
    Zeros(u64),
    Hole(u64),
    End,
}

type Asked = (ChunkId, u32);
type Located = (ChunkId, Location);
type Read = (ChunkId, ChunkBytes);
type Batch<C> = Vec<Step<C>>;

impl<C> Step<C> {
    /// The same with another chunk.
    fn map<D>(self, chunk: impl FnOnce(C) -> Result<D>) -> Step<D> {
        match self {
            Self::Begin(begin) => Step::Begin(begin),
            Self::Data(asked) => Step::Data(asked.and_then(chunk)),
            Self::Known(item) => Step::Known(item),
            Self::Zeros(len) => Step::Zeros(len),
            Self::Hole(len) => Step::Hole(len),
            Self::End => Step::End,
        }
    }
}

/// Copies the contents of a snapshot that were not copied yet; what of it cannot be read.
pub(super) fn copy_contents(run: &Run<'_>, info: &SnapshotInfo, writer: &Writer) -> Result<Losses> {
    let losses = Mutex::default();
    let ahead = run.options.writer.workers.max(1) * 2;
    let mut pour = Pour::new(run.destination, writer, &run.memo, &run.table, ahead)?;
    let mut current: Option<(Box<Begin>, bool)> = None;
    in_order(
        run.options.threads,
        |queue| Planner::new(run, &losses, queue).snapshot(info),
        |batch: Batch<Located>| {
            let fetched = |(id, location)| Ok((id, fetch(run.source, &id, &location)?));
            Ok(batch.into_iter().map(|step| step.map(fetched)).collect())
        },
        |batch: Batch<Read>| {
            batch
                .into_iter()
                .try_for_each(|step| take(run, step, &mut pour, &mut current, &losses))
        },
    )?;
    pour.finish()?;
    Ok(losses
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Takes one step; `current` is the content that is open, and whether it is whole so far.
fn take(
    run: &Run<'_>,
    step: Step<Read>,
    pour: &mut Pour<'_>,
    current: &mut Option<(Box<Begin>, bool)>,
    losses: &Mutex<Losses>,
) -> Result<()> {
    if let Step::Begin(begin) = step {
        run.monitor.doing(&|| begin.name.clone());
        pour.begin(begin.key, begin.cutting)?;
        *current = Some((begin, true));
        return Ok(());
    }
    if matches!(step, Step::End) {
        return match current.take() {
            Some((_, true)) => pour.end(),
            _ => pour.fail(),
        };
    }
    let Some((begin, whole)) = current else {
        return Ok(());
    };
    match step {
        Step::Data(Err(error)) if is_damage(&error) => {
            if std::mem::take(whole) {
                run.memo.lost(begin.key, &error.to_string())?;
                lock(losses).add(Loss::new(begin.name.clone(), &error));
            }
        }
        Step::Data(Err(error)) => return Err(error),
        _ if !*whole => {}
        Step::Data(Ok((id, bytes))) => {
            run.monitor.add(Count::Bytes, bytes.len() as u64);
            if begin.aligned {
                pour.from(id, bytes.len() as u64);
            }
            pour.data(&bytes)?;
        }
        Step::Known(item) => {
            run.monitor.add(Count::KnownBytes, item.len());
            pour.known(item)?;
        }
        Step::Zeros(len) => {
            run.monitor.add(Count::Bytes, len);
            zeros(len, |bytes| pour.data(bytes))?;
        }
        Step::Hole(len) => pour.hole(len)?,
        Step::Begin(_) | Step::End => {}
    }
    Ok(())
}

/// Walks the trees and says what will be needed.
struct Planner<'a> {
    run: &'a Run<'a>,
    memo: &'a Memo,
    losses: &'a Mutex<Losses>,
    queue: &'a mut Queue<Batch<Located>, Batch<Read>>,
    /// Steps whose chunks are not located yet.
    group: Batch<Asked>,
}

impl<'a> Planner<'a> {
    fn new(
        run: &'a Run<'a>,
        losses: &'a Mutex<Losses>,
        queue: &'a mut Queue<Batch<Located>, Batch<Read>>,
    ) -> Self {
        Self {
            run,
            memo: &run.memo,
            losses,
            queue,
            group: Vec::new(),
        }
    }

    fn snapshot(mut self, info: &SnapshotInfo) -> Result<()> {
        let (run, snapshot) = (self.run, &info.snapshot);
        let mut walk = Walk::new(run.source, &snapshot.root, EntryPath::root());
        self.check(&snapshot.root, &EntryPath::root());
        while let Some(next) = walk.next() {
            run.check()?;
            match next {
                Ok((path, node)) => {
                    self.check(&node, &path);
                    if self.node(&path, &node)? {
                        walk.skip_below();
                    }
                }
                Err((path, error)) => self.lose(&path.to_string(), error)?,
            }
        }
        self.content("the original stream", &snapshot.original)?;
        let mut overrides = Overrides::new(run.source, &snapshot.overrides);
        loop {
            match overrides.next() {
                Ok(None) => break,
                Ok(Some(one)) => {
                    let name = format!("replaced member {} of the archive", one.ordinal);
                    self.content(&name, &one.content)?;
                }
                Err(error) => {
                    self.lose("replaced members of the archive", error)?;
                    break;
                }
            }
        }
        self.flush()
    }

    /// True if it is a directory of which everything was copied.
    fn node(&mut self, path: &EntryPath, node: &Node) -> Result<bool> {
        let monitor = self.run.monitor;
        match &node.body {
            Body::Directory(tree) if self.memo.tree(tree)?.is_some() => {
                monitor.add(Count::Entries, node.entries());
                return Ok(true);
            }
            Body::File { content, .. } => self.content(&path.to_string(), content)?,
            _ => {}
        }
        monitor.add(Count::Entries, 1);
        Ok(false)
    }

    /// Plans a content, unless it has its fate.
    fn content(&mut self, name: &str, items: &[Item]) -> Result<()> {
        let Some(key) = content_key(items) else {
            return Ok(());
        };
        match self.memo.content(&key)? {
            None => {}
            Some(Fate::Planned | Fate::Done(_)) => return Ok(()),
            Some(Fate::Lost(reason)) => {
                lock(self.losses).add(Loss::again(name, &reason));
                return Ok(());
            }
        }
        self.memo.plan(key)?;
        let content = Content::new(items);
        let cutting = cutting(self.run.source, &content);
        let aligned = cutting == Cutting::Disk && self.run.cuts_alike();
        self.push(Step::Begin(Box::new(Begin {
            key,
            name: name.to_owned(),
            cutting,
            aligned,
        })))?;
        for extent in content.extents(self.run.source, 0) {
            match extent.map(|extent| extent.item) {
                Ok(Item::Data { id, len }) => {
                    let known = if aligned { self.memo.chunk(&id)? } else { None };
                    let known = known.filter(|item| item.len() == u64::from(len));
                    self.push(known.map_or(Step::Data(Ok((id, len))), Step::Known))?;
                }
                Ok(Item::Zeros(len)) => self.push(Step::Zeros(len))?,
                Ok(Item::Hole(len)) => self.push(Step::Hole(len))?,
                Ok(Item::List { .. }) => {}
                Err(error) => self.push(Step::Data(Err(error)))?,
            }
            self.run.check()?;
        }
        self.push(Step::End)
    }

    /// Refuses what a later version may have put there: it may name chunks, which have other names in the destination.
    fn check(&self, node: &Node, path: &EntryPath) {
        if !node.unknown.is_empty() {
            let error = Error::new(
                Class::Unsupported,
                "it has fields of a later version of the program: copy it with that",
            );
            lock(self.losses).add(Loss::new(path.to_string(), &error));
        }
    }

    fn lose(&self, name: &str, error: Error) -> Result<()> {
        if !is_damage(&error) {
            return Err(error);
        }
        lock(self.losses).add(Loss::new(name.to_owned(), &error));
        Ok(())
    }

    fn push(&mut self, step: Step<Asked>) -> Result<()> {
        self.group.push(step);
        if self.group.len() >= GROUP_STEPS {
            self.flush()?;
        }
        Ok(())
    }

    /// Locates the chunks of the group and hands it over batch by batch.
    fn flush(&mut self) -> Result<()> {
        let asked = self.group.iter().filter_map(|step| match step {
            Step::Data(Ok(chunk)) => Some(*chunk),
            _ => None,
        });
        let blocks: &dyn Blocks = self.run.source;
        let mut located = locate_all(blocks, &asked.collect::<Vec<_>>())?.into_iter();
        let (mut steps, mut load) = (Vec::new(), Load::default());
        for step in self.group.drain(..) {
            let step = step.map(|(id, _)| {
                let location = located.next().unwrap_or_else(|| Err(unanswered()))?;
                Ok((id, location))
            });
            if let Step::Data(Ok((_, location))) = &step {
                load.add_chunk(location);
            }
            load.add(0);
            steps.push(step);
            if load.is_full() {
                load = Load::default();
                self.queue.push(std::mem::take(&mut steps))?;
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        self.queue.push(steps)
    }
}

/// How a content was cut in the source, which is how it is cut again: at fixed places if none of its chunks reaches beyond one.
/// What cannot be read is met again when it is read.
pub(super) fn cutting(source: &Repository, content: &Content) -> Cutting {
    let fixed = u64::from(source.config().chunks.fixed_bytes);
    let mut chunks = 0;
    // The end of the last chunk, if that is between two places.
    let mut between = None;
    for extent in content.extents(source, 0).map_while(Result::ok) {
        let (start, end) = (extent.start, extent.end());
        if !matches!(extent.item, Item::Data { .. }) {
            continue;
        }
        if start / fixed != (end - 1) / fixed || between == Some(start) {
            return Cutting::File;
        }
        between = Some(end).filter(|end| !end.is_multiple_of(fixed));
        chunks += 1;
        if chunks == PROBED_CHUNKS {
            break;
        }
    }
    // One chunk is cut alike either way; with other files it has more neighbours.
    if chunks > 1 {
        Cutting::Disk
    } else {
        Cutting::File
    }
}

impl Run<'_> {
    /// True if both repositories cut disks at the same places.
    pub(super) fn cuts_alike(&self) -> bool {
        let fixed = |repository: &Repository| repository.config().chunks.fixed_bytes;
        fixed(self.source) == fixed(self.destination)
    }
}

fn unanswered() -> Error {
    Error::corrupt("a chunk was asked for and not answered")
}
