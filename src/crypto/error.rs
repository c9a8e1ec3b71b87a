//! What can go wrong with keys and sealed bytes, without ever saying anything about the secrets involved.

use crate::error::{At, Class, Error, Result};
use crate::format::DecodeError;
use std::fmt;

/// A failure of this module. The class that it belongs to is [`CryptoError::class`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The operating system gave no random bytes.
    #[error("the operating system has no random bytes")]
    NoRandomness,
    /// The bytes end within the named structure.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// The named structure does not have the form that it must have.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// The structure.
        what: &'static str,
        /// What about it.
        why: &'static str,
    },
    /// The named structure cannot be decoded.
    #[error("{what} is malformed: {error}")]
    Decode {
        /// The structure.
        what: &'static str,
        /// What about it, and where.
        error: DecodeError,
    },
    /// A version, kind or suite that this program does not know.
    #[error("{what} {found} is not known to this version of the program")]
    Unsupported {
        /// Which property.
        what: &'static str,
        /// The value found.
        found: u8,
    },
    /// The object was sealed with another key than the one at hand.
    #[error("the object is sealed with another key, or its header is damaged")]
    OtherKey,
    /// The authentication tag does not fit: damaged, moved, or forged.
    #[error("frame {frame} is not authentic: damaged, or not the one that belongs here")]
    NotAuthentic {
        /// The number of the frame.
        frame: u32,
    },
    /// Something sealed outside of a frame is not authentic.
    #[error("{0} is not authentic: damaged, or not the one that belongs here")]
    Forged(&'static str),
    /// A frame number was used twice with one key; refused, because it would reveal the plaintext of both.
    #[error("frame number {0} was sealed before with this key")]
    FrameReused(u32),
    /// The object belongs to an epoch that the keyring does not have.
    #[error("the keyring has no epoch {0}")]
    UnknownEpoch(u32),
    /// The holder's role lacks the private key for this.
    #[error("this key can add snapshots but not {0}: it has the role ingest")]
    RoleIngest(&'static str),
    /// No slot, or not this slot, opens with the secret given.
    #[error("wrong passphrase or key file")]
    WrongSecret,
    /// The slot is of the other kind: a passphrase for a key file's slot, or the other way round.
    #[error("this key slot needs a {0}")]
    WrongKind(&'static str),
    /// Stretching parameters outside of what is allowed.
    #[error("Argon2id with {m_kib} KiB, {t} passes and {p} lanes is {verdict}")]
    KdfBounds {
        /// Memory in KiB.
        m_kib: u32,
        /// Passes.
        t: u32,
        /// Lanes.
        p: u32,
        /// Too weak or too costly, with the bound.
        verdict: &'static str,
    },
    /// There is not enough memory for the stretching that the slot asks for.
    #[error("not enough memory to stretch the passphrase ({m_kib} KiB)")]
    NoMemory {
        /// Memory asked for, in KiB.
        m_kib: u32,
    },
    /// An empty passphrase.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// A label that is too long for a key slot.
    #[error("the label of a key slot has at most 255 bytes")]
    LabelTooLong,
    /// Not a key file of ours.
    #[error("not a key file: one line 'repo-key-1 ' and 64 hexadecimal digits is expected")]
    NotAKeyFile,
}

impl CryptoError {
    /// The class that code in the higher rows acts on.
    pub fn class(&self) -> Class {
        match self {
            Self::NoRandomness => Class::Io,
            Self::Truncated(_)
            | Self::Decode { .. }
            | Self::Malformed { .. }
            | Self::OtherKey
            | Self::NotAuthentic { .. }
            | Self::Forged(_)
            | Self::UnknownEpoch(_) => Class::Corrupt,
            Self::Unsupported { .. } => Class::Unsupported,
            Self::RoleIngest(_) => Class::Denied,
            Self::WrongSecret | Self::WrongKind(_) => Class::WrongKey,
            Self::NoMemory { .. } => Class::Full,
            Self::FrameReused(_)
            | Self::KdfBounds { .. }
            | Self::EmptyPassphrase
            | Self::LabelTooLong
            | Self::NotAKeyFile => Class::Invalid,
        }
    }
}

impl<T> At<T> for std::result::Result<T, CryptoError> {
    fn at(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::caused(error.class(), what.to_string(), error))
    }

    fn at_path(self, what: &str, path: &std::path::Path) -> Result<T> {
        self.at(format_args!("{what} {}", path.display()))
    }
}
