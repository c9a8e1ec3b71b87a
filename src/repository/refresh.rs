//! Keeping the catalog in step with the objects, which are the truth.
//!
//! An open repository takes in index objects and snapshots that it has not seen. Packs that no index object lists (an
//! interrupted ingest leaves them) are read by their own directories; a writer does that so that it finds their chunks,
//! everybody does when the catalog is new or an index object cannot be read.

use std::collections::HashSet;

use super::object::read_blocks;
use super::{Repository, lock};
use crate::backend::Area;
use crate::catalog::{Loader, Opened};
use crate::error::{Class, Result};
use crate::format::header::ObjectKind;
use crate::format::index::PackRecord;
use crate::id::{ObjectId, PackId};
use crate::progress::{Monitor, Silent};

impl Repository {
    /// Brings a just opened catalog up to date and says what had to be rebuilt.
    pub(super) fn take_in(&self, opened: &Opened, monitor: &dyn Monitor) -> Result<()> {
        let fresh = !matches!(opened, Opened::Existing);
        if let Opened::Replaced(reason) = opened {
            monitor.note(&format!(
                "the catalog could not be used ({reason}) and is rebuilt"
            ));
        }
        let taken = self.refresh_indexes(monitor)?;
        self.refresh_snapshots(monitor)?;
        let adopted = if fresh || taken.unreadable > 0 {
            self.adopt_packs(monitor)?.len()
        } else {
            0
        };
        self.tell_moved(monitor);
        if let Opened::InMemory(reason) = opened {
            monitor.note(&format!(
                "the catalog cannot be kept ({reason}): every command makes it anew; say another place with --cache-dir or \
                 REPO_CACHE_DIR"
            ));
        } else if fresh && (taken.indexes > 0 || adopted > 0) {
            let packs = taken.packs + adopted;
            let plural = |count| if count == 1 { "" } else { "s" };
            monitor.note(&format!(
                "the catalog was rebuilt from the repository: {} index object{}, {packs} pack{}",
                taken.indexes,
                plural(taken.indexes),
                plural(packs)
            ));
        }
        Ok(())
    }

    /// Says if the catalog cannot be written any more. What must end well does not end because of that.
    pub(crate) fn tell_moved(&self, monitor: &dyn Monitor) {
        if let Some(reason) = self.catalog().take_moved() {
            monitor.note(&format!(
                "the catalog cannot be kept up to date ({reason}): what is new to it is read again by every command; make room there, \
                 or say another place with --cache-dir or REPO_CACHE_DIR"
            ));
        }
    }

    /// Takes in every pack that the catalog does not know.
    pub(super) fn search_packs(&self) -> Result<()> {
        self.refresh_indexes(&Silent)?;
        self.adopt_packs(&Silent).map(drop)
    }

    /// Takes in what other processes added since.
    pub fn refresh(&self, monitor: &dyn Monitor) -> Result<()> {
        *lock(&self.searched) = false;
        let taken = self.refresh_indexes(monitor)?;
        if taken.unreadable > 0 {
            self.adopt_packs(monitor)?;
        }
        self.refresh_snapshots(monitor)?;
        self.tell_moved(monitor);
        Ok(())
    }

    pub(super) fn refresh_indexes(&self, monitor: &dyn Monitor) -> Result<Taken> {
        let was_in_memory = self.catalog().is_in_memory();
        match self.take_in_indexes(monitor) {
            // Its file could not be written: what was gathered for it is gathered again for memory.
            Err(_) if !was_in_memory && self.catalog().is_in_memory() => {
                self.take_in_indexes(monitor)
            }
            taken => taken,
        }
    }

    fn take_in_indexes(&self, monitor: &dyn Monitor) -> Result<Taken> {
        let known: HashSet<ObjectId> = self.catalog().index_objects()?.into_iter().collect();
        let mut stored = HashSet::new();
        self.backend().list(Area::Index, &mut |name, _| {
            stored.extend(name.parse::<ObjectId>().ok());
            Ok(())
        })?;
        let mut taken = Taken::default();
        let mut loader = self.catalog().loader();
        let mut new: Vec<ObjectId> = stored.difference(&known).copied().collect();
        new.sort_unstable();
        for id in new {
            match self.read_index(&id, &mut loader) {
                Ok(packs) => {
                    loader.index_object(id);
                    taken.indexes += 1;
                    taken.packs += packs;
                }
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => {
                    taken.unreadable += 1;
                    let what = "an index object cannot be read; its packs are read instead";
                    self.tell_unreadable(&id, what, &e, monitor);
                }
            }
        }
        loader.finish()?;
        // A prune replaces index objects: first those that are new, then without those that are gone.
        self.catalog().keep_index_objects(&stored)?;
        Ok(taken)
    }

