//! A small repository on a disk, an older state of it, and another one with the same key; and what each snapshot holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::fixture::{noise, tar};

pub(crate) const REPO: &str = env!("CARGO_BIN_EXE_repo");

/// Path and bytes of every file.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Made once for all tests.
pub(crate) struct Sample {
    _folder: tempfile::TempDir,
    pub(crate) root: PathBuf,
    /// The files of each snapshot, by its id.
    pub(crate) truth: BTreeMap<String, Files>,
    /// The snapshot of an archive, and the archive.
    pub(crate) archive: (String, Vec<u8>),
}

/// Runs the program on a repository; it must end well.
fn ok(root: &Path, repository: &str, args: &[&str]) -> String {
    let output = program(root, repository, "cache")
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The program with an environment of its own. It is killed when it takes three minutes: that would be a hang.
pub(crate) fn program(root: &Path, repository: &str, cache: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", "180", REPO])
        .current_dir(root)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", root)
        .env("REPO_URL", root.join(repository))
        .env("REPO_CACHE_DIR", root.join(cache))
        .env("REPO_KEY_FILE", root.join("key"))
        .stdin(std::process::Stdio::null());
    command
}

fn write(folder: &Path, files: &[(&str, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn read(folder: &Path) -> Files {
    fn walk(top: &Path, folder: &Path, all: &mut Files) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(top, &path, all);
            } else {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap();
                all.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut all = Files::new();
    walk(folder, folder, &mut all);
    all
}

fn id_of(printed: &str) -> String {
    let shown: serde_json::Value = serde_json::from_str(printed).unwrap();
    shown["id"].as_str().unwrap().to_owned()
}

/// Copies a directory as it is.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

pub(crate) fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(make)
}

fn make() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let mut truth = BTreeMap::new();
    let ingest = |repository: &str, source: &str| {
        let args = ["ingest", source, "--name", "docs", "--json"];
        id_of(&ok(&root, repository, &args))
    };
    let init = |repository: &str, args: &[&str]| {
        let mut command = program(&root, repository, "cache");
        if args.contains(&"--key-file-out") {
            command.env_remove("REPO_KEY_FILE");
        }
        assert!(command.arg("init").args(args).status().unwrap().success());
    };
    // More than one block, so that one of them can be hurt alone.
    write(
        &root.join("one"),
        &[
            ("a", noise(700_000, 1)),
            ("b", noise(800_000, 2)),
            ("dir/small", b"small".to_vec()),
            ("dir/empty", Vec::new()),
        ],
    );
    init("repository", &["--key-file-out", "key"]);
    truth.insert(ingest("repository", "one"), read(&root.join("one")));
    copy(&root.join("repository"), &root.join("older"));
    copy(&root.join("cache"), &root.join("older-cache"));
    copy(&root.join("one"), &root.join("two"));
    write(
        &root.join("two"),
        &[("b", noise(800_000, 3)), ("dir/more/new", noise(9000, 4))],
    );
    truth.insert(ingest("repository", "two"), read(&root.join("two")));
    let archive = [
        tar::gnu_file(b"a", &noise(700_000, 1)),
        tar::gnu_file(b"own", &noise(20_000, 9)),
        vec![0; 1024],
    ]
    .concat();
    fs::write(root.join("archive.tar"), &archive).unwrap();
    let args = ["ingest", "archive.tar", "--name", "tar", "--json"];
    let id = id_of(&ok(&root, "repository", &args));
    let members = [("a", noise(700_000, 1)), ("own", noise(20_000, 9))];
    let members = members.map(|(name, bytes)| (name.to_owned(), bytes));
    truth.insert(id.clone(), members.into());
    // Other content under the same names.
    write(
        &root.join("foreign"),
        &[("a", noise(700_000, 11)), ("b", noise(800_000, 12))],
    );
    init("other", &[]);
    ingest("other", "foreign");
    Sample {
        _folder: folder,
        root,
        truth,
        archive: (id, archive),
    }
}
