//! Creating and opening a repository, and its key slots.
//!
//! Creation writes the first key slot, then `config`: a repository exists once its config does. Every change of slots
//! writes new slots before it removes old ones, so that at no instant a secret that worked stops working.

use std::sync::{Arc, Mutex};

use super::neighbours::Neighbours;
use super::object::crypto;
use super::{BlockCache, Repository};
use crate::backend::{Area, Backend, Key};
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
    pub(super) fn as_new(&self) -> NewSlot<'_> {
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
        Self::create_configured(backend, &Config::new(id, options.suite), options, unlock)
    }

    /// The same with parameters of its own, where there is no repository yet.
    pub(crate) fn create_configured(
        backend: &dyn Backend,
        config: &Config,
        options: &CreateOptions,
        unlock: Unlock<'_>,
    ) -> Result<Created> {
        let id = config.repository_id().map_err(|e| bad_config(&e))?;
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
        let Opened {
            slot,
            keyring,
            older: older_keyrings,
        } = open_slot(backend.as_ref(), id, unlock)?;
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
            slot: slot.info().id,
            older_keyrings,
            catalog,
            cache: BlockCache::new(super::CACHE_BYTES),
            searched: Mutex::default(),
            unreadable: Mutex::default(),
            told: Mutex::default(),
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

    /// True if there is a key slot that `unlock` opens.
    pub fn opens_with(&self, unlock: Unlock<'_>) -> Result<bool> {
        match open_slot(self.backend.as_ref(), self.id, unlock) {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::WrongKey => Ok(false),
            Err(error) => Err(error),
        }
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

pub(super) fn slot_key(slot: &Slot) -> Result<Key> {
    Key::named(Area::Keys, &slot.name())
}

pub(super) fn write_slot(backend: &dyn Backend, slot: &Slot) -> Result<()> {
    backend.write_new(&slot_key(slot)?, &slot.encode())
}

pub(super) fn slot_names(backend: &dyn Backend) -> Result<Vec<String>> {
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

pub(super) fn read_slot(backend: &dyn Backend, name: &str) -> Result<Slot> {
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

/// All slots that can be decoded, and why another could not be read though it is perhaps not damaged. Neither keeps the others from
/// opening.
pub(super) fn read_slots(backend: &dyn Backend) -> Result<(Vec<Slot>, Option<Error>)> {
    let (mut slots, mut failed) = (Vec::new(), None);
    for name in slot_names(backend)? {
        match read_slot(backend, &name) {
            Ok(slot) => slots.push(slot),
            Err(e)
                if matches!(
                    e.class(),
                    Class::Io | Class::Denied | Class::Busy | Class::Full
                ) =>
            {
                failed = Some(e);
            }
            // Damaged, gone, or of another version.
            Err(_) => {}
        }
    }
    Ok((slots, failed))
}

/// What a secret opened.
pub(super) struct Opened {
    pub(super) slot: Slot,
    pub(super) keyring: Keyring,
    /// From older generations of the same slot.
    pub(super) older: Vec<Keyring>,
}

/// The slot that `unlock` opens, and what is in it. Where an interrupted change of keys left the same slot with older
/// keys beside it, the highest generation counts, so those are tried first.
pub(super) fn open_slot(
    backend: &dyn Backend,
    id: RepositoryId,
    unlock: Unlock<'_>,
) -> Result<Opened> {
    let (mut slots, failed) = read_slots(backend)?;
    let damaged = slot_names(backend)?.len().saturating_sub(slots.len());
    if slots.is_empty() {
        if let Some(e) = failed {
            return Err(e);
        }
        return Err(Error::corrupt(format!(
            "no key slot of {} can be read: restore its keys/ folder from a copy",
            backend.location()
        )));
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.info().generation));
    let mut damage = None;
    let older = |of: &SlotInfo| {
        let twin = |slot: &&Slot| slot.info().id == of.id && slot.info().generation < of.generation;
        let twins = slots.iter().filter(twin);
        twins
            .filter_map(|slot| slot.open(id, unlock).ok())
            .collect()
    };
    for slot in &slots {
        let fits = matches!(
            (slot.info().kind, unlock),
            (SlotKind::Passphrase(_), Unlock::Passphrase(_))
                | (SlotKind::KeyFile, Unlock::KeyFile(_))
        );
        if !fits {
            continue;
        }
        match slot.open(id, unlock) {
            Ok(keyring) => {
                return Ok(Opened {
                    older: older(slot.info()),
                    slot: slot.clone(),
                    keyring,
                });
            }
            Err(e) if e.class() == Class::WrongKey => {}
            Err(e) => damage = Some(e),
        }
    }
    if let Some(e) = damage {
        return Err(Error::caused(e.class(), "open a key slot", e));
    }
    // It may be that one's secret.
    if let Some(e) = failed {
        return Err(e);
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
