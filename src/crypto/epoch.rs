//! Epochs and sessions: how a writer stores what only holders of a private key can read again.
//!
//! An epoch is an X25519 key pair. A writer makes one random session secret, seals it to the newest epoch's
//! public key once, and puts that seal into the header of everything that it stores. The private half of the
//! pair made for the seal is gone at once, so not even the writer's host can read its packs after the session.

use super::wrap::{self, WrapKey};
use super::{CryptoError, Secret32, derive};
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
    /// A new secret, sealed to `epoch`.
    pub fn generate(
        repository: RepositoryId,
        number: u32,
        epoch: EpochPublic,
    ) -> Result<Self, CryptoError> {
        Self::with(
            repository,
            (number, epoch),
            Secret32::generate()?,
            &Secret32::generate()?,
        )
    }

    /// The deterministic part, apart so that golden bytes can be made of it.
    pub(super) fn with(
        repository: RepositoryId,
        (number, epoch): (u32, EpochPublic),
        secret: Secret32,
        ephemeral: &Secret32,
    ) -> Result<Self, CryptoError> {
        let key = WrapKey::to(
            epoch.as_bytes(),
            ephemeral,
            repository,
            derive::SESSION_WRAP,
        )?;
        let mut sealed = [0; 48];
        let (data, tag) = sealed.split_at_mut(32);
        data.copy_from_slice(secret.expose());
        tag.copy_from_slice(&key.seal(&number.to_le_bytes(), data)?);
        let ephemeral = wrap::public(ephemeral);
        Ok(Self {
            secret,
            sealed: SealedSession {
                epoch: number,
                ephemeral,
                sealed,
            },
        })
    }

    /// The secret in a seal, for a holder of the epoch's private key.
    pub(super) fn unseal(
        repository: RepositoryId,
        epoch: &EpochSecret,
        sealed: &SealedSession,
    ) -> Result<Secret32, CryptoError> {
        const WHAT: &str = "the session secret in the header";
        let key = WrapKey::from(
            &sealed.ephemeral,
            epoch.secret(),
            repository,
            derive::SESSION_WRAP,
        )?;
        let (data, tag) = sealed
            .sealed
            .split_first_chunk::<32>()
            .ok_or(CryptoError::Truncated(WHAT))?;
        let tag = tag.try_into().map_err(|_| CryptoError::Truncated(WHAT))?;
        let mut secret = *data;
        if key.open(&sealed.epoch.to_le_bytes(), &mut secret, tag) {
            Ok(Secret32::take_from(&mut secret))
        } else {
            Err(CryptoError::Forged(WHAT))
        }
    }
}
