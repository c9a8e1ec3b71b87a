//! The symmetric keys of a repository, one type per purpose so that none is used for another.

use super::{CryptoError, Secret32, derive, random};
use crate::id::ChunkId;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::{Zeroize, Zeroizing};

macro_rules! key_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(Secret32);

        impl $name {
            /// A fresh random key.
            pub fn generate() -> Result<Self, CryptoError> {
                Secret32::generate().map(Self)
            }

            /// The key with these bytes.
            pub fn from_secret(secret: Secret32) -> Self {
                Self(secret)
            }

            /// Its bytes, for this module only.
            #[allow(dead_code, reason = "one accessor per key type; not every key is encoded")]
            pub(super) fn secret(&self) -> &Secret32 {
                &self.0
            }
        }
    };
}

key_type!(
    /// Names chunks: without it nobody can tell from an identifier what was stored.
    IdKey
);
key_type!(
    /// Makes the cut points of this repository its own. Hardening, not a defence: see `docs/crypto.md`.
    ChunkerKey
);
key_type!(
    /// Seals what every holder of a keyring must read to deduplicate: index objects and pack directories.
    IndexKey
);
key_type!(
    /// Authenticates key slots, so that new keys are handed only to slots that a full holder made.
    SlotsKey
);

/// Seals and names rows of the local catalog, which a thief of the client's disk shall not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogKey {
    rows: Secret32,
    names: Secret32,
}

impl IdKey {
    /// The identifier of a chunk: keyed BLAKE3-256 of its plaintext.
    pub fn id(&self, plaintext: &[u8]) -> ChunkId {
        ChunkId::new(*blake3::keyed_hash(self.0.expose(), plaintext).as_bytes())
    }
}

impl ChunkerKey {
    /// The gear table of content-defined chunking, secret like the key itself.
    pub fn gear(&self) -> Zeroizing<[u64; 256]> {
        let mut bytes = Zeroizing::new([0; 2048]);
        derive::expand(derive::GEAR_TABLE, self.0.expose(), bytes.as_mut_slice());
        let mut table = Zeroizing::new([0; 256]);
        for (entry, bytes) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        table
    }
}

/// Bytes that [`CatalogKey::seal`] adds to a row: nonce and tag.
pub(super) const ROW_OVERHEAD: usize = 24 + 16;

impl CatalogKey {
    /// The key of a catalog that belongs to holders of `secret`.
    pub(super) fn derive(context: derive::Context, secret: &Secret32, parts: &[&[u8]]) -> Self {
        let key = derive::key(context, secret.expose(), parts);
        Self {
            rows: derive::key(derive::CATALOG_ROWS, key.expose(), &[]),
            names: derive::key(derive::CATALOG_NAMES, key.expose(), &[]),
        }
    }

    /// A key for what one process writes for itself alone, and nobody reads afterwards.
    pub fn ephemeral() -> Result<Self, CryptoError> {
        Ok(Self {
            rows: Secret32::generate()?,
            names: Secret32::generate()?,
        })
    }

    /// What stands for `name` (a path, say) where a row is looked up by it.
    pub fn name(&self, name: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(self.names.expose(), name).as_bytes()
    }

    /// Seals a row. `context` (table, column, row key) must be the same when it is opened.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        // Rows have no counter to number them by; 192 random bits need none.
        let nonce = random::<24>()?;
        self.seal_with(&nonce, context, plain)
    }

    pub(super) fn seal_with(
        &self,
        nonce: &[u8; 24],
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let mut row = Vec::with_capacity(plain.len() + ROW_OVERHEAD);
        row.extend_from_slice(nonce);
        row.extend_from_slice(plain);
        let (_, data) = row.split_at_mut(nonce.len());
        let tag = self
            .cipher()
            .encrypt_inout_detached(nonce.into(), context, data.into())
            .map_err(|_| CryptoError::Malformed {
                what: "a catalog row",
                why: "it is too long",
            })?;
        row.extend_from_slice(&tag);
        Ok(row)
    }

    /// What was sealed under the same context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        const WHAT: &str = "a catalog row";
        let (nonce, rest) = sealed
            .split_first_chunk::<24>()
            .ok_or(CryptoError::Truncated(WHAT))?;
        let (data, tag) = rest
            .split_last_chunk::<16>()
            .ok_or(CryptoError::Truncated(WHAT))?;
        let mut plain = data.to_vec();
        let opened = self.cipher().decrypt_inout_detached(
            nonce.into(),
            context,
            plain.as_mut_slice().into(),
            tag.into(),
        );
        if opened.is_err() {
            plain.zeroize();
            return Err(CryptoError::Forged(WHAT));
        }
        Ok(plain)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.rows.expose().into())
    }
}
