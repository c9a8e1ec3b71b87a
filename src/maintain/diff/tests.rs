//! Differences of trees in a store in memory.

use super::*;
use crate::progress::Silent;
use crate::repository::memory_blocks::MemoryBlocks;
use crate::restore::fixture::{data, directory, file, node, noise};

fn told(store: &MemoryBlocks, from: &Node, to: &Node) -> Vec<String> {
    let mut told = Vec::new();
    diff(store, from, to, &Silent, &mut |found| {
        assert_eq!(found.from.is_none(), found.change == Change::Added);
        assert_eq!(found.to.is_none(), found.change == Change::Removed);
        told.push(format!("{} {}", found.change.letter(), found.path));
        Ok(())
    })
    .unwrap();
    told
}

#[test]
fn every_kind_of_change_is_told_in_order() {
    let store = MemoryBlocks::new();
    let (a, b) = (store.put(b"aaaa"), store.put(b"bbbb"));
    let one = |name: &str, id| file(name, vec![data(id, 4)]);
    let mut touched = one("touched", a);
    touched.meta.mode = 0o600;
    let link = |to: &str| node("link", Body::Symlink(to.into()), 0o777);
    let same = || directory(&store, "same", vec![one("x", a)]);
    let from = directory(
        &store,
        "",
        vec![
            directory(&store, "gone", vec![one("in", a)]),
            one("kept", a),
            link("here"),
            directory(&store, "now-a-file", vec![one("in", a)]),
            same(),
            directory(&store, "sub", vec![one("changed", a), one("kept", b)]),
            one("touched", a),
        ],
    );
    let to = directory(
        &store,
        "",
        vec![
            one("kept", a),
            link("there"),
            directory(
                &store,
                "new",
                vec![directory(&store, "deep", vec![one("f", b)])],
            ),
            one("now-a-file", a),
            same(),
            directory(
                &store,
                "sub",
                vec![one("changed", b), one("kept", b), one("new", a)],
            ),
            touched,
        ],
    );
    assert_eq!(
        told(&store, &from, &to),
        [
            "- gone",
            "- gone/in",
            "M link",
            "+ new",
            "+ new/deep",
            "+ new/deep/f",
            "T now-a-file",
            "- now-a-file/in",
            "M sub/changed",
            "+ sub/new",
            "m touched",
        ]
    );
    assert_eq!(told(&store, &from, &from), Vec::<String>::new());
    let back = told(&store, &to, &from);
    assert_eq!(back.len(), 11);
    assert!(back.contains(&"+ now-a-file/in".to_owned()), "{back:?}");
}

#[test]
fn holes_and_zeros_read_the_same() {
    let store = MemoryBlocks::new();
    let id = store.put(b"abcd");
    let with = |items| directory(&store, "", vec![file("f", items)]);
    let from = with(vec![Item::Hole(10), Item::Zeros(5), data(id, 4)]);
    let to = with(vec![Item::Zeros(15), data(id, 4)]);
    assert_eq!(told(&store, &from, &to), Vec::<String>::new());
    let longer = with(vec![Item::Zeros(16), data(id, 4)]);
    assert_eq!(told(&store, &from, &longer), ["M f"]);
}

/// One file came from a directory, the other from a disk: it was cut at other places.
#[test]
fn contents_that_were_cut_apart_are_compared_by_their_bytes() {
    let store = MemoryBlocks::new();
    let with = |parts: &[&[u8]]| {
        let items = parts.iter().map(|part| data(store.put(part), part.len()));
        directory(&store, "", vec![file("f", items.collect())])
    };
    let (whole, apart) = (with(&[b"abcd\0\0"]), with(&[b"a", b"bcd\0", b"\0"]));
    assert_eq!(told(&store, &whole, &apart), Vec::<String>::new());
    assert_eq!(told(&store, &with(&[b"abXd\0\0"]), &apart), ["M f"]);
    let holed = directory(
        &store,
        "",
        vec![file("f", vec![data(store.put(b"abcd"), 4), Item::Hole(2)])],
    );
    assert_eq!(told(&store, &whole, &holed), Vec::<String>::new());
    let other = directory(
        &store,
        "",
        vec![file("f", vec![data(store.put(b"abc"), 3), Item::Hole(3)])],
    );
    assert_eq!(told(&store, &whole, &other), ["M f"]);
}

#[test]
fn equal_trees_are_not_read() {
    let store = MemoryBlocks::new();
    let big = (0..500_u64).map(|n| file(&format!("{n}"), store.put_content(&noise(n, 9), 9)));
    let big = directory(&store, "big", big.collect());
    let from = directory(&store, "", vec![big.clone(), file("a", vec![])]);
    let to = directory(&store, "", vec![big, file("a", vec![Item::Hole(1)])]);
    assert_eq!(told(&store, &from, &to), ["M a"]);
    assert_eq!(store.reads(), 2, "the two roots");
}
