//! Finding out that a snapshot has no extended attributes at all, as most have none.
//!
//! `ls -l` asks for two attributes of every file, which are nine in ten of all its requests; a kernel that is told once that there
//! are none never asks again. A tree does not say whether there are any below it, so a mount of one snapshot goes through
//! its trees in the background, beginning when it is mounted: a twentieth of a second for sixty thousand files, and the
//! trees are in memory then. Large snapshots are not gone through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::ReadAhead;
use super::snapshot_view::SnapshotView;
use crate::format::tree::Body;
use crate::repository::trees::Cursor;

/// Snapshots with more entries are taken to have attributes.
const MAX_ENTRIES: u64 = 500_000;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct XattrScan(Arc<AtomicBool>);

impl XattrScan {
    /// True once it is certain that no entry has an extended attribute.
    pub(super) fn found_none(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins to go through a snapshot.
    pub(super) fn begin(&self, view: &SnapshotView, read_ahead: &ReadAhead) {
        let root = view.root();
        if root.node.entries() > MAX_ENTRIES || !root.node.meta.xattrs.is_empty() {
            return;
        }
        let found_none = Arc::clone(&self.0);
        read_ahead.submit(move |ahead| {
            let mut trees: Vec<_> = root.tree().copied().into_iter().collect();
            while let Some(tree) = trees.pop() {
                for found in Cursor::new(ahead.blocks(), &tree)? {
                    let found = found?;
                    if !found.meta.xattrs.is_empty() {
                        return Ok(());
                    }
                    if let Body::Directory(below) = &found.body {
                        trees.push(*below);
                    }
                }
            }
            found_none.store(true, Ordering::Relaxed);
            Ok(())
        });
    }
}
