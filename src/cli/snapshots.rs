//! `repo snapshots`: what there is.

use super::context::Context;
use super::exit::Done;
use super::output::{Align, Output, Table};
use super::snapshot_view::{SnapshotView, tags};
use super::tag;
use super::text;
use crate::format::snapshot::Snapshot;

/// List snapshots, oldest first
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    after_long_help = "\
Examples:
  repo snapshots
  repo snapshots --name home --tag host=web1
  repo snapshots --json | jq -r '.[-1].id'"
)]
pub(super) struct Args {
    /// Only those with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only those with this tag (KEY=VALUE, or KEY with any value); all of them if given more than once
    #[arg(long = "tag", value_name = "KEY[=VALUE]", value_parser = tag::wanted)]
    tags: Vec<tag::Wanted>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND", value_parser = super::kind::stored())]
    kind: Option<String>,
}

impl Args {
    fn matches(&self, snapshot: &Snapshot) -> bool {
        self.name.as_ref().is_none_or(|name| *name == snapshot.name)
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| kind == snapshot.kind.name())
            && self.tags.iter().all(|tag| tag.is_on(snapshot))
    }
}

/// Lists what matches.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let mut snapshots = context.open()?.snapshots()?;
    let all = snapshots.len();
    snapshots.retain(|info| args.matches(&info.snapshot));
    let mut out = Output::new();
    if context.json() {
        out.json(&snapshots.iter().map(SnapshotView::new).collect::<Vec<_>>())?;
        return out.finish();
    }
    if snapshots.is_empty() {
        context.monitor().say(match all {
            0 => "no snapshots yet: 'repo ingest' takes the first",
            _ => "no snapshot matches",
        });
        return out.finish();
    }
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("TIME", Align::Left),
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("FILES", Align::Right),
        ("SIZE", Align::Right),
        ("ADDED", Align::Right),
        ("TAGS", Align::Left),
    ]);
    for info in &snapshots {
        let snapshot = &info.snapshot;
        table.row(vec![
            info.id.short(),
            text::local_time(snapshot.time),
            snapshot.kind.name().to_owned(),
            text::line(&snapshot.name),
            text::count(snapshot.counts.files),
            text::bytes(snapshot.counts.bytes),
            text::bytes(snapshot.counts.added_bytes),
            tags(snapshot),
        ]);
    }
    out.table(&table)?;
    out.finish()
}
