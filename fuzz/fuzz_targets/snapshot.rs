//! `Snapshot::decode`: what was decoded, encoded again, decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::snapshot::Snapshot;

fuzz_target!(|data: &[u8]| {
    if let Ok(snapshot) = Snapshot::decode(data) {
        let again = Snapshot::decode(&snapshot.encode()).expect("its own encoding");
        assert_eq!(snapshot, again);
    }
});
