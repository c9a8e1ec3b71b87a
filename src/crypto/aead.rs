//! The two cipher suites behind one interface: in place, with the tag apart.

use super::{CryptoError, Secret32};
use crate::format::header::{Suite, TAG_BYTES};
use aes_gcm::{Aes256Gcm, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut;

/// A cipher with its key. Both kinds wipe their key when dropped.
pub(super) enum Cipher {
    ChaCha(ChaCha20Poly1305),
    Aes(Box<Aes256Gcm>),
}

impl Cipher {
    pub(super) fn new(suite: Suite, key: &Secret32) -> Self {
        let key = key.expose().into();
        match suite {
            Suite::ChaCha20Poly1305 => Self::ChaCha(ChaCha20Poly1305::new(key)),
            Suite::Aes256Gcm => Self::Aes(Box::new(Aes256Gcm::new(key))),
        }
    }

    /// Encrypts `data` in place. A nonce must be used once per key: the callers of this file see to that.
    pub(super) fn seal(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        let tag = match self {
            Self::ChaCha(cipher) => cipher.encrypt_inout_detached(nonce.into(), aad, data.into()),
            Self::Aes(cipher) => cipher.encrypt_inout_detached(nonce.into(), aad, data.into()),
        };
        // The only failure is a message beyond the cipher's limit (64 GiB and more).
        tag.map(Into::into).map_err(|_| CryptoError::Malformed {
            what: "a frame",
            why: "it is too long",
        })
    }

    /// Checks the tag, then decrypts `data` in place. False and `data` as it was if the tag does not fit.
    pub(super) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        let tag = tag.into();
        match self {
            Self::ChaCha(cipher) => {
                cipher.decrypt_inout_detached(nonce.into(), aad, data.into(), tag)
            }
            Self::Aes(cipher) => cipher.decrypt_inout_detached(nonce.into(), aad, data.into(), tag),
        }
        .is_ok()
    }
}
