//! All packs by number, and one bit for each chunk in them: the memory of a mark.
//!
//! A chunk is a pack's number and its position in it, so that 20 million chunks take 2.5 MB a set; ids are never held.

use std::collections::HashMap;

use crate::catalog::{Catalog, Home, PackRow};
use crate::error::{Error, Result};
use crate::id::PackId;

/// The packs that a mark knows.
pub(super) struct Table {
    rows: Vec<PackRow>,
    at: HashMap<i64, usize>,
    /// The first bit of each pack.
    first: Vec<u64>,
    bits: u64,
}

impl Table {
    /// All packs that the catalog has now.
    pub(super) fn new(catalog: &Catalog) -> Result<Self> {
        let mut table = Self {
            rows: Vec::new(),
            at: HashMap::new(),
            first: Vec::new(),
            bits: 0,
        };
        catalog.packs(|row| {
            table.at.insert(row.no, table.rows.len());
            table.first.push(table.bits);
            table.bits += u64::from(row.chunks);
            table.rows.push(row);
            Ok(())
        })?;
        Ok(table)
    }

    /// How many homes of chunks the packs have together.
    pub(super) fn chunks(&self) -> u64 {
        self.bits
    }

    /// The packs, by position.
    pub(super) fn rows(&self) -> &[PackRow] {
        &self.rows
    }

    /// The position of the pack with this number.
    pub(super) fn at(&self, no: i64) -> Option<usize> {
        self.at.get(&no).copied()
    }

    /// The name of the pack with this number.
    pub(super) fn name(&self, no: i64) -> Option<PackId> {
        self.at(no).map(|at| self.rows[at].id)
    }

    /// No bit set.
    pub(super) fn bits(&self) -> Bits {
        let words = usize::try_from(self.bits.div_ceil(64)).unwrap_or(usize::MAX);
        Bits(vec![0; words])
    }

    /// The bit of a chunk's home.
    pub(super) fn bit(&self, home: &Home) -> Result<u64> {
        let beyond = || Error::corrupt("the catalog has a chunk beyond the end of its pack");
        let at = self.at(home.pack_no).ok_or_else(beyond)?;
        if u32::from(home.position) >= self.rows[at].chunks {
            return Err(beyond());
        }
        Ok(self.first[at] + u64::from(home.position))
    }
}

/// A set of chunks' homes.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Adds a bit; true if it was not there.
    pub(super) fn set(&mut self, bit: u64) -> bool {
        let Some(word) = self.word(bit) else {
            return false;
        };
        let mask = 1 << (bit % 64);
        let new = self.0[word] & mask == 0;
        self.0[word] |= mask;
        new
    }

    /// Whether a bit is there.
    pub(super) fn has(&self, bit: u64) -> bool {
        self.word(bit)
            .is_some_and(|word| self.0[word] & (1 << (bit % 64)) != 0)
    }

    fn word(&self, bit: u64) -> Option<usize> {
        let word = usize::try_from(bit / 64).ok()?;
        (word < self.0.len()).then_some(word)
    }
}
