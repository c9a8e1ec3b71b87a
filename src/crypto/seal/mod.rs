//! Sealing and opening stored objects: one header, then frames, each bound to its object and its place.
//!
//! `object key = derive(secret, repository id, header[0..128])`, where the secret is the index key or a session
//! secret, and the header has 32 random bytes of salt: no two objects share a key. The nonce of a frame is its
//! number; the sealer refuses a number that it has sealed before. The authenticated data of a frame is
//! `repository id 16 | kind 1 | salt 32 | frame number u32 | codec u8 | raw length u32 | flags u8`, so a frame
//! cannot be read as another kind, at another place, from another object or repository, or as another length.
//!
//! Packs have a second key for their directory, derived from the *index* key: a holder that only ingests must
//! read directories to deduplicate, and must not read blocks.

mod frames;
mod open;

pub use open::{ObjectKeys, ObjectOpener};

use self::frames::Frames;
use super::{CryptoError, IndexKey, Keyring, SessionSecret, random};
use crate::format::header::{Codec, HEADER_BYTES, Header, KeySource, ObjectKind, Suite, TAG_BYTES};
use crate::id::RepositoryId;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What is authenticated about a frame besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its place in the object, from 0; never twice under one key.
    pub number: u32,
    /// How the bytes are encoded under the seal.
    pub codec: Codec,
    /// Length after decoding, in bytes.
    pub raw_len: u32,
    /// [`Frame::LAST`] or 0.
    pub flags: u8,
}

impl Frame {
    /// Flag of the last frame of a stream, which makes a cut off stream an error.
    pub const LAST: u8 = 1;

    /// Whether [`Frame::LAST`] is set.
    pub fn is_last(&self) -> bool {
        self.flags & Self::LAST != 0
    }
}

/// The secret that an object's key is derived from.
#[derive(Clone, Copy, Debug)]
pub enum SealKey<'a> {
    /// Every holder of a keyring can open the object.
    Index(&'a IndexKey),
    /// Only holders of the epoch's private key, and the writer itself during its session, can open it.
    Session(&'a SessionSecret),
}

/// A writer's keys: made once per run, then used for every object of that run.
#[derive(Clone, Debug)]
pub struct WriterKeys {
    repository: RepositoryId,
    suite: Suite,
    index: IndexKey,
    session: SessionSecret,
}

/// Seals the frames of one object, from any number of threads.
pub struct ObjectSealer {
    header: [u8; HEADER_BYTES],
    frames: Frames,
    used: Mutex<HashSet<u32>>,
}

impl WriterKeys {
    /// Keys for one run of a writer: a new session, sealed to the newest epoch of `keyring`.
    pub fn new(
        repository: RepositoryId,
        suite: Suite,
        keyring: &Keyring,
    ) -> Result<Self, CryptoError> {
        let session = SessionSecret::generate(repository, keyring)?;
        Ok(Self {
            repository,
            suite,
            index: keyring.index.clone(),
            session,
        })
    }

    /// A sealer for a new object. The kind decides who can open it: everybody an index object and what writers and
    /// pruners tell each other, only full holders the rest.
    pub fn sealer(&self, kind: ObjectKind) -> Result<ObjectSealer, CryptoError> {
        let source = match kind {
            ObjectKind::Index
            | ObjectKind::Session
            | ObjectKind::Plan
            | ObjectKind::Waits
            | ObjectKind::Pin => SealKey::Index(&self.index),
            ObjectKind::DataPack | ObjectKind::MetaPack | ObjectKind::Snapshot => {
                SealKey::Session(&self.session)
            }
        };
        ObjectSealer::new(self.repository, kind, self.suite, source)
    }

    /// A sealer for the directory of the pack that `pack` seals.
    pub fn directory(&self, pack: &ObjectSealer) -> ObjectSealer {
        pack.directory(self.repository, &self.index)
    }

    /// Keys that open what this session has sealed, whatever the role of the writer.
    pub fn remember_in(&self, keys: &ObjectKeys) {
        keys.remember(&self.session.sealed, &self.session.secret);
    }
}

impl ObjectSealer {
    /// A sealer for a new object with a salt, and so a key, of its own.
    pub fn new(
        repository: RepositoryId,
        kind: ObjectKind,
        suite: Suite,
        source: SealKey<'_>,
    ) -> Result<Self, CryptoError> {
        Ok(Self::with_salt(repository, kind, suite, source, random()?))
    }

    /// The deterministic part, apart so that golden bytes can be made of it. A salt used twice with one
    /// source breaks the encryption of both objects.
    pub(super) fn with_salt(
        repository: RepositoryId,
        kind: ObjectKind,
        suite: Suite,
        source: SealKey<'_>,
        salt: [u8; 32],
    ) -> Self {
        let (secret, source) = match source {
            SealKey::Index(key) => (key.secret(), KeySource::Index),
            SealKey::Session(session) => (&session.secret, session.sealed.as_source()),
        };
        let mut header = Header {
            kind,
            suite,
            source,
            salt,
            commitment: [0; 32],
        };
        let mut bytes = header.encode();
        let key = frames::object_key(secret, repository, &bytes);
        header.commitment = frames::commitment(&key, &bytes);
        bytes = header.encode();
        Self::of(bytes, Frames::new(&header, repository, &key))
    }

    /// A sealer for the directory of this pack: same header, another key, frame numbers of its own.
    #[must_use]
    pub fn directory(&self, repository: RepositoryId, index: &IndexKey) -> Self {
        let key = frames::directory_key(index, repository, &self.header);
        Self::of(self.header, self.frames.with_key(&key))
    }

    fn of(header: [u8; HEADER_BYTES], frames: Frames) -> Self {
        Self {
            header,
            frames,
            used: Mutex::default(),
        }
    }

    /// The bytes that the object starts with.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Encrypts all of `data` in place and appends the tag.
    pub fn seal_frame(&self, frame: &Frame, data: &mut Vec<u8>) -> Result<(), CryptoError> {
        data.reserve_exact(TAG_BYTES);
        let tag = self.seal_frame_detached(frame, data)?;
        data.extend_from_slice(&tag);
        Ok(())
    }

    /// Encrypts `data` in place and returns the tag, which must be stored right behind it.
    pub fn seal_frame_detached(
        &self,
        frame: &Frame,
        data: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], CryptoError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if !used.insert(frame.number) {
            return Err(CryptoError::FrameReused(frame.number));
        }
        drop(used);
        self.frames.seal(frame, data)
    }
}

impl fmt::Debug for ObjectSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectSealer").finish_non_exhaustive()
    }
}
