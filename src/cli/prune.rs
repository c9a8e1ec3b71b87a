//! `repo prune`: frees what no snapshot needs.

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Hint};
use super::measure;
use super::output::{Output, Table};
use super::text;
use crate::error::Class;
use crate::id::SnapshotId;
use crate::maintain::prune::{
    MaxUnused, Packs, PruneOptions, PruneReport, SetAside, Settled, foresee, prune,
};
use crate::repository::Repository;

/// Free the space of what no snapshot needs any more
///
/// Packs that nothing needs are removed; packs that are mostly garbage are repacked first. Others may write and read meanwhile, and
/// nobody has to wait: what an ingest that began earlier might still use is removed once that has ended, by the next prune
/// or ingest. Interrupted at any time, nothing is lost and nothing needs cleaning up.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo prune
  repo prune --dry-run
  repo prune --max-unused 0                repack until there is no garbage at all
  repo prune --max-repack-size 10G         a bounded piece of work for tonight")]
pub(super) struct Args {
    #[command(flatten)]
    how: How,
    /// Say what would be freed; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// How much is done.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct How {
    /// How much garbage may stay in packs that also hold something needed: a percentage of what is stored, or a size
    #[arg(long, value_name = "P%|SIZE", default_value = "5%", value_parser = max_unused)]
    max_unused: MaxUnused,
    /// The most that is repacked in one run
    #[arg(long, value_name = "SIZE", value_parser = measure::size)]
    max_repack_size: Option<u64>,
}

fn max_unused(text: &str) -> Result<MaxUnused, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return measure::size(text).map(MaxUnused::Bytes);
    };
    let bad = || format!("'{text}' is no percentage");
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let tenth: u64 = tenth.parse().map_err(|_| bad())?;
    if whole > 100 || tenth > 9 {
        return Err(bad());
    }
    Ok(MaxUnused::Thousandths(whole * 10 + tenth))
}

/// Packs as JSON.
#[derive(Serialize)]
struct PacksView {
    packs: u64,
    bytes: u64,
}

impl PacksView {
    fn new(packs: Packs) -> Self {
        Self {
            packs: packs.count,
            bytes: packs.bytes,
        }
    }
}

#[derive(Serialize)]
struct WaitingView {
    plan: String,
    packs: u64,
    bytes: u64,
    sessions: u64,
}

/// What a prune did, as JSON.
#[derive(Serialize)]
pub(super) struct View {
    dry_run: bool,
    snapshots: u64,
    readers: u64,
    stored: PacksView,
    unneeded: PacksView,
    repacked: PacksView,
    copied_bytes: u64,
    written_bytes: u64,
    unused_bytes: u64,
    gained_bytes: u64,
    in_progress: PacksView,
    removed: PacksView,
    released: u64,
    waiting: Vec<WaitingView>,
    quarantined: Vec<MovedView>,
}

/// An object that was moved to the quarantine, as JSON.
#[derive(Serialize)]
pub(super) struct MovedView {
    pub(super) from: String,
    pub(super) to: String,
}

impl MovedView {
    pub(super) fn new(moved: &SetAside) -> Self {
        Self {
            from: moved.from.to_string(),
            to: moved.to.to_string(),
        }
    }
}

impl View {
    pub(super) fn new(report: &PruneReport, dry_run: bool) -> Self {
        let waiting = report.settled.waiting.iter().map(|waiting| WaitingView {
            plan: waiting.plan.to_hex(),
            packs: waiting.packs.count,
            bytes: waiting.packs.bytes,
            sessions: waiting.sessions,
        });
        Self {
            dry_run,
            snapshots: report.snapshots,
            readers: report.readers,
            stored: PacksView::new(report.stored),
            unneeded: PacksView::new(report.unneeded),
            repacked: PacksView::new(report.repacked),
            copied_bytes: report.copied_bytes,
            written_bytes: report.written_bytes,
            unused_bytes: report.unused_bytes,
            gained_bytes: report.gained_bytes,
            in_progress: PacksView::new(report.in_progress),
            removed: PacksView::new(report.settled.removed),
            released: report.settled.released,
            waiting: waiting.collect(),
            quarantined: report
                .settled
                .set_aside
                .iter()
                .map(MovedView::new)
                .collect(),
        }
    }
}

/// Prunes and tells.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    let report = work(&repository, args.how, args.dry_run, context)?;
    let mut out = Output::new();
    if context.json() {
        out.json(&View::new(&report, args.dry_run))?;
    } else if !context.globals().quiet {
        show(&report, args.dry_run, &mut out)?;
    }
    out.finish()
}

