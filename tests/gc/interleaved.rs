//! Others at work at every moment of a prune, and prunes at every moment of what others do: the one runs between two calls that the
//! other makes to the store, for every such place.

use std::sync::{Arc, Mutex};

use repo::backend::{Area, Backend};
use repo::entry::EntryPath;
use repo::error::{Class, Result};
use repo::format::tree::Node;
use repo::progress::Silent;
use repo::repository::trees::find_path;
use repo::repository::{Repository, SnapshotInfo};

use crate::{Store, begin, finish, forget, ingest, prune_all};

/// `old` is forgotten already; `kept` shares a file with it.
fn forgotten() -> Store {
    let store = Store::new();
    ingest(&store.open(), "old", 1).unwrap();
    ingest(&store.open(), "kept", 2).unwrap();
    forget(&store.open(), "old").unwrap();
    store
}

/// Runs `work` as often as it makes calls, each time with `between` before another one.
fn at_every_call(
    before: &Store,
    work: &dyn Fn(&Arc<Repository>) -> Result<()>,
    between: fn(&Store),
    after: &dyn Fn(&Store, Result<()>, &str),
) {
    for nth in 1.. {
        let store = before.image();
        let faulty = store.faulty();
        let backend: Arc<dyn Backend> = faulty.clone();
        let repository = store.open_by(backend).unwrap();
        faulty.reset();
        let other = store.clone();
        let ran = Arc::new(Mutex::new(false));
        let noted = Arc::clone(&ran);
        faulty.before(nth, move || {
            between(&other);
            *noted.lock().unwrap() = true;
        });
        let done = work(&repository);
        if !*ran.lock().unwrap() {
            assert!(nth > 9, "{nth}");
            return;
        }
        let what = format!("between before call {nth}, {:?}", faulty.calls().last());
        after(&store, done, &what);
        // Whatever waited goes now.
        prune_all(&store.open()).unwrap();
        prune_all(&store.open()).unwrap();
        for area in [Area::Sessions, Area::Gc] {
            assert_eq!(store.count(area), 0, "{what}: {area:?}");
        }
        store.assert_sound(&what);
        store.assert_holds("kept", 2, &what);
    }
}

fn prunes(repository: &Arc<Repository>) -> Result<()> {
    prune_all(repository).map(drop)
}

#[test]
fn a_whole_ingest_at_any_moment_of_a_prune() {
    let again = |store: &Store| ingest(&store.open(), "again", 1).unwrap();
    at_every_call(&forgotten(), &prunes, again, &|store, done, what| {
        done.unwrap_or_else(|e| panic!("{what}: {e}"));
        store.assert_holds("again", 1, what);
    });
}

#[test]
fn a_whole_prune_at_any_moment_of_an_ingest() {
    let work = |repository: &Arc<Repository>| ingest(repository, "again", 1);
    let between = |store: &Store| drop(prune_all(&store.open()).unwrap());
    at_every_call(&forgotten(), &work, between, &|store, done, what| {
        done.unwrap_or_else(|e| panic!("{what}: {e}"));
        store.assert_holds("again", 1, what);
    });
}

#[test]
fn a_whole_prune_at_any_moment_of_another() {
    let between = |store: &Store| drop(prune_all(&store.open()).unwrap());
    at_every_call(&forgotten(), &prunes, between, &|_, done, what| {
        done.unwrap_or_else(|e| panic!("{what}: {e}"));
    });
}

#[test]
fn a_forget_with_a_prune_at_any_moment_of_a_reader() {
    let store = Store::new();
    ingest(&store.open(), "old", 1).unwrap();
    ingest(&store.open(), "kept", 2).unwrap();
    let between = |store: &Store| {
        forget(&store.open(), "old").unwrap();
        prune_all(&store.open()).unwrap();
    };
    let read = |repository: &Arc<Repository>| {
        let info: SnapshotInfo = repository.resolve("old")?;
        let _session = repository.begin_reading(std::slice::from_ref(&info), &Silent)?;
        repo::restore::Streaming {
            blocks: repository,
            threads: std::num::NonZeroUsize::MIN,
            monitor: &Silent,
        }
        .content(&file(repository, &info, "new")?, &mut std::io::sink())
        .map(drop)
    };
    at_every_call_of_few(&store, &read, between, &|_, done, what| match done {
        Ok(()) => {}
        // Forgotten before it was announced; never damage, never other bytes.
        Err(e) => assert_eq!(e.class(), Class::NotFound, "{what}: {e}"),
    });
}

/// The same for work of few calls.
fn at_every_call_of_few(
    before: &Store,
    work: &dyn Fn(&Arc<Repository>) -> Result<()>,
    between: fn(&Store),
    after: &dyn Fn(&Store, Result<()>, &str),
) {
    let store = before.image();
    let faulty = store.faulty();
    let repository = store.open_by(faulty.clone()).unwrap();
    faulty.reset();
    work(&repository).unwrap();
    for nth in 1..=faulty.calls().len() as u64 {
        let store = before.image();
        let faulty = store.faulty();
        let repository = store.open_by(faulty.clone()).unwrap();
        faulty.reset();
        let other = store.clone();
        faulty.before(nth, move || between(&other));
        let done = work(&repository);
        let what = format!("between before call {nth}, {:?}", faulty.calls().last());
        after(&store, done, &what);
        store.assert_holds("kept", 2, &what);
    }
}

/// A file of a snapshot.
fn file(repository: &Repository, info: &SnapshotInfo, name: &str) -> Result<Node> {
    let path = EntryPath::parse(name.as_bytes()).unwrap();
    Ok(find_path(repository, &info.snapshot.root, &path)?.expect("the file"))
}

/// An ingest begins at one moment of a prune and ends at another.
#[test]
fn an_ingest_from_any_moment_of_a_prune_to_any_other() {
    let before = forgotten();
    let calls = {
        let store = before.image();
        let faulty = store.faulty();
        let repository = store.open_by(faulty.clone()).unwrap();
        faulty.reset();
        prunes(&repository).unwrap();
        faulty.calls().len() as u64
    };
    // Every start, and ends that differ from start to start.
    let mut step = 1;
    for start in 1..=calls {
        step = step * 5 % 23 + 1;
        let end = start + step;
        let store = before.image();
        let faulty = store.faulty();
        let repository = store.open_by(faulty.clone()).unwrap();
        faulty.reset();
        let (other, under_way) = (store.clone(), Arc::new(Mutex::new(None)));
        let begun = Arc::clone(&under_way);
        faulty.before(start, move || {
            *begun.lock().unwrap() = Some(begin(&other.open(), "again").unwrap());
        });
        let begun = Arc::clone(&under_way);
        faulty.before(end, move || {
            finish(begun.lock().unwrap().take().unwrap(), 1).unwrap();
        });
        let what = format!("from call {start} to {end}");
        prunes(&repository).unwrap_or_else(|e| panic!("{what}: {e}"));
        let late = under_way.lock().unwrap().take();
        if let Some(late) = late {
            finish(late, 1).unwrap_or_else(|e| panic!("{what}: {e}"));
        }
        store.assert_holds("again", 1, &what);
        prune_all(&store.open()).unwrap();
        assert_eq!(store.count(Area::Gc), 0, "{what}");
        store.assert_sound(&what);
        store.assert_holds("again", 1, &what);
        store.assert_holds("kept", 2, &what);
    }
}
