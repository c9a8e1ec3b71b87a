//! `repo ls`: what is in a directory of a snapshot.

use std::ffi::OsString;

use super::context::Context;
use super::entry_view::{EntryView, long, marked};
use super::exit::Done;
use super::output::Output;
use super::place;
use crate::entry::EntryPath;
use crate::error::{Class, Error};
use crate::format::tree::{Body, Node};
use crate::progress::Monitor;
use crate::repository::trees::{Cursor, Walk};

/// List what is in a snapshot
///
/// Names come one a line in the order of their bytes, directories with a slash behind them. Characters that could
/// confuse a terminal are shown as escapes; scripts use --null or --json, which are exact.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo ls latest
  repo ls -l home:documents
  repo ls -R --null home:documents | xargs -0 ...")]
pub(super) struct Args {
    /// Which snapshot, and where in it
    #[arg(value_name = "REF[:PATH]", default_value = "latest")]
    place: OsString,
    /// With type, permissions, links, owner, group, size and time
    #[arg(short, long)]
    long: bool,
    /// All that is below as well, by path
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Names as they are, each followed by a NUL character
    #[arg(short = '0', long, conflicts_with = "long")]
    null: bool,
}

/// Lists it.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    let found = place::find(&repository, &args.place)?;
    // One directory is read in a moment; a whole tree may take as long as a prune.
    let read = args
        .recursive
        .then_some((found.info.id, &found.info.snapshot));
    let _session = place::announce(&repository, context, read)?;
    let mut out = Output::new();
    let mut show = |path: &EntryPath, name: &[u8], node: &Node| {
        if context.json() {
            out.json_line(&EntryView::new(path, node))
        } else if args.null {
            out.raw(name)?;
            out.raw(&[0])
        } else {
            let name = marked(name, &node.body, args.long);
            out.line(if args.long {
                format!("{} {name}", long(node))
            } else {
                name
            })
        }
    };
    let Body::Directory(tree) = &found.node.body else {
        show(&found.path, found.path.name(), &found.node)?;
        return out.finish();
    };
    if args.recursive {
        let skip = if found.path.is_root() {
            0
        } else {
            found.path.as_bytes().len() + 1
        };
        for step in Walk::new(&repository, &found.node, found.path.clone()) {
            stop(context)?;
            let (path, node) = match step {
                Ok(step) => step,
                Err((path, error)) => {
                    return Err(error.within(path.quoted()).into());
                }
            };
            show(&path, &path.as_bytes()[skip..], &node)?;
        }
    } else {
        for node in Cursor::new(&repository, tree)? {
            stop(context)?;
            let node = node?;
            let path = found
                .path
                .join(&node.name)
                .map_err(|e| Error::corrupt(e.to_string()))?;
            show(&path, &node.name, &node)?;
        }
    }
    out.finish()
}

/// Ends a listing that the user interrupted.
pub(super) fn stop(context: &Context) -> Done {
    if context.monitor().interrupted() {
        return Err(Error::new(Class::Interrupted, "interrupted").into());
    }
    Ok(())
}
