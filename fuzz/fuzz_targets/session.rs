//! `Session::decode`: what was decoded, encoded again, decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::session::Session;

fuzz_target!(|data: &[u8]| {
    if let Ok(session) = Session::decode(data) {
        let again = Session::decode(&session.encode()).expect("its own encoding");
        assert_eq!(session, again);
    }
});
