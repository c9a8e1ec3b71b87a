//! Copies between repositories: everything that can be in a snapshot arrives bit for bit, shares its data with what was ingested
//! there directly, and is left out when it is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod fixture;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::Arc;

use repo::backend::fault::{Fault, Faulty, Trigger};
use repo::backend::{Area, Backend, Key, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KeyFile, Role};
use repo::entry::{
    Checked, EntryPath, MemoryEntry, MemorySink, MemorySource, Order, Piece, Source,
};
use repo::error::{Class, Result};
use repo::format::header::Suite;
use repo::format::snapshot::{Origin, Snapshot, StreamKind};
use repo::format::tree::{Body, Node};
use repo::ingest::{Ingest, IngestSummary, StreamFacts, StreamRequest, ingest_stream};
use repo::maintain::check::{ReadData, check};
use repo::maintain::copy::{Copied, CopyOptions, CopySums, copy};
use repo::maintain::prune::{MaxUnused, PruneOptions, prune};
use repo::progress::{Count, Monitor, Recorder, Silent};
use repo::repository::trees::Walk;
use repo::repository::{Cutting, Repository, SlotOptions, SnapshotInfo, WriterOptions};
use repo::restore::{Filter, Selection, SnapshotSource, Streaming};

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

struct Store {
    memory: Arc<Memory>,
    key: KeyFile,
}

impl Store {
    fn new(suite: Suite) -> Self {
        let memory = Arc::new(Memory::new());
        let key = fixture::create(memory.as_ref(), suite);
        Self { memory, key }
    }

    fn open(&self) -> Arc<Repository> {
        let backend: Arc<dyn Backend> = self.memory.clone();
        fixture::open(&backend, &self.key, &CatalogPlace::Memory).unwrap()
    }

    fn names(&self, area: Area) -> Vec<String> {
        let mut names = Vec::new();
        let mut each = |name: &str, _| {
            names.push(name.to_owned());
            Ok(())
        };
        self.memory.list(area, &mut each).unwrap();
        names
    }
}

fn options() -> CopyOptions {
    CopyOptions {
        writer: WriterOptions {
            level: 1,
            workers: 2,
        },
        threads: TWO,
        scratch: None,
    }
}

fn try_copy(
    source: &Arc<Repository>,
    destination: &Arc<Repository>,
    snapshots: &[SnapshotInfo],
    monitor: Arc<dyn Monitor>,
) -> Result<(Vec<Copied>, CopySums)> {
    let mut all = Vec::new();
    let each = &mut |_: &SnapshotInfo, copied: &Copied| all.push(copied.clone());
    let sums = copy(source, destination, snapshots, &options(), &monitor, each)?;
    Ok((all, sums))
}

fn copy_all(source: &Store, destination: &Store) -> (Vec<Copied>, CopySums) {
    let from = source.open();
    let snapshots = from.snapshots().unwrap();
    try_copy(&from, &destination.open(), &snapshots, Arc::new(Silent)).unwrap()
}

/// The ids of copies that were made.
fn new_ids(copied: &[Copied]) -> Vec<repo::id::SnapshotId> {
    let id = |one: &Copied| match one {
        Copied::New(id) => *id,
        other => panic!("{other:?}"),
    };
    copied.iter().map(id).collect()
}

/// What a snapshot gives back.
fn given_back(repository: &Repository, info: &SnapshotInfo) -> Vec<MemoryEntry> {
    let all = Selection {
        id: info.id,
        snapshot: info.snapshot.clone(),
        path: EntryPath::root(),
        contents: false,
    };
    let filter = Filter::new(&[], &[]).unwrap();
    let mut sink = Checked::new(MemorySink::default(), Order::Walk);
    SnapshotSource::new(repository, &[all], filter, TWO, Arc::new(Silent))
        .unwrap()
        .stream(&mut sink)
        .unwrap();
    sink.finish().unwrap().entries
}

