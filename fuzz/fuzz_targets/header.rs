//! Headers and trailers: fixed layouts with one spelling each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::format::header::{HEADER_BYTES, Header, Trailer};

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = Header::decode(data) {
        assert_eq!(header.encode().as_slice(), &data[..HEADER_BYTES]);
    }
    let Some((length, trailer)) = data.split_first_chunk::<8>() else {
        return;
    };
    let object_bytes = u64::from_le_bytes(*length) >> 24;
    if let Ok(decoded) = Trailer::decode(trailer, object_bytes) {
        assert_eq!(decoded.encode().as_slice(), trailer);
        let end = decoded.directory_offset + u64::from(decoded.directory_stored_bytes);
        assert!(decoded.directory_offset >= HEADER_BYTES as u64 && end < object_bytes);
    }
});
