//! The header of a qcow2 image, version 2 or 3. Every field is checked against the format and the file before it is used:
//! images come from strangers.

use std::fs::File;

use crate::error::{At, Class, Error, Result};
use crate::source::readahead::read_full;

const MAGIC: u32 = 0x5146_49fb;
/// The longest version 3 header that anyone writes, extensions excluded.
const HEADER_BYTES: usize = 112;
/// As `qemu` limits it: 32 MiB of entries.
const L1_ENTRIES_LIMIT: u32 = (32 << 20) / 8;
/// The header, its extensions and the backing file's name lie in the first cluster.
const BACKING_NAME_LIMIT: u32 = 1023;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_END: u32 = 0;

const INCOMPATIBLE_DIRTY: u64 = 1;
const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// Raw deflate.
    Deflate,
    /// A Zstandard frame.
    Zstd,
}

/// What is needed of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    /// Size of the guest's disk in bytes.
    pub(super) size: u64,
    pub(super) l1_offset: u64,
    pub(super) l1_entries: u32,
    pub(super) snapshots: u32,
    pub(super) compression: Compression,
    pub(super) extended_l2: bool,
    pub(super) backing: Option<Backing>,
}

/// What an image builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backing {
    /// As the image says; never opened on its word.
    pub(super) name: String,
    /// `raw`, `qcow2` ...; `None`: the image does not say.
    pub(super) format: Option<String>,
}

impl Header {
    /// Reads and checks the header of the image `shown`, of `file_bytes` bytes.
    pub(super) fn read(file: &File, file_bytes: u64, shown: &str) -> Result<Self> {
        let mut raw = [0; HEADER_BYTES];
        let got = read_full(file, &mut raw, 0).at(format!("read {shown}"))?;
        let corrupt = |what: &str| Error::corrupt(format!("{shown}: {what}"));
        let field = Fields(&raw);
        if got < 72 || field.u32(0) != MAGIC {
            return Err(Error::invalid(format!("{shown} is no qcow2 image")));
        }
        let version = field.u32(4);
        if version != 2 && version != 3 {
            let what = format!("{shown}: qcow2 version {version}; 2 and 3 are known");
            return Err(Error::new(Class::Unsupported, what));
        }
        let header_bytes = if version == 2 { 72 } else { field.u32(100) };
        if version == 3 && (got < 104 || !(104..=file_bytes).contains(&u64::from(header_bytes))) {
            return Err(corrupt("the header is cut short"));
        }
        let features = if version == 2 { 0 } else { field.u64(72) };
        check_features(features, shown)?;
        if field.u32(32) != 0 {
            let what = format!("{shown} is encrypted; decrypt it first, with 'qemu-img convert'");
            return Err(Error::new(Class::Unsupported, what));
        }
        let cluster_bits = field.u32(20);
        let extended_l2 = features & INCOMPATIBLE_EXTENDED_L2 != 0;
        if !(9..=21).contains(&cluster_bits) || (extended_l2 && cluster_bits < 14) {
            return Err(corrupt("the cluster size is out of range"));
        }
        let compression = match (features & INCOMPATIBLE_COMPRESSION != 0, raw[104]) {
            (false, _) => Compression::Deflate,
            (true, 1) if header_bytes > 104 => Compression::Zstd,
            (true, kind) => {
                let what = format!("{shown}: compression type {kind} is not known");
                return Err(Error::new(Class::Unsupported, what));
            }
        };
        let mut header = Self {
            version,
            cluster_bits,
            size: field.u64(24),
            l1_offset: field.u64(40),
            l1_entries: field.u32(36),
            snapshots: field.u32(60),
            compression,
            extended_l2,
            backing: None,
        };
        header.check_l1(file_bytes).map_err(corrupt)?;
        header.backing = header
            .read_backing(file, &field, header_bytes)
            .at(format!("read {shown}"))?
            .map_err(corrupt)?;
        Ok(header)
    }

