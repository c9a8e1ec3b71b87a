//! Archives made by GNU tar, through a real repository and back, byte for byte.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::place;
use crate::error::Class;
use crate::format::snapshot::{StreamDigest, StreamKind};
use crate::ingest::StreamFacts;
use crate::maintain::fixture::{Store, noise};
use crate::progress::Silent;
use crate::repository::Repository;
use crate::restore::*;
use crate::source::tar::{TarOptions, TarSource};

/// An archive with a hole, a link, a long name, an early version of a file behind its late one, and noise at its end.
fn archive(dir: &Path) -> Vec<u8> {
    let tree = dir.join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("sub/big"), noise(1, 3_000_000)).unwrap();
    std::fs::write(tree.join("twice"), "early").unwrap();
    std::fs::write(tree.join("n".repeat(200)), "long").unwrap();
    std::fs::hard_link(tree.join("sub/big"), tree.join("other")).unwrap();
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"island", 1 << 20).unwrap();
    sparse.set_len(5 << 20).unwrap();
    let tar = dir.join("a.tar");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("tar");
        command.arg("-C").arg(dir).args(arguments).arg(&tar);
        let status = command.status().expect("GNU tar must be installed");
        assert!(status.success(), "tar {arguments:?}");
    };
    run(&["--format=gnu", "-S", "-c", "tree", "-f"]);
    std::fs::write(tree.join("twice"), "late and longer").unwrap();
    run(&["--format=gnu", "-r", "tree/twice", "-f"]);
    let mut bytes = std::fs::read(&tar).unwrap();
    bytes.extend_from_slice(&noise(9, 1234));
    bytes
}

fn digest(bytes: &[u8]) -> StreamDigest {
    StreamDigest {
        bytes: bytes.len() as u64,
        blake3: *blake3::hash(bytes).as_bytes(),
    }
}

fn streaming(repository: &Repository) -> Streaming<'_> {
    Streaming {
        blocks: repository,
        threads: NonZeroUsize::new(2).unwrap(),
        monitor: &Silent,
    }
}

fn ingested(bytes: &[u8]) -> Store {
    let store = Store::new();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let source = TarSource::new(
        std::io::Cursor::new(bytes.to_vec()),
        TarOptions::default(),
        monitor,
    );
    let mut facts = StreamFacts::of(StreamKind::Tar);
    facts.stream = Some(digest(bytes));
    store.ingest_source("tar", source, facts);
    store
}

#[test]
fn gnu_tar_comes_out_as_it_went_in() {
    let (dir, _) = place();
    let bytes = archive(dir.path());
    let store = ingested(&bytes);
    let repository = store.open();
    let snapshot = repository.resolve("tar").unwrap().snapshot;
    let mut out = Vec::new();
    let given = streaming(&repository)
        .original(&snapshot, &mut out)
        .unwrap();
    assert!(out == bytes);
    assert_eq!(given, digest(&bytes));
}

#[test]
fn it_restores_as_tar_extracts_it() {
    let (dir, to) = place();
    let bytes = archive(dir.path());
    let repository = ingested(&bytes).open();
    let info = repository.resolve("tar").unwrap();
    let selection = Selection {
        id: info.id,
        snapshot: info.snapshot,
        path: crate::entry::EntryPath::root(),
        contents: false,
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let with = super::options();
    let done = restore(
        &*repository,
        &[selection],
        &to,
        &with,
        &monitor,
        &mut |_| {},
    );
    assert_eq!(done.unwrap().lost, 0);
    let same = Command::new("diff")
        .arg("-r")
        .arg(dir.path().join("tree"))
        .arg(to.join("tree"))
        .status();
    assert!(same.unwrap().success());
    let meta = |name: &str| std::fs::metadata(to.join("tree").join(name)).unwrap();
    assert_eq!(meta("other").ino(), meta("sub/big").ino());
    assert!(meta("sparse").blocks() * 512 < 1 << 20);
}

#[test]
fn damage_is_never_given_out_as_an_archive() {
    let (dir, _) = place();
    let bytes = archive(dir.path());
    let store = ingested(&bytes);
    for area in [crate::backend::Area::Data, crate::backend::Area::Meta] {
        let key = &store.keys(area)[0];
        let good = crate::backend::Backend::read_all(&*store.backend, key, u64::MAX).unwrap();
        store.tamper(key, Some(&|bytes| bytes[1000] ^= 1));
        let repository = store.open();
        let snapshot = repository.resolve("tar").unwrap().snapshot;
        let mut out = Vec::new();
        let error = streaming(&repository)
            .archive(&snapshot, &mut out)
            .unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{error}");
        assert!(bytes.starts_with(&out) && out.len() < bytes.len());
        store.backend.tamper(key, Some(good));
    }
}
