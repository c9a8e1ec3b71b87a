//! Key slots, keyrings and key files: hostile bytes before any key is known. A slot has one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::crypto::slot::Slot;
use repo::crypto::{KeyFile, Keyring};

fn slot(bytes: &[u8]) {
    if let Ok(slot) = Slot::decode(bytes) {
        assert_eq!(slot.encode(), bytes);
        assert!(slot.name().contains('-'));
    }
}

fuzz_target!(|data: &[u8]| {
    slot(data);
    // A checksum is no seal: whoever makes a hostile slot computes it, as is done here.
    slot(&[data, blake3::hash(data).as_bytes()].concat());
    if let Ok(keyring) = Keyring::decode(data) {
        let encoded = keyring.encode().expect("it was decoded");
        let again = Keyring::decode(&encoded).expect("its own encoding");
        assert_eq!(*encoded, *again.encode().expect("it was decoded"));
        let ingest = keyring.to_ingest().encode().expect("it was decoded");
        Keyring::decode(&ingest).expect("an ingest keyring");
    }
    if let Ok(key) = KeyFile::decode(data) {
        let text = key.encode();
        assert!(data.trim_ascii().eq_ignore_ascii_case(text.trim_ascii()));
    }
});
