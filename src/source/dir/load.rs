//! The readers: turn names into entries and read small files, many at a time, ahead of the emitter.
//!
//! For each name: `statx`, ask whether it is known, and if not open, read, `statx` again, attributes, close. Unchanged status
//! around the read proves content of one moment; a small file that changed under it is read again before it is called changed.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, fadvise, readlinkat};

use super::attrs::{self, Of};
use super::facts::Facts;
use super::handle::{Dir, Handles, open_file};
use super::links::Links;
use super::owners::Owners;
use super::walk::{Batch, Step};
use super::window::Window;
use crate::budget::Reservation;
use crate::entry::{Entry, EntryPath, Extent, Kind, Known, Outcome};
use crate::source::{extents, readahead};

/// Files up to here are read ahead as a whole.
pub(super) const SMALL_BYTES: u64 = 1 << 20;
/// So much of the beginning of a larger one.
const BEGINNING_BYTES: usize = 2 << 20;
/// How often a small file that changes while it is read is read in all.
const ATTEMPTS: usize = 3;
/// A file that says it is empty (as in `/proc`) is read ahead up to here.
const UNSIZED_BYTES: usize = 16 << 10;

/// What the emitter gets for one name.
#[derive(Debug)]
pub(super) enum Item {
    /// Nothing but the entry.
    Entry(Entry),
    /// A file with its content.
    File(Entry, Content),
    /// A file for the emitter to open and read: large, or one of several names.
    Later {
        dir: Arc<Dir>,
        name: Box<[u8]>,
        entry: Entry,
        /// Bounds how many beginnings of large files are read ahead.
        _held: Option<Reservation>,
    },
    /// A file that the sink knows.
    Known(Entry),
    /// Warn.
    Problem(String),
}

/// A small file's content.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) outcome: Outcome,
    /// Given back when the content was emitted.
    pub(super) _held: Option<Reservation>,
}

/// What all readers share.
pub(super) struct Load<'a> {
    pub(super) handles: &'a Handles,
    pub(super) window: &'a Window,
    pub(super) links: &'a Links,
    pub(super) owners: &'a Owners,
    pub(super) known: Option<&'a dyn Known>,
    pub(super) show: &'a (dyn Fn(&EntryPath) -> String + Sync),
    /// Set when nobody wants more.
    pub(super) stop: &'a AtomicBool,
}

/// How a read of a small file ended.
enum Read {
    Done(Facts, Vec<u8>, Option<Vec<Extent>>, Outcome),
    /// Not small, or not a file any more: for the emitter.
    TooLarge,
}

