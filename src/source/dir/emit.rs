//! The emitter: the caller's thread, which pushes everything into the sink in order, and reads what was not read ahead.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::attrs::Of;
use super::facts::Facts;
use super::handle::{Dir, open_file};
use super::load::{Content, Item, Load};
use crate::entry::{Entry, Extent, Kind, Outcome, Sink, Want};
use crate::error::{Class, Error, Result};
use crate::progress::Monitor;
use crate::source::extents;
use crate::source::readahead::{self, Piece, Plan, Stop};

/// Emits batch after batch.
pub(super) struct Emit<'a> {
    pub(super) load: &'a Load<'a>,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) sink: &'a mut dyn Sink,
}

impl Emit<'_> {
    /// Until the walk is over.
    pub(super) fn all(&mut self, order: &Receiver<Receiver<Vec<Item>>>) -> Result<()> {
        let mut number = 0;
        for answer in order {
            if self.monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "interrupted"));
            }
            let items = answer
                .recv()
                .map_err(|_| Error::new(Class::Io, "a reader thread ended early"))?;
            for item in items {
                self.item(item)?;
            }
            number += 1;
            self.load.window.advance(number);
        }
        Ok(())
    }

    fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Problem(message) => {
                self.monitor.warn(&message);
                Ok(())
            }
            Item::Entry(mut entry) => {
                if !entry.is_directory() && self.linked(&mut entry)? {
                    return Ok(());
                }
                self.sink.entry(&entry)?;
                self.first_name(&entry)
            }
            Item::Known(mut entry) => {
                if self.linked(&mut entry)? {
                    return Ok(());
                }
                if self.sink.entry(&entry)? == Want::Content {
                    let shown = (self.load.show)(&entry.path);
                    return Err(Error::invalid(format!(
                        "{shown}: declared unchanged, and then its content was asked for"
                    )));
                }
                self.first_name(&entry)
            }
            Item::File(mut entry, content) => {
                if self.linked(&mut entry)? {
                    return Ok(());
                }
                if self.sink.entry(&entry)? == Want::Content {
                    self.content(&entry, &content)?;
                }
                self.first_name(&entry)
            }
            Item::Later {
                dir,
                name,
                mut entry,
                _held: held,
            } => {
                if self.linked(&mut entry)? {
                    return Ok(());
                }
                let outcome = self.later(&dir, &name, &entry)?;
                drop(held);
                if let Err(error) = outcome {
                    let shown = (self.load.show)(&entry.path);
                    self.monitor
                        .warn(&format!("{shown}: {error}; it is left out"));
                }
                Ok(())
            }
        }
    }

    /// If an earlier name of the same inode was emitted: emits a hard link to it.
    fn linked(&mut self, entry: &mut Entry) -> Result<bool> {
        let Some((key, links)) = key(entry) else {
            return Ok(false);
        };
        let Some((first, meta)) = self.load.links.see(key, links)? else {
            return Ok(false);
        };
        entry.kind = Kind::HardLink(first);
        entry.size = 0;
        entry.extents = None;
        entry.meta = meta;
        self.sink.entry(entry)?;
        Ok(true)
    }

    /// Later names of the inode are links to this entry.
    fn first_name(&self, entry: &Entry) -> Result<()> {
        match key(entry) {
            Some((key, _)) => self.load.links.emitted(key, &entry.path, &entry.meta),
            None => Ok(()),
        }
    }

    /// Emits the content of a small file.
    fn content(&mut self, entry: &Entry, content: &Content) -> Result<()> {
        let mut rest = content.bytes.as_slice();
        match &entry.extents {
            None if rest.is_empty() => {}
            None => self.sink.data(rest)?,
            Some(extents) => {
                let mut at = 0;
                for Extent { offset, len } in extents {
                    if *offset > at {
                        self.sink.hole(offset - at)?;
                    }
                    at = offset + len;
                    let len = usize::try_from(*len).map_or(rest.len(), |n| n.min(rest.len()));
                    let (now, after) = rest.split_at(len);
                    if !now.is_empty() {
                        self.sink.data(now)?;
                    }
                    rest = after;
                }
                if entry.size > at {
                    self.sink.hole(entry.size - at)?;
                }
            }
        }
        self.end(entry, content.outcome)
    }

    fn end(&mut self, entry: &Entry, outcome: Outcome) -> Result<()> {
        if outcome == Outcome::Changed {
            let shown = (self.load.show)(&entry.path);
            self.monitor.warn(&format!(
                "{shown}: changed while it was read; it is kept as it was read"
            ));
        }
        self.sink.end(outcome)
    }

    /// Opens and reads a file. The inner error is about the file before its entry was emitted.
    fn later(&mut self, dir: &Arc<Dir>, name: &[u8], named: &Entry) -> Result<io::Result<()>> {
        let opened = dir
            .open(self.load.handles)
            .and_then(|above| open_file(&above, name))
            .and_then(|file| Ok((Facts::of_handle(&file)?, file)));
        let (facts, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let (true, Some(mut entry)) = (facts.is_file(), facts.entry(named.path.clone())) else {
            return Ok(Err(io::Error::other("it is no longer a file")));
        };
        let sparse = facts.may_have_holes();
        if sparse {
            entry.extents = extents::list(&file, facts.size);
        }
        let mut problems = Vec::new();
        self.load
            .describe(&mut entry, &Of::Handle(file.as_fd()), &mut problems);
        for problem in problems {
            self.item(problem)?;
        }
        if self.sink.entry(&entry)? == Want::Skip {
            self.first_name(&entry)?;
            return Ok(Ok(()));
        }
        let plan = Plan {
            file: file.as_fd(),
            size: if facts.size == 0 {
                u64::MAX
            } else {
                facts.size
            },
            sparse,
            extents: entry.extents.as_deref(),
        };
        let outcome = self.pump(&plan, &entry)?;
        let outcome = match (outcome, Facts::of_handle(&file)) {
            (Outcome::Whole, Ok(after)) if facts.same_content(&after) => Outcome::Whole,
            (Outcome::Whole, _) => Outcome::Changed,
            (other, _) => other,
        };
        self.end(&entry, outcome)?;
        if outcome != Outcome::Failed {
            self.first_name(&entry)?;
        }
        Ok(Ok(()))
    }

    /// Reads a file's content into the sink; warns if that fails.
    fn pump(&mut self, plan: &Plan<'_>, entry: &Entry) -> Result<Outcome> {
        let (sink, monitor) = (&mut *self.sink, self.monitor);
        let result = readahead::pump(plan, &mut |piece| {
            if monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "interrupted"));
            }
            match piece {
                Piece::Data(bytes) => sink.data(bytes),
                Piece::Hole(len) => sink.hole(len),
            }
        });
        match result {
            Ok(_) => Ok(Outcome::Whole),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Read(at, error)) => {
                let shown = (self.load.show)(&entry.path);
                self.monitor
                    .warn(&format!("{shown}: read at {at}: {error}; it is left out"));
                Ok(Outcome::Failed)
            }
        }
    }
}

/// The inode of a name that is not the only one.
fn key(entry: &Entry) -> Option<((u64, u64), u32)> {
    let stat = entry.stat.filter(|stat| stat.links > 1)?;
    (!entry.is_directory()).then_some(((stat.device, stat.inode), stat.links))
}
