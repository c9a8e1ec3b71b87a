//! What a file system is made of: blocks, and the list of snapshots. The repository is one; tests have one in memory.

use crate::entry::Time;
use crate::error::Result;
use crate::format::tree::Node;
use crate::id::SnapshotId;
use crate::progress::Silent;
use crate::repository::block_cache::Blocks;
use crate::repository::{Repository, SnapshotInfo};

/// What a mount of all snapshots needs to know about one.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: SnapshotId,
    /// Its name.
    pub name: String,
    /// When it was begun.
    pub time: Time,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// Its root directory.
    pub root: Node,
}

/// Blocks, and the list of snapshots.
pub trait Store: Blocks {
    /// All snapshots known now, sorted by time.
    fn snapshots(&self) -> Result<Vec<Listed>>;
    /// Takes in what others added since.
    fn refresh(&self) -> Result<()>;
}

impl Store for Repository {
    fn snapshots(&self) -> Result<Vec<Listed>> {
        let all = Self::snapshots(self)?;
        Ok(all.into_iter().map(Listed::from).collect())
    }

    fn refresh(&self) -> Result<()> {
        // Damage that a refresh meets hurts nobody yet; whoever reads the bytes hears of it.
        Self::refresh(self, &Silent)
    }
}

impl From<SnapshotInfo> for Listed {
    fn from(info: SnapshotInfo) -> Self {
        let SnapshotInfo { id, snapshot } = info;
        Self {
            id,
            name: snapshot.name,
            time: snapshot.time,
            tags: snapshot.tags,
            root: snapshot.root,
        }
    }
}
