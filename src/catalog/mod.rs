//! The catalog: what this client remembers of a repository, so that it need not be read again.
//!
//! A SQLite database of derived data only: which chunks lie where, which index objects were taken in, snapshots, and what
//! each source path was last time. Whatever happens to it, the repository can rebuild it; so an unknown, foreign or
//! damaged catalog is replaced by an empty one, and a place that cannot be written gives a catalog in memory. Both are
//! reported by [`Opened`] and never fail.
//!
//! Several processes use one catalog at once: write transactions begin `IMMEDIATE` and are short, but for that of a rebuild;
//! readers never wait for them (WAL). Names and paths are never in clear: keys are keyed hashes and values are sealed by the caller. SQLite does
//! not notice bits that flip in a row, so rows that say where bytes lie carry a checksum: a damaged catalog may cost
//! time, but never answers wrongly.

mod chunks;
mod connections;
mod homes;
mod known;
mod listings;
mod loader;
mod open;
mod pack_row;
mod packs;
mod piles;
mod schema;
mod snapshots;

use std::path::PathBuf;

pub use chunks::{Home, Location};
pub use known::KnownRow;
pub use loader::Loader;
pub use pack_row::PackRow;
pub use piles::Piles;

use self::connections::Connections;
use self::pack_row::PackCache;

/// Where a catalog lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogPlace {
    /// In this file, in a directory that is made if it is missing. SQLite puts `-wal` and `-shm` beside it.
    File(PathBuf),
    /// In memory, gone with the process.
    Memory,
}

/// What opening a catalog found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none: it is empty.
    Fresh,
    /// It is as the last process left it.
    Existing,
    /// What was there could not be used, for this reason; it is empty.
    Replaced(String),
    /// The place cannot be used, for this reason; it is empty, in memory, and gone with the process.
    InMemory(String),
}

/// An open catalog; shared by threads.
#[derive(Debug)]
pub struct Catalog {
    connections: Connections,
    packs: PackCache,
}

#[cfg(test)]
mod piles_tests;
#[cfg(test)]
mod tests;
