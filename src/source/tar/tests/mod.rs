//! The law and the tree, for archives of every writer at hand and for bytes made by hand.

mod build;
mod foreign;
mod hand;
mod hostile;
mod identity;
mod random;

use std::io::Cursor;

use super::*;
use crate::entry::{Checked, Kind, MemoryEntry, MemorySink};
use crate::progress::Recorder;

/// What came out of an archive.
struct Taken {
    sink: MemorySink,
    summary: TarSummary,
    identity: Option<Identity>,
    warnings: Vec<String>,
    notes: Vec<String>,
}

impl Taken {
    fn get(&self, path: &str) -> &MemoryEntry {
        self.sink
            .get(path.as_bytes())
            .unwrap_or_else(|| panic!("no {path} in {:?}", self.paths()))
    }

    fn paths(&self) -> Vec<String> {
        let entries = self.sink.entries.iter();
        entries.map(|e| e.entry.path.to_string()).collect()
    }

    fn warned(&self, part: &str) -> bool {
        self.warnings.iter().any(|w| w.contains(part))
    }
}

/// Reads an archive through a sink that checks the calls; what is accepted must come back byte for byte.
fn take(bytes: &[u8]) -> Result<Taken> {
    take_as(bytes, Expected::Any)
}

fn take_as(bytes: &[u8], expected: Expected) -> Result<Taken> {
    let monitor = Arc::new(Recorder::default());
    let reader = Cursor::new(bytes);
    let mut source = TarSource::new(reader, TarOptions { expected }, monitor.clone());
    let mut sink = Checked::new(MemorySink::default(), Order::Archive);
    source.stream(&mut sink)?;
    let sink = sink.finish()?;
    assert!(sink.stream == bytes, "the stream is not what went in");
    assert_eq!(source.summary().stream_bytes, bytes.len() as u64);
    assert_eq!(source.summary().entries, sink.entries.len() as u64);
    for item in &sink.entries {
        assert_eq!(
            item.bytes().len() as u64,
            item.entry.size,
            "{}",
            item.entry.path
        );
    }
    Ok(Taken {
        sink,
        summary: source.summary(),
        identity: source.identity().cloned(),
        warnings: monitor.warnings(),
        notes: monitor.notes(),
    })
}

/// The error of an archive that must not be accepted.
fn refused(bytes: &[u8]) -> Error {
    match take(bytes) {
        Ok(taken) => panic!("accepted: {:?}", taken.paths()),
        Err(error) => error,
    }
}
