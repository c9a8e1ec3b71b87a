//! The snapshots of a mount of all of them: which there are now, and which slot of inode numbers each has.
//!
//! The list is looked at again, at most once a second, whenever somebody reads the virtual directories; a snapshot
//! that was there once keeps its slot and its tree until the mount ends, so that whoever stands in it is not disturbed; and it
//! stays announced, so that nobody removes what it needs. When the list changes, all are announced anew before the old
//! announcement ends, and only those are shown that were still there then.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::numbers::{next_slot, slot_of};
use super::snapshot_view::SnapshotView;
use super::store::{Announced, Listed, Store};
use super::virtual_tree::{Door, Target, VirtualTree};
use crate::error::Result;
use crate::id::SnapshotId;

/// How old the list of snapshots may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// All snapshots.
pub(super) struct Snapshots {
    state: Mutex<State>,
    /// Held while the list is looked at, so that one thread looks and the others go on with what they have.
    refreshing: Mutex<Option<Instant>>,
    announced: Mutex<Announcement>,
}

/// What others are told that is read here.
#[derive(Default)]
struct Announcement {
    /// All snapshots that were ever shown.
    snapshots: Vec<Listed>,
    lives: Option<Announced>,
}

#[derive(Default)]
struct State {
    tree: VirtualTree,
    listed: Vec<SnapshotId>,
    lacks_some: bool,
    slots: HashMap<u64, (SnapshotId, Door, SnapshotView)>,
    slot_of: HashMap<(SnapshotId, Door), u64>,
    entries: u64,
    bytes: u64,
}

impl Snapshots {
    pub(super) fn new(store: &dyn Store) -> Result<Self> {
        let snapshots = Self {
            state: Mutex::default(),
            refreshing: Mutex::new(Some(Instant::now())),
            announced: Mutex::default(),
        };
        let listed = snapshots.announce(store, store.snapshots()?)?;
        snapshots.take_in(&listed, store.lacks_some());
        Ok(snapshots)
    }

    /// True if the list may be too old to be shown.
    pub(super) fn is_stale(&self) -> bool {
        match self.refreshing.try_lock() {
            Ok(last) => last.is_none_or(|at| at.elapsed() > MAX_AGE),
            // Somebody is looking right now.
            Err(_) => false,
        }
    }

    /// Looks again if the list is too old. Failing to look (the store is away) leaves what is known.
    pub(super) fn refresh(&self, store: &dyn Store) {
        let Ok(mut last) = self.refreshing.try_lock() else {
            return;
        };
        if last.is_some_and(|at| at.elapsed() <= MAX_AGE) {
            return;
        }
        let listed = store.refresh().and_then(|()| store.snapshots());
        if let Ok(listed) = listed.and_then(|listed| self.announce(store, listed)) {
            self.take_in(&listed, store.lacks_some());
        }
        *last = Some(Instant::now());
    }

    /// Announces what is listed, if something in it is new; what is still there after that.
    fn announce(&self, store: &dyn Store, mut listed: Vec<Listed>) -> Result<Vec<Listed>> {
        let mut announced = self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known: HashSet<SnapshotId> = announced.snapshots.iter().map(|l| l.id).collect();
        let before = announced.snapshots.len();
        let new = listed.iter().filter(|l| !known.contains(&l.id)).cloned();
        let mut all = announced.snapshots.clone();
        all.extend(new);
        if all.len() == before && announced.lives.is_some() {
            return Ok(listed);
        }
        // The old announcement is dropped only when the new one is made.
        announced.lives = Some(store.announce(&all)?);
        announced.snapshots = all;
        store.refresh()?;
        let there: HashSet<SnapshotId> = store.snapshots()?.iter().map(|l| l.id).collect();
        listed.retain(|listed| there.contains(&listed.id));
        Ok(listed)
    }

    fn take_in(&self, snapshots: &[Listed], lacks_some: bool) {
        let ids: Vec<SnapshotId> = snapshots.iter().map(|listed| listed.id).collect();
        let mut state = self.state();
        if state.listed == ids && state.lacks_some == lacks_some && !ids.is_empty() {
            return;
        }
        state.entries = snapshots
            .iter()
            .map(|s| s.root.entries())
            .fold(0, u64::saturating_add);
        state.bytes = snapshots
            .iter()
            .map(|s| s.root.bytes())
            .fold(0, u64::saturating_add);
        for listed in snapshots {
            // A snapshot that cannot be shown stays listed; entering it is an error.
            if let Ok(view) = SnapshotView::new(listed.root.clone()) {
                for door in [Door::Id, Door::Name] {
                    state.give_slot(listed.id, door, &view);
                }
            }
        }
        state.tree.rebuild(snapshots, lacks_some);
        state.listed = ids;
        state.lacks_some = lacks_some;
    }

    /// The entry called `name` in a virtual directory.
    pub(super) fn lookup(&self, inode: u64, name: &[u8]) -> Option<Target> {
        self.state().tree.lookup(inode, name)
    }

    /// Calls `look` with the virtual tree.
    pub(super) fn with_tree<T>(&self, look: impl FnOnce(&VirtualTree) -> T) -> T {
        look(&self.state().tree)
    }

    /// The slot and tree of a snapshot's root.
    pub(super) fn root(&self, id: SnapshotId, door: Door) -> Option<(u64, SnapshotView)> {
        let state = self.state();
        let slot = *state.slot_of.get(&(id, door))?;
        let (_, _, view) = state.slots.get(&slot)?;
        Some((slot, view.clone()))
    }

    /// The tree in a slot.
    pub(super) fn view(&self, slot: u64) -> Option<SnapshotView> {
        self.state()
            .slots
            .get(&slot)
            .map(|(_, _, view)| view.clone())
    }

    /// The virtual directory that holds the root in this slot.
    pub(super) fn parent_of(&self, slot: u64) -> Option<u64> {
        let state = self.state();
        let (id, door, _) = state.slots.get(&slot)?;
        state.tree.holder_of(&Target::Snapshot(*id, *door))
    }

    /// Entries and logical bytes of all snapshots together.
    pub(super) fn totals(&self) -> (u64, u64) {
        let state = self.state();
        (state.entries, state.bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_slot(&mut self, id: SnapshotId, door: Door, view: &SnapshotView) {
        if self.slot_of.contains_key(&(id, door)) {
            return;
        }
        let mut slot = slot_of(id.as_bytes(), door.salt());
        // There are four million slots, and far fewer snapshots in any repository; a full table shows no more of them.
        for _ in 0..1 << 20 {
            if let Entry::Vacant(free) = self.slots.entry(slot) {
                free.insert((id, door, view.clone()));
                self.slot_of.insert((id, door), slot);
                return;
            }
            slot = next_slot(slot);
        }
    }
}
