//! Snapshots as a file system: inode numbers in, attributes, names and bytes out. Knows nothing of FUSE.
//!
//! kernel -> `mount` (translation only) -> here: inode -> snapshot and entry number -> node -> extents -> block cache.
//! Nothing is opened, nothing counted: a number means the same as long as the mount lives, and everything but the caches
//! can be computed from it. Every question can be asked with [`Wait::No`]: then it is answered from memory, or
//! with class `Busy`, so that a thread that serves everybody never waits for the store.

mod attr;
mod file;
mod numbers;
pub mod pool;
mod reading;
mod snapshot_view;
mod snapshots;
mod store;
mod virtual_tree;
mod xattr_scan;

use std::ops::Deref;
use std::sync::Arc;

pub use attr::{Attr, Owner};
pub use file::FileBytes;
pub use store::{Announced, Listed, Store, shown_root};

use crate::entry::Xattr;
use crate::error::{Class, Error, Result};
use crate::format::tree::{Body, Node};
use crate::repository::block_cache::{Blocks, CachedOnly};
use crate::repository::single_flight::SingleFlight;
use file::{FileState, ReadAhead};
use numbers::LinkTable;
use reading::Walk;
use snapshot_view::{Entry, SnapshotView};
use snapshots::Snapshots;
use virtual_tree::Target;
use xattr_scan::XattrScan;

/// What is known of files that are being read, in memory at most.
const FILES_BYTES: usize = 8 << 20;

/// Whether an answer may wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It may.
    Yes,
    /// It may not: what is not in memory is class `Busy`.
    No,
}

/// One name in a directory.
#[derive(Debug)]
pub struct DirEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its attributes.
    pub attr: Attr,
    /// Where to go on after it.
    pub next: u64,
    /// True for `.` and `..`.
    pub is_dot: bool,
}

/// Sums for `statfs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries, the root among them.
    pub entries: u64,
    /// Logical bytes.
    pub bytes: u64,
}

enum Shown {
    One(SnapshotView),
    All(Box<Snapshots>),
}

/// A read-only file system.
pub struct Vfs {
    store: Arc<dyn Store>,
    shown: Shown,
    links: LinkTable,
    files: SingleFlight<u64, FileState>,
    read_ahead: ReadAhead,
    walk: Walk,
    xattrs: XattrScan,
    owner: Option<Owner>,
}

/// The store, answering from memory only if need be.
enum View<'a> {
    Store(&'a dyn Blocks),
    Memory(CachedOnly<'a>),
}

impl<'a> Deref for View<'a> {
    type Target = dyn Blocks + 'a;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Store(blocks) => *blocks,
            Self::Memory(only) => only,
        }
    }
}

/// What an inode number stands for.
enum Inode {
    Virtual,
    Entry { slot: u64, entry: Entry },
}

impl Vfs {
    /// One snapshot, its root at the top.
    pub fn one(store: Arc<dyn Store>, root: Node, owner: Option<Owner>) -> Result<Self> {
        let view = SnapshotView::new(root)?;
        let vfs = Self::new(store, Shown::One(view.clone()), owner)?;
        vfs.xattrs.begin(&view, &vfs.read_ahead);
        Ok(vfs)
    }

    /// All snapshots, in directories by id, name and tag; new ones appear.
    pub fn all(store: Arc<dyn Store>, owner: Option<Owner>) -> Result<Self> {
        let shown = Shown::All(Box::new(Snapshots::new(&*store)?));
        Self::new(store, shown, owner)
    }

