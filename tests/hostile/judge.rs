//! Everything that reads and writes, on a repository that somebody tampered with: each command ends by itself with a code that it may end
//! with, and whatever comes out is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use repo::catalog::CatalogPlace;
use repo::crypto::KeyFile;
use repo::crypto::slot::Unlock;
use repo::error::Class;
use repo::progress::Silent;
use repo::repository::Repository;
use repo::vfs::{Vfs, Wait};

use crate::sample::{Files, Sample, copy, program, read};

/// A copy of the sample that is tampered with.
pub(crate) struct Victim<'a> {
    pub(crate) sample: &'a Sample,
    folder: tempfile::TempDir,
    pub(crate) case: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

/// Snapshot and path.
pub(crate) type Whole = BTreeSet<(String, String)>;

impl<'a> Victim<'a> {
    pub(crate) fn new(sample: &'a Sample, case: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["repository", "cache", "key", "one", "two", "archive.tar"] {
            copy(&sample.root.join(name), folder.path());
        }
        let case = case.to_owned();
        Self {
            sample,
            folder,
            case,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    /// How many files there are in all snapshots.
    pub(crate) fn all(&self) -> usize {
        self.sample.truth.values().map(BTreeMap::len).sum()
    }

    /// As a client that never saw the repository.
    pub(crate) fn forget_catalog(&self) {
        fs::remove_dir_all(self.path("cache")).unwrap();
    }

    /// Runs a command. It ends by itself, does not panic, and says why it fails.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.ended(
            program(self.folder.path(), "repository", "cache").args(args),
            args,
        )
    }

    pub(crate) fn ended(&self, command: &mut std::process::Command, args: &[&str]) -> Ran {
        let output = command.output().unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let case = &self.case;
        assert!(
            matches!(ran.code, 0 | 1 | 3 | 4 | 5 | 6 | 7),
            "{case}: {args:?} ended with {}: {}",
            ran.code,
            ran.err
        );
        assert!(
            !ran.err.contains("panicked"),
            "{case}: {args:?}: {}",
            ran.err
        );
        let spoke = !ran.err.trim().is_empty() || !ran.out.is_empty();
        assert!(ran.code == 0 || spoke, "{case}: {args:?} says nothing");
        ran
    }

    /// What can be restored; all of it is right, and what cannot is named.
    pub(crate) fn restored(&self) -> Whole {
        let mut whole = Whole::new();
        for (id, truth) in &self.sample.truth {
            let target = self.path("target");
            let ran = self.run(&["restore", id, "--target", "target", "--json"]);
            let (found, case) = (self.compare(&target, truth), &self.case);
            if matches!(ran.code, 0 | 7) {
                assert_eq!(found.len(), truth.len(), "{case}: {id}: {}", ran.err);
            } else if target.exists() {
                self.assert_named(&ran, truth, &found);
            }
            if target.exists() {
                fs::remove_dir_all(target).unwrap();
            }
            whole.extend(found.into_iter().map(|path| (id.clone(), path)));
        }
        whole
    }

    fn compare(&self, target: &Path, truth: &Files) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if target.exists() {
            for (path, bytes) in read(target) {
                let expected = truth.get(&path);
                let case = &self.case;
                assert!(expected == Some(&bytes), "{case}: wrong bytes in {path}");
                found.insert(path);
            }
        }
        found
    }

    /// Every file that is missing, or a directory above it, is said to be lost.
    fn assert_named(&self, ran: &Ran, truth: &Files, found: &BTreeSet<String>) {
        let case = &self.case;
        let text = String::from_utf8_lossy(&ran.out);
        let sums: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or("{}"))
            .unwrap_or_else(|e| panic!("{case}: {e}: {text}"));
        let losses = sums["losses"].as_array();
        let losses = losses.unwrap_or_else(|| panic!("{case}: {text} {}", ran.err));
        let lost: Vec<&str> = losses
            .iter()
            .map(|loss| loss["path"].as_str().unwrap())
            .collect();
        for path in truth.keys().filter(|path| !found.contains(*path)) {
            let named = lost.iter().any(|lost| {
                let below = path.strip_prefix(lost);
                lost.is_empty()
                    || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            assert!(named, "{case}: nobody says that {path} is lost: {lost:?}");
        }
    }

    /// Listings show nothing but what is there.
    pub(crate) fn listed(&self) {
        for (id, truth) in &self.sample.truth {
            let ran = self.run(&["ls", id, "--json"]);
            let mut files = BTreeSet::new();
            for line in String::from_utf8(ran.out).unwrap().lines() {
                let entry: serde_json::Value = serde_json::from_str(line).unwrap();
                if entry["type"] == "file" {
                    files.insert(entry["path"].as_str().unwrap().to_owned());
                }
            }
            let case = &self.case;
            assert!(
                files.iter().all(|path| truth.contains_key(path)),
                "{case}: {files:?}"
            );
        }
    }

    /// Archives come out as they were, or not at all.
    pub(crate) fn exported(&self) {
        let (id, archive) = &self.sample.archive;
        let out = self.path("out");
        for (id, format) in [
            (id, "original"),
            (self.sample.truth.keys().next().unwrap(), "tar"),
        ] {
            let args = ["export", id, "--format", format, "-o", "out"];
            let ran = self.run(&args);
            if matches!(ran.code, 0 | 7) && format == "original" {
                assert!(
                    fs::read(&out).unwrap() == *archive,
                    "{}: original",
                    self.case
                );
            }
            if matches!(ran.code, 0 | 7) && format == "tar" {
                let unpacked = self.path("unpacked");
                fs::create_dir(&unpacked).unwrap();
                let mut tar = std::process::Command::new("tar");
                let status = tar.args(["-xf", "out", "-C", "unpacked"]);
                let status = status.current_dir(self.folder.path()).status();
                assert!(status.unwrap().success(), "{}", self.case);
                let truth = &self.sample.truth[id];
                assert_eq!(
                    self.compare(&unpacked, truth).len(),
                    truth.len(),
                    "{}",
                    self.case
                );
                fs::remove_dir_all(unpacked).unwrap();
            }
            if out.exists() {
                fs::remove_file(&out).unwrap();
            }
        }
    }

    /// The same through the file system layer, in this process and with a time limit.
    pub(crate) fn browsed(&self) {
        let (sender, receiver) = mpsc::channel();
        let place = self.repository().to_str().unwrap().to_owned();
        let key = fs::read(self.path("key")).unwrap();
        let truth = self.sample.truth.clone();
        std::thread::spawn(move || {
            let read = catch_unwind(AssertUnwindSafe(|| browse(&place, &key, &truth)));
            drop(sender.send(read.map_err(|_| "panicked".to_owned()).and_then(|r| r)));
        });
        let answer = receiver.recv_timeout(Duration::from_mins(3));
        let answer = answer.unwrap_or_else(|e| panic!("{}: it hangs: {e}", self.case));
        answer.unwrap_or_else(|e| panic!("{}: {e}", self.case));
    }

    /// What is ingested now can be restored, whatever is damaged.
    pub(crate) fn ingested(&self, source: &str) {
        let ran = self.run(&["ingest", source, "--name", "docs", "--json"]);
        if !matches!(ran.code, 0 | 7) {
            return;
        }
        let shown: serde_json::Value = serde_json::from_slice(&ran.out).unwrap();
        let target = self.path("target");
        let id = shown["id"].as_str().unwrap();
        let ran = self.run(&["restore", id, "--target", "target"]);
        let truth = read(&self.path(source));
        let found = self.compare(&target, &truth);
        if ran.code == 0 {
            assert_eq!(found.len(), truth.len(), "{}: {}", self.case, ran.err);
        }
        if target.exists() {
            fs::remove_dir_all(target).unwrap();
        }
    }

    /// All of it.
    pub(crate) fn judge(&self) {
        let case = &self.case;
        let checked = self.run(&["check", "--read-data"]);
        let before = self.restored();
        let all = self.all();
        assert!(
            checked.code != 0
                || before.len() == all
                || self.run(&["snapshots"]).code == 6
                || self.all_there(&before),
            "{case}: check finds nothing, and files are missing"
        );
        self.listed();
        self.exported();
        self.browsed();
        self.run(&["forget", "--keep-last", "1", "--dry-run"]);
        self.run(&["prune"]);
        let kept = self.restored();
        assert!(before.is_subset(&kept), "{case}: a prune lost something");
        self.ingested("two");
        self.run(&["repair"]);
        let mended = self.restored();
        assert!(kept.is_subset(&mended), "{case}: a repair lost something");
        self.heal();
    }

    /// True if what is missing belongs to snapshots that are not there at all: nobody can know of them.
    fn all_there(&self, whole: &Whole) -> bool {
        let all = self.run(&["snapshots", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&all.out).unwrap_or_default();
        let listed = listed.as_array().cloned().unwrap_or_default();
        let ids: BTreeSet<&str> = listed.iter().filter_map(|s| s["id"].as_str()).collect();
        let there = self
            .sample
            .truth
            .iter()
            .filter(|(id, _)| ids.contains(id.as_str()));
        let mut files = there.flat_map(|(id, files)| files.keys().map(move |path| (id, path)));
        files.all(|(id, path)| whole.contains(&(id.clone(), path.clone())))
    }

    /// With the sources at hand everything comes back, but snapshots that are lost themselves.
    pub(crate) fn heal(&self) {
        let case = &self.case;
        let ran = self.run(&["repair", "--quarantine-snapshots"]);
        if ran.code == 1 || ran.code == 5 {
            // It cannot be opened, or not be written to.
            return;
        }
        for source in ["one", "two", "archive.tar"] {
            let ran = self.run(&["ingest", source, "--name", "again"]);
            assert!(matches!(ran.code, 0 | 7), "{case}: {source}: {}", ran.err);
        }
        let whole = self.restored();
        let missing = self.all_there(&whole);
        let checked = self.run(&["check", "--read-data"]);
        let said = String::from_utf8_lossy(&checked.out);
        assert!(missing, "{case}: not healed: {said} {}", ran.err);
        assert_eq!(checked.code, 0, "{case}: not healed: {said}");
    }
}

/// Reads all files of all snapshots; an error if any has wrong bytes.
fn browse(place: &str, key: &[u8], truth: &BTreeMap<String, Files>) -> Result<(), String> {
    let key = KeyFile::decode(key).map_err(|e| e.to_string())?;
    let backend = repo::backend::open(place).map_err(|e| e.to_string())?;
    let unlock = Unlock::KeyFile(&key);
    let Ok(repository) = Repository::open(backend, unlock, &CatalogPlace::Memory, &Silent) else {
        return Ok(());
    };
    for (id, files) in truth {
        let Ok(info) = repository.resolve(id) else {
            continue;
        };
        let root = info.snapshot.root;
        let vfs = Vfs::one(repository.clone(), root, None).map_err(|e| e.to_string())?;
        for (path, expected) in files {
            match content(&vfs, path, expected.len()) {
                Ok(bytes) if bytes == *expected => {}
                Ok(_) => return Err(format!("wrong bytes in {path}")),
                Err(e) if matches!(e.class(), Class::Corrupt | Class::NotFound | Class::Io) => {}
                Err(e) => return Err(format!("{path}: {:?}: {e}", e.class())),
            }
        }
    }
    Ok(())
}

fn content(vfs: &Vfs, path: &str, len: usize) -> repo::error::Result<Vec<u8>> {
    let mut inode = 1;
    for name in path.split('/') {
        let found = vfs.lookup(inode, name.as_bytes(), Wait::Yes)?;
        let absent = || repo::error::Error::invalid("it vanished from its directory");
        inode = found.ok_or_else(absent)?.inode;
    }
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let next = vfs.read(inode, bytes.len() as u64, 65_536, Wait::Yes)?;
        if next.is_empty() {
            break;
        }
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
}
