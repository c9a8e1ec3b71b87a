//! The directories above the snapshots in a mount of all of them: by id, by name and time, by tag.
//!
//! ```text
//! latest -> by-id/ID                      the newest of all
//! by-id/ID/                               a snapshot (the first 16 digits of its id; others work, but are not listed)
//! by-name/NAME/TIME/                      the same, by name and time (2026-11-21T09-05-00Z; -2, -3 ... if equal)
//! by-name/NAME/latest -> TIME
//! by-tag/KEY=VALUE/NAME-TIME -> ../../by-id/ID
//! ```
//! The tree is built anew whenever the list of snapshots changed; numbers are remembered by path, so a directory that
//! is open stays what it is. While a snapshot cannot be read there are no links to the newest: it may be that. A link's number depends on its target: the kernel may keep the target for ever.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use super::attr::{Attr, DIRECTORY, SYMLINK};
use super::numbers;
use super::store::Listed;
use crate::entry::Time;
use crate::id::SnapshotId;
use crate::repository::MIN_ID_DIGITS;

/// Which of its two directories a snapshot's root is. They are different inodes, since a directory has one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Door {
    Id,
    Name,
}

impl Door {
    /// Mixed into the slot.
    pub(super) fn salt(self) -> u8 {
        match self {
            Self::Id => 0,
            Self::Name => 1,
        }
    }
}

/// One entry of a virtual directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A virtual directory or link, by its inode number.
    Inner { inode: u64, file_type: u32 },
    /// The root of a snapshot.
    Snapshot(SnapshotId, Door),
}

#[derive(Debug)]
enum Inner {
    Directory {
        entries: BTreeMap<Vec<u8>, Target>,
        parent: u64,
    },
    Link(Vec<u8>),
}

/// The tree as of the last look at the list of snapshots.
#[derive(Debug, Default)]
pub(super) struct VirtualTree {
    inner: HashMap<u64, Inner>,
    /// Numbers given so far, by path (and target, for links). Only grows, by a few paths for each snapshot seen.
    numbers: HashMap<Vec<u8>, u64>,
    time: Time,
}

const ROOT: u64 = 1;

impl VirtualTree {
    /// Builds the tree of these snapshots, which are sorted by time. Where some are lacking, nothing is called the newest.
    pub(super) fn rebuild(&mut self, snapshots: &[Listed], lacks_some: bool) {
        self.inner.clear();
        self.time = snapshots.last().map_or_else(Time::default, |s| s.time);
        self.inner.insert(
            ROOT,
            Inner::Directory {
                entries: BTreeMap::new(),
                parent: ROOT,
            },
        );
        for name in ["by-id", "by-name", "by-tag"] {
            self.directory(&[name]);
        }
        let ids = id_names(snapshots);
        let mut times: HashSet<(String, String)> = HashSet::new();
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        for (snapshot, id) in snapshots.iter().zip(&ids) {
            self.put(&["by-id"], id, Target::Snapshot(snapshot.id, Door::Id));
            let name = escaped(&snapshot.name);
            let time = time_name(snapshot.time);
            let mut unique = time.clone();
            let mut count = 1;
            while !times.insert((name.clone(), unique.clone())) {
                count += 1;
                unique = format!("{time}-{count}");
            }
            let target = Target::Snapshot(snapshot.id, Door::Name);
            self.put(&["by-name", &name], &unique, target);
            for (key, value) in &snapshot.tags {
                let tag = escaped(&format!("{key}={value}"));
                let label = shortened(&format!("{name}-{unique}"));
                self.link(&["by-tag", &tag], &label, &format!("../../by-id/{id}"));
            }
            newest.insert(name, unique);
        }
        if lacks_some {
            return;
        }
        for (name, time) in &newest {
            self.link(&["by-name", name], "latest", time);
        }
        if let Some(id) = ids.last() {
            self.link(&[], "latest", &format!("by-id/{id}"));
        }
    }

    /// The attributes of a virtual directory or link.
    pub(super) fn attr(&self, inode: u64) -> Option<Attr> {
        Some(match self.inner.get(&inode)? {
            Inner::Directory { entries, .. } => {
                let below = entries.values().filter(|target| match target {
                    Target::Inner { file_type, .. } => *file_type == DIRECTORY,
                    Target::Snapshot(..) => true,
                });
                Attr::of_virtual_directory(inode, below.count(), self.time)
            }
            Inner::Link(target) => Attr::of_virtual_link(inode, target.len(), self.time),
        })
    }

    /// The entries of a virtual directory, and its parent.
    pub(super) fn entries(&self, inode: u64) -> Option<(&BTreeMap<Vec<u8>, Target>, u64)> {
        match self.inner.get(&inode)? {
            Inner::Directory { entries, parent } => Some((entries, *parent)),
            Inner::Link(_) => None,
        }
    }

