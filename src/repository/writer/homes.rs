//! What a run may take for stored: chunks with a home that will still be there when its snapshot is.
//!
//! The catalog is shared with other processes and may be ahead of the store or behind it, so a home counts only if its pack
//! was seen in the store after the run's session had begun and plans were looked for: from then on nobody removes it before the run
//! is over, or a plan that the run knows condemns it, and then it does not count.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::super::object::key_of;
use super::super::plans::Condemned;
use super::super::{Repository, lock};
use crate::error::Result;
use crate::id::{PackId, ShortChunkId};
use crate::progress::Monitor;

/// See the module.
pub(crate) struct Homes {
    repository: Arc<Repository>,
    condemned: Condemned,
    /// Packs up to this number were seen in the store.
    seen: i64,
    /// Those of them that are condemned.
    seen_condemned: HashSet<i64>,
    /// Packs of later numbers, each looked at when it is met.
    judged: Mutex<HashMap<i64, bool>>,
    /// Packs that this run wrote.
    own: Mutex<HashSet<PackId>>,
}

impl Homes {
    /// Looks around: plans first, then index objects and packs. The run's session has begun.
    pub(crate) fn look(repository: &Arc<Repository>, monitor: &dyn Monitor) -> Result<Self> {
        let mut condemned = Condemned::default();
        repository.take_in_plans(&mut condemned)?;
        Self::after_plans(repository, condemned, monitor)
    }

    /// The same where plans were looked for just before.
    pub(crate) fn after_plans(
        repository: &Arc<Repository>,
        condemned: Condemned,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        repository.refresh_indexes(monitor)?;
        let seen = repository.match_packs(monitor)?;
        Self::new(repository, condemned, seen, HashSet::new())
    }

    fn new(
        repository: &Arc<Repository>,
        condemned: Condemned,
        seen: i64,
        own: HashSet<PackId>,
    ) -> Result<Self> {
        let mut seen_condemned = HashSet::new();
        if !condemned.packs.is_empty() {
            repository.catalog().packs(|row| {
                if condemned.packs.contains(&row.id) {
                    seen_condemned.insert(row.no);
                }
                Ok(())
            })?;
        }
        Ok(Self {
            repository: Arc::clone(repository),
            condemned,
            seen,
            seen_condemned,
            judged: Mutex::default(),
            own: Mutex::new(own),
        })
    }

    /// The same view, with more plans or packs condemned.
    pub(crate) fn with_condemned(&self, condemned: Condemned) -> Result<Self> {
        let own = lock(&self.own).clone();
        Self::new(&self.repository, condemned, self.seen, own)
    }

    /// What this run takes for absent.
    pub(crate) fn condemned(&self) -> &Condemned {
        &self.condemned
    }

    /// True if nothing is condemned: what was stored once is stored.
    pub(crate) fn is_clear(&self) -> bool {
        self.condemned.packs.is_empty()
    }

    pub(crate) fn is_condemned(&self, id: &PackId) -> bool {
        self.condemned.packs.contains(id)
    }

    /// Notes a pack that this run wrote.
    pub(super) fn add_own(&self, id: PackId) {
        lock(&self.own).insert(id);
    }

    /// True if this run wrote the pack.
    pub(super) fn is_own(&self, id: &PackId) -> bool {
        lock(&self.own).contains(id)
    }

    /// True if a chunk is stored to stay.
    pub(crate) fn has(&self, id: &ShortChunkId) -> Result<bool> {
        for no in self.repository.catalog().pack_numbers(id)? {
            if self.counts(no)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if what is in the pack of this number stays.
    pub(crate) fn counts(&self, no: i64) -> Result<bool> {
        if no <= self.seen {
            return Ok(!self.seen_condemned.contains(&no));
        }
        if let Some(judged) = lock(&self.judged).get(&no) {
            return Ok(*judged);
        }
        let Some(row) = self.repository.catalog().pack_row(no)? else {
            return Ok(false);
        };
        let counts = !self.is_condemned(&row.id)
            && (self.is_own(&row.id)
                || self
                    .repository
                    .backend()
                    .exists(&key_of(row.kind, &row.id))?);
        lock(&self.judged).insert(no, counts);
        Ok(counts)
    }
}
