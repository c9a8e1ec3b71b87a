//! What to do with an entry, given what is in the target already.

use rustix::fs::FileType;

use super::report::Action;
use super::{Overwrite, RestoreOptions};
use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::export::place::{Found, Place};
use crate::format::tree::{Body, Node};

/// The action for `node` at `path`; without a place (it does not exist yet) everything is created.
pub(super) fn decide(
    place: Option<&Place>,
    path: &EntryPath,
    node: &Node,
    options: &RestoreOptions,
) -> Result<Action> {
    let Some(place) = place else {
        return Ok(Action::Create);
    };
    let Some(found) = place.lookup(path)? else {
        return Ok(Action::Create);
    };
    let directory = matches!(node.body, Body::Directory(_));
    match (directory, found.is_directory(), options.overwrite) {
        (true, true, Overwrite::Never) | (false, _, Overwrite::Never) => Ok(Action::Keep),
        (true, true, _) => Ok(Action::Refresh),
        (true, false, Overwrite::Never) => Err(in_the_way(path, "something that is no directory")),
        (false, true, _) if !place.names_in(path)?.is_empty() => {
            Err(in_the_way(path, "a directory that is not empty"))
        }
        (true, false, _) | (false, true, _) | (false, false, Overwrite::Always) => {
            Ok(Action::Replace)
        }
        (false, false, Overwrite::IfChanged) => Ok(if_changed(&found, node, options)),
    }
}

fn if_changed(found: &Found, node: &Node, options: &RestoreOptions) -> Action {
    let same_time = found.mtime == node.meta.mtime;
    match &node.body {
        Body::File { size, .. } if found.kind == FileType::RegularFile && found.size == *size => {
            if options.verify {
                Action::Compare
            } else if same_time {
                Action::Refresh
            } else {
                Action::Replace
            }
        }
        Body::Symlink(target)
            if found.kind == FileType::Symlink
                && same_time
                && found.size == target.len() as u64 =>
        {
            Action::Refresh
        }
        _ => Action::Replace,
    }
}

fn in_the_way(path: &EntryPath, what: &str) -> Error {
    Error::new(
        Class::Refused,
        format!("'{path}': {what} is in its place; move it away or restore elsewhere"),
    )
}
