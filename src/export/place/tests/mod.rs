//! Placement judged by what the kernel and the system's own tools show.

mod compare;
mod metadata;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::entry::{
    Entry, Kind, MemoryEntry, MemorySource, Order, Outcome, Piece, Source, Time, Xattr,
};
use crate::progress::Recorder;

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap()
}

fn entry(name: &str, kind: Kind, mode: u32) -> Entry {
    let mut entry = Entry::new(path(name), kind);
    entry.meta.mode = mode;
    entry.meta.mtime = Time::new(-2, 500_000_000);
    let me = rustix::process::geteuid().as_raw();
    (entry.meta.uid, entry.meta.gid) = (me, rustix::process::getegid().as_raw());
    entry
}

fn item(entry: Entry, content: Vec<Piece>) -> MemoryEntry {
    MemoryEntry {
        entry,
        content,
        outcome: None,
    }
}

fn bare(name: &str, kind: Kind, mode: u32) -> MemoryEntry {
    item(entry(name, kind, mode), Vec::new())
}

fn file(name: &str, mode: u32, bytes: &[u8]) -> MemoryEntry {
    item(
        entry(name, Kind::File, mode),
        vec![Piece::Data(bytes.to_vec())],
    )
}

/// Places the items and answers what was warned about.
fn fill(target: &Path, items: Vec<MemoryEntry>, order: Order) -> Vec<String> {
    fill_with(target, items, order, Options::default(), false)
}

fn fill_with(
    target: &Path,
    items: Vec<MemoryEntry>,
    order: Order,
    options: Options,
    occupied: bool,
) -> Vec<String> {
    let recorder = Arc::new(Recorder::default());
    let monitor: Arc<dyn Monitor> = recorder.clone();
    let mut sink = DirSink::create(target, options, order, occupied, &monitor).unwrap();
    MemorySource::new(items, order).stream(&mut sink).unwrap();
    sink.finish().unwrap();
    recorder.warnings()
}

