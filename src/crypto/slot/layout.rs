//! The bytes of a key slot. What is decoded is whole and within bounds, and no more than that is known of it.
//!
//! ```text
//!   0   8  "repokey" 0x01            magic and version
//!   8   1  kind                      1 passphrase, 2 key file
//!   9   1  role                      1 full, 2 ingest
//!  10   1  length of the label
//!  11   1  zero
//!  12  12  Argon2id: m in KiB, t, p  u32 each; zeros for a key file
//!  24   8  created, i64              seconds since 1970
//!  32  16  id                        stays the same when the slot is wrapped again
//!  48   4  generation, u32           of the keyring; stored under the name "ID-GENERATION"
//!  52  32  salt
//!  84  32  public key of the slot
//! 116  32  ephemeral public key      of the wrap
//! 148  32  key commitment            of the wrap
//! 180   L  label                     UTF-8, in the clear
//!          keyring, sealed           with all the above and the repository id authenticated
//!  -80 48  voucher, sealed           under a key from the slots key, 0..48, 52..116 and the label
//!  -32 32  checksum                  BLAKE3 of all the above: tells damage from a wrong passphrase
//! ```

use super::{KdfParams, Slot, SlotInfo, SlotKind, WHAT};
use crate::crypto::keyring::MAX_KEYRING_BYTES;
use crate::crypto::wrap::SEALED_SECRET_BYTES;
use crate::crypto::{CryptoError, Role};
use crate::format::header::TAG_BYTES;
use crate::format::{Cursor, DecodeError};
use crate::id::{RepositoryId, SlotId};

/// No slot is longer than this.
pub const MAX_SLOT_BYTES: usize =
    CLEAR_LEN + MAX_LABEL + MAX_KEYRING_BYTES + TAG_BYTES + SEALED_SECRET_BYTES + 32;
/// The longest label, in bytes.
pub(super) const MAX_LABEL: usize = 255;

const MAGIC: &[u8; 7] = b"repokey";
const VERSION: u8 = 1;
/// All before the label.
const CLEAR_LEN: usize = 180;
const NO_KDF: KdfParams = KdfParams {
    m_kib: 0,
    t: 0,
    p: 0,
};

impl Slot {
    /// Bytes 0 to 48: what the slot is for.
    fn head(&self) -> Vec<u8> {
        let (kind, kdf) = match self.info.kind {
            SlotKind::Passphrase(kdf) => (1, kdf),
            SlotKind::KeyFile => (2, NO_KDF),
        };
        let label_len = u8::try_from(self.info.label.len()).expect("checked when it was made");
        let mut head = MAGIC.to_vec();
        head.extend([VERSION, kind, self.info.role as u8, label_len, 0]);
        for number in [kdf.m_kib, kdf.t, kdf.p] {
            head.extend(number.to_le_bytes());
        }
        head.extend(self.info.created.to_le_bytes());
        head.extend(self.info.id.as_bytes());
        head
    }

    /// What the voucher's seal covers: all that stays the same when the slot is wrapped again.
    pub(super) fn lasting(&self) -> Vec<u8> {
        [
            &self.head(),
            self.salt.as_slice(),
            &self.public,
            self.info.label.as_bytes(),
        ]
        .concat()
    }

    /// Bytes 0 to 148: what the commitment covers.
    pub(super) fn committed(&self) -> Vec<u8> {
        let generation = self.info.generation.to_le_bytes();
        let keys = [self.salt, self.public, self.ephemeral].concat();
        [&self.head(), generation.as_slice(), &keys].concat()
    }

    /// Everything before the sealed keyring.
    fn clear(&self) -> Vec<u8> {
        [
            &self.committed(),
            self.commitment.as_slice(),
            self.info.label.as_bytes(),
        ]
        .concat()
    }

    /// What the seal of the keyring authenticates.
    pub(super) fn aad(&self, repository: RepositoryId) -> Vec<u8> {
        [repository.as_bytes().as_slice(), &self.clear()].concat()
    }

    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.clear();
        bytes.extend_from_slice(&self.sealed);
        bytes.extend_from_slice(&self.vouched);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// The slot in `bytes`, checked for damage and for bounds; nothing that it says is proven yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() > MAX_SLOT_BYTES {
            return Err(malformed("it is too long"));
        }
        let (checked, checksum) = bytes
            .split_last_chunk::<32>()
            .ok_or(CryptoError::Truncated(WHAT))?;
        let mut cursor = Cursor::new(checked);
        if cursor.array("magic").map_err(decode)? != *MAGIC {
            return Err(malformed("it does not start with 'repokey'"));
        }
        // The version first: a later one may end differently.
        let version = cursor.byte("version").map_err(decode)?;
        if version != VERSION {
            return Err(unknown("key slot version", version));
        }
        if blake3::hash(checked) != *checksum {
            return Err(malformed("its checksum is wrong: the bytes are damaged"));
        }
        let [kind, role, label_len, zero] = cursor.array("properties").map_err(decode)?;
        let kdf = decode_kdf(&mut cursor).map_err(decode)?;
        if zero != 0 {
            return Err(malformed("a byte that must be zero is not"));
        }
        let kind = slot_kind(kind, kdf)?;
        let role = Role::from_u8(role).ok_or(unknown("role", role))?;
        Self::decode_rest(&mut cursor, kind, role, label_len).map_err(decode)
    }

    fn decode_rest(
        cursor: &mut Cursor<'_>,
        kind: SlotKind,
        role: Role,
        label_len: u8,
    ) -> Result<Self, DecodeError> {
        let created = i64::from_le_bytes(cursor.array("time")?);
        let id = SlotId::new(cursor.array("id")?);
        let generation = cursor.u32("generation")?;
        let salt = cursor.array("salt")?;
        let public = cursor.array("public key")?;
        let ephemeral = cursor.array("ephemeral key")?;
        let commitment = cursor.array("commitment")?;
        let label = cursor.take(usize::from(label_len), "label")?;
        let label = std::str::from_utf8(label).map_err(|_| cursor.error("label is not UTF-8"))?;
        let label = label.to_owned();
        let sealed_len = cursor
            .remaining()
            .checked_sub(SEALED_SECRET_BYTES)
            .ok_or(cursor.error("keyring"))?;
        let sealed = cursor.take(sealed_len, "keyring")?.to_vec();
        let vouched = cursor.array("voucher")?;
        let info = SlotInfo {
            id,
            generation,
            kind,
            role,
            label,
            created,
        };
        Ok(Self {
            info,
            salt,
            public,
            ephemeral,
            commitment,
            sealed,
            vouched,
        })
    }
}

fn decode_kdf(cursor: &mut Cursor<'_>) -> Result<KdfParams, DecodeError> {
    Ok(KdfParams {
        m_kib: cursor.u32("m")?,
        t: cursor.u32("t")?,
        p: cursor.u32("p")?,
    })
}

fn slot_kind(kind: u8, kdf: KdfParams) -> Result<SlotKind, CryptoError> {
    match kind {
        1 => kdf.check_read().map(|()| SlotKind::Passphrase(kdf)),
        2 if kdf == NO_KDF => Ok(SlotKind::KeyFile),
        2 => Err(malformed("it stretches a key file")),
        found => Err(unknown("kind of key slot", found)),
    }
}

fn unknown(what: &'static str, found: u8) -> CryptoError {
    CryptoError::Unsupported { what, found }
}

fn decode(error: DecodeError) -> CryptoError {
    CryptoError::Decode { what: WHAT, error }
}

fn malformed(why: &'static str) -> CryptoError {
    CryptoError::Malformed { what: WHAT, why }
}
