//! `TarSource` over any bytes: it keeps the contract of sources, and what it accepts it gives back byte for byte.
#![no_main]

use std::io::Cursor;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use repo::entry::{Checked, Entry, Order, Outcome, Sink, Source, Want};
use repo::error::{Class, Error, Result};
use repo::progress::Silent;
use repo::source::identity::Expected;
use repo::source::tar::{TarOptions, TarSource};

/// Compares the stream with the input as it comes, and keeps nothing.
struct Compare<'a> {
    input: &'a [u8],
    at: usize,
    entries: usize,
}

impl Compare<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let expected = self.input.get(self.at..self.at + bytes.len());
        assert_eq!(expected, Some(bytes), "not the bytes of the archive");
        self.at += bytes.len();
        Ok(())
    }
}

impl Sink for Compare<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        self.entries += 1;
        assert!(self.entries <= self.input.len(), "entries out of nothing");
        let extents = entry.extents.as_deref().unwrap_or_default();
        let mut end = 0;
        for extent in extents {
            assert!(extent.offset >= end && extent.len > 0);
            end = extent.offset + extent.len;
        }
        assert!(end <= entry.size);
        Ok(Want::Content)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.take(bytes)
    }

    fn hole(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        if outcome == Outcome::Failed {
            return Err(Error::new(Class::Invalid, "a member cannot fail alone"));
        }
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.take(bytes)
    }
}

fuzz_target!(|data: &[u8]| {
    for expected in [Expected::Any, Expected::Nothing] {
        let sink = Compare {
            input: data,
            at: 0,
            entries: 0,
        };
        let mut sink = Checked::new(sink, Order::Archive);
        let options = TarOptions { expected };
        let mut source = TarSource::new(Cursor::new(data), options, Arc::new(Silent));
        match source.stream(&mut sink) {
            Ok(()) => {
                let sink = sink.finish().expect("a whole stream");
                assert_eq!(sink.at, data.len(), "all of it");
                let summary = source.summary();
                assert_eq!(summary.stream_bytes, data.len() as u64);
                assert_eq!(summary.entries, sink.entries as u64);
            }
            Err(error) => assert!(!error.to_string().contains("broke its contract"), "{error}"),
        }
    }
});
