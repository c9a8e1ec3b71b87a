//! Key slots: a keyring wrapped so that one passphrase or key file opens it.
//!
//! A passphrase (stretched by Argon2id) or a key file yields the private half of an X25519 pair; the keyring is
//! sealed to the public half, which the slot shows. So a full holder can hand new keys to every slot, after a
//! rotation, without knowing the other passphrases. The *tag*, made with a key that only full holders have, proves
//! that a full holder made the slot with this role and public key: without it a store could add a slot of its own
//! and be handed the keys at the next rotation.
//!
//! ```text
//!   0   8  "repokey" 0x01            magic and version
//!   8   1  kind                      1 passphrase, 2 key file
//!   9   1  role                      1 full, 2 ingest
//!  10   1  length of the label
//!  11   1  zero
//!  12  12  Argon2id: m in KiB, t, p  u32 each; zeros for a key file
//!  24   8  created, i64              seconds since 1970
//!  32  16  name of the slot          the name it is stored under
//!  48  32  salt
//!  80  32  public key of the slot
//! 112  32  ephemeral public key      of the wrap
//! 144  32  key commitment            of the wrap
//! 176   L  label                     UTF-8, in the clear
//!          keyring, sealed           with all the above and the repository id authenticated
//!  -64 32  tag                       authenticates bytes 0..112 without 32..48, and the label, to full holders
//!  -32 32  checksum                  BLAKE3 of all the above: tells damage from a wrong passphrase
//! ```

use super::keyring::MAX_KEYRING_BYTES;
use super::wrap::{self, WrapKey};
use super::{
    CryptoError, KdfParams, KeyFile, Keyring, Role, Secret32, SlotsKey, derive, random, take,
};
use crate::format::header::TAG_BYTES;
use crate::id::{RepositoryId, SlotId};
use zeroize::Zeroizing;

/// What opens a slot.
#[derive(Clone, Copy, Debug)]
pub enum Unlock<'a> {
    /// A passphrase: any bytes but none at all, used as they are.
    Passphrase(&'a Passphrase),
    /// A key file.
    KeyFile(&'a KeyFile),
}

/// A passphrase as it was typed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// How a slot is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// By a passphrase, stretched with these parameters.
    Passphrase(KdfParams),
    /// By a key file.
    KeyFile,
}

/// What a slot says in the clear. True only if a slot's tag was checked, or the slot was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// The name that it is stored under.
    pub id: SlotId,
    /// How it is opened.
    pub kind: SlotKind,
    /// What its holder can do.
    pub role: Role,
    /// For people; at most 255 bytes.
    pub label: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// What a new slot shall be like.
#[derive(Clone, Debug)]
pub struct NewSlot<'a> {
    /// What its holder can do; the keyring is reduced to that.
    pub role: Role,
    /// For people.
    pub label: &'a str,
    /// The time now, in seconds since 1970.
    pub created: i64,
    /// Cost of stretching, for a passphrase.
    pub kdf: KdfParams,
}

/// A key slot, opened or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    info: SlotInfo,
    salt: [u8; 32],
    public: [u8; 32],
    ephemeral: [u8; 32],
    commitment: [u8; 32],
    sealed: Vec<u8>,
    tag: [u8; 32],
}

/// No slot is longer than this.
pub const MAX_SLOT_BYTES: usize = CLEAR_LEN + 255 + MAX_KEYRING_BYTES + TAG_BYTES + 64;

const MAGIC: &[u8; 7] = b"repokey";
const VERSION: u8 = 1;
const CLEAR_LEN: usize = 176;
const WHAT: &str = "the key slot";

impl Passphrase {
    /// The passphrase in `bytes`.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CryptoError> {
        if bytes.is_empty() {
            Err(CryptoError::EmptyPassphrase)
        } else {
            Ok(Self(bytes))
        }
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<passphrase>")
    }
}

/// Randomness of one slot.
pub(super) struct Seeds {
    id: [u8; 16],
    salt: [u8; 32],
    ephemeral: Secret32,
}

impl Seeds {
    fn random() -> Result<Self, CryptoError> {
        Ok(Self {
            id: random()?,
            salt: random()?,
            ephemeral: Secret32::generate()?,
        })
    }
}

impl Slot {
    /// Wraps `keyring`, reduced to the role of the new slot, so that `unlock` opens it.
    pub fn create(
        repository: RepositoryId,
        keyring: &Keyring,
        unlock: Unlock<'_>,
        new: &NewSlot<'_>,
    ) -> Result<Self, CryptoError> {
        if let Unlock::Passphrase(_) = unlock {
            new.kdf.check_new()?;
        }
        Self::create_with(repository, keyring, unlock, new, &Seeds::random()?)
    }