impl Load<'_> {
    /// Does all of a batch.
    pub(super) fn batch(&self, batch: &Batch) -> Vec<Item> {
        let mut items = Vec::new();
        for step in &batch.steps {
            match step {
                Step::Problem(message) => items.push(Item::Problem(message.clone())),
                Step::Directory(path, listing) => {
                    self.directory(path, listing, &mut items);
                }
                Step::Single { dir, name, path } => {
                    self.name(batch.number, dir, name, path, &mut items);
                }
                Step::Names {
                    dir,
                    path,
                    listing,
                    range,
                } => {
                    for at in range.clone() {
                        let Some((name, _)) = listing.get(at) else {
                            continue;
                        };
                        if self.stop.load(Ordering::Relaxed) {
                            return items;
                        }
                        match path.join(name) {
                            Ok(path) => self.name(batch.number, dir, name, &path, &mut items),
                            Err(error) => {
                                let (shown, name) = ((self.show)(path), name.escape_ascii());
                                let message = format!("{shown}/{name}: {error}; it is left out");
                                items.push(Item::Problem(message));
                            }
                        }
                    }
                }
            }
        }
        items
    }

    fn directory(
        &self,
        path: &EntryPath,
        listing: &super::listing::Listing,
        items: &mut Vec<Item>,
    ) {
        let Some(mut entry) = listing.facts.entry(path.clone()) else {
            return;
        };
        self.own(&mut entry);
        entry.meta.xattrs.clone_from(&listing.xattrs);
        self.attribute_problems(path, &listing.xattr_problems, items);
        items.push(Item::Entry(entry));
    }

    /// One name: its entry, or why there is none.
    fn name(
        &self,
        batch: u64,
        dir: &Arc<Dir>,
        name: &[u8],
        path: &EntryPath,
        items: &mut Vec<Item>,
    ) {
        match self.try_name(batch, dir, name, path, items) {
            Ok(item) => items.push(item),
            Err(error) => {
                let shown = (self.show)(path);
                items.push(Item::Problem(format!("{shown}: {error}; it is left out")));
            }
        }
    }

    fn try_name(
        &self,
        batch: u64,
        dir: &Arc<Dir>,
        name: &[u8],
        path: &EntryPath,
        items: &mut Vec<Item>,
    ) -> io::Result<Item> {
        let above = dir.open(self.handles)?;
        let facts = Facts::of_name(&above, name)?;
        let Some(mut entry) = facts.entry(path.clone()) else {
            return Err(io::Error::other("a file type that is not known"));
        };
        if !entry.is_file() {
            if let Kind::Symlink(target) = &mut entry.kind {
                *target = readlinkat(&above, name, Vec::new())?.into_bytes();
            }
            self.describe(&mut entry, &Of::Name(above.as_fd(), name), items);
            return Ok(Item::Entry(entry));
        }
        if self.known.is_some_and(|known| known.unchanged(&entry)) {
            return Ok(Item::Known(entry));
        }
        let later = |entry, held| Item::Later {
            dir: dir.clone(),
            name: name.into(),
            entry,
            _held: held,
        };
        if facts.links > 1 && !self.links.claim(&facts) {
            return Ok(later(entry, None));
        }
        if facts.size > SMALL_BYTES {
            let held = self.window.reserve(batch, BEGINNING_BYTES);
            if held.is_some() {
                // Nobody waits for it: by the time that the emitter comes, its beginning is in the page cache.
                let file = open_file(&above, name)?;
                let len = NonZeroU64::new(BEGINNING_BYTES as u64);
                let _ = fadvise(&file, 0, len, Advice::WillNeed);
            }
            return Ok(later(entry, held));
        }
        let room = usize::try_from(facts.size).unwrap_or(0) + path.as_bytes().len();
        let Some(held) = self.window.reserve(batch, room) else {
            return Ok(later(entry, None));
        };
        let file = open_file(&above, name)?;
        let Read::Done(facts, bytes, extents, outcome) = read_small(&file, facts)? else {
            return Ok(later(entry, None));
        };
        let Some(mut entry) = facts.entry(path.clone()) else {
            return Ok(later(entry, None));
        };
        entry.extents = extents;
        self.describe(&mut entry, &Of::Handle(file.as_fd()), items);
        let content = Content {
            bytes,
            outcome,
            _held: Some(held),
        };
        Ok(Item::File(entry, content))
    }

    /// Adds names of owners and the extended attributes.
    pub(super) fn describe(&self, entry: &mut Entry, of: &Of<'_>, items: &mut Vec<Item>) {
        self.own(entry);
        let (xattrs, problems) = attrs::read(of);
        entry.meta.xattrs = xattrs;
        self.attribute_problems(&entry.path, &problems, items);
    }

    fn own(&self, entry: &mut Entry) {
        entry.meta.user = self.owners.user(entry.meta.uid);
        entry.meta.group = self.owners.group(entry.meta.gid);
    }

    fn attribute_problems(
        &self,
        path: &EntryPath,
        problems: &[(Vec<u8>, io::Error)],
        items: &mut Vec<Item>,
    ) {
        for (name, error) in problems {
            let (shown, name) = ((self.show)(path), name.escape_ascii());
            let message = format!("{shown}: attribute {name}: {error}; it is left out");
            items.push(Item::Problem(message));
        }
    }
}

/// Reads a small file, again if it changed meanwhile. `before` is what its name said.
fn read_small(file: impl AsFd, mut before: Facts) -> io::Result<Read> {
    for attempt in 1.. {
        if !before.is_file() || before.size > SMALL_BYTES {
            return Ok(Read::TooLarge);
        }
        let extents = if before.may_have_holes() {
            extents::list(&file, before.size)
        } else {
            None
        };
        let Some(bytes) = read_once(&file, before.size, extents.as_deref())? else {
            return Ok(Read::TooLarge);
        };
        let after = Facts::of_handle(&file)?;
        if before.same_content(&after) {
            return Ok(Read::Done(after, bytes, extents, Outcome::Whole));
        }
        if attempt == ATTEMPTS {
            return Ok(Read::Done(before, bytes, extents, Outcome::Changed));
        }
        before = after;
    }
    Ok(Read::TooLarge)
}

/// One attempt; holes take no bytes. `None` if a file that says it is empty has a lot to say.
fn read_once(
    file: impl AsFd,
    size: u64,
    extents: Option<&[Extent]>,
) -> io::Result<Option<Vec<u8>>> {
    let size = usize::try_from(size).unwrap_or(0);
    if let Some(extents) = extents {
        let mut bytes = Vec::new();
        for extent in extents {
            let old = bytes.len();
            let len = usize::try_from(extent.len).unwrap_or(0);
            bytes.resize(old + len, 0);
            let room = bytes.get_mut(old..).unwrap_or_default();
            let got = readahead::read_full(&file, room, extent.offset)?;
            bytes.truncate(old + got);
            if got < len {
                break;
            }
        }
        return Ok(Some(bytes));
    }
    // One byte more than the file has: the read that fills less is the last.
    let room = if size == 0 { UNSIZED_BYTES } else { size + 1 };
    let mut bytes = Vec::with_capacity(room);
    loop {
        let at = bytes.len() as u64;
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::pread(&file, spare, at) {
            Ok(0) => break,
            Ok(_) if size > 0 && bytes.len() == size => break,
            Ok(_) if bytes.len() < bytes.capacity() => {}
            // A file that says it is empty, as in /proc.
            Ok(_) if size == 0 => return Ok(None),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if size > 0 {
        bytes.truncate(size);
    } else {
        // Thousands of empty files may be in flight.
        bytes.shrink_to_fit();
    }
    Ok(Some(bytes))
}
