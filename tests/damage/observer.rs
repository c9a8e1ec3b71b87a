//! Everything that reads, held against what must be there.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use repo::backend::Backend;
use repo::catalog::CatalogPlace;
use repo::entry::EntryPath;
use repo::error::{Class, Error};
use repo::format::tree::Body;
use repo::id::SnapshotId;
use repo::maintain::check::{ReadData, check};
use repo::progress::{Monitor, Silent};
use repo::repository::trees::Walk;
use repo::repository::{Repository, SnapshotInfo};
use repo::restore::{RestoreOptions, Selection, Streaming, restore};
use repo::vfs::{Vfs, Wait};

use super::fixture;
use super::sample::{Sample, archive, tree};

pub(crate) fn fair(error: &Error, case: &str) {
    let class = error.class();
    assert!(
        matches!(class, Class::Corrupt | Class::NotFound),
        "{case}: {class:?} {error}"
    );
}

/// Everything that reads, on one state of a store; each time as a new process would.
pub(crate) struct Observer<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) place: CatalogPlace,
    pub(crate) case: String,
    /// Nothing can tell that the object was ever there.
    pub(crate) forgotten: Option<SnapshotId>,
}

/// What cannot be read: "snapshot path".
pub(crate) type Lost = BTreeSet<String>;

impl Observer<'_> {
    fn open(&self) -> Arc<Repository> {
        fixture::open(&self.backend, &self.sample.key, &self.place)
            .unwrap_or_else(|e| panic!("{}: {e}", self.case))
    }

    fn fair(&self, error: &Error) {
        fair(error, &self.case);
    }

    /// The snapshots that there are; each is the one that its id says.
    fn snapshots(&self, repository: &Repository) -> Vec<SnapshotInfo> {
        let all = repository.snapshots().unwrap();
        for info in &all {
            let name = self.sample.snapshots.iter().find(|(id, _)| *id == info.id);
            assert_eq!(name.unwrap().1, info.snapshot.name, "{}", self.case);
        }
        for (id, name) in &self.sample.snapshots {
            let there = all.iter().any(|info| info.id == *id);
            assert!(
                there || self.forgotten == Some(*id),
                "{}: {name} is gone",
                self.case
            );
        }
        all
    }

    /// Reads one way or another; what fails is named.
    fn each_file(
        &self,
        mut read: impl FnMut(&Arc<Repository>, &SnapshotInfo, &EntryPath, u64) -> Result<Vec<u8>, Error>,
    ) -> Lost {
        let mut lost = Lost::new();
        let repository = self.open();
        for info in self.snapshots(&repository) {
            let name = info.snapshot.name.clone();
            let expected = tree(&name);
            let mut seen = 1;
            for step in Walk::new(&*repository, &info.snapshot.root, EntryPath::root()) {
                let (path, node) = match step {
                    Ok(step) => step,
                    Err((path, error)) => {
                        self.fair(&error);
                        lost.insert(format!("{name} {path}"));
                        continue;
                    }
                };
                seen += 1;
                let want = expected.iter().find(|e| e.entry.path == path);
                let want = want.unwrap_or_else(|| panic!("{}: {path}", self.case));
                let Body::File { size, .. } = node.body else {
                    continue;
                };
                match read(&repository, &info, &path, size) {
                    Ok(bytes) => assert!(bytes == want.bytes(), "{}: {name} {path}", self.case),
                    Err(error) => {
                        self.fair(&error);
                        lost.insert(format!("{name} {path}"));
                    }
                }
            }
            let whole = seen == expected.len();
            assert!(
                whole || lost.iter().any(|l| l.starts_with(&name)),
                "{}",
                self.case
            );
        }
        lost
    }

    pub(crate) fn streamed(&self) -> Lost {
        self.each_file(|repository, info, path, _| {
            let root = &info.snapshot.root;
            let node = repo::repository::trees::find_path(&**repository, root, path)?.unwrap();
            let mut bytes = Vec::new();
            streaming(repository).content(&node, &mut bytes)?;
            Ok(bytes)
        })
    }

    pub(crate) fn mounted(&self) -> Lost {
        self.each_file(|repository, info, path, size| {
            let vfs = Vfs::one(repository.clone(), info.snapshot.root.clone(), None)?;
            let mut inode = 1;
            for name in path.as_bytes().split(|b| *b == b'/') {
                inode = vfs.lookup(inode, name, Wait::Yes)?.unwrap().inode;
            }
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < size {
                let next = vfs.read(inode, bytes.len() as u64, 65_536, Wait::Yes)?;
                bytes.extend_from_slice(&next);
            }
            Ok(bytes)
        })
    }

    pub(crate) fn restored(&self) -> Lost {
        let mut lost = Lost::new();
        let repository = self.open();
        let monitor: Arc<dyn Monitor> = Arc::new(Silent);
        for info in self.snapshots(&repository) {
            let name = info.snapshot.name.clone();
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            let all = Selection {
                id: info.id,
                snapshot: info.snapshot,
                path: EntryPath::root(),
                contents: false,
            };
            let options = RestoreOptions::default();
            match restore(
                &*repository,
                &[all],
                &target,
                &options,
                &monitor,
                &mut |_| {},
            ) {
                Ok(summary) => {
                    for loss in &summary.losses {
                        self.fair(&loss.error);
                        lost.insert(format!("{name} {}", loss.path));
                    }
                    self.compare(&target, &name, &lost);
                }
                Err(error) => {
                    self.fair(&error);
                    lost.insert(format!("{name} "));
                }
            }
        }
        lost
    }

    fn compare(&self, target: &Path, name: &str, lost: &Lost) {
        if lost.contains(&format!("{name} ")) {
            return;
        }
        for item in tree(name).iter().filter(|e| e.entry.is_file()) {
            let path = &item.entry.path;
            let found = std::fs::read(target.join(path.to_string())).ok();
            let expected = (!lost.contains(&format!("{name} {path}"))).then(|| item.bytes());
            assert!(found == expected, "{}: restored {name} {path}", self.case);
        }
    }

    /// The archive comes back as it was, or not at all.
    pub(crate) fn replayed(&self, needed: bool) {
        let repository = self.open();
        let all = self.snapshots(&repository);
        let info = all.iter().find(|info| info.snapshot.name == "tar").unwrap();
        let mut bytes = Vec::new();
        match streaming(&repository).archive(&info.snapshot, &mut bytes) {
            Ok(_) => assert!(bytes == archive(), "{}", self.case),
            Err(error) => {
                self.fair(&error);
                assert!(needed, "{}: {error}", self.case);
            }
        }
    }

    /// What `check` says is hurt, and which objects it names.
    pub(crate) fn checked(&self) -> (Lost, Vec<String>) {
        let mut lost = Lost::new();
        let report = check(&self.open(), ReadData::All, &Silent, &mut |harm| {
            lost.insert(format!("{} {}", harm.name, harm.path));
        });
        let report = report.unwrap_or_else(|e| panic!("{}: check {e}", self.case));
        let objects = report.problems.into_iter().map(|p| p.object).collect();
        (lost, objects)
    }
}

pub(crate) fn streaming(repository: &Arc<Repository>) -> Streaming<'_> {
    Streaming {
        blocks: &**repository,
        threads: NonZeroUsize::MIN,
        monitor: &Silent,
    }
}
