//! Sealing a small secret to an X25519 public key, with a key pair made for that one time.
//!
//! The wrapping key is derived from the shared secret, both public keys, the purpose and whatever else it is bound
//! to, so it is used for exactly one message and the nonce can be zero. Suite 1 always: wraps are tiny and rare.

use super::aead::Cipher;
use super::derive::{self, Context};
use super::{CryptoError, Secret32};
use crate::format::header::{Suite, TAG_BYTES};
use x25519_dalek::{PublicKey, StaticSecret};

/// Length of a sealed [`Secret32`].
pub(super) const SEALED_SECRET_BYTES: usize = 32 + TAG_BYTES;

const NONCE: [u8; 12] = [0; 12];

/// A single-use wrapping key.
pub(super) struct WrapKey(Secret32);

/// The private key that has these bytes.
pub(super) fn private(secret: &Secret32) -> StaticSecret {
    StaticSecret::from(*secret.expose())
}

/// The public key that belongs to the private key with these bytes.
pub(super) fn public(secret: &Secret32) -> [u8; 32] {
    PublicKey::from(&private(secret)).to_bytes()
}

impl WrapKey {
    /// A wrapping key from a secret that is used for nothing else.
    pub(super) fn new(secret: Secret32) -> Self {
        Self(secret)
    }

    /// The sender's side: `ephemeral` is the private key of the pair made for this message.
    pub(super) fn to(
        recipient: &[u8; 32],
        ephemeral: &Secret32,
        context: Context,
        binding: &[&[u8]],
    ) -> Result<Self, CryptoError> {
        let own = public(ephemeral);
        Self::agree(ephemeral, recipient, [&own, recipient], context, binding)
    }

    /// The recipient's side: `secret` is the recipient's private key, `ephemeral` the sender's public one.
    pub(super) fn from(
        ephemeral: &[u8; 32],
        secret: &Secret32,
        context: Context,
        binding: &[&[u8]],
    ) -> Result<Self, CryptoError> {
        let own = public(secret);
        Self::agree(secret, ephemeral, [ephemeral, &own], context, binding)
    }

    fn agree(
        own: &Secret32,
        other: &[u8; 32],
        publics: [&[u8; 32]; 2],
        context: Context,
        binding: &[&[u8]],
    ) -> Result<Self, CryptoError> {
        let shared = private(own).diffie_hellman(&PublicKey::from(*other));
        if !shared.was_contributory() {
            return Err(CryptoError::Malformed {
                what: "a public key",
                why: "it is a weak point",
            });
        }
        let parts = [&[publics[0].as_slice(), publics[1]], binding].concat();
        Ok(Self(derive::key(context, shared.as_bytes(), &parts)))
    }

    /// Ties what is sealed to this key alone.
    pub(super) fn commitment(&self, context: Context, bound: &[u8]) -> [u8; 32] {
        derive::digest(context, self.0.expose(), &[bound])
    }

    /// Encrypts `data` in place. Takes the key: it must not seal a second message.
    pub(super) fn seal(self, aad: &[u8], data: &mut [u8]) -> Result<[u8; TAG_BYTES], CryptoError> {
        Cipher::new(Suite::ChaCha20Poly1305, &self.0).seal(&NONCE, aad, data)
    }

    /// Decrypts `data` in place if the tag fits.
    pub(super) fn open(self, aad: &[u8], data: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        Cipher::new(Suite::ChaCha20Poly1305, &self.0).open(&NONCE, aad, data, tag)
    }

    /// The sealed form of `secret`.
    pub(super) fn seal_secret(
        self,
        aad: &[u8],
        secret: &Secret32,
    ) -> Result<[u8; SEALED_SECRET_BYTES], CryptoError> {
        let mut sealed = [0; SEALED_SECRET_BYTES];
        let (data, tag) = sealed.split_at_mut(32);
        data.copy_from_slice(secret.expose());
        tag.copy_from_slice(&self.seal(aad, data)?);
        Ok(sealed)
    }

    /// The secret in `sealed`, if it is authentic.
    pub(super) fn open_secret(
        self,
        aad: &[u8],
        sealed: &[u8; SEALED_SECRET_BYTES],
    ) -> Option<Secret32> {
        let (data, tag) = sealed.split_first_chunk::<32>()?;
        let mut secret = *data;
        let opened = self.open(aad, &mut secret, tag.try_into().ok()?);
        opened.then(|| Secret32::take_from(&mut secret))
    }
}
