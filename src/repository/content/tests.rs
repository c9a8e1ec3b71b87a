//! Every range of mixed contents, and every way in which items and chunks can disagree.

use super::*;
use crate::error::Class;
use crate::repository::block_cache::CachedOnly;
use crate::repository::memory_blocks::MemoryBlocks;
use proptest::prelude::*;

/// A content of data, holes, zeros and nested lists, and the bytes that it stands for.
fn mixed(store: &MemoryBlocks) -> (Vec<Item>, Vec<u8>) {
    let mut inner = store.put_content(&[1; 1000], 300);
    inner.push(Item::Hole(500));
    inner.extend(store.put_content(&[2; 700], 256));
    let middle = vec![store.put_list(&inner), Item::Zeros(10)];
    let mut items = store.put_content(&[3; 50], 50);
    items.push(store.put_list(&middle));
    items.push(Item::Hole(90));
    items.extend(store.put_content(&[4; 5], 5));
    let mut bytes = vec![3; 50];
    bytes.extend([1; 1000]);
    bytes.extend([0; 500]);
    bytes.extend([2; 700]);
    bytes.extend([0; 100]);
    bytes.extend([4; 5]);
    (items, bytes)
}

proptest! {
    #[test]
    fn any_range_reads_as_the_bytes(offset in 0_u64..2500, len in 0_usize..2500) {
        let store = MemoryBlocks::new();
        let (items, bytes) = mixed(&store);
        let content = Content::new(&items);
        prop_assert_eq!(content.len(), bytes.len() as u64);
        let mut out = vec![9; len];
        let got = content.read_at(&store, offset, &mut out).unwrap();
        let start = bytes.len().min(usize::try_from(offset).unwrap());
        let expected = &bytes[start..bytes.len().min(start + len)];
        prop_assert_eq!(&out[..got], expected);
    }
}

#[test]
fn extents_cover_the_file_without_gaps() {
    let store = MemoryBlocks::new();
    let (items, bytes) = mixed(&store);
    let content = Content::new(&items);
    let mut end = 0;
    for extent in content.extents(&store, 0) {
        let extent = extent.unwrap();
        assert_eq!(extent.start, end);
        end = extent.end();
    }
    assert_eq!(end, bytes.len() as u64);
    assert_eq!(content.extents(&store, end).count(), 0);
    let at = content.extent_at(&store, 1100).unwrap().unwrap();
    assert_eq!((at.start, at.item), (1050, Item::Hole(500)));
}

#[test]
fn holes_and_data_are_found() {
    let store = MemoryBlocks::new();
    let (items, bytes) = mixed(&store);
    let content = Content::new(&items);
    assert_eq!(content.next_hole(&store, 0).unwrap(), 1050);
    assert_eq!(content.next_data(&store, 1050).unwrap(), Some(1550));
    assert_eq!(content.next_data(&store, 1600).unwrap(), Some(1600));
    assert_eq!(content.next_hole(&store, 1600).unwrap(), 2250);
    assert_eq!(content.next_hole(&store, 2351).unwrap(), bytes.len() as u64);
    let all_hole = Content::new(&[Item::Hole(10)]);
    assert_eq!(all_hole.next_data(&store, 0).unwrap(), None);
}

#[test]
fn a_far_seek_reads_one_list_and_one_chunk() {
    let store = MemoryBlocks::new();
    let lists: Vec<Item> = (0_u8..50)
        .map(|i| store.put_list(&store.put_content(&[i; 1000], 100)))
        .collect();
    let content = Content::new(&lists);
    let mut out = [0; 10];
    content.read_at(&store, 42_550, &mut out).unwrap();
    assert_eq!(out, [42; 10]);
    assert_eq!(store.reads(), 2);
}

#[test]
fn what_does_not_agree_is_refused() {
    let store = MemoryBlocks::new();
    let id = store.put(b"12345");
    let wrong = Content::new(&[Item::Data { id, len: 6 }]);
    let error = wrong.read_at(&store, 0, &mut [0; 6]).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    let Item::List { id, .. } = store.put_list(&[Item::Hole(7)]) else {
        panic!("not a list");
    };
    let wrong = Content::new(&[Item::List {
        id,
        len: 8,
        data_bytes: 0,
    }]);
    let error = wrong.read_at(&store, 0, &mut [0; 6]).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
}

#[test]
fn from_memory_only_what_is_there() {
    let store = MemoryBlocks::new();
    let content = Content::new(&store.put_content(b"abc", 10));
    let only = CachedOnly(&store);
    let error = content.read_at(&only, 0, &mut [0; 3]).unwrap_err();
    assert_eq!(error.class(), Class::Busy);
    content.read_at(&store, 0, &mut [0; 3]).unwrap();
    let mut out = [0; 3];
    content.read_at(&only, 0, &mut out).unwrap();
    assert_eq!(&out, b"abc");
}
