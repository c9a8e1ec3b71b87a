//! Epochs and sessions: how a writer stores what only holders of a private key can read again.
//!
//! An epoch is an X25519 key pair. A writer makes one random session secret, seals it to the newest epoch's
//! public key once, and puts that seal into the header of everything that it stores. The private half of the
//! pair made for the seal is gone at once, so not even the writer's host can read its packs after the session.

use super::wrap::{self, WrapKey};
use super::{CryptoError, Epoch, IndexKey, Keyring, Secret32, derive};
use crate::format::header::KeySource;
use crate::id::RepositoryId;

/// The half of an epoch that can only seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPublic([u8; 32]);

/// The half of an epoch that can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSecret(Secret32);

/// A session secret sealed to an epoch's public key, as every object of the session shows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SealedSession {
    /// Number of the epoch.
    pub epoch: u32,
    /// The public half of the key pair made for this session.
    pub ephemeral: [u8; 32],
    /// The secret, encrypted, with its tag.
    pub sealed: [u8; 48],
}

/// A writer's secret, from which the keys of everything it stores are derived, with its seal.
#[derive(Clone, Debug)]
pub struct SessionSecret {
    pub(super) secret: Secret32,
    pub(super) sealed: SealedSession,
}

impl SealedSession {
    /// The sealed session that a header names, if it does.
    pub(super) fn of(source: &KeySource) -> Option<Self> {
        match *source {
            KeySource::Index => None,
            KeySource::Session {
                epoch,
                ephemeral,
                sealed_secret: sealed,
            } => Some(Self {
                epoch,
                ephemeral,
                sealed,
            }),
        }
    }

    /// As headers have it.
    pub(super) fn as_source(&self) -> KeySource {
        let Self {
            epoch,
            ephemeral,
            sealed,
        } = *self;
        KeySource::Session {
            epoch,
            ephemeral,
            sealed_secret: sealed,
        }
    }
}

impl EpochPublic {
    /// The public key with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl EpochSecret {
    /// A fresh key pair.
    pub fn generate() -> Result<Self, CryptoError> {
        Secret32::generate().map(Self)
    }

    /// The private key with these bytes.
    pub fn from_secret(secret: Secret32) -> Self {
        Self(secret)
    }

    /// The other half.
    pub fn public(&self) -> EpochPublic {
        EpochPublic(wrap::public(&self.0))
    }

    pub(super) fn secret(&self) -> &Secret32 {
        &self.0
    }
}

impl SessionSecret {
    /// A new secret, sealed to the newest epoch of `keyring`.
    pub fn generate(repository: RepositoryId, keyring: &Keyring) -> Result<Self, CryptoError> {
        let (secret, ephemeral) = (Secret32::generate()?, Secret32::generate()?);
        Self::with(repository, keyring, secret, &ephemeral)
    }

    /// The deterministic part, apart so that golden bytes can be made of it.
    pub(super) fn with(
        repository: RepositoryId,
        keyring: &Keyring,
        secret: Secret32,
        ephemeral: &Secret32,
    ) -> Result<Self, CryptoError> {
        let Epoch { number, public, .. } = keyring.newest_epoch();
        // Bound to the index key too: who merely knows the public key cannot make a session.
        let binding = [
            repository.as_bytes().as_slice(),
            keyring.index.secret().expose(),
        ];
        let key = WrapKey::to(public.as_bytes(), ephemeral, derive::SESSION_WRAP, &binding)?;
        let sealed = SealedSession {
            epoch: *number,
            ephemeral: wrap::public(ephemeral),
            sealed: key.seal_secret(&number.to_le_bytes(), &secret)?,
        };
        Ok(Self { secret, sealed })
    }

    /// The secret in a seal, for a holder of the epoch's private key.
    pub(super) fn unseal(
        repository: RepositoryId,
        index: &IndexKey,
        epoch: &EpochSecret,
        sealed: &SealedSession,
    ) -> Result<Secret32, CryptoError> {
        let binding = [repository.as_bytes().as_slice(), index.secret().expose()];
        let key = WrapKey::from(
            &sealed.ephemeral,
            epoch.secret(),
            derive::SESSION_WRAP,
            &binding,
        )?;
        key.open_secret(&sealed.epoch.to_le_bytes(), &sealed.sealed)
            .ok_or(CryptoError::Forged("the session secret in the header"))
    }
}
