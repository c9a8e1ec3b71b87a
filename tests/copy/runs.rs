//! One run after the other: what is read, what is written, what happens when something fails or others are at work.

use std::sync::Arc;

use repo::backend::fault::{Fault, Faulty, Trigger};
use repo::backend::{Area, Backend, Key};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KeyFile, Role};
use repo::entry::{MemoryEntry, MemorySource, Order};
use repo::error::Class;
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::ingest::{Ingest, StreamFacts, StreamRequest, ingest_stream};
use repo::maintain::check::{ReadData, check};
use repo::maintain::copy::{Copied, copy};
use repo::maintain::prune::{MaxUnused, PruneOptions, prune};
use repo::progress::{Count, Monitor, Recorder, Silent};
use repo::repository::{Cutting, Repository, SlotOptions, SnapshotInfo};

use crate::*;

/// Takes in a tree, so much later than the others.
fn ingest_at(repository: &Arc<Repository>, seconds: i64, entries: Vec<MemoryEntry>) {
    let mut request = fixture::request("tree", 1);
    request.time.seconds += seconds;
    let monitor = silent();
    let ingest = Ingest::begin(repository, request, &monitor).unwrap();
    let source = MemorySource::new(entries, Order::Walk);
    let facts = |_: &MemorySource| Ok(StreamFacts::of(StreamKind::Dir));
    ingest.run(source, |_| Cutting::File, facts).unwrap();
}

/// Takes in a disk, so much later than the others.
fn ingest_disk(repository: &Arc<Repository>, seconds: i64, bytes: &[u8]) {
    let mut request = fixture::request("disk", 2);
    request.time.seconds += seconds;
    let ingest = Ingest::begin(repository, request, &silent()).unwrap();
    let request = StreamRequest {
        kind: Some(StreamKind::Disk),
        exact: false,
        file_name: b"disk".to_vec(),
    };
    ingest_stream(ingest, std::io::Cursor::new(bytes.to_vec()), &request).unwrap();
}

fn edited(round: u32) -> Vec<MemoryEntry> {
    let mut all = vec![fixture::directory(""), fixture::directory("d")];
    for number in 0..40 {
        let seed = if number == 7 { 1000 + round } else { number };
        let bytes = fixture::noise(100_000, seed.into());
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
    for round in 0..10_u32 {
        ingest_at(&from.open(), round.into(), edited(round));
    }
    let source = from.open();
    let recorder = Arc::new(Recorder::default());
    let snapshots = source.snapshots().unwrap();
    let (copied, sums) = try_copy(
        &source,
        &to.open(),
        &snapshots,
        &(recorder.clone() as Arc<dyn Monitor>),
    )
    .unwrap();
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
        let copied = try_copy(
            &source,
            &open(),
            &snapshots,
            &(recorder.clone() as Arc<dyn Monitor>),
        );
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
    let (copied, _) = try_copy(&source, &to.open(), &order, &silent()).unwrap();
    for one in &copied[..2] {
        let Copied::Damaged(losses) = one else {
            panic!("{one:?}")
        };
        let names: Vec<_> = losses.named.iter().map(|loss| loss.name.as_str()).collect();
        assert_eq!(names, ["a"]);
        assert_eq!(losses.named[0].class, Class::Corrupt);
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
fn of_a_disk_that_changes_only_what_changed_is_read() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = to.memory.clone();
    let place = CatalogPlace::File(folder.path().join("catalog"));
    let mut disk = fixture::noise(4 << 20, 77);
    disk[1 << 20..2 << 20].fill(0);
    let mut rounds = Vec::new();
    for round in 0..4_u8 {
        disk[usize::from(round) * 300_000] ^= 1;
        ingest_disk(&from.open(), round.into(), &disk);
        if round == 1 {
            continue;
        }
        // The second time there are two to copy.
        let source = from.open();
        let destination = fixture::open(&backend, &to.key, &place).unwrap();
        let recorder = Arc::new(Recorder::default());
        let monitor: Arc<dyn Monitor> = recorder.clone();
        let snapshots = source.snapshots().unwrap();
        try_copy(&source, &destination, &snapshots, &monitor).unwrap();
        rounds.push(recorder.count(Count::Bytes));
    }
    // Zeros are in no chunk, and are gone through each time.
    let (zeros, chunk) = (1 << 20, 64 << 10);
    assert_eq!(rounds, [4 << 20, 2 * (zeros + chunk), zeros + chunk]);
    let (source, destination) = (from.open(), to.open());
    for info in &source.snapshots().unwrap() {
        let all = destination.snapshots().unwrap();
        let arrived = all
            .iter()
            .find(|one| one.snapshot.origin.map(|o| o.snapshot) == Some(info.id));
        assert_same(&source, info, &destination, arrived.unwrap());
    }
}

#[test]
fn what_is_forgotten_before_its_turn_is_told() {
    let (from, to) = (
        Store::new(Suite::ChaCha20Poly1305),
        Store::new(Suite::ChaCha20Poly1305),
    );
    for round in 0..3 {
        ingest_at(&from.open(), round.into(), edited(0));
    }
    let source = from.open();
    let snapshots = source.snapshots().unwrap();
    let monitor = silent();
    let mut told = Vec::new();
    let each = &mut |_: &SnapshotInfo, copied: &Copied| {
        if told.is_empty() {
            from.open().forget(&snapshots[1].id, false).unwrap();
        }
        told.push(copied.clone());
    };
    let destination = to.open();
    copy(
        &source,
        &destination,
        &snapshots,
        &options(),
        &monitor,
        each,
    )
    .unwrap();
    assert!(
        matches!(told[..], [Copied::New(_), Copied::Gone, Copied::New(_)]),
        "{told:?}"
    );
    assert_eq!(to.names(Area::Snapshots).len(), 2);
}

#[test]
fn the_same_repository_is_refused_and_an_ingest_key_cannot_be_read_with() {
    let from = Store::new(Suite::ChaCha20Poly1305);
    fixture::ingest_tree(&from.open(), "tree", edited(0), 1);
    let source = from.open();
    let snapshots = source.snapshots().unwrap();
    let refused = try_copy(&source, &from.open(), &snapshots, &silent());
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
    let (copied, _) = try_copy(&source, &open(), &snapshots, &silent()).unwrap();
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
    let (copied, _) = try_copy(&source, &open(), &snapshots, &silent()).unwrap();
    assert!(matches!(copied[..], [Copied::There(there)] if there == id));
    destination.forget(&id, false).unwrap();
    let (copied, _) = try_copy(&source, &open(), &snapshots, &silent()).unwrap();
    new_ids(&copied);
    // The other way it is of no use.
    let denied = try_copy(&open(), &from.open(), &snapshots, &silent());
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
            let first = try_copy(&source, &destination, &snapshots, &silent());
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
    let monitor = silent();
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
