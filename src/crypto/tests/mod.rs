//! Tests of keys and sealing: what opens, and above all what does not.

mod golden;
mod keys;
mod seal;
mod slot;

use super::{Keyring, Secret32};
use crate::id::RepositoryId;

const REPOSITORY: RepositoryId = RepositoryId::new([0x52; 16]);

/// Reproducible bytes for tests: BLAKE3's output stream for `seed`.
fn bytes(seed: &str, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed.as_bytes()).finalize_xof().fill(&mut out);
    out
}

fn array<const N: usize>(seed: &str) -> [u8; N] {
    bytes(seed, N).try_into().unwrap()
}

fn secret(seed: &str) -> Secret32 {
    Secret32::take_from(&mut array(seed))
}

fn keyring() -> Keyring {
    Keyring::generate([7; 32]).unwrap()
}
