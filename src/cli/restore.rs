//! `repo restore`: snapshots back into files.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::context::Context;
use super::entry_view::exact;
use super::exit::{Done, Failure};
use super::output::Output;
use super::place;
use super::text;
use crate::error::{Class, Error};
use crate::export::place::{Options as PlaceOptions, Owner};
use crate::restore::{Overwrite, RestoreOptions, RestoreSummary, Selection, Step, restore};

/// Restore snapshots, or parts of them, into a directory
///
/// A whole snapshot becomes the target. A path in it appears in the target under its own name; with a slash at its end, what is in it
/// does. A target that does not exist yet appears only when everything is in it; in one that exists each file is replaced as
/// a whole. Every piece is verified before it is written: what the repository cannot give is left out, named, and makes
/// the exit code 3.
///
/// Restored are content, holes, permissions, times, links, extended attributes and ACLs; by root also owners and devices.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo restore latest --target /tmp/back
  repo restore home:documents/letters --target ~         becomes ~/letters
  repo restore home:documents/letters/ --target ~/old    its contents go to ~/old
  repo restore home~3 --target /home --overwrite if-changed --include '*.odt'
  repo restore web:etc web:srv --target / --dry-run --overwrite always")]
pub(super) struct Args {
    /// What to restore
    #[arg(value_name = "REF[:PATH]", required = true)]
    places: Vec<OsString>,
    /// Where to; made if it is not there
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    target: PathBuf,
    /// What happens to files that are in the target already
    ///
    /// Without this, a target that is not empty is refused (exit code 4). What is in the target and not in the snapshot
    /// stays in any case.
    #[arg(long, value_enum, value_name = "WHEN")]
    overwrite: Option<OverwriteArg>,
    /// Restore only what matches, in the syntax of .gitignore; can be given more than once
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out what matches; can be given more than once
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Read every restored file back from the disk and compare it
    #[arg(long)]
    verify: bool,
    /// Say what would be done to which entry; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Owners by number, not by name
    ///
    /// Without it, root restores the owner whose name is known on this machine, else the number.
    #[arg(long, conflicts_with = "no_owner")]
    numeric_owner: bool,
    /// Everything belongs to who restores it; always so for other users than root
    #[arg(long)]
    no_owner: bool,
    /// How many threads decode and write [default: one per processor]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// When to overwrite.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OverwriteArg {
    /// Replace them
    Always,
    /// Replace those of another size or time (with --verify: of other content)
    IfChanged,
    /// Leave them as they are
    Never,
}

#[derive(Serialize)]
struct StepView {
    action: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    bytes: u64,
}

#[derive(Serialize)]
struct LossView {
    snapshot: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    error: String,
}

#[derive(Serialize)]
struct View {
    target: String,
    dry_run: bool,
    files: u64,
    directories: u64,
    others: u64,
    kept: u64,
    left_out: u64,
    bytes: u64,
    data_bytes: u64,
    verified: u64,
    lost: u64,
    losses: Vec<LossView>,
}

/// Restores it.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    let selections = args
        .places
        .iter()
        .map(|typed| {
            let place = place::parse(&repository, typed)?;
            Ok(Selection {
                id: place.snapshot.id,
                snapshot: place.snapshot.snapshot,
                path: place.path.unwrap_or_default(),
                contents: place.contents,
            })
        })
        .collect::<Done<Vec<_>>>()?;
    let read = selections.iter().map(|s| (s.id, &s.snapshot));
    let _session = place::announce(&repository, context, read)?;
    if args.overwrite.is_none() && holds_something(&args.target)? {
        let what = format!("{} is not empty", args.target.display());
        return Err(Failure::from(Error::new(Class::Refused, what)).hint(
            "restore to a new place, or say what happens to files that are there: --overwrite",
        ));
    }
    let began = Instant::now();
    let mut out = Output::new();
    let mut failed = None;
    let mut each = |step: &Step<'_>| {
        if args.dry_run && failed.is_none() {
            failed = show_step(context, &mut out, step).err();
        }
    };
    let drawing = context.monitor().draw(if args.dry_run {
        "planning"
    } else {
        "restoring"
    });
    let restored = restore(
        &repository,
        &selections,
        &args.target,
        &args.options(context),
        &context.library_monitor(),
        &mut each,
    );
    drop(drawing);
    if let Some(failure) = failed {
        return Err(failure);
    }
    let summary = restored?;
    matched(&args.include, handled(&summary))?;
    show_summary(args, context, &summary, began, &mut out)?;
    out.finish()?;
    lost(summary.lost)
}

