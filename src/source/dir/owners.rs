//! Names of users and groups, by number.
//!
//! Read from files in the format of `/etc/passwd` once per run: no name service is asked, so a directory server that hangs
//! cannot hang a backup. A number that the files do not know keeps an empty name; the number itself is always kept.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::entry::accounts;

/// More than any real file has; a larger one is cut here, so that memory stays bounded.
const LIMIT_BYTES: u64 = 64 << 20;

/// Looks names up.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    users: HashMap<u32, Box<[u8]>>,
    groups: HashMap<u32, Box<[u8]>>,
}

impl Owners {
    /// Reads both files; a missing one has no names.
    pub(super) fn read(passwd: Option<&Path>, group: Option<&Path>) -> Self {
        Self {
            users: passwd.map(names).unwrap_or_default(),
            groups: group.map(names).unwrap_or_default(),
        }
    }

    /// The user's name, empty if unknown.
    pub(super) fn user(&self, uid: u32) -> Vec<u8> {
        self.users
            .get(&uid)
            .map(|name| name.to_vec())
            .unwrap_or_default()
    }

    /// The group's name, empty if unknown.
    pub(super) fn group(&self, gid: u32) -> Vec<u8> {
        self.groups
            .get(&gid)
            .map(|name| name.to_vec())
            .unwrap_or_default()
    }
}

/// The accounts in a file; the first name of a number counts, as in the C library.
fn names(path: &Path) -> HashMap<u32, Box<[u8]>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT_BYTES).read_to_end(&mut bytes));
    let mut names = HashMap::new();
    if read.is_err() {
        return names;
    }
    for (name, number) in accounts(&bytes) {
        names.entry(number).or_insert_with(|| name.into());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_of_a_number_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let text =
            b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n+nis\nb\xffd:x:7:7:::\n:x:8:8\n";
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text))
            .unwrap();
        let owners = Owners::read(Some(&path), Some(Path::new("/nonexistent")));
        assert_eq!(owners.user(0), b"root");
        assert_eq!(owners.user(7), b"b\xffd");
        assert!(owners.user(8).is_empty() && owners.group(0).is_empty());
    }
}
