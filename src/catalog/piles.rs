//! Records of one length that come in any order and are wanted in ascending order: more of them than memory should hold.
//!
//! They gather in piles by their first byte. The keys of chunks are hashes, so that piles are even: each is a 256th of all, is read back
//! alone and sorted in memory. What is more than [`HELD_BYTES`] (in unit tests hardly anything, so that they see it) lies in a scratch file without a name beside the catalog. It holds
//! nothing that the catalog does not hold in clear as well. A catalog in memory has piles in memory, and so has one whose disk is full: a prune
//! must work there.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{At, Error, Result};

/// How many piles there are: one for each first byte.
const PILES: usize = 256;
/// Bytes that are held in memory before they are written out.
const HELD_BYTES: usize = if cfg!(test) { 64 << 10 } else { 32 << 20 };

/// See the module.
#[derive(Debug)]
pub struct Piles<const N: usize> {
    held: Vec<Vec<[u8; N]>>,
    held_bytes: usize,
    /// Where in the file each pile has something, and how many records.
    pieces: Vec<Vec<(u64, usize)>>,
    scratch: Option<Scratch>,
    beside: Option<PathBuf>,
    count: u64,
}

impl<const N: usize> Piles<N> {
    /// None yet; a scratch file lies beside this file, if there is one.
    pub(super) fn new(beside: Option<&Path>) -> Self {
        Self {
            held: vec![Vec::new(); PILES],
            held_bytes: 0,
            pieces: vec![Vec::new(); PILES],
            scratch: None,
            beside: beside.map(Path::to_owned),
            count: 0,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a record.
    pub fn push(&mut self, record: [u8; N]) -> Result<()> {
        let at = record.first().map_or(0, |byte| usize::from(*byte));
        self.held[at].push(record);
        self.held_bytes += N;
        self.count += 1;
        // What cannot be written stays in memory.
        if self.held_bytes >= HELD_BYTES
            && let Some(beside) = self.beside.take()
            && self.write_out(&beside).is_ok()
        {
            self.beside = Some(beside);
        }
        Ok(())
    }

    fn write_out(&mut self, beside: &Path) -> Result<()> {
        let scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => Scratch::new(beside)?,
        };
        let scratch = self.scratch.insert(scratch);
        for (held, pieces) in self.held.iter_mut().zip(&mut self.pieces) {
            if !held.is_empty() {
                let at = scratch.append(held.as_flattened())?;
                pieces.push((at, held.len()));
                held.clear();
            }
        }
        self.held_bytes = 0;
        Ok(())
    }

    /// Tells the records pile by pile, sorted: all of them in ascending order. Equal ones come as often as they were added.
    pub fn drain<E: From<Error>>(
        mut self,
        mut each: impl FnMut(&[[u8; N]]) -> Result<(), E>,
    ) -> Result<(), E> {
        for at in 0..PILES {
            let mut pile = std::mem::take(&mut self.held[at]);
            for (offset, records) in std::mem::take(&mut self.pieces[at]) {
                let have = pile.len();
                pile.resize(have + records, [0; N]);
                if let Some(scratch) = &self.scratch {
                    scratch.read(offset, pile[have..].as_flattened_mut())?;
                }
            }
            pile.sort_unstable();
            each(&pile)?;
        }
        Ok(())
    }
}

/// A file without a name, to which is appended.
#[derive(Debug)]
pub(super) struct Scratch {
    file: File,
    beside: PathBuf,
    pub(super) len: u64,
}

impl Scratch {
    pub(super) fn new(beside: &Path) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("-scratch-{}-{number}", std::process::id());
        let path = super::open::beside(beside, &name);
        let make = || -> io::Result<File> {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        Ok(Self {
            file: make().at_path("make a scratch file beside the catalog", &path)?,
            beside: beside.to_owned(),
            len: 0,
        })
    }

    /// Appends bytes; where they begin.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.len;
        self.file
            .write_all_at(bytes, at)
            .at_path("write a scratch file beside the catalog", &self.beside)?;
        self.len += bytes.len() as u64;
        Ok(at)
    }

    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(bytes, offset)
            .at_path("read a scratch file beside the catalog", &self.beside)
    }
}

/// Entries of any length, that come back in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Log {
    lens: Vec<u32>,
    /// The last of them; all of them for a catalog in memory.
    tail: Vec<u8>,
    scratch: Option<Scratch>,
    /// Nothing can be written: what comes stays in memory.
    full: bool,
}

/// Bytes of entries that are held in memory before they are written out.
const TAIL_BYTES: usize = if cfg!(test) { 256 } else { 4 << 20 };

impl Log {
    pub(super) fn push(&mut self, entry: &[u8], beside: Option<&Path>) -> Result<()> {
        let len = u32::try_from(entry.len());
        self.lens
            .push(len.map_err(|_| Error::invalid("an entry too long"))?);
        self.tail.extend_from_slice(entry);
        if self.tail.len() >= TAIL_BYTES
            && let Some(beside) = beside.filter(|_| !self.full)
        {
            self.full = self.write_out(beside).is_err();
        }
        Ok(())
    }

    fn write_out(&mut self, beside: &Path) -> Result<()> {
        let scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => Scratch::new(beside)?,
        };
        self.scratch.insert(scratch).append(&self.tail)?;
        self.tail.clear();
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.lens.len()
    }

    pub(super) fn each<E: From<Error>>(
        &self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut offset = 0;
        let mut tail = self.tail.as_slice();
        let mut bytes = Vec::new();
        for len in &self.lens {
            let len = *len as usize;
            match &self.scratch {
                Some(scratch) if offset < scratch.len => {
                    bytes.resize(len, 0);
                    scratch.read(offset, &mut bytes)?;
                    offset += len as u64;
                    each(&bytes)?;
                }
                _ => {
                    let (entry, rest) = tail.split_at(len.min(tail.len()));
                    tail = rest;
                    each(entry)?;
                }
            }
        }
        Ok(())
    }
}
