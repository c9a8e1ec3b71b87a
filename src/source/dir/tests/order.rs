//! Which entries come, in which order, whatever the number of threads; what is left out.

use std::sync::Mutex;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::*;
use crate::entry::{Entry, EntryPath, Known, Outcome, Sink, Want};
use crate::error::{Class, Error, Result};
use crate::progress::Silent;

#[test]
fn the_stream_does_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "for d in a a/b a-b a.b c c/d c/d/e f; do mkdir $d; for i in $(seq 90); do
         head -c $((RANDOM * (i % 3))) /dev/urandom > $d/$i; done; done
         head -c 7M /dev/urandom > c/large; for i in $(seq 40); do ln a/$i c/link$i; done",
    );
    let expect = stream_all(
        &[dir.path()],
        DirOptions {
            io_threads: 1,
            list_threads: 0,
            ..DirOptions::default()
        },
    );
    assert_eq!(expect.sink.entries.len(), 1 + 8 + 8 * 90 + 41);
    for (io_threads, list_threads, read_ahead_bytes) in
        [(1, 1, 1), (3, 4, 100_000), (32, 2, 8 << 20)]
    {
        let got = stream_all(
            &[dir.path()],
            DirOptions {
                io_threads,
                list_threads,
                read_ahead_bytes,
                ..DirOptions::default()
            },
        );
        assert!(got.sink.entries == expect.sink.entries);
        assert!(got.warnings.is_empty(), "{:?}", got.warnings);
    }
}

/// Makes a chain of directories with a file in each, relative to handles: its path is longer than the kernel takes.
fn deep(root: &Path, depth: usize, name: &str) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, root, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        openat(&at, "z", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        mkdirat(&at, name, Mode::RWXU).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
}

#[test]
fn paths_far_beyond_the_limit_of_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let (depth, name) = (2000, "level");
    deep(dir.path(), depth, name);
    let got = stream(dir.path());
    assert!(got.warnings.is_empty(), "{:?}", got.warnings);
    assert_eq!(got.sink.entries.len(), 1 + 2 * depth);
    let longest = got
        .sink
        .entries
        .iter()
        .map(|e| e.entry.path.as_bytes().len());
    assert_eq!(longest.max(), Some(6 * depth - 1));
    sh(dir.path(), "rm -rf level");
}

#[test]
fn long_names_far_down() {
    let dir = tempfile::tempdir().unwrap();
    let name = "x".repeat(250);
    deep(dir.path(), 400, &name);
    let got = stream(dir.path());
    assert_eq!(got.sink.entries.len(), 1 + 2 * 400);
    sh(dir.path(), "rm -rf x*");
}

/// As large as the machine that runs the tests in a hurry allows; a million takes the long suite.
fn wide(names: usize) {
    let dir = tempfile::tempdir().unwrap();
    let at = openat(
        CWD,
        dir.path(),
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )
    .unwrap();
    for number in 0..names {
        let name = format!("{:x}-{number}", number.wrapping_mul(0x9e37_79b9) & 0xffff);
        openat(&at, name, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    }
    let mut source = DirSource::new(
        vec![dir.path().to_path_buf()],
        DirOptions::default(),
        Arc::new(Silent),
    )
    .unwrap();
    let mut sink = Checked::new(Counting::default(), Order::Walk);
    source.stream(&mut sink).unwrap();
    assert_eq!(sink.finish().unwrap().entries, names + 1);
}

#[derive(Default)]
struct Counting {
    entries: usize,
    skip: bool,
}

impl Sink for Counting {
    fn entry(&mut self, _: &Entry) -> Result<Want> {
        self.entries += 1;
        Ok(if self.skip { Want::Skip } else { Want::Content })
    }
    fn data(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn hole(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
    fn end(&mut self, _: Outcome) -> Result<()> {
        Ok(())
    }
    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_directory_of_a_hundred_thousand() {
    wide(100_000);
}

#[test]
#[ignore = "takes a minute and a million inodes: for the long suite"]
fn a_directory_of_a_million() {
    wide(1_000_000);
}

#[test]
fn excluded_and_tagged_directories() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "mkdir -p keep/build build cache/deep fake; touch a.o keep/a.o keep/b.c keep/build/x build/y cache/deep/f
         printf 'Signature: 8a477f597d28d172789f06886806bc55\\n# cache' > cache/CACHEDIR.TAG; touch cache/z
         touch fake/CACHEDIR.TAG fake/file; printf 'keep/b.c\\n' > patterns",
    );
    let options = DirOptions {
        exclude: vec!["*.o".into(), "/build".into()],
        exclude_files: vec![dir.path().join("patterns")],
        exclude_caches: true,
        ..DirOptions::default()
    };
    let got = stream_all(&[dir.path()], options);
    let expect = [
        "",
        "cache",
        "cache/CACHEDIR.TAG",
        "fake",
        "fake/CACHEDIR.TAG",
        "fake/file",
        "keep",
        "keep/build",
        "keep/build/x",
        "patterns",
    ];
    assert_eq!(got.paths(), expect);
    assert!(got.warnings.is_empty());
}

#[test]
fn mount_points_stay_empty_on_one_file_system() {
    let options = DirOptions {
        one_file_system: true,
        exclude: vec!["/*".into(), "!/shm".into(), "!/null".into()],
        ..DirOptions::default()
    };
    std::fs::File::create("/dev/shm/repo-test-one-file-system").unwrap();
    let got = stream_all(&[Path::new("/dev")], options);
    std::fs::remove_file("/dev/shm/repo-test-one-file-system").unwrap();
    assert_eq!(got.paths(), ["", "null", "shm"]);
}

#[test]
fn several_sources_lie_under_their_names() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "mkdir -p one two/one; echo 1 > one/f; echo 2 > two/g; echo 3 > file; ln -s one/f link; ln -s two to",
    );
    let paths = ["two", "one", "file", "link", "to"].map(|name| dir.path().join(name));
    let roots: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let got = stream_all(&roots, DirOptions::default());
    let expect = [
        "", "file", "link", "one", "one/f", "to", "to/g", "to/one", "two", "two/g", "two/one",
    ];
    assert_eq!(got.paths(), expect);
    assert_eq!(got.get("link").bytes(), b"1\n");
    let alone = stream(&dir.path().join("file"));
    assert_eq!(alone.paths(), ["", "file"]);
    assert_eq!(alone.get("file").bytes(), b"3\n");
    let twice = vec![dir.path().join("one"), dir.path().join("two/one")];
    let error = DirSource::new(twice, DirOptions::default(), Arc::new(Silent))
        .err()
        .unwrap();
    assert!(error.to_string().contains("would both be 'one'"), "{error}");
}

