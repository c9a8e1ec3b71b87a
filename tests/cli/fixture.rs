//! A repository in a temporary directory and the program with an environment of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program.
pub(crate) const REPO: &str = env!("CARGO_BIN_EXE_repo");

/// A directory with a repository (`repository`), its key (`key`) and whatever a test puts there.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::new(&command.output().unwrap())
    }

    fn new(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Fixture {
    /// A directory without a repository.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        Self { folder }
    }

    /// A directory with an empty repository, opened by a key file: that takes no stretching.
    pub(crate) fn new() -> Self {
        let fixture = Self::empty();
        let mut init = fixture.command(&["init", "--key-file-out", "key"]);
        let ran = Ran::new(&init.env_remove("REPO_KEY_FILE").output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        fixture
    }

    /// The same with a small directory `source` in a snapshot called `small`.
    pub(crate) fn small() -> Self {
        let fixture = Self::new();
        fixture.shell("mkdir -p source/sub; cd source; echo hello > file; ln -s file link; seq 2000 > sub/numbers");
        fixture.ok(&["ingest", "source", "--name", "small"]);
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The program, in the directory, with nothing in its environment that was not put there.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(REPO);
        command.args(args);
        self.prepare(&mut command);
        command
    }

    /// Gives `command` our directory and environment.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TZ", "UTC")
            .env("REPO_URL", self.path("repository"))
            .env("REPO_CACHE_DIR", self.path("cache"))
            .env("REPO_KEY_FILE", self.path("key"))
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::new(&self.command(args).output().unwrap())
    }

    /// Runs it; it must end well. What it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.out
    }

    /// Runs it; it must end with this code, and print nothing. What it said on standard error.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert_eq!(ran.out, "", "{args:?}");
        ran.err
    }

    /// Runs it with `--json`; the document it printed.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let args = [args, &["--json"]].concat();
        serde_json::from_str(&self.ok(&args)).unwrap_or_else(|e| panic!("{args:?}: {e}"))
    }

    /// Runs it with `--json`; the documents it printed, one a line.
    pub(crate) fn json_lines(&self, args: &[&str]) -> Vec<serde_json::Value> {
        let printed = self.ok(&[args, &["--json"]].concat());
        printed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Runs a shell script in the directory, with the program as `$REPO`; its output. It must end well.
    pub(crate) fn shell(&self, script: &str) -> String {
        let ran = self.shell_run(script);
        assert_eq!(ran.code, 0, "{script}: {ran:?}");
        ran.out
    }

    /// Runs a shell script in the directory.
    pub(crate) fn shell_run(&self, script: &str) -> Ran {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        self.prepare(&mut command);
        Ran::new(&command.env("REPO", REPO).output().unwrap())
    }

    /// How many snapshots there are.
    pub(crate) fn snapshots(&self) -> usize {
        self.json(&["snapshots"]).as_array().unwrap().len()
    }
}
