//! Trees: every one of them once, on all cores. It must decode, and the chunks that it names must have a home.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::Scope;

use super::{CheckReport, Damage, streams};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::tree::{Body, Shard, TreeRef};
use crate::id::{ChunkId, PackId};
use crate::progress::{Count, Monitor};
use crate::repository::content::Content;
use crate::repository::{Blocks, Repository, SnapshotInfo, trees};

/// Chunks looked up together.
const PROBES: usize = 4096;

struct Check<'a> {
    repository: &'a Repository,
    damage: &'a Damage,
    monitor: &'a dyn Monitor,
    /// Trees seen, by 16 bytes of their (keyed) ids.
    seen: Mutex<HashSet<[u8; 16]>>,
    problems: Mutex<Vec<(String, Error)>>,
    references: AtomicU64,
    /// Something that is needed is missing or damaged.
    broken: AtomicBool,
    /// Packs that are needed and unlisted.
    unlisted: Mutex<HashSet<PackId>>,
    fatal: Mutex<Option<Error>>,
}

/// Checks all trees and streams of all snapshots; true if something that they need is missing or damaged. Also the packs that they
/// need and that no index object lists.
pub(super) fn check(
    repository: &Repository,
    snapshots: &[SnapshotInfo],
    damage: &Damage,
    monitor: &dyn Monitor,
    report: &mut CheckReport,
) -> Result<(bool, HashSet<PackId>)> {
    let check = Check {
        repository,
        damage,
        monitor,
        seen: Mutex::default(),
        problems: Mutex::default(),
        references: AtomicU64::new(0),
        broken: AtomicBool::new(false),
        unlisted: Mutex::default(),
        fatal: Mutex::default(),
    };
    monitor.expect(Count::Objects, snapshots.len() as u64);
    rayon::scope(|scope| {
        for info in snapshots {
            if let Body::Directory(tree) = info.snapshot.root.body {
                check.enter(scope, tree);
            }
            for (_, items) in streams(info) {
                check.content(&format!("snapshot {}", info.id), items);
            }
        }
    });
    let into = |mutex: Mutex<_>| mutex.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(fatal) = check
        .fatal
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        return Err(fatal);
    }
    report.trees = into(check.seen).len() as u64;
    report.references = check.references.into_inner();
    let problems = check.problems.into_inner();
    for (object, error) in problems.unwrap_or_else(PoisonError::into_inner) {
        report.problem(&object, &error, false);
    }
    let unlisted = check.unlisted.into_inner();
    let unlisted = unlisted.unwrap_or_else(PoisonError::into_inner);
    Ok((check.broken.into_inner(), unlisted))
}

impl<'a> Check<'a> {
    /// Looks at a tree, unless that was done.
    fn enter<'scope>(&'scope self, scope: &Scope<'scope>, tree: TreeRef)
    where
        'a: 'scope,
    {
        let mut short = [0; 16];
        short.copy_from_slice(&tree.id.as_bytes()[..16]);
        if tree.names == 0 || !lock(&self.seen).insert(short) {
            return;
        }
        scope.spawn(move |scope| self.tree(scope, &tree));
    }

    fn tree<'scope>(&'scope self, scope: &Scope<'scope>, tree: &TreeRef)
    where
        'a: 'scope,
    {
        if self.monitor.interrupted() {
            let interrupted = Error::new(Class::Interrupted, "the check was interrupted");
            lock(&self.fatal).get_or_insert(interrupted);
        }
        if lock(&self.fatal).is_some() {
            return;
        }
        let name = || format!("tree {}", tree.id);
        // A damaged home is known already; the tree may still come from a cache, which must not hide it.
        self.probe(&name(), &[(tree.id, None)]);
        let shard = match trees::shard(self.repository, tree) {
            Ok(shard) => shard,
            Err(error) => return self.problem(name(), error),
        };
        match &**shard {
            Shard::Index(shards) => {
                for (_, below) in shards {
                    self.enter(scope, *below);
                }
            }
            Shard::Leaf(nodes) => {
                let mut probes = Vec::new();
                for node in nodes {
                    match &node.body {
                        Body::Directory(below) => self.enter(scope, *below),
                        Body::File { content, .. } => self.collect(&name, content, &mut probes),
                        _ => {}
                    }
                }
                self.probe(&name(), &probes);
            }
        }
    }

    fn content(&self, name: &str, items: &[Item]) {
        let mut probes = Vec::new();
        self.collect(&|| name.to_owned(), items, &mut probes);
        self.probe(name, &probes);
    }

    /// Adds the chunks of a content to those to be looked up, and looks many up.
    fn collect(
        &self,
        name: &dyn Fn() -> String,
        items: &[Item],
        probes: &mut Vec<(ChunkId, Option<u32>)>,
    ) {
        for item in items {
            if let Item::List { id, .. } = item {
                probes.push((*id, None));
            }
        }
        let content = Content::new(items);
        for extent in content.extents(self.repository, 0) {
            match extent {
                Ok(extent) => {
                    if let Item::Data { id, len } = extent.item {
                        probes.push((id, Some(len)));
                    }
                }
                Err(error) => return self.problem(name(), error),
            }
            if probes.len() >= PROBES {
                self.probe(&name(), probes);
                probes.clear();
            }
        }
    }

    /// Looks chunks up; one without a home is a problem, one in a damaged block is known to be one.
    fn probe(&self, name: &str, probes: &[(ChunkId, Option<u32>)]) {
        let ids: Vec<ChunkId> = probes.iter().map(|(id, _)| *id).collect();
        let found = match self.repository.locate_many(&ids) {
            Ok(found) => found,
            Err(error) => {
                lock(&self.fatal).get_or_insert(error);
                return;
            }
        };
        self.references
            .fetch_add(ids.len() as u64, Ordering::Relaxed);
        for ((id, len), found) in probes.iter().zip(found) {
            if let Ok(found) = &found
                && self.damage.unlisted.contains(&found.block.pack)
            {
                lock(&self.unlisted).insert(found.block.pack);
            }
            match found {
                Err(error) => {
                    let what = format!("it needs a chunk that cannot be found: {error}");
                    self.problem(name.to_owned(), Error::new(error.class(), what));
                }
                Ok(found) if len.is_some_and(|len| len != found.len) => {
                    let what = format!("chunk {id} has another length than it says");
                    self.problem(name.to_owned(), Error::corrupt(what));
                }
                Ok(found) if self.damage.at(&found).is_some() => {
                    match self.damage.everywhere(self.repository, id) {
                        Ok(None) => {}
                        Ok(Some(_)) => self.broken.store(true, Ordering::Relaxed),
                        Err(error) => {
                            lock(&self.fatal).get_or_insert(error);
                        }
                    }
                }
                Ok(_) => {}
            }
        }
    }

    fn problem(&self, object: String, error: Error) {
        if error.class() == Class::Io {
            lock(&self.fatal).get_or_insert(error);
            return;
        }
        self.broken.store(true, Ordering::Relaxed);
        let mut problems = lock(&self.problems);
        if problems.len() < super::MAX_KEPT {
            problems.push((object, error));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
