//! All keys of one holder, and the little that remains of them for a holder that only ingests.
//!
//! The encoding (inside a key slot, sealed) is a version byte and numbered fields `number u8 | length u16 LE | bytes`.
//! Fields that this version does not know are kept and written back, so that changing a passphrase with an older
//! program loses nothing; they are never handed to an ingest holder.
//!
//! Invariant: a keyring is full (private halves of all epochs, and the slots key) or ingest (no private half, one epoch).

use super::{
    CatalogKey, ChunkerKey, CryptoError, EpochPublic, EpochSecret, IdKey, IndexKey, Secret32,
    SlotsKey, derive, secret_buffer,
};
use crate::format::{Cursor, DecodeError};
use crate::id::SlotId;
use zeroize::Zeroizing;

/// What a keyring's holder can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Everything.
    Full = 1,
    /// Add deduplicated snapshots; read no content, name or tree.
    Ingest = 2,
}

impl Role {
    /// The role with this number.
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Full),
            2 => Some(Self::Ingest),
            _ => None,
        }
    }

    /// The word for it, as it is written and typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Ingest => "ingest",
        }
    }
}

/// One epoch as far as the holder knows it.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// Counts up from 1.
    pub number: u32,
    /// Seals.
    pub public: EpochPublic,
    /// Reads; absent for the role ingest.
    pub secret: Option<EpochSecret>,
}

impl Epoch {
    fn full(number: u32, secret: EpochSecret) -> Self {
        Self {
            number,
            public: secret.public(),
            secret: Some(secret),
        }
    }
}

/// All keys of one holder.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Names chunks.
    pub id: IdKey,
    /// Moves cut points.
    pub chunker: ChunkerKey,
    /// Seals index objects and pack directories.
    pub index: IndexKey,
    /// Authenticates key slots; absent for the role ingest.
    pub slots: Option<SlotsKey>,
    /// BLAKE3 of the repository's `config`, which lies in the clear: nobody changes it unnoticed.
    pub config_digest: [u8; 32],
    /// Counts the changes of keys, from 1; see [`Keyring::generation`].
    generation: u32,
    /// Slots that the change to this generation was made for; only full holders know.
    heirs: Vec<SlotId>,
    /// In rising order of their numbers.
    older: Vec<Epoch>,
    newest: Epoch,
    /// Fields of later versions, kept as they came.
    unknown: Vec<(u8, Zeroizing<Vec<u8>>)>,
}

/// Upper bound of an encoded keyring.
pub(super) const MAX_KEYRING_BYTES: usize = 64 << 10;
/// Upper bound of the epochs in one keyring.
pub(super) const MAX_EPOCHS: usize = 512;

const VERSION: u8 = 1;
const WHAT: &str = "the keyring";
const ID: u8 = 1;
const CHUNKER: u8 = 2;
const INDEX: u8 = 3;
const CONFIG: u8 = 4;
const SLOTS: u8 = 5;
const EPOCH_PUBLIC: u8 = 6;
const EPOCH_SECRET: u8 = 7;
const GENERATION: u8 = 8;
const HEIRS: u8 = 9;

impl Keyring {
    /// Fresh keys for a new repository, with one epoch.
    pub fn generate(config_digest: [u8; 32]) -> Result<Self, CryptoError> {
        Ok(Self {
            id: IdKey::generate()?,
            chunker: ChunkerKey::generate()?,
            index: IndexKey::generate()?,
            slots: Some(SlotsKey::generate()?),
            config_digest,
            generation: 1,
            heirs: Vec::new(),
            older: Vec::new(),
            newest: Epoch::full(1, EpochSecret::generate()?),
            unknown: Vec::new(),
        })
    }

    /// What the holder can do.
    pub fn role(&self) -> Role {
        if self.slots.is_some() {
            Role::Full
        } else {
            Role::Ingest
        }
    }