/// Entries that were selected, whatever was done with them.
pub(super) fn handled(summary: &RestoreSummary) -> u64 {
    let made = summary.files + summary.directories + summary.others;
    made + summary.kept + summary.left_out + summary.lost
}

/// Patterns that match nothing are a mistake: somebody believes to have the files now.
pub(super) fn matched(include: &[String], entries: u64) -> Done {
    if include.is_empty() || entries > 0 {
        return Ok(());
    }
    let what = "nothing in what was selected matches --include";
    Err(Failure::from(Error::new(Class::NoData, what)).hint("'repo ls -R REF' shows what there is"))
}

/// What was lost is an integrity failure, although the rest was restored.
pub(super) fn lost(count: u64) -> Done {
    if count == 0 {
        return Ok(());
    }
    let what = text::counted(count, "entry is lost", "entries are lost");
    let what = format!("{what}: the repository is damaged there; everything else was restored");
    Err(Failure::from(Error::corrupt(what))
        .hint("'repo check' tells what is damaged; another snapshot may have the same files whole"))
}

impl Args {
    fn options(&self, context: &Context) -> RestoreOptions {
        let defaults = RestoreOptions::default();
        let owner = if self.no_owner {
            Owner::Skip
        } else if self.numeric_owner {
            Owner::Numeric
        } else if defaults.place.owner == Owner::Skip {
            Owner::Skip
        } else {
            Owner::ByName
        };
        RestoreOptions {
            overwrite: match self.overwrite {
                None | Some(OverwriteArg::Always) => Overwrite::Always,
                Some(OverwriteArg::IfChanged) => Overwrite::IfChanged,
                Some(OverwriteArg::Never) => Overwrite::Never,
            },
            verify: self.verify,
            dry_run: self.dry_run,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            place: PlaceOptions {
                owner,
                ..defaults.place
            },
            threads: self.threads.unwrap_or(defaults.threads),
            scratch: context.scratch(),
        }
    }
}

/// True if `target` is a directory with something in it.
pub(super) fn holds_something(target: &Path) -> Done<bool> {
    match std::fs::read_dir(target) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        // The restore itself says best what is wrong with it.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => {
            Err(Error::io(format!("look into the target {}", target.display()), error).into())
        }
    }
}

fn show_step(context: &Context, out: &mut Output, step: &Step<'_>) -> Done {
    if context.json() {
        let (path, path_hex) = exact(step.path.as_bytes());
        let (action, kind, bytes) = (step.action.name(), step.kind, step.bytes);
        return out.json_line(&StepView {
            action,
            path,
            path_hex,
            kind,
            bytes,
        });
    }
    let path = if step.path.is_root() {
        "."
    } else {
        &text::name(step.path.as_bytes())
    };
    out.line(format!(
        "{:<9}  {:<9}  {path}",
        step.action.name(),
        step.kind
    ))
}

fn show_summary(
    args: &Args,
    context: &Context,
    summary: &RestoreSummary,
    began: Instant,
    out: &mut Output,
) -> Done {
    if context.json() {
        let losses = summary.losses.iter().map(|loss| {
            let (path, path_hex) = exact(loss.path.as_bytes());
            let snapshot = loss.snapshot.to_hex();
            LossView {
                snapshot,
                path,
                path_hex,
                error: loss.error.to_string(),
            }
        });
        return out.json_line(&View {
            target: summary.place.to_string_lossy().into_owned(),
            dry_run: args.dry_run,
            files: summary.files,
            directories: summary.directories,
            others: summary.others,
            kept: summary.kept,
            left_out: summary.left_out,
            bytes: summary.bytes,
            data_bytes: summary.data_bytes,
            verified: summary.verified,
            lost: summary.lost,
            losses: losses.collect(),
        });
    }
    if context.globals().quiet {
        return Ok(());
    }
    let mut parts = vec![
        text::counted(summary.files, "file", "files"),
        text::counted(summary.directories, "directory", "directories"),
    ];
    if summary.others > 0 {
        parts.push(text::counted(summary.others, "other", "others"));
    }
    parts.push(text::bytes(summary.bytes));
    if summary.kept > 0 {
        parts.push(format!("{} kept as they were", text::count(summary.kept)));
    }
    if summary.left_out > 0 {
        parts.push(format!("{} left out", text::count(summary.left_out)));
    }
    if summary.verified > 0 {
        parts.push(format!(
            "{} read back",
            text::counted(summary.verified, "file", "files")
        ));
    }
    let parts = parts.join(", ");
    if args.dry_run {
        return out.line(format!("would restore {parts}"));
    }
    let place = text::line(&summary.place.display().to_string());
    out.line(format!(
        "restored {parts} to {place} in {}",
        text::duration(began.elapsed())
    ))
}
