//! What is wrong: index objects against packs, and the bytes of packs against their names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Fault, RepairReport, interrupted};
use crate::backend::{Area, Key};
use crate::error::{Class, Error, Result};
use crate::format::header::{HEADER_BYTES, Header, ObjectKind};
use crate::format::pack::Directory;
use crate::id::{ObjectId, PackId};
use crate::maintain::check::Damage;
use crate::progress::{Count, Monitor};
use crate::repository::Repository;
use crate::repository::audit::{PackAudit, is_unjudged, verify_name};

/// The packs, by kind.
const KINDS: [(Area, ObjectKind); 2] = [
    (Area::Data, ObjectKind::DataPack),
    (Area::Meta, ObjectKind::MetaPack),
];

/// A pack that is not what it was.
pub(super) struct Damaged {
    pub(super) kind: ObjectKind,
    pub(super) id: PackId,
    pub(super) reasons: Vec<String>,
    /// Blocks that cannot be read, if that is all.
    pub(super) bad_blocks: Option<BTreeSet<u32>>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Survey {
    packs: BTreeMap<Key, Pack>,
    pub(super) damaged: Vec<Damaged>,
    /// Packs that index objects list and that are not there.
    pub(super) missing: Vec<(ObjectKind, PackId)>,
    /// Index objects that cannot be read, or say what is not so.
    pub(super) indexes: BTreeMap<ObjectId, String>,
    /// Snapshots that cannot be read.
    pub(super) snapshots: BTreeMap<ObjectId, String>,
    /// Whole objects in the wrong area, and where they belong.
    pub(super) misplaced: Vec<(Key, Key)>,
    /// What cannot be judged: the medium does not give it, or it is of a version or key that is not at hand.
    pub(super) left: Vec<Fault>,
    /// Packs that are whole and that no index object lists.
    pub(super) unlisted: u64,
}

struct Pack {
    kind: ObjectKind,
    id: PackId,
    stored: Option<u64>,
    /// What index objects say: which of them, length, digest of the directory.
    listings: Vec<(ObjectId, u64, [u8; 16])>,
}

/// The area of packs of a kind.
pub(super) fn pack_key(kind: ObjectKind, id: &PackId) -> Key {
    let area = if kind == ObjectKind::MetaPack {
        Area::Meta
    } else {
        Area::Data
    };
    Key::object(area, id)
}

impl Survey {
    /// Looks at everything. `quick` reads file content only where something is wrong with its pack.
    pub(super) fn make(
        repository: &Repository,
        quick: bool,
        monitor: &dyn Monitor,
        report: &mut RepairReport,
    ) -> Result<Self> {
        let mut survey = Self::default();
        (report.packs_read, report.raw_bytes_read) = (0, 0);
        survey.snapshots(repository)?;
        // Index objects before packs: what an index object lists was there before it.
        survey.index_objects(repository)?;
        survey.stored(repository)?;
        survey.find_missing(repository, report)?;
        survey.read(repository, quick, monitor, report)?;
        let bad: HashSet<ObjectId> = survey.indexes.keys().copied().collect();
        let unlisted = |pack: &&Pack| !pack.listings.iter().any(|(id, ..)| !bad.contains(id));
        let unlisted = survey.packs.values().filter(unlisted).count();
        survey.unlisted = unlisted as u64;
        Ok(survey)
    }

    /// What is known to be damaged, as long as it is in its place.
    pub(super) fn damage(&self, is_there: &dyn Fn(&Key) -> bool) -> Damage {
        let mut damage = Damage::default();
        for pack in &self.damaged {
            match &pack.bad_blocks {
                _ if !is_there(&pack_key(pack.kind, &pack.id)) => {}
                Some(blocks) => blocks.iter().for_each(|no| damage.block(pack.id, *no)),
                None => damage.whole_pack(pack.id),
            }
        }
        for fault in &self.left {
            if matches!(fault.object.area(), Area::Data | Area::Meta)
                && let Ok(id) = fault.object.name().parse()
            {
                damage.whole_pack(id);
            }
        }
        damage
    }