    /// The epochs, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = &Epoch> {
        (0..=self.older.len()).map(|i| self.older.get(i).unwrap_or(&self.newest))
    }

    /// The epoch that writers seal to.
    pub fn newest_epoch(&self) -> &Epoch {
        &self.newest
    }

    /// Rises with every change of keys. Where slots of several generations lie side by side (an interrupted
    /// change, or a store that brings old slots back), the highest is the one that counts.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Notes the slots that these keys are for, once they were changed: whoever finds the change unfinished hands them to these, and to
    /// nobody that a store brings back.
    pub fn set_heirs(&mut self, heirs: Vec<SlotId>) {
        self.heirs = heirs;
    }

    /// Whether the change to this generation was made for that slot.
    pub fn is_heir(&self, id: &SlotId) -> bool {
        self.heirs.contains(id)
    }

    /// The key of the holder's local catalog. A full holder's cannot be had from an ingest keyring: it
    /// remembers what an ingest holder must not read. It stays the same over changes of keys.
    pub fn catalog_key(&self) -> CatalogKey {
        let oldest = self.older.first().unwrap_or(&self.newest);
        let id = self.id.secret();
        match &oldest.secret {
            Some(key) => CatalogKey::derive(derive::CATALOG_FULL, id, &[key.secret().expose()]),
            None => CatalogKey::derive(derive::CATALOG_INGEST, id, &[]),
        }
    }

    /// The same keys without any private half, and with the newest epoch only.
    #[must_use]
    pub fn to_ingest(&self) -> Self {
        let Epoch { number, public, .. } = self.newest;
        Self {
            slots: None,
            generation: self.generation,
            heirs: Vec::new(),
            older: Vec::new(),
            newest: Epoch {
                number,
                public,
                secret: None,
            },
            unknown: Vec::new(),
            id: self.id.clone(),
            chunker: self.chunker.clone(),
            index: self.index.clone(),
            config_digest: self.config_digest,
        }
    }

    /// Adds an epoch, and replaces the key that authenticates slots. Whoever had an older copy of this keyring
    /// cannot read what is written from now on. All slots must be wrapped again afterwards.
    pub fn rotate(&mut self) -> Result<(), CryptoError> {
        self.renew_slots_key()?;
        let too_many = malformed("it has too many epochs");
        if self.older.len() + 1 >= MAX_EPOCHS {
            return Err(too_many);
        }
        let next = self.newest.number.checked_add(1).ok_or(too_many)?;
        let newest = Epoch::full(next, EpochSecret::generate()?);
        self.older.push(std::mem::replace(&mut self.newest, newest));
        Ok(())
    }

    /// Replaces the key that authenticates slots, so that a slot removed now cannot come back at the next
    /// rotation. All remaining slots must be wrapped again afterwards.
    pub fn renew_slots_key(&mut self) -> Result<(), CryptoError> {
        if self.role() != Role::Full {
            return Err(CryptoError::RoleIngest("change keys"));
        }
        let too_many = malformed("its keys changed too often");
        self.generation = self.generation.checked_add(1).ok_or(too_many)?;
        self.slots = Some(SlotsKey::generate()?);
        Ok(())
    }

    /// The stored form; secret.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let unknown: usize = self.unknown.iter().map(|(_, bytes)| bytes.len() + 3).sum();
        let mut out = secret_buffer(
            1 + 5 * 35
                + 7
                + 3
                + self.heirs.len() * SlotId::LEN
                + (self.older.len() + 1) * 39
                + unknown,
        );
        out.push(VERSION);
        put(&mut out, ID, &[self.id.secret().expose()])?;
        put(&mut out, CHUNKER, &[self.chunker.secret().expose()])?;
        put(&mut out, INDEX, &[self.index.secret().expose()])?;
        put(&mut out, CONFIG, &[&self.config_digest])?;
        if let Some(slots) = &self.slots {
            put(&mut out, SLOTS, &[slots.secret().expose()])?;
        }
        put(&mut out, GENERATION, &[&self.generation.to_le_bytes()])?;
        if !self.heirs.is_empty() {
            let ids: Vec<&[u8]> = self.heirs.iter().map(|id| &id.as_bytes()[..]).collect();
            put(&mut out, HEIRS, &ids)?;
        }
        for epoch in self.epochs() {
            let number = epoch.number.to_le_bytes();
            match &epoch.secret {
                None => put(&mut out, EPOCH_PUBLIC, &[&number, epoch.public.as_bytes()])?,
                Some(key) => put(&mut out, EPOCH_SECRET, &[&number, key.secret().expose()])?,
            }
        }
        for (number, bytes) in &self.unknown {
            put(&mut out, *number, &[bytes])?;
        }
        if out.len() > MAX_KEYRING_BYTES {
            return Err(malformed("it is too long"));
        }
        Ok(out)
    }

    /// The keyring in `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CryptoError> {
        if bytes.len() > MAX_KEYRING_BYTES {
            return Err(malformed("it is too long"));
        }
        let mut cursor = Cursor::new(bytes);
        let version = cursor.byte("version").map_err(decode)?;
        if version != VERSION {
            return Err(CryptoError::Unsupported {
                what: "keyring version",
                found: version,
            });
        }
        let mut fields = Fields::default();
        while !cursor.is_empty() {
            let [number, low, high] = cursor.array("field").map_err(decode)?;
            let length = usize::from(u16::from_le_bytes([low, high]));
            fields.add(number, cursor.take(length, "field").map_err(decode)?)?;
        }
        fields.finish()
    }
}