/// Prunes.
pub(super) fn work(
    repository: &std::sync::Arc<Repository>,
    how: How,
    dry_run: bool,
    context: &Context,
) -> Done<PruneReport> {
    let drawing = context.monitor().draw("pruning");
    let report = prune(
        repository,
        &how.options(dry_run),
        &context.library_monitor(),
    );
    drop(drawing);
    report
        .hint_for(Class::Interrupted, || {
            "what was done is kept; the next prune goes on".to_owned()
        })
        .hint_for(Class::Full, || {
            "every pack holds something that is still needed, and to repack one takes room: forget more snapshots, or make \
             room for some packs"
                .to_owned()
        })
}

/// What a prune would do without these snapshots.
pub(super) fn without(
    repository: &std::sync::Arc<Repository>,
    (how, absent): (How, &[SnapshotId]),
    context: &Context,
) -> Done<PruneReport> {
    let drawing = context.monitor().draw("looking");
    let report = foresee(
        repository,
        &how.options(true),
        absent,
        &context.library_monitor(),
    );
    drop(drawing);
    Ok(report?)
}

impl How {
    fn options(self, dry_run: bool) -> PruneOptions {
        PruneOptions {
            max_unused: self.max_unused,
            max_repack_bytes: self.max_repack_size,
            dry_run,
            ..PruneOptions::default()
        }
    }
}

/// Tells a person.
pub(super) fn show(report: &PruneReport, dry_run: bool, out: &mut Output) -> Done {
    let mut table = Table::facts();
    let packs = |packs: Packs| {
        let count = text::counted(packs.count, "pack", "packs");
        format!("{count}, {}", text::bytes(packs.bytes))
    };
    let some = |p: Packs| {
        if p.count == 0 {
            String::new()
        } else {
            packs(p)
        }
    };
    table.fact("before", packs(report.stored));
    table.fact("not needed", some(report.unneeded));
    let verb = if dry_run { "to repack" } else { "repacked" };
    table.fact(verb, some(report.repacked));
    if report.copied_bytes > 0 {
        table.fact("stored again", text::bytes(report.copied_bytes));
    }
    if report.unused_bytes > 0 {
        table.fact("garbage that stays", text::bytes(report.unused_bytes));
    }
    table.fact("in progress", some(report.in_progress));
    if report.readers > 0 {
        let readers = text::counted(report.readers, "reader", "readers");
        table.fact("kept for", format!("{readers} besides the snapshots"));
    }
    if dry_run {
        let about = if report.repacked.count > 0 {
            "about "
        } else {
            ""
        };
        let gained = text::bytes(report.gained_bytes);
        table.fact("would free", format!("{about}{gained}"));
    } else {
        table.fact("freed", packs(report.settled.removed));
    }
    if report.settled.released > 0 {
        let released = text::counted(report.settled.released, "pack is", "packs are");
        table.fact("kept after all", format!("{released} needed again"));
    }
    for moved in &report.settled.set_aside {
        table.fact("moved", format!("{} to {}", moved.from, moved.to));
    }
    out.table(&table)?;
    waiting(&report.settled, out)
}

fn waiting(settled: &Settled, out: &mut Output) -> Done {
    for waiting in &settled.waiting {
        let bytes = text::bytes(waiting.packs.bytes);
        let packs = text::counted(waiting.packs.count, "pack", "packs");
        let why = if waiting.sessions == 0 {
            "are for another prune, which is at it".to_owned()
        } else {
            let one = "ingest or prune that began earlier is still running";
            let many = "ingests or prunes that began earlier are still running";
            let sessions = text::counted(waiting.sessions, one, many);
            format!("wait: {sessions}; the next prune or ingest after that frees them")
        };
        out.line(format!("{packs}, {bytes} {why}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_bounded_by_a_share_or_a_size() {
        assert_eq!(max_unused("5%"), Ok(MaxUnused::Thousandths(50)));
        assert_eq!(max_unused("0.5%"), Ok(MaxUnused::Thousandths(5)));
        assert_eq!(max_unused("100%"), Ok(MaxUnused::Thousandths(1000)));
        assert_eq!(max_unused("0"), Ok(MaxUnused::Bytes(0)));
        assert_eq!(max_unused("2G"), Ok(MaxUnused::Bytes(2 << 30)));
        for bad in ["101%", "%", "x%", "1.25%", "-1%"] {
            assert!(max_unused(bad).is_err(), "{bad}");
        }
    }
}
