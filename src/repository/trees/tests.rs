//! Every name by name, position and number, in directories cut into shards of many sizes; and what disagrees.

use super::*;
use crate::error::Class;
use crate::repository::memory_blocks::MemoryBlocks;
use proptest::prelude::*;

fn file(name: &str) -> Node {
    Node::new(name.as_bytes().to_vec(), Body::Symlink(b"x".to_vec()))
}

fn directory(name: &str, tree: TreeRef) -> Node {
    Node::new(name.as_bytes().to_vec(), Body::Directory(tree))
}

fn numbered(count: usize) -> Vec<Node> {
    (0..count).map(|i| file(&format!("{i:05}"))).collect()
}

fn names(cursor: Cursor<'_>) -> Vec<String> {
    cursor
        .map(|found| String::from_utf8(found.unwrap().name.clone()).unwrap())
        .collect()
}

/// A small tree with a sharded directory in the middle, all its paths in walk order.
fn sample(store: &MemoryBlocks, leaf_names: usize) -> (Node, Vec<String>) {
    let inner = store.put_directory(numbered(23), leaf_names);
    let empty = store.put_directory(Vec::new(), leaf_names);
    let middle = vec![
        file("a"),
        directory("b", inner),
        directory("c", empty),
        file("d"),
    ];
    let top = vec![
        directory("m", store.put_directory(middle, leaf_names)),
        file("a"),
        file("z"),
    ];
    let root = directory("", store.put_directory(top, leaf_names));
    let mut paths: Vec<String> = ["a", "m", "m/a", "m/b"].map(str::to_owned).to_vec();
    paths.extend((0..23).map(|i| format!("m/b/{i:05}")));
    paths.extend(["m/c", "m/d", "z"].map(str::to_owned));
    (root, paths)
}

proptest! {
    #[test]
    fn every_name_is_found_by_name_position_and_number(count in 0_usize..200, leaf in 1_usize..40) {
        // Depth is bounded: leaves of one name are only tried with few of them.
        let leaf = leaf.max(count.div_ceil(16));
        let store = MemoryBlocks::new();
        let tree = store.put_directory(numbered(count), leaf);
        for at in 0..count {
            let name = format!("{at:05}");
            let found = lookup(&store, &tree, name.as_bytes()).unwrap().unwrap();
            prop_assert_eq!((found.position, found.entries_before), (at as u64, at as u64));
            let same = containing(&store, &tree, at as u64).unwrap().unwrap();
            prop_assert_eq!(&same.name, &found.name);
            let mut from = Cursor::from_position(&store, &tree, at as u64).unwrap();
            let first = from.next().unwrap().unwrap();
            prop_assert_eq!(&first.name, &found.name);
            prop_assert_eq!(first.position, at as u64);
            prop_assert_eq!(from.count(), count - at - 1);
            let between = format!("{at:05}x");
            let after = Cursor::from_name(&store, &tree, between.as_bytes()).unwrap();
            prop_assert_eq!(after.count(), count - at - 1);
            prop_assert!(lookup(&store, &tree, between.as_bytes()).unwrap().is_none());
        }
        prop_assert_eq!(names(Cursor::new(&store, &tree).unwrap()).len(), count);
        prop_assert!(containing(&store, &tree, count as u64).unwrap().is_none());
        prop_assert!(lookup(&store, &tree, b"").unwrap().is_none());
    }
}

#[test]
fn a_walk_is_depth_first_and_numbers_agree_with_it() {
    for leaf in [2, 5, 100] {
        let store = MemoryBlocks::new();
        let (root, paths) = sample(&store, leaf);
        let walked: Vec<(EntryPath, Node)> = Walk::new(&store, &root, EntryPath::root())
            .map(|item| item.unwrap())
            .collect();
        let found: Vec<String> = walked.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(found, paths);
        // Descending by entry number reaches the same entry as the walk did.
        for (number, (_, expected)) in walked.iter().enumerate() {
            let mut below = root.clone();
            let mut rest = number as u64;
            loop {
                let Body::Directory(tree) = below.body else {
                    panic!("number {number} is not reached");
                };
                let next = containing(&store, &tree, rest).unwrap().unwrap();
                rest -= next.entries_before;
                below = Node::clone(&next);
                if rest == 0 {
                    break;
                }
                rest -= 1;
            }
            assert_eq!(&below, expected, "{number}");
        }
    }
}

#[test]
fn paths_are_found() {
    let store = MemoryBlocks::new();
    let (root, _) = sample(&store, 4);
    let find =
        |path: &str| find_path(&store, &root, &EntryPath::parse(path.as_bytes()).unwrap()).unwrap();
    assert_eq!(find("").unwrap(), root);
    assert_eq!(find("m/b/00011").unwrap().name, b"00011");
    assert!(find("m/b/nothing").is_none());
    assert!(find("a/b").is_none());
}

#[test]
fn skipping_leaves_out_what_is_below() {
    let store = MemoryBlocks::new();
    let (root, _) = sample(&store, 4);
    let mut walk = Walk::new(&store, &root, EntryPath::root());
    let mut seen = Vec::new();
    while let Some(item) = walk.next() {
        let (path, _) = item.unwrap();
        if path.to_string() == "m/b" {
            walk.skip_below();
        }
        seen.push(path.to_string());
    }
    assert_eq!(seen, ["a", "m", "m/a", "m/b", "m/c", "m/d", "z"]);
}

#[test]
fn a_lookup_in_a_large_directory_reads_one_shard_per_level() {
    let store = MemoryBlocks::new();
    let tree = store.put_directory(numbered(10_000), 100);
    lookup(&store, &tree, b"05005").unwrap().unwrap();
    assert_eq!(store.reads(), 2);
}

#[test]
fn sums_and_first_names_must_agree() {
    let store = MemoryBlocks::new();
    let good = store.put_directory(numbered(3), 10);
    for wrong in [
        TreeRef { names: 2, ..good },
        TreeRef { total: 4, ..good },
        TreeRef { bytes: 1, ..good },
        TreeRef {
            directories: 1,
            ..good
        },
    ] {
        let error = lookup(&store, &wrong, b"00000").unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{wrong:?}");
    }
    let (_, index) = store.put_index(&[(b"0".to_vec(), good)]);
    let error = lookup(&store, &index, b"00000").unwrap_err();
    assert!(error.to_string().contains("first name"), "{error}");
    // Two leaves with the same names: the second does not continue the first.
    let late = store.put_directory(vec![file("00001"), file("00009")], 10);
    let (_, overlap) = store.put_index(&[(b"00000".to_vec(), good), (b"00001".to_vec(), late)]);
    let last = Cursor::new(&store, &overlap).unwrap().last().unwrap();
    assert_eq!(last.unwrap_err().class(), Class::Corrupt);
}

#[test]
fn a_walk_goes_on_beside_what_is_damaged() {
    let store = MemoryBlocks::new();
    let good = store.put_directory(numbered(1), 10);
    let missing = TreeRef {
        id: ChunkId::new([9; 32]),
        ..good
    };
    let root = vec![directory("a", missing), directory("b", good)];
    let root = directory("", store.put_directory(root, 10));
    let seen: Vec<String> = Walk::new(&store, &root, EntryPath::root())
        .map(|item| match item {
            Ok((path, _)) => path.to_string(),
            Err((path, _)) => format!("damaged {path}"),
        })
        .collect();
    assert_eq!(seen, ["a", "damaged a", "b", "b/00000"]);
}
