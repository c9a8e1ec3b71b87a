//! Trees of entries on their way out: archives as streams, and files placed beneath a directory.

pub mod place;
