//! `repo diff`: what changed between two snapshots.

use std::ffi::OsString;

use serde::Serialize;

use super::context::Context;
use super::entry_view::{EntryView, kind, marked};
use super::exit::{Done, Failure};
use super::output::Output;
use super::place;
use super::text;
use crate::entry::EntryPath;
use crate::error::{Class, Error};
use crate::format::tree::{Body, Node};
use crate::vfs::diff::{Aspect, Difference, compare};

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
    let mut out = Output::new();
    let mut sums = Sums::default();
    // A failure to print travels through the library as an error and comes out as what it was.
    let mut failed = None;
    let compared = compare(
        &repository,
        &before.node,
        &after.node,
        context.monitor().as_ref(),
        &mut |difference| {
            if !args.wants(&difference) {
                return Ok(());
            }
            sums.add(&difference);
            show(context, &mut out, &difference).map_err(|failure| {
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
        context.monitor().say(&format!(
            "{} added, {} removed, {} changed",
            text::count(sums.added),
            text::count(sums.removed),
            text::count(sums.changed)
        ));
    }
    Ok(())
}

impl Args {
    fn wants(&self, difference: &Difference) -> bool {
        let aspects = &difference.aspects;
        if difference.before.is_none() || difference.after.is_none() {
            return true;
        }
        let directory = |node: &Option<Node>| {
            node.as_ref()
                .is_some_and(|node| matches!(node.body, Body::Directory(_)))
        };
        if aspects == &[Aspect::Time] && directory(&difference.before) {
            return false;
        }
        !self.content || aspects.iter().any(|aspect| *aspect <= Aspect::Device)
    }
}

impl Sums {
    fn add(&mut self, difference: &Difference) {
        match (&difference.before, &difference.after) {
            (None, _) => self.added += 1,
            (_, None) => self.removed += 1,
            _ => self.changed += 1,
        }
    }
}

/// A sign for the line, and a word for JSON.
fn change(difference: &Difference) -> (char, &'static str) {
    match (&difference.before, &difference.after) {
        (None, _) => ('+', "added"),
        (_, None) => ('-', "removed"),
        _ if difference.aspects.contains(&Aspect::Kind) => ('T', "type"),
        _ if difference
            .aspects
            .iter()
            .any(|aspect| *aspect <= Aspect::Device) =>
        {
            ('M', "content")
        }
        _ => ('m', "metadata"),
    }
}

fn show(context: &Context, out: &mut Output, difference: &Difference) -> Done {
    let (sign, word) = change(difference);
    let path = &difference.path;
    let node = difference.after.as_ref().or(difference.before.as_ref());
    let aspects: Vec<&str> = difference
        .aspects
        .iter()
        .map(|aspect| aspect.name())
        .collect();
    if context.json() {
        let (text, path_hex) = super::entry_view::exact(path.as_bytes());
        let view = |node: &Node| EntryView::new(path, node);
        return out.json_line(&View {
            change: word,
            path: text,
            path_hex,
            aspects,
            before: difference.before.as_ref().map(view),
            after: difference.after.as_ref().map(view),
        });
    }
    let name = match node {
        Some(node) => marked(shown_path(path), &node.body, false),
        None => text::name(shown_path(path)),
    };
    let detail = match (&difference.before, &difference.after) {
        (Some(before), Some(after)) if sign == 'T' => {
            format!(" ({} -> {})", kind(&before.body), kind(&after.body))
        }
        _ if aspects.is_empty() => String::new(),
        _ => format!(" ({})", aspects.join(", ")),
    };
    out.line(format!("{sign} {name}{detail}"))
}

/// The root has no name.
fn shown_path(path: &EntryPath) -> &[u8] {
    if path.is_root() {
        b"."
    } else {
        path.as_bytes()
    }
}
