//! `Peeled` over any bytes: it ends, and what is not compressed is passed on as it is.
#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use repo::source::peel::{MAX_LAYERS, Peeled};

/// A bomb is somebody else's to stop; here it only takes time.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(mut peeled) = Peeled::new(Cursor::new(data.to_vec())) else {
        return;
    };
    assert!(peeled.layers().len() <= MAX_LAYERS);
    let mut out = Vec::new();
    let read = peeled.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut out);
    if peeled.layers().is_empty() {
        assert!(read.is_ok());
        assert_eq!(out, data);
    }
});
