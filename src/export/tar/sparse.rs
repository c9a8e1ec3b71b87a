//! How a file with holes is written: the map of its data in front, then only the data.
//!
//! GNU's format 1.0 in PAX is the default: GNU tar, bsdtar, Python and Go all read it, but differ where a piece of data is no
//! multiple of 512 bytes: GNU tar begins the next one on a block, the others go on without a gap. So every piece but the last
//! is rounded up with zeros, and all agree. Cocoon's own dialect is read as a short and shifted file by every
//! other program, so it is only written when asked for.

use std::fmt::Write;

use super::header::{BLOCK_BYTES, padding};
use crate::entry::{Entry, Extent};

/// How files with holes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sparse {
    /// As GNU sparse format 1.0.
    #[default]
    Gnu,
    /// As the VM snapshots of cocoon do; for its importer only.
    Cocoon,
    /// With zeros in place of holes.
    None,
}

/// The longest map that cocoon's importer takes; a longer one is written as a plain file.
const MAX_COCOON_MAP_BYTES: usize = 800 << 10;

/// What precedes the data of a file, and which of its bytes follow.
pub(super) enum Plan {
    /// All bytes follow.
    Plain,
    /// The map, padded to a block, then the data of these extents.
    Gnu(Vec<u8>, Map),
    /// The map as the value of a PAX record; only the data of these extents follows.
    Cocoon(String, Map),
}

/// Data extents of one file, in order, apart from each other and within it.
pub(super) struct Map {
    pub(super) extents: Vec<Extent>,
    /// Bytes of data.
    pub(super) data_bytes: u64,
}

