//! The suite that every backend passes: what the trait promises, as checks on empty stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::{Area, Backend, Key};
use crate::error::{Class, Result};
use crate::id::ObjectId;

/// Runs everything; `make` gives a new empty store each time.
///
/// # Panics
/// When the backend breaks a promise; the message says which.
pub fn run(make: &dyn Fn() -> Arc<dyn Backend>) {
    for check in [
        reads_what_was_written,
        refuses_what_it_must,
        lists_exactly_what_is_there,
        one_writer_of_a_name_wins,
        holds_until_dropped,
        renames_without_replacing,
    ] {
        let store = make();
        store.prepare().expect("prepare an empty place");
        store.prepare().expect("prepare again does nothing");
        check(&*store);
    }
}

/// One key in every area.
fn keys() -> Vec<Key> {
    let key = |area: Area| match area {
        Area::Config => Key::config(),
        area if area.is_content_named() => Key::object(area, &ObjectId::of(area.name().as_bytes())),
        area => Key::named(area, "0123abcd").expect("a valid name"),
    };
    Area::ALL.into_iter().map(key).collect()
}

fn class<T>(result: Result<T>) -> Option<Class> {
    result.err().map(|error| error.class())
}

fn listed(store: &dyn Backend, area: Area) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    store
        .list(area, &mut |name, bytes| {
            let before = found.insert(name.to_owned(), bytes);
            assert_eq!(before, None, "{name} is listed twice");
            Ok(())
        })
        .expect("list");
    found
}

fn reads_what_was_written(store: &dyn Backend) {
    for (number, key) in keys().iter().enumerate() {
        // Among them an empty object and one above every piece size.
        let len = if number == 2 { 20 << 20 } else { number * 1000 };
        let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
        assert!(!store.exists(key).expect("exists"), "{key} before");
        store.write_new(key, &bytes).expect("write");
        assert!(store.exists(key).expect("exists"), "{key} after");
        assert_eq!(store.size(key).expect("size"), len as u64, "{key}");
        assert!(
            store.read_all(key, len as u64).expect("read all") == bytes,
            "{key}"
        );
        assert!(store.read(key, 0, len).expect("read") == bytes, "{key}");
        if len > 20 {
            assert_eq!(
                store.read(key, 7, 13).expect("read a part"),
                bytes[7..20],
                "{key}"
            );
            let end = store.read(key, len as u64 - 5, 5).expect("read the end");
            assert_eq!(end, bytes[len - 5..], "{key}");
        }
    }
}

fn refuses_what_it_must(store: &dyn Backend) {
    for key in &keys() {
        assert_eq!(class(store.read(key, 0, 1)), Some(Class::NotFound), "{key}");
        assert_eq!(
            class(store.read_all(key, 9)),
            Some(Class::NotFound),
            "{key}"
        );
        assert_eq!(class(store.size(key)), Some(Class::NotFound), "{key}");
        assert_eq!(class(store.remove(key)), Some(Class::NotFound), "{key}");
        store.write_new(key, b"first").expect("write");
        assert_eq!(
            class(store.write_new(key, b"second")),
            Some(Class::Exists),
            "{key}"
        );
        assert_eq!(store.read_all(key, 5).expect("read all"), b"first", "{key}");
        assert_eq!(
            class(store.read_all(key, 4)),
            Some(Class::Corrupt),
            "{key}: limit"
        );
        for (offset, len) in [
            (0, 6),
            (5, 1),
            (6, 0),
            (u64::MAX, 1),
            (u64::MAX, usize::MAX),
        ] {
            let found = class(store.read(key, offset, len));
            assert_eq!(found, Some(Class::Corrupt), "{key}: {len} at {offset}");
        }
        assert_eq!(
            store.read(key, 5, 0).expect("nothing at the end"),
            b"",
            "{key}"
        );
        store.remove(key).expect("remove");
        assert_eq!(
            class(store.read(key, 0, 1)),
            Some(Class::NotFound),
            "{key}: removed"
        );
        store
            .write_new(key, b"third")
            .expect("write what was removed");
        assert_eq!(store.read(key, 0, 5).expect("read"), b"third", "{key}");
    }
    assert_eq!(store.remove_leftovers().expect("remove leftovers"), 0);
    assert!(keys().iter().all(|key| store.exists(key).expect("exists")));
}

