//! Replacing index objects by others that list less, or what was lost.

use std::collections::{BTreeSet, HashSet};

use super::Repository;
use super::audit::is_verdict;
use super::object::{crypto, key_of};
use super::session::remove_ended;
use super::writer::{Indexer, OBJECT_BYTES};
use crate::backend::Area;
use crate::crypto::seal::WriterKeys;
use crate::error::{Class, Result};
use crate::format::header::ObjectKind;
use crate::id::{ObjectId, PackId};
use crate::progress::Monitor;

impl Repository {
    /// Brings the catalog in step with index objects and packs.
    pub(crate) fn catch_up(&self, monitor: &dyn Monitor) -> Result<()> {
        self.refresh_indexes(monitor)?;
        self.match_packs(monitor).map(drop)
    }

    /// Lists in new index objects the packs that no index object lists, but for those in `bad` and those that `is_out` says; how many.
    /// Packs whose directory cannot be read are passed over. Only the executor of plans may: nobody else can say that they stay.
    pub(crate) fn list_unlisted(
        &self,
        bad: &BTreeSet<ObjectId>,
        is_out: &dyn Fn(&PackId) -> bool,
    ) -> Result<u64> {
        let mut listed = HashSet::new();
        let mut said_wrong = HashSet::new();
        let mut indexes: Vec<ObjectId> = Vec::new();
        self.backend().list(Area::Index, &mut |name, _| {
            indexes.extend(name.parse::<ObjectId>().ok());
            Ok(())
        })?;
        for id in indexes {
            let set = if bad.contains(&id) {
                &mut said_wrong
            } else {
                &mut listed
            };
            let read = self.index_records(&id, &mut |record| {
                set.insert(record.id);
                Ok(())
            });
            match read {
                Err(e) if e.class() != Class::NotFound && !is_verdict(&e) => return Err(e),
                _ => {}
            }
        }
        let mut records = Vec::new();
        let kinds = [
            (Area::Data, ObjectKind::DataPack),
            (Area::Meta, ObjectKind::MetaPack),
        ];
        for (area, kind) in kinds {
            let mut unlisted: Vec<PackId> = Vec::new();
            self.backend().list(area, &mut |name, _| {
                let id = name.parse::<PackId>().ok();
                unlisted.extend(id.filter(|id| !listed.contains(id) && !is_out(id)));
                Ok(())
            })?;
            records.extend(unlisted.into_iter().map(|id| (id, kind)));
        }
        records.sort_unstable_by_key(|(id, _)| *id);
        let wrong: Vec<PackId> = records
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| said_wrong.contains(id))
            .collect();
        if !wrong.is_empty() {
            // The catalog believed what was said of them.
            self.catalog().remove_packs(&wrong)?;
        }
        let keys = WriterKeys::new(self.id(), self.suite(), self.keyring())
            .map_err(crypto("begin an object"))?;
        let mut indexer = Indexer::new(&keys)?;
        let mut count = 0;
        for (id, kind) in records {
            match self.own_record(kind, &id) {
                Ok(record) => {
                    self.catalog().add_packs(std::slice::from_ref(&record))?;
                    indexer.add(self, &record)?;
                    count += 1;
                }
                Err(e) if e.class() == Class::NotFound || is_verdict(&e) => {}
                Err(e) => return Err(e),
            }
        }
        indexer.write(self)?;
        Ok(count)
    }

    /// Writes what `old` lists, but for doomed packs, into new index objects, each time before the old ones that said it go. At no
    /// instant a pack that stays is listed nowhere. Small ones become one; no more space is needed at once than for one of the largest.
    /// Only the executor of plans may.
    pub(crate) fn replace_index_objects(
        &self,
        old: &BTreeSet<ObjectId>,
        is_doomed: &dyn Fn(&PackId) -> bool,
    ) -> Result<()> {
        let keys = WriterKeys::new(self.id(), self.suite(), self.keyring())
            .map_err(crypto("begin an object"))?;
        let mut indexer = Indexer::new(&keys)?;
        let mut done = HashSet::new();
        let mut read = Vec::new();
        let mut gathered = 0;
        for id in old {
            let key = key_of(ObjectKind::Index, id);
            let bytes = match self.backend().size(&key) {
                Err(e) if e.class() == Class::NotFound => continue,
                bytes => bytes?,
            };
            if gathered > 0 && gathered + bytes > OBJECT_BYTES as u64 {
                self.exchange(&mut indexer, &mut read)?;
                gathered = 0;
            }
            gathered += bytes;
            let listed = self.index_records(id, &mut |record| {
                // One that another index object lists as well (an executor that was killed wrote that) needs no second entry.
                if is_doomed(&record.id) || !done.insert(record.id) {
                    return Ok(());
                }
                let listings = self.catalog().listings(&record.id)?;
                if listings.iter().any(|index| !old.contains(index)) {
                    return Ok(());
                }
                indexer.add(self, &record)
            });
            match listed {
                Ok(()) => read.push(*id),
                Err(e) if e.class() == Class::NotFound => {}
                // Nobody can read it, so it lists nothing.
                Err(e) if e.class() == Class::Corrupt => {}
                Err(e) => return Err(e),
            }
        }
        self.exchange(&mut indexer, &mut read)
    }

    /// Writes what was gathered; then removes the objects that it was read from.
    fn exchange(&self, indexer: &mut Indexer, read: &mut Vec<ObjectId>) -> Result<()> {
        indexer.write(self)?;
        for id in &*read {
            remove_ended(self.backend().as_ref(), &key_of(ObjectKind::Index, id))?;
        }
        self.catalog().remove_index_objects(read)?;
        read.clear();
        Ok(())
    }
}
