//! Changes of key slots: adding, removing and changing them, and new keys for all.
//!
//! Every change writes new slots before it removes old ones, so that at no instant a secret that worked stops working. Who changes the keys gets
//! them first, full holders next, ingest holders last: what anybody writes with new keys can be read. A change that was interrupted is
//! finished before the next.

use super::Repository;
use super::object::crypto;
use super::session::remove_ended;
use super::unlock::{
    Opened, SlotOptions, open_slot, read_slot, read_slots, slot_key, slot_names, write_slot,
};
use crate::backend::{Area, Drawn, Key};
use crate::crypto::slot::{NewSlot, Slot, SlotInfo, Unlock};
use crate::crypto::{KdfParams, Keyring, Role};
use crate::error::{Class, Error, Result};
use crate::id::SlotId;

impl Repository {
    /// Adds a key slot.
    pub fn add_slot(&self, unlock: Unlock<'_>, options: &SlotOptions) -> Result<SlotInfo> {
        self.require_full("add a key")?;
        let _drawing = self.draw_on_reserve(Drawn::Small);
        self.finish_change()?;
        let slot = Slot::create(self.id, self.keyring(), unlock, &options.as_new())
            .map_err(crypto("make the key slot"))?;
        write_slot(self.backend.as_ref(), &slot)?;
        Ok(slot.info().clone())
    }

    /// Removes the slot whose id begins with `id` (at least 3 digits). The last full slot stays: without it nobody could read anything again.
    pub fn remove_slot(&self, id: &str) -> Result<SlotInfo> {
        self.require_full("remove a key")?;
        let _drawing = self.draw_on_reserve(Drawn::Small);
        self.finish_change()?;
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
        self.remove_all_of(&slot.info().id)?;
        let others = slots.iter().filter(|s| s.info().id != slot.info().id);
        // With another slots key in the others, a store that brings the slot back cannot have it handed keys later.
        let mut keyring = self.keyring().clone();
        keyring
            .renew_slots_key()
            .map_err(crypto("renew the keys"))?;
        self.rewrap(others.collect(), keyring)?;
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
        self.finish_change()?;
        let Opened { slot, keyring, .. } = open_slot(self.backend.as_ref(), self.id, old)?;
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
        self.remove_all_of(&info.id)?;
        Ok(changed.info().clone())
    }

    /// Begins a new epoch: what is written from now on is sealed to a new key pair, which every present slot gets.
    /// No data is rewritten. Returns the new epoch's number.
    pub fn rotate(&self) -> Result<u32> {
        self.require_full("rotate the keys")?;
        let _drawing = self.draw_on_reserve(Drawn::Small);
        self.finish_change()?;
        let slots = self.verified_slots()?;
        let mut keyring = self.keyring().clone();
        keyring.rotate().map_err(crypto("rotate the keys"))?;
        let epoch = keyring.newest_epoch().number;
        self.rewrap(slots.iter().collect(), keyring)?;
        Ok(epoch)
    }

    /// Puts `keyring` into these slots: all new ones are there before the first old one goes.
    fn rewrap(&self, mut slots: Vec<&Slot>, mut keyring: Keyring) -> Result<()> {
        keyring.set_heirs(slots.iter().map(|slot| slot.info().id).collect());
        slots.sort_by_key(|slot| self.turn(slot.info()));
        let renewed: Vec<Slot> = slots
            .iter()
            .map(|slot| slot.rewrap(self.id, self.keyring(), &keyring))
            .collect::<Result<_, _>>()
            .map_err(crypto("wrap the new keys"))?;
        for (index, slot) in renewed.iter().enumerate() {
            let written = self.write_renewed(slot);
            if written.as_ref().is_err_and(|e| e.class() == Class::Exists) {
                // Somebody else has given this slot other keys of the same generation: there must not be two lines of keys.
                for own in &renewed[..index] {
                    remove_ended(self.backend.as_ref(), &slot_key(own)?)?;
                }
                let what =
                    "somebody else is changing the keys at the same time: nothing was changed here";
                return Err(Error::new(Class::Busy, what));
            }
            written?;
        }
        self.remove_old(slots)
    }

    /// Who gets new keys first: who makes them, then those who could read everything with them.
    fn turn(&self, slot: &SlotInfo) -> (bool, bool) {
        (slot.id != self.slot, slot.role != Role::Full)
    }

    /// Removes slots of an older generation, the one that a change is finished with last.
    fn remove_old(&self, mut slots: Vec<&Slot>) -> Result<()> {
        slots.sort_by_key(|slot| std::cmp::Reverse(self.turn(slot.info())));
        for slot in slots {
            remove_ended(self.backend.as_ref(), &slot_key(slot)?)?;
        }
        Ok(())
    }

    /// Finishes a change of keys that was interrupted: the slots that it was made for get its keys.
    fn finish_change(&self) -> Result<()> {
        if self.older_keyrings.is_empty() {
            return Ok(());
        }
        let (slots, failed) = read_slots(self.backend.as_ref())?;
        if let Some(e) = failed {
            return Err(e);
        }
        let keyring = self.keyring();
        let now = keyring.generation();
        let is_done = |id: &SlotId| {
            let mut same = slots.iter().filter(|slot| slot.info().id == *id);
            same.any(|slot| slot.info().generation >= now)
        };
        let is_old = |slot: &&Slot| {
            let info = slot.info();
            info.generation < now && (keyring.is_heir(&info.id) || info.id == self.slot)
        };
        let mut old: Vec<&Slot> = slots.iter().filter(is_old).collect();
        let mut left: Vec<&Slot> = old.clone();
        left.retain(|slot| !is_done(&slot.info().id));
        left.sort_by_key(|slot| self.turn(slot.info()));
        for slot in left {
            let vouches = |older: &&Keyring| slot.verify(self.id, older).is_ok();
            let Some(older) = self.older_keyrings.iter().find(vouches) else {
                // Nobody can hand it new keys; what it opens, it goes on to open.
                old.retain(|other| other.info().id != slot.info().id);
                continue;
            };
            let renewed = slot
                .rewrap(self.id, older, keyring)
                .map_err(crypto("wrap the new keys"))?;
            self.write_renewed(&renewed)?;
        }
        self.remove_old(old)
    }

    /// Removes a slot in all generations that there are of it, readable or not.
    fn remove_all_of(&self, id: &SlotId) -> Result<()> {
        let backend = self.backend.as_ref();
        let prefix = format!("{id}-");
        for name in slot_names(backend)? {
            if name.starts_with(&prefix) {
                remove_ended(backend, &Key::named(Area::Keys, &name)?)?;
            }
        }
        Ok(())
    }

    /// Writes a slot of the next generation. One of that name that nobody can read, since a try before this one was torn, makes way.
    fn write_renewed(&self, slot: &Slot) -> Result<()> {
        let backend = self.backend.as_ref();
        match write_slot(backend, slot) {
            Err(e) if e.class() == Class::Exists => match read_slot(backend, &slot.name()) {
                Err(damage) if damage.class() == Class::Corrupt => {
                    backend.remove(&slot_key(slot)?)?;
                    write_slot(backend, slot)
                }
                _ => Err(e),
            },
            written => written,
        }
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
        let (mut slots, failed) = read_slots(self.backend.as_ref())?;
        // Whoever is left out of a change of keys cannot read what is written after it.
        if let Some(e) = failed {
            return Err(e);
        }
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
