//! The file system over a store in memory: numbers, listings, reads, snapshots that come and go.

use super::*;
use crate::entry::Time;
use crate::format::content::Item;
use crate::format::tree::TreeRef;
use crate::id::{ChunkId, SnapshotId};
use crate::repository::address::{BlockAddress, Location};
use crate::repository::block_cache::BlockCache;
use crate::repository::memory_blocks::MemoryBlocks;
use std::collections::HashMap;
use std::sync::Mutex;

struct FakeStore {
    blocks: MemoryBlocks,
    listed: Mutex<Vec<Listed>>,
    announced: Mutex<Vec<SnapshotId>>,
}

impl Blocks for FakeStore {
    fn locate(&self, id: &ChunkId) -> Result<Location> {
        self.blocks.locate(id)
    }
    fn read_block(&self, block: &BlockAddress, up_to: usize) -> Result<Vec<u8>> {
        self.blocks.read_block(block, up_to)
    }
    fn verify_chunk(&self, id: &ChunkId, bytes: &[u8]) -> Result<()> {
        self.blocks.verify_chunk(id, bytes)
    }
    fn cache(&self) -> &BlockCache {
        self.blocks.cache()
    }
}

impl Store for FakeStore {
    fn announce(&self, snapshots: &[Listed]) -> Result<Announced> {
        *self.announced.lock().unwrap() = snapshots.iter().map(|listed| listed.id).collect();
        Ok(Box::new(()))
    }
    fn snapshots(&self) -> Result<Vec<Listed>> {
        Ok(self.listed.lock().unwrap().clone())
    }
    fn lacks_some(&self) -> bool {
        false
    }
    fn refresh(&self) -> Result<()> {
        Ok(())
    }
}

fn store() -> Arc<FakeStore> {
    Arc::new(FakeStore {
        blocks: MemoryBlocks::new(),
        listed: Mutex::default(),
        announced: Mutex::default(),
    })
}

fn node(name: &str, body: Body) -> Node {
    Node::new(name.as_bytes().to_vec(), body)
}

fn file(blocks: &MemoryBlocks, name: &str, bytes: &[u8]) -> Node {
    let body = Body::File {
        size: bytes.len() as u64,
        content: blocks.put_content(bytes, 1000),
    };
    node(name, body)
}

fn attribute() -> Xattr {
    Xattr {
        name: b"user.a".to_vec(),
        value: b"b".to_vec(),
    }
}

fn linked(blocks: &MemoryBlocks, name: &str, group: u64) -> Node {
    let mut node = file(blocks, name, b"linked");
    (node.link_group, node.links) = (group, 2);
    node
}

/// A tree with a directory of many names, hard links in two directories, and one of each special kind.
fn sample(blocks: &MemoryBlocks) -> Node {
    let many = (0..50)
        .map(|i| file(blocks, &format!("{i:03}"), &[i; 10]))
        .collect();
    let many: TreeRef = blocks.put_directory(many, 8);
    let inner = vec![
        linked(blocks, "one", 9),
        node("deep", Body::Directory(many)),
    ];
    let inner = blocks.put_directory(inner, 8);
    let sparse = vec![
        Item::Hole(8192),
        blocks.put_content(&[7; 600], 1000)[0],
        Item::Zeros(100),
    ];
    let top = vec![
        node("dir", Body::Directory(inner)),
        linked(blocks, "two", 9),
        node("link", Body::Symlink(b"dir/one".to_vec())),
        node("tty", Body::CharDevice(5, 1)),
        node(
            "sparse",
            Body::File {
                size: 8892,
                content: sparse,
            },
        ),
    ];
    node("", Body::Directory(blocks.put_directory(top, 8)))
}

fn names(vfs: &Vfs, inode: u64) -> Vec<(String, Attr)> {
    let mut names = Vec::new();
    vfs.read_dir(inode, 0, Wait::Yes, &mut |entry| {
        names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.attr));
        true
    })
    .unwrap();
    names
}

/// Everything below an inode, by path.
fn walk(vfs: &Vfs, inode: u64, at: &str, found: &mut HashMap<String, Attr>) {
    for (name, attr) in names(vfs, inode) {
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{at}/{name}");
        if attr.file_type() == attr::DIRECTORY {
            walk(vfs, attr.inode, &path, found);
        }
        found.insert(path, attr);
    }
}

fn path(vfs: &Vfs, path: &str) -> Attr {
    let mut inode = 1;
    for name in path.split('/') {
        let found = vfs.lookup(inode, name.as_bytes(), Wait::Yes).unwrap();
        inode = found.unwrap_or_else(|| panic!("{name} in {path}")).inode;
    }
    vfs.attr(inode, Wait::Yes).unwrap()
}