impl Map {
    /// The map that an entry announces: adjacent extents joined. An error says what is wrong with it; `None` if there are no holes.
    pub(super) fn of(entry: &Entry) -> Result<Option<Self>, &'static str> {
        let Some(announced) = &entry.extents else {
            return Ok(None);
        };
        let mut extents: Vec<Extent> = Vec::new();
        let (mut end, mut data_bytes) = (0_u64, 0_u64);
        for extent in announced {
            if extent.len == 0 || extent.offset < end {
                return Err("its data extents are empty, unsorted or overlap");
            }
            match extents.last_mut() {
                Some(last) if extent.offset == end => last.len += extent.len,
                _ => extents.push(*extent),
            }
            end = extent
                .offset
                .checked_add(extent.len)
                .filter(|end| *end <= entry.size)
                .ok_or("its data extents reach beyond its end")?;
            data_bytes += extent.len;
        }
        let holes = data_bytes < entry.size;
        Ok(holes.then_some(Self {
            extents,
            data_bytes,
        }))
    }

    /// How a file of `size` bytes with this map is best written.
    pub(super) fn plan(self, sparse: Sparse, size: u64) -> Plan {
        match sparse {
            Sparse::None => Plan::Plain,
            Sparse::Gnu => {
                let rounded = self.rounded(size);
                let map = rounded.gnu(size);
                // Tiny holes are not worth a map.
                if map.len() as u64 + rounded.data_bytes < size {
                    Plan::Gnu(map, rounded)
                } else {
                    Plan::Plain
                }
            }
            Sparse::Cocoon => {
                let map = self.cocoon();
                if map.len() <= MAX_COCOON_MAP_BYTES {
                    Plan::Cocoon(map, self)
                } else {
                    Plan::Plain
                }
            }
        }
    }

    /// The map with extents made longer, so that each but one at the very end is a multiple of a block.
    fn rounded(&self, size: u64) -> Self {
        let mut extents: Vec<Extent> = Vec::new();
        for extent in &self.extents {
            let end = extent.offset + extent.len;
            let start = match extents.last() {
                Some(last) if last.offset + last.len >= extent.offset => last.offset,
                _ => extent.offset,
            };
            extents.pop_if(|last| last.offset == start);
            let len = (end - start).next_multiple_of(BLOCK_BYTES as u64);
            extents.push(Extent {
                offset: start,
                len: len.min(size - start),
            });
        }
        Self {
            data_bytes: extents.iter().map(|e| e.len).sum(),
            extents,
        }
    }

    /// Decimal lines: how many extents, then offset and length of each; padded to a block.
    fn gnu(&self, size: u64) -> Vec<u8> {
        let ends_in_hole = self
            .extents
            .last()
            .is_none_or(|last| last.offset + last.len < size);
        // An empty extent at the end says how long the file is.
        let end = ends_in_hole.then_some(Extent {
            offset: size,
            len: 0,
        });
        let mut map = format!("{}\n", self.extents.len() + usize::from(ends_in_hole));
        for extent in self.extents.iter().chain(&end) {
            // Writing to a string cannot fail.
            let _ = write!(map, "{}\n{}\n", extent.offset, extent.len);
        }
        let mut map = map.into_bytes();
        map.resize(map.len() + padding(map.len() as u64), 0);
        debug_assert_eq!(map.len() % BLOCK_BYTES, 0);
        map
    }

    /// A JSON array; `null` where there is no data at all, as its own exporter writes.
    fn cocoon(&self) -> String {
        if self.extents.is_empty() {
            return "null".to_owned();
        }
        let mut map = String::from("[");
        for extent in &self.extents {
            if map.len() > 1 {
                map.push(',');
            }
            // Writing to a string cannot fail.
            let _ = write!(map, "{{\"o\":{},\"l\":{}}}", extent.offset, extent.len);
        }
        map.push(']');
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryPath, Kind};

    fn map(size: u64, extents: &[(u64, u64)]) -> Result<Option<Map>, &'static str> {
        let mut entry = Entry::new(EntryPath::root(), Kind::File);
        entry.size = size;
        let extents = extents.iter();
        entry.extents = Some(
            extents
                .map(|(offset, len)| Extent {
                    offset: *offset,
                    len: *len,
                })
                .collect(),
        );
        Map::of(&entry)
    }

    #[test]
    fn odd_maps_are_refused() {
        assert!(map(10, &[(0, 0)]).is_err());
        assert!(map(10, &[(0, 11)]).is_err());
        assert!(map(10, &[(5, u64::MAX)]).is_err());
        assert!(map(10, &[(5, 2), (6, 1)]).is_err());
        assert!(map(10, &[(0, 5), (5, 5)]).unwrap().is_none());
    }

    #[test]
    fn pieces_are_rounded_up_to_blocks() {
        let rounded = |size, extents: &[(u64, u64)]| {
            let map = map(size, extents).unwrap().unwrap().rounded(size);
            let extents = map.extents.iter();
            extents.map(|e| (e.offset, e.len)).collect::<Vec<_>>()
        };
        assert_eq!(rounded(9000, &[(7, 1), (600, 512)]), [(7, 512), (600, 512)]);
        // The first, rounded, reaches the second, and both the third.
        let close = [(0, 1), (500, 13), (1024, 1), (3000, 1)];
        assert_eq!(rounded(9000, &close), [(0, 1536), (3000, 512)]);
        assert_eq!(
            rounded(3001, &[(0, 513), (3000, 1)]),
            [(0, 1024), (3000, 1)]
        );
    }

    #[test]
    fn both_dialects() {
        let holed = map(1 << 20, &[(4096, 1), (4097, 511), (8192, 512)]);
        let holed = holed.unwrap().unwrap();
        assert_eq!(holed.data_bytes, 1024);
        let gnu = holed.rounded(1 << 20).gnu(1 << 20);
        assert_eq!(gnu.len(), 512);
        assert!(gnu.starts_with(b"3\n4096\n512\n8192\n512\n1048576\n0\n\0"));
        assert_eq!(holed.cocoon(), r#"[{"o":4096,"l":512},{"o":8192,"l":512}]"#);
        let empty = map(7, &[]).unwrap().unwrap();
        assert_eq!(empty.cocoon(), "null");
        assert!(matches!(empty.plan(Sparse::Gnu, 7), Plan::Plain));
    }
}