/// All nodes, with the chunks that they name left out.
fn nodes(repository: &Repository, root: &Node) -> Vec<(EntryPath, Node)> {
    let bare = |(path, mut node): (EntryPath, Node)| {
        match &mut node.body {
            Body::File { content, .. } => content.clear(),
            Body::Directory(tree) => tree.id = repo::id::ChunkId::new([0; 32]),
            _ => {}
        }
        (path, node)
    };
    let mut all = vec![bare((EntryPath::root(), root.clone()))];
    let walk = Walk::new(repository, root, EntryPath::root());
    all.extend(walk.map(|entry| bare(entry.map_err(|(_, e)| e).unwrap())));
    all
}

/// What a snapshot says, without what names something of its repository.
fn says(snapshot: &Snapshot) -> Snapshot {
    let mut said = snapshot.clone();
    said.root = Node::new(Vec::new(), Body::Fifo);
    said.counts.added_bytes = 0;
    for items in [
        &mut said.recipe,
        &mut said.overrides,
        &mut said.original,
        &mut said.identity,
    ] {
        items.clear();
    }
    said.parent = None;
    said.origin = None;
    said
}

fn stream(repository: &Repository, snapshot: &Snapshot, original: bool) -> Vec<u8> {
    let streaming = Streaming {
        blocks: repository,
        threads: TWO,
        monitor: &Silent,
    };
    let mut out = Vec::new();
    if original {
        streaming.original(snapshot, &mut out).unwrap();
    } else {
        streaming.archive(snapshot, &mut out).unwrap();
    }
    out
}

/// Both snapshots are the same in every respect.
fn assert_same(
    source: &Repository,
    from: &SnapshotInfo,
    destination: &Repository,
    to: &SnapshotInfo,
) {
    assert_eq!(says(&from.snapshot), says(&to.snapshot));
    assert_eq!(
        to.snapshot.origin,
        Some(Origin {
            repository: source.id(),
            snapshot: from.id
        })
    );
    assert_eq!(
        nodes(source, &from.snapshot.root),
        nodes(destination, &to.snapshot.root)
    );
    assert!(given_back(source, from) == given_back(destination, to));
    for (one, other) in [
        (&from.snapshot.recipe, &to.snapshot.recipe),
        (&from.snapshot.overrides, &to.snapshot.overrides),
        (&from.snapshot.original, &to.snapshot.original),
        (&from.snapshot.identity, &to.snapshot.identity),
    ] {
        let len = repo::format::content::total_len;
        assert_eq!(one.is_empty(), other.is_empty());
        assert!(one.is_empty() || len(one) > 0);
    }
}

fn ingest_request(
    repository: &Arc<Repository>,
    name: &str,
    bytes: &[u8],
    kind: Option<StreamKind>,
    exact: bool,
) -> IngestSummary {
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let ingest = Ingest::begin(repository, fixture::request(name, 2), &monitor).unwrap();
    let request = StreamRequest {
        kind,
        exact,
        file_name: b"stream".to_vec(),
    };
    ingest_stream(ingest, std::io::Cursor::new(bytes.to_vec()), &request).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    output.stdout
}

/// A guest with a disk and its memory, as an archive.
fn vm_archive() -> Vec<u8> {
    use fixture::tar::{content, header};
    let document = std::fs::read(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/archives/snapshot.json"),
    );
    let document = document.unwrap_or_else(|_| {
        br#"{"version":1,"name":"guest","vm":{"name":"guest"},"disks":[]}"#.to_vec()
    });
    let mut disk = fixture::noise(900_000, 31);
    disk[100_000..500_000].fill(0);
    let file = |name: &[u8], bytes: &[u8]| {
        let head = header(name, b'0', bytes.len() as u64, b"", false);
        [head, content(bytes, 0)].concat()
    };
    [
        file(b"snapshot.json", &document),
        file(b"mem", &fixture::noise(300_000, 32)),
        file(b"root.img", &disk),
        vec![0; 1024],
    ]
    .concat()
}

/// One snapshot of every kind, each made by a closure, so that it can be made again elsewhere.
type Make = Box<dyn Fn(&Arc<Repository>) -> IngestSummary>;