fn output(program: &str, arguments: &[&str], at: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(at)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn place(target: &Path) -> Place {
    let monitor: Arc<dyn Monitor> = Arc::new(Recorder::default());
    Place::open(target, Options::default(), monitor).unwrap()
}

#[test]
fn every_kind_with_its_metadata() {
    let tmp = tempfile::tempdir().unwrap();
    let target = tmp.path().join("out");
    let mut linked = file("d/f", 0o640, b"content");
    linked.entry.meta.xattrs.push(Xattr {
        name: b"user.note".to_vec(),
        value: b"\0\xff".to_vec(),
    });
    linked.entry.meta.atime = Some(Time::new(7, 8));
    let items = vec![
        bare("", Kind::Directory, 0o755),
        bare("d", Kind::Directory, 0o500),
        bare("d/a-link", Kind::Symlink(b"/etc/\xff".to_vec()), 0o777),
        linked,
        bare("d/hard", Kind::HardLink(path("d/f")), 0o640),
        bare("d/pipe", Kind::Fifo, 0o622),
        bare("d/socket", Kind::Socket, 0o711),
        bare("empty", Kind::Directory, 0o1777),
        file("read-only", 0o444, b"x"),
    ];
    assert_eq!(fill(&target, items, Order::Walk), Vec::<String>::new());
    let of = |name: &str| fs::symlink_metadata(target.join(name)).unwrap();
    for (name, mode) in [
        ("", 0o755),
        ("d", 0o500),
        ("d/f", 0o640),
        ("d/pipe", 0o622),
        ("d/socket", 0o711),
        ("empty", 0o1777),
        ("read-only", 0o444),
    ] {
        assert_eq!(of(name).mode() & 0o7777, mode, "{name}");
        assert_eq!((of(name).mtime(), of(name).mtime_nsec()), (-2, 500_000_000));
    }
    assert_eq!((of("d/f").atime(), of("d/f").atime_nsec()), (7, 8));
    assert_eq!(of("d/a-link").mtime(), -2);
    assert!(of("d/pipe").file_type().is_fifo() && of("d/socket").file_type().is_socket());
    assert_eq!(of("d/f").ino(), of("d/hard").ino());
    assert_eq!(of("d/f").nlink(), 2);
    assert_eq!(fs::read(target.join("d/hard")).unwrap(), b"content");
    let shown = output("getfattr", &["-d", "-e", "hex"], &target.join("d/f"));
    assert!(shown.contains("user.note=0x00ff"), "{shown}");
}

#[test]
fn holes_stay_holes_and_a_failed_file_vanishes() {
    let tmp = tempfile::tempdir().unwrap();
    let sparse = item(
        entry("sparse", Kind::File, 0o600),
        vec![
            Piece::Hole(1 << 30),
            Piece::Data(vec![7; 4096]),
            Piece::Hole(1 << 20),
        ],
    );
    let mut failed = file("torn", 0o600, b"half");
    failed.outcome = Some(Outcome::Failed);
    fill(tmp.path(), vec![sparse, failed], Order::Walk);
    let meta = fs::metadata(tmp.path().join("sparse")).unwrap();
    assert_eq!(meta.len(), (1 << 30) + 4096 + (1 << 20));
    assert!(meta.blocks() * 512 < 1 << 16);
    assert!(!tmp.path().join("torn").exists());
}

#[test]
fn nothing_is_written_through_a_link() {
    for openat2 in [true, false] {
        let tmp = tempfile::tempdir().unwrap();
        let (target, outside) = (tmp.path().join("in"), tmp.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::create_dir(outside.join("sub")).unwrap();
        let monitor: Arc<dyn Monitor> = Arc::new(Recorder::default());
        let options = Options::default();
        let mut sink = DirSink::create(&target, options, Order::Archive, false, &monitor).unwrap();
        if !openat2 {
            sink.refuse_openat2();
        }
        let outside_bytes = outside.to_str().unwrap().as_bytes().to_vec();
        let items = vec![
            bare("abs", Kind::Symlink(outside_bytes), 0o777),
            bare("rel", Kind::Symlink(b"../outside".to_vec()), 0o777),
            bare("d", Kind::Directory, 0o755),
            bare("d/up", Kind::Symlink(b"../..".to_vec()), 0o777),
            file("abs/a", 0o644, b"1"),
            file("abs/sub/a", 0o644, b"1"),
            file("rel/a", 0o644, b"1"),
            bare("rel/d", Kind::Directory, 0o755),
            bare("abs/sub/pipe", Kind::Fifo, 0o644),
            bare("abs/sub/new/deep", Kind::Directory, 0o755),
            file("d/up/outside/a", 0o644, b"1"),
            bare("h", Kind::HardLink(path("abs/sub")), 0o644),
            bare("abs", Kind::Directory, 0o700),
            file("abs/now-fine", 0o644, b"1"),
        ];
        MemorySource::new(items, Order::Archive)
            .stream(&mut sink)
            .unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_dir(outside.join("sub")).unwrap().count(), 0);
        assert!(target.join("abs/now-fine").is_file());
        assert!(target.join("rel").is_symlink());
    }
}

#[test]
fn the_last_entry_of_a_path_counts() {
    let tmp = tempfile::tempdir().unwrap();
    let items = vec![
        file("deep/er/f", 0o600, b"first"),
        file("deep/er/f", 0o600, b"second"),
        bare("x", Kind::Symlink(b"a".to_vec()), 0o777),
        bare("x", Kind::Symlink(b"b".to_vec()), 0o777),
        bare("h", Kind::HardLink(path("deep/er/f")), 0o600),
        bare("h", Kind::HardLink(path("deep/er/f")), 0o600),
        bare("deep", Kind::Directory, 0o700),
        bare("deep", Kind::Directory, 0o750),
    ];
    assert_eq!(
        fill(tmp.path(), items, Order::Archive),
        Vec::<String>::new()
    );
    assert_eq!(fs::read(tmp.path().join("deep/er/f")).unwrap(), b"second");
    let link = fs::read_link(tmp.path().join("x")).unwrap();
    assert_eq!(link, Path::new("b"));
    let mode = fs::metadata(tmp.path().join("deep")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o750);
    assert_eq!(fs::metadata(tmp.path().join("h")).unwrap().nlink(), 2);
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 3);
}

