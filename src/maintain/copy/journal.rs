//! What this client has copied, in the destination's catalog: with a key that cannot read snapshots it is all that is known.
//!
//! A row counts only as long as the snapshot that it names is there.

use super::Origin;
use crate::backend::{Area, Key};
use crate::error::{Class, Result};
use crate::id::SnapshotId;
use crate::progress::Monitor;
use crate::repository::Repository;

/// The copy of `origin` that was made through this catalog, if it is still there.
pub(super) fn find(destination: &Repository, origin: &Origin) -> Result<Option<SnapshotId>> {
    let key = row_key(destination, origin);
    let Some(sealed) = destination.catalog().known(&key, 0)? else {
        return Ok(None);
    };
    let plain = destination.catalog_key().open(&key, &sealed).ok();
    let Some(id) = plain.and_then(|plain| SnapshotId::from_slice(&plain)) else {
        return Ok(None);
    };
    let object = Key::object(Area::Snapshots, &id);
    Ok(destination.backend().exists(&object)?.then_some(id))
}

/// Notes a copy. Without the note it is only copied again.
pub(super) fn keep(
    destination: &Repository,
    origin: &Origin,
    id: &SnapshotId,
    monitor: &dyn Monitor,
) {
    let key = row_key(destination, origin);
    let sealed = destination.catalog_key().seal(&key, id.as_bytes());
    let kept = sealed
        .map_err(|e| crate::error::Error::caused(Class::Io, "seal a catalog row", e))
        .and_then(|row| destination.catalog().put_known(&[(&key, 0, &row)]));
    if let Err(e) = kept {
        monitor.note(&format!("the catalog does not know of a copy: {e}"));
    }
}

fn row_key(destination: &Repository, origin: &Origin) -> [u8; 16] {
    let mut name = b"copy\0".to_vec();
    name.extend_from_slice(origin.repository.as_bytes());
    name.extend_from_slice(origin.snapshot.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&destination.catalog_key().name(&name)[..16]);
    key
}
