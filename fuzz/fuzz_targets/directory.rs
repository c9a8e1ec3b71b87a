//! `Directory::decode`: one spelling, and sums that hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::pack::Directory;

fuzz_target!(|data: &[u8]| {
    let Ok(directory) = Directory::decode(data) else {
        return;
    };
    let mut encoded = Vec::new();
    directory.encode(&mut encoded);
    assert_eq!(encoded, data);
    assert_eq!(directory.offsets().count(), directory.blocks.len() + 1);
    for block in &directory.blocks {
        let sum: u64 = block.chunks.iter().map(|c| u64::from(c.raw_bytes)).sum();
        assert!(block.chunks.is_empty() || sum == u64::from(block.raw_bytes));
    }
});