/// The fields seen so far while decoding.
#[derive(Default)]
struct Fields {
    single: [Option<Secret32>; 5],
    generation: Option<u32>,
    heirs: Option<Vec<SlotId>>,
    epochs: Vec<Epoch>,
    unknown: Vec<(u8, Zeroizing<Vec<u8>>)>,
}

impl Fields {
    fn add(&mut self, number: u8, value: &[u8]) -> Result<(), CryptoError> {
        match number {
            ID..=SLOTS => {
                let place = self.single.get_mut(usize::from(number - ID));
                let place = place
                    .filter(|p| p.is_none())
                    .ok_or(malformed("a field is doubled"))?;
                *place = Some(secret(value)?);
            }
            GENERATION if self.generation.is_none() => {
                let value = value
                    .try_into()
                    .map_err(|_| malformed("a number has the wrong length"))?;
                self.generation = Some(u32::from_le_bytes(value));
            }
            HEIRS if self.heirs.is_none() => {
                let (ids, rest) = value.as_chunks();
                if !rest.is_empty() {
                    return Err(malformed("a list of slots has the wrong length"));
                }
                self.heirs = Some(ids.iter().map(|id| SlotId::new(*id)).collect());
            }
            GENERATION | HEIRS => return Err(malformed("a field is doubled")),
            EPOCH_PUBLIC | EPOCH_SECRET => self.add_epoch(number, value)?,
            _ => self.unknown.push((number, Zeroizing::new(value.to_vec()))),
        }
        Ok(())
    }

    fn add_epoch(&mut self, field: u8, value: &[u8]) -> Result<(), CryptoError> {
        let (number, key) = value
            .split_first_chunk()
            .ok_or(malformed("an epoch has the wrong length"))?;
        let number = u32::from_le_bytes(*number);
        if self.epochs.len() >= MAX_EPOCHS {
            return Err(malformed("it has too many epochs"));
        }
        if self.epochs.last().is_some_and(|last| last.number >= number) || number == 0 {
            return Err(malformed("its epochs are out of order"));
        }
        let key = secret(key)?;
        self.epochs.push(if field == EPOCH_PUBLIC {
            Epoch {
                number,
                public: EpochPublic::new(*key.expose()),
                secret: None,
            }
        } else {
            let key = EpochSecret::from_secret(key);
            Epoch {
                number,
                public: key.public(),
                secret: Some(key),
            }
        });
        Ok(())
    }

    fn finish(self) -> Result<Keyring, CryptoError> {
        let [id, chunker, index, config, slots] = self.single;
        let missing = malformed("a key is missing");
        let full = slots.is_some();
        if self
            .epochs
            .iter()
            .any(|epoch| epoch.secret.is_some() != full)
        {
            return Err(malformed("its role is unclear"));
        }
        let mut older = self.epochs;
        let newest = older.pop().ok_or(missing.clone())?;
        if !full && !older.is_empty() {
            return Err(malformed("it has more epochs than its role needs"));
        }
        Ok(Keyring {
            id: IdKey::from_secret(id.ok_or(missing.clone())?),
            chunker: ChunkerKey::from_secret(chunker.ok_or(missing.clone())?),
            index: IndexKey::from_secret(index.ok_or(missing.clone())?),
            config_digest: *config.ok_or(missing.clone())?.expose(),
            generation: self.generation.ok_or(missing)?,
            heirs: self.heirs.unwrap_or_default(),
            slots: slots.map(SlotsKey::from_secret),
            older,
            newest,
            unknown: self.unknown,
        })
    }
}

fn decode(error: DecodeError) -> CryptoError {
    CryptoError::Decode { what: WHAT, error }
}

fn malformed(why: &'static str) -> CryptoError {
    CryptoError::Malformed { what: WHAT, why }
}

fn secret(value: &[u8]) -> Result<Secret32, CryptoError> {
    let mut bytes: [u8; 32] = value
        .try_into()
        .map_err(|_| malformed("a key has the wrong length"))?;
    Ok(Secret32::take_from(&mut bytes))
}

fn put(out: &mut Vec<u8>, number: u8, parts: &[&[u8]]) -> Result<(), CryptoError> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u16::try_from(length).map_err(|_| malformed("a field is too long"))?;
    out.push(number);
    out.extend_from_slice(&length.to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    Ok(())
}
