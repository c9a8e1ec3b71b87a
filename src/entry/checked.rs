//! A sink that asserts the call contract of [`Source`](super::Source) and passes everything on; used by the conformance tests of
//! all sources, and cheap enough to stay in release builds where a foreign source is plugged in.

use super::{Entry, EntryPath, Order, Outcome, Sink, Want};
use crate::error::{Error, Result};

/// Wraps a sink; every breach of the contract becomes an error that names the entry.
pub struct Checked<S> {
    inner: S,
    order: Order,
    last: Option<EntryPath>,
    in_file: bool,
    had_data: bool,
}

impl<S: Sink> Checked<S> {
    /// Checks a stream of the given order on its way into `inner`.
    pub fn new(inner: S, order: Order) -> Self {
        Self {
            inner,
            order,
            last: None,
            in_file: false,
            had_data: false,
        }
    }

    /// Ends the check: no file may be open.
    pub fn finish(self) -> Result<S> {
        if self.in_file {
            return Err(self.breach("the stream ended inside a file"));
        }
        Ok(self.inner)
    }

    fn breach(&self, what: &str) -> Error {
        let last = self
            .last
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        Error::invalid(format!("source broke its contract at '{last}': {what}"))
    }
}

impl<S: Sink> Sink for Checked<S> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        if self.in_file {
            return Err(self.breach("an entry began inside a file"));
        }
        if self.order == Order::Walk && self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(self.breach(&format!("'{}' came out of order", entry.path)));
        }
        self.last = Some(entry.path.clone());
        let want = self.inner.entry(entry)?;
        self.in_file = entry.is_file() && want == Want::Content;
        self.had_data = false;
        Ok(want)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.in_file || bytes.is_empty() {
            return Err(self.breach("data outside a file, or empty"));
        }
        self.had_data = true;
        self.inner.data(bytes)
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        if !self.in_file || len == 0 {
            return Err(self.breach("a hole outside a file, or empty"));
        }
        self.inner.hole(len)
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        if !self.in_file {
            return Err(self.breach("end without a file"));
        }
        self.in_file = false;
        self.inner.end(outcome)
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        if self.in_file && self.had_data {
            return Err(self.breach("literal bytes after content had begun"));
        }
        self.inner.literal(bytes)
    }
}
