//! `PackRecord::decode_all`: one spelling for all records of a block.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::index::PackRecord;

fuzz_target!(|data: &[u8]| {
    let mut encoded = Vec::new();
    let decoded = PackRecord::decode_all(data, |record| record.encode(&mut encoded));
    if decoded.is_ok() {
        assert_eq!(encoded, data);
    } else {
        assert!(
            data.starts_with(&encoded),
            "what came before the fault was right"
        );
    }
});
