//! Where each part of the guest's disk lies: looks it up in the two levels of tables.
//!
//! Every offset is checked against the file. In a valid image no cluster has two places in the disk, so the clusters that the
//! tables name can never be more than the file holds: a table that names one cluster a million times is caught.

use std::fs::File;

use super::header::{Fields, Header};
use crate::error::{At, Error, Result};
use crate::source::readahead::read_full;

/// Bits of a table entry that are an offset.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ALL_ZEROS: u64 = 1;
const SUBCLUSTERS: u64 = 32;
/// The least that one compressed cluster takes in a valid image; compressors do not reach it.
const COMPRESSED_MINIMUM: u64 = 16;

/// What one range of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Not in this image: in the backing image, or a hole.
    Unallocated,
    /// Reads as zeros, whatever the backing image has.
    Zeros,
    /// As it is in the file, from this offset on.
    Data(u64),
    /// In the compressed cluster at this offset, which takes so many bytes in the file at most.
    Compressed(u64, u64),
}

/// One open image.
pub(super) struct Image {
    pub(super) file: File,
    pub(super) shown: String,
    pub(super) header: Header,
    pub(super) file_bytes: u64,
    l1: Vec<u8>,
    /// The second-level table in use, and the index of its entry in the first.
    table: Vec<u8>,
    table_index: Option<u64>,
    last_cluster: Option<u64>,
    /// Tables and plain clusters that were named so far.
    clusters: u64,
    compressed_clusters: u64,
}

impl Image {
    /// Reads the header and the first-level table.
    pub(super) fn open(file: File, file_bytes: u64, shown: String) -> Result<Self> {
        let header = Header::read(&file, file_bytes, &shown)?;
        let l1_bytes = usize::try_from(header.l1_entries).map_or(0, |n| n * 8);
        let mut l1 = vec![0; l1_bytes];
        let got = read_full(&file, &mut l1, header.l1_offset).at(format!("read {shown}"))?;
        if got < l1.len() {
            return Err(Error::corrupt(format!("{shown}: the file is cut short")));
        }
        Ok(Self {
            file,
            shown,
            header,
            file_bytes,
            l1,
            table: Vec::new(),
            table_index: None,
            last_cluster: None,
            clusters: 0,
            compressed_clusters: 0,
        })
    }

    /// What the disk has at `at`, and for how many bytes: to the end of a cluster or of more, at most. Asked in ascending order.
    pub(super) fn run(&mut self, at: u64) -> Result<(Run, u64)> {
        let (cluster, covers) = (self.header.cluster(), self.header.table_covers());
        let index = at / covers;
        let l1_at = usize::try_from(index * 8).unwrap_or(usize::MAX - 8);
        let table_offset = Fields(&self.l1).u64(l1_at) & OFFSET_MASK;
        if table_offset == 0 {
            return Ok((Run::Unallocated, covers - at % covers));
        }
        if self.table_index != Some(index) {
            self.load_table(index, table_offset)?;
        }
        let entry_at = (at % covers) / cluster * self.header.entry_bytes();
        let entry_at = usize::try_from(entry_at).unwrap_or(usize::MAX - 16);
        let fields = Fields(&self.table);
        let (entry, bitmap) = (fields.u64(entry_at), fields.u64(entry_at + 8));
        let within = at % cluster;
        let (run, len) = if entry & COMPRESSED != 0 {
            (self.compressed(entry), cluster - within)
        } else if self.header.extended_l2 {
            self.subcluster(entry, bitmap, within)?
        } else {
            (self.plain(entry, within)?, cluster - within)
        };
        if self.last_cluster != Some(at / cluster) {
            self.last_cluster = Some(at / cluster);
            self.count(run)?;
        }
        Ok((run, len))
    }

    fn load_table(&mut self, index: u64, offset: u64) -> Result<()> {
        let cluster = self.header.cluster();
        if !offset.is_multiple_of(cluster) || offset.saturating_add(cluster) > self.file_bytes {
            return Err(self.corrupt(index, "a second-level table does not lie within the file"));
        }
        self.clusters += 1;
        self.table.resize(usize::try_from(cluster).unwrap_or(0), 0);
        let got = read_full(&self.file, &mut self.table, offset)
            .at(format!("read {} at byte {offset}", self.shown))?;
        if got < self.table.len() {
            return Err(self.corrupt(index, "the file was cut short"));
        }
        self.table_index = Some(index);
        Ok(())
    }

    fn plain(&self, entry: u64, within: u64) -> Result<Run> {
        if entry & ALL_ZEROS != 0 {
            return match self.header.version {
                2 => Err(self.corrupt(entry, "a zero cluster, which version 2 does not have")),
                _ => Ok(Run::Zeros),
            };
        }
        match entry & OFFSET_MASK {
            0 => Ok(Run::Unallocated),
            offset => self.data(offset, within),
        }
    }

    fn subcluster(&self, entry: u64, bitmap: u64, within: u64) -> Result<(Run, u64)> {
        let bytes = self.header.cluster() / SUBCLUSTERS;
        let number = within / bytes;
        let allocated = bitmap >> number & 1 != 0;
        let zeros = bitmap >> (number + SUBCLUSTERS) & 1 != 0;
        let run = match (allocated, zeros) {
            (true, true) => return Err(self.corrupt(entry, "a part is both data and zeros")),
            (true, false) => self.data(entry & OFFSET_MASK, within)?,
            (false, true) => Run::Zeros,
            (false, false) => Run::Unallocated,
        };
        Ok((run, bytes - within % bytes))
    }

    fn data(&self, offset: u64, within: u64) -> Result<Run> {
        let aligned = offset.is_multiple_of(self.header.cluster());
        if offset == 0 || !aligned || offset >= self.file_bytes {
            return Err(self.corrupt(offset, "a cluster does not lie within the file"));
        }
        Ok(Run::Data(offset + within))
    }

    fn compressed(&self, entry: u64) -> Run {
        let bits = 62 - (self.header.cluster_bits - 8);
        let offset = entry & ((1 << bits) - 1);
        let sectors = (entry & !COMPRESSED & (COMPRESSED - 1)) >> bits;
        Run::Compressed(offset, (sectors + 1) * 512 - offset % 512)
    }

    /// A cluster came into use: there cannot be more than the file has room for.
    fn count(&mut self, run: Run) -> Result<()> {
        match run {
            Run::Data(_) => self.clusters += 1,
            Run::Compressed(..) => self.compressed_clusters += 1,
            Run::Unallocated | Run::Zeros => {}
        }
        let room = self.file_bytes.div_ceil(self.header.cluster());
        if self.clusters > room || self.compressed_clusters > self.file_bytes / COMPRESSED_MINIMUM {
            return Err(self.corrupt(0, "its tables name the same clusters again and again"));
        }
        Ok(())
    }

    pub(super) fn corrupt(&self, value: u64, what: &str) -> Error {
        Error::corrupt(format!("{}: {what} ({value:#x})", self.shown))
    }
}
