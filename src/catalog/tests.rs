//! The catalog as a whole: what goes in comes out, whatever is there before and whoever else writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use super::*;
use crate::error::Class;
use crate::format::header::{Codec, HEADER_BYTES, ObjectKind};
use crate::format::index::PackRecord;
use crate::format::pack::{BlockEntry, ChunkEntry, Directory};
use crate::id::{ChunkId, ObjectId, RepositoryId, ShortChunkId};

/// Names the catalog of the helper processes below; without it they have nothing to do.
const PLACE: &str = "REPO_TEST_CATALOG";
/// Names from here on are of packs that all writers bring; no writer's own pack may share one.
const SHARED: u32 = 100_000_000;
const REPOSITORY: RepositoryId = RepositoryId::new([7; 16]);

/// A chunk id that looks random.
pub(super) fn chunk(number: u32) -> ShortChunkId {
    ChunkId::new(*blake3::hash(&number.to_le_bytes()).as_bytes()).shorten()
}

/// A pack named `name` that holds `chunks` in blocks of ten.
pub(super) fn pack(name: u32, chunks: std::ops::Range<u32>) -> PackRecord {
    let entries: Vec<_> = chunks
        .map(|number| ChunkEntry {
            id: chunk(number),
            raw_bytes: 100 + number % 7,
        })
        .collect();
    let block = |chunks: &[ChunkEntry]| BlockEntry {
        codec: Codec::Zstd,
        stored_bytes: 500,
        raw_bytes: chunks.iter().map(|c| c.raw_bytes).sum(),
        chunks: chunks.to_vec(),
    };
    PackRecord {
        id: ObjectId::of(&name.to_le_bytes()),
        kind: ObjectKind::DataPack,
        stored_bytes: (8 << 20) + u64::from(name),
        directory: Directory {
            blocks: entries.chunks(10).map(block).collect(),
        },
    }
}

fn memory() -> Catalog {
    Catalog::open(&CatalogPlace::Memory, REPOSITORY).unwrap().0
}

#[test]
fn chunks_are_located() {
    let catalog = memory();
    catalog
        .add_packs(&[pack(1, 0..35), pack(2, 35..50)])
        .unwrap();
    assert_eq!(catalog.locate(&chunk(99)).unwrap(), None);
    assert!(!catalog.contains(&chunk(99)).unwrap());
    assert!(catalog.contains(&chunk(36)).unwrap());
    let found = catalog.locate(&chunk(12)).unwrap().unwrap();
    let wanted = Location {
        pack: pack(1, 0..0).id,
        kind: ObjectKind::DataPack,
        block_no: 1,
        block_offset: HEADER_BYTES as u64 + 500,
        block_stored_bytes: 500,
        block_raw_bytes: pack(1, 0..35).directory.blocks[1].raw_bytes,
        codec: Codec::Zstd,
        offset: 100 + 10 % 7 + 100 + 11 % 7,
        len: 100 + 12 % 7,
    };
    assert_eq!(found, wanted);
    let ids: Vec<_> = [49, 99, 12, 0].map(chunk).to_vec();
    let many = catalog.locate_many(&ids).unwrap();
    let single: Vec<_> = ids.iter().map(|id| catalog.locate(id).unwrap()).collect();
    assert_eq!(many, single);
}

#[test]
fn another_home_takes_over_when_the_first_is_removed() {
    let catalog = memory();
    catalog.add_packs(&[pack(1, 0..20)]).unwrap();
    catalog.add_packs(&[pack(2, 10..30)]).unwrap();
    assert_eq!(
        catalog.locate(&chunk(15)).unwrap().unwrap().pack,
        pack(1, 0..0).id
    );
    catalog.remove_packs(&[pack(1, 0..0).id]).unwrap();
    assert_eq!(
        catalog.locate(&chunk(15)).unwrap().unwrap().pack,
        pack(2, 0..0).id
    );
    assert_eq!(catalog.locate(&chunk(5)).unwrap(), None);
    assert_eq!(catalog.removals().unwrap(), 1);
    assert_eq!(catalog.chunk_count().unwrap(), 20);
}

