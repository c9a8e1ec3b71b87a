//! Every kind of snapshot, with everything that can be in one.

use std::io::Write as _;
use std::sync::Arc;

use repo::backend::Area;
use repo::entry::{MemorySource, Order, Piece};
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::ingest::{Ingest, IngestSummary, StreamFacts, StreamRequest, ingest_stream};
use repo::maintain::check::{ReadData, check};
use repo::maintain::copy::{Copied, CopySums};
use repo::maintain::prune::{MaxUnused, PruneOptions, prune};
use repo::progress::Silent;
use repo::repository::{Cutting, Repository, SnapshotInfo};

use crate::*;

fn ingest_request(
    repository: &Arc<Repository>,
    name: &str,
    bytes: &[u8],
    kind: Option<StreamKind>,
    exact: bool,
) -> IngestSummary {
    let monitor = silent();
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
    let monitor = silent();
    let pruned = prune(&to.open(), &options, &monitor).unwrap();
    assert_eq!(pruned.settled.removed.count, 0, "{pruned:?}");
    let report = check(&to.open(), ReadData::All, &Silent, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
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
    let monitor = silent();
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
