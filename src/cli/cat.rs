//! `repo cat`: the content of files.

use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use super::context::Context;
use super::exit::{Done, Failure};
use super::output::Output;
use super::place::{self, Found};
use super::text;
use crate::error::Error;
use crate::format::tree::{Body, Node};
use crate::progress::Monitor;
use crate::repository::Repository;
use crate::repository::trees::Cursor;
use crate::restore::Streaming;

/// Print the content of files
///
/// Every piece is verified before it is printed; damage ends it with exit code 3, never with wrong bytes. Holes are
/// printed as zeros. Of a snapshot that has one file and nothing else, as of a dump that came through a pipe, REF alone means that file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo cat latest:etc/hosts
  repo cat home~1:notes.txt | diff - notes.txt
  repo cat shop | pg_restore -l")]
pub(super) struct Args {
    /// Which files; printed one after the other
    #[arg(value_name = "REF[:PATH]", required = true)]
    places: Vec<OsString>,
}

/// Prints them.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    // All of them are looked up first: a misspelt second one prints nothing of the first.
    let found: Vec<Found> = args
        .places
        .iter()
        .map(|place| {
            let found = sole(&repository, place::find(&repository, place)?)?;
            check(&found)?;
            Ok(found)
        })
        .collect::<Done<_>>()?;
    let read = found
        .iter()
        .map(|found| (found.info.id, &found.info.snapshot));
    let _session = place::announce(&repository, context, read)?;
    let monitor: &dyn Monitor = context.monitor().as_ref();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let streaming = Streaming {
        blocks: &repository,
        threads,
        monitor,
    };
    let mut out = Output::new();
    for found in &found {
        let mut printer = Printer {
            out: &mut out,
            failure: None,
        };
        let printed = streaming.content(&found.node, &mut printer);
        if let Some(failure) = printer.failure {
            return Err(failure);
        }
        printed
            .map_err(|error| error.within(format!("{}:{}", found.info.id.short(), found.path)))?;
    }
    out.finish()
}

/// Takes what the library writes; what goes wrong at our end stays what it is.
struct Printer<'a> {
    out: &'a mut Output,
    failure: Option<Failure>,
}

impl Write for Printer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.out.raw(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Instead of a root that holds one file and nothing else, that file.
fn sole(repository: &Repository, found: Found) -> Done<Found> {
    if let Body::Directory(tree) = &found.node.body
        && found.path.is_root()
        && tree.total == 1
        && let Some(only) = Cursor::new(repository, tree)?.next()
    {
        let only = only.map_err(|e| e.within(found.info.id.short()))?;
        if matches!(only.body, Body::File { .. }) {
            let node = Node::clone(&only);
            let path = found.path.join(&node.name);
            let path = path.map_err(|e| Error::corrupt(e.to_string()))?;
            return Ok(Found {
                path,
                node,
                ..found
            });
        }
    }
    Ok(found)
}

/// Only files have a content.
fn check(found: &Found) -> Done {
    let place = format!(
        "{}:{}",
        found.info.id.short(),
        text::name(found.path.as_bytes())
    );
    let (what, advice) = match &found.node.body {
        Body::File { .. } => return Ok(()),
        Body::Directory(_) => ("is a directory".to_owned(), format!("repo ls {place}")),
        Body::Symlink(target) => (
            format!("is a symbolic link to '{}'", text::name(target)),
            "name that file".to_owned(),
        ),
        body => (
            format!("has no content: it is a {}", super::entry_view::kind(body)),
            String::from("only files can be printed"),
        ),
    };
    Err(Failure::from(Error::invalid(format!("'{place}' {what}"))).hint(advice))
}