#[test]
fn a_file_is_kept_and_a_foreign_one_replaced() {
    let place = tempfile::tempdir().unwrap();
    let place = CatalogPlace::File(place.path().join("deep/catalog.db"));
    let (catalog, opened) = Catalog::open(&place, REPOSITORY).unwrap();
    assert_eq!(opened, Opened::Fresh);
    catalog
        .add_index_object(&ObjectId::of(b"i"), &[pack(1, 0..20)])
        .unwrap();
    drop(catalog);
    let (catalog, opened) = Catalog::open(&place, REPOSITORY).unwrap();
    assert_eq!(opened, Opened::Existing);
    assert!(catalog.has_index_object(&ObjectId::of(b"i")).unwrap());
    assert!(catalog.contains(&chunk(3)).unwrap());
    drop(catalog);
    let (catalog, opened) = Catalog::open(&place, RepositoryId::new([8; 16])).unwrap();
    assert!(matches!(opened, Opened::Replaced(_)), "{opened:?}");
    assert!(!catalog.contains(&chunk(3)).unwrap());
}

#[test]
fn small_things_are_kept() {
    let catalog = memory();
    let (a, b) = (ObjectId::of(b"a"), ObjectId::of(b"b"));
    catalog.put_snapshot(&a, b"one").unwrap();
    catalog.put_snapshot(&b, b"two").unwrap();
    catalog.put_snapshot(&a, b"three").unwrap();
    catalog.remove_snapshot(&b).unwrap();
    assert_eq!(catalog.snapshots().unwrap(), [(a, b"three".to_vec())]);

    let key = [9; 16];
    let rows: Vec<KnownRow<'_>> = vec![(&key, 0, b"v0"), (&key, 1, b"v1"), (&key, 2, b"v2")];
    catalog.put_known(&rows).unwrap();
    catalog.put_known(&[(&key, 0, b"")]).unwrap();
    catalog.trim_known(&key, 2).unwrap();
    assert_eq!(catalog.known(&key, 0).unwrap().unwrap(), b"");
    assert_eq!(catalog.known(&key, 1).unwrap().unwrap(), b"v1");
    assert_eq!(catalog.known(&key, 2).unwrap(), None);

    catalog
        .add_index_object(&a, &[pack(1, 0..20), pack(2, 20..30)])
        .unwrap();
    assert_eq!(catalog.index_objects().unwrap(), [a]);
    assert_eq!(catalog.pack_totals().unwrap(), (2, (16 << 20) + 3));
    let mut packs = Vec::new();
    catalog
        .packs(|row| {
            assert!(catalog.has_pack(&row.id).unwrap(), "calls back");
            packs.push(row.id);
            Ok(())
        })
        .unwrap();
    assert_eq!(packs, [pack(1, 0..0).id, pack(2, 0..0).id]);
    catalog.remove_index_objects(&[a]).unwrap();
    assert!(!catalog.has_index_object(&a).unwrap());

    catalog.clear().unwrap();
    assert_eq!(
        (
            catalog.chunk_count().unwrap(),
            catalog.pack_totals().unwrap()
        ),
        (0, (0, 0))
    );
    assert_eq!(catalog.locate(&chunk(3)).unwrap(), None);
    assert!(catalog.snapshots().unwrap().is_empty());
    assert_eq!(catalog.removals().unwrap(), 1);
}

#[test]
fn a_loader_takes_in_all_or_nothing() {
    let catalog = memory();
    let mut loader = catalog.loader();
    let lost = ObjectId::of(b"lost");
    loader.add(lost, &pack(1, 0..20)).unwrap();
    loader.index_object(lost);
    drop(loader);
    assert!(catalog.index_objects().unwrap().is_empty());
    let mut loader = catalog.loader();
    for name in 0..6 {
        let index = ObjectId::of(&[u8::try_from(name).unwrap()]);
        loader
            .add(index, &pack(name, name * 60_000..(name + 1) * 60_000))
            .unwrap();
        loader.index_object(index);
    }
    assert!(catalog.index_objects().unwrap().is_empty());
    assert_eq!(catalog.chunk_count().unwrap(), 0);
    loader.finish().unwrap();
    assert_eq!(catalog.index_objects().unwrap().len(), 6);
    assert_eq!(catalog.chunk_count().unwrap(), 360_000);
}