fn every_kind() -> Vec<(&'static str, Make)> {
    let stream = |name, bytes: Vec<u8>, kind, exact| -> (&'static str, Make) {
        let make: Make = Box::new(move |r| ingest_request(r, name, &bytes, kind, exact));
        (name, make)
    };
    let mut disk = fixture::noise(1_500_000, 21);
    disk[200_000..900_000].fill(0);
    let tree = fixture::full_tree();
    vec![
        (
            "tree",
            Box::new(move |r| fixture::ingest_tree(r, "tree", tree.clone(), 2)),
        ),
        stream("tar", fixture::tar::full_archive(), None, false),
        stream("tar.gz", gzip(&fixture::tar::full_archive()), None, true),
        stream("vm", vm_archive(), None, false),
        stream("disk", disk, Some(StreamKind::Disk), false),
        stream("stream", fixture::noise(3_000_000, 22), None, false),
        stream(
            "db",
            [b"PGDMP".to_vec(), fixture::lines(50_000)].concat(),
            Some(StreamKind::Db),
            false,
        ),
    ]
}

#[test]
fn every_kind_of_snapshot_arrives_and_shares_its_data_with_what_is_ingested_there() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::Aes256Gcm),
    );
    let kinds = every_kind();
    for (_, make) in &kinds {
        make(&from.open());
    }
    let (copied, _) = copy_all(&from, &to);
    let ids = new_ids(&copied);
    let (source, destination) = (from.open(), to.open());
    for (info, id) in source.snapshots().unwrap().iter().zip(&ids) {
        let snapshot = destination.snapshot(id).unwrap();
        let arrived = SnapshotInfo { id: *id, snapshot };
        assert_same(&source, info, &destination, &arrived);
        let (one, other) = (&info.snapshot, &arrived.snapshot);
        for original in [false, true] {
            let has = if original {
                one.kind != StreamKind::Dir
            } else {
                !one.recipe.is_empty()
            };
            if has {
                let bytes = stream(&source, one, original);
                assert!(
                    bytes == stream(&destination, other, original),
                    "{}",
                    one.name
                );
            }
        }
    }
    // The same once more, directly: nothing is new, and the trees are the same trees.
    for (name, make) in &kinds {
        let direct = make(&destination);
        assert_eq!(direct.finished.new_chunks, 0, "{name}");
        let all = destination.snapshots().unwrap();
        let arrived = all
            .iter()
            .find(|info| info.snapshot.name == *name && info.snapshot.origin.is_some());
        let arrived = &arrived.unwrap().snapshot;
        assert_eq!(direct.snapshot.root, arrived.root, "{name}");
        assert_eq!(direct.snapshot.recipe, arrived.recipe, "{name}");
        assert_eq!(direct.snapshot.overrides, arrived.overrides, "{name}");
        assert_eq!(direct.snapshot.original, arrived.original, "{name}");
        assert_eq!(direct.snapshot.identity, arrived.identity, "{name}");
    }
}

