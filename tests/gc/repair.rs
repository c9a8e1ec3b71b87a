//! A fault at every call of a repair: nothing gets worse, and the next one finishes.

use std::collections::BTreeSet;
use std::sync::Arc;

use repo::backend::fault::{Fault, Op, Trigger};
use repo::backend::{Area, Backend, Key, Memory};
use repo::error::{Class, Result};
use repo::maintain::repair::{RepairOptions, RepairReport, repair};
use repo::progress::{Monitor, Silent};
use repo::repository::Repository;

use crate::{Store, WRITER, begin, finish, ingest};

/// What is hurt: snapshot and path.
type Lost = BTreeSet<String>;

fn run(repository: &Arc<Repository>) -> Result<(RepairReport, Lost)> {
    let options = RepairOptions {
        writer: WRITER,
        ..RepairOptions::default()
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let mut lost = Lost::new();
    let report = repair(repository, &options, &monitor, &mut |harm| {
        lost.insert(format!("{} {}", harm.name, harm.path));
    })?;
    Ok((report, lost))
}

fn keys(memory: &Memory, area: Area) -> BTreeSet<Key> {
    let mut all = BTreeSet::new();
    let mut each = |name: &str, _| {
        all.insert(Key::named(area, name)?);
        Ok(())
    };
    memory.list(area, &mut each).unwrap();
    all
}

fn change(memory: &Memory, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = memory.read_all(key, u64::MAX).unwrap();
    change(&mut bytes);
    memory.tamper(key, Some(bytes));
}

/// Two snapshots, and the objects of the first one: data pack, trees, index object.
fn two() -> (Store, [Key; 3]) {
    let store = Store::new();
    ingest(&store.open(), "old", 1).unwrap();
    let areas = [Area::Data, Area::Meta, Area::Index];
    let first = areas.map(|area| keys(&store.memory, area).pop_first().unwrap());
    ingest(&store.open(), "kept", 2).unwrap();
    (store, first)
}

/// Nothing is lost: packs are torn whose blocks an index object tells, and another index object is damaged.
fn torn() -> (Store, Lost) {
    let (store, [data, trees, index]) = two();
    change(&store.memory, &data, |bytes| {
        bytes.truncate(bytes.len() - 1);
    });
    change(&store.memory, &trees, |bytes| {
        *bytes.last_mut().unwrap() ^= 1;
    });
    let others = keys(&store.memory, Area::Index);
    let other = others.iter().find(|key| **key != index).unwrap();
    change(&store.memory, other, |bytes| bytes[170] ^= 1);
    (store, Lost::new())
}

/// All files of the first snapshot are lost, and one of the second.
fn lost() -> (Store, Lost) {
    let (store, [data, ..]) = two();
    change(&store.memory, &data, |bytes| bytes[200] ^= 1);
    let all = ["old dir/small", "old new", "old same", "kept same"];
    (store, all.map(str::to_owned).into())
}

/// A fault, then another repair.
fn survive(make: &(Store, Lost), trigger: Trigger) {
    let (store, expected) = (make.0.image(), &make.1);
    let faulty = store.faulty();
    faulty.inject(trigger);
    let done = store
        .open_by(faulty.clone())
        .and_then(|repository| run(&repository));
    let what = format!("{trigger:?} ({:?}): {done:?}", faulty.calls().last());
    faulty.reset();
    let holds = |what: &str| {
        for (name, seed) in [("old", 1), ("kept", 2)] {
            if expected.is_empty() {
                store.assert_holds(name, seed, what);
            }
        }
    };
    holds(&what);
    let (report, lost) = run(&store.open()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(lost, *expected, "{what}");
    assert_eq!(
        report.is_mended(),
        expected.is_empty(),
        "{what}: {report:?}"
    );
    assert_eq!(report.waiting, [], "{what}");
    for area in [Area::Sessions, Area::Gc] {
        assert_eq!(store.count(area), 0, "{what}: {area:?}");
    }
    holds(&what);
    if !expected.is_empty() {
        ingest(&store.open(), "again", 1).unwrap();
        store.assert_holds("old", 1, &what);
        store.assert_holds("kept", 2, &what);
    }
    store.assert_sound(&what);
}

/// How often each method that changes the store is called when nothing fails, and how many calls there are.
fn undisturbed(make: &(Store, Lost)) -> ([(Op, usize); 3], u64) {
    let store = make.0.image();
    let faulty = store.faulty();
    let (report, lost) = run(&store.open_by(faulty.clone()).unwrap()).unwrap();
    assert_eq!(lost, make.1);
    assert!(!report.set_aside.is_empty());
    let calls = faulty.calls().len() as u64;
    assert!(calls > 40, "{calls}");
    let ops = [Op::WriteNew, Op::Hold, Op::Remove];
    (ops.map(|op| (op, faulty.count(op))), calls)
}

/// Only calls that change the store matter for who is killed: between two of them it is the same to everybody else.
fn killed(make: &(Store, Lost)) {
    let (ops, _) = undisturbed(make);
    for (op, count) in ops {
        assert!(count > 1, "{op:?}");
        for nth in 1..=count as u64 {
            for fault in [Fault::Stop, Fault::StopAfter] {
                survive(make, Trigger::at(op, nth, fault));
            }
        }
    }
}

#[test]
fn a_repair_that_is_killed_at_any_call_makes_nothing_worse() {
    killed(&torn());
}

#[test]
fn a_repair_of_what_is_lost_that_is_killed_makes_nothing_worse() {
    killed(&lost());
}

fn fails(step: usize) {
    let make = torn();
    let (_, calls) = undisturbed(&make);
    for nth in (1..=calls).step_by(step) {
        survive(&make, Trigger::any(nth, Fault::Fail(Class::Io)));
    }
}

#[test]
fn a_call_that_fails_in_a_repair_makes_nothing_worse() {
    fails(5);
}

#[test]
#[ignore = "takes a minute: part of scripts/soak"]
fn any_call_that_fails_in_a_repair_makes_nothing_worse() {
    fails(1);
}

#[test]
fn a_full_store_in_a_repair_makes_nothing_worse() {
    let make = torn();
    let (ops, _) = undisturbed(&make);
    for nth in 1..=ops[0].1 as u64 {
        survive(
            &make,
            Trigger::at(Op::WriteNew, nth, Fault::Fail(Class::Full)),
        );
    }
}

#[test]
fn what_a_repair_leaves_torn_stops_nobody() {
    let make = torn();
    let writes = [
        (Op::Hold, Area::Sessions, 3),
        (Op::WriteNew, Area::Gc, 2),
        (Op::WriteNew, Area::Index, 2),
        (Op::WriteNew, Area::Quarantine, 3),
    ];
    for (op, area, count) in writes {
        for nth in 1..=count {
            let trigger = Trigger::at(op, nth, Fault::Torn(100)).within(area);
            survive(&make, trigger);
        }
    }
}

/// A bit that is read wrongly once is no damage.
#[test]
fn a_bit_that_is_read_wrongly_in_a_repair_costs_nothing() {
    let make = torn();
    let store = make.0.image();
    let faulty = store.faulty();
    run(&store.open_by(faulty.clone()).unwrap()).unwrap();
    for nth in (1..=faulty.count(Op::Read) as u64).step_by(4) {
        survive(&make, Trigger::at(Op::Read, nth, Fault::Flip));
    }
}

/// It counts on what it took for stored when it began: that it lacks something is told, and mended by the next ingest.
#[test]
fn an_older_ingest_that_reused_what_is_lost_is_named_and_the_next_one_heals_it() {
    let (store, _) = lost();
    let older = begin(&store.open(), "older").unwrap();
    let (report, _) = run(&store.open()).unwrap();
    assert_eq!(report.waiting[0].sessions, 1);
    finish(older, 1).unwrap();
    let (report, lost) = run(&store.open()).unwrap();
    assert_eq!(report.set_aside.len(), 1);
    assert!(!lost.is_empty());
    ingest(&store.open(), "next", 1).unwrap();
    for (name, seed) in [("old", 1), ("kept", 2), ("older", 1), ("next", 1)] {
        store.assert_holds(name, seed, "healed");
    }
    let (report, lost) = run(&store.open()).unwrap();
    assert_eq!((report.set_aside.len(), lost), (0, Lost::new()));
    store.assert_sound("healed");
}

/// Who knows only the old places finds the new ones.
#[test]
fn a_client_that_knew_the_old_packs_reads_what_was_salvaged() {
    let (store, _) = torn();
    let reader = store.open();
    let info = reader.resolve("old").unwrap();
    let _session = reader.begin_reading(std::slice::from_ref(&info), &Silent);
    let (report, _) = run(&store.open()).unwrap();
    assert_eq!(report.set_aside.len(), 3, "{report:?}");
    crate::assert_holds_by(&reader, "old", 1, "an older client");
}

/// An ingest and a prune of others at any moment of a repair.
#[test]
fn others_at_work_at_any_moment_of_a_repair_lose_nothing() {
    for make in [torn(), lost()] {
        let (_, calls) = undisturbed(&make);
        for nth in (1..calls).step_by(12) {
            let store = make.0.image();
            let faulty = store.faulty();
            let other = store.clone();
            let done = Arc::new(std::sync::Mutex::new(false));
            let is_done = Arc::clone(&done);
            faulty.before(nth, move || {
                // It may meet what is lost, and says so then.
                let added = ingest(&other.open(), "added", 1);
                *is_done.lock().unwrap() = added.is_ok();
                drop(crate::prune_all(&other.open()));
            });
            let ran = store
                .open_by(faulty)
                .and_then(|repository| run(&repository));
            let what = format!("before call {nth}: {ran:?}");
            let (report, lost) = run(&store.open()).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(report.waiting, [], "{what}");
            assert!(
                lost.is_subset(&make.1) || lost.iter().any(|l| l.starts_with("added")),
                "{what} {lost:?}"
            );
            if lost.is_empty() {
                store.assert_holds("old", 1, &what);
                store.assert_holds("kept", 2, &what);
            }
            ingest(&store.open(), "again", 1).unwrap();
            store.assert_holds("old", 1, &what);
            store.assert_holds("kept", 2, &what);
            if *done.lock().unwrap() {
                store.assert_holds("added", 1, &what);
            }
            store.assert_sound(&what);
        }
    }
}