    fn new(store: Arc<dyn Store>, shown: Shown, owner: Option<Owner>) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let read_ahead = ReadAhead::new(store.clone(), threads.clamp(2, 8))?;
        Ok(Self {
            store,
            shown,
            links: LinkTable::default(),
            files: SingleFlight::new(FILES_BYTES, FileState::memory_bytes),
            read_ahead,
            walk: Walk::default(),
            xattrs: XattrScan::default(),
            owner,
        })
    }

    /// True if nothing ever changes: no virtual directories.
    pub fn is_fixed(&self) -> bool {
        matches!(self.shown, Shown::One(_))
    }

    /// True if it is certain that no entry has an extended attribute, and none ever will.
    pub fn has_no_xattrs(&self) -> bool {
        self.xattrs.found_none()
    }

    /// True if what stands behind this number never changes.
    pub fn is_fixed_inode(&self, inode: u64) -> bool {
        self.is_fixed() || numbers::parts(inode).0 != 0
    }

    /// The attributes of an inode.
    pub fn attr(&self, inode: u64, wait: Wait) -> Result<Attr> {
        match self.resolve(&*self.view(wait), inode)? {
            Inode::Entry { slot, entry } => Ok(self.attr_of(slot, &entry)),
            Inode::Virtual => self.virtual_attr(inode),
        }
    }

    /// The entry called `name` in a directory; `None` if there is none.
    pub fn lookup(&self, parent: u64, name: &[u8], wait: Wait) -> Result<Option<Attr>> {
        let blocks = self.view(wait);
        match self.resolve(&*blocks, parent)? {
            Inode::Entry { slot, entry } => {
                entry_tree(&entry)?;
                let found = snapshot_view::lookup(&*blocks, &entry, name)?;
                Ok(found.map(|entry| self.attr_of(slot, &entry)))
            }
            Inode::Virtual => {
                let snapshots = self.current(wait)?;
                if !snapshots.with_tree(|tree| tree.entries(parent).is_some()) {
                    return Err(not_a_directory());
                }
                let target = snapshots.lookup(parent, name);
                target.map(|target| self.target_attr(&target)).transpose()
            }
        }
    }

    /// Calls `each` for the names of a directory from `offset` on (0 is the start) until it returns false.
    pub fn read_dir(
        &self,
        inode: u64,
        offset: u64,
        wait: Wait,
        each: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let blocks = self.view(wait);
        match self.resolve(&*blocks, inode)? {
            Inode::Entry { slot, entry } => {
                entry_tree(&entry)?;
                let parent = || self.parent_attr(&*blocks, slot, &entry);
                if !dots(offset, self.attr_of(slot, &entry), parent, each)? {
                    return Ok(());
                }
                let position = offset.saturating_sub(2);
                for child in snapshot_view::children(&*blocks, &entry, position)? {
                    let (position, child) = child?;
                    let attr = self.attr_of(slot, &child);
                    let (name, next) = (child.node.name.as_slice(), position + 3);
                    let is_dot = false;
                    if !each(&DirEntry {
                        name,
                        attr,
                        next,
                        is_dot,
                    }) {
                        break;
                    }
                }
                Ok(())
            }
            Inode::Virtual => self.read_virtual_dir(inode, offset, wait, each),
        }
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, inode: u64, wait: Wait) -> Result<Vec<u8>> {
        match self.resolve(&*self.view(wait), inode)? {
            Inode::Entry { entry, .. } => match &entry.node.body {
                Body::Symlink(target) => Ok(target.clone()),
                _ => Err(Error::invalid("not a symbolic link")),
            },
            Inode::Virtual => self.snapshots()?.with_tree(|tree| {
                let target = tree.link_target(inode).map(<[u8]>::to_vec);
                target.ok_or_else(|| Error::invalid("not a symbolic link"))
            }),
        }
    }

    /// Calls `look` with the extended attributes of an inode.
    pub fn xattrs<T>(&self, inode: u64, wait: Wait, look: impl FnOnce(&[Xattr]) -> T) -> Result<T> {
        match self.resolve(&*self.view(wait), inode)? {
            Inode::Entry { entry, .. } => Ok(look(&entry.node.meta.xattrs)),
            Inode::Virtual => Ok(look(&[])),
        }
    }

    /// Sums over everything shown.
    pub fn totals(&self) -> Totals {
        match &self.shown {
            Shown::One(view) => Totals {
                entries: view.root().node.entries(),
                bytes: view.root().node.bytes(),
            },
            Shown::All(snapshots) => {
                let (entries, bytes) = snapshots.totals();
                Totals { entries, bytes }
            }
        }
    }

    fn view(&self, wait: Wait) -> View<'_> {
        let blocks: &dyn Blocks = &*self.store;
        match wait {
            Wait::Yes => View::Store(blocks),
            Wait::No => View::Memory(CachedOnly(blocks)),
        }
    }

    fn resolve(&self, blocks: &dyn Blocks, inode: u64) -> Result<Inode> {
        let (slot, number) = numbers::parts(inode);
        let Some(view) = self.view_of(slot)? else {
            return Ok(Inode::Virtual);
        };
        let number = number.ok_or_else(gone)?;
        let entry = view.entry(blocks, number)?.ok_or_else(gone)?;
        Ok(Inode::Entry { slot, entry })
    }

    /// The snapshot in a slot; `None` if that is the slot of the virtual directories.
    fn view_of(&self, slot: u64) -> Result<Option<SnapshotView>> {
        match &self.shown {
            Shown::One(view) if slot == 0 => Ok(Some(view.clone())),
            Shown::One(_) => Err(gone()),
            Shown::All(_) if slot == 0 => Ok(None),
            Shown::All(snapshots) => snapshots.view(slot).map(Some).ok_or_else(gone),
        }
    }

    fn attr_of(&self, slot: u64, entry: &Entry) -> Attr {
        let node = &entry.node;
        let number = if node.link_group == 0 || entry.tree().is_some() {
            entry.number
        } else {
            self.links.entry(slot, node.link_group, entry.number)
        };
        Attr::of(node, numbers::inode(slot, number), self.owner)
    }

    fn parent_attr(&self, blocks: &dyn Blocks, slot: u64, entry: &Entry) -> Result<Attr> {
        if entry.number != 0 {
            return self.attr_in(blocks, numbers::inode(slot, entry.parent));
        }
        match &self.shown {
            Shown::One(_) => Ok(self.attr_of(slot, entry)),
            // A snapshot that is gone from the list has no place any more: its root is its own parent.
            Shown::All(snapshots) => match snapshots.parent_of(slot) {
                Some(parent) => self.virtual_attr(parent),
                None => Ok(self.attr_of(slot, entry)),
            },
        }
    }

    fn attr_in(&self, blocks: &dyn Blocks, inode: u64) -> Result<Attr> {
        match self.resolve(blocks, inode)? {
            Inode::Entry { slot, entry } => Ok(self.attr_of(slot, &entry)),
            Inode::Virtual => self.virtual_attr(inode),
        }
    }

    fn snapshots(&self) -> Result<&Snapshots> {
        match &self.shown {
            Shown::All(snapshots) => Ok(snapshots),
            Shown::One(_) => Err(gone()),
        }
    }

    /// The snapshots, looked at again if need be.
    fn current(&self, wait: Wait) -> Result<&Snapshots> {
        let snapshots = self.snapshots()?;
        match wait {
            Wait::Yes => snapshots.refresh(&*self.store),
            Wait::No if snapshots.is_stale() => {
                return Err(Error::new(Class::Busy, "the list of snapshots is old"));
            }
            Wait::No => {}
        }
        Ok(snapshots)
    }

    fn virtual_attr(&self, inode: u64) -> Result<Attr> {
        let attr = self.snapshots()?.with_tree(|tree| tree.attr(inode));
        Ok(self.owned(attr.ok_or_else(gone)?))
    }

    fn target_attr(&self, target: &Target) -> Result<Attr> {
        match *target {
            Target::Inner { inode, .. } => self.virtual_attr(inode),
            Target::Snapshot(id, door) => {
                let (slot, view) = self.snapshots()?.root(id, door).ok_or_else(gone)?;
                Ok(self.attr_of(slot, &view.root()))
            }
        }
    }

    fn read_virtual_dir(
        &self,
        inode: u64,
        offset: u64,
        wait: Wait,
        each: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<()> {
        // A listing that has begun goes on with what is known, or its offsets would shift.
        let snapshots = if offset == 0 {
            self.current(wait)?
        } else {
            self.snapshots()?
        };
        let (entries, parent) = snapshots.with_tree(|tree| {
            let (entries, parent) = tree.entries(inode).ok_or_else(not_a_directory)?;
            let rest = entries
                .iter()
                .enumerate()
                .skip(to_usize(offset.saturating_sub(2)));
            let rest = rest.map(|(at, (name, target))| (at as u64, name.clone(), target.clone()));
            Ok((rest.collect::<Vec<_>>(), parent))
        })?;
        if !dots(
            offset,
            self.virtual_attr(inode)?,
            || self.virtual_attr(parent),
            each,
        )? {
            return Ok(());
        }
        for (at, name, target) in &entries {
            // What cannot be shown is left out here; asking for it by name says why.
            let Ok(attr) = self.target_attr(target) else {
                continue;
            };
            let (name, next, is_dot) = (name.as_slice(), at + 3, false);
            if !each(&DirEntry {
                name,
                attr,
                next,
                is_dot,
            }) {
                break;
            }
        }
        Ok(())
    }

    fn owned(&self, attr: Attr) -> Attr {
        match self.owner {
            Some(Owner { uid, gid }) => Attr { uid, gid, ..attr },
            None => attr,
        }
    }
}

/// Hands out `.` and `..` where a listing begins; false if the listing is to stop.
fn dots(
    offset: u64,
    own: Attr,
    parent: impl FnOnce() -> Result<Attr>,
    each: &mut dyn FnMut(&DirEntry<'_>) -> bool,
) -> Result<bool> {
    let is_dot = true;
    if offset == 0
        && !each(&DirEntry {
            name: b".",
            attr: own,
            next: 1,
            is_dot,
        })
    {
        return Ok(false);
    }
    if offset > 1 {
        return Ok(true);
    }
    let attr = parent()?;
    Ok(each(&DirEntry {
        name: b"..",
        attr,
        next: 2,
        is_dot,
    }))
}

fn entry_tree(entry: &Entry) -> Result<()> {
    entry.tree().map(|_| ()).ok_or_else(not_a_directory)
}

fn not_a_directory() -> Error {
    Error::invalid("not a directory")
}

fn gone() -> Error {
    Error::new(Class::NotFound, "no such inode")
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