fn listed(id: u8, name: &str, seconds: i64, root: &Node) -> Listed {
    Listed {
        id: SnapshotId::new([id; 32]),
        name: name.to_owned(),
        time: Time::new(seconds, 0),
        tags: vec![("env".into(), "a/b".into())],
        root: root.clone(),
    }
}

#[test]
fn listings_lookups_and_numbers_agree() {
    let store = store();
    let root = sample(&store.blocks);
    let vfs = Vfs::one(store, root, None).unwrap();
    let mut found = HashMap::new();
    walk(&vfs, 1, "", &mut found);
    assert_eq!(found.len(), 57);
    let mut inodes = HashMap::new();
    for (path_of, attr) in &found {
        assert_eq!(path(&vfs, &path_of[1..]), *attr, "{path_of}");
        inodes
            .entry(attr.inode)
            .or_insert_with(Vec::new)
            .push(path_of.clone());
    }
    let mut shared: Vec<_> = inodes
        .into_values()
        .filter(|paths| paths.len() > 1)
        .collect();
    shared[0].sort();
    assert_eq!(shared, [["/dir/one", "/two"]]);
    assert_eq!(found["/two"].links, 2);
    assert_eq!(found["/dir"].links, 3);
    assert_eq!(found["/tty"].device, (5, 1));
    assert_eq!((found["/sparse"].size, found["/sparse"].blocks), (8892, 2));
    let dots = names(&vfs, found["/dir/deep"].inode);
    assert_eq!(
        (dots[0].0.as_str(), dots[0].1.inode),
        (".", found["/dir/deep"].inode)
    );
    assert_eq!(
        (dots[1].0.as_str(), dots[1].1.inode),
        ("..", found["/dir"].inode)
    );
}

#[test]
fn a_listing_goes_on_where_it_stopped() {
    let store = store();
    let root = sample(&store.blocks);
    let vfs = Vfs::one(store, root, None).unwrap();
    let inode = path(&vfs, "dir/deep").inode;
    let all: Vec<String> = names(&vfs, inode)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let (mut offset, mut pieces) = (0, Vec::new());
    loop {
        let mut count = 0;
        let before = pieces.len();
        vfs.read_dir(inode, offset, Wait::Yes, &mut |entry| {
            count += 1;
            if count > 7 {
                return false;
            }
            pieces.push(String::from_utf8(entry.name.to_vec()).unwrap());
            offset = entry.next;
            true
        })
        .unwrap();
        if pieces.len() == before {
            break;
        }
    }
    assert_eq!(pieces, all);
}

#[test]
fn files_links_and_holes_read_as_they_are() {
    let store = store();
    let root = sample(&store.blocks);
    let vfs = Vfs::one(store, root, None).unwrap();
    let link = path(&vfs, "link").inode;
    assert_eq!(vfs.read_link(link, Wait::Yes).unwrap(), b"dir/one");
    let sparse = path(&vfs, "sparse").inode;
    let bytes = vfs.read(sparse, 8190, 5, Wait::Yes).unwrap();
    assert_eq!(&*bytes, [0, 0, 7, 7, 7]);
    assert_eq!(vfs.read(sparse, 8800, 1000, Wait::Yes).unwrap().len(), 92);
    assert_eq!(vfs.read(sparse, 9000, 10, Wait::Yes).unwrap().len(), 0);
    assert_eq!(vfs.next_data(sparse, 0, Wait::Yes).unwrap(), Some(8192));
    assert_eq!(vfs.next_hole(sparse, 8200, Wait::Yes).unwrap(), Some(8792));
    assert_eq!(vfs.next_data(sparse, 8800, Wait::Yes).unwrap(), None);
    assert_eq!(vfs.next_hole(sparse, 9000, Wait::Yes).unwrap(), None);
    let deep = path(&vfs, "dir/deep").inode;
    assert!(vfs.read(deep, 0, 1, Wait::Yes).is_err());
    assert!(vfs.lookup(sparse, b"x", Wait::Yes).is_err());
    assert!(vfs.attr(5000, Wait::Yes).is_err());
}

#[test]
fn without_waiting_it_answers_from_memory_or_not_at_all() {
    let store = store();
    let mut root = sample(&store.blocks);
    // With an attribute at the root nobody goes through the trees in the background.
    root.meta.xattrs = vec![attribute()];
    let vfs = Vfs::one(store.clone(), root, None).unwrap();
    let busy = vfs.lookup(1, b"two", Wait::No).unwrap_err();
    assert_eq!(busy.class(), Class::Busy);
    let two = vfs.lookup(1, b"two", Wait::Yes).unwrap().unwrap();
    let reads = store.blocks.reads();
    assert_eq!(vfs.lookup(1, b"two", Wait::No).unwrap(), Some(two));
    assert!(vfs.read(two.inode, 0, 10, Wait::No).is_err());
    assert_eq!(store.blocks.reads(), reads);
    vfs.read(two.inode, 0, 10, Wait::Yes).unwrap();
    assert_eq!(&*vfs.read(two.inode, 0, 10, Wait::No).unwrap(), b"linked");
    store.blocks.take_disk_away();
    let deep = vfs.lookup(1, b"dir", Wait::Yes).unwrap().unwrap().inode;
    let error = vfs.read_dir(deep, 0, Wait::Yes, &mut |_| true).unwrap_err();
    assert_eq!(error.class(), Class::Io);
}

