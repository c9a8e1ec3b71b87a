//! What goes in comes out: random trees through both suites and any number of workers, and random archives byte for byte. The
//! archives are built by the test from the formats' descriptions, never by the library's writer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::num::NonZeroUsize;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use repo::backend::{Backend, Memory};
use repo::catalog::CatalogPlace;
use repo::entry::{
    Checked, Entry, EntryPath, Kind, MemoryEntry, MemorySink, Order, Outcome, Piece, Source, Time,
    Xattr,
};
use repo::format::header::Suite;
use repo::id::ChunkId;
use repo::ingest::IngestSummary;
use repo::progress::Silent;
use repo::repository::Repository;
use repo::restore::{Filter, Selection, SnapshotSource, Streaming};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 40,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

/// Names of any bytes that a file system takes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = (1_u8..=255).prop_filter("no slash", |b| *b != b'/');
    let short = vec(byte, 1..8);
    prop_oneof![8 => short, 1 => Just(vec![0xfe; 255]), 1 => Just(b"a".to_vec())]
        .prop_filter("no dots", |n| n != b"." && n != b"..")
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        vec(any::<u8>(), 1..2000).prop_map(Piece::Data),
        (1_usize..400_000, any::<u64>())
            .prop_map(|(len, seed)| Piece::Data(fixture::noise(len, seed % 4))),
        (1_usize..300_000).prop_map(|len| Piece::Data(vec![0; len])),
        (1_u64..1 << 42).prop_map(Piece::Hole),
    ]
}

/// Adjacent pieces of one kind are one piece.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), piece) {
            (Some(Piece::Data(last)), Piece::Data(bytes)) => last.extend(bytes),
            (Some(Piece::Hole(last)), Piece::Hole(len)) => *last += len,
            (_, piece) => all.push(piece),
        }
    }
    all
}

fn time() -> impl Strategy<Value = Time> {
    (-(1_i64 << 40)..1 << 40, 0_u32..1_000_000_000).prop_map(|(s, n)| Time::new(s, n))
}

prop_compose! {
    fn meta()(
        mode in 0_u32..0o10000, uid: u32, gid: u32,
        names in (vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..20)),
        mtime in time(), atime in proptest::option::of(time()), ctime in proptest::option::of(time()),
        xattrs in proptest::collection::btree_map(vec(1_u8..=255, 1..20), vec(any::<u8>(), 0..60), 0..3),
    ) -> repo::entry::Meta {
        let (user, group) = names;
        let xattrs = xattrs.into_iter().map(|(name, value)| Xattr { name, value }).collect();
        repo::entry::Meta { mode, uid, gid, user, group, mtime, atime, ctime, xattrs }
    }
}

/// What an entry shall be; what it links to is found when all are known.
#[derive(Clone, Debug)]
enum Plan {
    File(Vec<Piece>),
    Other(Kind),
    HardLink(prop::sample::Index),
    Directory(Vec<(Vec<u8>, Plan, repo::entry::Meta)>),
}

fn plan() -> impl Strategy<Value = Plan> {
    let leaf = prop_oneof![
        4 => vec(piece(), 0..5).prop_map(|p| Plan::File(merged(p))),
        1 => vec(1_u8..=255, 1..300).prop_map(|t| Plan::Other(Kind::Symlink(t))),
        1 => prop_oneof![Just(Kind::Fifo), Just(Kind::Socket)].prop_map(Plan::Other),
        2 => any::<prop::sample::Index>().prop_map(Plan::HardLink),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        vec((name(), inner, meta()), 0..8).prop_map(Plan::Directory)
    })
}

