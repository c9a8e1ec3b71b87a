//! More than memory should hold: in these tests that is very little.

use super::tests::{chunk, pack};
use super::*;
use crate::id::{ObjectId, RepositoryId};

#[test]
fn a_load_beyond_what_memory_holds_is_whole_and_leaves_nothing_beside() {
    let folder = tempfile::tempdir().unwrap();
    let place = CatalogPlace::File(folder.path().join("catalog.sqlite"));
    let (catalog, _) = Catalog::open(&place, RepositoryId::new([1; 16])).unwrap();
    // Known before, and in two index objects: rows of one pack come once.
    catalog.add_packs(&[pack(3, 6_000..8_000)]).unwrap();
    let mut loader = catalog.loader();
    for name in 0..10 {
        let index = ObjectId::of(&[u8::try_from(name).unwrap()]);
        for name in [name, (name + 1) % 10] {
            loader
                .add(index, &pack(name, name * 2_000..(name + 1) * 2_000))
                .unwrap();
        }
        loader.index_object(index);
    }
    let beside = std::fs::read_dir(folder.path()).unwrap();
    assert!(
        beside
            .flatten()
            .all(|file| !file.file_name().to_string_lossy().contains("scratch"))
    );
    loader.finish().unwrap();
    assert_eq!(catalog.chunk_count().unwrap(), 20_000);
    assert_eq!(catalog.index_objects().unwrap().len(), 10);
    for number in 0..20_000 {
        let found = catalog.locate(&chunk(number)).unwrap().unwrap();
        assert_eq!(found.pack, pack(number / 2_000, 0..1).id);
    }
    assert_eq!(catalog.listings(&pack(4, 0..1).id).unwrap().len(), 2);
}

#[test]
fn homes_are_the_same_whether_looked_up_or_passed() {
    let folder = tempfile::tempdir().unwrap();
    let place = CatalogPlace::File(folder.path().join("catalog.sqlite"));
    let (catalog, _) = Catalog::open(&place, RepositoryId::new([1; 16])).unwrap();
    // The second half lies in two packs.
    catalog
        .add_packs(&[pack(1, 0..8_000), pack(2, 4_000..8_000)])
        .unwrap();
    let name = |no| (no < 3).then(|| pack(u32::try_from(no).unwrap(), 0..1).id);
    let asked: Vec<u32> = (0..9_000).rev().chain(0..50).step_by(3).collect();
    let told = |rows| {
        let mut piles = catalog.piles();
        for number in &asked {
            piles.push(*chunk(*number).as_bytes()).unwrap();
        }
        let mut told = Vec::new();
        catalog
            .homes_of_piles(piles, rows, &name, |id, homes| {
                told.push((*id, homes.to_vec()));
                Ok(())
            })
            .unwrap();
        told
    };
    let (passed, looked_up) = (told(12_000), told(u64::MAX));
    let mut ids: Vec<_> = asked.iter().map(|number| chunk(*number)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(passed.iter().map(|(id, _)| *id).eq(ids));
    assert_eq!(passed, looked_up);
    let homes = |number| {
        passed
            .iter()
            .find(|(id, _)| *id == chunk(number))
            .unwrap()
            .1
            .len()
    };
    assert_eq!((homes(2_999), homes(5_999), homes(8_399)), (1, 2, 0));
}

#[test]
fn removing_a_pack_takes_all_of_its_homes_and_no_other() {
    let (catalog, _) = Catalog::open(&CatalogPlace::Memory, RepositoryId::new([1; 16])).unwrap();
    // So many that there are ids of every first byte.
    let (gone, stays) = (pack(1, 0..4_000), pack(2, 2_000..6_000));
    catalog.add_packs(&[gone.clone(), stays]).unwrap();
    assert_eq!(catalog.chunk_count().unwrap(), 8_000);
    catalog.remove_packs(&[gone.id]).unwrap();
    assert_eq!(catalog.chunk_count().unwrap(), 4_000);
    assert_eq!(catalog.locate(&chunk(1_999)).unwrap(), None);
    assert!((2_000..6_000).all(|number| catalog.contains(&chunk(number)).unwrap()));
}

/// A prune and a rebuild of the catalog ended with the error of a scratch file on a full disk.
#[test]
fn where_nothing_can_be_written_beside_the_catalog_piles_stay_in_memory() {
    let nowhere = std::path::Path::new("/nonexistent/folder/catalog.sqlite");
    let mut piles = Piles::new(Some(nowhere));
    let mut log = piles::Log::default();
    let ids: Vec<_> = (0..9_000).map(|number| *chunk(number).as_bytes()).collect();
    for id in &ids {
        piles.push(*id).unwrap();
        log.push(id, Some(nowhere)).unwrap();
    }
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let mut drained = Vec::new();
    piles
        .drain(|pile| {
            drained.extend_from_slice(pile);
            Ok::<(), crate::error::Error>(())
        })
        .unwrap();
    assert_eq!(drained, sorted);
    let mut logged = Vec::new();
    log.each(|entry| {
        logged.push(entry.to_vec());
        Ok::<(), crate::error::Error>(())
    })
    .unwrap();
    assert!(
        logged
            .iter()
            .map(Vec::as_slice)
            .eq(ids.iter().map(|id| &id[..]))
    );
}
