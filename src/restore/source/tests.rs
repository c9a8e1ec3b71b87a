//! Snapshots in a store in memory as sources.

use super::*;
use crate::entry::{Checked, MemorySink, Piece};
use crate::progress::Silent;
use crate::repository::memory_blocks::MemoryBlocks;
use crate::restore::fixture::{data, file, noise, sample, select, snapshot};

fn stream(store: &MemoryBlocks, selections: &[Selection], filter: Filter) -> Result<MemorySink> {
    let threads = NonZeroUsize::new(3).unwrap();
    let source = SnapshotSource::new(store, selections, filter, threads, Arc::new(Silent))?;
    // Nothing of it has a name there.
    let mut source = source.with_scratch(Some(std::env::temp_dir()));
    let mut sink = Checked::new(MemorySink::default(), Order::Walk);
    source.stream(&mut sink)?;
    sink.finish()
}

fn all() -> Filter {
    Filter::new(&[], &[]).unwrap()
}

#[test]
fn everything_comes_in_the_order_of_a_walk() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let sink = stream(&store, &[select(&snapshot, "")], all()).unwrap();
    let listed: Vec<_> = sink
        .entries
        .iter()
        .map(|e| format!("{} {}", e.entry.kind.name(), e.entry.path))
        .collect();
    assert_eq!(
        listed,
        [
            "directory ",
            "directory empty",
            "file first",
            "file hole",
            "symlink link",
            "file nothing",
            "fifo pipe",
            "file private",
            "socket socket",
            "directory sub",
            "directory sub/locked",
            "file sub/locked/in",
            "file sub/long",
            "hard-link sub/second",
        ]
    );
    assert_eq!(sink.get(b"first").unwrap().bytes(), noise(2, 5000));
    let long = sink.get(b"sub/long").unwrap();
    let (head, tail) = (16384, 70_000 - 16384 + 5000);
    let extents = [(0, head), (head + (1 << 20), tail)].map(|(offset, len)| Extent { offset, len });
    assert_eq!(long.entry.extents.as_deref(), Some(extents.as_slice()));
    assert_eq!(long.content.len(), 3);
    assert_eq!(long.content[1], Piece::Hole(1 << 20));
    assert_eq!(long.entry.size, long.bytes().len() as u64);
    let hole = sink.get(b"hole").unwrap();
    assert_eq!(
        (hole.entry.extents.as_deref(), hole.content.len()),
        (Some([].as_slice()), 1)
    );
    assert_eq!(sink.get(b"private").unwrap().entry.meta.mode, 0o4700);
    assert_eq!(sink.get(b"private").unwrap().entry.extents, None);
    // One block of two small files, nine of the long one and its list, seven shards less the empty one.
    assert_eq!(store.reads(), 1 + 9 + 1 + (3 + 1 + 2));
}

#[test]
fn selections_have_their_own_names_and_patterns_choose() {
    let store = MemoryBlocks::new();
    let snapshot = sample(&store);
    let filter = Filter::new(&[], &["long".into()]).unwrap();
    let sink = stream(
        &store,
        &[select(&snapshot, "sub"), select(&snapshot, "first")],
        filter,
    );
    let sink = sink.unwrap();
    let paths: Vec<_> = sink
        .entries
        .iter()
        .map(|e| e.entry.path.to_string())
        .collect();
    assert_eq!(
        paths,
        ["first", "sub", "sub/locked", "sub/locked/in", "sub/second"]
    );
    assert_eq!(
        sink.entries[4].entry.kind,
        Kind::HardLink(sink.entries[0].entry.path.clone())
    );
}

#[test]
fn many_batches_keep_their_order() {
    let store = MemoryBlocks::new();
    let files = (0..3000_u64)
        .map(|n| {
            let bytes = noise(n, 700);
            file(&format!("{n:05}"), store.put_content(&bytes, 300))
        })
        .collect();
    let snapshot = snapshot(&store, files);
    let sink = stream(&store, &[select(&snapshot, "")], all()).unwrap();
    assert_eq!(sink.entries.len(), 3001);
    for (n, entry) in sink.entries.iter().skip(1).enumerate() {
        assert_eq!(entry.bytes(), noise(n as u64, 700), "{n}");
    }
}

#[test]
fn damage_is_an_error_that_names_the_path() {
    let store = MemoryBlocks::new();
    let ids = store.put_together(&[b"good", b"evil"]);
    store.damage(&ids[1]);
    let files = vec![
        file("a", vec![data(ids[0], 4)]),
        file("b", vec![data(ids[1], 4)]),
    ];
    let snapshot = snapshot(&store, files);
    let error = stream(&store, &[select(&snapshot, "")], all()).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    assert!(error.to_string().starts_with("'b': "), "{error}");
    assert!(stream(&store, &[select(&snapshot, "a")], all()).is_ok());
}
