//! Snapshots back into files: planned, so that each block is read and decoded once, and checked before a byte is written.
//!
//! ```text
//! select -> plan (one window ahead) -> work (a job per block, all workers) -> links, read-back, directories' metadata
//! ```
//! Nothing wrong ever gets a name: a chunk is checked before it is written, a file whose content cannot be had is left out
//! (and what stood there stays), a new target appears by one rename when everything is in it. Memory is bounded by two
//! windows and the block cache, whatever the snapshot holds.

mod decide;
mod file;
mod first_names;
#[cfg(test)]
pub(crate) mod fixture;
mod plan;
mod replay;
mod report;
mod select;
mod source;
mod stream;
mod survey;
mod target;
mod verify;
mod window;
mod work;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use self::plan::{Order, Planner};
pub use self::replay::Streaming;
use self::report::Report;
pub use self::report::{Action, Loss, RestoreSummary, Step};
use self::select::Root;
pub use self::select::{Filter, Selection};
pub use self::source::SnapshotSource;
pub use self::stream::Stretch;
use self::survey::Survey;
use self::target::Target;
use self::work::Crew;
use crate::error::Result;
use crate::export::place;
use crate::progress::{Count, Monitor};
use crate::repository::block_cache::Blocks;

/// What happens to entries that are in the target already. Directories are never replaced: what is in them and not in
/// the snapshot stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They are replaced, each by a rename.
    #[default]
    Always,
    /// Files of the same size and modification time only get their metadata; with `verify` files of the same size are
    /// read, and only get their metadata if their content is the same.
    IfChanged,
    /// They stay as they are.
    Never,
}

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// What happens to entries that are in the target already.
    pub overwrite: Overwrite,
    /// Read every file back from the medium and compare it.
    pub verify: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Patterns of what to restore; empty for everything. See [`Filter`].
    pub include: Vec<String>,
    /// Patterns of what to leave out.
    pub exclude: Vec<String>,
    /// Owners and devices.
    pub place: place::Options,
    /// Threads that decode and write.
    pub threads: NonZeroUsize,
    /// Where what does not fit in memory may go (sealed); `None` keeps it in memory.
    pub scratch: Option<PathBuf>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            overwrite: Overwrite::default(),
            verify: false,
            dry_run: false,
            include: Vec::new(),
            exclude: Vec::new(),
            place: place::Options::default(),
            threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            scratch: None,
        }
    }
}

/// Restores what was selected beneath `target`, telling `each` step as it is planned.
///
/// A whole snapshot becomes the target; a selected entry appears in it under its own name (see [`Selection`]). A target
/// that does not exist appears only when everything is in it; one that exists keeps its own metadata, and each file in it
/// is replaced as a whole. Entries that the repository cannot give are lost: reported, counted, and never half there.
pub fn restore(
    blocks: &dyn Blocks,
    selections: &[Selection],
    target: &Path,
    options: &RestoreOptions,
    monitor: &Arc<dyn Monitor>,
    each: &mut dyn FnMut(&Step<'_>),
) -> Result<RestoreSummary> {
    let filter = Filter::new(&options.include, &options.exclude)?;
    let roots = select::roots(blocks, selections)?;
    let survey = Survey {
        blocks,
        roots: &roots,
        filter: &filter,
        target,
        options,
        monitor,
    };
    if options.dry_run {
        return survey.run(each);
    }
    survey.ensure_room()?;
    if filter.is_empty() {
        let total = |of: fn(&Root) -> u64| roots.iter().map(of).fold(0, u64::saturating_add);
        monitor.expect(Count::Entries, total(|r| r.node.entries()));
        monitor.expect(Count::Bytes, total(|r| r.node.bytes()));
    }
    let target = Target::open(target, options.place, monitor)?;
    let report = Report::new(monitor.as_ref());
    let crew = Crew {
        blocks,
        place: &target.place,
        roots: &roots,
        report: &report,
        open: AtomicUsize::new(0),
    };
    let mut summary = RestoreSummary::default();
    let outcome = fill(&crew, &filter, options, &target, each, &mut summary);
    report.settle(&mut summary);
    let outcome = outcome.and_then(|()| target.open_up(&roots));
    let at = target.path().display().to_string();
    outcome.map_err(|e| {
        e.within(format!(
            "the restore is incomplete, what there is of it is in {at}"
        ))
    })?;
    summary.place = target.publish()?;
    Ok(summary)
}

/// Runs the planner on this thread and the workers beside it.
fn fill(
    crew: &Crew<'_>,
    filter: &Filter,
    options: &RestoreOptions,
    target: &Target,
    each: &mut dyn FnMut(&Step<'_>),
    summary: &mut RestoreSummary,
) -> Result<()> {
    let (orders, todo) = crossbeam_channel::unbounded::<Order>();
    thread::scope(|scope| {
        for _ in 0..options.threads.get() {
            let todo = todo.clone();
            scope.spawn(move || {
                for (job, done) in todo {
                    crew.carry_out(job);
                    drop(done);
                }
            });
        }
        drop(todo);
        let planner = Planner::new(crew, options, target.is_new(), orders, each, summary);
        planner.run(filter).inspect_err(|_| crew.report.halt())
    })
}
