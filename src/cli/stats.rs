//! `repo stats`: how much there is, and what deduplication and compression save.

use serde::Serialize;

use super::context::Context;
use super::exit::Done;
use super::output::{Output, Table};
use super::text;
use crate::maintain::stats::{AreaStats, Stats, stats};

/// Show how much there is, and what deduplication and compression save
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo stats
  repo stats --json | jq .stored_bytes")]
pub(super) struct Args {}

#[derive(Serialize)]
struct AreaView {
    objects: u64,
    bytes: u64,
}

impl AreaView {
    fn new(area: AreaStats) -> Self {
        Self {
            objects: area.objects,
            bytes: area.bytes,
        }
    }
}

#[derive(Serialize)]
struct View {
    repository: String,
    snapshots: u64,
    files: u64,
    logical_bytes: u64,
    data_chunks: u64,
    data_raw_bytes: u64,
    meta_chunks: u64,
    meta_raw_bytes: u64,
    data: AreaView,
    meta: AreaView,
    index: AreaView,
    snapshot_objects: AreaView,
    unlisted_packs: u64,
    stored_bytes: u64,
    dedup_ratio: f64,
    compression_ratio: f64,
}

/// Counts and shows.
pub(super) fn run(_: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    let sums = stats(&repository)?;
    let mut out = Output::new();
    if context.json() {
        out.json(&View {
            repository: repository.id().to_hex(),
            snapshots: sums.snapshots,
            files: sums.files,
            logical_bytes: sums.logical_bytes,
            data_chunks: sums.data_chunks,
            data_raw_bytes: sums.data_raw_bytes,
            meta_chunks: sums.meta_chunks,
            meta_raw_bytes: sums.meta_raw_bytes,
            data: AreaView::new(sums.data),
            meta: AreaView::new(sums.meta),
            index: AreaView::new(sums.index),
            snapshot_objects: AreaView::new(sums.snapshot_objects),
            unlisted_packs: sums.unlisted_packs,
            stored_bytes: sums.stored_bytes(),
            dedup_ratio: sums.dedup_ratio(),
            compression_ratio: sums.compression_ratio(),
        })?;
    } else {
        out.line(format!(
            "repository {} at {}",
            repository.id().short(),
            text::line(&repository.backend().location())
        ))?;
        out.table(&table(&sums))?;
    }
    out.finish()
}

/// How many times less it is by something, or how many times more than `than` if it is not.
fn times(ratio: f64, by: &str, than: &str) -> String {
    if ratio < 0.95 {
        format!("{:.1} times as much as {than}", 1.0 / ratio)
    } else {
        format!("{ratio:.1} times less {by}")
    }
}

fn table(sums: &Stats) -> Table {
    let mut table = Table::facts();
    let (snapshots, files) = (sums.snapshots, sums.files);
    table.fact(
        "snapshots",
        format!(
            "{}, with {} of {} in all",
            text::count(snapshots),
            text::counted(files, "file", "files"),
            text::bytes(sums.logical_bytes)
        ),
    );
    table.fact(
        "content",
        format!(
            "{} in {}: {}",
            text::bytes(sums.data_raw_bytes),
            text::counted(sums.data_chunks, "distinct chunk", "distinct chunks"),
            times(sums.dedup_ratio(), "by deduplication", "the snapshots hold")
        ),
    );
    table.fact(
        "stored",
        format!(
            "{}: {}",
            text::bytes(sums.stored_bytes()),
            times(sums.compression_ratio(), "by compression", "is in it")
        ),
    );
    for (name, area) in [
        ("  content", sums.data),
        ("  trees", sums.meta),
        ("  index", sums.index),
        ("  snapshots", sums.snapshot_objects),
    ] {
        let objects = text::counted(area.objects, "object", "objects");
        table.fact(name, format!("{} in {objects}", text::bytes(area.bytes)));
    }
    if sums.unlisted_packs > 0 {
        let packs = text::counted(sums.unlisted_packs, "pack", "packs");
        table.fact(
            "unfinished",
            format!("{packs} of an interrupted run, used by the next one"),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_grew_is_not_called_less() {
        let times = |ratio| super::times(ratio, "by compression", "is in it");
        assert_eq!(times(2.04), "2.0 times less by compression");
        assert_eq!(times(1.0), "1.0 times less by compression");
        assert_eq!(times(0.5), "2.0 times as much as is in it");
    }
}
