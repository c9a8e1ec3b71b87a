//! `Plan::decode` and `Waits::decode`: what was decoded, encoded again, decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::plan::{Plan, Waits};

fuzz_target!(|data: &[u8]| {
    if let Ok(plan) = Plan::decode(data) {
        let again = Plan::decode(&plan.encode()).expect("its own encoding");
        assert_eq!(plan, again);
    }
    if let Ok(waits) = Waits::decode(data) {
        let again = Waits::decode(&waits.encode()).expect("its own encoding");
        assert_eq!(waits, again);
    }
});