#[test]
fn the_owner_is_replaced_everywhere() {
    let store = store();
    let root = sample(&store.blocks);
    let owner = Some(Owner { uid: 7, gid: 8 });
    *store.listed.lock().unwrap() = vec![listed(1, "web", 0, &root)];
    let vfs = Vfs::all(store, owner).unwrap();
    for at in ["latest", "by-id", "by-name/web/1970-01-01T00-00-00Z/two"] {
        let attr = path(&vfs, at);
        assert_eq!((attr.uid, attr.gid), (7, 8), "{at}");
    }
}

#[test]
fn all_snapshots_by_id_name_and_tag() {
    let store = store();
    let root = sample(&store.blocks);
    let first = vec![listed(1, "web", 0, &root), listed(2, "web", 0, &root)];
    store.listed.lock().unwrap().clone_from(&first);
    let vfs = Vfs::all(store.clone(), None).unwrap();
    assert_eq!(store.announced.lock().unwrap().len(), 2);
    let top: Vec<String> = names(&vfs, 1).into_iter().map(|(name, _)| name).collect();
    assert_eq!(top, [".", "..", "by-id", "by-name", "by-tag", "latest"]);
    let web: Vec<String> = names(&vfs, path(&vfs, "by-name/web").inode)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let time = "1970-01-01T00-00-00Z";
    assert_eq!(web, [".", "..", time, &format!("{time}-2"), "latest"]);
    let target = |at| vfs.read_link(path(&vfs, at).inode, Wait::Yes).unwrap();
    assert_eq!(target("latest"), b"by-id/0202020202020202");
    assert_eq!(target("by-name/web/latest"), format!("{time}-2").as_bytes());
    let tagged = target("by-tag/env=a%2fb/web-1970-01-01T00-00-00Z");
    assert_eq!(tagged, b"../../by-id/0101010101010101");
    // Any beginning of an id leads to it, if it is the only one.
    assert_eq!(target("by-id/0101"), b"0101010101010101");
    assert_eq!(
        target(&format!("by-id/{}", "02".repeat(32))),
        b"0202020202020202"
    );
    let by_id = path(&vfs, "by-id").inode;
    for unknown in ["01", "03030303", "0101x", "by-id"] {
        assert_eq!(
            vfs.lookup(by_id, unknown.as_bytes(), Wait::Yes).unwrap(),
            None,
            "{unknown}"
        );
    }
    // The same entry has its own number behind every door, and the root's parent is where it was entered.
    let by_id = path(&vfs, "by-id/0101010101010101/dir/one");
    let by_name = path(&vfs, &format!("by-name/web/{time}/dir/one"));
    assert_ne!(by_id.inode, by_name.inode);
    assert_eq!(by_id.size, by_name.size);
    let inside = path(&vfs, &format!("by-name/web/{time}"));
    assert_eq!(
        names(&vfs, inside.inode)[1].1.inode,
        path(&vfs, "by-name/web").inode
    );
    assert!(vfs.is_fixed_inode(inside.inode) && !vfs.is_fixed_inode(1));
}

#[test]
fn new_snapshots_appear_and_old_numbers_stay() {
    let store = store();
    let root = sample(&store.blocks);
    store
        .listed
        .lock()
        .unwrap()
        .push(listed(1, "web", 0, &root));
    let vfs = Vfs::all(store.clone(), None).unwrap();
    let before = path(&vfs, "by-id/0101010101010101/dir");
    let latest = path(&vfs, "latest");
    let by_name = path(&vfs, "by-name");
    store
        .listed
        .lock()
        .unwrap()
        .push(listed(2, "db", 60, &root));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let waiting = vfs.lookup(1, b"latest", Wait::No).unwrap_err();
    assert_eq!(
        waiting.class(),
        Class::Busy,
        "an old list is looked at again"
    );
    assert_ne!(
        path(&vfs, "latest").inode,
        latest.inode,
        "the kernel may keep a link's target"
    );
    assert_eq!(path(&vfs, "by-name").inode, by_name.inode);
    assert_eq!(path(&vfs, "by-name").links, by_name.links + 1);
    path(&vfs, "by-name/db/1970-01-01T00-01-00Z/dir");
    assert_eq!(path(&vfs, "by-id/0101010101010101/dir"), before);
    // A snapshot that was removed is listed no more, but whoever is in it stays.
    store.listed.lock().unwrap().remove(0);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let by_id = path(&vfs, "by-id").inode;
    assert!(
        vfs.lookup(by_id, b"0101010101010101", Wait::Yes)
            .unwrap()
            .is_none()
    );
    assert_eq!(vfs.attr(before.inode, Wait::Yes).unwrap(), before);
    assert_eq!(
        store.announced.lock().unwrap().len(),
        2,
        "and stays announced"
    );
}

