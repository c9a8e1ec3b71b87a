//! `REF:PATH` looked up in a repository.

use std::ffi::OsStr;

use super::context::Context;
use super::exit::{Done, Failure};
use super::reference;
use super::text;
use crate::entry::EntryPath;
use crate::error::{Class, Error};
use crate::format::snapshot::Snapshot;
use crate::format::tree::Node;
use crate::id::SnapshotId;
use crate::repository::trees::find_path;
use crate::repository::{Repository, Session, SnapshotInfo};

/// An entry of a snapshot.
pub(super) struct Found {
    /// The snapshot.
    pub(super) info: SnapshotInfo,
    /// Where in it.
    pub(super) path: EntryPath,
    /// What is there.
    pub(super) node: Node,
}

/// Finds the snapshot that `typed` begins with, and the path in it, which need not exist.
pub(super) fn parse(
    repository: &Repository,
    typed: &OsStr,
) -> Done<reference::Place<SnapshotInfo>> {
    repository.require_full("read snapshots")?;
    reference::parse(typed, |text| repository.resolve(text))
}

/// Announces that these snapshots are read until the answer is dropped, so that no prune takes what they reach, even if they are
/// forgotten meanwhile.
pub(super) fn announce<'a>(
    repository: &Repository,
    context: &Context,
    snapshots: impl IntoIterator<Item = (SnapshotId, &'a Snapshot)>,
) -> Done<Option<Session>> {
    let snapshots: Vec<SnapshotInfo> = snapshots
        .into_iter()
        .map(|(id, snapshot)| SnapshotInfo {
            id,
            snapshot: snapshot.clone(),
        })
        .collect();
    if snapshots.is_empty() {
        return Ok(None);
    }
    Ok(repository.begin_reading(&snapshots, context.monitor().as_ref())?)
}

/// Finds the entry that `typed` means; without a path, the root.
pub(super) fn find(repository: &Repository, typed: &OsStr) -> Done<Found> {
    let place = parse(repository, typed)?;
    let path = place.path.unwrap_or_default();
    let node = find_path(repository, &place.snapshot.snapshot.root, &path)
        .map_err(|e| e.within(format!("snapshot {}", place.snapshot.id.short())))?
        .ok_or_else(|| {
            let (path, id) = (text::name(path.as_bytes()), place.snapshot.id.short());
            let error = Error::new(
                Class::NotFound,
                format!("there is no '{path}' in snapshot {id}"),
            );
            Failure::from(error).hint(format!("'repo ls {id}' shows what is in it"))
        })?;
    Ok(Found {
        info: place.snapshot,
        path,
        node,
    })
}
