//! Keeps the warnings of an ingest for its snapshot, while they go on to the monitor.

use std::sync::{Arc, Mutex};

use crate::format::snapshot::{MAX_LIST, MAX_TEXT_BYTES};
use crate::progress::{Count, Monitor};
use crate::repository::lock;

/// Bytes of warnings that a snapshot keeps.
const MAX_BYTES: usize = 1 << 20;

pub(super) struct WarningLog {
    monitor: Arc<dyn Monitor>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    warnings: Vec<String>,
    bytes: usize,
    count: u64,
}

impl WarningLog {
    pub(super) fn new(monitor: Arc<dyn Monitor>) -> Self {
        Self {
            monitor,
            kept: Mutex::default(),
        }
    }

    /// The first warnings, and how many there were in all.
    pub(super) fn take(&self) -> (Vec<String>, u64) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        (kept.warnings, kept.count)
    }
}

impl Monitor for WarningLog {
    fn add(&self, count: Count, n: u64) {
        self.monitor.add(count, n);
    }

    fn expect(&self, count: Count, total: u64) {
        self.monitor.expect(count, total);
    }

    fn doing(&self, what: &dyn Fn() -> String) {
        self.monitor.doing(what);
    }

    fn warn(&self, message: &str) {
        let mut kept = lock(&self.kept);
        kept.count += 1;
        if kept.warnings.len() < MAX_LIST
            && message.len() <= MAX_TEXT_BYTES
            && kept.bytes + message.len() <= MAX_BYTES
        {
            kept.bytes += message.len();
            kept.warnings.push(message.to_owned());
        }
        drop(kept);
        self.monitor.warn(message);
    }

    fn note(&self, message: &str) {
        self.monitor.note(message);
    }

    fn interrupted(&self) -> bool {
        self.monitor.interrupted()
    }
}
