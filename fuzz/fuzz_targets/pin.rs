//! `Pin::decode`: what was decoded, encoded again, decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::pin::Pin;

fuzz_target!(|data: &[u8]| {
    if let Ok(pin) = Pin::decode(data) {
        let again = Pin::decode(&pin.encode()).expect("its own encoding");
        assert_eq!(pin, again);
    }
});
