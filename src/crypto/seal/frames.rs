//! One object's cipher, and every derivation that leads to it.
//!
//! Invariant: all that a frame is (object, place, kind, lengths) is in its key, its nonce or its authenticated data.

use super::Frame;
use crate::crypto::aead::Cipher;
use crate::crypto::{CryptoError, IndexKey, Secret32, derive};
use crate::format::header::{COMMITTED_BYTES, HEADER_BYTES, Header, Suite, TAG_BYTES};
use crate::id::RepositoryId;

/// Length of a frame's authenticated data.
const AAD_LEN: usize = PREFIX_LEN + 10;
const PREFIX_LEN: usize = 49;

/// A cipher and what it authenticates about every frame.
pub(super) struct Frames {
    cipher: Cipher,
    suite: Suite,
    prefix: [u8; PREFIX_LEN],
}

impl Frames {
    pub(super) fn new(header: &Header, repository: RepositoryId, key: &Secret32) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        join(
            &mut prefix,
            &[repository.as_bytes(), &[header.kind as u8], &header.salt],
        );
        Self {
            cipher: Cipher::new(header.suite, key),
            suite: header.suite,
            prefix,
        }
    }

    pub(super) fn with_key(&self, key: &Secret32) -> Self {
        Self {
            cipher: Cipher::new(self.suite, key),
            suite: self.suite,
            prefix: self.prefix,
        }
    }

    /// Encrypts `data` in place; the caller sees to it that no number is sealed twice.
    pub(super) fn seal(
        &self,
        frame: &Frame,
        data: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        self.cipher.seal(&nonce(frame), &self.aad(frame), data)
    }

    /// Checks the tag and decrypts `data` in place; false, and nothing decrypted, if it does not fit.
    pub(super) fn open(&self, frame: &Frame, data: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        self.cipher.open(&nonce(frame), &self.aad(frame), data, tag)
    }

    fn aad(&self, frame: &Frame) -> [u8; AAD_LEN] {
        let mut aad = [0; AAD_LEN];
        let number = frame.number.to_le_bytes();
        let raw_len = frame.raw_len.to_le_bytes();
        join(
            &mut aad,
            &[
                &self.prefix,
                &number,
                &[frame.codec as u8],
                &raw_len,
                &[frame.flags],
            ],
        );
        aad
    }
}

fn nonce(frame: &Frame) -> [u8; 12] {
    let mut nonce = [0; 12];
    join(&mut nonce, &[&frame.number.to_le_bytes()]);
    nonce
}

/// Copies `parts` side by side to the start of `out`.
fn join(out: &mut [u8], parts: &[&[u8]]) {
    for (place, byte) in out.iter_mut().zip(parts.iter().copied().flatten()) {
        *place = *byte;
    }
}

pub(super) fn decode(header: &[u8; HEADER_BYTES]) -> Result<Header, CryptoError> {
    Header::decode(header).map_err(|error| CryptoError::Decode {
        what: "the header",
        error,
    })
}

/// Everything in the header but the commitment.
fn bound(header: &[u8; HEADER_BYTES]) -> &[u8] {
    header.split_at(COMMITTED_BYTES).0
}

pub(super) fn object_key(
    secret: &Secret32,
    repository: RepositoryId,
    header: &[u8; HEADER_BYTES],
) -> Secret32 {
    derive::key(
        derive::OBJECT_KEY,
        secret.expose(),
        &[repository.as_bytes(), bound(header)],
    )
}

pub(super) fn directory_key(
    index: &IndexKey,
    repository: RepositoryId,
    header: &[u8; HEADER_BYTES],
) -> Secret32 {
    let parts = [repository.as_bytes().as_slice(), bound(header)];
    derive::key(derive::DIRECTORY_KEY, index.secret().expose(), &parts)
}

pub(super) fn commitment(key: &Secret32, header: &[u8; HEADER_BYTES]) -> [u8; 32] {
    derive::digest(derive::OBJECT_COMMITMENT, key.expose(), &[bound(header)])
}
