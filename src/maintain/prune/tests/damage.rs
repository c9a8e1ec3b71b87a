//! Prune on damaged repositories: what cannot be read stops it, and no good copy goes for a bad one.

use super::*;

#[test]
fn nothing_is_pruned_while_something_needed_cannot_be_read() {
    let store = arc_store();
    let first = store.ingest("one", &[("a", &noise(1, 300_000))]);
    store.ingest("two", &[("dir/b", &noise(2, 300_000))]);
    forget(&store, &first);
    let snapshot = &store.keys(Area::Snapshots)[0];
    let intact = store.backend.read_all(snapshot, u64::MAX).unwrap();
    store.tamper(snapshot, Some(&|bytes| bytes[170] ^= 1));
    let refused = |store: &Store| {
        let error = prune(&store.open(), &PruneOptions::default(), &silent()).unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{error}");
    };
    refused(&store);
    store.backend.tamper(snapshot, Some(intact));
    for key in store.keys(Area::Meta) {
        store.tamper(&key, Some(&|bytes| bytes[200] ^= 1));
    }
    refused(&store);
    assert_eq!(count(&store, Area::Data), 2);
    assert_eq!(count(&store, Area::Sessions), 0);
}

#[test]
fn a_plan_that_cannot_be_read_is_dropped_and_a_torn_one_stops_nobody() {
    let store = arc_store();
    store.ingest("one", &[("a", b"a")]);
    let name = "0123456789abcdef0123456789abcdef";
    for name in [name.to_owned(), format!("{name}.waits")] {
        let key = Key::named(Area::Gc, &name).unwrap();
        store.backend.write_new(&key, b"torn").unwrap();
    }
    store.ingest("two", &[("a", b"a")]);
    assert_eq!(count(&store, Area::Gc), 0);
    let key = Key::named(Area::Gc, name).unwrap();
    store.backend.write_new(&key, b"torn").unwrap();
    prune_all(&store);
    assert_eq!(count(&store, Area::Gc), 0);
}

#[test]
fn a_chunk_in_two_packs_survives_the_loss_of_either() {
    let store = arc_store();
    let a = noise(1, 300_000);
    store.ingest("one", &[("a", &a)]);
    let data = store.keys(Area::Data);
    let first = store.backend.read_all(&data[0], u64::MAX).unwrap();
    store.tamper(&data[0], None);
    store.ingest("two", &[("a", &a)]);
    store.backend.tamper(&data[0], Some(first));
    for key in store.keys(Area::Data) {
        let intact = store.backend.read_all(&key, u64::MAX).unwrap();
        for change in [
            None,
            Some(&(|bytes: &mut Vec<u8>| bytes[5000] ^= 1) as &crate::maintain::fixture::Change),
        ] {
            let repository = store.open();
            store.tamper(&key, change);
            let folder = tempfile::tempdir().unwrap();
            let info = repository.resolve("two").unwrap();
            let selection = crate::restore::Selection {
                id: info.id,
                snapshot: info.snapshot,
                path: EntryPath::root(),
                contents: false,
            };
            let summary = crate::restore::restore(
                &*repository,
                &[selection],
                &folder.path().join("back"),
                &crate::restore::RestoreOptions::default(),
                &silent(),
                &mut |_| {},
            );
            assert_eq!(summary.unwrap().lost, 0);
            assert!(std::fs::read(folder.path().join("back/a")).unwrap() == a);
            let report = check(&repository, ReadData::All, &Silent, &mut |_| {}).unwrap();
            assert_eq!((report.harmed, report.damage > 0), (0, true), "{report:?}");
            store.backend.tamper(&key, Some(intact.clone()));
        }
    }
}

/// Two prunes were killed after their plans: each condemned a pack with garbage, for which a chunk's other home counted, which
/// the other condemned. What carrying out their plans releases must not wait for yet another prune, whichever comes first.
#[test]
fn one_prune_is_enough_after_two_that_were_killed() {
    let store = arc_store();
    let (kept, garbage) = (noise(1, 300_000), [2, 3].map(|seed| noise(seed, 300_000)));
    let first = store.ingest("one", &[("a", &kept), ("garbage", &garbage[0])]);
    let data = store.keys(Area::Data);
    let intact = store.backend.read_all(&data[0], u64::MAX).unwrap();
    store.tamper(&data[0], None);
    let second = store.ingest("two", &[("a", &kept), ("garbage", &garbage[1])]);
    store.backend.tamper(&data[0], Some(intact));
    store.ingest("three", &[("a", &kept)]);
    forget(&store, &first);
    forget(&store, &second);
    let repository = store.open();
    let mut packs = Vec::new();
    let all = repository.catalog().packs(|row| {
        packs.push((row.id, row.kind));
        Ok(())
    });
    all.unwrap();
    packs.retain(|(_, kind)| *kind == crate::format::header::ObjectKind::DataPack);
    assert_eq!(packs.len(), 2);
    for pack in packs {
        repository.write_plan(vec![pack], false).unwrap();
    }
    drop(repository);
    prune_all(&store);
    assert_eq!((count(&store, Area::Data), count(&store, Area::Gc)), (1, 0));
    let again = prune_all(&store);
    assert_eq!((again.unneeded.count, again.settled.removed.count), (0, 0));
    assert_holds(&store, "three", &[("a", &kept)]);
}

/// An executor that is killed between the removal of a plan and of its list of sessions leaves the list.
#[test]
fn a_list_of_sessions_without_its_plan_goes_though_there_is_no_plan() {
    let store = arc_store();
    store.ingest("one", &[("a", b"a")]);
    let repository = store.open();
    let plan = repository.write_plan(Vec::new(), false).unwrap();
    repository.waits(&plan.id, &[]).unwrap();
    let key = Key::named(Area::Gc, &plan.id.to_hex()).unwrap();
    store.backend.remove(&key).unwrap();
    assert_eq!(count(&store, Area::Gc), 1);
    settle(&repository, None, true, &Silent).unwrap();
    assert_eq!(count(&store, Area::Gc), 0);
}
