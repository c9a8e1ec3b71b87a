//! Creating and opening a repository, and its key slots.
//!
//! Creation writes the first key slot, then `config`: a repository exists once its config does. Every change of slots
//! writes new slots before it removes old ones, so that at no instant a secret that worked stops working.

use std::sync::{Arc, Mutex};

use super::neighbours::Neighbours;
use super::object::crypto;
use super::{BlockCache, Repository};
use crate::backend::{Area, Backend, Drawn, Key};
use crate::catalog::{Catalog, CatalogPlace};
use crate::crypto::seal::ObjectKeys;
use crate::crypto::slot::{NewSlot, Slot, SlotInfo, SlotKind, Unlock};
use crate::crypto::{self, KdfParams, Keyring, Role};
use crate::error::{Class, Error, Result};
use crate::format::config::{Config, ConfigError, MAX_CONFIG_BYTES};
use crate::format::header::Suite;
use crate::id::RepositoryId;
use crate::progress::Monitor;

/// The most key slots that are looked at.
const MAX_SLOTS: usize = 1024;

/// What a new key slot shall be like.
#[derive(Clone, Debug)]
pub struct SlotOptions {
    /// What its holder may do.
    pub role: Role,
    /// For people, at most 255 bytes; readable by anyone who sees the store.
    pub label: String,
    /// Now, in seconds since 1970.
    pub created: i64,
    /// Cost of stretching a passphrase.
    pub kdf: KdfParams,
}

/// How a new repository shall be.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The AEAD of everything in it.
    pub suite: Suite,
    /// Its first slot; the role must be full.
    pub slot: SlotOptions,
}

/// What [`Repository::create`] made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its id.
    pub id: RepositoryId,
    /// Its first slot.
    pub slot: SlotInfo,
    /// There was room for the space that is set aside for pruning a full disk.
    pub reserve: bool,
}

impl SlotOptions {
    fn as_new(&self) -> NewSlot<'_> {
        NewSlot {
            role: self.role,
            label: &self.label,
            created: self.created,
            kdf: self.kdf,
        }
    }
}

impl Repository {
    /// Creates a repository with one key slot.
    pub fn create(
        backend: &dyn Backend,
        options: &CreateOptions,
        unlock: Unlock<'_>,
    ) -> Result<Created> {
        if options.slot.role != Role::Full {
            return Err(Error::invalid(
                "the first key of a repository must have the role full",
            ));
        }
        if backend.exists(&Key::config())? {
            return Err(Error::new(
                Class::Exists,
                format!("there is a repository at {} already", backend.location()),
            ));
        }
        let id = crypto::new_repository_id().map_err(crypto("make a repository id"))?;
        let config = Config::new(id, options.suite);
        let bytes = config.encode().map_err(|e| bad_config(&e))?;
        let keyring =
            Keyring::generate(*blake3::hash(&bytes).as_bytes()).map_err(crypto("make the keys"))?;
        let slot = Slot::create(id, &keyring, unlock, &options.slot.as_new())
            .map_err(crypto("make the key slot"))?;
        backend.prepare()?;
        write_slot(backend, &slot)?;
        backend.write_new(&Key::config(), &bytes)?;
        // Where there is no room for it, or no right to it, everything else works.
        let reserve = backend.fill_reserve().unwrap_or(false);
        Ok(Created {
            id,
            slot: slot.info().clone(),
            reserve,
        })
    }

    /// Opens a repository and takes in what is new in it.
    pub fn open(
        backend: Arc<dyn Backend>,
        unlock: Unlock<'_>,
        catalog: &CatalogPlace,
        monitor: &dyn Monitor,
    ) -> Result<Arc<Self>> {
        let (config, bytes) = read_config(backend.as_ref())?;
        let id = config.repository_id().map_err(|e| bad_config(&e))?;
        let suite = config.suite().map_err(|e| bad_config(&e))?;
        let keyring = open_keyring(backend.as_ref(), id, unlock)?;
        if keyring.config_digest != *blake3::hash(&bytes).as_bytes() {
            return Err(Error::corrupt(format!(
                "the config of {} is not the one the repository was created with",
                backend.location()
            )));
        }
        let (catalog, opened) = Catalog::open(catalog, id)?;
        let repository = Arc::new(Self {
            keys: ObjectKeys::new(id, &keyring),
            catalog_key: keyring.catalog_key(),
            backend,
            config,
            id,
            suite,
            keyring,
            catalog,
            cache: BlockCache::new(super::CACHE_BYTES),
            searched: Mutex::default(),
            unreadable: Mutex::default(),
            failed: Mutex::default(),
            openers: Mutex::default(),
            decompressors: Mutex::default(),
            neighbours: Neighbours::default(),
        });
        repository.take_in(&opened, monitor)?;
        Ok(repository)
    }

