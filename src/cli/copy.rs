//! `repo copy`: snapshots into another repository.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Failure, Hint, INTEGRITY};
use super::ingest::settle_plans;
use super::output::Output;
use super::{pin, text};
use crate::crypto::Role;
use crate::error::{Class, Error};
use crate::maintain::copy::{Copied, CopyOptions, CopySums, Losses, Present, check_pair, copy};
use crate::progress::{Count, Monitor};
use crate::repository::{Repository, SnapshotInfo, WriterOptions};

/// What a copy that broke off leaves behind.
const GO_ON: &str = "run the same command again to go on: what was stored is found again";
/// So many losses of one snapshot are named.
const NAMED_LOSSES: usize = 20;

/// Copy snapshots to another repository, which has keys and parameters of its own
///
/// The other repository must exist: 'repo init' makes it. What is copied is cut, named and sealed as it would be had it been
/// ingested there: it shares all data with what is there already, however that came there. Everything that a snapshot says is kept:
/// time, name, tags, warnings; a tar comes out of the copy byte for byte. A copy has another id; 'repo show' tells what it is
/// a copy of. Pins are not copied: what is kept in each repository is decided there.
///
/// Snapshots that the other repository has already are left out, so the same command brings over what is new, or goes on where it
/// was interrupted: what was stored is found again. Data that several snapshots share is read once in a run.
///
/// A snapshot of which anything cannot be read is not copied: what is lost is named, the others are copied, and the exit code
/// is 3. 'repo restore' and 'repo ingest' bring over what is left of it.
///
/// The secret of the other repository comes from the terminal, REPO_TO_PASSPHRASE, REPO_TO_PASSPHRASE_FILE,
/// REPO_TO_PASSPHRASE_COMMAND, REPO_TO_KEY_FILE or --to-key-file. A key with the role 'ingest' is enough there; it cannot see what is
/// there, so only what was copied with the same catalog is left out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo copy --to /mnt/usb/repository
  repo copy web db~1 --to /mnt/usb/repository
  repo copy --to /mnt/usb/repository --dry-run
  REPO_TO_PASSPHRASE_FILE=/etc/repo/usb repo copy --to /mnt/usb/repository      from cron")]
pub(super) struct Args {
    /// Which snapshots [default: all, the oldest first]
    #[arg(value_name = "REF")]
    references: Vec<OsString>,
    /// Where the other repository is: a path or URL
    #[arg(long, value_name = "PLACE", value_hint = clap::ValueHint::DirPath)]
    to: OsString,
    /// Open the other repository with the key in this file instead of a passphrase (REPO_TO_KEY_FILE)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    to_key_file: Option<PathBuf>,
    /// Say which snapshots would be copied; write nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct LossView {
    what: String,
    reason: String,
}

#[derive(Serialize)]
struct SnapshotView {
    id: String,
    name: String,
    time: String,
    state: &'static str,
    copy: Option<String>,
    bytes: u64,
    lost: u64,
    losses: Vec<LossView>,
}

#[derive(Serialize)]
struct View {
    dry_run: bool,
    snapshots: Vec<SnapshotView>,
    copied: u64,
    there: u64,
    damaged: u64,
    gone: u64,
    unreadable: u64,
    read_bytes: u64,
    new_bytes: u64,
    new_chunks: u64,
    stored_bytes: u64,
    seconds: f64,
}

/// What became of a snapshot, told.
fn view(info: &SnapshotInfo, copied: Option<&Copied>) -> SnapshotView {
    let (state, copy, losses) = match copied {
        Some(Copied::New(id)) => ("copied", Some(id.to_hex()), &[][..]),
        Some(Copied::There(id)) => ("there", Some(id.to_hex()), &[][..]),
        Some(Copied::Damaged(losses)) => ("damaged", None, losses.named.as_slice()),
        Some(Copied::Gone) => ("gone", None, &[][..]),
        None => ("planned", None, &[][..]),
    };
    let lost = match copied {
        Some(Copied::Damaged(losses)) => losses.count,
        _ => 0,
    };
    let losses = losses.iter().map(|loss| LossView {
        what: loss.name.clone(),
        reason: loss.reason.clone(),
    });
    SnapshotView {
        id: info.id.to_hex(),
        name: info.snapshot.name.clone(),
        time: text::utc_time(info.snapshot.time),
        state,
        copy,
        bytes: info.snapshot.counts.bytes,
        lost,
        losses: losses.collect(),
    }
}

/// Copies and tells.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let began = Instant::now();
    let source = context.open()?;
    source.require_full("copy snapshots out of the repository")?;
    let (snapshots, unreadable) = chosen(args, &source)?;
    let destination = context.open_destination(&args.to, args.to_key_file.as_deref())?;
    check_pair(&source, &destination)?;
    if destination.role() == Role::Ingest {
        context.monitor().note(
            "the key of the other repository cannot see what is there: only what was copied with this catalog is left out",
        );
    }
    let mut told = Told {
        context,
        views: Vec::new(),
        out: Output::new(),
        failed: None,
    };
    let sums = if args.dry_run {
        look(&source, &destination, &snapshots, &mut told)?
    } else {
        work(&source, &destination, &snapshots, &mut told)?
    };
    if let Some(failure) = told.failed {
        return Err(failure);
    }
    let done = Finished {
        dry_run: args.dry_run,
        views: told.views,
        unreadable,
        sums,
        took: began.elapsed(),
    };
    if done.show(context, told.out)? {
        return Err(Failure::Code(INTEGRITY));
    }
    Ok(())
}

