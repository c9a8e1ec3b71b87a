//! A fault at every call of who only reads, and of who makes a lost catalog anew: the answer is right or an error, and the next try
//! is right.

use std::path::Path;
use std::sync::Arc;

use repo::backend::fault::{Fault, Op, Trigger};
use repo::backend::{Area, Backend};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::entry::EntryPath;
use repo::error::{Class, Result};
use repo::format::tree::Body;
use repo::maintain::check::{ReadData, check};
use repo::progress::{Monitor, Silent};
use repo::repository::Repository;
use repo::repository::content::Content;
use repo::repository::trees::find_path;
use repo::restore::{RestoreOptions, Selection, restore};

use crate::{Store, files, ingest};

fn two() -> Store {
    let store = Store::new();
    ingest(&store.open(), "one", 1).unwrap();
    ingest(&store.open(), "two", 2).unwrap();
    store
}

fn open_at(store: &Store, backend: Arc<dyn Backend>, catalog: &Path) -> Result<Arc<Repository>> {
    let place = CatalogPlace::File(catalog.to_owned());
    Repository::open(backend, Unlock::KeyFile(&store.key), &place, &Silent)
}

/// Reads all files of a snapshot; an error, or exactly what was ingested.
fn read(repository: &Repository, name: &str, seed: u8) -> Result<()> {
    let root = repository.resolve(name)?.snapshot.root;
    for (file, expected) in files(seed) {
        let path = EntryPath::parse(file.as_bytes()).unwrap();
        let node = find_path(repository, &root, &path)?;
        let Body::File { size, content } = node.unwrap().body else {
            panic!("no file")
        };
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        Content::new(&content).read_at(repository, 0, &mut bytes)?;
        assert!(bytes == expected, "{file} of {name} has other bytes");
    }
    Ok(())
}

const FAULTS: [Fault; 4] = [
    Fault::Fail(Class::Io),
    Fault::Stop,
    Fault::StopAfter,
    Fault::Flip,
];

#[test]
fn a_rebuild_of_the_catalog_that_is_disturbed_at_any_call_is_made_good_by_the_next() {
    let store = two();
    for fault in FAULTS {
        for nth in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let catalog = folder.path().join("catalog");
            // Every second one is damaged, not lost.
            if nth % 2 == 0 {
                std::fs::write(&catalog, [7; 9000]).unwrap();
            }
            let faulty = store.faulty();
            faulty.inject(Trigger::any(nth, fault));
            let disturbed = open_at(&store, faulty.clone(), &catalog);
            let last = faulty.calls().last().cloned();
            let calls = faulty.calls().len() as u64;
            let what = format!("{fault:?} at {nth} ({last:?})");
            if let Ok(repository) = disturbed {
                drop((read(&repository, "one", 1), read(&repository, "two", 2)));
            }
            let next = open_at(&store, store.memory.clone(), &catalog).unwrap();
            assert_eq!(next.snapshots().unwrap().len(), 2, "{what}");
            for (name, seed) in [("one", 1), ("two", 2)] {
                read(&next, name, seed).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
            let report = check(&next, ReadData::All, &Silent, &mut |_| {}).unwrap();
            assert!(report.is_sound(), "{what}: {:?}", report.problems);
            if calls < nth {
                assert!(nth > 10);
                break;
            }
        }
    }
}

#[test]
fn readers_are_right_or_fail_at_any_call() {
    let store = two();
    for fault in FAULTS {
        for nth in 1.. {
            let faulty = store.faulty();
            let opened = store.open_by(faulty.clone());
            let repository = opened.unwrap();
            faulty.reset();
            faulty.inject(Trigger::any(nth, fault));
            drop((read(&repository, "one", 1), read(&repository, "two", 2)));
            let calls = faulty.calls().len() as u64;
            faulty.reset();
            // What failed is not remembered against it.
            for (name, seed) in [("one", 1), ("two", 2)] {
                let again = read(&repository, name, seed);
                again.unwrap_or_else(|e| panic!("{fault:?} at {nth}: {e}"));
            }
            if calls < nth {
                assert!(nth > 5);
                break;
            }
        }
    }
}

#[test]
fn a_check_does_not_call_whole_what_it_could_not_read() {
    let store = two();
    for fault in [Fault::Fail(Class::Io), Fault::Flip] {
        for nth in 1.. {
            let faulty = store.faulty();
            let repository = store.open_by(faulty.clone()).unwrap();
            faulty.reset();
            faulty.inject(Trigger::any(nth, fault));
            let report = check(&repository, ReadData::All, &Silent, &mut |_| {});
            let calls = faulty.calls();
            let Some(hit) = calls.get(usize::try_from(nth).unwrap() - 1) else {
                assert!(nth > 10 && report.unwrap().is_sound());
                break;
            };
            let reads = matches!(hit.op, Op::Read | Op::ReadAll);
            let matters = matches!(
                hit.area,
                Some(Area::Data | Area::Meta | Area::Snapshots | Area::Index)
            );
            if reads && matters {
                let clean = report.is_ok_and(|report| {
                    report.is_sound() && report.damaged_indexes + report.unlisted_packs == 0
                });
                assert!(!clean, "{fault:?} at {nth}: {hit:?}");
            }
            faulty.reset();
            let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
            assert!(report.is_sound(), "{:?}", report.problems);
        }
    }
}

#[test]
fn a_restore_writes_what_was_ingested_or_nothing() {
    let store = two();
    for fault in FAULTS {
        let mut losses = 0;
        for nth in 1.. {
            let faulty = store.faulty();
            let repository = store.open_by(faulty.clone()).unwrap();
            let info = repository.resolve("two").unwrap();
            let selection = Selection {
                id: info.id,
                snapshot: info.snapshot,
                path: EntryPath::root(),
                contents: false,
            };
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            let options = RestoreOptions {
                threads: std::num::NonZeroUsize::MIN,
                ..RestoreOptions::default()
            };
            faulty.reset();
            faulty.inject(Trigger::any(nth, fault));
            let monitor: Arc<dyn Monitor> = Arc::new(Silent);
            let done = restore(
                repository.as_ref(),
                &[selection],
                &target,
                &options,
                &monitor,
                &mut |_| {},
            );
            let calls = faulty.calls().len() as u64;
            let what = format!("{fault:?} at {nth}: {done:?}");
            let mut missing = 0;
            for (file, expected) in files(2) {
                match std::fs::read(target.join(file)) {
                    Ok(bytes) => assert!(bytes == expected, "{what}: {file} has other bytes"),
                    Err(_) => missing += 1,
                }
            }
            match done {
                Ok(summary) => {
                    assert_eq!(missing > 0, summary.lost > 0, "{what}");
                    losses += summary.lost;
                }
                Err(_) => assert!(!target.exists(), "{what}"),
            }
            if calls < nth {
                assert!(nth > 5 && missing == 0, "{what}");
                break;
            }
        }
        assert!(losses > 0 || fault == Fault::Fail(Class::Io), "{fault:?}");
    }
}