    fn create_with(
        repository: RepositoryId,
        keyring: &Keyring,
        unlock: Unlock<'_>,
        new: &NewSlot<'_>,
        seeds: &Seeds,
    ) -> Result<Self, CryptoError> {
        if new.label.len() > 255 {
            return Err(CryptoError::LabelTooLong);
        }
        let kind = match unlock {
            Unlock::Passphrase(_) => SlotKind::Passphrase(new.kdf),
            Unlock::KeyFile(_) => SlotKind::KeyFile,
        };
        let mut slot = Self {
            info: SlotInfo {
                id: SlotId::new(seeds.id),
                kind,
                role: new.role,
                label: new.label.to_owned(),
                created: new.created,
            },
            salt: seeds.salt,
            public: [0; 32],
            ephemeral: [0; 32],
            commitment: [0; 32],
            sealed: Vec::new(),
            tag: [0; 32],
        };
        slot.public = wrap::public(&slot.private(unlock)?);
        slot.fill(repository, keyring, &seeds.ephemeral)?;
        Ok(slot)
    }

    /// The same slot (passphrase, role, label) under a new name, with `new` keys in it: what a full holder does
    /// to every slot after a change of keys. `old` keys must prove that a full holder made this slot.
    pub fn rewrap(
        &self,
        repository: RepositoryId,
        old: &Keyring,
        new: &Keyring,
    ) -> Result<Self, CryptoError> {
        self.verify(repository, old)?;
        let mut slot = self.clone();
        slot.info.id = SlotId::new(random()?);
        slot.fill(repository, new, &Secret32::generate()?)?;
        Ok(slot)
    }

    /// Whether a full holder made this slot as it is, with the slots key that `keyring` has.
    pub fn verify(&self, repository: RepositoryId, keyring: &Keyring) -> Result<(), CryptoError> {
        let key = keyring
            .slots
            .as_ref()
            .ok_or(CryptoError::RoleIngest("judge key slots"))?;
        if derive::same(&self.expected_tag(repository, key), &self.tag) {
            Ok(())
        } else {
            Err(CryptoError::Forged(WHAT))
        }
    }

    /// Seals `keyring`, reduced to the slot's role, into this slot.
    fn fill(
        &mut self,
        repository: RepositoryId,
        keyring: &Keyring,
        ephemeral: &Secret32,
    ) -> Result<(), CryptoError> {
        let slots = keyring
            .slots
            .as_ref()
            .ok_or(CryptoError::RoleIngest("make key slots"))?;
        self.tag = self.expected_tag(repository, slots);
        let plain = match self.info.role {
            Role::Full => keyring.encode()?,
            Role::Ingest => keyring.to_ingest().encode()?,
        };
        self.ephemeral = wrap::public(ephemeral);
        let key = WrapKey::to(&self.public, ephemeral, repository, derive::SLOT_WRAP)?;
        self.commitment = key.commitment(derive::SLOT_COMMITMENT, &self.committed());
        // Encrypted in place, within the capacity reserved: no plaintext stays behind.
        let mut sealed = Vec::with_capacity(plain.len() + TAG_BYTES);
        sealed.extend_from_slice(&plain);
        let tag = key.seal(&self.aad(repository), &mut sealed)?;
        sealed.extend_from_slice(&tag);
        self.sealed = sealed;
        Ok(())
    }

    /// The keyring, if `unlock` is what this slot was made with.
    pub fn open(
        &self,
        repository: RepositoryId,
        unlock: Unlock<'_>,
    ) -> Result<Keyring, CryptoError> {
        let private = self.private(unlock)?;
        if !derive::same(&wrap::public(&private), &self.public) {
            return Err(CryptoError::WrongSecret);
        }
        let key = WrapKey::from(&self.ephemeral, &private, repository, derive::SLOT_WRAP)?;
        let commitment = key.commitment(derive::SLOT_COMMITMENT, &self.committed());
        if !derive::same(&commitment, &self.commitment) {
            return Err(CryptoError::Forged(WHAT));
        }
        let (data, tag) = self
            .sealed
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(CryptoError::Truncated(WHAT))?;
        let mut plain = Zeroizing::new(data.to_vec());
        if !key.open(&self.aad(repository), &mut plain, tag) {
            return Err(CryptoError::Forged(WHAT));
        }
        let keyring = Keyring::decode(&plain)?;
        if keyring.role() != self.info.role {
            return Err(CryptoError::Malformed {
                what: WHAT,
                why: "its role is not its keyring's",
            });
        }
        // Every full keyring comes with the key that made its own slot's tag; anything else was put together
        // by somebody who knows the passphrase but not the keys.
        if keyring.role() == Role::Full {
            self.verify(repository, &keyring)?;
        }
        Ok(keyring)
    }

    /// What the slot says in the clear.
    pub fn info(&self) -> &SlotInfo {
        &self.info
    }

    /// The private half of the slot's pair.
    fn private(&self, unlock: Unlock<'_>) -> Result<Secret32, CryptoError> {
        match (self.info.kind, unlock) {
            (SlotKind::Passphrase(kdf), Unlock::Passphrase(passphrase)) => {
                let stretched = kdf.stretch(&passphrase.0, &self.salt)?;
                Ok(derive::key(
                    derive::SLOT_PASSPHRASE,
                    stretched.expose(),
                    &[],
                ))
            }
            (SlotKind::KeyFile, Unlock::KeyFile(file)) => Ok(derive::key(
                derive::SLOT_KEY_FILE,
                file.secret().expose(),
                &[&self.salt],
            )),
            (SlotKind::Passphrase(_), _) => Err(CryptoError::WrongKind("passphrase")),
            (SlotKind::KeyFile, _) => Err(CryptoError::WrongKind("key file")),
        }
    }

