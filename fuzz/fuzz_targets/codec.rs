//! Blocks: the decoder gives exactly the length asked for, a prefix where only that is asked for, and undoes the encoder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::codec::{Codec, Compressor, Decompressor};

fuzz_target!(|data: &[u8]| {
    let Some((head, stored)) = data.split_first_chunk::<4>() else {
        return;
    };
    let [a, b, c, choice] = *head;
    let raw_len = u32::from_le_bytes([a, b, c & 0x1f, 0]) as usize;
    let mut whole = Vec::new();
    let mut decompressor = Decompressor::new().expect("memory");
    let codec = Codec::from_u8(choice & 1).expect("0 and 1 are known");
    let decoded = decompressor.decompress(codec, stored, raw_len, &mut whole);
    if decoded.is_ok() {
        assert_eq!(whole.len(), raw_len);
    }
    let mut part = Vec::new();
    let wanted = raw_len / 2;
    let begun = decompressor.decompress_prefix(stored, raw_len, wanted, &mut part);
    if begun.is_ok() {
        assert!((wanted..=raw_len).contains(&part.len()));
        if codec == Codec::Zstd && decoded.is_ok() {
            assert!(whole.starts_with(&part));
        }
    }
    let mut compressor = Compressor::new(i32::from(choice % 4)).expect("a known level");
    let mut packed = Vec::new();
    let codec = compressor.compress(stored, &mut packed).expect("memory");
    decompressor
        .decompress(codec, &packed, stored.len(), &mut whole)
        .expect("its own encoding");
    assert_eq!(whole, stored);
});
