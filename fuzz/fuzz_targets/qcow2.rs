//! `Qcow2Source` over any bytes: a disk of exactly the size it says, or an error.
#![no_main]

use std::io::Write;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use repo::entry::{Checked, Entry, Order, Outcome, Sink, Source, Want};
use repo::error::{Class, Error, Result};
use repo::progress::Silent;
use repo::source::qcow2::{Qcow2Source, Qcow2Via};

/// A few clusters may stand for a whole disk; reading on teaches nothing.
const MAX_DATA_BYTES: u64 = 8 << 20;

#[derive(Default)]
struct Count {
    bytes: u64,
    data_bytes: u64,
    ended: bool,
}

impl Sink for &mut Count {
    fn entry(&mut self, _: &Entry) -> Result<Want> {
        Ok(Want::Content)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.data_bytes += bytes.len() as u64;
        if self.data_bytes > MAX_DATA_BYTES {
            return Err(Error::new(Class::Full, "enough"));
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        self.bytes += len;
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        self.ended = outcome == Outcome::Whole;
        Ok(())
    }

    fn literal(&mut self, _: &[u8]) -> Result<()> {
        panic!("a disk has no literal bytes")
    }
}

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::Builder::new()
        .tempfile_in("/dev/shm")
        .expect("a file in memory");
    file.write_all(data).expect("a file in memory");
    let via = Qcow2Via::Native;
    let Ok(mut source) = Qcow2Source::open(file.path(), &[], &via, Arc::new(Silent)) else {
        return;
    };
    let mut count = Count::default();
    let mut sink = Checked::new(&mut count, Order::Walk);
    let streamed = source.stream(&mut sink);
    drop(sink);
    if streamed.is_ok() {
        assert!(count.ended);
        assert_eq!(count.bytes, source.size());
    }
});
