//! Speed of the store: ingest, ingest again, restore, and reads at random places, of a directory.
//!
//! `cargo bench --bench store -- DIR` ingests DIR into a repository in a temporary directory ($TMPDIR). Each figure is one run, in MB
//! (10^6 bytes of content) per second of the process's CPU time, all threads together, so that other work on the machine
//! disturbs it little; reads at random are told in CPU time per read, and with the blocks that were decoded for them.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use repo::backend;
use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::entry::{EntryPath, Time};
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::format::tree::Body;
use repo::ingest::{Ingest, IngestRequest, IngestSummary, StreamFacts};
use repo::progress::{Monitor, Silent};
use repo::repository::content::Content;
use repo::repository::trees::Walk;
use repo::repository::{Blocks, CreateOptions, Cutting, Repository, SlotOptions, WriterOptions};
use repo::restore::{RestoreOptions, Selection, restore};
use repo::source::dir::{DirOptions, DirSource};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Reads at random places.
const READS: u32 = 2000;
const READ_BYTES: usize = 4096;

fn main() -> Outcome {
    let Some(tree) = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
    else {
        return report("give a directory: cargo bench --bench store -- DIR");
    };
    let tree = PathBuf::from(tree).canonicalize()?;
    let folder = tempfile::tempdir()?;
    let key = KeyFile::generate()?;
    let backend = backend::open(folder.path().join("repository"))?;
    let slot = SlotOptions {
        role: Role::Full,
        label: String::new(),
        created: 0,
        kdf: KdfParams::default(),
    };
    let options = CreateOptions {
        suite: Suite::ChaCha20Poly1305,
        slot,
    };
    Repository::create(backend.as_ref(), &options, Unlock::KeyFile(&key))?;
    let place = CatalogPlace::File(folder.path().join("catalog/catalog.sqlite"));
    let repository = Repository::open(backend, Unlock::KeyFile(&key), &place, &Silent)?;
    let first = rate("ingest", || ingest(&repository, &tree))?;
    rate("ingest again", || ingest(&repository, &tree))?;
    rate("restore", || {
        give_back(&repository, &first, &folder.path().join("back"))?;
        Ok(first.clone())
    })?;
    read_at_random(&repository, &first)
}

fn ingest(repository: &Arc<Repository>, tree: &Path) -> Outcome<IngestSummary> {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Time::new(now.tv_sec, 0)
    };
    let request = IngestRequest {
        name: "bench".to_owned(),
        description: String::new(),
        tags: Vec::new(),
        time: now(),
        host: String::new(),
        user: String::new(),
        sources: Vec::new(),
        program: "bench".to_owned(),
        known_as: Some(tree.as_os_str().as_encoded_bytes().to_vec()),
        scratch: None,
        clock: now,
        writer: WriterOptions::default(),
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let ingest = Ingest::begin(repository, request, &monitor)?;
    let options = DirOptions {
        known: ingest.known(),
        ..DirOptions::default()
    };
    let source = DirSource::new(vec![tree.to_path_buf()], options, ingest.monitor())?;
    Ok(ingest.run(
        source,
        |_| Cutting::File,
        |_| Ok(StreamFacts::of(StreamKind::Dir)),
    )?)
}

fn give_back(repository: &Repository, what: &IngestSummary, target: &Path) -> Outcome {
    let selection = Selection {
        id: what.id,
        snapshot: what.snapshot.clone(),
        path: EntryPath::root(),
        contents: false,
    };
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let options = RestoreOptions::default();
    restore(
        repository,
        &[selection],
        target,
        &options,
        &monitor,
        &mut |_| {},
    )?;
    Ok(())
}

/// Reads small pieces of files chosen by a fixed sequence, through the block cache as a mount does.
fn read_at_random(repository: &Repository, what: &IngestSummary) -> Outcome {
    let mut files = Vec::new();
    for found in Walk::new(repository, &what.snapshot.root, EntryPath::root()) {
        let (_, node) = found.map_err(|(_, error)| error)?;
        if let Body::File { content, size } = node.body
            && size > 0
        {
            files.push(content);
        }
    }
    let before = repository.cache().counts();
    let start = cpu_time();
    let mut state = 1_u64;
    let mut next = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit.max(1)
    };
    let mut buffer = vec![0; READ_BYTES];
    for _ in 0..READS {
        let at = usize::try_from(next(files.len() as u64))?;
        let content = Content::new(&files[at]);
        content.read_at(repository, next(content.len()), &mut buffer)?;
    }
    let micros = cpu_time().saturating_sub(start).as_secs_f64() * 1e6 / f64::from(READS);
    let after = repository.cache().counts();
    report(&format!(
        "{:20} {micros:9.0} us a read, {before:?} -> {after:?}",
        "read at random"
    ))
}

fn rate(what: &str, run: impl FnOnce() -> Outcome<IngestSummary>) -> Outcome<IngestSummary> {
    let start = cpu_time();
    let summary = run()?;
    let seconds = cpu_time().saturating_sub(start).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = summary.snapshot.counts.bytes as f64 / seconds / 1e6;
    report(&format!(
        "{what:20} {rate:9.0} MB/s ({seconds:.2} s of CPU time)"
    ))?;
    Ok(summary)
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

fn report(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