fn lists_exactly_what_is_there(store: &dyn Backend) {
    for area in Area::ALL {
        assert!(listed(store, area).is_empty(), "{area:?} of an empty store");
    }
    let mut wanted = BTreeMap::new();
    for number in 0_u8..100 {
        let key = Key::object(Area::Data, &ObjectId::of(&[number]));
        store
            .write_new(&key, &vec![0; usize::from(number)])
            .expect("write");
        wanted.insert(key.name().to_owned(), u64::from(number));
    }
    assert_eq!(listed(store, Area::Data), wanted);
    assert!(listed(store, Area::Meta).is_empty(), "areas do not mix");
    let mut seen = 0;
    let stopped = store.list(Area::Data, &mut |_, _| {
        seen += 1;
        Err(crate::error::Error::new(Class::Interrupted, "enough"))
    });
    assert_eq!((class(stopped), seen), (Some(Class::Interrupted), 1));
    // What is seen may be removed at once.
    store
        .list(Area::Data, &mut |name, _| {
            store.remove(&Key::named(Area::Data, name)?)
        })
        .expect("remove while listing");
    assert!(listed(store, Area::Data).is_empty());
}

fn holds_until_dropped(store: &dyn Backend) {
    let key = Key::named(Area::Sessions, "0123abcd").expect("a valid name");
    assert_eq!(class(store.is_held(&key)), Some(Class::NotFound));
    let held = store.hold(&key, b"held").expect("hold");
    assert_eq!(store.read_all(&key, 9).expect("read all"), b"held");
    assert_eq!(class(store.hold(&key, b"again")), Some(Class::Exists));
    for _ in 0..2 {
        assert!(store.is_held(&key).expect("is held"), "held");
    }
    held.confirm().expect("it is held");
    // Another's question changes nothing.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(store.is_held(&key).expect("is held")));
        }
    });
    drop(held);
    assert!(!store.is_held(&key).expect("is held"), "let go");
    assert!(store.exists(&key).expect("exists"), "it stays");
    store.remove(&key).expect("remove");
    let held = store.hold(&key, b"held").expect("hold");
    store.remove(&key).expect("remove what is held");
    assert_eq!(class(held.confirm()), Some(Class::Busy));
    store.write_new(&key, b"plain").expect("write");
    assert!(!store.is_held(&key).expect("is held"), "never held");
}

fn one_writer_of_a_name_wins(store: &dyn Backend) {
    for round in 0_u8..20 {
        let key = Key::object(Area::Meta, &ObjectId::of(&[round]));
        let wins: usize = thread::scope(|scope| {
            let write = |writer: u8| {
                let key = key.clone();
                scope.spawn(
                    move || match store.write_new(&key, &vec![writer; 100_000]) {
                        Ok(()) => 1,
                        Err(error) if error.class() == Class::Exists => 0,
                        Err(error) => unreachable!("neither written nor refused: {error}"),
                    },
                )
            };
            let writers: Vec<_> = (0..4).map(write).collect();
            writers
                .into_iter()
                .map(|writer| writer.join().expect("no panic"))
                .sum()
        });
        assert_eq!(wins, 1, "writers of {key} that were told it is theirs");
        let bytes = store.read_all(&key, 100_000).expect("read all");
        assert!(
            bytes.len() == 100_000 && bytes.iter().all(|b| *b == bytes[0]),
            "{key} is mixed"
        );
    }
}

fn renames_without_replacing(store: &dyn Backend) {
    let key = |name| Key::named(Area::Quarantine, name).expect("a valid name");
    let id = ObjectId::of(b"moved");
    let pack = Key::object(Area::Data, &id);
    let missing = store.rename(&pack, &key("a"));
    assert_eq!(class(missing), Some(Class::NotFound), "nothing to rename");
    store.write_new(&pack, b"moved").expect("write");
    store.write_new(&key("b"), b"there").expect("write");
    assert_eq!(class(store.rename(&pack, &key("b"))), Some(Class::Exists));
    assert_eq!(store.read_all(&pack, 9).expect("it stayed"), b"moved");
    assert_eq!(store.read_all(&key("b"), 9).expect("it stayed"), b"there");
    // Also one that was read before: no handle to the old name may stay.
    assert_eq!(store.read(&pack, 0, 5).expect("read"), b"moved");
    store.rename(&pack, &key("a")).expect("rename");
    assert_eq!(
        store.read_all(&key("a"), 9).expect("its new name"),
        b"moved"
    );
    assert!(
        !store.exists(&pack).expect("exists"),
        "its old name is gone"
    );
    assert_eq!(class(store.read(&pack, 0, 5)), Some(Class::NotFound));
    assert_eq!(listed(store, Area::Data).len(), 0);
}
