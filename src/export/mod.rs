//! Trees of entries on their way out: archives as streams, and files placed beneath a directory.
//!
//! Every format is one row of [`FORMATS`]: a container that turns entries into bytes, and a packing that the bytes go through.
//! A new one is a file beside this one and a row here. What a format cannot hold, it says through the monitor. Output depends on
//! the input alone, not on the number of threads, the time or the machine.

mod blocks;
pub mod gzip;
#[cfg(test)]
mod judge;
mod pack;
pub mod place;
pub mod raw;
pub mod tar;
pub mod zip;
pub mod zst;

use std::io::BufWriter;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub use self::pack::{Output, Packed};
use self::raw::RawWriter;
use self::tar::{Sparse, TarWriter};
use self::zip::ZipWriter;
use crate::entry::Sink;
use crate::error::Result;
use crate::progress::Monitor;

/// How an export is written, as far as the format leaves a choice.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How files with holes are written in a tar; `cocoon` has a way of its own.
    pub sparse: Sparse,
    /// How hard to compress; the format's usual level if not said.
    pub level: Option<i32>,
    /// Threads that compress.
    pub threads: usize,
}

/// A sink that writes an archive and must be completed: dropped without [`Export::finish`], the archive is not valid.
pub trait Export: Sink {
    /// Writes the end, down to the output.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// One way to hand a snapshot out as a stream.
pub struct Format {
    /// What it is called.
    pub name: &'static str,
    /// What its files end in, without the dot; empty if they end in nothing special.
    pub extension: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The file that tells what the archive is: it comes first, then other files, and nothing else.
    pub envelope: Option<&'static str>,
    container: Container,
    packing: Packing,
    levels: Option<RangeInclusive<i32>>,
}

type Container = fn(Box<dyn Packed>, &Options, Arc<dyn Monitor>) -> Result<Box<dyn Export>>;
type Packing = fn(Output, &Options) -> Result<Box<dyn Packed>>;

/// Entries as a tar, with the sparse files that were asked for.
const TAR: Container =
    |out, options, monitor| Ok(Box::new(TarWriter::new(out, options.sparse, monitor)));

/// All formats, the usual one first. (`dir` is no stream: see [`place::DirSink`]; `original` needs no format.)
pub const FORMATS: &[Format] = &[
    Format {
        name: "tar",
        extension: "tar",
        about: "a POSIX tar (PAX) with all metadata",
        container: TAR,
        envelope: None,
        packing: pack::plain,
        levels: None,
    },
    Format {
        name: "tar.gz",
        extension: "tar.gz",
        about: "the same, compressed as one gzip member on all cores",
        container: TAR,
        envelope: None,
        packing: pack::gzip,
        levels: Some(1..=9),
    },
    Format {
        name: "tar.zst",
        extension: "tar.zst",
        about: "the same, compressed with zstd on all cores",
        container: TAR,
        envelope: None,
        packing: pack::zstd,
        levels: Some(1..=22),
    },
    Format {
        name: "cocoon",
        extension: "tar",
        about: "a tar with the sparse files of cocoon's VM snapshots, for its importer only",
        container: |out, _, monitor| Ok(Box::new(TarWriter::new(out, Sparse::Cocoon, monitor))),
        envelope: Some("snapshot.json"),
        packing: pack::plain,
        levels: None,
    },
    Format {
        name: "zip",
        extension: "zip",
        about: "a zip: no attributes, devices or hard links",
        container: |out, options, monitor| {
            Ok(Box::new(ZipWriter::new(
                out,
                options.gzip_level()?,
                monitor,
            )?))
        },
        envelope: None,
        // The container compresses by itself and takes the level.
        packing: |out, _| Ok(Box::new(BufWriter::new(out))),
        levels: Some(1..=9),
    },
    Format {
        name: "raw",
        extension: "",
        about: "the content of a single file",
        container: |out, _, _| Ok(Box::new(RawWriter::stream(out))),
        envelope: None,
        packing: pack::plain,
        levels: None,
    },
];

impl Format {
    /// The format of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// How hard it can compress; `None` if it does not.
    pub fn levels(&self) -> Option<RangeInclusive<i32>> {
        self.levels.clone()
    }

    /// Begins an archive of entries.
    pub fn open(
        &self,
        out: Output,
        options: &Options,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Box<dyn Export>> {
        (self.container)(self.pack(out, options)?, options, monitor)
    }

    /// Begins a stream that has its container already (an original tar), only packed as this format is.
    pub fn pack(&self, out: Output, options: &Options) -> Result<Box<dyn Packed>> {
        (self.packing)(out, options)
    }
}

impl Export for TarWriter<Box<dyn Packed>> {
    fn finish(self: Box<Self>) -> Result<()> {
        TarWriter::finish(*self)?.finish()
    }
}

impl Export for ZipWriter<Box<dyn Packed>> {
    fn finish(self: Box<Self>) -> Result<()> {
        ZipWriter::finish(*self)?.finish()
    }
}

impl Export for RawWriter<Box<dyn Packed>> {
    fn finish(self: Box<Self>) -> Result<()> {
        RawWriter::finish(*self)?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{MemorySource, Order, Source};
    use crate::progress::Recorder;

    #[test]
    fn every_format_writes_what_bsdtar_reads() {
        for format in FORMATS {
            let tmp = tempfile::tempdir().unwrap();
            let out = std::fs::File::create(tmp.path().join("out")).unwrap();
            let options = Options {
                sparse: Sparse::default(),
                level: None,
                threads: 2,
            };
            let monitor = Arc::new(Recorder::default());
            let mut export = format.open(Box::new(out), &options, monitor).unwrap();
            let items = vec![judge::file("name", 0o600, b"content")];
            MemorySource::new(items, Order::Walk)
                .stream(&mut *export)
                .unwrap();
            export.finish().unwrap();
            if format.name == "raw" {
                assert_eq!(std::fs::read(tmp.path().join("out")).unwrap(), b"content");
                continue;
            }
            let shown = judge::run(tmp.path(), "bsdtar", &["-xOf", "out", "name"]);
            assert_eq!(shown, "content", "{}", format.name);
        }
        assert!(Format::named("tar.gz").is_some() && Format::named("rar").is_none());
    }

    #[test]
    fn levels_belong_to_formats_that_have_them() {
        let open = |name: &str, level| {
            let options = Options {
                sparse: Sparse::default(),
                level: Some(level),
                threads: 1,
            };
            let out = Box::new(std::io::sink());
            let format = Format::named(name).unwrap();
            format.open(out, &options, Arc::new(Recorder::default()))
        };
        assert!(open("tar", 1).is_err() && open("raw", 1).is_err());
        assert!(open("zip", 9).is_ok() && open("zip", 10).is_err() && open("zip", -1).is_err());
        assert!(open("tar.gz", 1).is_ok() && open("tar.gz", 10).is_err());
        assert!(open("tar.zst", 19).is_ok() && open("tar.zst", 99).is_err());
    }
}
