//! Directories and files of a file system.

use std::path::PathBuf;
use std::sync::Arc;

use super::ReadingArgs;
use crate::cli::context::Context;
use crate::cli::exit::Done;
use crate::entry::{Entry, Known, Outcome, Sink, Source, Want};
use crate::error::Result;
use crate::format::snapshot::StreamKind;
use crate::ingest::{Ingest, IngestSummary, StreamFacts};
use crate::progress::{Count, Monitor};
use crate::repository::Cutting;
use crate::repository::shelf::SpillShelf;
use crate::source::dir::{DirOptions, DirSource};

/// Takes what is at `paths`.
pub(super) fn run(paths: Vec<PathBuf>, args: &ReadingArgs, ingest: Ingest) -> Done<IngestSummary> {
    let options = DirOptions {
        known: ingest.known(),
        shelf: Some(ingest.shelf()),
        ..options(args)
    };
    let source = DirSource::new(paths, options, ingest.monitor())?;
    Ok(ingest.run(
        source,
        |_| Cutting::File,
        |_| Ok(StreamFacts::of(StreamKind::Dir)),
    )?)
}

fn options(args: &ReadingArgs) -> DirOptions {
    DirOptions {
        exclude: args.exclude.clone(),
        exclude_files: args.exclude_from.clone(),
        exclude_caches: args.exclude_caches,
        one_file_system: args.one_file_system,
        ..DirOptions::default()
    }
}

/// What a dry run found.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Files.
    pub(super) files: u64,
    /// Directories.
    pub(super) directories: u64,
    /// All else.
    pub(super) others: u64,
    /// Bytes of the files.
    pub(super) bytes: u64,
}

/// Goes over everything without reading the files.
pub(super) fn look(paths: Vec<PathBuf>, args: &ReadingArgs, context: &Context) -> Done<Counted> {
    let monitor = context.library_monitor();
    let options = DirOptions {
        known: Some(Arc::new(AllKnown)),
        shelf: Some(Arc::new(SpillShelf::new(context.scratch()))),
        ..options(args)
    };
    let mut source = DirSource::new(paths, options, Arc::clone(&monitor))?;
    let mut counter = Counter {
        counted: Counted::default(),
        monitor: monitor.as_ref(),
    };
    source.stream(&mut counter)?;
    Ok(counter.counted)
}

/// Everything is known: nothing is read.
struct AllKnown;

impl Known for AllKnown {
    fn unchanged(&self, _: &Entry) -> bool {
        true
    }
}

struct Counter<'a> {
    counted: Counted,
    monitor: &'a dyn Monitor,
}

impl Sink for Counter<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        let counted = &mut self.counted;
        if entry.is_file() {
            counted.files += 1;
            counted.bytes = counted.bytes.saturating_add(entry.size);
        } else if entry.is_directory() {
            counted.directories += u64::from(!entry.path.is_root());
        } else {
            counted.others += 1;
        }
        self.monitor.add(Count::Entries, 1);
        self.monitor.doing(&|| entry.path.to_string());
        Ok(Want::Skip)
    }

    fn data(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn hole(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, _: Outcome) -> Result<()> {
        Ok(())
    }

    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}
