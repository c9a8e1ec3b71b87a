//! `repo snapshots`: what there is.

use std::collections::BTreeMap;

use super::context::Context;
use super::exit::{Done, Failure};
use super::output::{Align, Output, Table};
use super::snapshot_view::{SnapshotView, tags};
use super::tag;
use super::text;
use crate::error::{Class, Error};
use crate::format::snapshot::Snapshot;
use crate::repository::SnapshotInfo;

/// How many names are told when none of them was meant.
const SHOWN_NAMES: usize = 12;

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
    /// True if not all are wanted.
    fn is_narrow(&self) -> bool {
        self.name.is_some() || self.kind.is_some() || !self.tags.is_empty()
    }

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
    let all = context.open()?.snapshots()?;
    let there_are = there_are(&all);
    let mut snapshots = all;
    snapshots.retain(|info| args.matches(&info.snapshot));
    let mut out = Output::new();
    if context.json() {
        out.json(&snapshots.iter().map(SnapshotView::new).collect::<Vec<_>>())?;
        out.finish()?;
    } else if !snapshots.is_empty() {
        print(out, &snapshots)?;
    }
    if !snapshots.is_empty() {
        return Ok(());
    }
    if args.is_narrow() {
        let error = Error::new(Class::NoData, "no snapshot matches");
        return Err(Failure::from(error).hint(there_are));
    }
    context.monitor().say(&there_are);
    Ok(())
}

/// What can be asked for, for somebody who asked for something else.
fn there_are(all: &[SnapshotInfo]) -> String {
    if all.is_empty() {
        return "no snapshots yet: 'repo ingest' takes the first".to_owned();
    }
    let mut names: BTreeMap<&str, u64> = BTreeMap::new();
    for info in all {
        *names.entry(&info.snapshot.name).or_default() += 1;
    }
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES)
        .map(|(name, count)| format!("'{name}' ({})", text::count(*count)))
        .collect();
    let more = match names.len().saturating_sub(SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more; 'repo snapshots' lists all"),
    };
    format!("there are {}{more}", shown.join(", "))
}

fn print(mut out: Output, snapshots: &[SnapshotInfo]) -> Done {
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
    for info in snapshots {
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
