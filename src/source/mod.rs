//! What can be ingested: every input is a [`Source`](crate::entry::Source) that pushes entries into a sink.
//!
//! A new input is one file (or folder) here and one row in the table that the command line reads. Nothing here knows
//! the repository: sources depend on `entry` and on the outside world only. What an input is, is found by its content
//! ([`detect`]), never by its name; compression around it is taken off first, because a compressed
//! stream does not deduplicate.

pub mod command;
pub mod detect;
pub mod dir;
pub mod disk;
pub mod exclude;
mod extents;
pub mod identity;
pub mod peel;
pub mod qcow2;
mod readahead;
pub mod stream;
pub mod tar;
mod window;

use crate::entry::{Entry, EntryPath, Kind};

/// The root of a tree whose input has no directory to stand for it: for its owner only, without a time.
fn bare_root() -> Entry {
    let mut root = Entry::new(EntryPath::root(), Kind::Directory);
    root.meta.mode = 0o700;
    root
}