/// The entries of a plan, in walk order.
fn entries(plan: Plan, meta: repo::entry::Meta) -> Vec<MemoryEntry> {
    let mut flat = Vec::new();
    flatten(
        EntryPath::root(),
        Plan::Directory(vec![(b"top".to_vec(), plan, meta.clone())]),
        meta,
        &mut flat,
    );
    flat.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    flat.dedup_by(|(later, ..), (first, ..)| later == first);
    let mut all: Vec<MemoryEntry> = Vec::new();
    for (path, plan, meta) in flat {
        let files: Vec<usize> = (0..all.len())
            .filter(|at| all[*at].entry.is_file())
            .collect();
        let (kind, content, meta) = match plan {
            Plan::File(content) => (Kind::File, content, meta),
            Plan::Other(kind) => (kind, Vec::new(), meta),
            Plan::Directory(_) => (Kind::Directory, Vec::new(), meta),
            Plan::HardLink(_) if files.is_empty() => (Kind::Fifo, Vec::new(), meta),
            Plan::HardLink(which) => {
                let first = *which.get(&files);
                let entry = &mut all[first].entry;
                let links = entry.stat.map_or(1, |stat| stat.links);
                entry.stat = Some(fixture::links(links + 1));
                let kind = Kind::HardLink(entry.path.clone());
                (kind, Vec::new(), entry.meta.clone())
            }
        };
        let outcome = matches!(kind, Kind::File).then_some(Outcome::Whole);
        let mut entry = Entry::new(path, kind);
        entry.meta = meta;
        let length = |piece: &Piece| match piece {
            Piece::Data(bytes) => bytes.len() as u64,
            Piece::Hole(len) => *len,
        };
        entry.size = content.iter().map(length).sum();
        all.push(MemoryEntry {
            entry,
            content,
            outcome,
        });
    }
    all
}

fn flatten(
    path: EntryPath,
    plan: Plan,
    meta: repo::entry::Meta,
    all: &mut Vec<(EntryPath, Plan, repo::entry::Meta)>,
) {
    let mut seen = std::collections::BTreeSet::new();
    if let Plan::Directory(children) = &plan {
        for (name, child, meta) in children {
            if seen.insert(name.clone()) {
                flatten(path.join(name).unwrap(), child.clone(), meta.clone(), all);
            }
        }
    }
    all.push((path, plan, meta));
}

struct Store {
    backend: Arc<dyn Backend>,
    key: repo::crypto::KeyFile,
}

impl Store {
    fn new(suite: Suite) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(Memory::new());
        let key = fixture::create(backend.as_ref(), suite);
        Self { backend, key }
    }

    fn open(&self) -> Arc<Repository> {
        fixture::open(&self.backend, &self.key, &CatalogPlace::Memory).unwrap()
    }
}

/// What a snapshot gives back, in the form in which it went in.
fn given_back(repository: &Repository, summary: &IngestSummary) -> Vec<MemoryEntry> {
    let all = Selection {
        id: summary.id,
        snapshot: summary.snapshot.clone(),
        path: EntryPath::root(),
        contents: false,
    };
    let threads = NonZeroUsize::new(2).unwrap();
    let filter = Filter::new(&[], &[]).unwrap();
    let mut sink = Checked::new(MemorySink::default(), Order::Walk);
    SnapshotSource::new(repository, &[all], filter, threads, Arc::new(Silent))
        .unwrap()
        .stream(&mut sink)
        .unwrap();
    let mut entries = sink.finish().unwrap().entries;
    for item in &mut entries {
        item.entry.extents = None;
    }
    entries
}

fn root_of(summary: &IngestSummary) -> ChunkId {
    match &summary.snapshot.root.body {
        repo::format::tree::Body::Directory(tree) => tree.id,
        other => panic!("{other:?}"),
    }
}

/// One member of an archive, and how its parts are written.
#[derive(Clone, Debug)]
enum Member {
    Gnu(Vec<u8>, Vec<u8>),
    Ustar(Vec<u8>, Vec<u8>, u8),
    Pax(Vec<u8>, Vec<u8>),
    Directory(Vec<u8>),
    Symlink(Vec<u8>, Vec<u8>),
    HardLink(Vec<u8>, Vec<u8>),
    Global(Vec<u8>),
    Unknown(Vec<u8>, Vec<u8>),
}

