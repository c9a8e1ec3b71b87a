//! Trees that change under the reader, and what may not be read.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::entry::{Entry, Outcome, Sink, Want};
use crate::error::Result;

#[test]
fn a_file_that_grows_is_kept_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::write(&path, vec![b'x'; 30 << 20]).unwrap();
    let mut log = std::fs::File::options().append(true).open(&path).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"line\n").unwrap();
            }
        }
    });
    let got = stream(dir.path());
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let entry = got.get("log");
    assert_eq!(entry.outcome, Some(Outcome::Changed));
    assert!(entry.bytes().len() >= 30 << 20);
    assert_eq!(got.warnings.len(), 1);
    assert!(got.warnings[0].contains("/log: changed while it was read"));
}

/// Does something to the tree when it sees an entry.
struct Meddling<F> {
    inner: MemorySink,
    at: &'static [u8],
    act: F,
}

impl<F: FnMut()> Sink for Meddling<F> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        if entry.path.as_bytes() == self.at {
            (self.act)();
        }
        self.inner.entry(entry)
    }
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.data(bytes)
    }
    fn hole(&mut self, len: u64) -> Result<()> {
        self.inner.hole(len)
    }
    fn end(&mut self, outcome: Outcome) -> Result<()> {
        self.inner.end(outcome)
    }
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.literal(bytes)
    }
}

fn meddle(root: &Path, at: &'static [u8], act: impl FnMut()) -> Streamed {
    let monitor = Arc::new(Recorder::default());
    let options = DirOptions::default();
    let mut source = DirSource::new(vec![root.into()], options, monitor.clone()).unwrap();
    let meddling = Meddling {
        inner: MemorySink::default(),
        at,
        act,
    };
    let mut sink = Checked::new(meddling, Order::Walk);
    source.stream(&mut sink).unwrap();
    Streamed {
        sink: sink.finish().unwrap().inner,
        warnings: monitor.warnings(),
    }
}

#[test]
fn large_files_that_vanish_shrink_or_change() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "for i in 1-first 2-gone 3-short 4-written 5-linked; do head -c 2M /dev/zero > $i; done; ln 5-linked 6-linked",
    );
    let at = |name: &str| dir.path().join(name);
    let got = meddle(dir.path(), b"1-first", || {
        std::fs::remove_file(at("2-gone")).unwrap();
        std::fs::remove_file(at("5-linked")).unwrap();
    });
    assert_eq!(
        got.paths(),
        ["", "1-first", "3-short", "4-written", "6-linked"]
    );
    assert_eq!(got.warnings.len(), 2, "{:?}", got.warnings);
    assert!(
        got.warnings[0].contains("2-gone: No such file"),
        "{:?}",
        got.warnings
    );
    assert_eq!(got.get("6-linked").bytes().len(), 2 << 20);

    let got = meddle(dir.path(), b"3-short", || {
        let file = std::fs::File::options()
            .write(true)
            .open(at("3-short"))
            .unwrap();
        file.set_len(100).unwrap();
    });
    assert_eq!(got.get("3-short").outcome, Some(Outcome::Changed));
    assert_eq!(got.get("3-short").bytes().len(), 100);
    assert_eq!(got.get("4-written").outcome, Some(Outcome::Whole));

    let got = meddle(dir.path(), b"4-written", || {
        let file = std::fs::File::options()
            .write(true)
            .open(at("4-written"))
            .unwrap();
        file.write_all_at(b"new", 1 << 20).unwrap();
    });
    assert_eq!(got.get("4-written").outcome, Some(Outcome::Changed));
}

#[test]
fn a_directory_swapped_for_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("f0"), "secret").unwrap();
    // More subdirectories than are listed ahead, so that the last is opened late.
    sh(
        dir.path(),
        "for i in $(seq 1000 3000); do mkdir d$i; echo $i > d$i/f; done; mkdir zzz; echo mine > zzz/f0",
    );
    let zzz = dir.path().join("zzz");
    let got = meddle(dir.path(), b"d1000", || {
        std::fs::rename(&zzz, dir.path().join("zzz-moved")).unwrap();
        std::os::unix::fs::symlink(secret.path(), &zzz).unwrap();
    });
    for entry in &got.sink.entries {
        assert_ne!(entry.bytes(), b"secret");
    }
    assert!(
        got.warnings.iter().all(|w| w.contains("zzz")),
        "{:?}",
        got.warnings
    );
}

#[test]
fn what_may_not_be_read_is_named_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "mkdir open closed; echo y > open/yes; echo n > open/no; chmod 0 open/no; echo c > closed/c; chmod 0 closed
         chown -R 65534:65534 .; chmod 755 .",
    );
    // Root may read everything: the test runs itself again without that privilege.
    let exe = std::env::current_exe().unwrap();
    let run = Command::new("setpriv")
        .args([
            "--bounding-set=-dac_override,-dac_read_search,-fowner",
            "--inh-caps=-all",
        ])
        .arg(exe)
        .args(["--exact", "source::dir::tests::changing::without_privilege"])
        .env("REPO_TEST_DIR", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn without_privilege() {
    // Only as the other half of the test above.
    let Some(dir) = std::env::var_os("REPO_TEST_DIR").map(PathBuf::from) else {
        return;
    };
    let got = stream(&dir);
    assert_eq!(got.paths(), ["", "closed", "open", "open/yes"]);
    assert_eq!(got.warnings.len(), 2, "{:?}", got.warnings);
    assert!(got.warnings[0].contains("closed: Permission denied"));
    assert!(got.warnings[0].ends_with("what is in it is left out"));
    assert!(got.warnings[1].contains("open/no: Permission denied"));
    assert_eq!(got.get("closed").entry.meta.mode, 0);
}
