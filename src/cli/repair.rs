//! `repo repair`: makes whole what can be made whole, and says what is lost.

use std::time::Instant;

use serde::Serialize;

use super::check::{HarmView, show_harm};
use super::context::Context;
use super::exit::{Done, Failure, INTEGRITY, OK, WARNINGS};
use super::output::Output;
use super::prune::MovedView;
use super::text;
use crate::maintain::repair::{DamagedPack, Fault, RepairOptions, RepairReport, repair};

/// Mend what can be mended, and tell which files of which snapshots are lost
///
/// Everything is read. What damaged packs still hold is stored again; index objects that are damaged or lost are made anew from
/// the packs. Damaged objects are moved to the repository's folder 'quarantine', where nothing reads them: nothing is deleted. What is
/// lost is named, file by file, and does not count as stored any more: a following ingest of the same data stores it again, and
/// the old snapshots are whole.
///
/// A snapshot that cannot be read stays where it is, since it is not known what it needs; until it is gone, names do not mean
/// anything (ids do) and nothing is pruned. With --quarantine-snapshots it is moved away as well: then the next prune frees
/// what nothing else needs. If it was the only one to need it, that is lost for good.
///
/// Others may read and write meanwhile. Interrupted at any time, nothing is worse than before: run it again.
///
/// Exit code 0 if nothing is wrong or all was mended, 3 if something is lost, 7 if damaged packs could not be moved away yet.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo repair --dry-run                    what is wrong, what would be done, what is lost
  repo repair
  repo repair --quick                      without reading the content of files
  repo repair && repo ingest ~/documents   bring back what is lost and still there
  repo repair --quarantine-snapshots       give up snapshots that cannot be read")]
pub(super) struct Args {
    /// Do not read the content of files, but of packs with which something is wrong already; finds no bit rot in others
    #[arg(long)]
    quick: bool,
    /// Say what would be done; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Move snapshots that cannot be read to the quarantine as well
    #[arg(long)]
    quarantine_snapshots: bool,
}

#[derive(Serialize)]
struct FaultView {
    object: String,
    problem: String,
}

#[derive(Serialize)]
struct DamagedView<'a> {
    object: String,
    problems: &'a [String],
    readable_chunks: u64,
    stored_again: u64,
    unreadable_chunks: u64,
}

impl<'a> DamagedView<'a> {
    fn new(pack: &'a DamagedPack) -> Self {
        Self {
            object: pack.object.to_string(),
            problems: &pack.reasons,
            readable_chunks: pack.readable,
            stored_again: pack.stored_again,
            unreadable_chunks: pack.unreadable,
        }
    }
}

#[derive(Serialize)]
struct WaitingView {
    plan: String,
    packs: u64,
    sessions: u64,
}

#[derive(Serialize)]
struct View<'a> {
    dry_run: bool,
    mended: bool,
    packs: u64,
    packs_read: u64,
    raw_bytes_read: u64,
    damaged_packs: Vec<DamagedView<'a>>,
    missing_packs: Vec<String>,
    listed_packs: u64,
    index_objects: Vec<FaultView>,
    snapshots: Vec<FaultView>,
    put_back: Vec<MovedView>,
    left: Vec<FaultView>,
    quarantined: Vec<MovedView>,
    written_bytes: u64,
    waiting: Vec<WaitingView>,
    in_place: u64,
    lost_paths: u64,
    lost_snapshots: Vec<String>,
    lost: Vec<HarmView>,
}

/// Repairs and tells.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let began = Instant::now();
    let repository = context.open()?;
    let options = RepairOptions {
        quick: args.quick,
        dry_run: args.dry_run,
        quarantine_snapshots: args.quarantine_snapshots,
        ..RepairOptions::default()
    };
    let mut out = Output::new();
    let mut failed = None;
    let drawing = context.monitor().draw("repairing");
    let report = repair(
        &repository,
        &options,
        &context.library_monitor(),
        &mut |harm| {
            if !context.json() && failed.is_none() {
                failed = show_harm(&mut out, "lost", harm).err();
            }
        },
    );
    drop(drawing);
    if let Some(failure) = failed {
        return Err(failure);
    }
    let report = report?;
    if context.json() {
        out.json(&view(&report, args.dry_run))?;
    } else {
        let place = repository.backend().location();
        show(&report, args, &place, &mut out)?;
        out.line(format!(
            "read {} of {} in {}",
            text::count(report.packs_read),
            text::counted(report.packs, "pack", "packs"),
            text::duration(began.elapsed())
        ))?;
        conclude(&report, args, &mut out)?;
    }
    out.finish()?;
    // Warnings of the opening were about what is mended now, or were said again.
    Err(Failure::Code(if !report.is_mended() {
        INTEGRITY
    } else if is_waiting(&report) {
        WARNINGS
    } else {
        OK
    }))
}

/// Damaged packs are still where they were.
fn is_waiting(report: &RepairReport) -> bool {
    !report.waiting.is_empty() || report.in_place > 0
}

fn faults(all: &[Fault]) -> Vec<FaultView> {
    let view = |fault: &Fault| FaultView {
        object: fault.object.to_string(),
        problem: fault.what.clone(),
    };
    all.iter().map(view).collect()
}

