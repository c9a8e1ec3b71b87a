//! A fault at every call of a change of keys: the repository opens with the old secret or the new one, never with neither, and all that was
//! committed is there. What was not done can be done again.

use std::sync::Arc;

use repo::backend::fault::{Fault, Faulty, Op, Trigger};
use repo::backend::{Area, Backend, Key, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::{SlotInfo, Unlock};
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::error::{Class, Result};
use repo::progress::Silent;
use repo::repository::{Repository, SlotOptions};

use crate::{Store, ingest};

fn slot(role: Role) -> SlotOptions {
    SlotOptions {
        role,
        label: String::new(),
        created: 1,
        kdf: KdfParams::default(),
    }
}

/// A repository with a snapshot, the owner's key, a second full one and one that ingests.
struct Home {
    store: Store,
    second: KeyFile,
    writer: KeyFile,
}

fn open(backend: Arc<dyn Backend>, key: &KeyFile) -> Result<Arc<Repository>> {
    Repository::open(
        backend,
        Unlock::KeyFile(key),
        &CatalogPlace::Memory,
        &Silent,
    )
}

impl Home {
    fn new() -> Self {
        let store = Store::new();
        let [second, writer] = [(); 2].map(|()| KeyFile::generate().unwrap());
        let repository = store.open();
        for (key, role) in [(&second, Role::Full), (&writer, Role::Ingest)] {
            repository
                .add_slot(Unlock::KeyFile(key), &slot(role))
                .unwrap();
        }
        ingest(&repository, "kept", 1).unwrap();
        Self {
            store,
            second,
            writer,
        }
    }

    fn opens(&self, key: &KeyFile) -> bool {
        match open(self.store.memory.clone(), key) {
            Ok(_) => true,
            Err(e) if e.class() == Class::WrongKey => false,
            Err(e) => panic!("{e}"),
        }
    }
}

/// A change of keys, and what must be true of it afterwards whatever became of it.
struct Change {
    name: &'static str,
    run: fn(&Arc<Repository>, &Home, &KeyFile) -> Result<()>,
    /// Whether the outcome is right: (done, owner opens, second opens, writer opens, new opens).
    is_right: fn(bool, [bool; 4]) -> bool,
}

const CHANGES: [Change; 4] = [
    Change {
        name: "add",
        run: |repository, _, new| {
            repository
                .add_slot(Unlock::KeyFile(new), &slot(Role::Full))
                .map(drop)
        },
        is_right: |done, [owner, second, writer, new]| owner && second && writer && (new || !done),
    },
    Change {
        name: "change",
        run: |repository, home, new| {
            let old = Unlock::KeyFile(&home.store.key);
            repository
                .change_slot(old, Unlock::KeyFile(new), KdfParams::default(), 2)
                .map(drop)
        },
        is_right: |done, [owner, second, writer, new]| {
            second && writer && if done { new && !owner } else { new || owner }
        },
    },
    Change {
        name: "remove",
        run: |repository, _, _| {
            let slots = repository.slots()?;
            let second = |slot: &&SlotInfo| slot.role == Role::Full && slot.created == 1;
            match slots.iter().find(second) {
                Some(second) => repository.remove_slot(&second.id.to_hex()).map(drop),
                // An earlier try got so far that nobody hands it keys any more.
                None => repository.rotate().map(drop),
            }
        },
        is_right: |done, [owner, second, writer, new]| owner && writer && !new && !(done && second),
    },
    Change {
        name: "rotate",
        run: |repository, _, _| repository.rotate().map(drop),
        is_right: |_, [owner, second, writer, new]| owner && second && writer && !new,
    },
];

fn keys(memory: &Memory) -> Vec<(Key, Vec<u8>)> {
    let mut all = Vec::new();
    memory
        .list(Area::Keys, &mut |name, _| {
            let key = Key::named(Area::Keys, name).unwrap();
            all.push((key.clone(), memory.read_all(&key, 1 << 20).unwrap()));
            Ok(())
        })
        .unwrap();
    all
}

/// Whoever opens it finds what was committed, and writes what others can read.
fn assert_whole(home: &Home, who: &[&KeyFile], what: &str) {
    let full = who.iter().find(|key| home.opens(key)).unwrap();
    let reader = Store {
        memory: Arc::clone(&home.store.memory),
        key: Arc::new((*full).clone()),
    };
    reader.assert_sound(what);
    reader.assert_holds("kept", 1, what);
    let writer = open(home.store.memory.clone(), &home.writer).unwrap();
    ingest(&writer, "by the writer", 2).unwrap_or_else(|e| panic!("{what}: {e}"));
    reader.assert_holds("by the writer", 2, what);
    ingest(&reader.open(), "by a reader", 3).unwrap_or_else(|e| panic!("{what}: {e}"));
    reader.assert_holds("by a reader", 3, what);
}

/// Lets `change` meet a fault; how many calls it made.
fn survive(change: &Change, trigger: Trigger, removals_come_back: bool) -> u64 {
    let home = Home::new();
    let new = KeyFile::generate().unwrap();
    let before = keys(&home.store.memory);
    let faulty = Faulty::new(home.store.memory.clone());
    let repository = open(faulty.clone(), &home.store.key).unwrap();
    faulty.reset();
    faulty.inject(trigger);
    let done = (change.run)(&repository, &home, &new);
    drop(repository);
    let calls = faulty.calls().len() as u64;
    let last = faulty.calls().last().cloned();
    let what = format!("{}, {trigger:?} ({last:?}): {done:?}", change.name);
    faulty.reset();
    if removals_come_back && done.is_err() {
        for (key, bytes) in before {
            home.store.memory.tamper(&key, Some(bytes));
        }
    }
    let who = [&*home.store.key, &home.second, &home.writer, &new];
    let open_now = who.map(|key| home.opens(key));
    assert!(
        (change.is_right)(done.is_ok(), open_now),
        "{what}: {open_now:?}"
    );
    if change.name == "change" {
        assert_whole(&home, &[&home.store.key, &new], &what);
    }
    // Once more, by whoever can.
    let owner = if home.opens(&home.store.key) {
        &*home.store.key
    } else {
        &new
    };
    let again = KeyFile::generate().unwrap();
    let repository = open(home.store.memory.clone(), owner).unwrap();
    let what = format!("{what}, again");
    if change.name == "change" {
        let slot = repository.change_slot(
            Unlock::KeyFile(owner),
            Unlock::KeyFile(&again),
            KdfParams::default(),
            3,
        );
        slot.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(home.opens(&again), "{what}");
    } else {
        (change.run)(&repository, &home, &again).unwrap_or_else(|e| panic!("{what}: {e}"));
        drop(repository);
        assert!(home.opens(owner) && home.opens(&home.writer), "{what}");
        // The writer has the newest keys as well: what it writes, the owner reads.
        assert_whole(&home, &[owner], &what);
        // Nobody was left out, whether the first try was interrupted or could not read a slot for a moment.
        if change.name != "remove" {
            let second = Store {
                memory: Arc::clone(&home.store.memory),
                key: Arc::new(home.second.clone()),
            };
            second.assert_holds("by a reader", 3, &what);
        }
    }
    calls
}

fn sweep(fault: Fault, removals_come_back: bool) {
    for change in &CHANGES {
        for nth in 1.. {
            let calls = survive(change, Trigger::any(nth, fault), removals_come_back);
            if calls < nth {
                assert!(nth > 1, "{}", change.name);
                break;
            }
        }
    }
}

#[test]
fn a_change_of_keys_whose_call_fails_leaves_the_old_keys_or_the_new() {
    sweep(Fault::Fail(Class::Full), false);
}

#[test]
fn a_change_of_keys_that_is_killed_leaves_the_old_keys_or_the_new() {
    sweep(Fault::Stop, false);
}

#[test]
fn a_change_of_keys_whose_answer_is_lost_leaves_the_old_keys_or_the_new() {
    sweep(Fault::StopAfter, false);
}

/// After a power failure, what was written is there; what was removed may be as well.
#[test]
fn slots_that_come_back_after_a_power_failure_keep_nobody_out() {
    sweep(Fault::Stop, true);
    sweep(Fault::StopAfter, true);
}

#[test]
fn torn_key_slots_keep_nobody_out() {
    for change in &CHANGES {
        for nth in 1..=3 {
            for len in [0, 60, 200] {
                let trigger = Trigger::at(Op::WriteNew, nth, Fault::Torn(len)).within(Area::Keys);
                survive(change, trigger, false);
            }
        }
    }
}

/// The slots got new keys in the order of their age: killed in between, a rotation left a host with an epoch that nobody could read.
#[test]
fn a_writer_never_has_keys_that_nobody_can_read_with() {
    for nth in 1.. {
        let home = Home::new();
        let owner = KeyFile::generate().unwrap();
        let (old, new) = (Unlock::KeyFile(&home.store.key), Unlock::KeyFile(&owner));
        let repository = home.store.open();
        let changed = repository.change_slot(old, new, KdfParams::default(), 9);
        changed.unwrap();
        let faulty = Faulty::new(home.store.memory.clone());
        let repository = open(faulty.clone(), &owner).unwrap();
        faulty.reset();
        faulty.inject(Trigger::at(Op::WriteNew, nth, Fault::Stop));
        let done = repository.rotate();
        let writer = open(home.store.memory.clone(), &home.writer).unwrap();
        ingest(&writer, "by the writer", 2).unwrap();
        let reader = Store {
            memory: Arc::clone(&home.store.memory),
            key: Arc::new(owner),
        };
        reader.assert_holds("by the writer", 2, &format!("stopped at {nth}"));
        if done.is_ok() {
            assert!(nth > 3);
            break;
        }
    }
}

/// A store that brings back what was removed makes a change look unfinished; only those it was made for get its keys.
#[test]
fn a_removed_key_that_comes_back_with_the_owners_old_one_is_handed_nothing() {
    let home = Home::new();
    let before = keys(&home.store.memory);
    (CHANGES[2].run)(&home.store.open(), &home, &home.second).unwrap();
    for (key, bytes) in before {
        home.store.memory.tamper(&key, Some(bytes));
    }
    home.store.open().rotate().unwrap();
    ingest(&home.store.open(), "later", 2).unwrap();
    home.store.assert_holds("later", 2, "by the owner");
    let removed = open(home.store.memory.clone(), &home.second).unwrap();
    removed.resolve("later").unwrap_err();
    let refused = removed.rotate().unwrap_err();
    assert_eq!(refused.class(), Class::Refused);
}
