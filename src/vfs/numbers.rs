//! Inode numbers without a table: which entry of which snapshot a number stands for.
//!
//! ```text
//! inode = slot << 40 | (entry number + 1)
//! ```
//! The entry number is the position in a depth-first walk of the snapshot, 0 for its root, so any number leads back
//! to its entry by descending the tree, and equal snapshots get equal numbers in every mount. Slot 0 is the only
//! snapshot of a single mount, or the virtual directories of a mount of all; other slots come from the snapshot's id.
//! All names of one hard-linked file share the number of the name that was seen first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Bits of a number within its slot; a tree reference has at most 2^40 entries below it.
const NUMBER_BITS: u32 = 40;
/// How many bits of slots there are: numbers stay positive as signed 64-bit values.
const SLOT_BITS: u32 = 22;

/// The most entries that a snapshot may have to be shown.
pub(super) const MAX_ENTRIES: u64 = (1 << NUMBER_BITS) - 2;

/// The inode number of an entry.
pub(super) fn inode(slot: u64, entry: u64) -> u64 {
    slot << NUMBER_BITS | (entry + 1)
}

/// The slot and the entry number of an inode number; the entry of inode 0 of a slot does not exist.
pub(super) fn parts(inode: u64) -> (u64, Option<u64>) {
    let number = inode & ((1 << NUMBER_BITS) - 1);
    (inode >> NUMBER_BITS, number.checked_sub(1))
}

/// The first slot to try for an id; never 0.
pub(super) fn slot_of(id: &[u8; 32], salt: u8) -> u64 {
    let [a, b, c, d, ..] = *id;
    let hash = u32::from_le_bytes([a, b, c, d]) ^ (u32::from(salt) << 20);
    u64::from(hash & ((1 << SLOT_BITS) - 1)).max(1)
}

/// The slot to try after `slot`; never 0.
pub(super) fn next_slot(slot: u64) -> u64 {
    ((slot + 1) & ((1 << SLOT_BITS) - 1)).max(1)
}

/// How many groups each generation of the table holds: together at most about 100 MB, for a million hard-linked files
/// in use at once.
const GENERATION: usize = 1 << 20;

/// Which entry stands for each hard-link group that was seen.
///
/// Two generations bound it: when the young one is full it becomes the old one, and a group that is used moves to the
/// young one. Only a group that was not used while a million others were can change its number.
#[derive(Debug, Default)]
pub(super) struct LinkTable(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<(u64, u64), u64>,
    old: HashMap<(u64, u64), u64>,
}

impl LinkTable {
    /// The entry that stands for `group` of the snapshot in `slot`: the first one asked with.
    pub(super) fn entry(&self, slot: u64, group: u64, entry: u64) -> u64 {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (slot, group);
        if let Some(first) = generations.young.get(&key) {
            return *first;
        }
        let first = generations.old.remove(&key).unwrap_or(entry);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, first);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_back() {
        for (slot, entry) in [(0, 0), (1, 5), ((1 << SLOT_BITS) - 1, MAX_ENTRIES)] {
            let number = inode(slot, entry);
            assert_eq!(parts(number), (slot, Some(entry)));
            assert!(i64::try_from(number).is_ok());
        }
        assert_eq!(inode(0, 0), 1, "the root of a mount is inode 1");
        assert_eq!(parts(0), (0, None));
        assert_eq!(next_slot((1 << SLOT_BITS) - 1), 1);
        assert_ne!(slot_of(&[0; 32], 0), 0);
    }

    #[test]
    fn the_first_name_stands_for_the_group() {
        let table = LinkTable::default();
        assert_eq!(table.entry(1, 7, 100), 100);
        assert_eq!(table.entry(1, 7, 200), 100);
        assert_eq!(table.entry(2, 7, 300), 300);
        for group in 0..GENERATION as u64 {
            table.entry(3, group, group);
        }
        assert_eq!(table.entry(1, 7, 200), 100, "still in the old generation");
    }
}
