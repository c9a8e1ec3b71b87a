//! The catalog as a whole: what goes in comes out, whatever is there before and whoever else writes.

use super::*;
use crate::format::header::{Codec, HEADER_BYTES, ObjectKind};
use crate::format::index::PackRecord;
use crate::format::pack::{BlockEntry, ChunkEntry, Directory};
use crate::id::{ChunkId, ObjectId, RepositoryId};

const REPOSITORY: RepositoryId = RepositoryId::new([7; 16]);

/// A chunk id that looks random.
fn chunk(number: u32) -> ChunkId {
    ChunkId::new(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// A pack named `name` that holds `chunks` in blocks of ten.
fn pack(name: u32, chunks: std::ops::Range<u32>) -> PackRecord {
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
        stored_bytes: 10_000 + u64::from(name),
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