    /// What stays the same when the slot is wrapped again.
    fn lasting(&self) -> [Vec<u8>; 2] {
        let (kind, kdf) = match self.info.kind {
            SlotKind::Passphrase(kdf) => (1, [kdf.m_kib, kdf.t, kdf.p]),
            SlotKind::KeyFile => (2, [0; 3]),
        };
        let label_len = u8::try_from(self.info.label.len()).unwrap_or(u8::MAX);
        let mut head = MAGIC.to_vec();
        head.extend([VERSION, kind, self.info.role as u8, label_len, 0]);
        head.extend(kdf.iter().flat_map(|n| n.to_le_bytes()));
        head.extend(self.info.created.to_le_bytes());
        [head, [self.salt, self.public].concat()]
    }

    /// Bytes 0 to 144: what the commitment covers.
    fn committed(&self) -> Vec<u8> {
        let [head, keys] = self.lasting();
        [
            head.as_slice(),
            self.info.id.as_bytes(),
            &keys,
            &self.ephemeral,
        ]
        .concat()
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

    fn aad(&self, repository: RepositoryId) -> Vec<u8> {
        [repository.as_bytes().as_slice(), &self.clear()].concat()
    }

    fn expected_tag(&self, repository: RepositoryId, key: &SlotsKey) -> [u8; 32] {
        let [head, keys] = self.lasting();
        let parts = [
            repository.as_bytes(),
            head.as_slice(),
            &keys,
            self.info.label.as_bytes(),
        ];
        derive::digest(derive::SLOT_TAG, key.secret().expose(), &parts)
    }

    /// The stored bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.clear();
        bytes.extend_from_slice(&self.sealed);
        bytes.extend_from_slice(&self.tag);
        let checksum = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// The slot in `bytes`, checked for damage and for bounds; nothing in it is proven yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() > MAX_SLOT_BYTES {
            return Err(malformed("it is too long"));
        }
        let mut rest = bytes;
        if take::<7>(&mut rest, WHAT)? != MAGIC {
            return Err(malformed("it does not start with 'repokey'"));
        }
        let [version, kind, role, label_len, zero] = *take(&mut rest, WHAT)?;
        let unknown = |what, found| CryptoError::Unsupported { what, found };
        if version != VERSION {
            return Err(unknown("key slot version", version));
        }
        let (rest_of_file, checksum) = rest
            .split_last_chunk::<32>()
            .ok_or(CryptoError::Truncated(WHAT))?;
        let checked = bytes.split_at(bytes.len() - 32).0;
        if blake3::hash(checked).as_bytes() != checksum {
            return Err(malformed("its checksum is wrong: the bytes are damaged"));
        }
        rest = rest_of_file;
        let role = Role::from_u8(role).ok_or(unknown("role", role))?;
        let kind = decode_kind(kind, &mut rest)?;
        if zero != 0 {
            return Err(malformed("a byte that must be zero is not"));
        }
        let created = i64::from_le_bytes(*take(&mut rest, WHAT)?);
        let id = SlotId::new(*take(&mut rest, WHAT)?);
        let salt = *take(&mut rest, WHAT)?;
        let public = *take(&mut rest, WHAT)?;
        let ephemeral = *take(&mut rest, WHAT)?;
        let commitment = *take(&mut rest, WHAT)?;
        let label = rest
            .split_off(..usize::from(label_len))
            .ok_or(CryptoError::Truncated(WHAT))?;
        let label = std::str::from_utf8(label).map_err(|_| malformed("its label is not UTF-8"))?;
        let (sealed, tag) = rest
            .split_last_chunk()
            .ok_or(CryptoError::Truncated(WHAT))?;
        Ok(Self {
            info: SlotInfo {
                id,
                kind,
                role,
                label: label.to_owned(),
                created,
            },
            salt,
            public,
            ephemeral,
            commitment,
            sealed: sealed.to_vec(),
            tag: *tag,
        })
    }
}

fn decode_kind(kind: u8, rest: &mut &[u8]) -> Result<SlotKind, CryptoError> {
    let mut number = || take(rest, WHAT).map(|bytes| u32::from_le_bytes(*bytes));
    let kdf = KdfParams {
        m_kib: number()?,
        t: number()?,
        p: number()?,
    };
    match kind {
        1 => kdf.check_read().map(|()| SlotKind::Passphrase(kdf)),
        2 if kdf
            == (KdfParams {
                m_kib: 0,
                t: 0,
                p: 0,
            }) =>
        {
            Ok(SlotKind::KeyFile)
        }
        2 => Err(malformed("it stretches a key file")),
        found => Err(CryptoError::Unsupported {
            what: "kind of key slot",
            found,
        }),
    }
}

fn malformed(why: &'static str) -> CryptoError {
    CryptoError::Malformed { what: WHAT, why }
}