/// The snapshots that shall be copied, the oldest first; and how many of all cannot be read.
fn chosen(args: &Args, source: &Arc<Repository>) -> Done<(Vec<SnapshotInfo>, u64)> {
    if args.references.is_empty() {
        let (all, unreadable) = (source.snapshots()?, source.unreadable_snapshots());
        if all.is_empty() && unreadable == 0 {
            let error = Error::new(Class::NoData, "the repository has no snapshots to copy");
            return Err(Failure::from(error).hint("'repo ingest' makes one"));
        }
        return Ok((all, unreadable));
    }
    let mut snapshots = pin::snapshots(source, &args.references)?;
    snapshots.sort_by_key(|info| (info.snapshot.time, info.id));
    snapshots.dedup_by_key(|info| info.id);
    Ok((snapshots, 0))
}

/// Tells of each snapshot as it comes.
struct Told<'a> {
    context: &'a Context,
    views: Vec<SnapshotView>,
    out: Output,
    /// Standard output failed.
    failed: Option<Failure>,
}

impl Told<'_> {
    /// What became of a snapshot; nothing yet, if it would be copied.
    fn add(&mut self, info: &SnapshotInfo, copied: Option<&Copied>) {
        let context = self.context;
        let (id, name) = (info.id.short(), text::line(&info.snapshot.name));
        self.views.push(view(info, copied));
        let line = match copied {
            None => format!("{id} '{name}' would be copied"),
            Some(Copied::New(copy)) => format!("{id} '{name}' copied as {}", copy.short()),
            Some(Copied::There(copy)) if context.globals().verbose => {
                format!("{id} '{name}' is there as {}", copy.short())
            }
            Some(Copied::There(_)) => return,
            Some(Copied::Damaged(losses)) => return name_losses(context, info, losses),
            Some(Copied::Gone) => {
                return context.monitor().warn(&format!(
                    "snapshot {id} was forgotten before its turn came: it was not copied"
                ));
            }
        };
        let quiet = context.json() || context.globals().quiet;
        if !quiet && let Err(failure) = self.out.line(line) {
            self.failed.get_or_insert(failure);
        }
    }
}

fn name_losses(context: &Context, info: &SnapshotInfo, losses: &Losses) {
    let snapshot = format!("snapshot {} '{}'", info.id.short(), info.snapshot.name);
    for loss in losses.named.iter().take(NAMED_LOSSES) {
        let message = format!("{snapshot}: {}: {}", loss.name, loss.reason);
        context.monitor().warn(&message);
    }
    let more = match losses.count.saturating_sub(NAMED_LOSSES as u64) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    context
        .monitor()
        .warn(&format!("{snapshot} is not whole{more}: it was not copied"));
}

fn look(
    source: &Repository,
    destination: &Repository,
    snapshots: &[SnapshotInfo],
    told: &mut Told<'_>,
) -> Done<CopySums> {
    let present = Present::look(destination)?;
    for info in snapshots {
        match present.copy_of(source, info, destination)? {
            Some(id) => told.add(info, Some(&Copied::There(id))),
            None => told.add(info, None),
        }
    }
    Ok(CopySums::default())
}

fn work(
    source: &Arc<Repository>,
    destination: &Arc<Repository>,
    snapshots: &[SnapshotInfo],
    told: &mut Told<'_>,
) -> Done<CopySums> {
    let context = told.context;
    let writer = WriterOptions::default();
    let options = CopyOptions {
        writer,
        threads: std::num::NonZeroUsize::new(writer.workers).unwrap_or(std::num::NonZeroUsize::MIN),
        scratch: context.scratch(),
    };
    let drawing = context.monitor().draw("copying");
    let sums = copy(
        source,
        destination,
        snapshots,
        &options,
        &context.library_monitor(),
        &mut |info, copied| told.add(info, Some(copied)),
    );
    drop(drawing);
    let sums = sums
        .hint_for(Class::Interrupted, || GO_ON.to_owned())
        .hint_for(Class::Full, || format!("make room there; {GO_ON}"))?;
    settle_plans(destination, context);
    Ok(sums)
}

/// What a run did.
struct Finished {
    dry_run: bool,
    views: Vec<SnapshotView>,
    unreadable: u64,
    sums: CopySums,
    took: Duration,
}

impl Finished {
    /// Tells the sums; true if something is damaged.
    fn show(self, context: &Context, mut out: Output) -> Done<bool> {
        let of = |state| self.views.iter().filter(|view| view.state == state).count() as u64;
        let (copied, there, damaged) = (of("copied"), of("there"), of("damaged"));
        let (planned, gone) = (of("planned"), of("gone"));
        let read = context.monitor().count(Count::Bytes);
        let lost = damaged + self.unreadable;
        let sums = self.sums;
        if context.json() {
            out.json(&View {
                dry_run: self.dry_run,
                copied,
                there,
                damaged,
                gone,
                unreadable: self.unreadable,
                read_bytes: read,
                new_bytes: sums.new_bytes,
                new_chunks: sums.new_chunks,
                stored_bytes: sums.stored_bytes,
                seconds: self.took.as_secs_f64(),
                snapshots: self.views,
            })?;
        } else if !context.globals().quiet {
            let snapshots = |n| text::counted(n, "snapshot", "snapshots");
            if self.dry_run {
                let planned = snapshots(planned);
                out.line(format!("would copy {planned}, {there} there already"))?;
            } else {
                let copied = snapshots(copied);
                out.line(format!("copied {copied}, {there} there already"))?;
                out.line(format!("  read    {}", text::bytes(read)))?;
                out.line(format!(
                    "  added   {} new, {} stored",
                    text::bytes(sums.new_bytes),
                    text::bytes(sums.stored_bytes)
                ))?;
                out.line(format!("  took    {}", text::duration(self.took)))?;
            }
            if lost > 0 {
                let lost = snapshots(lost);
                out.line(format!("  without {lost} that cannot be read whole"))?;
            }
        }
        out.finish()?;
        Ok(lost > 0)
    }
}
