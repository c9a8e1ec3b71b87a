//! Recipes and overrides, read as they come: one spelling each, and a window that ends early is no error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::recipe::{HEADER_BLOCK_BYTES, Headers, Operation, Override};

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

/// Whatever is told builds a header or is refused; what was built is told in a form that builds it again.
fn headers(data: &[u8]) {
    let (mut builder, mut teller, mut again) = <(Headers, Headers, Headers)>::default();
    let mut rest = data;
    while let Ok(Some((operation, used))) = Operation::decode(rest) {
        rest = &rest[used..];
        let (Operation::Member(header) | Operation::Header(header)) = operation else {
            continue;
        };
        let size = rest.len() as u64;
        if builder.name(&header).is_err() {
            return;
        }
        let Ok(block) = builder.block(&header, size) else {
            return;
        };
        assert_eq!(block.len(), HEADER_BLOCK_BYTES);
        assert!(Headers::is_header(block));
        let told = teller.tell(block, size);
        again.name(&told).unwrap();
        assert_eq!(again.block(&told, size).unwrap(), block);
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
    headers(data);
    overrides(data);
});
