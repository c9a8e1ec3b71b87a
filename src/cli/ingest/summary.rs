//! What an ingest did, told at its end.

use std::time::Duration;

use serde::Serialize;

use super::directory::Counted;
use crate::cli::context::Context;
use crate::cli::exit::Done;
use crate::cli::output::Output;
use crate::cli::snapshot_view::SnapshotView;
use crate::cli::text;
use crate::ingest::IngestSummary;
use crate::progress::Count;
use crate::repository::SnapshotInfo;

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    snapshot: SnapshotView,
    read_bytes: u64,
    unchanged_files: u64,
    new_bytes: u64,
    new_chunks: u64,
    stored_bytes: u64,
    seconds: f64,
    warning_texts: Vec<String>,
}

/// Tells of a new snapshot.
pub(super) fn show(context: &Context, summary: IngestSummary, took: Duration) -> Done {
    let count = |count| context.monitor().count(count);
    let (read, unchanged) = (count(Count::Bytes), count(Count::UnchangedFiles));
    let finished = summary.finished;
    let info = SnapshotInfo {
        id: summary.id,
        snapshot: summary.snapshot,
    };
    let mut out = Output::new();
    if context.json() {
        out.json(&View {
            snapshot: SnapshotView::new(&info),
            read_bytes: read,
            unchanged_files: unchanged,
            new_bytes: finished.new_bytes,
            new_chunks: finished.new_chunks,
            stored_bytes: finished.stored_bytes,
            seconds: took.as_secs_f64(),
            warning_texts: info.snapshot.warnings.clone(),
        })?;
        return out.finish();
    }
    let (snapshot, id) = (&info.snapshot, info.id.short());
    out.line(format!(
        "snapshot {id} '{}' ({})",
        text::line(&snapshot.name),
        snapshot.kind.name()
    ))?;
    if !context.globals().quiet {
        let counts = &snapshot.counts;
        let mut holds = vec![text::counted(counts.files, "file", "files")];
        if counts.directories > 0 {
            holds.push(text::counted(
                counts.directories,
                "directory",
                "directories",
            ));
        }
        if counts.others > 0 {
            holds.push(text::counted(counts.others, "other", "others"));
        }
        out.line(format!(
            "  holds   {}, {}",
            holds.join(", "),
            text::bytes(counts.bytes)
        ))?;
        let skipped = match unchanged {
            0 => String::new(),
            n => format!(
                "; {} unchanged, not read",
                text::counted(n, "file", "files")
            ),
        };
        out.line(format!("  read    {}{skipped}", text::bytes(read)))?;
        out.line(format!(
            "  added   {} new, {} stored",
            text::bytes(finished.new_bytes),
            text::bytes(finished.stored_bytes)
        ))?;
        out.line(format!("  took    {}", text::duration(took)))?;
        if snapshot.warning_count > 0 {
            let warnings = text::counted(snapshot.warning_count, "warning", "warnings");
            out.line(format!(
                "  with    {warnings}, kept in the snapshot: repo show {id} --warnings"
            ))?;
        }
    }
    out.finish()
}

#[derive(Serialize)]
struct CountedView {
    dry_run: bool,
    files: u64,
    directories: u64,
    others: u64,
    bytes: u64,
}

/// Tells of a dry run.
pub(super) fn show_counted(context: &Context, counted: &Counted) -> Done {
    let mut out = Output::new();
    if context.json() {
        out.json(&CountedView {
            dry_run: true,
            files: counted.files,
            directories: counted.directories,
            others: counted.others,
            bytes: counted.bytes,
        })?;
    } else {
        out.line(format!(
            "would take {}, {}, {}, {}",
            text::counted(counted.files, "file", "files"),
            text::counted(counted.directories, "directory", "directories"),
            text::counted(counted.others, "other", "others"),
            text::bytes(counted.bytes)
        ))?;
    }
    out.finish()
}
