//! `repo check`: is everything there, and is it what it must be.

use std::time::Instant;

use serde::Serialize;

use super::context::Context;
use super::entry_view::exact;
use super::exit::{Done, Failure, INTEGRITY, WARNINGS};
use super::output::Output;
use super::text;
use crate::maintain::check::{CheckReport, Harm, NoKeyReport, Problem, ReadData};
use crate::maintain::check::{check, check_no_key};

/// Check that everything is there and whole, and tell which snapshots and paths damage hurts
///
/// Without options the structure is checked: every object is there with its size, every tree of every snapshot can be read, and
/// every piece of content that a file needs has a place. --read-data also reads all content and compares every piece with
/// its name; --read-data-subset reads a part, another one each day, so that a percentage a day gets through everything.
///
/// --no-key needs no passphrase: it compares the name of every object with its bytes. That finds bit rot and exchanged objects, but
/// not missing ones, and does not know what is hurt.
///
/// Whatever is damaged, the rest can still be read. Exit code 3 if anything is lost, 7 if only index objects are, which hold
/// nothing that is not also elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo check
  repo check --read-data
  repo check --read-data-subset 5%         from cron: everything within three weeks
  repo check --read-data-subset 3/10       the third of ten parts
  repo check --no-key                      on the server, which has no key")]
pub(super) struct Args {
    /// Read all content and compare it with its names
    #[arg(long, conflicts_with_all = ["read_data_subset", "no_key"])]
    read_data: bool,
    /// Read a part of the content: a percentage, or N/M for the Nth of M parts
    #[arg(long, value_name = "PART", conflicts_with = "no_key")]
    read_data_subset: Option<String>,
    /// Compare the names of all objects with their bytes; needs no passphrase
    #[arg(long)]
    no_key: bool,
}

#[derive(Serialize)]
struct ProblemView<'a> {
    object: &'a str,
    problem: &'a str,
    harmless: bool,
}

/// Something of a snapshot that cannot be read, as JSON.
#[derive(Serialize)]
pub(super) struct HarmView {
    snapshot: String,
    name: String,
    part: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    reason: String,
}

impl HarmView {
    pub(super) fn new(harm: &Harm) -> Self {
        let (path, path_hex) = exact(harm.path.as_bytes());
        Self {
            snapshot: harm.snapshot.to_hex(),
            name: harm.name.clone(),
            part: harm.part.name(),
            path,
            path_hex,
            reason: harm.reason.clone(),
        }
    }
}

#[derive(Serialize)]
struct View<'a> {
    sound: bool,
    snapshots: u64,
    trees: u64,
    references: u64,
    packs: u64,
    index_objects: u64,
    packs_read: u64,
    raw_bytes_read: u64,
    damage: u64,
    harmless: u64,
    damaged_indexes: u64,
    unlisted_packs: u64,
    problems: Vec<ProblemView<'a>>,
    harmed_paths: u64,
    harmed_snapshots: Vec<String>,
    harms: Vec<HarmView>,
}

#[derive(Serialize)]
struct NoKeyView<'a> {
    sound: bool,
    objects: u64,
    bytes: u64,
    damage: u64,
    problems: Vec<ProblemView<'a>>,
}

/// Checks and tells.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let began = Instant::now();
    if args.no_key {
        let (backend, _) = context.find()?;
        let drawing = context.monitor().draw("checking");
        let report = check_no_key(backend.as_ref(), context.monitor().as_ref());
        drop(drawing);
        return show_no_key(context, &report?, began);
    }
    let read_data = match &args.read_data_subset {
        Some(part) => {
            ReadData::parse(part, today()).map_err(|error| Failure::usage(error.to_string()))?
        }
        None if args.read_data => ReadData::All,
        None => ReadData::None,
    };
    let repository = context.open()?;
    repository.require_full("check the repository")?;
    let mut out = Output::new();
    let mut failed = None;
    let drawing = context.monitor().draw("checking");
    let report = check(
        &repository,
        read_data,
        context.monitor().as_ref(),
        &mut |harm| {
            if !context.json() && failed.is_none() {
                failed = show_harm(&mut out, "hurt", harm).err();
            }
        },
    );
    drop(drawing);
    if let Some(failure) = failed {
        return Err(failure);
    }
    show(context, &report?, read_data, began, out)
}

/// The number of the day: it picks the part of the content that is read today.
fn today() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second() / 86_400).unwrap_or(0)
}

/// One line, after a word for what it is.
pub(super) fn show_harm(out: &mut Output, word: &str, harm: &Harm) -> Done {
    let name = match harm.name.as_str() {
        "" => String::new(),
        name => format!(" '{}'", text::line(name)),
    };
    out.line(format!(
        "{word}: {}{name}: {} {}: {}",
        harm.snapshot.short(),
        harm.part.name(),
        match &harm.path {
            path if path.is_root() => "(the root)".to_owned(),
            path => text::name(path.as_bytes()),
        },
        text::line(&harm.reason)
    ))
}