fn view(report: &RepairReport, dry_run: bool) -> View<'_> {
    let moved = |from: &crate::backend::Key, to: &crate::backend::Key| MovedView {
        from: from.to_string(),
        to: to.to_string(),
    };
    let waiting = report.waiting.iter().map(|waiting| WaitingView {
        plan: waiting.plan.to_hex(),
        packs: waiting.packs.count,
        sessions: waiting.sessions,
    });
    View {
        dry_run,
        mended: report.is_mended(),
        packs: report.packs,
        packs_read: report.packs_read,
        raw_bytes_read: report.raw_bytes_read,
        damaged_packs: report.damaged.iter().map(DamagedView::new).collect(),
        missing_packs: report.missing.iter().map(ToString::to_string).collect(),
        listed_packs: report.listed,
        index_objects: faults(&report.indexes),
        snapshots: faults(&report.snapshots),
        put_back: report.put_back.iter().map(|(a, b)| moved(a, b)).collect(),
        left: faults(&report.left),
        quarantined: report.set_aside.iter().map(MovedView::new).collect(),
        written_bytes: report.written_bytes,
        waiting: waiting.collect(),
        in_place: report.in_place,
        lost_paths: report.check.harmed,
        lost_snapshots: report
            .check
            .harmed_snapshots
            .iter()
            .map(crate::id::ObjectId::to_hex)
            .collect(),
        lost: report.check.harms.iter().map(HarmView::new).collect(),
    }
}

fn show(report: &RepairReport, args: &Args, place: &str, out: &mut Output) -> Done {
    for pack in &report.damaged {
        let why = pack.reasons.first().map_or("", String::as_str);
        out.line(format!(
            "damaged: {}: {} can be read{}, {} cannot: {}",
            pack.object,
            text::counted(pack.readable, "chunk", "chunks"),
            match pack.stored_again {
                0 => String::new(),
                n => format!(" ({} stored again)", text::count(n)),
            },
            text::count(pack.unreadable),
            text::line(why)
        ))?;
    }
    for object in &report.missing {
        out.line(format!("missing: {object}"))?;
    }
    for fault in report.indexes.iter().chain(&report.snapshots) {
        let (object, what) = (&fault.object, text::line(&fault.what));
        out.line(format!("damaged: {object}: {what}"))?;
    }
    for fault in &report.left {
        let (object, what) = (&fault.object, text::line(&fault.what));
        out.line(format!("left as it is: {object}: {what}"))?;
    }
    for (from, to) in &report.put_back {
        let verb = if args.dry_run { "would go" } else { "was put" };
        out.line(format!("misplaced: {from} {verb} back to {to}"))?;
    }
    if report.listed > 0 {
        let packs = text::counted(report.listed, "pack", "packs");
        let done = if args.dry_run { "would be" } else { "were" };
        out.line(format!(
            "{packs} that no index object listed {done} listed again"
        ))?;
    }
    for moved in &report.set_aside {
        out.line(format!("moved: {} to {}", moved.from, moved.to))?;
    }
    if !report.set_aside.is_empty() {
        out.line(format!(
            "what was moved is in {}/quarantine, where nothing reads it; remove it when you do not need it any more",
            text::line(place)
        ))?;
    }
    Ok(())
}

fn conclude(report: &RepairReport, args: &Args, out: &mut Output) -> Done {
    let waiting = &report.waiting;
    if is_waiting(report) {
        let sessions: u64 = waiting.iter().map(|waiting| waiting.sessions).sum();
        out.line(if sessions > 0 {
            format!(
                "damaged packs stay in their place until {} at work before this repair is done; the next ingest, prune or repair \
                 moves them away",
                text::counted(sessions, "ingest or prune", "ingests and prunes")
            )
        } else {
            "somebody else was at it, and damaged packs are still in their place: run the repair again".to_owned()
        })?;
    }
    if !report.snapshots.is_empty() && !args.quarantine_snapshots {
        out.line(format!(
            "{} cannot be read: while that is so, only ids mean a snapshot and nothing is pruned; \
             'repo repair --quarantine-snapshots' moves them away, 'repo forget ID' removes one",
            text::counted(report.snapshots.len() as u64, "snapshot", "snapshots")
        ))?;
    }
    if !report.left.is_empty() {
        out.line(format!(
            "{} could not be read from the medium, or by this version and key; copy the repository to a sound disk, then repair \
             the copy",
            text::counted(report.left.len() as u64, "object", "objects")
        ))?;
    }
    out.line(if report.is_untouched() {
        "nothing is wrong".to_owned()
    } else if report.is_mended() {
        let done = if args.dry_run {
            "all can be mended"
        } else {
            "all was mended"
        };
        format!("{done}: nothing is lost")
    } else if report.check.harmed == 0 {
        "what is named above is lost; all else can be read".to_owned()
    } else {
        format!(
            "{} in {} lost; all else can be read, and an ingest of the same data brings back what was in files",
            text::counted(report.check.harmed, "path", "paths"),
            text::counted(
                report.check.harmed_snapshots.len() as u64,
                "snapshot is",
                "snapshots are"
            )
        )
    })
}
