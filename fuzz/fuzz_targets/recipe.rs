//! Recipes and overrides, read as they come: one spelling each, and a window that ends early is no error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::recipe::{Operation, Override};

fn operations(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((operation, used))) = Operation::decode(rest) {
        let mut encoded = Vec::new();
        operation.encode(&mut encoded);
        assert_eq!(encoded, &rest[..used]);
        for short in [1, used / 2, used - 1] {
            assert_eq!(Operation::decode(&rest[..short.min(used - 1)]), Ok(None));
        }
        rest = &rest[used..];
    }
}

fn overrides(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((one, used))) = Override::decode(rest) {
        let mut encoded = Vec::new();
        one.encode(&mut encoded);
        assert_eq!(encoded, &rest[..used]);
        assert_eq!(Override::decode(&rest[..used - 1]), Ok(None));
        rest = &rest[used..];
    }
}

fuzz_target!(|data: &[u8]| {
    operations(data);
    overrides(data);
});
