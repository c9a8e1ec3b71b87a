//! Snapshots: reading them, listing them through the catalog, and what a REF means.

use super::object::{key_of, read_blocks};
use super::{Repository, lock};
use crate::backend::Area;
use crate::crypto::Role;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::snapshot::{MAX_SNAPSHOT_BYTES, Snapshot};
use crate::id::SnapshotId;
use crate::progress::Monitor;
use std::collections::{BTreeSet, HashSet};

/// The fewest hexadecimal digits that may stand for an id.
pub const MIN_ID_DIGITS: usize = 3;
/// The fewest that do while a snapshot cannot be read: fewer may well be its name, which goes before. Lists show so many.
const SURE_ID_DIGITS: usize = 8;

/// A snapshot and its name in the store.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// What it says.
    pub snapshot: Snapshot,
}

impl Repository {
    /// All readable snapshots, oldest first (by time, then id).
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.require_full("list snapshots")?;
        let mut all = Vec::new();
        for (id, sealed) in self.catalog().snapshots()? {
            // A row that does not open is as good as none: the object is the truth.
            let snapshot = match self.unseal_row(&id, &sealed) {
                Some(snapshot) => snapshot,
                None => self.snapshot(&id)?,
            };
            all.push(SnapshotInfo { id, snapshot });
        }
        all.sort_by_key(|info| (info.snapshot.time, info.id));
        Ok(all)
    }

    /// Reads one snapshot object.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        self.require_full("read a snapshot")?;
        let key = key_of(ObjectKind::Snapshot, id);
        let mut bytes = Vec::new();
        read_blocks(
            self.backend().as_ref(),
            self.keys(),
            ObjectKind::Snapshot,
            id,
            &mut |block| {
                if bytes.len() + block.len() > MAX_SNAPSHOT_BYTES {
                    return Err(Error::corrupt(format!(
                        "{key}: longer than a snapshot may be"
                    )));
                }
                bytes.extend_from_slice(block);
                Ok(())
            },
        )?;
        Snapshot::decode(&bytes).map_err(|e| Error::caused(Class::Corrupt, key.to_string(), e))
    }

    /// Takes snapshots that appeared in the store into the catalog, and drops those that vanished. One that cannot be
    /// read is named in a warning and stops nothing that does not need to know what it says.
    pub(super) fn refresh_snapshots(&self, monitor: &dyn Monitor) -> Result<()> {
        if self.role() != Role::Full {
            return Ok(());
        }
        self.refresh_and_list_snapshots(monitor).map(drop)
    }

    /// The same; the names of all snapshots in the store, also of those that cannot be read.
    pub(crate) fn refresh_and_list_snapshots(
        &self,
        monitor: &dyn Monitor,
    ) -> Result<HashSet<SnapshotId>> {
        let mut stored = HashSet::new();
        self.backend().list(Area::Snapshots, &mut |name, _| {
            if let Ok(id) = name.parse::<SnapshotId>() {
                stored.insert(id);
            }
            Ok(())
        })?;
        let known: HashSet<SnapshotId> = self
            .catalog()
            .snapshots()?
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        for id in known.difference(&stored) {
            self.catalog().remove_snapshot(id)?;
        }
        let mut unreadable = BTreeSet::new();
        for id in stored.difference(&known) {
            match self.snapshot(id) {
                Ok(snapshot) => self.remember_snapshot(id, &snapshot)?,
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => {
                    unreadable.insert(*id);
                    let what = "a snapshot cannot be read and is left out";
                    self.tell_unreadable(id, what, &e, monitor);
                }
            }
        }
        *lock(&self.unreadable) = unreadable;
        Ok(stored)
    }

    /// How many snapshots were in the store and could not be read when it was last looked at.
    pub fn unreadable_snapshots(&self) -> u64 {
        lock(&self.unreadable).len() as u64
    }

    /// The unreadable snapshot whose id `text` is or begins, if there is just one, and no readable one is called so or has an id that
    /// begins so.
    pub fn unreadable_snapshot(&self, text: &str) -> Result<Option<SnapshotId>> {
        if !is_prefix(text) || text.len() < SURE_ID_DIGITS {
            return Ok(None);
        }
        let begins = |id: &SnapshotId| id.to_hex().starts_with(text);
        let damaged: Vec<SnapshotId> = lock(&self.unreadable)
            .iter()
            .copied()
            .filter(begins)
            .collect();
        let [id] = damaged[..] else {
            return Ok(None);
        };
        let all = self.snapshots()?;
        let mut others = all.iter();
        let readable = others.any(|info| begins(&info.id) || info.snapshot.name == text);
        Ok((!readable).then_some(id))
    }

    /// Keeps a snapshot in the catalog, sealed.
    pub(super) fn remember_snapshot(&self, id: &SnapshotId, snapshot: &Snapshot) -> Result<()> {
        let sealed = self
            .catalog_key()
            .seal(id.as_bytes(), &snapshot.encode())
            .map_err(super::object::crypto("seal a catalog row"))?;
        self.catalog().put_snapshot(id, &sealed)
    }

    fn unseal_row(&self, id: &SnapshotId, sealed: &[u8]) -> Option<Snapshot> {
        let bytes = self.catalog_key().open(id.as_bytes(), sealed).ok()?;
        Snapshot::decode(&bytes).ok()
    }

    /// The newest snapshot of that name; `None` also where the key may not read snapshots.
    pub fn newest_of(&self, name: &str) -> Result<Option<SnapshotId>> {
        if self.role() != Role::Full {
            return Ok(None);
        }
        let all = self.snapshots()?;
        Ok(all
            .iter()
            .rev()
            .find(|info| info.snapshot.name == name)
            .map(|info| info.id))
    }

    /// The snapshot that `reference` means: exact id > exact name (its newest) > unique id prefix of at least
    /// [`MIN_ID_DIGITS`] > `latest`; then `~N` counts back among the snapshots of the same name. While snapshots are unreadable
    /// only ids mean anything, and beginnings of them that are no likely names: any of those may be the newest, and have any name.
    pub fn resolve(&self, reference: &str) -> Result<SnapshotInfo> {
        let all = self.snapshots()?;
        let unreadable = lock(&self.unreadable).clone();
        if !unreadable.is_empty() {
            return self.resolve_id(&all, &unreadable, reference);
        }
        if let Some(index) = find(&all, reference)? {
            return Ok(all[index].clone());
        }
        let Some((base, back)) = reference.rsplit_once('~') else {
            return Err(missing(&all, reference));
        };
        let back: usize = if back.is_empty() {
            1
        } else {
            back.parse().map_err(|_| missing(&all, reference))?
        };
        let index = find(&all, base)?.ok_or_else(|| missing(&all, base))?;
        // `latest~1` is the one before the latest of any name; `NAME~1` stays within the name.
        let same = |info: &&SnapshotInfo| {
            base == "latest" || info.snapshot.name == all[index].snapshot.name
        };
        all[..=index]
            .iter()
            .rev()
            .filter(same)
            .nth(back)
            .cloned()
            .ok_or_else(|| {
                Error::new(
                    Class::NotFound,
                    format!("there are not {back} snapshots before '{base}': see 'repo snapshots'"),
                )
            })
    }

    /// The snapshot whose id `reference` is or begins, while some cannot be read.
    fn resolve_id(
        &self,
        all: &[SnapshotInfo],
        unreadable: &BTreeSet<SnapshotId>,
        reference: &str,
    ) -> Result<SnapshotInfo> {
        let is_name = all.iter().any(|info| info.snapshot.name == reference);
        let is_id = reference.parse::<SnapshotId>().is_ok();
        if is_id || is_prefix(reference) && reference.len() >= SURE_ID_DIGITS && !is_name {
            let meant = |id: &SnapshotId| id.to_hex().starts_with(reference);
            let readable: Vec<_> = all.iter().filter(|info| meant(&info.id)).collect();
            let damaged: Vec<_> = unreadable.iter().filter(|id| meant(id)).collect();
            match (&readable[..], &damaged[..]) {
                ([], []) => {}
                ([info], []) => return Ok((*info).clone()),
                ([], [id]) => {
                    let (id, snapshot) = (**id, self.snapshot(id)?);
                    return Ok(SnapshotInfo { id, snapshot });
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "'{reference}' is the beginning of several snapshot ids: give more digits"
                    )));
                }
            }
        }
        let names: Vec<String> = unreadable
            .iter()
            .map(|id| format!("snapshots/{id}"))
            .collect();
        Err(Error::corrupt(format!(
            "'{reference}' may mean a snapshot that cannot be read ({}): name another by its id, with as many digits as \
             'repo snapshots' shows",
            names.join(", ")
        )))
    }
}

