//! Key slots: a keyring wrapped so that one passphrase or key file opens it.
//!
//! A passphrase (stretched by Argon2id) or a key file yields two secrets: the private half of an X25519 pair, to
//! whose public half, shown in the slot, the keyring is sealed; and the *voucher*. The voucher goes into the key of
//! the seal as well, and is itself sealed under the slots key, which is part of every full keyring. So
//!
//! * a full holder can hand new keys to every slot after a rotation, without knowing the other passphrases;
//! * a store can do nothing of that kind: without the voucher it can neither put a keyring of its own into a slot,
//!   nor add a slot that would be handed the keys at the next rotation;
//! * an old full keyring that leaked opens no later one: it knows vouchers, but no private halves.
//!
//! Invariant: what a slot says in the clear is claimed, not proven, until it was verified or opened.

mod layout;

pub use layout::MAX_SLOT_BYTES;

use super::wrap::{self, SEALED_SECRET_BYTES, WrapKey};
use super::{CryptoError, KdfParams, KeyFile, Keyring, Role, Secret32, derive, random};
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

/// What a slot says in the clear. Proven only once the slot was verified or opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Which slot it is, for as long as it exists.
    pub id: SlotId,
    /// The generation of the keyring in it. Of two slots with one id the higher one counts.
    pub generation: u32,
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
    vouched: [u8; SEALED_SECRET_BYTES],
}

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

    /// The passphrase itself, to hand it to another process of the same user.
    pub fn expose(&self) -> &[u8] {
        &self.0
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
    pub(super) fn random() -> Result<Self, CryptoError> {
        Ok(Self {
            id: random()?,
            salt: random()?,
            ephemeral: Secret32::generate()?,
        })
    }
}

