//! Objects: what is stored against what index objects say, and all of their bytes if asked.

use std::collections::{HashMap, HashSet};

use super::{CheckReport, Damage, ReadData};
use crate::backend::{Area, Backend, Key};
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::pack::Directory;
use crate::id::{ObjectId, PackId};
use crate::progress::{Count, Monitor};
use crate::repository::{Repository, SnapshotInfo};

/// A pack as it is stored and listed.
pub(super) struct Pack {
    kind: ObjectKind,
    /// Length in the store; `None` if it is not there.
    stored: Option<u64>,
    /// Length and digest of the directory by an index object.
    listed: Option<(u64, [u8; 16])>,
}

/// Reads all snapshots from the store.
pub(super) fn snapshots(
    repository: &Repository,
    report: &mut CheckReport,
) -> Result<Vec<SnapshotInfo>> {
    let mut all = Vec::new();
    for (id, _) in ids(repository.backend().as_ref(), Area::Snapshots)? {
        match repository.snapshot(&id) {
            Ok(snapshot) => all.push(SnapshotInfo { id, snapshot }),
            // It may be forgotten meanwhile.
            Err(e) if e.class() == Class::NotFound => {}
            Err(e) if e.class() == Class::Io => return Err(e),
            Err(e) => {
                report.problem(&format!("snapshots/{id}"), &e, false);
                report.harmed_snapshots.insert(id);
            }
        }
    }
    report.snapshots = all.len() as u64;
    all.sort_by_key(|info| (info.snapshot.time, info.id));
    Ok(all)
}

/// Those that were not forgotten before the check was announced: a prune may take what they reach.
pub(super) fn still_there(
    repository: &Repository,
    mut snapshots: Vec<SnapshotInfo>,
) -> Result<Vec<SnapshotInfo>> {
    let stored: HashSet<ObjectId> = ids(repository.backend().as_ref(), Area::Snapshots)?
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    snapshots.retain(|info| stored.contains(&info.id));
    Ok(snapshots)
}

/// Compares the packs that are stored with those that are listed and those that the catalog uses.
pub(super) fn packs(
    repository: &Repository,
    damage: &mut Damage,
    report: &mut CheckReport,
) -> Result<HashMap<PackId, Pack>> {
    let backend = repository.backend().as_ref();
    let mut packs: HashMap<PackId, Pack> = HashMap::new();
    // Indexes before packs: a writer that is at work adds packs first, so what an index lists is there when packs are listed.
    for (id, _) in ids(backend, Area::Index)? {
        report.index_objects += 1;
        let read = repository.index_records(&id, &mut |record| {
            let pack = Pack {
                kind: record.kind,
                stored: None,
                listed: Some((record.stored_bytes, digest(&record.directory))),
            };
            packs.insert(record.id, pack);
            Ok(())
        });
        match read {
            Ok(()) => {}
            Err(e) if e.class() == Class::Io => return Err(e),
            // Everything in it is also in the packs themselves.
            Err(e) => {
                report.problem(&format!("index/{id}"), &e, true);
                report.damaged_indexes += 1;
            }
        }
    }
    let kinds = [
        (Area::Data, ObjectKind::DataPack),
        (Area::Meta, ObjectKind::MetaPack),
    ];
    let mut misplaced = Vec::new();
    for (area, kind) in kinds {
        for (id, size) in ids(backend, area)? {
            if packs.get(&id).is_some_and(|pack| pack.kind != kind) {
                // Where nobody looks for it, it is as good as missing.
                misplaced.push(name(kind, &id));
                continue;
            }
            let pack = packs.entry(id).or_insert(Pack {
                kind,
                stored: None,
                listed: None,
            });
            pack.stored = Some(size);
            report.packs += 1;
        }
    }
    for name in misplaced {
        let what = "a pack of that name belongs into the other folder: 'repo repair' puts it there";
        report.problem(&name, &what, true);
    }
    forget_pruned(repository, &mut packs)?;
    for (id, pack) in &packs {
        let name = name(pack.kind, id);
        match (pack.stored, pack.listed) {
            (None, _) => {
                report.problem(
                    &name,
                    &"an index object lists it, but it is not there",
                    false,
                );
                damage.whole_pack(*id);
            }
            (Some(stored), Some((listed, _))) if stored != listed => {
                let what = format!("it is {stored} bytes long and must be {listed}");
                report.problem(&name, &what, false);
                damage.whole_pack(*id);
            }
            (Some(_), None) => {
                damage.unlisted.insert(*id);
            }
            (Some(_), Some(_)) => {}
        }
    }
    Ok(packs)
}

