//! Key slots of a stored repository: what removal and rotation leave, and what a store can make of old slots.

use std::sync::Arc;

use super::Repository;
use super::unlock::{CreateOptions, SlotOptions};
use crate::backend::fault::Faulty;
use crate::backend::{Area, Backend, Key, Memory};
use crate::catalog::CatalogPlace;
use crate::crypto::slot::Unlock;
use crate::crypto::{KdfParams, KeyFile, Role};
use crate::error::{Class, Result};
use crate::format::header::Suite;
use crate::progress::Silent;

struct Home {
    backend: Arc<Memory>,
    owner: KeyFile,
    second: KeyFile,
    writer: KeyFile,
}

fn slot(role: Role, label: &str) -> SlotOptions {
    SlotOptions {
        role,
        label: label.to_owned(),
        created: 1_790_000_000,
        kdf: KdfParams::default(),
    }
}

/// A repository with three key files: two full ones, and one that only ingests.
fn home() -> Home {
    let [owner, second, writer] = [(); 3].map(|()| KeyFile::generate().unwrap());
    let home = Home {
        backend: Arc::new(Memory::new()),
        owner,
        second,
        writer,
    };
    let options = CreateOptions {
        suite: Suite::ChaCha20Poly1305,
        slot: slot(Role::Full, "owner"),
    };
    Repository::create(
        home.backend.as_ref(),
        &options,
        Unlock::KeyFile(&home.owner),
    )
    .unwrap();
    let repository = home.open(&home.owner).unwrap();
    for (file, role, label) in [
        (&home.second, Role::Full, "second"),
        (&home.writer, Role::Ingest, "writer"),
    ] {
        repository
            .add_slot(Unlock::KeyFile(file), &slot(role, label))
            .unwrap();
    }
    home
}

impl Home {
    fn open(&self, file: &KeyFile) -> Result<Arc<Repository>> {
        let unlock = Unlock::KeyFile(file);
        Repository::open(self.backend.clone(), unlock, &CatalogPlace::Memory, &Silent)
    }

    /// All stored key slots by name.
    fn stored(&self) -> Vec<(Key, Vec<u8>)> {
        let mut names = Vec::new();
        let mut each = |name: &str, _| {
            names.push(name.to_owned());
            Ok(())
        };
        self.backend.list(Area::Keys, &mut each).unwrap();
        let load = |name: String| {
            let key = Key::named(Area::Keys, &name).unwrap();
            let bytes = self.backend.read_all(&key, 1 << 20).unwrap();
            (key, bytes)
        };
        names.into_iter().map(load).collect()
    }

    fn id_of(&self, label: &str) -> String {
        let slots = self.open(&self.owner).unwrap().slots().unwrap();
        slots
            .iter()
            .find(|slot| slot.label == label)
            .unwrap()
            .id
            .to_hex()
    }

    fn newest_epoch(&self, file: &KeyFile) -> u32 {
        self.open(file).unwrap().keyring().newest_epoch().number
    }
}

#[test]
fn rotation_gives_every_slot_the_new_epoch_and_keeps_its_id() {
    let home = home();
    let before = home.id_of("writer");
    assert_eq!(home.open(&home.owner).unwrap().rotate().unwrap(), 2);
    for file in [&home.owner, &home.second, &home.writer] {
        assert_eq!(home.newest_epoch(file), 2);
    }
    assert_eq!(home.id_of("writer"), before);
    assert_eq!(home.stored().len(), 3);
    assert_eq!(
        home.open(&home.writer)
            .unwrap()
            .rotate()
            .unwrap_err()
            .class(),
        Class::Denied
    );
}

#[test]
fn a_removed_slot_that_comes_back_gets_no_later_keys() {
    let home = home();
    let removed = home.stored();
    let id = home.id_of("second");
    home.open(&home.owner)
        .unwrap()
        .remove_slot(&id[..8])
        .unwrap();
    assert_eq!(
        home.open(&home.second).unwrap_err().class(),
        Class::WrongKey
    );
    // The store brings back all that there was.
    for (key, bytes) in &removed {
        let _ = home.backend.write_new(key, bytes);
    }
    let labels = |home: &Home| -> Vec<_> {
        let slots = home.open(&home.owner).unwrap().slots().unwrap();
        slots.into_iter().map(|slot| slot.label).collect()
    };
    assert_eq!(labels(&home).len(), 2);
    home.open(&home.owner).unwrap().rotate().unwrap();
    assert_eq!(home.newest_epoch(&home.owner), 2);
    assert_eq!(home.newest_epoch(&home.writer), 2);
    assert_eq!(
        home.newest_epoch(&home.second),
        1,
        "it opens what it always did, no more"
    );
}

#[test]
fn a_key_that_missed_a_change_cannot_start_a_second_line_of_keys() {
    let home = home();
    let before = home.stored();
    home.open(&home.owner).unwrap().rotate().unwrap();
    // As an interrupted rotation would leave it: one slot has the new keys, another only the old ones.
    let second = home.id_of("second");
    for (key, _) in home.stored() {
        if key.name().starts_with(&second) {
            home.backend.remove(&key).unwrap();
        }
    }
    for (key, bytes) in &before {
        home.backend.write_new(key, bytes).unwrap();
    }
    assert_eq!(
        home.newest_epoch(&home.owner),
        2,
        "the newest slot of an id counts"
    );
    let refused = home.open(&home.second).unwrap().rotate().unwrap_err();
    assert_eq!(refused.class(), Class::Refused);
}

#[test]
fn the_last_full_key_stays() {
    let home = home();
    let (owner, second) = (home.id_of("owner"), home.id_of("second"));
    home.open(&home.owner)
        .unwrap()
        .remove_slot(&second)
        .unwrap();
    let refused = home
        .open(&home.owner)
        .unwrap()
        .remove_slot(&owner)
        .unwrap_err();
    assert_eq!(refused.class(), Class::Refused);
}

/// The second of two rotations at once said that an object exists already. Whenever the other comes, there is one line of keys.
#[test]
fn of_two_rotations_at_once_one_is_told_that_the_other_is_at_it() {
    let mut busy = 0;
    for nth in 1..20 {
        let home = home();
        let other = home.open(&home.owner).unwrap();
        let faulty = Faulty::new(home.backend.clone());
        let unlock = Unlock::KeyFile(&home.owner);
        let slow = Repository::open(faulty.clone(), unlock, &CatalogPlace::Memory, &Silent);
        let slow = slow.unwrap();
        faulty.reset();
        faulty.before(nth, move || drop(other.rotate()));
        match slow.rotate() {
            Ok(_) => {}
            Err(e) if e.class() == Class::Busy => busy += 1,
            Err(e) => assert_eq!(e.class(), Class::Refused, "{nth}: {e}"),
        }
        let epochs = [&home.owner, &home.second, &home.writer].map(|file| home.newest_epoch(file));
        assert_eq!(epochs, [epochs[0]; 3], "{nth}");
        assert!(epochs[0] >= 2, "{nth}");
        assert_eq!(home.stored().len(), 3, "{nth}");
    }
    assert!(busy > 0);
}