#[cfg(test)]
impl Seeds {
    pub(super) fn fixed(id: [u8; 16], salt: [u8; 32], ephemeral: Secret32) -> Self {
        Self {
            id,
            salt,
            ephemeral,
        }
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

    /// The deterministic part, apart so that golden bytes can be made of it, and weak slots in tests.
    pub(super) fn create_with(
        repository: RepositoryId,
        keyring: &Keyring,
        unlock: Unlock<'_>,
        new: &NewSlot<'_>,
        seeds: &Seeds,
    ) -> Result<Self, CryptoError> {
        if new.label.len() > layout::MAX_LABEL {
            return Err(CryptoError::LabelTooLong);
        }
        let kind = match unlock {
            Unlock::Passphrase(_) => SlotKind::Passphrase(new.kdf),
            Unlock::KeyFile(_) => SlotKind::KeyFile,
        };
        let mut slot = Self {
            info: SlotInfo {
                id: SlotId::new(seeds.id),
                generation: keyring.generation(),
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
            vouched: [0; SEALED_SECRET_BYTES],
        };
        let (private, voucher) = slot.secrets(unlock)?;
        slot.public = wrap::public(&private);
        slot.fill(repository, keyring, &voucher, &seeds.ephemeral)?;
        Ok(slot)
    }

    /// The same slot (id, passphrase, role, label) with `new` keys in it, under the name of their generation: what
    /// a full holder does to every slot after a change of keys. `old` keys prove that a full holder made it.
    pub fn rewrap(
        &self,
        repository: RepositoryId,
        old: &Keyring,
        new: &Keyring,
    ) -> Result<Self, CryptoError> {
        let voucher = self.voucher(repository, old)?;
        let mut slot = self.clone();
        slot.info.generation = new.generation();
        slot.fill(repository, new, &voucher, &Secret32::generate()?)?;
        Ok(slot)
    }

    /// Whether a full holder made this slot as it is, with the slots key that `keyring` has.
    pub fn verify(&self, repository: RepositoryId, keyring: &Keyring) -> Result<(), CryptoError> {
        self.voucher(repository, keyring).map(drop)
    }

    /// The slot's voucher, as full holders know it.
    fn voucher(
        &self,
        repository: RepositoryId,
        keyring: &Keyring,
    ) -> Result<Secret32, CryptoError> {
        self.voucher_key(repository, keyring)?
            .open_secret(&[], &self.vouched)
            .ok_or(CryptoError::Forged(WHAT))
    }

    /// The key that seals the voucher. It is derived from everything that lasts, voucher included (by the
    /// public key, which comes from the same secret): it never seals two different messages.
    fn voucher_key(
        &self,
        repository: RepositoryId,
        keyring: &Keyring,
    ) -> Result<WrapKey, CryptoError> {
        let slots = keyring
            .slots
            .as_ref()
            .ok_or(CryptoError::RoleIngest("manage key slots"))?;
        let parts = [repository.as_bytes().as_slice(), &self.lasting()];
        Ok(WrapKey::new(derive::key(
            derive::SLOT_VOUCHED,
            slots.secret().expose(),
            &parts,
        )))
    }

    /// Seals `keyring`, reduced to the slot's role, into this slot.
    pub(super) fn fill(
        &mut self,
        repository: RepositoryId,
        keyring: &Keyring,
        voucher: &Secret32,
        ephemeral: &Secret32,
    ) -> Result<(), CryptoError> {
        self.vouched = self
            .voucher_key(repository, keyring)?
            .seal_secret(&[], voucher)?;
        let plain = match self.info.role {
            Role::Full => keyring.encode()?,
            Role::Ingest => keyring.to_ingest().encode()?,
        };
        self.ephemeral = wrap::public(ephemeral);
        let binding = [repository.as_bytes().as_slice(), voucher.expose()];
        let key = WrapKey::to(&self.public, ephemeral, derive::SLOT_WRAP, &binding)?;
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
        let (private, voucher) = self.secrets(unlock)?;
        if !derive::same(&wrap::public(&private), &self.public) {
            return Err(CryptoError::WrongSecret);
        }
        let binding = [repository.as_bytes().as_slice(), voucher.expose()];
        let key = WrapKey::from(&self.ephemeral, &private, derive::SLOT_WRAP, &binding)?;
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
        let said = (self.info.role, self.info.generation);
        if (keyring.role(), keyring.generation()) != said {
            return Err(CryptoError::Malformed {
                what: WHAT,
                why: "its role or generation is not its keyring's",
            });
        }
        if keyring.role() == Role::Full {
            self.verify(repository, &keyring)?;
        }
        Ok(keyring)
    }

    /// The name to store it under.
    pub fn name(&self) -> String {
        format!("{}-{}", self.info.id, self.info.generation)
    }

    /// What the slot says in the clear.
    pub fn info(&self) -> &SlotInfo {
        &self.info
    }

    /// The private half of the slot's pair, and its voucher. Neither can be had from the other: should the
    /// pair be broken one day, the voucher still stands.
    fn secrets(&self, unlock: Unlock<'_>) -> Result<(Secret32, Secret32), CryptoError> {
        let root = match (self.info.kind, unlock) {
            (SlotKind::Passphrase(kdf), Unlock::Passphrase(passphrase)) => {
                let stretched = kdf.stretch(&passphrase.0, &self.salt)?;
                derive::key(derive::SLOT_PASSPHRASE, stretched.expose(), &[])
            }
            (SlotKind::KeyFile, Unlock::KeyFile(file)) => {
                derive::key(derive::SLOT_KEY_FILE, file.secret().expose(), &[&self.salt])
            }
            (SlotKind::Passphrase(_), _) => return Err(CryptoError::WrongKind("passphrase")),
            (SlotKind::KeyFile, _) => return Err(CryptoError::WrongKind("key file")),
        };
        let part = |context| derive::key(context, root.expose(), &[]);
        Ok((part(derive::SLOT_PRIVATE), part(derive::SLOT_VOUCHER)))
    }
}
