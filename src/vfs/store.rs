//! What a file system is made of: blocks, and the list of snapshots. The repository is one; tests have one in memory.

use crate::entry::{Meta, Time};
use crate::error::Result;
use crate::format::snapshot::Snapshot;
use crate::format::tree::Node;
use crate::id::SnapshotId;
use crate::progress::Silent;
use crate::repository::block_cache::Blocks;
use crate::repository::{Needs, Repository, SnapshotInfo};

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

/// Keeps what was announced, as long as it lives.
pub type Announced = Box<dyn std::any::Any + Send + Sync>;

/// Blocks, and the list of snapshots.
pub trait Store: Blocks {
    /// Announces that these snapshots are read: what they reach is kept, also when they are forgotten.
    fn announce(&self, snapshots: &[Listed]) -> Result<Announced>;
    /// All snapshots known now, sorted by time.
    fn snapshots(&self) -> Result<Vec<Listed>>;
    /// Whether there were others, when that was looked at last, of which only the id is known: any of them may be the newest, of any name.
    fn lacks_some(&self) -> bool;
    /// Takes in what others added since.
    fn refresh(&self) -> Result<()>;
}

impl Store for Repository {
    fn announce(&self, snapshots: &[Listed]) -> Result<Announced> {
        let mut needs = Needs::default();
        for listed in snapshots {
            needs.add_tree(listed.id, &listed.root);
        }
        Ok(Box::new(Self::announce(self, needs, &Silent)?))
    }

    fn snapshots(&self) -> Result<Vec<Listed>> {
        let all = Self::snapshots(self)?;
        Ok(all.into_iter().map(Listed::from).collect())
    }

    fn lacks_some(&self) -> bool {
        self.unreadable_snapshots() > 0
    }

    fn refresh(&self) -> Result<()> {
        // Damage that a refresh meets hurts nobody yet; whoever reads the bytes hears of it.
        Self::refresh(self, &Silent)
    }
}

/// The root of a snapshot as a mount shows it. An input without a directory of its own (a stream, a disk) left one that says
/// nothing: it is as old as the snapshot, and belongs to whoever mounts it, so that others get past it if they are let in.
pub fn shown_root(snapshot: Snapshot) -> Node {
    let mut root = snapshot.root;
    let mode = std::mem::take(&mut root.meta.mode);
    if root.meta == Meta::default() {
        root.meta = Meta {
            mode: 0o755,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: snapshot.time,
            ..Meta::default()
        };
    } else {
        root.meta.mode = mode;
    }
    root
}

impl From<SnapshotInfo> for Listed {
    fn from(info: SnapshotInfo) -> Self {
        let SnapshotInfo { id, snapshot } = info;
        Self {
            id,
            name: snapshot.name.clone(),
            time: snapshot.time,
            tags: snapshot.tags.clone(),
            root: shown_root(snapshot),
        }
    }
}
