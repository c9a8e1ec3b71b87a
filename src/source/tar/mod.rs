//! Tar archives of every dialect: v7, ustar, star, GNU, PAX, with all spellings of sparse files.
//!
//! **The law:** the bytes that go to the sink by `literal` and `data`, in the order of the calls, are exactly the bytes that
//! were read. So an archive can be handed back as it was, whatever wrote it; what this module makes of a header
//! matters for the tree only. Member content goes by `data` (holes by `hole`), all else by `literal`: headers, maps,
//! padding, end blocks, what follows them.
//!
//! What no tree can hold (names with `..`, volume labels, a hard link to nowhere) is kept in the literal stream and
//! named in a warning. What would make a wrong tree is an error: a bad checksum, a sparse map that does not fit, an
//! early end. Memory is bounded whatever the archive says: see the limits in `reader`, `extra` and `sparse`.
//!
//! A hard link's target is not looked up here: the sink knows what came before, and says so if nothing did.

mod acl;
mod base64;
mod extra;
mod header;
mod member;
mod number;
mod pax;
mod reader;
mod report;
mod sparse;

use std::fmt::Write as _;
use std::io::Read;
use std::sync::Arc;

pub use header::is_header;

use super::identity::{Expected, Finder, Identity};
use super::window::Window;
use crate::entry::{Order, Sink, Source};
use crate::error::{Error, Result};
use crate::progress::Monitor;

/// Bytes read at once; also the most that is looked ahead.
const WINDOW_BYTES: usize = 1 << 20;

/// The longest path or link target that is shown in the tree.
const MAX_PATH_BYTES: usize = 64 << 10;

/// How much of a name is shown in messages.
const MAX_SHOWN_BYTES: usize = 400;

/// How to read an archive.
#[derive(Clone, Copy, Debug, Default)]
pub struct TarOptions {
    /// Which identity documents to look for.
    pub expected: Expected,
}

/// What was found in an archive, apart from its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TarSummary {
    /// Entries given to the sink.
    pub entries: u64,
    /// Members kept in the stream but not shown.
    pub hidden: u64,
    /// Archives behind each other; 1 is the rule.
    pub archives: u64,
    /// True if the last archive was ended as it should be, by two zero blocks.
    pub end_blocks: bool,
    /// Bytes after the end that are no archive (zeros, as they fill the last record, do not count).
    pub trailing_bytes: u64,
    /// Bytes of the whole stream.
    pub stream_bytes: u64,
}

/// A tar archive, read from a plain (decompressed) stream.
pub struct TarSource<'a> {
    window: Window<Box<dyn Read + Send + 'a>>,
    options: TarOptions,
    monitor: Arc<dyn Monitor>,
    summary: TarSummary,
    identity: Option<Identity>,
    streamed: bool,
}

impl<'a> TarSource<'a> {
    /// Will read the archive from `reader` to the end of the stream.
    pub fn new(
        reader: impl Read + Send + 'a,
        options: TarOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Self {
        Self {
            window: Window::new(Box::new(reader), WINDOW_BYTES),
            options,
            monitor,
            summary: TarSummary::default(),
            identity: None,
            streamed: false,
        }
    }

    /// What the archive is, by its identity document; known after `stream` returned `Ok`.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What else was found; complete after `stream` returned `Ok`.
    pub fn summary(&self) -> TarSummary {
        self.summary
    }
}

impl Source for TarSource<'_> {
    fn order(&self) -> Order {
        Order::Archive
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        if std::mem::replace(&mut self.streamed, true) {
            return Err(Error::invalid("a tar can be read only once"));
        }
        let report = report::Report::new(self.monitor.clone());
        let finder = Finder::new(self.options.expected);
        let mut reader = reader::Reader::new(&mut self.window, sink, report, finder);
        let result = reader.run();
        reader.report.finish();
        self.summary = reader.summary;
        let finder = reader.finder;
        self.summary.stream_bytes = self.window.offset();
        result?;
        self.identity = finder.finish(&*self.monitor)?;
        Ok(())
    }
}

/// A name for people: bounded, and escaped so that it can never drive a terminal.
fn show(name: &[u8]) -> String {
    let cut = name.len() > MAX_SHOWN_BYTES;
    let mut text = String::new();
    for chunk in name[..name.len().min(MAX_SHOWN_BYTES)].utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if cut {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests;
