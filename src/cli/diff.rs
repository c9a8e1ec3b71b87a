//! `repo diff`: what changed between two snapshots.

use std::ffi::OsString;

use serde::Serialize;

use super::context::Context;
use super::entry_view::{EntryView, kind, marked};
use super::exit::{Done, Failure};
use super::output::Output;
use super::place;
use super::text;
use crate::error::{Class, Error};
use crate::format::tree::{Body, Node};
use crate::maintain::diff::{Aspect, Change, Difference, diff};

/// Show what changed between two snapshots, or between two places in them
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Show what changed between two snapshots, or between two places in them

One line for each entry that is not the same:
  +  only in B            M  other content
  -  only in A            m  the same content, other metadata
  T  another type

Behind a changed entry stands what changed: content, target, device, mode, owner, xattrs, time. \
Directories whose time alone changed are not shown. Equal parts are recognised without being read: \
comparing two large snapshots takes moments.",
    after_long_help = "\
Examples:
  repo diff home~1 home
  repo diff web1:etc web2:etc
  repo diff home~7 home --json | jq -r 'select(.change==\"added\").path'"
)]
pub(super) struct Args {
    /// The first snapshot, or a place in it
    #[arg(value_name = "A[:PATH]")]
    before: OsString,
    /// The second
    #[arg(value_name = "B[:PATH]")]
    after: OsString,
    /// Leave out changes of metadata: only what was added, removed, or has other content
    #[arg(short, long)]
    content: bool,
}

#[derive(Serialize)]
struct View {
    change: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aspects: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<EntryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<EntryView>,
}

/// How many there are of each.
#[derive(Default)]
struct Sums {
    added: u64,
    removed: u64,
    changed: u64,
}

/// Compares them.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    let before = place::find(&repository, &args.before)?;
    let after = place::find(&repository, &args.after)?;
    let read = [&before.info, &after.info].map(|info| (info.id, &info.snapshot));
    let _session = place::announce(&repository, context, read)?;
    let mut out = Output::new();
    let mut sums = Sums::default();
    // A failure to print travels through the library as an error and comes out as what it was.
    let mut failed = None;
    let monitor = context.monitor().as_ref();
    let compared = diff(
        &repository,
        &before.node,
        &after.node,
        monitor,
        &mut |found| {
            if !args.wants(found) {
                return Ok(());
            }
            sums.add(found.change);
            show(context, &mut out, found).map_err(|failure| {
                failed = Some(failure);
                Error::new(Class::Io, "write to standard output")
            })
        },
    );
    if let Some(failure) = failed {
        return Err(failure);
    }
    compared.map_err(Failure::from)?;
    out.finish()?;
    if !context.json() {
        monitor.say(&format!(
            "{} added, {} removed, {} changed",
            text::count(sums.added),
            text::count(sums.removed),
            text::count(sums.changed)
        ));
    }
    Ok(())
}

impl Args {
    fn wants(&self, difference: &Difference<'_>) -> bool {
        let is_directory = difference
            .to
            .is_some_and(|node| matches!(node.body, Body::Directory(_)));
        match difference.change {
            Change::Metadata if is_directory && difference.aspects == [Aspect::Time] => false,
            Change::Metadata => !self.content,
            _ => true,
        }
    }
}

impl Sums {
    fn add(&mut self, change: Change) {
        match change {
            Change::Added => self.added += 1,
            Change::Removed => self.removed += 1,
            Change::Type | Change::Content | Change::Metadata => self.changed += 1,
        }
    }
}

fn show(context: &Context, out: &mut Output, difference: &Difference<'_>) -> Done {
    let Difference {
        change,
        path,
        from,
        to,
        ..
    } = *difference;
    let aspects: Vec<&str> = difference
        .aspects
        .iter()
        .map(|aspect| aspect.name())
        .collect();
    if context.json() {
        let (text, path_hex) = super::entry_view::exact(path.as_bytes());
        let view = |node: &Node| EntryView::new(path, node);
        return out.json_line(&View {
            change: change.name(),
            path: text,
            path_hex,
            aspects,
            before: from.map(view),
            after: to.map(view),
        });
    }
    // The root has no name.
    let shown = if path.is_root() {
        b".".as_slice()
    } else {
        path.as_bytes()
    };
    let name = match to.or(from) {
        Some(node) => marked(shown, &node.body, false),
        None => text::name(shown),
    };
    let detail = match (from, to) {
        (Some(from), Some(to)) if change == Change::Type => {
            format!(" ({} -> {})", kind(&from.body), kind(&to.body))
        }
        _ if aspects.is_empty() => String::new(),
        _ => format!(" ({})", aspects.join(", ")),
    };
    out.line(format!("{} {name}{detail}", change.letter()))
}
