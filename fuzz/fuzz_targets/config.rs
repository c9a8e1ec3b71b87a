//! `Config::decode`: what it takes is valid, and comes back from its encoding as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::config::Config;

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = Config::decode(data) {
        let encoded = config.encode().expect("it was decoded");
        let again = Config::decode(&encoded).expect("its own encoding");
        assert_eq!(config, again);
        assert!(config.suite().is_ok() && config.repository_id().is_ok());
    }
});