#[test]
fn packs_that_cannot_be_are_refused() {
    let catalog = memory();
    let mut long = pack(1, 0..20);
    long.stored_bytes = 1100;
    assert_eq!(
        catalog.add_packs(&[long.clone()]).unwrap_err().class(),
        Class::Corrupt
    );
    assert_eq!(catalog.pack_totals().unwrap(), (0, 0));
    // One that was refused must not keep out what others list.
    let mut loader = catalog.loader();
    assert_eq!(
        loader.add(ObjectId::of(b"i"), &long).unwrap_err().class(),
        Class::Corrupt
    );
    loader.add(ObjectId::of(b"i"), &pack(2, 0..20)).unwrap();
    loader.finish().unwrap();
    assert_eq!(catalog.pack_totals().unwrap().0, 1);
}

#[test]
fn files_are_for_the_owner_only_and_an_unusable_place_gives_memory() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("deep/catalog.db");
    let (catalog, _) = Catalog::open(&CatalogPlace::File(file.clone()), REPOSITORY).unwrap();
    catalog.put_known(&[(&[1; 16], 0, b"v")]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(file.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 4, "database, log, its index, lock");
    for bad in [
        file.join("below a file"),
        place.path().to_owned(),
        "/proc/nowhere/c.db".into(),
    ] {
        let (catalog, opened) = Catalog::open(&CatalogPlace::File(bad), REPOSITORY).unwrap();
        assert!(matches!(opened, Opened::InMemory(_)), "{opened:?}");
        catalog.add_packs(&[pack(1, 0..20)]).unwrap();
        assert!(catalog.contains(&chunk(7)).unwrap());
    }
}

/// A small generator of numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Damages the bytes of a file in one of several ways.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match dice.below(5) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes.truncate(at),
        2 => {
            let end = bytes.len().min(at + 5000);
            bytes[at..end].fill(0);
        }
        3 => bytes[dice.below(100)] ^= 0xff,
        _ => {
            for _ in 0..200 {
                let at = dice.below(bytes.len());
                bytes[at] = bytes[at].wrapping_add(13);
            }
        }
    }
}

#[test]
fn damage_anywhere_is_replaced_or_an_error_and_never_a_wrong_answer() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("c.db");
    let place = CatalogPlace::File(file.clone());
    let (catalog, _) = Catalog::open(&place, REPOSITORY).unwrap();
    let packs: Vec<_> = (0..20).map(|n| pack(n, n * 100..(n + 1) * 100)).collect();
    catalog
        .add_index_object(&ObjectId::of(b"i"), &packs)
        .unwrap();
    let truth: Vec<_> = (0..2000)
        .map(|n| catalog.locate(&chunk(n)).unwrap().unwrap())
        .collect();
    drop(catalog);
    let sound = fs::read(&file).unwrap();
    let mut dice = Dice(1);
    let (mut replaced, mut errors, mut gone) = (0, 0, 0);
    for round in 0..80 {
        let mut bytes = sound.clone();
        damage(&mut bytes, &mut dice);
        fs::write(&file, bytes).unwrap();
        let (catalog, opened) = Catalog::open(&place, REPOSITORY).unwrap();
        replaced += usize::from(matches!(opened, Opened::Replaced(_)));
        for (number, right) in (0..).zip(&truth) {
            match catalog.locate(&chunk(number)) {
                Ok(Some(found)) => assert_eq!(found, *right, "round {round}, chunk {number}"),
                Ok(None) => gone += 1,
                Err(error) => {
                    assert_ne!(
                        error.class(),
                        Class::Corrupt,
                        "the repository is sound: {error}"
                    );
                    errors += 1;
                }
            }
        }
        let outcomes = [
            catalog.packs(|_| Ok(())).is_err(),
            catalog.snapshots().is_err(),
            catalog.add_packs(&[pack(99, 5000..5100)]).is_err(),
            catalog.remove_packs(&[pack(3, 0..0).id]).is_err(),
            catalog.put_known(&[(&[1; 16], 0, b"v")]).is_err(),
            catalog.clear().is_err(),
        ];
        let damaged = catalog.is_damaged();
        assert!(
            damaged || outcomes == [false; 6],
            "round {round}: {outcomes:?}"
        );
        drop(catalog);
        if damaged {
            let (catalog, opened) = Catalog::open(&place, REPOSITORY).unwrap();
            assert_eq!(opened, Opened::Fresh, "round {round}");
            catalog.add_packs(&packs).unwrap();
            assert_eq!(catalog.locate(&chunk(7)).unwrap().unwrap(), truth[7]);
        }
        fs::remove_file(&file).ok();
    }
    println!("replaced {replaced}, errors {errors}, gone {gone}");
    assert!(replaced > 10 && errors > 100, "the damage was felt");
}

