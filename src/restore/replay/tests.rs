//! Recipes made by hand, given back from a store in memory.

use super::*;
use crate::format::content::Item;
use crate::format::recipe::{Operation, Override};
use crate::progress::Silent;
use crate::repository::memory_blocks::MemoryBlocks;
use crate::restore::fixture::{data, directory, file, noise, snapshot};

fn streaming(store: &MemoryBlocks) -> Streaming<'_> {
    Streaming {
        blocks: store,
        threads: NonZeroUsize::new(2).unwrap(),
        monitor: &Silent,
    }
}

fn digest(bytes: &[u8]) -> StreamDigest {
    StreamDigest {
        bytes: bytes.len() as u64,
        blake3: *blake3::hash(bytes).as_bytes(),
    }
}

/// An archive of a file that comes twice, one with holes and zeros, and one in a directory, cut into tiny chunks.
fn archive(store: &MemoryBlocks) -> (Snapshot, Vec<u8>) {
    let (old, new, deep) = (noise(1, 3000), noise(2, 4000), noise(3, 50_000));
    let id = store.put(&new);
    let mut sparse = store.put_content(&noise(4, 100), 40);
    sparse.insert(1, Item::Hole(1 << 30));
    sparse.insert(2, Item::Zeros(3 << 20));
    let nodes = vec![
        file("twice", vec![data(id, new.len())]),
        file("sparse", sparse),
        directory(
            store,
            "d",
            vec![file("deep", store.put_content(&deep, 1000))],
        ),
    ];
    let mut snapshot = snapshot(store, nodes);
    let mut operations = Vec::new();
    let mut expected = Vec::new();
    let literal = |operations: &mut Vec<u8>, expected: &mut Vec<u8>, len| {
        let bytes = noise(99, len);
        Operation::Literal(&bytes).encode(operations);
        expected.extend_from_slice(&bytes);
    };
    literal(&mut operations, &mut expected, 512);
    Operation::Content(b"twice").encode(&mut operations);
    expected.extend_from_slice(&old);
    literal(&mut operations, &mut expected, 60_000);
    Operation::Content(b"sparse").encode(&mut operations);
    expected.extend_from_slice(&noise(4, 100)[..40]);
    expected.resize(expected.len() + (3 << 20), 0);
    expected.extend_from_slice(&noise(4, 100)[40..]);
    Operation::Content(b"d/deep").encode(&mut operations);
    expected.extend_from_slice(&deep);
    Operation::Content(b"twice").encode(&mut operations);
    expected.extend_from_slice(&new);
    literal(&mut operations, &mut expected, 1024);
    let mut overrides = Vec::new();
    let content = store.put_content(&old, 700);
    Override {
        ordinal: 0,
        content,
    }
    .encode(&mut overrides);
    snapshot.recipe = store.put_content(&operations, 37);
    snapshot.overrides = store.put_content(&overrides, 11);
    snapshot.stream = Some(digest(&expected));
    snapshot.kind = StreamKind::Tar;
    (snapshot, expected)
}

#[test]
fn an_archive_comes_out_byte_for_byte() {
    let store = MemoryBlocks::new();
    let (snapshot, expected) = archive(&store);
    let mut out = Vec::new();
    let given = streaming(&store).archive(&snapshot, &mut out).unwrap();
    assert!(out == expected);
    assert_eq!(given, digest(&expected));
    let mut again = Vec::new();
    streaming(&store).original(&snapshot, &mut again).unwrap();
    assert!(again == expected);
}

#[test]
fn what_cannot_be_right_is_an_error() {
    let store = MemoryBlocks::new();
    let (good, _) = archive(&store);
    let fails = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = good.clone();
        change(&mut snapshot);
        let error = streaming(&store).archive(&snapshot, &mut Vec::new());
        error.unwrap_err()
    };
    let wrong = fails(&|s| s.stream = Some(digest(b"other")));
    assert_eq!(wrong.class(), Class::Corrupt);
    assert!(wrong.to_string().contains("not what went in"), "{wrong}");
    assert_eq!(fails(&|s| s.stream = None).class(), Class::Corrupt);
    assert_eq!(fails(&|s| s.recipe.clear()).class(), Class::Unsupported);
    // The last chunk of the recipe is a part of a literal; half an operation is no end.
    let cut = fails(&|s| s.recipe.truncate(s.recipe.len() - 1));
    assert!(cut.to_string().contains("ends within"), "{cut}");
    assert_eq!(fails(&|s| s.overrides.clear()).class(), Class::Corrupt);
    let gone = fails(&|s| s.root = directory(&store, "", vec![]));
    assert!(gone.to_string().contains("does not have"), "{gone}");

    let store = MemoryBlocks::new();
    let (good, expected) = archive(&store);
    let damaged = noise(3, 50_000)[..1000].to_vec();
    store.damage(&crate::id::ChunkId::new(*blake3::hash(&damaged).as_bytes()));
    let mut out = Vec::new();
    let error = streaming(&store).archive(&good, &mut out).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    assert!(expected.starts_with(&out), "nothing wrong came out");
}

#[test]
fn the_original_is_given_or_the_way_to_it_is_named() {
    let store = MemoryBlocks::new();
    let bytes = noise(7, 30_000);
    let mut items = store.put_content(&bytes, 5000);
    items.push(Item::Hole(100_000));
    let mut stream = bytes.clone();
    stream.resize(130_000, 0);
    let mut disk = snapshot(&store, vec![file("image", items)]);
    disk.kind = StreamKind::Disk;
    let original = |snapshot: &Snapshot| {
        let mut out = Vec::new();
        let digest = streaming(&store).original(snapshot, &mut out)?;
        Ok::<_, Error>((out, digest))
    };
    let (out, given) = original(&disk).unwrap();
    assert!(out == stream);
    assert_eq!(given, digest(&stream));
    disk.stream = Some(digest(&bytes));
    assert_eq!(original(&disk).unwrap_err().class(), Class::Corrupt);

    let mut wrapped = disk.clone();
    wrapped.wrapping = Wrapping::Gzip;
    let error = original(&wrapped).unwrap_err();
    assert!(error.to_string().contains("--exact"), "{error}");
    wrapped.original = store.put_content(b"as it came", 3);
    wrapped.wrapped = Some(digest(b"as it came"));
    assert_eq!(original(&wrapped).unwrap().0, b"as it came");

    let dir = snapshot(&store, vec![]);
    assert_eq!(original(&dir).unwrap_err().class(), Class::Unsupported);
}

#[test]
fn holes_are_told_to_whoever_wants_them() {
    let store = MemoryBlocks::new();
    let node = file(
        "f",
        vec![
            Item::Hole(5),
            data(store.put(b"abc"), 3),
            Item::Zeros(2),
            Item::Hole(9),
            Item::Zeros(1 << 40),
        ],
    );
    let mut told = Vec::new();
    let mut take = |stretch: Stretch<'_>| {
        told.push(format!("{stretch:?}"));
        Ok(())
    };
    streaming(&store).stretches(&node, &mut take).unwrap();
    let zeros = format!("Zeros({})", 1_u64 << 40);
    assert_eq!(
        told,
        ["Hole(5)", "Bytes([97, 98, 99, 0, 0])", "Hole(9)", &zeros]
    );
}
