//! `repo show`: one snapshot, and what it is a snapshot of.

use std::ffi::OsString;

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Failure};
use super::identity;
use super::output::{Output, Table};
use super::place;
use super::snapshot_view::{SnapshotView, tags};
use super::text;
use crate::error::{Class, Error};
use crate::format::snapshot::{Snapshot, StreamDigest, StreamKind, Wrapping};
use crate::id::to_hex;
use crate::repository::SnapshotInfo;

/// Show one snapshot: when, what, from where, how much
///
/// For stacks, volumes and VMs also what their own description says: version and components with notes, volumes, or
/// name, processors, memory and disks.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo show latest
  repo show shop --json | jq .identity
  repo show shop --identity > manifest.json")]
pub(super) struct Args {
    /// Which snapshot
    #[arg(value_name = "REF", default_value = "latest")]
    reference: OsString,
    /// Print only the description that a stack, volume or VM archive carries, byte for byte
    #[arg(long)]
    identity: bool,
    /// All warnings of the ingest, not only the first few
    #[arg(long)]
    warnings: bool,
}

/// So many warnings are shown without `--warnings`.
const SHOWN_WARNINGS: usize = 5;

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    snapshot: SnapshotView,
    warning_texts: Vec<String>,
    /// The description of a stack, volume or VM as it came, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<serde_json::Value>,
}

/// Shows it.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    let place = place::parse(&repository, &args.reference)?;
    if place.path.is_some() {
        return Err(Failure::usage("only whole snapshots can be shown")
            .hint("'repo ls -l REF:PATH' shows an entry"));
    }
    let info = place.snapshot;
    let document = identity::read(&repository, &info.snapshot)
        .map_err(|e| e.within(format!("the description in snapshot {}", info.id.short())))?;
    let mut out = Output::new();
    if args.identity {
        if document.is_empty() {
            let (id, kind) = (info.id.short(), info.snapshot.kind.name());
            let what = format!("snapshot {id} is of kind {kind} and carries no description");
            return Err(Error::new(Class::NoData, what).into());
        }
        out.raw(&document)?;
        return out.finish();
    }
    if context.json() {
        out.json(&View {
            snapshot: SnapshotView::new(&info),
            warning_texts: info.snapshot.warnings.clone(),
            identity: serde_json::from_slice(&document).ok(),
        })?;
        return out.finish();
    }
    out.table(&facts(&info))?;
    identity::print(&repository, &info, &document, &mut out)?;
    warnings(&info.snapshot, args.warnings, &mut out)?;
    out.finish()
}

fn facts(info: &SnapshotInfo) -> Table {
    let s = &info.snapshot;
    let mut table = Table::facts();
    table.fact("snapshot", info.id.to_hex());
    table.fact("name", text::line(&s.name));
    table.fact("kind", kind(s));
    table.fact("description", text::line(&s.description));
    table.fact("tags", tags(s));
    table.fact("time", text::local_time(s.time));
    let seconds = s.finished.seconds.saturating_sub(s.time.seconds);
    if let Ok(seconds @ 1..) = u64::try_from(seconds) {
        table.fact(
            "took",
            text::duration(std::time::Duration::from_secs(seconds)),
        );
    }
    let sources: Vec<String> = s.sources.iter().map(|source| text::name(source)).collect();
    table.fact("from", sources.join(" "));
    let by = [s.user.as_str(), s.host.as_str()].map(text::line);
    table.fact("by", by.join("@").trim_matches('@').to_owned());
    table.fact("content", content(s));
    table.fact(
        "added",
        format!("{} stored", text::bytes(s.counts.added_bytes)),
    );
    if let Some(stream) = s.stream {
        table.fact("stream", digest(stream));
    }
    if let Some(wrapped) = s.wrapped {
        table.fact(
            "as it came",
            format!("{}, {}", s.wrapping.name(), digest(wrapped)),
        );
    }
    if s.wrapping != Wrapping::Plain {
        table.fact(
            "original",
            if s.original.is_empty() {
                "not kept (--exact)"
            } else {
                "kept"
            },
        );
    }
    table.fact(
        "before it",
        s.parent.map(|id| id.short()).unwrap_or_default(),
    );
    if let Some(origin) = s.origin {
        table.fact(
            "copy of",
            format!("{} of repository {}", origin.snapshot, origin.repository),
        );
    }
    table.fact("written by", text::line(&s.program));
    table
}

fn kind(snapshot: &Snapshot) -> String {
    let words = match snapshot.kind {
        StreamKind::Dir => "directory",
        StreamKind::Tar => "tar archive",
        StreamKind::Stack => "application stack",
        StreamKind::Volume => "data volumes",
        StreamKind::Vm => "VM snapshot",
        StreamKind::Disk => "disk image",
        StreamKind::Db => "database dump",
        StreamKind::Stream => "stream of bytes",
    };
    format!("{} ({words})", snapshot.kind.name())
}

fn content(snapshot: &Snapshot) -> String {
    let c = &snapshot.counts;
    let mut parts = vec![text::counted(c.files, "file", "files")];
    if c.directories > 0 {
        parts.push(text::counted(c.directories, "directory", "directories"));
    }
    if c.others > 0 {
        parts.push(text::counted(c.others, "other", "others"));
    }
    parts.push(text::bytes(c.bytes));
    parts.join(", ")
}

fn digest(digest: StreamDigest) -> String {
    format!(
        "{}, BLAKE3 {}",
        text::bytes(digest.bytes),
        to_hex(&digest.blake3)
    )
}

fn warnings(snapshot: &Snapshot, all: bool, out: &mut Output) -> Done {
    if snapshot.warning_count == 0 {
        return Ok(());
    }
    out.line("")?;
    out.line(format!(
        "{} when it was taken:",
        text::counted(snapshot.warning_count, "warning", "warnings")
    ))?;
    let shown = if all {
        snapshot.warnings.len()
    } else {
        SHOWN_WARNINGS
    };
    for warning in snapshot.warnings.iter().take(shown) {
        out.line(format!("  {}", text::line(warning)))?;
    }
    let more = snapshot
        .warning_count
        .saturating_sub(snapshot.warnings.len().min(shown) as u64);
    if more > 0 {
        out.line(format!(
            "  and {} more{}",
            text::count(more),
            if all { "" } else { " (--warnings)" }
        ))?;
    }
    Ok(())
}