    /// The suite that new objects are sealed with.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Adds a key slot.
    pub fn add_slot(&self, unlock: Unlock<'_>, options: &SlotOptions) -> Result<SlotInfo> {
        self.require_full("add a key")?;
        let _drawing = self.draw_on_reserve(Drawn::Small);
        let slot = Slot::create(self.id, self.keyring(), unlock, &options.as_new())
            .map_err(crypto("make the key slot"))?;
        write_slot(self.backend.as_ref(), &slot)?;
        Ok(slot.info().clone())
    }

    /// Removes the slot whose id begins with `id` (at least 3 digits). The last full slot stays: without it nobody could read anything again.
    pub fn remove_slot(&self, id: &str) -> Result<SlotInfo> {
        self.require_full("remove a key")?;
        let _drawing = self.draw_on_reserve(Drawn::Small);
        let slots = self.verified_slots()?;
        let mut matching = slots
            .iter()
            .filter(|s| s.info().id.to_hex().starts_with(id));
        let Some(slot) = matching.next().filter(|_| id.len() >= super::MIN_ID_DIGITS) else {
            return Err(Error::new(
                Class::NotFound,
                format!("no key slot has an id that begins with '{id}': see 'repo key list'"),
            ));
        };
        if matching.next().is_some() {
            return Err(Error::invalid(format!(
                "'{id}' is the beginning of several key slot ids"
            )));
        }
        let full = |s: &&Slot| s.info().role == Role::Full;
        if full(&slot) && slots.iter().filter(full).count() < 2 {
            return Err(Error::new(
                Class::Refused,
                "this is the last key with the role full: without it nothing could be read again",
            ));
        }
        let (gone, rest): (Vec<_>, Vec<_>) = slots
            .iter()
            .partition(|other| other.info().id == slot.info().id);
        for slot in gone {
            self.backend.remove(&slot_key(slot)?)?;
        }
        // With another slots key in the others, a store that brings the slot back cannot have it handed keys later.
        let mut keyring = self.keyring().clone();
        keyring
            .renew_slots_key()
            .map_err(crypto("renew the keys"))?;
        self.rewrap(&rest, &keyring)?;
        Ok(slot.info().clone())
    }

    /// Replaces the slot that `old` opens by one that `new` opens, with the same role and label. The data is not touched.
    pub fn change_slot(
        &self,
        old: Unlock<'_>,
        new: Unlock<'_>,
        kdf: KdfParams,
        now: i64,
    ) -> Result<SlotInfo> {
        let _drawing = self.draw_on_reserve(Drawn::Small);
        let (slot, keyring) = open_slot(self.backend.as_ref(), self.id, old)?;
        let info = slot.info().clone();
        let options = NewSlot {
            role: info.role,
            label: &info.label,
            created: now,
            kdf,
        };
        if info.role != Role::Full {
            return Err(Error::new(
                Class::Denied,
                "a key with the role ingest cannot be changed by its holder: \
                 add a new one and remove this one with a key of the role full",
            ));
        }
        let changed =
            Slot::create(self.id, &keyring, new, &options).map_err(crypto("make the key slot"))?;
        write_slot(self.backend.as_ref(), &changed)?;
        self.backend.remove(&slot_key(&slot)?)?;
        Ok(changed.info().clone())
    }

