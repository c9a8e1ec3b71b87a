//! What the reader tells about an archive: bounded, since a hostile archive can earn a warning with every block.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::show;
use crate::progress::Monitor;

/// How many warnings are given one by one; the rest is only counted.
const MAX_WARNINGS: u64 = 1000;

/// Passes warnings and notes on.
pub(super) struct Report {
    monitor: Arc<dyn Monitor>,
    warnings: u64,
    noted: BTreeSet<&'static str>,
}

impl Report {
    pub(super) fn new(monitor: Arc<dyn Monitor>) -> Self {
        Self {
            monitor,
            warnings: 0,
            noted: BTreeSet::new(),
        }
    }

    /// True once the user asked to stop.
    pub(super) fn interrupted(&self) -> bool {
        self.monitor.interrupted()
    }

    /// A warning about the whole archive.
    pub(super) fn warn(&mut self, message: &str) {
        self.warnings += 1;
        if self.warnings <= MAX_WARNINGS {
            self.monitor.warn(message);
        }
    }

    /// Warnings about one member.
    pub(super) fn problems(&mut self, name: &[u8], problems: &[String]) {
        for problem in problems {
            self.warn(&format!("'{}': {problem}", show(name)));
        }
    }

    /// A note, once per archive.
    pub(super) fn note_once(&mut self, message: &'static str) {
        if self.noted.insert(message) {
            self.monitor.note(message);
        }
    }

    /// Says how many warnings were not given.
    pub(super) fn finish(&mut self) {
        if let Some(more @ 1..) = self.warnings.checked_sub(MAX_WARNINGS) {
            self.monitor
                .warn(&format!("{more} more warnings about this archive"));
        }
    }
}