/// Leaves out packs that were listed and are not there, if no index object lists them any more: they were pruned meanwhile. What the
/// catalog still has of packs that are gone and listed nowhere is forgotten; where somebody needs it, that shows.
fn forget_pruned(repository: &Repository, packs: &mut HashMap<PackId, Pack>) -> Result<()> {
    let backend = repository.backend().as_ref();
    if packs.values().any(|pack| pack.stored.is_none()) {
        let mut listed = HashSet::new();
        for (id, _) in ids(backend, Area::Index)? {
            // What cannot be read was told.
            drop(repository.index_records(&id, &mut |record| {
                if packs
                    .get(&record.id)
                    .is_some_and(|pack| pack.stored.is_none())
                {
                    listed.insert(record.id);
                }
                Ok(())
            }));
        }
        packs.retain(|id, pack| pack.stored.is_some() || listed.contains(id));
    }
    let mut gone = Vec::new();
    repository.catalog().packs(|row| {
        if !packs.contains_key(&row.id) && !backend.exists(&key(row.kind, &row.id))? {
            gone.push(row.id);
        }
        Ok(())
    })?;
    if gone.is_empty() {
        return Ok(());
    }
    repository.catalog().remove_packs(&gone)
}

/// Tells of packs that no index object lists. The index object of one that a snapshot needs was written before the snapshot.
pub(super) fn unlisted(
    packs: &HashMap<PackId, Pack>,
    damage: &Damage,
    needed: &HashSet<PackId>,
    report: &mut CheckReport,
) {
    for (id, pack) in packs {
        if !damage.unlisted.contains(id) {
            continue;
        }
        let what = if needed.contains(id) {
            report.unlisted_packs += 1;
            "snapshots need it and no index object lists it: its index object is damaged or lost"
        } else {
            "no index object lists it: an interrupted ingest left it, or its index object is damaged or lost"
        };
        report.problem(&name(pack.kind, id), &what, true);
    }
}

/// Reads all bytes of the packs that were asked for.
pub(super) fn read(
    repository: &Repository,
    packs: &HashMap<PackId, Pack>,
    read_data: ReadData,
    monitor: &dyn Monitor,
    (damage, report): (&mut Damage, &mut CheckReport),
) -> Result<()> {
    let stored = |pack: &Pack| pack.stored.unwrap_or(0);
    let mut chosen: Vec<_> = packs
        .iter()
        .filter(|(id, pack)| pack.stored.is_some() && read_data.takes(id))
        .collect();
    chosen.sort_by_key(|(id, _)| **id);
    monitor.expect(
        Count::Bytes,
        chosen.iter().map(|(_, pack)| stored(pack)).sum(),
    );
    for (id, pack) in chosen {
        if monitor.interrupted() {
            return Err(Error::new(Class::Interrupted, "the check was interrupted"));
        }
        let name = name(pack.kind, id);
        monitor.doing(&|| name.clone());
        let audit = match repository.audit_pack(pack.kind, id) {
            Ok(audit) => audit,
            Err(e) if e.class() == Class::NotFound => continue,
            Err(e) => {
                // A medium that cannot read this pack may read others.
                report.problem(&name, &e, false);
                damage.whole_pack(*id);
                continue;
            }
        };
        monitor.add(Count::Bytes, audit.stored_bytes);
        monitor.add(Count::Objects, 1);
        report.packs_read += 1;
        report.raw_bytes_read += audit.raw_bytes;
        for error in &audit.errors {
            report.problem(&name, error, false);
        }
        for (number, error) in &audit.bad_blocks {
            report.problem(&format!("{name} block {number}"), error, false);
            damage.block(*id, *number);
        }
        match (&audit.directory, pack.listed) {
            // Its blocks can still be read by what an index object says of them, but not be relied on.
            (None, _) => damage.whole_pack(*id),
            (Some(directory), Some((_, listed))) if digest(directory) != listed => {
                report.problem(&name, &"an index object says other things about it", false);
                damage.whole_pack(*id);
            }
            _ => {}
        }
    }
    Ok(())
}

fn digest(directory: &Directory) -> [u8; 16] {
    let mut bytes = Vec::new();
    directory.encode(&mut bytes);
    let mut digest = [0; 16];
    blake3::Hasher::new()
        .update(&bytes)
        .finalize_xof()
        .fill(&mut digest);
    digest
}

fn name(kind: ObjectKind, id: &PackId) -> String {
    key(kind, id).to_string()
}

fn key(kind: ObjectKind, id: &PackId) -> Key {
    let area = if kind == ObjectKind::DataPack {
        Area::Data
    } else {
        Area::Meta
    };
    Key::object(area, id)
}

/// All objects in an area with their lengths.
pub(super) fn ids(backend: &dyn Backend, area: Area) -> Result<Vec<(ObjectId, u64)>> {
    let mut ids = Vec::new();
    backend.list(area, &mut |name, size| {
        ids.extend(name.parse().ok().map(|id| (id, size)));
        Ok(())
    })?;
    Ok(ids)
}
