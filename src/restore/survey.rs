//! A restore that only looks: the dry run, and the question whether there is room for it.

use std::path::Path;
use std::sync::Arc;

use super::RestoreOptions;
use super::decide::decide;
use super::first_names::FirstNames;
use super::plan::kind_name;
use super::report::{Action, Report, RestoreSummary, Step};
use super::select::{Filter, Picks, Root};
use super::target::{free_space, is_absent};
use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::export::place::Place;
use crate::format::tree::Body;
use crate::progress::Monitor;
use crate::repository::block_cache::Blocks;

/// What a survey goes over.
pub(super) struct Survey<'a> {
    pub(super) blocks: &'a dyn Blocks,
    pub(super) roots: &'a [Root],
    pub(super) filter: &'a Filter,
    pub(super) target: &'a Path,
    pub(super) options: &'a RestoreOptions,
    pub(super) monitor: &'a Arc<dyn Monitor>,
}

impl Survey<'_> {
    /// Goes over everything and tells `each` what would be done.
    pub(super) fn run(&self, each: &mut dyn FnMut(&Step<'_>)) -> Result<RestoreSummary> {
        let place = if is_absent(self.target)? {
            None
        } else {
            let monitor = Arc::clone(self.monitor);
            Some(Place::open(self.target, self.options.place, monitor)?)
        };
        let mut summary = RestoreSummary {
            place: self.target.to_owned(),
            ..RestoreSummary::default()
        };
        let report = Report::new(self.monitor.as_ref());
        let first_names = FirstNames::new(self.options.scratch.clone());
        for root in self.roots {
            let mut blocked: Option<EntryPath> = None;
            for pick in Picks::new(self.blocks, root, self.filter) {
                report.check()?;
                let (path, node) = match pick {
                    Ok(entry) => entry,
                    Err((path, error)) => {
                        report.lose(root.id, root.source_path(&path), error);
                        continue;
                    }
                };
                if path.is_root() || blocked.as_ref().is_some_and(|b| path.is_within(b)) {
                    continue;
                }
                let action = decide(place.as_ref(), &path, &node, self.options);
                let action = action.or_else(|error| match self.warn_or_fail(error) {
                    Ok(()) => Ok(Action::LeaveOut),
                    Err(fatal) => Err(fatal),
                })?;
                let mut kind = kind_name(&node.body);
                if action != Action::Keep
                    && first_names.see(self.roots, root, &path, &node)?.1.is_some()
                {
                    kind = "hard-link";
                }
                if action == Action::LeaveOut && matches!(node.body, Body::Directory(_)) {
                    blocked = Some(path.clone());
                }
                summary.step(action, &path, kind, &node, each);
            }
        }
        report.settle(&mut summary);
        Ok(summary)
    }

    /// As placing would: a failing medium ends everything, all else is about one entry.
    fn warn_or_fail(&self, error: Error) -> Result<()> {
        if matches!(error.class(), Class::Full | Class::Io | Class::Interrupted) {
            return Err(error);
        }
        self.monitor.warn(&format!("left out: {error}"));
        Ok(())
    }

    /// Refuses, before anything is written, what cannot fit. The sums in the trees answer most often; where they say no, holes and
    /// what stays as it is are taken off by a closer look.
    pub(super) fn ensure_room(&self) -> Result<()> {
        let (bytes, names) = free_space(self.target)?;
        let sum = |of: fn(&Root) -> u64| self.roots.iter().map(of).fold(0, u64::saturating_add);
        if sum(|r| r.node.bytes()) <= bytes && sum(|r| r.node.entries()) <= names {
            return Ok(());
        }
        let quiet: Arc<dyn Monitor> = Arc::new(crate::progress::Silent);
        let survey = Survey {
            monitor: &quiet,
            ..*self
        };
        let needed = survey.run(&mut |_| {})?;
        let entries = needed.files + needed.directories + needed.others;
        if needed.data_bytes <= bytes && entries <= names {
            return Ok(());
        }
        Err(Error::new(
            Class::Full,
            format!(
                "{} has room for {bytes} bytes and {names} names, but {} bytes and {entries} names are to be \
                 restored: nothing was written",
                self.target.display(),
                needed.data_bytes
            ),
        ))
    }
}
