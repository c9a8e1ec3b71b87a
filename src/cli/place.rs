//! `REF:PATH` looked up in a repository.

use std::ffi::OsStr;

use super::exit::{Done, Failure};
use super::reference;
use super::text;
use crate::entry::EntryPath;
use crate::error::{Class, Error};
use crate::format::tree::Node;
use crate::repository::trees::find_path;
use crate::repository::{Repository, SnapshotInfo};

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
