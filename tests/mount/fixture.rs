//! A repository in a temporary directory, sources made by shell scripts, and mounts that end with the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use repo::catalog::CatalogPlace;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::entry::{Entry, Time};
use repo::error::Result;
use repo::format::header::Suite;
use repo::format::snapshot::StreamKind;
use repo::ingest::{Ingest, IngestRequest, StreamFacts};
use repo::mount::{self, Options, View};
use repo::progress::{Count, Monitor, Silent};
use repo::repository::{CreateOptions, Cutting, Repository, SlotOptions, WriterOptions};
use repo::source::dir::{DirOptions, DirSource};

/// Runs a shell script; its output, or a panic with what it said.
pub(crate) fn shell(script: &str) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A monitor that a test can interrupt.
#[derive(Default)]
struct Stop(AtomicBool);

impl Monitor for Stop {
    fn add(&self, _: Count, _: u64) {}
    fn expect(&self, _: Count, _: u64) {}
    fn doing(&self, _: &dyn Fn() -> String) {}
    fn warn(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A repository, a source directory and a mount point.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    key: KeyFile,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyFile::generate().unwrap();
        let slot = SlotOptions {
            role: Role::Full,
            label: String::new(),
            created: 0,
            kdf: KdfParams::default(),
        };
        let suite = Suite::ChaCha20Poly1305;
        let fixture = Self { folder, key };
        for name in ["repository", "source", "mnt"] {
            fs::create_dir(fixture.path(name)).unwrap();
        }
        let backend = repo::backend::open(fixture.path("repository").to_str().unwrap()).unwrap();
        let options = CreateOptions { suite, slot };
        Repository::create(backend.as_ref(), &options, Unlock::KeyFile(&fixture.key)).unwrap();
        fixture
    }

    /// A path in the temporary directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script in the temporary directory.
    pub(crate) fn shell(&self, script: &str) -> String {
        shell(&format!("cd {}\n{script}", self.folder.path().display()))
    }

    pub(crate) fn open(&self) -> Arc<Repository> {
        let backend = repo::backend::open(self.path("repository").to_str().unwrap()).unwrap();
        let catalog = CatalogPlace::File(self.path("catalog"));
        Repository::open(backend, Unlock::KeyFile(&self.key), &catalog, &Silent).unwrap()
    }

    /// Takes a snapshot of the source directory.
    pub(crate) fn ingest(&self, name: &str, cutting: Cutting) {
        let monitor: Arc<dyn Monitor> = Arc::new(Silent);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let request = IngestRequest {
            name: name.to_owned(),
            description: String::new(),
            tags: vec![("env".to_owned(), "test".to_owned())],
            // To the nanosecond: two ingests within a second must have an order.
            time: Time::new(i64::try_from(now.as_secs()).unwrap(), now.subsec_nanos()),
            host: String::new(),
            user: String::new(),
            sources: Vec::new(),
            program: "test".to_owned(),
            known_as: None,
            scratch: None,
            clock: Time::default,
            writer: WriterOptions::default(),
        };
        let ingest = Ingest::begin(&self.open(), request, &monitor).unwrap();
        let roots = vec![self.path("source")];
        let source = DirSource::new(roots, DirOptions::default(), ingest.monitor()).unwrap();
        let facts = |_: &DirSource| Ok(StreamFacts::of(StreamKind::Dir));
        ingest.run(source, move |_: &Entry| cutting, facts).unwrap();
    }

    /// The newest snapshot's root.
    pub(crate) fn newest(&self) -> View {
        let last = self.open().snapshots().unwrap().pop().unwrap();
        View::One(Box::new(last.snapshot.root))
    }

    /// Mounts on `mnt`; returns when it can be used.
    pub(crate) fn mount(&self, view: View, options: Options) -> Mounted {
        let (repository, at) = (self.open(), self.path("mnt"));
        let stop = Arc::new(Stop::default());
        let monitor: Arc<dyn Monitor> = stop.clone();
        let (sender, ready) = mpsc::channel();
        let at_thread = at.clone();
        let server = std::thread::spawn(move || {
            mount::run(repository, view, &at_thread, &options, &monitor, || {
                sender.send(()).unwrap();
            })
        });
        let is_ready = ready.recv().is_ok();
        assert!(is_ready, "not mounted: {:?}", server.join());
        Mounted {
            at,
            stop,
            server: Some(server),
        }
    }

    /// Mounts the newest snapshot.
    pub(crate) fn mount_newest(&self) -> Mounted {
        self.mount(self.newest(), Options::default())
    }
}

/// A mount that is served by this process.
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
    stop: Arc<Stop>,
    server: Option<JoinHandle<Result<()>>>,
}

impl Mounted {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// Tells it to stop, as a signal does.
    pub(crate) fn interrupt(&self) {
        self.stop.0.store(true, Ordering::SeqCst);
    }

    /// How serving ended; within a few seconds.
    pub(crate) fn ended(mut self) -> Result<()> {
        let server = self.server.take().unwrap();
        let begin = Instant::now();
        while !server.is_finished() {
            assert!(begin.elapsed() < Duration::from_secs(10), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        server.join().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.interrupt();
            let _ = server.join();
        }
    }
}

/// True if something is mounted there. Asks the kernel's list: what an ordinary user has mounted even root may not look at.
pub(crate) fn is_mounted(at: &Path) -> bool {
    let at = at.to_str().unwrap();
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(at))
}
