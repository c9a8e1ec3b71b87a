//! How the library speaks: counters, and warnings about single entries, to whatever [`Monitor`] was passed in.
//!
//! The library never prints. A command line draws bars from these calls; a test records them.

use std::sync::Mutex;

/// What a running operation counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Count {
    /// Entries (files, directories, links ...) seen.
    Entries,
    /// Bytes of content read from the source, or written to the target.
    Bytes,
    /// Bytes of content that the repository held already.
    KnownBytes,
    /// Files not read because the catalog knew them unchanged.
    UnchangedFiles,
    /// Bytes added to the repository, as stored.
    StoredBytes,
    /// Objects read or verified.
    Objects,
    /// Blocks unsealed and decompressed.
    Blocks,
}

/// Receives progress and warnings; shared by threads.
pub trait Monitor: Send + Sync {
    /// `count` grew by `n`.
    fn add(&self, count: Count, n: u64);
    /// The total that `count` is expected to reach became known.
    fn expect(&self, count: Count, total: u64);
    /// What is worked on now, for a person (a path, an object name).
    fn doing(&self, what: &dyn Fn() -> String);
    /// Something about one entry or object that the user must know; the operation goes on and ends with exit code 7.
    fn warn(&self, message: &str);
    /// Something worth saying that is no problem ("the catalog was rebuilt").
    fn note(&self, message: &str);
    /// True once the user asked to stop; long operations poll it and end with class `Interrupted`.
    fn interrupted(&self) -> bool;
}

/// Ignores everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Monitor for Silent {
    fn add(&self, _: Count, _: u64) {}
    fn expect(&self, _: Count, _: u64) {}
    fn doing(&self, _: &dyn Fn() -> String) {}
    fn warn(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        false
    }
}

/// Keeps every count and message, for tests and for summaries.
#[derive(Debug, Default)]
pub struct Recorder {
    counts: Mutex<std::collections::BTreeMap<Count, u64>>,
    warnings: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
}

impl Recorder {
    /// The sum of one counter so far.
    pub fn count(&self, count: Count) -> u64 {
        lock(&self.counts).get(&count).copied().unwrap_or(0)
    }

    /// The warnings so far, in order.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// The notes so far, in order.
    pub fn notes(&self) -> Vec<String> {
        lock(&self.notes).clone()
    }
}

impl Monitor for Recorder {
    fn add(&self, count: Count, n: u64) {
        *lock(&self.counts).entry(count).or_default() += n;
    }
    fn expect(&self, _: Count, _: u64) {}
    fn doing(&self, _: &dyn Fn() -> String) {}
    fn warn(&self, message: &str) {
        lock(&self.warnings).push(message.to_owned());
    }
    fn note(&self, message: &str) {
        lock(&self.notes).push(message.to_owned());
    }
    fn interrupted(&self) -> bool {
        false
    }
}

/// A poisoned lock only says that some thread panicked; the counters are still whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