#[test]
fn copying_again_writes_nothing_and_a_prune_finds_everything_needed() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    for (_, make) in every_kind() {
        make(&from.open());
    }
    copy_all(&from, &to);
    let areas = [Area::Data, Area::Meta, Area::Index, Area::Snapshots];
    let objects = |store: &Store| areas.map(|area| store.names(area));
    let before = objects(&to);
    let (copied, sums) = copy_all(&from, &to);
    assert!(copied.iter().all(|one| matches!(one, Copied::There(_))));
    assert_eq!((sums, objects(&to)), (CopySums::default(), before));
    // Back to where it came from, and on to a third: the first origin counts.
    let (back, _) = copy_all(&to, &from);
    assert!(back.iter().all(|one| matches!(one, Copied::There(_))));
    let third = Store::new(Suite::ChaCha20Poly1305);
    new_ids(&copy_all(&to, &third).0);
    let (again, _) = copy_all(&from, &third);
    assert!(again.iter().all(|one| matches!(one, Copied::There(_))));

    let options = PruneOptions {
        max_unused: MaxUnused::Bytes(0),
        ..PruneOptions::default()
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let pruned = prune(&to.open(), &options, &monitor).unwrap();
    assert_eq!(pruned.settled.removed.count, 0, "{pruned:?}");
    let report = check(&to.open(), ReadData::All, &Silent, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}

/// Takes in a tree, so much later than the others.
fn ingest_at(repository: &Arc<Repository>, seconds: i64, entries: Vec<MemoryEntry>) {
    let mut request = fixture::request("tree", 1);
    request.time.seconds += seconds;
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let ingest = Ingest::begin(repository, request, &monitor).unwrap();
    let source = MemorySource::new(entries, Order::Walk);
    let facts = |_: &MemorySource| Ok(StreamFacts::of(StreamKind::Dir));
    ingest.run(source, |_| Cutting::File, facts).unwrap();
}

fn edited(round: usize) -> Vec<MemoryEntry> {
    let mut all = vec![fixture::directory(""), fixture::directory("d")];
    for number in 0..40 {
        let seed = if number == 7 { 1000 + round } else { number };
        let bytes = fixture::noise(100_000, seed as u64);
        all.push(fixture::file(&format!("d/{number:02}"), &bytes));
    }
    all.push(fixture::directory("same"));
    for number in 0..10 {
        let bytes = fixture::noise(50_000, 500 + number);
        all.push(fixture::file(&format!("same/{number}"), &bytes));
    }
    all
}

#[test]
fn data_that_many_snapshots_share_is_read_once() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    for round in 0..10 {
        ingest_at(&from.open(), round as i64, edited(round));
    }
    let source = from.open();
    let recorder = Arc::new(Recorder::default());
    let snapshots = source.snapshots().unwrap();
    let (copied, sums) = try_copy(&source, &to.open(), &snapshots, recorder.clone()).unwrap();
    new_ids(&copied);
    let distinct = 40 * 100_000 + 10 * 50_000 + 9 * 100_000;
    assert_eq!(recorder.count(Count::Bytes), distinct);
    assert_eq!(sums.new_bytes, distinct);
    // Parents are told by the ids that they have here.
    let arrived = to.open().snapshots().unwrap();
    let parents: Vec<_> = arrived.iter().map(|info| info.snapshot.parent).collect();
    let had = source.snapshots().unwrap();
    assert_eq!(
        parents.iter().filter(|p| p.is_some()).count(),
        had.iter().filter(|i| i.snapshot.parent.is_some()).count()
    );
    for parent in parents.into_iter().flatten() {
        assert!(arrived.iter().any(|info| info.id == parent));
    }
}

#[test]
fn a_new_snapshot_of_a_copied_one_reads_only_what_changed() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = to.memory.clone();
    let open = || {
        let place = CatalogPlace::File(folder.path().join("catalog"));
        fixture::open(&backend, &to.key, &place).unwrap()
    };
    let run = || {
        let source = from.open();
        let recorder = Arc::new(Recorder::default());
        let snapshots = source.snapshots().unwrap();
        let copied = try_copy(&source, &open(), &snapshots, recorder.clone());
        let new = |one: &&Copied| matches!(one, Copied::New(_));
        assert_eq!(copied.unwrap().0.iter().filter(new).count(), 1);
        recorder.count(Count::Bytes)
    };
    ingest_at(&from.open(), 0, edited(0));
    assert_eq!(run(), 4_500_000);
    ingest_at(&from.open(), 1, edited(1));
    assert_eq!(run(), 100_000);
    // What somebody else says of the origin of a snapshot is no reason to believe what is in it.
    std::fs::remove_dir_all(folder.path()).unwrap();
    ingest_at(&from.open(), 2, edited(2));
    assert_eq!(run(), 4_500_000);
    let source = from.open();
    let destination = to.open();
    for info in &source.snapshots().unwrap() {
        let all = destination.snapshots().unwrap();
        let arrived = all
            .iter()
            .find(|one| one.snapshot.origin.map(|o| o.snapshot) == Some(info.id))
            .unwrap();
        assert_same(&source, info, &destination, arrived);
    }
}