#[test]
fn a_snapshot_without_attributes_is_recognised_and_one_with_a_single_one_too() {
    let store = store();
    let finished = |vfs: &Vfs| {
        for _ in 0..100 {
            if vfs.has_no_xattrs() {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        false
    };
    let plain = Vfs::one(store.clone(), sample(&store.blocks), None).unwrap();
    assert!(finished(&plain));
    let mut one = file(&store.blocks, "one", b"x");
    one.meta.xattrs = vec![attribute()];
    let inner = store.blocks.put_directory(vec![one], 8);
    let outer = vec![node("dir", Body::Directory(inner))];
    let root = node("", Body::Directory(store.blocks.put_directory(outer, 8)));
    let vfs = Vfs::one(store, root, None).unwrap();
    assert!(!finished(&vfs));
    let inode = path(&vfs, "dir/one").inode;
    assert_eq!(vfs.xattrs(inode, Wait::Yes, <[Xattr]>::len).unwrap(), 1);
}

#[test]
fn whoever_reads_a_tree_in_order_finds_blocks_read_ahead() {
    let store = store();
    let files = (0_u16..400).map(|i| file(&store.blocks, &format!("{i:04}"), &i.to_le_bytes()));
    let tree = store.blocks.put_directory(files.collect(), 500);
    let vfs = Vfs::one(store, node("", Body::Directory(tree)), None).unwrap();
    let mut from_memory = 0;
    for (name, attr) in names(&vfs, 1).into_iter().skip(2) {
        from_memory += usize::from(vfs.read(attr.inode, 0, 10, Wait::No).is_ok());
        let bytes = vfs.read(attr.inode, 0, 10, Wait::Yes).unwrap();
        assert_eq!(*bytes, name.parse::<u16>().unwrap().to_le_bytes());
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    // Here every file has a block of its own, and three are fetched for every sixteen read.
    assert!(from_memory > 30, "{from_memory} of 400");
}

#[test]
fn an_empty_repository_has_empty_directories() {
    let vfs = Vfs::all(store(), None).unwrap();
    let top: Vec<String> = names(&vfs, 1).into_iter().map(|(name, _)| name).collect();
    assert_eq!(top, [".", "..", "by-id", "by-name", "by-tag"]);
}

#[test]
fn a_sequential_reader_finds_its_blocks_read_ahead() {
    let store = store();
    let bytes: Vec<u8> = (0_u32..100_000).flat_map(u32::to_le_bytes).collect();
    let big = file(&store.blocks, "big", &bytes);
    let root = node(
        "",
        Body::Directory(store.blocks.put_directory(vec![big], 8)),
    );
    let vfs = Vfs::one(store.clone(), root, None).unwrap();
    let inode = path(&vfs, "big").inode;
    let read = |offset: usize| {
        let bytes = vfs.read(inode, offset as u64, 1000, Wait::No);
        bytes.or_else(|_| vfs.read(inode, offset as u64, 1000, Wait::Yes))
    };
    let mut from_memory = 0;
    for offset in (0..bytes.len()).step_by(1000) {
        if vfs.read(inode, offset as u64, 1000, Wait::No).is_ok() {
            from_memory += 1;
        }
        assert_eq!(&*read(offset).unwrap(), &bytes[offset..offset + 1000]);
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    assert!(from_memory > 300, "{from_memory} of 400");
    assert_eq!(store.blocks.reads(), 1 + 400, "every block once");
}

#[test]
fn the_root_of_a_stream_is_as_old_as_its_snapshot_and_lets_others_past() {
    use crate::format::snapshot::{Snapshot, StreamKind};
    let blocks = MemoryBlocks::new();
    let tree = blocks.put_directory(vec![file(&blocks, "dump", b"x")], 8);
    let mut root = node("", Body::Directory(tree));
    root.meta.mode = 0o700;
    let mut snapshot = Snapshot::new(StreamKind::Stream, root);
    snapshot.time = Time::new(1_700_000_000, 5);
    let shown = shown_root(snapshot.clone()).meta;
    let user = rustix::process::geteuid().as_raw();
    assert_eq!((shown.mode, shown.uid), (0o755, user));
    assert_eq!(shown.mtime, snapshot.time);
    // A directory that was there is shown as it was.
    snapshot.root.meta.mtime = Time::new(7, 0);
    let as_it_was = snapshot.root.meta.clone();
    assert_eq!(shown_root(snapshot).meta, as_it_was);
}
