//! Key bytes that vanish when dropped, compare in constant time and never print.

use super::{CryptoError, random};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes. They live on the heap, so that moving the value leaves no copy behind on the stack.
#[derive(Clone)]
pub struct Secret32(Box<[u8; 32]>);

impl Secret32 {
    /// A fresh random secret.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut bytes = random::<32>()?;
        Ok(Self::take_from(&mut bytes))
    }

    /// The secret in `bytes`; the caller's copy is wiped.
    pub fn take_from(bytes: &mut [u8; 32]) -> Self {
        let secret = Self(Box::new(*bytes));
        bytes.zeroize();
        secret
    }

    /// The bytes, for the primitives of this module only.
    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Secret32 {
    /// In constant time: BLAKE3's hash type promises that for its own comparison.
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(*self.0) == blake3::Hash::from_bytes(*other.0)
    }
}

impl Eq for Secret32 {}

impl Drop for Secret32 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Secret32 {}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<key>")
    }
}