#[test]
fn a_damaged_snapshot_is_named_and_left_out_and_the_others_arrive() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    let tree = |first: u64| {
        vec![
            fixture::directory(""),
            fixture::file("a", &fixture::noise(400_000, first)),
            fixture::file("b", &fixture::noise(400_000, 900)),
        ]
    };
    let sound = fixture::ingest_tree(&from.open(), "sound", tree(1), 1);
    let before = from.names(Area::Data);
    let hurt = fixture::ingest_tree(&from.open(), "hurt", tree(2), 1);
    let hurt_too = fixture::ingest_tree(&from.open(), "hurt too", tree(2), 1);
    let lost: Vec<_> = from
        .names(Area::Data)
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(lost.len(), 1);
    let key = Key::named(Area::Data, &lost[0]).unwrap();
    from.memory.tamper(&key, None);
    let source = from.open();
    let snapshots = [&sound, &hurt, &hurt_too].map(|summary| SnapshotInfo {
        id: summary.id,
        snapshot: summary.snapshot.clone(),
    });
    let mut order = snapshots.to_vec();
    order.rotate_left(1);
    let (copied, _) = try_copy(&source, &to.open(), &order, Arc::new(Silent)).unwrap();
    for one in &copied[..2] {
        let Copied::Damaged(losses) = one else {
            panic!("{one:?}")
        };
        let names: Vec<_> = losses.iter().map(|loss| loss.name.as_str()).collect();
        assert_eq!(names, ["a"]);
        assert_eq!(losses[0].class, Class::Corrupt);
    }
    let Copied::New(id) = copied[2] else {
        panic!("{copied:?}")
    };
    let destination = to.open();
    assert_eq!(to.names(Area::Snapshots).len(), 1);
    let snapshot = destination.snapshot(&id).unwrap();
    assert_same(
        &source,
        &snapshots[0],
        &destination,
        &SnapshotInfo { id, snapshot },
    );
}

#[test]
fn the_same_repository_is_refused_and_an_ingest_key_cannot_be_read_with() {
    let from = Store::new(Suite::ChaCha20Poly1305);
    fixture::ingest_tree(&from.open(), "tree", edited(0), 1);
    let source = from.open();
    let snapshots = source.snapshots().unwrap();
    let refused = try_copy(&source, &from.open(), &snapshots, Arc::new(Silent));
    assert_eq!(refused.unwrap_err().class(), Class::Refused);

    let to = Store::new(Suite::ChaCha20Poly1305);
    let key = KeyFile::generate().unwrap();
    let slot = SlotOptions {
        role: Role::Ingest,
        ..fixture::slot_options()
    };
    to.open().add_slot(Unlock::KeyFile(&key), &slot).unwrap();
    let backend: Arc<dyn Backend> = to.memory.clone();
    let folder = tempfile::tempdir().unwrap();
    let place = CatalogPlace::File(folder.path().join("catalog"));
    let open = || fixture::open(&backend, &key, &place).unwrap();
    let (copied, _) = try_copy(&source, &open(), &snapshots, Arc::new(Silent)).unwrap();
    let id = new_ids(&copied)[0];
    let destination = to.open();
    let snapshot = destination.snapshot(&id).unwrap();
    assert_same(
        &source,
        &snapshots[0],
        &destination,
        &SnapshotInfo { id, snapshot },
    );
    // What it copied it knows from its own catalog, as long as that is true.
    let (copied, _) = try_copy(&source, &open(), &snapshots, Arc::new(Silent)).unwrap();
    assert!(matches!(copied[..], [Copied::There(there)] if there == id));
    destination.forget(&id, false).unwrap();
    let (copied, _) = try_copy(&source, &open(), &snapshots, Arc::new(Silent)).unwrap();
    new_ids(&copied);
    // The other way it is of no use.
    let denied = try_copy(&open(), &from.open(), &snapshots, Arc::new(Silent));
    assert_eq!(denied.unwrap_err().class(), Class::Denied);
}

