//! Archives that go in come out byte for byte: through ingest, chunks, blocks, trees and recipes, and back.
//!
//! The archives are written by GNU tar, bsdtar and Python; `odd.py` writes the legal oddities that none of them
//! would. Damaged ones must be refused, or come out exactly as damaged as they were.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this whole program is a test"
)]

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use repo::backend::{Backend, Memory};
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::entry::Time;
use repo::error::Result;
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::ingest::{Ingest, IngestRequest, IngestSummary, StreamRequest, ingest_stream};
use repo::progress::{Monitor, Recorder};
use repo::repository::{CreateOptions, Repository, SlotOptions, WriterOptions};
use repo::restore::Streaming;

struct Store {
    repository: Arc<Repository>,
    monitor: Arc<Recorder>,
}

impl Store {
    fn new() -> Self {
        let backend = Arc::new(Memory::new());
        let key = KeyFile::generate().unwrap();
        let options = CreateOptions {
            suite: Suite::ChaCha20Poly1305,
            slot: SlotOptions {
                role: Role::Full,
                label: String::new(),
                created: 0,
                kdf: KdfParams::default(),
            },
        };
        Repository::create(backend.as_ref(), &options, Unlock::KeyFile(&key)).unwrap();
        let monitor = Arc::new(Recorder::default());
        let backend: Arc<dyn Backend> = backend;
        let place = CatalogPlace::Memory;
        let unlock = Unlock::KeyFile(&key);
        let repository = Repository::open(backend, unlock, &place, monitor.as_ref()).unwrap();
        Self {
            repository,
            monitor,
        }
    }

    fn ingest(&self, bytes: &[u8], kind: Option<StreamKind>) -> Result<IngestSummary> {
        let request = IngestRequest {
            name: "archive".into(),
            description: String::new(),
            tags: Vec::new(),
            time: Time::new(1000, 0),
            host: String::new(),
            user: String::new(),
            sources: Vec::new(),
            program: "test".into(),
            known_as: None,
            scratch: None,
            clock: Time::default,
            writer: WriterOptions {
                level: 1,
                workers: 2,
            },
        };
        let stream = StreamRequest {
            kind,
            ..StreamRequest::default()
        };
        let monitor: Arc<dyn Monitor> = self.monitor.clone();
        let ingest = Ingest::begin(&self.repository, request, &monitor)?;
        ingest_stream(ingest, Cursor::new(bytes.to_vec()), &stream)
    }

    /// The archive that a snapshot gives back.
    fn archive(&self, summary: &IngestSummary) -> Vec<u8> {
        let streaming = Streaming {
            blocks: &*self.repository,
            threads: NonZeroUsize::MIN,
            monitor: self.monitor.as_ref(),
        };
        let snapshot = self.repository.snapshot(&summary.id).unwrap();
        let mut out = Vec::new();
        streaming.archive(&snapshot, &mut out).unwrap();
        out
    }
}

/// Runs a tool that `scripts/install-deps` installs; gives its standard output.
fn run(program: &str, args: &[&str], dir: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|e| panic!("{program} must be installed: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    output.stdout
}

fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/archives"))
}

#[test]
fn an_odd_archive_comes_out_as_it_went_in() {
    let store = Store::new();
    let odd = run("python3", &["odd.py"], data());
    let summary = store.ingest(&odd, None).unwrap();
    assert!(store.archive(&summary) == odd);
    for part in [
        "'../up'",
        "'label'",
        "'unknown'",
        "after the end of the tar",
    ] {
        let warnings = store.monitor.warnings();
        assert!(
            warnings.iter().any(|w| w.contains(part)),
            "{part}: {warnings:?}"
        );
    }
}

#[test]
fn what_archivers_write_comes_out_as_it_went_in() {
    let store = Store::new();
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let tree = Path::new(tree);
    let python = "import sys, tarfile\n\
        t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.PAX_FORMAT)\n\
        t.add('source')\n\
        t.close()";
    for (program, args) in [
        ("tar", &["--format=v7", "-cf-", "source"][..]),
        ("tar", &["--format=ustar", "-b1", "-cf-", "source"]),
        ("tar", &["--format=gnu", "-cf-", "source"]),
        ("tar", &["--format=posix", "-zcf-", "source"]),
        ("bsdtar", &["--format=pax", "-cf-", "source"]),
        ("bsdtar", &["--format=ustar", "--zstd", "-cf-", "source"]),
        ("python3", &["-c", python]),
    ] {
        let bytes = run(program, args, tree);
        let summary = store.ingest(&bytes, None).unwrap();
        let mut plain = Vec::new();
        let mut peeled = repo::source::peel::Peeled::new(Cursor::new(bytes)).unwrap();
        std::io::Read::read_to_end(&mut peeled, &mut plain).unwrap();
        assert!(store.archive(&summary) == plain, "{program} {args:?}");
    }
    assert_eq!(store.monitor.warnings(), [""; 0]);
}

#[test]
fn a_damaged_archive_is_refused_or_comes_out_as_it_was() {
    let store = Store::new();
    let odd = run("python3", &["odd.py"], data());
    // Without the large members, so that damage hits what has meaning.
    let small = &odd[3_010_000 - 3_010_000 % 512..];
    let from = small
        .as_chunks::<512>()
        .0
        .iter()
        .position(repo::source::tar::is_header)
        .unwrap();
    let small = &small[from * 512..];
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..60 {
        let mut bytes = small.to_vec();
        let at = random(bytes.len());
        bytes[at] = u8::try_from(random(256)).unwrap();
        if random(2) == 0 {
            bytes.truncate(random(bytes.len()) + 1);
        }
        match store.ingest(&bytes, Some(StreamKind::Tar)) {
            Ok(summary) => {
                taken += 1;
                assert!(store.archive(&summary) == bytes);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 5 && refused > 5, "{taken} {refused}");
}