    /// True if there is a key slot that `unlock` opens.
    pub fn opens_with(&self, unlock: Unlock<'_>) -> Result<bool> {
        match open_slot(self.backend.as_ref(), self.id, unlock) {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::WrongKey => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins a new epoch: what is written from now on is sealed to a new key pair, which every present slot gets.
    /// No data is rewritten. Returns the new epoch's number.
    pub fn rotate(&self) -> Result<u32> {
        self.require_full("rotate the keys")?;
        let _drawing = self.draw_on_reserve(Drawn::Small);
        let slots = self.verified_slots()?;
        let mut keyring = self.keyring().clone();
        keyring.rotate().map_err(crypto("rotate the keys"))?;
        self.rewrap(&slots.iter().collect::<Vec<_>>(), &keyring)?;
        Ok(keyring.newest_epoch().number)
    }

    /// Puts `keyring` into these slots: all new ones are there before the first old one goes.
    fn rewrap(&self, slots: &[&Slot], keyring: &Keyring) -> Result<()> {
        let renewed: Vec<Slot> = slots
            .iter()
            .map(|slot| slot.rewrap(self.id, self.keyring(), keyring))
            .collect::<Result<_, _>>()
            .map_err(crypto("wrap the new keys"))?;
        for slot in &renewed {
            write_slot(self.backend.as_ref(), slot)?;
        }
        for slot in slots {
            self.backend.remove(&slot_key(slot)?)?;
        }
        Ok(())
    }

    /// The key slots, as far as a full holder's key vouches for them; others are left out.
    pub fn slots(&self) -> Result<Vec<SlotInfo>> {
        Ok(self
            .verified_slots()?
            .iter()
            .map(|slot| slot.info().clone())
            .collect())
    }

    fn verified_slots(&self) -> Result<Vec<Slot>> {
        self.require_full("manage keys")?;
        let mut slots = read_slots(self.backend.as_ref())?;
        let own = self.keyring().generation();
        if slots.iter().any(|slot| slot.info().generation > own) {
            // Going on would make a second line of keys beside the first.
            return Err(Error::new(
                Class::Refused,
                "the keys were changed since this key was given its own: use a key that knows the change",
            ));
        }
        slots.retain(|slot| slot.verify(self.id, self.keyring()).is_ok());
        slots.sort_by_key(|slot| (slot.info().created, slot.info().id));
        Ok(slots)
    }
}

/// Names of key slots that cannot be decoded, with the reason; needs no key.
pub fn check_slots(backend: &dyn Backend) -> Result<Vec<(String, Error)>> {
    let mut bad = Vec::new();
    for name in slot_names(backend)? {
        if let Err(e) = read_slot(backend, &name) {
            bad.push((name, e));
        }
    }
    Ok(bad)
}

fn read_config(backend: &dyn Backend) -> Result<(Config, Vec<u8>)> {
    let bytes = backend
        .read_all(&Key::config(), MAX_CONFIG_BYTES as u64)
        .map_err(|e| match e.class() {
            Class::NotFound => Error::new(
                Class::NotFound,
                format!(
                    "there is no repository at {}: create one with 'repo init'",
                    backend.location()
                ),
            ),
            _ => e,
        })?;
    let config = Config::decode(&bytes)
        .map_err(|e| bad_config(&e).within(format!("the config of {}", backend.location())))?;
    Ok((config, bytes))
}

fn bad_config(error: &ConfigError) -> Error {
    let class = match error {
        ConfigError::Version(_) | ConfigError::Foreign(_) => Class::Unsupported,
        _ => Class::Corrupt,
    };
    Error::new(class, error.to_string())
}

fn slot_key(slot: &Slot) -> Result<Key> {
    Key::named(Area::Keys, &slot.name())
}

fn write_slot(backend: &dyn Backend, slot: &Slot) -> Result<()> {
    backend.write_new(&slot_key(slot)?, &slot.encode())
}

fn slot_names(backend: &dyn Backend) -> Result<Vec<String>> {
    let mut names = Vec::new();
    backend.list(Area::Keys, &mut |name, _| {
        if names.len() < MAX_SLOTS {
            names.push(name.to_owned());
        }
        Ok(())
    })?;
    names.sort();
    Ok(names)
}

fn read_slot(backend: &dyn Backend, name: &str) -> Result<Slot> {
    let key = Key::named(Area::Keys, name)?;
    let bytes = backend.read_all(&key, crypto::slot::MAX_SLOT_BYTES as u64)?;
    let slot = Slot::decode(&bytes).map_err(super::object::sealed(&key))?;
    if slot.name() != name {
        return Err(Error::corrupt(format!(
            "{key}: it says that it is another slot"
        )));
    }
    Ok(slot)
}

/// All slots that can be decoded. A damaged one must not keep the others from opening.
fn read_slots(backend: &dyn Backend) -> Result<Vec<Slot>> {
    Ok(slot_names(backend)?
        .iter()
        .filter_map(|name| read_slot(backend, name).ok())
        .collect())
}

fn open_keyring(backend: &dyn Backend, id: RepositoryId, unlock: Unlock<'_>) -> Result<Keyring> {
    open_slot(backend, id, unlock).map(|(_, keyring)| keyring)
}

/// The slot that `unlock` opens, and what is in it. Where an interrupted change of keys left the same slot with older
/// keys beside it, the highest generation counts, so those are tried first.
fn open_slot(
    backend: &dyn Backend,
    id: RepositoryId,
    unlock: Unlock<'_>,
) -> Result<(Slot, Keyring)> {
    let mut slots = read_slots(backend)?;
    let damaged = slot_names(backend)?.len().saturating_sub(slots.len());
    if slots.is_empty() {
        return Err(Error::corrupt(format!(
            "no key slot of {} can be read: restore its keys/ folder from a copy",
            backend.location()
        )));
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.info().generation));
    let mut damage = None;
    for slot in slots {
        let fits = matches!(
            (slot.info().kind, unlock),
            (SlotKind::Passphrase(_), Unlock::Passphrase(_))
                | (SlotKind::KeyFile, Unlock::KeyFile(_))
        );
        if !fits {
            continue;
        }
        match slot.open(id, unlock) {
            Ok(keyring) => return Ok((slot, keyring)),
            Err(e) if e.class() == Class::WrongKey => {}
            Err(e) => damage = Some(e),
        }
    }
    if let Some(e) = damage {
        return Err(Error::caused(e.class(), "open a key slot", e));
    }
    let secret = match unlock {
        Unlock::Passphrase(_) => "passphrase",
        Unlock::KeyFile(_) => "key file",
    };
    // Which secret a damaged slot opened with cannot be known.
    let others = match damaged {
        0 => String::new(),
        count => format!("; {count} damaged: 'repo check --no-key' names them"),
    };
    let what = format!("no key slot opens with this {secret}{others}");
    Err(Error::new(Class::WrongKey, what))
}