/// Knows files by name, and records what it was asked.
struct Fixed(Mutex<Vec<String>>);

impl Known for Fixed {
    fn unchanged(&self, entry: &Entry) -> bool {
        assert!(entry.is_file() && entry.stat.is_some());
        self.0.lock().unwrap().push(entry.path.to_string());
        entry.path.name().starts_with(b"old")
    }
}

struct SkipOld(MemorySink);

impl Sink for SkipOld {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        self.0.entry(entry)?;
        let old = entry.path.name().starts_with(b"old");
        Ok(if old { Want::Skip } else { Want::Content })
    }
    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.data(bytes)
    }
    fn hole(&mut self, len: u64) -> Result<()> {
        self.0.hole(len)
    }
    fn end(&mut self, outcome: Outcome) -> Result<()> {
        self.0.end(outcome)
    }
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.literal(bytes)
    }
}

#[test]
fn known_files_are_neither_opened_nor_asked_for_attributes() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "for i in old1 old2 new1; do echo $i > $i; setfattr -n user.x -v y $i; done; mkdir d; mkfifo p",
    );
    let known = Arc::new(Fixed(Mutex::default()));
    let options = DirOptions {
        known: Some(known.clone()),
        ..DirOptions::default()
    };
    let mut source = DirSource::new(vec![dir.path().into()], options, Arc::new(Silent)).unwrap();
    let mut sink = Checked::new(SkipOld(MemorySink::default()), Order::Walk);
    source.stream(&mut sink).unwrap();
    let sink = sink.finish().unwrap().0;
    let old = &sink.get(b"old2").unwrap().entry;
    assert!(old.meta.xattrs.is_empty() && old.meta.user.is_empty() && old.size == 5);
    assert_eq!(sink.get(b"new1").unwrap().entry.meta.xattrs.len(), 1);
    let mut asked = known.0.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, ["new1", "old1", "old2"]);
}

struct Fails(usize);

impl Sink for Fails {
    fn entry(&mut self, _: &Entry) -> Result<Want> {
        self.0 -= 1;
        if self.0 == 0 {
            return Err(Error::new(Class::Full, "enough"));
        }
        Ok(Want::Content)
    }
    fn data(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
    fn hole(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
    fn end(&mut self, _: Outcome) -> Result<()> {
        Ok(())
    }
    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_all_threads() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "for d in $(seq 60); do mkdir $d; for i in $(seq 60); do echo $i > $d/$i; done; done",
    );
    for after in [1, 2, 70, 2000] {
        let options = DirOptions {
            read_ahead_bytes: 200,
            ..DirOptions::default()
        };
        let mut source =
            DirSource::new(vec![dir.path().into()], options, Arc::new(Silent)).unwrap();
        let error = source.stream(&mut Fails(after)).unwrap_err();
        assert_eq!(error.class(), Class::Full);
    }
    let gone = DirSource::new(
        vec!["/no/such".into()],
        DirOptions::default(),
        Arc::new(Silent),
    );
    let error = gone.unwrap().stream(&mut Fails(1)).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert_eq!(EntryPath::root().depth(), 0);
}
