//! Directories that wait for their metadata until everything is in them.
//!
//! A walk leaves a directory for good, so it is finished as soon as something outside of it comes: memory is bounded by the
//! depth. An archive may come back at any time, so all of its directories wait to the end, deepest last entered first out.

use super::Place;
use crate::entry::{EntryPath, Meta, Order};
use crate::error::Result;

/// The directories made so far whose metadata is still to come.
pub struct Directories {
    order: Order,
    waiting: Vec<(EntryPath, Meta)>,
}

impl Directories {
    /// For entries that come in this order.
    pub fn new(order: Order) -> Self {
        Self {
            order,
            waiting: Vec::new(),
        }
    }

    /// The directory `path` was made; it gets `meta` in the end.
    pub fn entered(&mut self, path: &EntryPath, meta: &Meta) {
        self.waiting.push((path.clone(), meta.clone()));
    }

    /// The entry at `path` is about to be placed: in a walk, everything that it is not within is complete.
    pub fn reached(&mut self, place: &Place, path: &EntryPath) -> Result<()> {
        if self.order == Order::Walk {
            while let Some((done, meta)) = self.waiting.pop_if(|(dir, _)| !path.is_within(dir)) {
                finish(place, &done, &meta)?;
            }
        }
        Ok(())
    }

    /// Everything was placed.
    pub fn finish(mut self, place: &Place) -> Result<()> {
        // The last metadata of a path counts, and children come before their parents, whose mode may shut them in.
        self.waiting.reverse();
        self.waiting.sort_by(|a, b| b.0.cmp(&a.0));
        self.waiting.dedup_by(|next, kept| next.0 == kept.0);
        for (path, meta) in &self.waiting {
            finish(place, path, meta)?;
        }
        Ok(())
    }
}

/// A directory that something else replaced since keeps its metadata to itself, with a warning.
fn finish(place: &Place, path: &EntryPath, meta: &Meta) -> Result<()> {
    match place.finish_dir(path, meta) {
        Ok(()) => Ok(()),
        Err(error) => place.warn_or_fail(error),
    }
}