    /// Bytes per cluster.
    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes per entry of a second-level table.
    pub(super) fn entry_bytes(&self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// Bytes of the guest's disk that one second-level table maps.
    pub(super) fn table_covers(&self) -> u64 {
        (self.cluster() / self.entry_bytes()) << self.cluster_bits
    }

    fn check_l1(&self, file_bytes: u64) -> Result<(), &'static str> {
        if self.l1_entries > L1_ENTRIES_LIMIT {
            return Err("the first-level table is too large");
        }
        if u64::from(self.l1_entries) < self.size.div_ceil(self.table_covers()) {
            return Err("the first-level table is too small for the size of the disk");
        }
        let l1_bytes = u64::from(self.l1_entries) * 8;
        let end = self.l1_offset.checked_add(l1_bytes);
        let aligned = self.l1_offset.is_multiple_of(self.cluster());
        if self.l1_entries > 0 && (!aligned || end.is_none_or(|end| end > file_bytes)) {
            return Err("the first-level table does not lie within the file");
        }
        Ok(())
    }

    /// The backing file's name, and its format from the header's extensions. The outer error is the file's.
    fn read_backing(
        &self,
        file: &File,
        field: &Fields<'_>,
        header_bytes: u32,
    ) -> std::io::Result<Result<Option<Backing>, &'static str>> {
        let (offset, len) = (field.u64(8), field.u32(16));
        if offset == 0 {
            return Ok(Ok(None));
        }
        let end = offset.checked_add(u64::from(len));
        if len > BACKING_NAME_LIMIT || end.is_none_or(|end| end > self.cluster()) {
            return Ok(Err(
                "the backing file's name does not lie within the first cluster",
            ));
        }
        let mut name = vec![0; usize::try_from(len).unwrap_or(0)];
        if read_full(file, &mut name, offset)? < name.len() {
            return Ok(Err("the backing file's name is cut short"));
        }
        let mut format = None;
        let mut at = u64::from(header_bytes);
        // Extensions lie between the header and the name: at most a cluster of them, 8 bytes each at least.
        while at + 8 <= offset {
            let mut head = [0; 8];
            if read_full(file, &mut head, at)? < head.len() {
                break;
            }
            let (kind, len) = (Fields(&head).u32(0), Fields(&head).u32(4));
            if kind == EXTENSION_END {
                break;
            }
            if kind == EXTENSION_BACKING_FORMAT && len <= 64 {
                let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
                read_full(file, &mut text, at + 8)?;
                format = Some(String::from_utf8_lossy(&text).into_owned());
            }
            at += 8 + u64::from(len).next_multiple_of(8);
        }
        let name = name.escape_ascii().to_string();
        Ok(Ok(Some(Backing { name, format })))
    }
}

/// Refuses what would make the plain reading wrong.
fn check_features(features: u64, shown: &str) -> Result<()> {
    let unsupported = |what: &str| Error::new(Class::Unsupported, format!("{shown}: {what}"));
    if features & INCOMPATIBLE_CORRUPT != 0 {
        let what = format!("{shown} is marked corrupt; repair it with 'qemu-img check -r all'");
        return Err(Error::corrupt(what));
    }
    if features & INCOMPATIBLE_DATA_FILE != 0 {
        return Err(unsupported(
            "its data is in another file, which cannot be read",
        ));
    }
    let known = INCOMPATIBLE_DIRTY | INCOMPATIBLE_COMPRESSION | INCOMPATIBLE_EXTENDED_L2;
    if features & !known != 0 {
        let unknown = features & !known;
        return Err(unsupported(&format!("unknown features {unknown:#x}")));
    }
    Ok(())
}

/// Big-endian fields; zero beyond the end, which the caller has excluded.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn u32(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|b| b.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..at + 8).and_then(|b| b.try_into().ok());
        u64::from_be_bytes(bytes.unwrap_or_default())
    }
}
