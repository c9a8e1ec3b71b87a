//! Owners by name: this machine's numbers for the names that came with an entry.
//!
//! Reads `/etc/passwd` and `/etc/group` once, when first asked. Owners that only other name services know are restored by number.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::entry::accounts;

/// Name to number, read when first needed.
#[derive(Default)]
pub(super) struct Names {
    users: OnceLock<HashMap<Vec<u8>, u32>>,
    groups: OnceLock<HashMap<Vec<u8>, u32>>,
}

impl Names {
    /// The user's number here.
    pub(super) fn uid(&self, name: &[u8]) -> Option<u32> {
        let users = self.users.get_or_init(|| read("/etc/passwd"));
        users.get(name).copied()
    }

    /// The group's number here.
    pub(super) fn gid(&self, name: &[u8]) -> Option<u32> {
        let groups = self.groups.get_or_init(|| read("/etc/group"));
        groups.get(name).copied()
    }
}

/// A file that is missing or unreadable knows no names.
fn read(path: &str) -> HashMap<Vec<u8>, u32> {
    parse(&std::fs::read(path).unwrap_or_default())
}

/// The first line of a name counts.
fn parse(text: &[u8]) -> HashMap<Vec<u8>, u32> {
    let mut names = HashMap::new();
    for (name, number) in accounts(text) {
        names.entry(name.to_vec()).or_insert(number);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_of_a_name_counts_and_noise_is_skipped() {
        let names = parse(b"root:x:0:0::/root:/bin/sh\n# c\n\nme:x:7:\nme:x:8:\nbad:x:y\n");
        assert_eq!(names.len(), 2);
        assert_eq!(names[b"root".as_slice()], 0);
        assert_eq!(names[b"me".as_slice()], 7);
    }

    #[test]
    fn this_machine_knows_root() {
        let names = Names::default();
        assert_eq!(names.uid(b"root"), Some(0));
        assert_eq!(names.gid(b"root"), Some(0));
        assert_eq!(names.uid(b"no such user here"), None);
    }
}