fn member() -> impl Strategy<Value = Member> {
    // Few names, so that members replace each other and files stand where directories are wanted.
    let path = prop_oneof![
        3 => "[ab](/[ab]){0,3}".prop_map(String::into_bytes),
        1 => "[ab]{120,300}".prop_map(String::into_bytes),
        1 => vec(1_u8..=255, 1..40),
    ];
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..1500),
        (0_usize..200_000, 0_u64..3).prop_map(|(len, seed)| fixture::noise(len, seed)),
        (0_usize..200_000).prop_map(|len| vec![0; len]),
    ];
    prop_oneof![
        (path.clone(), bytes.clone()).prop_map(|(p, b)| Member::Gnu(p, b)),
        (path.clone(), bytes.clone(), any::<u8>()).prop_map(|(p, b, pad)| Member::Ustar(p, b, pad)),
        (path.clone(), bytes.clone()).prop_map(|(p, b)| Member::Pax(p, b)),
        path.clone().prop_map(Member::Directory),
        (path.clone(), path.clone()).prop_map(|(p, t)| Member::Symlink(p, t)),
        (path.clone(), path.clone()).prop_map(|(p, t)| Member::HardLink(p, t)),
        vec(b'a'..=b'z', 0..50).prop_map(Member::Global),
        (path, bytes).prop_map(|(p, b)| Member::Unknown(p, b)),
    ]
}

fn written(member: &Member) -> Vec<u8> {
    use fixture::tar::{content, gnu_file, header, pax};
    match member {
        Member::Gnu(name, bytes) => gnu_file(name, bytes),
        Member::Ustar(name, bytes, pad) => {
            let head = header(name, b'0', bytes.len() as u64, b"", false);
            [head, content(bytes, *pad)].concat()
        }
        Member::Pax(name, bytes) => {
            let records: [(&[u8], &[u8]); 3] = [
                (b"path", name),
                (b"mtime", b"-3.25"),
                (b"SCHILY.xattr.user.k", b"\xffv"),
            ];
            let head = header(b"short", b'0', bytes.len() as u64, b"", false);
            [pax(b'x', &records), head, content(bytes, 0)].concat()
        }
        Member::Directory(name) => header(name, b'5', 0, b"", false),
        Member::Symlink(name, target) => header(name, b'2', 0, target, false),
        Member::HardLink(name, target) => header(name, b'1', 0, target, true),
        Member::Global(text) => pax(b'g', &[(b"comment", text)]),
        Member::Unknown(name, bytes) => [
            header(name, b'Q', bytes.len() as u64, b"", false),
            content(bytes, 0),
        ]
        .concat(),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn trees_come_out_as_they_went_in(plan in plan(), meta in meta()) {
        let entries = entries(plan, meta);
        for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
            let store = Store::new(suite);
            let one = fixture::ingest_tree(&store.open(), "one", entries.clone(), 1);
            // A repository of its own would have another key, and so other ids.
            let many = fixture::ingest_tree(&store.open(), "many", entries.clone(), 3);
            prop_assert_eq!(root_of(&one), root_of(&many));
            prop_assert_eq!(&one.snapshot.root, &many.snapshot.root);
            prop_assert_eq!(many.finished.new_chunks, 0);
            let repository = store.open();
            for summary in [&one, &many] {
                let found = given_back(&repository, summary);
                for (have, want) in found.iter().zip(&entries) {
                    prop_assert_eq!(have, want);
                }
                prop_assert_eq!(found.len(), entries.len());
            }
        }
    }

    #[test]
    fn archives_come_out_byte_for_byte(
        members in vec(member(), 1..12),
        end_blocks in 0_usize..30,
        workers in 1_usize..4,
    ) {
        let mut archive: Vec<u8> = members.iter().flat_map(written).collect();
        archive.resize(archive.len() + end_blocks * 512, 0);
        let store = Store::new(Suite::ChaCha20Poly1305);
        let summary = fixture::ingest_bytes(&store.open(), "archive", &archive, workers);
        prop_assert_eq!(summary.snapshot.kind.name(), "tar");
        let repository = store.open();
        let streaming = Streaming {
            blocks: &*repository,
            threads: NonZeroUsize::new(2).unwrap(),
            monitor: &Silent,
        };
        let mut out = Vec::new();
        streaming.archive(&summary.snapshot, &mut out).unwrap();
        prop_assert!(out == archive, "another archive");
        // The contract of sources is kept whatever the archive made of the tree.
        given_back(&repository, &summary);
    }
}