    /// Adds an index object's records to the catalog, block by block. Interrupted in between, it is simply read again.
    fn read_index(&self, id: &ObjectId, loader: &mut Loader<'_>) -> Result<usize> {
        let key = super::object::key_of(ObjectKind::Index, id);
        let mut packs = 0;
        read_blocks(
            self.backend().as_ref(),
            self.keys(),
            ObjectKind::Index,
            id,
            &mut |block| {
                let mut records = Vec::new();
                PackRecord::decode_all(block, |record| records.push(record))
                    .map_err(super::object::decoded(&key))?;
                packs += records.len();
                records
                    .iter()
                    .try_for_each(|record| loader.add(*id, record))
            },
        )?;
        Ok(packs)
    }

    /// Brings the packs that the catalog knows in step with the store, for a writer. Packs that are gone are forgotten: a
    /// catalog that is ahead of the store (another client pruned it, or it was put back to an earlier state, or lost files) would take
    /// their chunks for stored, and snapshots to come would lack them. One that no index object lists was pruned; one that
    /// is listed is lost, and that is told.
    ///
    /// The answer is the number up to which the catalog's packs were seen in the store just now.
    pub(super) fn match_packs(&self, monitor: &dyn Monitor) -> Result<i64> {
        // Asked before the store is: what the catalog knew then was durable, so it is listed now.
        let mut gone = HashSet::new();
        let mut newest = 0;
        self.catalog().packs(|row| {
            newest = row.no;
            gone.insert(row.id);
            Ok(())
        })?;
        self.adopt(monitor, &mut gone)?;
        if gone.is_empty() {
            return Ok(newest);
        }
        // A prune may have removed them since the index objects were looked at.
        self.refresh_indexes(monitor)?;
        let mut lost = 0;
        for id in &gone {
            lost += u64::from(!self.catalog().listings(id)?.is_empty());
        }
        let gone: Vec<PackId> = gone.into_iter().collect();
        self.catalog().remove_packs(&gone)?;
        if lost > 0 {
            monitor.warn(&format!(
                "{lost} packs that were stored are not in {} any more: an ingest stores anew what it needs of them; \
                 see 'repo check' for what else is hurt",
                self.backend().location()
            ));
        }
        Ok(newest)
    }

    /// Reads the directories of all packs that the catalog does not know. Damaged ones are named and left alone.
    pub(super) fn adopt_packs(&self, monitor: &dyn Monitor) -> Result<Vec<PackId>> {
        self.adopt(monitor, &mut HashSet::new())
    }

    /// Every pack that is listed is taken out of `unseen`.
    fn adopt(&self, monitor: &dyn Monitor, unseen: &mut HashSet<PackId>) -> Result<Vec<PackId>> {
        let mut adopted = Vec::new();
        for (area, kind) in [
            (Area::Data, ObjectKind::DataPack),
            (Area::Meta, ObjectKind::MetaPack),
        ] {
            let mut unknown: Vec<PackId> = Vec::new();
            self.backend().list(area, &mut |name, _| {
                if let Ok(id) = name.parse::<PackId>()
                    && !unseen.remove(&id)
                    && !self.catalog().has_pack(&id)?
                {
                    unknown.push(id);
                }
                Ok(())
            })?;
            unknown.sort_unstable();
            for id in unknown {
                match self.own_record(kind, &id) {
                    Ok(record) => {
                        self.catalog().add_packs(std::slice::from_ref(&record))?;
                        adopted.push(id);
                    }
                    Err(e) if e.class() == Class::NotFound => {}
                    Err(e) => monitor.warn(&format!("a pack cannot be read and is left out: {e}")),
                }
            }
        }
        Ok(adopted)
    }
}

/// What a refresh took in.
#[derive(Debug, Default)]
pub(super) struct Taken {
    indexes: usize,
    packs: usize,
    unreadable: usize,
}