/// This test binary again, running the helper below on a catalog.
fn writer(file: &Path, number: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "catalog::tests::helper_writes_for_ever",
        ])
        .env(PLACE, format!("{number} {}", file.display()))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "a helper process of the test below"]
fn helper_writes_for_ever() {
    let place = std::env::var(PLACE).unwrap();
    let (number, file) = place.split_once(' ').unwrap();
    let number: u32 = number.parse().unwrap();
    let (catalog, _) = Catalog::open(&CatalogPlace::File(file.into()), REPOSITORY).unwrap();
    for round in 0.. {
        let name: u32 = number * 100_000 + round;
        // Every object brings one pack of its own, and one that all writers bring.
        let packs = [
            pack(name, name * 20..name * 20 + 200),
            pack(SHARED + round, 0..200),
        ];
        catalog
            .add_index_object(&ObjectId::of(&name.to_be_bytes()), &packs)
            .unwrap();
        catalog
            .put_known(&[(&[3; 16], number, &name.to_le_bytes())])
            .unwrap();
        assert!(catalog.locate(&chunk(name * 20 + 7)).unwrap().is_some());
    }
}

#[test]
fn writers_share_a_catalog_and_may_be_killed() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("c.db");
    let mut survivors: Vec<_> = (0..3).map(|number| writer(&file, number)).collect();
    for round in 0..6_u32 {
        let mut victim = writer(&file, 10 + round);
        std::thread::sleep(Duration::from_millis(u64::from(150 + 41 * round)));
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    for survivor in &mut survivors {
        assert!(
            survivor.try_wait().unwrap().is_none(),
            "a writer was disturbed"
        );
        survivor.kill().unwrap();
        survivor.wait().unwrap();
    }
    let (catalog, opened) = Catalog::open(&CatalogPlace::File(file), REPOSITORY).unwrap();
    assert_eq!(opened, Opened::Existing);
    let mut objects = 0;
    for number in (0..3).chain(10..16) {
        for round in 0.. {
            let name: u32 = number * 100_000 + round;
            if !catalog
                .has_index_object(&ObjectId::of(&name.to_be_bytes()))
                .unwrap()
            {
                break;
            }
            objects += 1;
            let ids: Vec<_> = (name * 20..name * 20 + 200).map(chunk).collect();
            assert!(
                catalog
                    .locate_many(&ids)
                    .unwrap()
                    .iter()
                    .all(Option::is_some),
                "{name}"
            );
            assert!(catalog.has_pack(&pack(SHARED + round, 0..0).id).unwrap());
        }
    }
    assert_eq!(catalog.index_objects().unwrap().len(), objects);
    assert!(objects > 20, "{objects}");
}

#[test]
fn threads_share_a_catalog() {
    let place = tempfile::tempdir().unwrap();
    let place = CatalogPlace::File(place.path().join("c.db"));
    for place in [place, CatalogPlace::Memory] {
        let (catalog, _) = Catalog::open(&place, REPOSITORY).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let catalog = &catalog;
                scope.spawn(move || {
                    for round in 0..10 {
                        let name = thread * 10 + round;
                        catalog
                            .add_packs(&[pack(name, name * 50..(name + 1) * 50)])
                            .unwrap();
                        assert!(catalog.locate(&chunk(name * 50 + 9)).unwrap().is_some());
                        catalog.packs(|_| Ok(())).unwrap();
                    }
                });
            }
        });
        assert_eq!(catalog.chunk_count().unwrap(), 4000);
    }
}
