//! The damage matrix: every kind of object, lost, cut short, emptied, changed in one byte or put in another's place, with the
//! catalog as it was and without one. Whatever is asked then is answered rightly, or with an error of class corrupt or
//! not-found; what does not need the object is not touched; `check` names the object and the paths.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../fixture/mod.rs"]
mod fixture;
mod observer;
mod sample;

use std::sync::Arc;

use observer::{Lost, Observer, fair};
use repo::backend::{Area, Backend, Key, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::KeyFile;
use repo::crypto::slot::Unlock;
use repo::error::Class;
use repo::format::header::Suite;
use repo::repository::check_slots;
use sample::{AREAS, DAMAGES, Damage, apply, keys, sample};

/// What needs the data pack of `first`.
const NEED_DATA: [&str; 5] = [
    "first a",
    "first b",
    "first shared",
    "second shared",
    "tar shared",
];

/// Every damage to the object of `first` in one area.
fn matrix(area: Area) {
    let sample = sample();
    let at = AREAS.iter().position(|a| *a == area).unwrap();
    let (key, other) = &sample.objects[at];
    let needing: Lost = match area {
        Area::Data => NEED_DATA.iter().map(|s| (*s).to_owned()).collect(),
        Area::Meta => ["first ".to_owned()].into(),
        _ => Lost::new(),
    };
    for damage in DAMAGES {
        for keep in [true, false] {
            let backend = Arc::new(sample.backend.image());
            apply(&backend, key, other, damage);
            let folder = tempfile::tempdir().unwrap();
            let place = if keep {
                let to = folder.path().join("catalog");
                for end in ["", "-wal", "-shm"] {
                    let from = sample.catalog.path().join(format!("catalog{end}"));
                    if from.exists() {
                        std::fs::copy(from, format!("{}{end}", to.display())).unwrap();
                    }
                }
                CatalogPlace::File(to)
            } else {
                CatalogPlace::Memory
            };
            let observer = Observer {
                sample: &sample,
                backend,
                place,
                case: format!("{damage:?} of {key}, catalog kept: {keep}"),
                forgotten: (area == Area::Snapshots).then_some(sample.snapshots[0].0),
            };
            judge(&observer, key, damage, &needing);
        }
    }
}

fn judge(observer: &Observer<'_>, key: &Key, damage: Damage, needing: &Lost) {
    let case = &observer.case;
    let (checked, objects) = observer.checked();
    let streamed = observer.streamed();
    assert!(
        streamed.is_subset(&checked),
        "{case}: lost {streamed:?}, check says {checked:?}"
    );
    assert!(checked.is_subset(needing), "{case}: check says {checked:?}");
    assert_eq!(observer.restored(), streamed, "{case}");
    assert!(observer.mounted().is_subset(&streamed), "{case}");
    observer.replayed(streamed.contains("tar shared"));
    if matches!(damage, Damage::Delete | Damage::Empty | Damage::Replace) {
        assert_eq!(streamed, *needing, "{case}");
    }
    // A snapshot or index object that is gone without a trace cannot be missed.
    let traceless = matches!(damage, Damage::Delete) && needing.is_empty();
    let named = objects.iter().any(|o| o.starts_with(&key.to_string()));
    assert!(traceless || named, "{case}: {objects:?}");
}

#[test]
fn damaged_data_packs() {
    matrix(Area::Data);
}

#[test]
fn damaged_meta_packs() {
    matrix(Area::Meta);
}

#[test]
fn damaged_index_objects() {
    matrix(Area::Index);
}

#[test]
fn damaged_snapshots() {
    matrix(Area::Snapshots);
}

#[test]
fn a_damaged_config_opens_nothing() {
    let sample = sample();
    let stranger = Memory::new();
    fixture::create(&stranger, Suite::ChaCha20Poly1305);
    let key = Key::config();
    let size = usize::try_from(sample.backend.size(&key).unwrap()).unwrap();
    let damages = [
        Damage::Delete,
        Damage::Empty,
        Damage::Truncate(0),
        Damage::Truncate(128),
    ];
    let flips = (0..size).map(Damage::FlipHead);
    for damage in damages.into_iter().chain(flips).chain([Damage::Replace]) {
        let backend = Arc::new(sample.backend.image());
        if matches!(damage, Damage::Replace) {
            backend.tamper(&key, Some(stranger.read_all(&key, u64::MAX).unwrap()));
        } else {
            apply(&backend, &key, &key, damage);
        }
        let backend: Arc<dyn Backend> = backend;
        let opened = fixture::open(&backend, &sample.key, &CatalogPlace::Memory);
        let error = opened.err().unwrap_or_else(|| panic!("{damage:?}"));
        // Another format or version is what a changed name or number of it says.
        if !(matches!(damage, Damage::FlipHead(_)) && error.class() == Class::Unsupported) {
            fair(&error, &format!("{damage:?} of the config"));
        }
    }
}

#[test]
fn a_damaged_key_slot_leaves_the_others() {
    let sample = sample();
    let image = Arc::new(sample.backend.image());
    let backend: Arc<dyn Backend> = image.clone();
    let second = KeyFile::generate().unwrap();
    let repository = fixture::open(&backend, &sample.key, &CatalogPlace::Memory).unwrap();
    let old = keys(&image, Area::Keys).pop_first().unwrap();
    let info = repository.add_slot(Unlock::KeyFile(&second), &fixture::slot_options());
    let new = Key::named(Area::Keys, &format!("{}-1", info.unwrap().id)).unwrap();
    for damage in DAMAGES {
        let damaged = Arc::new(image.image());
        apply(&damaged, &old, &new, damage);
        let backend: Arc<dyn Backend> = damaged.clone();
        let opened = fixture::open(&backend, &sample.key, &CatalogPlace::Memory);
        let error = opened.err().unwrap_or_else(|| panic!("{damage:?}"));
        // Without its slot a key is as good as any stranger's; but that a slot is damaged is said.
        assert_eq!(error.class(), Class::WrongKey, "{damage:?}: {error}");
        let said = error.to_string().contains("1 damaged");
        assert!(
            said != matches!(damage, Damage::Delete),
            "{damage:?}: {error}"
        );
        let repository = fixture::open(&backend, &second, &CatalogPlace::Memory).unwrap();
        assert_eq!(repository.snapshots().unwrap().len(), 4);
        let bad = check_slots(damaged.as_ref()).unwrap();
        assert!(
            matches!(damage, Damage::Delete) || bad.len() == 1,
            "{damage:?}: {bad:?}"
        );
    }
}
