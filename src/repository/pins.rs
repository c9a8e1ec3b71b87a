//! Pins: snapshots that no rule drops, and nobody forgets without saying so.
//!
//! A pin is an object named by its snapshot; the name alone makes it. It is written once and removed, never changed.

use std::collections::HashSet;

use super::Repository;
use super::session::remove_ended;
use crate::backend::{Area, Key};
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::pin::Pin;
use crate::id::SnapshotId;

fn key(id: &SnapshotId) -> Result<Key> {
    Key::named(Area::Pins, &id.to_hex())
}

impl Repository {
    /// All pinned snapshots, those that are gone among them.
    pub fn pins(&self) -> Result<HashSet<SnapshotId>> {
        let mut pins = HashSet::new();
        self.backend().list(Area::Pins, &mut |name, _| {
            pins.extend(name.parse::<SnapshotId>().ok());
            Ok(())
        })?;
        Ok(pins)
    }

    /// Pins a snapshot; false if it was pinned already.
    pub fn pin(&self, id: &SnapshotId) -> Result<bool> {
        self.require_full("pin snapshots")?;
        let bytes = self.seal_record(ObjectKind::Pin, &Pin::new(*id).encode())?;
        let new = match self.backend().write_new(&key(id)?, &bytes) {
            Ok(()) => true,
            Err(e) if e.class() == Class::Exists => false,
            Err(e) => return Err(e),
        };
        if self.backend().exists(&Key::object(Area::Snapshots, id))? {
            return Ok(new);
        }
        self.unpin(id)?;
        Err(Error::new(
            Class::NotFound,
            format!("snapshot {} was forgotten just now", id.short()),
        ))
    }

    /// Takes a pin off; false if there was none.
    pub fn unpin(&self, id: &SnapshotId) -> Result<bool> {
        self.require_full("unpin snapshots")?;
        match self.backend().remove(&key(id)?) {
            Ok(()) => Ok(true),
            Err(e) if e.class() == Class::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes a snapshot for good: what only it needs goes with the next prune. A pinned one is refused unless `unpin`.
    pub fn forget(&self, id: &SnapshotId, unpin: bool) -> Result<()> {
        self.require_full("forget snapshots")?;
        if unpin {
            self.unpin(id)?;
        } else if self.backend().exists(&key(id)?)? {
            return Err(Error::new(
                Class::Refused,
                format!("snapshot {} is pinned", id.short()),
            ));
        }
        remove_ended(self.backend().as_ref(), &Key::object(Area::Snapshots, id))?;
        self.catalog().remove_snapshot(id)
    }
}