    fn snapshots(&mut self, repository: &Repository) -> Result<()> {
        for id in ids(repository, Area::Snapshots)? {
            let key = Key::object(Area::Snapshots, &id);
            if let Err(e) = twice(|| repository.snapshot(&id))
                && let Some(why) = self.judge(repository, &key, &id, &e)
            {
                self.snapshots.insert(id, why);
            }
        }
        Ok(())
    }

    fn index_objects(&mut self, repository: &Repository) -> Result<()> {
        for id in ids(repository, Area::Index)? {
            let mut records = Vec::new();
            let read = twice(|| {
                records.clear();
                repository.index_records(&id, &mut |record| {
                    records.push((
                        record.kind,
                        record.id,
                        record.stored_bytes,
                        digest(&record.directory),
                    ));
                    Ok(())
                })
            });
            let key = Key::object(Area::Index, &id);
            if let Err(e) = read {
                if let Some(why) = self.judge(repository, &key, &id, &e) {
                    self.indexes.insert(id, why);
                }
                continue;
            }
            for (kind, pack, bytes, digest) in records {
                self.pack(kind, pack).listings.push((id, bytes, digest));
            }
        }
        Ok(())
    }

    fn pack(&mut self, kind: ObjectKind, id: PackId) -> &mut Pack {
        self.packs.entry(pack_key(kind, &id)).or_insert(Pack {
            kind,
            id,
            stored: None,
            listings: Vec::new(),
        })
    }

