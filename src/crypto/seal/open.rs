//! Opening stored objects: from a header and a keyring to the plaintext of its frames.
//!
//! Invariant: no byte of a block is decrypted before the header's commitment has shown that the key is the right one, and
//! none of any frame is returned before its tag has. (Directories have another key, which needs no commitment.)

use super::Frame;
use super::frames::{self, Frames};
use crate::crypto::{
    CryptoError, EpochSecret, IndexKey, Keyring, SealedSession, Secret32, SessionSecret, derive,
};
use crate::format::header::{HEADER_BYTES, Header, TAG_BYTES};
use crate::id::RepositoryId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A reader's keys, with the session secrets that it has already unsealed (one X25519 per session, not per object).
#[derive(Debug)]
pub struct ObjectKeys {
    repository: RepositoryId,
    index: IndexKey,
    epochs: Vec<(u32, Option<EpochSecret>)>,
    sessions: Mutex<HashMap<SealedSession, Secret32>>,
}

/// Opens the frames of one object, from any number of threads.
pub struct ObjectOpener {
    header: Header,
    frames: Frames,
}

/// Sessions whose secrets are remembered; beyond that the memory starts afresh.
const MAX_SESSIONS: usize = 4096;

impl ObjectKeys {
    /// What a holder of `keyring` can open in this repository.
    pub fn new(repository: RepositoryId, keyring: &Keyring) -> Self {
        let epochs = keyring
            .epochs()
            .map(|e| (e.number, e.secret.clone()))
            .collect();
        Self {
            repository,
            index: keyring.index.clone(),
            epochs,
            sessions: Mutex::default(),
        }
    }

    /// The secret that the key of an object with this header is derived from.
    fn secret(&self, header: &Header) -> Result<Secret32, CryptoError> {
        let Some(sealed) = SealedSession::of(&header.source) else {
            return Ok(self.index.secret().clone());
        };
        // The lock is not held over the key agreement: two threads may do the same work once, none waits.
        if let Some(secret) = self.sessions().get(&sealed) {
            return Ok(secret.clone());
        }
        let epoch = self
            .epochs
            .iter()
            .find(|(number, _)| *number == sealed.epoch);
        let secret = match epoch {
            Some((_, Some(key))) => {
                SessionSecret::unseal(self.repository, &self.index, key, &sealed)?
            }
            Some((_, None)) => return Err(CryptoError::RoleIngest("read them")),
            None if self.epochs.iter().all(|(_, key)| key.is_none()) => {
                return Err(CryptoError::RoleIngest("read them"));
            }
            None => return Err(CryptoError::UnknownEpoch(sealed.epoch)),
        };
        self.remember(&sealed, &secret);
        Ok(secret)
    }

    pub(super) fn remember(&self, sealed: &SealedSession, secret: &Secret32) {
        let mut sessions = self.sessions();
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(sealed.clone(), secret.clone());
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SealedSession, Secret32>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectOpener {
    /// An opener for the object that starts with these bytes, if `keys` can open it and it was sealed
    /// with exactly the key that they lead to.
    pub fn new(header: &[u8; HEADER_BYTES], keys: &ObjectKeys) -> Result<Self, CryptoError> {
        let decoded = frames::decode(header)?;
        let secret = keys.secret(&decoded)?;
        let key = frames::object_key(&secret, keys.repository, header);
        if !derive::same(&frames::commitment(&key, header), &decoded.commitment) {
            return Err(CryptoError::OtherKey);
        }
        let frames = Frames::new(&decoded, keys.repository, &key);
        Ok(Self {
            header: decoded,
            frames,
        })
    }

    /// An opener for the directory of the pack that starts with these bytes; needs no private key.
    pub fn directory(header: &[u8; HEADER_BYTES], keys: &ObjectKeys) -> Result<Self, CryptoError> {
        let decoded = frames::decode(header)?;
        let key = frames::directory_key(&keys.index, keys.repository, header);
        let frames = Frames::new(&decoded, keys.repository, &key);
        Ok(Self {
            header: decoded,
            frames,
        })
    }

    /// The header of the object.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Checks and decrypts in place all of `data`, a sealed frame with its tag, and removes the tag.
    /// After an error `data` is worthless.
    pub fn open_frame(&self, frame: &Frame, data: &mut Vec<u8>) -> Result<(), CryptoError> {
        let length = self.open_frame_in(frame, data)?.len();
        data.truncate(length);
        Ok(())
    }

    /// The same within a larger buffer: `data` is exactly one sealed frame with its tag; the plaintext is
    /// what is returned.
    pub fn open_frame_in<'d>(
        &self,
        frame: &Frame,
        data: &'d mut [u8],
    ) -> Result<&'d mut [u8], CryptoError> {
        let (data, tag) = data
            .split_last_chunk_mut::<TAG_BYTES>()
            .ok_or(CryptoError::Truncated("a frame"))?;
        if self.frames.open(frame, data, tag) {
            Ok(data)
        } else {
            Err(CryptoError::NotAuthentic {
                frame: frame.number,
            })
        }
    }
}

impl fmt::Debug for ObjectOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOpener")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
