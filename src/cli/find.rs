//! `repo find`: in which snapshots a file is.
//!
//! All trees of all snapshots are walked, but equal trees only once: what has no match in one snapshot has none in the next one
//! that shares it. That shortcut holds for patterns of names; patterns with a slash see the path, which sharing does not fix.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Serialize;

use super::context::Context;
use super::entry_view::{EntryView, marked};
use super::exit::{Done, Failure, NO_DATA};
use super::ls::stop;
use super::output::Output;
use super::place;
use super::text;
use crate::entry::EntryPath;
use crate::error::Error;
use crate::format::tree::{Body, Node};
use crate::id::ChunkId;
use crate::repository::trees::Walk;
use crate::repository::{Repository, SnapshotInfo};

/// So many trees without a match are remembered (32 bytes each).
const MAX_BARREN: usize = 1 << 20;

/// Find files by name in all snapshots
///
/// PATTERN is as in .gitignore: without a slash it is compared with names at any depth, with one it is compared with the path
/// from the root of the snapshot; '*' and '?' do not match a slash, '**' does; a slash at the end matches only directories.
/// Each line has time and size of the entry, and its place as 'repo cat' and 'repo restore' take it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo find '*.sqlite'
  repo find 'etc/**/*.conf' --snapshot web1 --snapshot web2
  repo find -i 'invoice*' --json | jq -r .path

Exit code 6 if nothing was found, 3 if that may be because of damage.")]
pub(super) struct Args {
    /// What to look for
    pattern: OsString,
    /// Only in this snapshot; can be given more than once
    #[arg(long = "snapshot", value_name = "REF")]
    snapshots: Vec<String>,
    /// Upper and lower case are the same
    #[arg(short, long)]
    ignore_case: bool,
}

/// A match as JSON: an entry, and where it is.
#[derive(Serialize)]
struct View<'a> {
    snapshot: &'a str,
    name: &'a str,
    #[serde(flatten)]
    entry: EntryView,
}

/// A directory on the way down, as long as nothing below it matched.
struct Level {
    path: EntryPath,
    tree: ChunkId,
    matched: bool,
}

/// There is a match in all of these.
fn mark(levels: &mut [Level]) {
    for level in levels {
        level.matched = true;
    }
}

struct Search<'a> {
    context: &'a Context,
    pattern: Gitignore,
    by_name: bool,
    barren: HashSet<ChunkId>,
    found: u64,
    /// Directories and snapshots that could not be looked into.
    unread: u64,
    out: Output,
}

/// Searches the snapshots, oldest first.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let pattern = args
        .pattern
        .to_str()
        .ok_or_else(|| Failure::usage("the pattern is not UTF-8"))?;
    let mut builder = GitignoreBuilder::new("");
    let built = builder
        .case_insensitive(args.ignore_case)
        .and_then(|builder| builder.add_line(None, pattern))
        .and_then(|builder| builder.build())
        .map_err(|error| Failure::usage(format!("pattern '{pattern}': {error}")))?;
    if built.is_empty() {
        return Err(Failure::usage(format!(
            "the pattern '{pattern}' matches nothing at all"
        )));
    }
    let repository = context.open()?;
    let snapshots = if args.snapshots.is_empty() {
        repository.snapshots()?
    } else {
        args.snapshots
            .iter()
            .map(|r| repository.resolve(r))
            .collect::<Result<_, _>>()?
    };
    let read = snapshots.iter().map(|info| (info.id, &info.snapshot));
    let _session = place::announce(&repository, context, read)?;
    let mut search = Search {
        context,
        pattern: built,
        by_name: !pattern.trim_end_matches('/').contains('/'),
        barren: HashSet::new(),
        found: 0,
        unread: if args.snapshots.is_empty() {
            repository.unreadable_snapshots()
        } else {
            0
        },
        out: Output::new(),
    };
    for info in &snapshots {
        search.snapshot(&repository, info)?;
    }
    search.out.finish()?;
    if search.found == 0 && search.unread > 0 {
        let what = format!(
            "no '{pattern}' was found, but not everything could be looked at: {} damaged",
            text::counted(
                search.unread,
                "directory or snapshot is",
                "directories and snapshots are"
            )
        );
        return Err(Error::corrupt(what).into());
    }
    if search.found == 0 {
        context.monitor().say(&format!(
            "nothing is called '{pattern}' in {}",
            text::counted(snapshots.len() as u64, "snapshot", "snapshots")
        ));
        return Err(Failure::Code(NO_DATA));
    }
    Ok(())
}

impl Search<'_> {
    fn snapshot(&mut self, repository: &Repository, info: &SnapshotInfo) -> Done {
        let root = &info.snapshot.root;
        let mut levels: Vec<Level> = Vec::new();
        let mut walk = Walk::new(repository, root, EntryPath::root());
        while let Some(step) = walk.next() {
            stop(self.context)?;
            let (path, node) = match step {
                Ok(step) => step,
                Err((path, error)) => {
                    let place = format!("{}: {}", info.id.short(), path.quoted());
                    self.context.monitor().warn_about(&place, &error);
                    self.unread += 1;
                    // What could not be read may have had a match.
                    mark(&mut levels);
                    continue;
                }
            };
            self.leave(&mut levels, &path);
            if self.matches(&path, &node) {
                self.found += 1;
                mark(&mut levels);
                self.show(info, &path, &node)?;
            }
            if let (true, Body::Directory(tree)) = (self.by_name, &node.body) {
                if self.barren.contains(&tree.id) {
                    walk.skip_below();
                } else {
                    levels.push(Level {
                        path,
                        tree: tree.id,
                        matched: false,
                    });
                }
            }
        }
        self.leave(&mut levels, &EntryPath::root());
        Ok(())
    }

    /// Takes leave of the directories that `path` is not in.
    fn leave(&mut self, levels: &mut Vec<Level>, path: &EntryPath) {
        while levels
            .last()
            .is_some_and(|level| path.is_root() || !path.is_within(&level.path))
        {
            if let Some(level) = levels.pop()
                && !level.matched
                && self.barren.len() < MAX_BARREN
            {
                self.barren.insert(level.tree);
            }
        }
    }

    fn matches(&self, path: &EntryPath, node: &Node) -> bool {
        let bytes = if self.by_name {
            path.name()
        } else {
            path.as_bytes()
        };
        let name = OsString::from_vec(bytes.to_vec());
        let is_directory = matches!(node.body, Body::Directory(_));
        self.pattern
            .matched(Path::new(name.as_os_str()), is_directory)
            .is_ignore()
    }

    fn show(&mut self, info: &SnapshotInfo, path: &EntryPath, node: &Node) -> Done {
        if self.context.json() {
            return self.out.json_line(&View {
                snapshot: &info.id.to_hex(),
                name: &info.snapshot.name,
                entry: EntryView::new(path, node),
            });
        }
        self.out.line(format!(
            "{}  {:>11}  {}:{}",
            text::local_time(node.meta.mtime),
            text::bytes(node.bytes()),
            info.id.short(),
            marked(path.as_bytes(), &node.body, true)
        ))
    }
}