    fn stored(&mut self, repository: &Repository) -> Result<()> {
        for (area, kind) in KINDS {
            repository.backend().list(area, &mut |name, size| {
                if let Ok(id) = name.parse() {
                    self.pack(kind, id).stored = Some(size);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What is listed and not there is lost, unless it was pruned meanwhile: then its index object went before it.
    fn find_missing(&mut self, repository: &Repository, report: &mut RepairReport) -> Result<()> {
        let gone: HashSet<PackId> = self
            .packs
            .values()
            .filter(|pack| pack.stored.is_none())
            .map(|pack| pack.id)
            .collect();
        let listed = repository.told(&gone)?;
        for (key, pack) in &self.packs {
            if pack.stored.is_none() && listed.contains_key(&pack.id) {
                match repository.backend().exists(key) {
                    Ok(true) => {}
                    Ok(false) => self.missing.push((pack.kind, pack.id)),
                    // Something else has its name: a directory, a link.
                    Err(e) if e.class() == Class::Corrupt => {
                        self.missing.push((pack.kind, pack.id));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        self.packs.retain(|_, pack| pack.stored.is_some());
        report.packs = self.packs.len() as u64;
        Ok(())
    }

    /// Reads packs, and leaves those that are whole.
    fn read(
        &mut self,
        repository: &Repository,
        quick: bool,
        monitor: &dyn Monitor,
        report: &mut RepairReport,
    ) -> Result<()> {
        let stored = self.packs.values().filter_map(|pack| pack.stored);
        monitor.expect(Count::Bytes, stored.sum());
        let packs = std::mem::take(&mut self.packs);
        for (key, pack) in packs {
            if monitor.interrupted() {
                return Err(interrupted());
            }
            monitor.doing(&|| format!("reading {key}"));
            let looks_whole = quick && pack.looks_whole(repository);
            if looks_whole {
                monitor.add(Count::Bytes, pack.stored.unwrap_or(0));
            } else {
                let audit = match twice(|| repository.audit_pack(pack.kind, &pack.id)) {
                    Ok(audit) => audit,
                    Err(e) if e.class() == Class::NotFound => continue,
                    Err(e) => {
                        self.left.push(Fault::new(&key, &e));
                        continue;
                    }
                };
                monitor.add(Count::Bytes, audit.stored_bytes);
                monitor.add(Count::Objects, 1);
                report.packs_read += 1;
                report.raw_bytes_read += audit.raw_bytes;
                if !audit.is_sound() {
                    self.take(repository, &key, &pack, &audit);
                    continue;
                }
                if let Some(directory) = &audit.directory {
                    self.compare(&key, &pack, &digest(directory));
                }
            }
            self.packs.insert(key, pack);
        }
        Ok(())
    }

    /// Sorts a pack in that is not sound.
    fn take(&mut self, repository: &Repository, key: &Key, pack: &Pack, audit: &PackAudit) {
        if audit.is_original {
            if let Some(place) = place_of(repository, key, &pack.id) {
                self.misplaced.push((key.clone(), place));
                return;
            }
            let mut all = audit
                .errors
                .iter()
                .chain(audit.bad_blocks.iter().map(|b| &b.1));
            if let Some(e) = all.find(|e| is_unjudged(e)) {
                self.left.push(Fault::new(key, e));
                return;
            }
        }
        let whole = audit.errors.iter().map(|e| reason(key, e));
        let blocks = audit.bad_blocks.iter();
        let blocks = blocks.map(|(no, e)| format!("block {no}: {}", reason(key, e)));
        let bad_blocks = audit.bad_blocks.iter().map(|(no, _)| *no).collect();
        self.damaged.push(Damaged {
            kind: pack.kind,
            id: pack.id,
            reasons: whole.chain(blocks).collect(),
            bad_blocks: audit.directory.is_some().then_some(bad_blocks),
        });
    }

    /// Compares what index objects say of a pack that is whole.
    fn compare(&mut self, key: &Key, pack: &Pack, directory: &[u8; 16]) {
        for (index, bytes, digest) in &pack.listings {
            if pack.stored != Some(*bytes) || digest != directory {
                let why = format!("it says other things about {key} than that says itself");
                self.indexes.entry(*index).or_insert(why);
            }
        }
    }

    /// Why a snapshot or index object is damaged, if that is what it is.
    fn judge(
        &mut self,
        repository: &Repository,
        key: &Key,
        id: &ObjectId,
        error: &Error,
    ) -> Option<String> {
        if error.class() == Class::NotFound {
            return None;
        }
        if error.class() != Class::Corrupt {
            self.left.push(Fault::new(key, error));
            return None;
        }
        if let Some(place) = place_of(repository, key, id) {
            self.misplaced.push((key.clone(), place));
            return None;
        }
        Some(reason(key, error))
    }
}

impl Pack {
    /// Whether all that can be seen without reading content fits together. Trees are always read.
    fn looks_whole(&self, repository: &Repository) -> bool {
        self.kind == ObjectKind::DataPack
            && repository
                .pack_directory(self.kind, &self.id)
                .is_ok_and(|directory| {
                    let own = digest(&directory);
                    let same = |(_, bytes, digest): &(ObjectId, u64, [u8; 16])| {
                        self.stored == Some(*bytes) && *digest == own
                    };
                    self.listings.iter().all(same)
                })
    }
}

/// What an error says of an object, without its name.
fn reason(key: &Key, error: &Error) -> String {
    let said = error.to_string();
    let rest = said.strip_prefix(&format!("{key}: ")).map(str::to_owned);
    rest.unwrap_or(said)
}

/// Where an object belongs that is whole and in the wrong area.
fn place_of(repository: &Repository, key: &Key, id: &ObjectId) -> Option<Key> {
    let backend = repository.backend().as_ref();
    verify_name(backend, key, id).ok()?;
    let header = Header::decode(&backend.read(key, 0, HEADER_BYTES).ok()?).ok()?;
    let area = match header.kind {
        ObjectKind::DataPack => Area::Data,
        ObjectKind::MetaPack => Area::Meta,
        ObjectKind::Index => Area::Index,
        ObjectKind::Snapshot => Area::Snapshots,
        _ => return None,
    };
    (area != key.area()).then(|| Key::object(area, id))
}

/// Once more if the medium failed: that may pass.
fn twice<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    match work() {
        Err(e) if e.class() == Class::Io => work(),
        done => done,
    }
}

fn ids(repository: &Repository, area: Area) -> Result<Vec<ObjectId>> {
    let mut ids = Vec::new();
    repository.backend().list(area, &mut |name, _| {
        ids.extend(name.parse::<ObjectId>().ok());
        Ok(())
    })?;
    ids.sort_unstable();
    Ok(ids)
}

fn digest(directory: &Directory) -> [u8; 16] {
    let mut bytes = Vec::new();
    directory.encode(&mut bytes);
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    digest
}