    /// The entry called `name` in a virtual directory. Beside the names that are listed, `by-id` knows every other beginning of an
    /// id (of at least three digits, and of one snapshot only) as a link.
    pub(super) fn lookup(&mut self, inode: u64, name: &[u8]) -> Option<Target> {
        let Inner::Directory { entries, .. } = self.inner.get(&inode)? else {
            return None;
        };
        if let Some(target) = entries.get(name) {
            return Some(target.clone());
        }
        let is_digits = name.iter().all(u8::is_ascii_hexdigit);
        if self.numbers.get(&b"by-id"[..]) != Some(&inode)
            || name.len() < MIN_ID_DIGITS
            || !is_digits
        {
            return None;
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let mut found = entries.iter().filter(|(_, target)| match target {
            Target::Snapshot(id, _) => id.to_hex().starts_with(&name),
            Target::Inner { .. } => false,
        });
        let (Some((listed, _)), None) = (found.next(), found.next()) else {
            return None;
        };
        let target = String::from_utf8_lossy(listed).into_owned();
        let inode = self.new_link(&["by-id"], &name, &target);
        let file_type = SYMLINK;
        Some(Target::Inner { inode, file_type })
    }

    /// The virtual directory that holds a target.
    pub(super) fn holder_of(&self, target: &Target) -> Option<u64> {
        let holds = |inner: &Inner| match inner {
            Inner::Directory { entries, .. } => entries.values().any(|t| t == target),
            Inner::Link(_) => false,
        };
        self.inner
            .iter()
            .find(|(_, inner)| holds(inner))
            .map(|(inode, _)| *inode)
    }

    /// Where a link leads.
    pub(super) fn link_target(&self, inode: u64) -> Option<&[u8]> {
        match self.inner.get(&inode)? {
            Inner::Link(target) => Some(target),
            Inner::Directory { .. } => None,
        }
    }

    /// The inode of the directory at `path`, made with all above it.
    fn directory(&mut self, path: &[&str]) -> u64 {
        let Some((name, above)) = path.split_last() else {
            return ROOT;
        };
        let inode = self.number(path.join("/").into_bytes());
        if !self.inner.contains_key(&inode) {
            let parent = self.directory(above);
            let entries = BTreeMap::new();
            self.inner
                .insert(inode, Inner::Directory { entries, parent });
            let file_type = DIRECTORY;
            self.put(above, name, Target::Inner { inode, file_type });
        }
        inode
    }

    fn put(&mut self, directory: &[&str], name: &str, target: Target) {
        let inode = self.directory(directory);
        if let Some(Inner::Directory { entries, .. }) = self.inner.get_mut(&inode) {
            entries.insert(name.as_bytes().to_vec(), target);
        }
    }

    fn link(&mut self, directory: &[&str], name: &str, target: &str) {
        let inode = self.new_link(directory, name, target);
        let file_type = SYMLINK;
        self.put(directory, name, Target::Inner { inode, file_type });
    }

    /// A link that is in no directory yet.
    fn new_link(&mut self, directory: &[&str], name: &str, target: &str) -> u64 {
        let mut path = directory.join("/").into_bytes();
        path.extend_from_slice(format!("/{name}\0{target}").as_bytes());
        let inode = self.number(path);
        let link = Inner::Link(target.as_bytes().to_vec());
        self.inner.insert(inode, link);
        inode
    }

    fn number(&mut self, path: Vec<u8>) -> u64 {
        let next = numbers::inode(0, self.numbers.len() as u64 + 1);
        *self.numbers.entry(path).or_insert(next)
    }
}

/// What each snapshot is called in `by-id`: 16 digits, or all of them where that is not enough.
fn id_names(snapshots: &[Listed]) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for snapshot in snapshots {
        *seen.entry(short_id(&snapshot.id)).or_default() += 1;
    }
    let name = |listed: &Listed| {
        let short = short_id(&listed.id);
        if seen.get(&short) == Some(&1) {
            short
        } else {
            listed.id.to_hex()
        }
    };
    snapshots.iter().map(name).collect()
}

fn short_id(id: &SnapshotId) -> String {
    id.to_hex().chars().take(16).collect()
}

/// `text` as one name in a directory: slashes, control characters and `%` become `%xx`, dots in front too.
fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (at, character) in text.chars().enumerate() {
        if character == '/'
            || character == '%'
            || character.is_control()
            || at == 0 && character == '.'
        {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(name, "%{byte:02x}");
            }
        } else {
            name.push(character);
        }
    }
    if name.is_empty() {
        // No name escapes to this: `%` is escaped itself.
        name.push('%');
    }
    shortened(&name)
}

/// A name of at most 255 bytes; a longer one ends in a digest of all of it.
fn shortened(name: &str) -> String {
    if name.len() <= 255 {
        return name.to_owned();
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    let mut end = 230;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{}", &name[..end], &digest[..16])
}

/// A time as a name: UTC, to the second, without characters that some systems refuse.
fn time_name(time: Time) -> String {
    let days = time.seconds.div_euclid(86400);
    let seconds = time.seconds.rem_euclid(86400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}-{:02}-{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar. Years are counted
/// from March, so that the leap day is a year's last; 146,097 days make 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_names() {
        let name = |seconds| time_name(Time::new(seconds, 5));
        assert_eq!(name(0), "1970-01-01T00-00-00Z");
        assert_eq!(name(1_795_251_900), "2026-11-21T09-05-00Z");
        assert_eq!(name(951_782_399), "2000-02-28T23-59-59Z");
        assert_eq!(name(951_782_400), "2000-02-29T00-00-00Z");
        assert_eq!(name(-1), "1969-12-31T23-59-59Z");
    }

    #[test]
    fn any_text_is_one_name() {
        assert_eq!(escaped("web"), "web");
        assert_eq!(escaped("a/b%\n"), "a%2fb%25%0a");
        assert_eq!(escaped(".."), "%2e.");
        assert_eq!(escaped(""), "%");
        let long = escaped(&"\u{e9}".repeat(200));
        assert!(long.len() <= 255, "{}", long.len());
        assert_ne!(long, escaped(&"\u{e9}".repeat(201)));
    }
}
