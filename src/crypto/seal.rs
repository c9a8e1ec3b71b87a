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

use super::aead::Cipher;
use super::{
    CryptoError, EpochSecret, IndexKey, Keyring, SealedSession, Secret32, SessionSecret, derive,
    random,
};
use crate::format::header::{
    COMMITTED_BYTES, Codec, HEADER_BYTES, Header, KeySource, ObjectKind, Suite, TAG_BYTES,
};
use crate::id::RepositoryId;
use std::collections::{HashMap, HashSet};
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
/// Length of a frame's authenticated data.
const AAD_LEN: usize = PREFIX_LEN + 10;
const PREFIX_LEN: usize = 49;

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

    /// A sealer for a new object. The kind decides who can open it: everybody an index object, only full
    /// holders the rest.
    pub fn sealer(&self, kind: ObjectKind) -> Result<ObjectSealer, CryptoError> {
        let source = match kind {
            ObjectKind::Index => SealKey::Index(&self.index),
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
        let key = object_key(secret, repository, &bytes);
        header.commitment = commitment(&key, &bytes);
        bytes = header.encode();
        Self::of(bytes, Frames::new(&header, repository, &key))
    }

    /// A sealer for the directory of this pack: same header, another key, frame numbers of its own.
    #[must_use]
    pub fn directory(&self, repository: RepositoryId, index: &IndexKey) -> Self {
        let key = directory_key(index, repository, &self.header);
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
        self.frames
            .cipher
            .seal(&nonce(frame), &self.frames.aad(frame), data)
    }
}

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

    fn remember(&self, sealed: &SealedSession, secret: &Secret32) {
        let mut sessions = self.sessions();
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(sealed.clone(), secret.clone());
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<SealedSession, Secret32>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectOpener {
    /// An opener for the object that starts with these bytes, if `keys` can open it and it was sealed
    /// with exactly the key that they lead to.
    pub fn new(header: &[u8; HEADER_BYTES], keys: &ObjectKeys) -> Result<Self, CryptoError> {
        let decoded = decode(header)?;
        let secret = keys.secret(&decoded)?;
        let key = object_key(&secret, keys.repository, header);
        if !derive::same(&commitment(&key, header), &decoded.commitment) {
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
        let decoded = decode(header)?;
        let key = directory_key(&keys.index, keys.repository, header);
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
        if self
            .frames
            .cipher
            .open(&nonce(frame), &self.frames.aad(frame), data, tag)
        {
            Ok(data)
        } else {
            Err(CryptoError::NotAuthentic {
                frame: frame.number,
            })
        }
    }
}

/// A cipher and what it authenticates about every frame.
struct Frames {
    cipher: Cipher,
    suite: Suite,
    prefix: [u8; PREFIX_LEN],
}

impl Frames {
    fn new(header: &Header, repository: RepositoryId, key: &Secret32) -> Self {
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

    fn with_key(&self, key: &Secret32) -> Self {
        Self {
            cipher: Cipher::new(self.suite, key),
            suite: self.suite,
            prefix: self.prefix,
        }
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

fn decode(header: &[u8; HEADER_BYTES]) -> Result<Header, CryptoError> {
    Header::decode(header).map_err(|error| CryptoError::Decode {
        what: "the header",
        error,
    })
}

/// Everything in the header but the commitment.
fn bound(header: &[u8; HEADER_BYTES]) -> &[u8] {
    header.split_at(COMMITTED_BYTES).0
}

fn object_key(
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

fn directory_key(
    index: &IndexKey,
    repository: RepositoryId,
    header: &[u8; HEADER_BYTES],
) -> Secret32 {
    let parts = [repository.as_bytes().as_slice(), bound(header)];
    derive::key(derive::DIRECTORY_KEY, index.secret().expose(), &parts)
}

fn commitment(key: &Secret32, header: &[u8; HEADER_BYTES]) -> [u8; 32] {
    derive::digest(derive::OBJECT_COMMITMENT, key.expose(), &[bound(header)])
}

impl fmt::Debug for ObjectSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectSealer").finish_non_exhaustive()
    }
}

impl fmt::Debug for ObjectOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOpener")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
