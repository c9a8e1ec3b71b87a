//! Byte streams on their way out, compressed or not, behind one trait: what a container writes into, and what an original stream is
//! written into as it is.

use std::io::{BufWriter, Write};

use super::Options;
use super::gzip::{self, GzipWriter};
use super::zst::{self, ZstdWriter};
use crate::error::{At, Error, Result};

/// Where an export goes in the end.
pub type Output = Box<dyn Write + Send>;

/// A stream that must be completed: dropped without [`Packed::finish`], what was written is not valid.
pub trait Packed: Write {
    /// Writes what is left, down to the output.
    fn finish(self: Box<Self>) -> Result<()>;
}

impl Packed for BufWriter<Output> {
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush().at("write the export")
    }
}

impl Packed for GzipWriter<Output> {
    fn finish(self: Box<Self>) -> Result<()> {
        GzipWriter::finish(*self)?.flush().at("write the export")
    }
}

impl Packed for ZstdWriter<Output> {
    fn finish(self: Box<Self>) -> Result<()> {
        ZstdWriter::finish(*self)?.flush().at("write the export")
    }
}

/// As it is.
pub(super) fn plain(out: Output, options: &Options) -> Result<Box<dyn Packed>> {
    if options.level.is_some() {
        let what = "this format is not compressed, so it has no level";
        return Err(Error::invalid(what));
    }
    Ok(Box::new(BufWriter::new(out)))
}

/// As gzip.
pub(super) fn gzip(out: Output, options: &Options) -> Result<Box<dyn Packed>> {
    let level = options.gzip_level()?;
    let writer = GzipWriter::new(out, level, options.threads)?;
    Ok(Box::new(writer))
}

/// As zstd.
pub(super) fn zstd(out: Output, options: &Options) -> Result<Box<dyn Packed>> {
    let level = options.level.unwrap_or(zst::DEFAULT_LEVEL);
    let writer = ZstdWriter::new(out, level, options.threads)?;
    Ok(Box::new(writer))
}

impl Options {
    /// The level as gzip and zip count.
    pub(super) fn gzip_level(&self) -> Result<u32> {
        self.level.map_or(Ok(gzip::DEFAULT_LEVEL), |level| {
            u32::try_from(level).map_err(|_| Error::invalid("there is no negative level here"))
        })
    }
}
