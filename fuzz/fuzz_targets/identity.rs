//! Identity documents of stacks, volumes and VM snapshots: any bytes are understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use repo::source::identity::{Identity, StreamKind};

fuzz_target!(|data: &[u8]| {
    for kind in StreamKind::ALL {
        if let Ok(identity) = Identity::parse(kind, data.to_vec()) {
            assert_eq!(identity.document, data);
            assert_eq!(identity.kind, kind);
        }
    }
});
