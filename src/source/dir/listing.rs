//! One directory's names in order, in a compact buffer: a million of them take some 30 MB, and nothing else is known of
//! them yet (`statx` follows batch by batch, on many threads).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::attrs::{self, Of};
use super::facts::Facts;
use super::handle::{Dir, Handles, open_file};
use crate::entry::Xattr;
use crate::source::exclude::{CACHE_SIGNATURE, CACHE_TAG, Exclude};

/// Large, because a directory of a million names takes that many fewer calls.
const DENTS_BYTES: usize = 256 << 10;

/// What to leave out of listings.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) exclude: Option<Exclude>,
    pub(super) cache_directories: bool,
    pub(super) one_file_system: bool,
}

/// A directory: itself, and the names in it that are wanted.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) facts: Facts,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) xattr_problems: Vec<(Vec<u8>, io::Error)>,
    /// Reading the names stopped early.
    pub(super) incomplete: Option<io::Error>,
    names: Vec<u8>,
    items: Vec<Item>,
}

/// Where a name lies in the buffer, and whether it is a directory.
#[derive(Clone, Copy, Debug)]
struct Item {
    at: u64,
    len: u16,
    is_directory: bool,
}

impl Listing {
    /// Opens and reads `dir`. `path` is its path below the source, for patterns.
    pub(super) fn read(
        dir: &Arc<Dir>,
        handles: &Handles,
        filter: &Filter,
        path: &[u8],
    ) -> io::Result<Self> {
        let handle = dir.open(handles)?;
        let facts = Facts::of_handle(&handle)?;
        dir.identify(&facts);
        let (xattrs, xattr_problems) = attrs::read(&Of::Handle(handle.as_fd()));
        let mut listing = Self {
            facts,
            xattrs,
            xattr_problems,
            incomplete: None,
            names: Vec::new(),
            items: Vec::new(),
        };
        // A mount point stays, as an empty directory. Files are not judged: overlays give them other device numbers.
        if filter.one_file_system && dir.root_device() != Some(facts.device) {
            return Ok(listing);
        }
        listing.incomplete = listing.read_names(&handle).err();
        if filter.cache_directories && listing.is_cache(&handle) {
            listing.retain(|name, _| name == CACHE_TAG);
        }
        if let Some(exclude) = &filter.exclude {
            let mut path = path.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            let above = path.len();
            listing.retain(|name, is_directory| {
                path.truncate(above);
                path.extend_from_slice(name);
                !exclude.excludes(&path, is_directory)
            });
        }
        Ok(listing)
    }

    /// How many names it has.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Name number `at`, and whether it is a directory.
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], bool)> {
        let item = self.items.get(at)?;
        Some((name_of(&self.names, item), item.is_directory))
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        256 + self.names.capacity() + self.items.capacity() * size_of::<Item>()
    }

    fn read_names(&mut self, handle: &OwnedFd) -> io::Result<()> {
        let mut buffer: Vec<u8> = Vec::with_capacity(DENTS_BYTES);
        let mut dents = RawDir::new(handle, buffer.spare_capacity_mut());
        let outcome = loop {
            let Some(dent) = dents.next() else {
                break Ok(());
            };
            let dent = match dent {
                Ok(dent) => dent,
                Err(error) => break Err(error.into()),
            };
            let name = dent.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let is_directory = match dent.file_type() {
                FileType::Directory => true,
                FileType::Unknown => match Facts::of_name(handle, name) {
                    Ok(facts) => facts.file_type() == FileType::Directory,
                    Err(_) => false,
                },
                _ => false,
            };
            let Ok(len) = u16::try_from(name.len()) else {
                break Err(Errno::NAMETOOLONG.into());
            };
            self.items.push(Item {
                at: self.names.len() as u64,
                len,
                is_directory,
            });
            self.names.extend_from_slice(name);
        };
        let names = &self.names;
        self.items
            .sort_unstable_by(|a, b| name_of(names, a).cmp(name_of(names, b)));
        outcome
    }

    fn retain(&mut self, mut keep: impl FnMut(&[u8], bool) -> bool) {
        let names = &self.names;
        self.items
            .retain(|item| keep(name_of(names, item), item.is_directory));
    }

    /// True if the tag file is there and begins as it must.
    fn is_cache(&self, handle: &OwnedFd) -> bool {
        let names = &self.names;
        let tag = self
            .items
            .binary_search_by(|item| name_of(names, item).cmp(CACHE_TAG));
        let Some(item) = tag.ok().and_then(|at| self.items.get(at)) else {
            return false;
        };
        if item.is_directory {
            return false;
        }
        let mut head = [0; CACHE_SIGNATURE.len()];
        let read = open_file(handle, CACHE_TAG)
            .and_then(|file| Ok(rustix::io::pread(&file, &mut head, 0)?));
        read.is_ok_and(|len| len == head.len()) && head == CACHE_SIGNATURE
    }
}

fn name_of<'a>(names: &'a [u8], item: &Item) -> &'a [u8] {
    usize::try_from(item.at)
        .ok()
        .and_then(|at| names.get(at..at + usize::from(item.len)))
        .unwrap_or_default()
}
