//! Where a soak happens: a folder with two repositories, keys, catalogs of several clients, and sources that change between rounds.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dice::{Dice, noise};

/// Directories that are taken in, by name.
pub(crate) const SOURCES: [&str; 2] = ["a", "b"];
/// Clients with catalogs of their own; two of three share one with others.
pub(crate) const CLIENTS: u64 = 3;

/// See the module. Kept if the test fails.
pub(crate) struct Place {
    folder: Option<tempfile::TempDir>,
    root: PathBuf,
}

impl Place {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("soak-{seed}-"))
            .tempdir()
            .unwrap();
        let root = folder.path().to_owned();
        // A long soak must not change its program because somebody builds another.
        fs::copy(env!("CARGO_BIN_EXE_repo"), root.join("repo")).unwrap();
        let place = Self {
            folder: Some(folder),
            root,
        };
        for (repository, key) in [("repository", "key"), ("other", "other-key")] {
            let args = ["--repo", repository, "init", "--key-file-out", key];
            let mut init = place.command(0, &args);
            let output = init.env_remove("REPO_KEY_FILE").output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        for name in SOURCES {
            fs::create_dir_all(place.path(name).join("sub/deep")).unwrap();
            fs::write(place.path(name).join("shared"), noise(255, 300_000)).unwrap();
            symlink("nowhere", place.path(name).join("link")).unwrap();
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The program as a client runs it.
    pub(crate) fn command(&self, client: u64, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("repo"));
        command
            .args(args)
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("TZ", "UTC")
            .env("REPO_URL", "repository")
            .env("REPO_KEY_FILE", "key")
            .env("REPO_CACHE_DIR", self.cache(client))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Where the catalog of a client is.
    pub(crate) fn cache(&self, client: u64) -> PathBuf {
        self.path(&format!("cache-{client}"))
    }

    /// Between rounds: files come, go, grow, get other modes, and get back what they once held, so that what is being pruned is wanted
    /// again.
    pub(crate) fn change_sources(&self, dice: &mut Dice) {
        for name in SOURCES {
            for _ in 0..=dice.below(4) {
                let folder = dice.pick(&["", "sub", "sub/deep"]);
                let file = self
                    .path(name)
                    .join(folder)
                    .join(format!("f{}", dice.below(4)));
                let (content, len) = (dice.below(6), dice.len(500_000));
                match dice.below(6) {
                    0 => drop(fs::remove_file(&file)),
                    1 => {
                        let sparse = fs::File::create(&file).unwrap();
                        sparse.set_len(3_000_000 + len as u64).unwrap();
                    }
                    _ => {
                        fs::write(&file, noise(content, len)).unwrap();
                        let mode = if dice.one_in(3) { 0o600 } else { 0o755 };
                        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                    }
                }
            }
            let archive = self.path(&format!("{name}.tar"));
            let made = Command::new("tar")
                .args(["--sort=name", "-cf"])
                .args([&archive, Path::new(name)])
                .current_dir(&self.root)
                .status();
            assert!(made.unwrap().success());
        }
    }

    /// What no process of a round may leave to the next: mounts.
    pub(crate) fn clean_up(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        for line in mounts.lines() {
            let at = line.split(' ').nth(1).unwrap_or_default();
            if Path::new(at).starts_with(&self.root) {
                let ended = Command::new("umount").args(["-l", at]).status();
                assert!(ended.unwrap().success(), "{at} stays mounted");
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clean_up();
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let kept = folder.keep();
            println!("soak: what is left is in {}", kept.display());
        }
    }
}

/// A digest of all that a directory holds: names, types, modes, link targets, bytes.
pub(crate) fn digest_of_tree(root: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut stack = vec![PathBuf::new()];
    while let Some(below) = stack.pop() {
        let mut entries: Vec<_> = fs::read_dir(root.join(&below))
            .unwrap_or_else(|e| panic!("{}: {e}", root.join(&below).display()))
            .map(|entry| entry.unwrap().file_name())
            .collect();
        entries.sort();
        for name in entries {
            let path = below.join(&name);
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(&[0]);
            hasher.update(&meta.permissions().mode().to_le_bytes());
            if meta.is_dir() {
                stack.push(path);
            } else if meta.is_symlink() {
                let target = fs::read_link(&full).unwrap();
                hasher.update(target.as_os_str().as_encoded_bytes());
            } else {
                let bytes = fs::read(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display()));
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(&bytes);
            }
        }
    }
    hasher.finalize().to_hex().to_string()
}
