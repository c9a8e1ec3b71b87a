//! `repo cat`: the content of files.

use std::ffi::OsString;

use super::context::Context;
use super::exit::{Done, Failure};
use super::ls::stop;
use super::output::Output;
use super::place::{self, Found};
use super::text;
use crate::error::Error;
use crate::format::content::Item;
use crate::format::tree::Body;
use crate::repository::content::{self, Content};
use crate::repository::{Blocks, Repository};

/// How many zeros are written at once for a hole.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Print the content of files
///
/// Every piece is verified before it is printed; damage ends it with exit code 3, never with wrong bytes. Holes are
/// printed as zeros.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo cat latest:etc/hosts
  repo cat home~1:notes.txt | diff - notes.txt
  repo cat shop:shop.dump | pg_restore -l")]
pub(super) struct Args {
    /// Which files; printed one after the other
    #[arg(value_name = "REF:PATH", required = true)]
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
            let found = place::find(&repository, place)?;
            check(&found)?;
            Ok(found)
        })
        .collect::<Done<_>>()?;
    let mut out = Output::new();
    for found in &found {
        if let Body::File { content, .. } = &found.node.body {
            print(context, &repository, content, &mut out).map_err(|failure| match failure {
                Failure::Failed(error, hint) => {
                    let place = format!("{}:{}", found.info.id.short(), found.path);
                    Failure::Failed(error.within(place), hint)
                }
                other => other,
            })?;
        }
    }
    out.finish()
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

fn print(context: &Context, repository: &Repository, items: &[Item], out: &mut Output) -> Done {
    for extent in Content::new(items).extents(repository, 0) {
        stop(context)?;
        match extent?.item {
            Item::Data { id, len } => {
                let bytes = content::chunk(repository, &id, len)?;
                repository.verify_chunk(&id, &bytes)?;
                out.raw(&bytes)?;
            }
            Item::Hole(mut len) | Item::Zeros(mut len) => {
                while len > 0 {
                    let piece = usize::try_from(len).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
                    out.raw(&ZEROS[..piece])?;
                    len -= piece as u64;
                }
            }
            Item::List { .. } => {
                return Err(Error::corrupt("an extent that is a list").into());
            }
        }
    }
    Ok(())
}
