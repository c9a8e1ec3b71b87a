//! Trees of entries on their way out: archives as streams, and files placed beneath a directory.

mod blocks;
pub mod gzip;
#[cfg(test)]
mod judge;
pub mod place;
pub mod tar;
pub mod zst;
