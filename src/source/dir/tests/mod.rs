//! The directory source against real trees; every stream passes the contract check.

mod changing;
mod fidelity;
mod order;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{DirOptions, DirSource};
use crate::entry::{Checked, MemoryEntry, MemorySink, Order, Source};
use crate::progress::Recorder;

/// A source's whole stream and its warnings.
pub(super) struct Streamed {
    pub(super) sink: MemorySink,
    pub(super) warnings: Vec<String>,
}

impl Streamed {
    pub(super) fn get(&self, path: &str) -> &MemoryEntry {
        self.sink
            .get(path.as_bytes())
            .unwrap_or_else(|| panic!("no entry {path}"))
    }

    pub(super) fn paths(&self) -> Vec<String> {
        let entries = self.sink.entries.iter();
        entries.map(|e| e.entry.path.to_string()).collect()
    }
}

pub(super) fn stream_all(roots: &[&Path], options: DirOptions) -> Streamed {
    let monitor = Arc::new(Recorder::default());
    let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
    let mut source = DirSource::new(roots, options, monitor.clone()).unwrap();
    let mut sink = Checked::new(MemorySink::default(), Order::Walk);
    source.stream(&mut sink).unwrap();
    Streamed {
        sink: sink.finish().unwrap(),
        warnings: monitor.warnings(),
    }
}

pub(super) fn stream(root: &Path) -> Streamed {
    stream_all(&[root], DirOptions::default())
}

/// Runs a shell script in `dir` and insists on its success.
pub(super) fn sh(dir: &Path, script: &str) {
    let mut shell = Command::new("bash");
    shell.current_dir(dir).args(["-euc", script]);
    assert!(shell.status().unwrap().success(), "script failed: {script}");
}