fn problems(problems: &[Problem]) -> Vec<ProblemView<'_>> {
    let views = problems.iter().map(|problem| ProblemView {
        object: &problem.object,
        problem: &problem.what,
        harmless: problem.harmless,
    });
    views.collect()
}

fn show_problems(out: &mut Output, problems: &[Problem]) -> Done {
    for problem in problems {
        let word = if problem.harmless {
            "harmless"
        } else {
            "damage"
        };
        let (object, what) = (text::line(&problem.object), text::line(&problem.what));
        out.line(format!("{word}: {object}: {what}"))?;
    }
    Ok(())
}

fn show(
    context: &Context,
    report: &CheckReport,
    read_data: ReadData,
    began: Instant,
    mut out: Output,
) -> Done {
    let sound = report.is_sound();
    if context.json() {
        let harms = report.harms.iter().map(HarmView::new);
        out.json(&View {
            sound,
            snapshots: report.snapshots,
            trees: report.trees,
            references: report.references,
            packs: report.packs,
            index_objects: report.index_objects,
            packs_read: report.packs_read,
            raw_bytes_read: report.raw_bytes_read,
            damage: report.damage,
            harmless: report.harmless,
            damaged_indexes: report.damaged_indexes,
            unlisted_packs: report.unlisted_packs,
            problems: problems(&report.problems),
            harmed_paths: report.harmed,
            harmed_snapshots: report
                .harmed_snapshots
                .iter()
                .map(crate::id::ObjectId::to_hex)
                .collect(),
            harms: harms.collect(),
        })?;
        out.finish()?;
        return verdict(sound, report.is_whole());
    }
    show_problems(&mut out, &report.problems)?;
    out.line(format!(
        "checked {}, {}, {}, {} in {}",
        text::counted(report.snapshots, "snapshot", "snapshots"),
        text::counted(report.trees, "tree", "trees"),
        text::counted(report.references, "reference", "references"),
        text::counted(report.packs, "pack", "packs"),
        text::duration(began.elapsed())
    ))?;
    if read_data != ReadData::None {
        out.line(format!(
            "read {} of {}, {} of content",
            text::count(report.packs_read),
            text::counted(report.packs, "pack", "packs"),
            text::bytes(report.raw_bytes_read)
        ))?;
    }
    if report.is_whole() {
        out.line("everything that was looked at is whole")?;
    } else if sound {
        out.line(format!(
            "nothing is lost, but {}: new catalogs are made from the packs themselves, which takes longer",
            indexes(report)
        ))?;
    } else {
        out.line(format!(
            "{}; {} in {} cannot be read; everything else can",
            text::counted(
                report.damage,
                "damaged or missing object",
                "damaged or missing objects"
            ),
            text::counted(report.harmed, "path", "paths"),
            text::counted(
                report.harmed_snapshots.len() as u64,
                "snapshot",
                "snapshots"
            )
        ))?;
    }
    out.finish()?;
    verdict(sound, report.is_whole())
}

/// What is wrong with the index objects.
fn indexes(report: &CheckReport) -> String {
    if report.damaged_indexes > 0 {
        let one_or_more = text::counted(
            report.damaged_indexes,
            "index object is",
            "index objects are",
        );
        return format!("{one_or_more} damaged");
    }
    let packs = text::counted(report.unlisted_packs, "pack", "packs");
    format!("the index object of {packs} is lost")
}

fn show_no_key(context: &Context, report: &NoKeyReport, began: Instant) -> Done {
    let sound = report.damage == 0;
    let mut out = Output::new();
    if context.json() {
        out.json(&NoKeyView {
            sound,
            objects: report.objects,
            bytes: report.bytes,
            damage: report.damage,
            problems: problems(&report.problems),
        })?;
    } else {
        show_problems(&mut out, &report.problems)?;
        out.line(format!(
            "compared {} ({}) with their names in {}",
            text::counted(report.objects, "object", "objects"),
            text::bytes(report.bytes),
            text::duration(began.elapsed())
        ))?;
        out.line(if sound {
            "all are what their names say; whether any is missing, only 'repo check' with a key tells"
        } else {
            "'repo check' with a key tells which snapshots and paths are hurt"
        })?;
    }
    out.finish()?;
    verdict(sound, sound)
}

/// Everything was said already.
fn verdict(sound: bool, whole: bool) -> Done {
    match (sound, whole) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::Code(WARNINGS)),
        (false, _) => Err(Failure::Code(INTEGRITY)),
    }
}