/// A copy fails at every call to either store; run again it is whole, and nothing of it is stored twice.
#[test]
fn whatever_call_fails_the_next_run_completes_the_copy() {
    let from = Store::new(Suite::ChaCha20Poly1305);
    for round in 0..2 {
        let tree = vec![
            fixture::directory(""),
            fixture::file("a", &fixture::noise(3000, round)),
            fixture::file("b", &fixture::noise(3000, 9)),
        ];
        fixture::ingest_tree(&from.open(), "tree", tree, 1);
    }
    for side in 0..2 {
        let mut nth = 1;
        loop {
            let to = Store::new(Suite::ChaCha20Poly1305);
            let stores = [&from, &to].map(|store| Faulty::new(store.memory.clone()));
            let open = |at: usize, store: &Store| {
                let backend: Arc<dyn Backend> = stores[at].clone();
                fixture::open(&backend, &store.key, &CatalogPlace::Memory).unwrap()
            };
            let (source, destination) = (open(0, &from), open(1, &to));
            let snapshots = source.snapshots().unwrap();
            stores[side].inject(Trigger::any(nth, Fault::Stop));
            let first = try_copy(&source, &destination, &snapshots, Arc::new(Silent));
            stores[side].reset();
            drop((source, destination));
            let report = check(&to.open(), ReadData::All, &Silent, &mut |_| {}).unwrap();
            assert!(report.is_sound(), "{side}, {nth}: {:?}", report.problems);
            let (copied, _) = copy_all(&from, &to);
            assert!(
                copied
                    .iter()
                    .all(|c| matches!(c, Copied::New(_) | Copied::There(_))),
                "{side}, {nth}: {copied:?}"
            );
            assert_eq!(to.names(Area::Snapshots).len(), 2, "{side}, {nth}");
            let (source, destination) = (from.open(), to.open());
            for info in &snapshots {
                let all = destination.snapshots().unwrap();
                let arrived = all
                    .iter()
                    .find(|one| one.snapshot.origin.map(|o| o.snapshot) == Some(info.id));
                assert_same(&source, info, &destination, arrived.unwrap());
            }
            if first.is_ok_and(|(copied, _)| copied.iter().all(|c| matches!(c, Copied::New(_)))) {
                break;
            }
            nth += 1;
        }
        assert!(nth > 10, "only {nth} calls");
    }
}

/// What a run remembers stays as long as it is used, though the snapshot that it was copied for is forgotten and pruned away
/// meanwhile.
#[test]
fn a_prune_between_two_snapshots_takes_nothing_that_the_run_counts_on() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    for round in 0..3 {
        fixture::ingest_tree(&from.open(), "tree", edited(round), 1);
    }
    let (source, destination) = (from.open(), to.open());
    let snapshots = source.snapshots().unwrap();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let mut ids = Vec::new();
    copy(
        &source,
        &destination,
        &snapshots,
        &options(),
        &monitor,
        &mut |_, copied| {
            let Copied::New(id) = copied else {
                panic!("{copied:?}")
            };
            ids.push(*id);
            if ids.len() < snapshots.len() {
                let other = to.open();
                other.forget(id, false).unwrap();
                let options = PruneOptions {
                    max_unused: MaxUnused::Bytes(0),
                    ..PruneOptions::default()
                };
                prune(&other, &options, &monitor).unwrap();
            }
        },
    )
    .unwrap();
    let report = check(&to.open(), ReadData::All, &Silent, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    let destination = to.open();
    let arrived = destination.snapshots().unwrap();
    assert_eq!(arrived.len(), 1);
    assert_same(&source, &snapshots[2], &destination, &arrived[0]);
}

#[test]
fn files_that_changed_while_they_were_read_stay_marked() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    let mut torn = fixture::file("torn", b"half");
    torn.outcome = Some(repo::entry::Outcome::Changed);
    torn.content = vec![Piece::Data(b"half".to_vec())];
    let tree = vec![fixture::directory(""), torn];
    let request = fixture::request("torn", 1);
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let ingest = Ingest::begin(&from.open(), request, &monitor).unwrap();
    let source = MemorySource::new(tree, Order::Walk);
    let facts = |_: &MemorySource| Ok(StreamFacts::of(StreamKind::Dir));
    ingest.run(source, |_| Cutting::File, facts).unwrap();
    new_ids(&copy_all(&from, &to).0);
    let destination = to.open();
    let info = destination.resolve("torn").unwrap();
    let found = nodes(&destination, &info.snapshot.root);
    assert!(found[1].1.torn);
}