/// True if `text` can be the beginning of an id.
fn is_prefix(text: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() >= MIN_ID_DIGITS && text.bytes().all(digit)
}

/// Position of the snapshot that `text` names, without the `~N` form.
fn find(all: &[SnapshotInfo], text: &str) -> Result<Option<usize>> {
    if let Ok(id) = text.parse::<SnapshotId>()
        && let Some(index) = all.iter().position(|info| info.id == id)
    {
        return Ok(Some(index));
    }
    if !text.is_empty()
        && let Some(index) = all.iter().rposition(|info| info.snapshot.name == text)
    {
        return Ok(Some(index));
    }
    if is_prefix(text) {
        let mut matching = all
            .iter()
            .enumerate()
            .filter(|(_, info)| info.id.to_hex().starts_with(text));
        if let Some((index, _)) = matching.next() {
            let others: Vec<String> = matching.map(|(_, info)| info.id.short()).collect();
            if others.is_empty() {
                return Ok(Some(index));
            }
            return Err(Error::invalid(format!(
                "'{text}' is the beginning of several snapshot ids ({}, {}): give more digits",
                all[index].id.short(),
                others.join(", ")
            )));
        }
    }
    Ok(if text == "latest" {
        all.len().checked_sub(1)
    } else {
        None
    })
}

fn missing(all: &[SnapshotInfo], reference: &str) -> Error {
    let what = if all.is_empty() {
        "the repository has no snapshots yet: make one with 'repo ingest'".to_owned()
    } else if reference.len() < MIN_ID_DIGITS {
        format!(
            "no snapshot is called '{reference}' (an id needs at least {MIN_ID_DIGITS} digits): \
             see 'repo snapshots'"
        )
    } else {
        format!(
            "no snapshot is called '{reference}' or has an id that begins so: see 'repo snapshots'"
        )
    };
    Error::new(Class::NotFound, what)
}
