//! `content::decode`: one spelling, no empty item, sums without overflow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::content;

fuzz_target!(|data: &[u8]| {
    let Ok(items) = content::decode(data) else {
        return;
    };
    assert_eq!(content::encode(&items), data);
    assert!(items.iter().all(|item| !item.is_empty()));
    assert!(content::total_data(&items) <= content::total_len(&items));
    assert!(content::total_len(&items) <= 1 << 61);
});
