//! A fault at every call of a forget with a prune that repacks, and of an ingest beside an open plan.

use std::sync::Arc;

use repo::backend::fault::{Fault, Op, Trigger};
use repo::backend::{Area, Backend};
use repo::error::{Class, Result};
use repo::repository::Repository;

use crate::{Store, begin, forget, ingest, prune_all};

/// Two snapshots that share a file; the older one was stored with it in one pack, so that forgetting it means repacking.
fn two() -> Store {
    let store = Store::new();
    ingest(&store.open(), "old", 1).unwrap();
    ingest(&store.open(), "kept", 2).unwrap();
    store
}

/// How many packs a clean store has in the end, and how many calls `work` makes.
fn undisturbed(store: &Store, work: &dyn Fn(&Arc<Repository>) -> Result<()>) -> (usize, u64) {
    let store = store.image();
    let faulty = store.faulty();
    work(&store.open_by(faulty.clone()).unwrap()).unwrap();
    let calls = faulty.calls().len() as u64;
    prune_all(&store.open()).unwrap();
    let packs = store.count(Area::Data) + store.count(Area::Meta);
    store.assert_clean(packs, "undisturbed");
    (packs, calls)
}

/// Lets `work` meet a fault; then everything is there, and the next prune leaves nothing behind.
fn survive(
    store: &Store,
    trigger: Trigger,
    packs: usize,
    work: &dyn Fn(&Arc<Repository>) -> Result<()>,
    kept: &[(&str, u8)],
) {
    let store = store.image();
    let faulty = store.faulty();
    faulty.inject(trigger);
    let backend: Arc<dyn Backend> = faulty.clone();
    let done = store
        .open_by(backend)
        .and_then(|repository| work(&repository));
    let what = format!("{trigger:?} ({:?}): {done:?}", faulty.calls().last());
    faulty.reset();
    store.assert_sound(&what);
    for (name, seed) in kept {
        store.assert_holds(name, *seed, &what);
    }
    // What is done twice is done.
    let repository = store.open();
    if let Err(e) = forget(&repository, "old") {
        assert_eq!(e.class(), Class::NotFound, "{what}");
    }
    let report = prune_all(&repository).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(report.settled.waiting, [], "{what}");
    // A copy that a killed repack left may make one more round worthwhile.
    prune_all(&store.open()).unwrap_or_else(|e| panic!("{what}: {e}"));
    store.assert_clean(packs, &what);
    ingest(&store.open(), "next", 1).unwrap();
    for (name, seed) in kept.iter().chain(&[("next", 1)]) {
        store.assert_holds(name, *seed, &what);
    }
}

fn forget_and_prune(repository: &Arc<Repository>) -> Result<()> {
    forget(repository, "old")?;
    prune_all(repository).map(drop)
}

fn sweep(fault: Fault) {
    let store = two();
    let (packs, calls) = undisturbed(&store, &forget_and_prune);
    assert!(calls > 30, "{calls}");
    for nth in 1..=calls {
        let trigger = Trigger::any(nth, fault);
        survive(&store, trigger, packs, &forget_and_prune, &[("kept", 2)]);
    }
}

#[test]
fn a_call_that_fails_in_a_prune_loses_nothing() {
    sweep(Fault::Fail(Class::Full));
}

#[test]
fn a_prune_that_is_killed_at_any_call_loses_nothing() {
    sweep(Fault::Stop);
}

#[test]
fn an_answer_that_is_lost_in_a_prune_loses_nothing() {
    sweep(Fault::StopAfter);
}

#[test]
fn torn_plans_sessions_and_index_objects_stop_nobody() {
    let store = two();
    let (packs, _) = undisturbed(&store, &forget_and_prune);
    let writes = [
        (Op::Hold, Area::Sessions, 3),
        (Op::WriteNew, Area::Gc, 2),
        (Op::WriteNew, Area::Index, 2),
    ];
    for (op, area, count) in writes {
        for nth in 1..=count {
            for len in [0, 100, 300] {
                let trigger = Trigger::at(op, nth, Fault::Torn(len)).within(area);
                survive(&store, trigger, packs, &forget_and_prune, &[("kept", 2)]);
            }
        }
    }
}

/// An ingest that reuses what an open plan condemns; the plan waits for another writer.
#[test]
fn an_ingest_beside_an_open_plan_survives_a_fault_at_any_call() {
    let before = two();
    for fault in [Fault::Stop, Fault::Fail(Class::Io)] {
        for nth in 1.. {
            let store = before.image();
            let older = begin(&store.open(), "older").unwrap();
            forget(&store.open(), "old").unwrap();
            let report = prune_all(&store.open()).unwrap();
            assert_eq!(report.settled.waiting.len(), 1);
            let faulty = store.faulty();
            faulty.inject(Trigger::any(nth, fault));
            let backend: Arc<dyn Backend> = faulty.clone();
            let opened = store.open_by(backend);
            let done = opened.and_then(|repository| ingest(&repository, "again", 1));
            let calls = faulty.calls().len() as u64;
            let what = format!("{fault:?} at {nth} ({:?}): {done:?}", faulty.calls().last());
            faulty.reset();
            drop(older);
            prune_all(&store.open()).unwrap();
            store.assert_sound(&what);
            store.assert_holds("kept", 2, &what);
            if done.is_ok() {
                store.assert_holds("again", 1, &what);
            }
            for area in [Area::Sessions, Area::Gc] {
                assert_eq!(store.count(area), 0, "{what}");
            }
            if calls < nth {
                break;
            }
        }
    }
}
