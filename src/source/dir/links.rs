//! Which names are one inode: the first in walk order is the file, later ones are hard links to it.
//!
//! Only inodes with several names are kept, and each only until all its names were seen.

use std::collections::HashMap;
use std::sync::Mutex;

use super::facts::Facts;
use super::handle::lock;
use crate::entry::{EntryPath, Meta};

/// Inodes with several names, some of them not seen yet. Shared by the readers and the emitter.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<HashMap<(u64, u64), Inode>>);

#[derive(Debug, Default)]
struct Inode {
    /// A reader took care of the content.
    claimed: bool,
    /// The name that was emitted as the file, with its metadata.
    first: Option<(EntryPath, Meta)>,
    names_seen: u32,
}

impl Links {
    /// True for the first reader that asks: it reads the content, the others leave it.
    pub(super) fn claim(&self, facts: &Facts) -> bool {
        let mut all = lock(&self.0);
        let inode = all.entry((facts.device, facts.inode)).or_default();
        !std::mem::replace(&mut inode.claimed, true)
    }

    /// The emitter comes to one more name: the earlier name that it is a link to, or `None` if it is the first.
    pub(super) fn see(&self, key: (u64, u64), links: u32) -> Option<(EntryPath, Meta)> {
        let mut all = lock(&self.0);
        let inode = all.entry(key).or_default();
        inode.names_seen += 1;
        let first = inode.first.clone();
        if inode.names_seen >= links {
            all.remove(&key);
        }
        first
    }

    /// `path` was emitted as the file; later names link to it.
    pub(super) fn emitted(&self, key: (u64, u64), path: &EntryPath, meta: &Meta) {
        // Absent when all names were seen: nobody will ask.
        if let Some(inode) = lock(&self.0).get_mut(&key) {
            inode.first = Some((path.clone(), meta.clone()));
        }
    }

    /// How many inodes are kept now.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_kept_until_all_its_names_were_seen() {
        let (links, key, name) = (Links::default(), (1, 2), EntryPath::root());
        assert!(links.see(key, 3).is_none());
        links.emitted(key, &name, &Meta::default());
        assert!(links.see(key, 3).is_some());
        assert_eq!(links.len(), 1);
        assert!(links.see(key, 3).is_some());
        assert_eq!(links.len(), 0);
    }
}
