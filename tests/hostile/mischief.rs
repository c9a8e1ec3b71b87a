//! What somebody who can write to the store, and has no key, can do to its objects.

use std::fs;
use std::path::{Path, PathBuf};

use crate::judge::Victim;

pub(crate) const AREAS: [&str; 4] = ["data", "meta", "index", "snapshots"];

/// Numbers that look random and follow from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap() % limit.max(1)
    }

    pub(crate) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// The objects in an area.
pub(crate) fn objects(repository: &Path, area: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, all: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, all);
            } else {
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    walk(&repository.join(area), &mut all);
    all.sort();
    all
}

pub(crate) fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Another file: the sample's may be shared.
    drop(fs::remove_file(path));
    fs::write(path, bytes).unwrap();
}

/// Does one thing; says what.
pub(crate) fn tamper(victim: &Victim<'_>, dice: &mut Dice) -> String {
    let repository = victim.repository();
    let area = dice.one(&AREAS);
    let here = objects(&repository, area);
    let Some(first) = here.get(dice.below(here.len())).cloned() else {
        return format!("{area} is empty");
    };
    let bytes = fs::read(&first).unwrap();
    let name = |path: &Path| {
        path.strip_prefix(&repository)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let swap = |other: &Path| {
        let others = fs::read(other).unwrap();
        put(&first, &others);
        put(other, &bytes);
        format!("swap {} and {}", name(&first), name(other))
    };
    match dice.below(10) {
        0 => {
            fs::remove_file(&first).unwrap();
            format!("drop {}", name(&first))
        }
        1 => swap(&dice.one(&here)),
        2 => {
            let others = objects(&repository, dice.one(&AREAS));
            if others.is_empty() {
                return "nothing to swap with".to_owned();
            }
            swap(&dice.one(&others))
        }
        3 => {
            let len = dice.below(bytes.len());
            put(&first, &bytes[..len]);
            format!("cut {} to {len}", name(&first))
        }
        4 => {
            let more = dice.below(300) + 1;
            let tail = bytes[bytes.len().saturating_sub(more)..].to_vec();
            put(&first, &[bytes, tail].concat());
            format!("add its last {more} bytes to {}", name(&first))
        }
        5 => {
            let other = fs::read(dice.one(&here)).unwrap();
            let at = dice.below(bytes.len().min(other.len()));
            put(&first, &[&bytes[..at], &other[at..]].concat());
            format!("splice {} with another at {at}", name(&first))
        }
        6 => {
            let mut bytes = bytes;
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
            put(&first, &bytes);
            format!("flip a bit of {} at {at}", name(&first))
        }
        7 => {
            let foreign = objects(&victim.sample.root.join("other"), area);
            put(&first, &fs::read(dice.one(&foreign)).unwrap());
            format!(
                "put an object of another repository in place of {}",
                name(&first)
            )
        }
        8 => age(victim, area),
        _ => misplace(&repository, &first, dice.one(&AREAS)),
    }
}

/// Shows an area as it was.
fn age(victim: &Victim<'_>, area: &str) -> String {
    let repository = victim.repository();
    fs::remove_dir_all(repository.join(area)).unwrap();
    let older = victim.sample.root.join("older");
    crate::sample::copy(&older.join(area), &repository);
    format!("show an older state of {area}")
}

/// Moves an intact object, under its name, to another area.
fn misplace(repository: &Path, object: &Path, area: &str) -> String {
    let id = object.file_name().unwrap().to_str().unwrap();
    let to = match area {
        "data" | "meta" => repository.join(area).join(&id[..2]).join(id),
        _ => repository.join(area).join(id),
    };
    if to != object {
        put(&to, &fs::read(object).unwrap());
        fs::remove_file(object).unwrap();
    }
    format!("move {} to {area}", object.display())
}

/// Lengths at which something begins or ends, and their neighbours.
pub(crate) fn boundaries(len: usize) -> Vec<usize> {
    let mut all = vec![0, 7, 159, 160, 161, 176, len / 2];
    all.extend([len - 64, len - 49, len - 48, len - 47, len - 1]);
    all.retain(|at| *at < len);
    all.dedup();
    all
}