#[test]
fn a_staged_file_appears_whole_or_not_at_all() {
    let tmp = tempfile::tempdir().unwrap();
    let name = tmp.path().join("f");
    fs::write(&name, b"old").unwrap();
    let place = place(tmp.path());
    let meta = entry("f", Kind::File, 0o600).meta;
    assert!(
        place
            .create_file(&path("f"), 0o600, Existing::Refuse)
            .is_err_and(|e| e.class() == Class::Exists)
    );
    let handle = place
        .create_file(&path("f"), 0o600, Existing::Replace)
        .unwrap();
    handle.write_at(0, b"new").unwrap();
    assert_eq!(fs::read(&name).unwrap(), b"old");
    drop(handle);
    assert_eq!(fs::read(&name).unwrap(), b"old");
    let handle = place
        .create_file(&path("f"), 0o600, Existing::Replace)
        .unwrap();
    handle.write_at(1, b"ew").unwrap();
    handle.write_at(0, b"n").unwrap();
    handle.sync().unwrap();
    handle.finish(&meta).unwrap();
    assert_eq!(fs::read(&name).unwrap(), b"new");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 1);
}

#[test]
fn paths_beyond_path_max_are_made_and_removed() {
    for openat2 in [true, false] {
        let tmp = tempfile::tempdir().unwrap();
        let place = place(tmp.path());
        if !openat2 {
            place.refuse_openat2();
        }
        let name = "n".repeat(250);
        let mut deep = EntryPath::root();
        for _ in 0..40 {
            deep = deep.join(name.as_bytes()).unwrap();
            place.create_dir(&deep).unwrap();
        }
        assert!(deep.as_bytes().len() > 10_000);
        let at = deep.join(b"file").unwrap();
        // Forget all handles, so that it is resolved from the root.
        place.dirs.forget(&EntryPath::root());
        let handle = place.create_file(&at, 0o600, Existing::Refuse).unwrap();
        handle.write_at(0, b"deep").unwrap();
        let meta = entry("f", Kind::File, 0o640).meta;
        handle.finish(&meta).unwrap();
        let closed = entry("d", Kind::Directory, 0o750).meta;
        place.finish_dir(&deep, &closed).unwrap();
        assert_eq!(place.lookup(&at).unwrap().unwrap().mode, 0o640);
        place.remove(&path(&name)).unwrap();
        assert!(place.is_empty().unwrap());
    }
}

#[test]
fn what_exists_is_found_and_updated_in_place() {
    let tmp = tempfile::tempdir().unwrap();
    fs::create_dir(tmp.path().join("d")).unwrap();
    fs::set_permissions(tmp.path().join("d"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::write(tmp.path().join("f"), b"same").unwrap();
    symlink("nowhere", tmp.path().join("l")).unwrap();
    let place = place(tmp.path());
    assert!(place.lookup(&path("no/such")).unwrap().is_none());
    assert_eq!(
        place.lookup(&path("l")).unwrap().unwrap().kind,
        rustix::fs::FileType::Symlink
    );
    place.adopt_dir(&path("d")).unwrap();
    assert_eq!(place.lookup(&path("d")).unwrap().unwrap().mode, 0o700);
    let meta = entry("f", Kind::File, 0o604).meta;
    place.update(&path("f"), &meta).unwrap();
    place.update(&path("l"), &meta).unwrap();
    let found = place.lookup(&path("f")).unwrap().unwrap();
    assert_eq!(
        (found.mode, found.mtime, found.size),
        (0o604, meta.mtime, 4)
    );
    assert_eq!(place.lookup(&path("l")).unwrap().unwrap().mtime, meta.mtime);
    assert!(place.open_file(&path("l")).is_err());
    assert!(place.open_file(&path("f")).is_ok());
}

#[test]
fn an_occupied_target_is_refused_unless_allowed() {
    let tmp = tempfile::tempdir().unwrap();
    fs::write(tmp.path().join("mine"), b"1").unwrap();
    let monitor: Arc<dyn Monitor> = Arc::new(Recorder::default());
    let options = Options::default();
    let refused = DirSink::create(tmp.path(), options, Order::Walk, false, &monitor);
    assert!(refused.is_err_and(|e| e.class() == Class::Refused));
    let items = vec![file("mine", 0o600, b"2"), file("new", 0o600, b"3")];
    fill_with(tmp.path(), items, Order::Walk, options, true);
    assert_eq!(fs::read(tmp.path().join("mine")).unwrap(), b"2");
}
