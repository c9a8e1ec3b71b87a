//! Real processes that ingest, forget and prune at once, and are killed without warning. `GC_SEED` and `GC_ROUNDS` make another run,
//! or a longer one; the seed of a failure is in its message.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::noise;

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repo"));
    command
        .args(args)
        .current_dir(root)
        .env_clear()
        .env("HOME", root)
        .env("TZ", "UTC")
        .env("REPO_URL", root.join("repository"))
        .env("REPO_KEY_FILE", root.join("key"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A client of its own, or one that shares its catalog with another.
fn start(root: &Path, client: u64, args: &[&str]) -> Child {
    let cache = root.join(format!("cache-{}", client % 2));
    let mut command = command(root, args);
    command.env("REPO_CACHE_DIR", cache).spawn().unwrap()
}

fn ends_well(child: Child, what: &str) {
    let output = child.wait_with_output().unwrap();
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(code, Some(0 | 7)), "{what}: {code:?}: {said}");
    assert!(
        !said.contains("are not in"),
        "{what} took what was pruned for lost: {said}"
    );
}

#[test]
fn ingests_forgets_and_prunes_at_once_killed_at_any_moment() {
    let number = |name: &str, default| {
        let value = std::env::var(name).ok();
        value.map_or(default, |value| value.parse::<u64>().unwrap())
    };
    let (seed, rounds) = (number("GC_SEED", 7), number("GC_ROUNDS", 6));
    let mut dice = Dice(seed);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut init = command(root, &["init", "--key-file-out", "key"]);
    init.env_remove("REPO_KEY_FILE");
    ends_well(
        init.env("REPO_CACHE_DIR", root.join("cache-0"))
            .spawn()
            .unwrap(),
        "init",
    );
    for name in ["a", "b"] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("shared"), noise(255, 300_000)).unwrap();
    }
    for round in 0..rounds {
        for name in ["a", "b"] {
            // Contents come back after they were forgotten: what is being pruned is wanted again.
            let content = u8::try_from(dice.below(4)).unwrap();
            let file = format!("{name}/f{}", dice.below(3));
            fs::write(root.join(file), noise(content, 400_000)).unwrap();
        }
        let what = format!("GC_SEED={seed}, round {round}");
        let commands: [&[&str]; 4] = [
            &["ingest", "a", "--name", "a"],
            &["ingest", "b", "--name", "b"],
            &["prune", "--max-unused", "0"],
            &["forget", "--keep-last", "2", "--prune", "--max-unused", "0"],
        ];
        let running: Vec<(Child, bool)> = commands
            .iter()
            .map(|args| {
                let child = start(root, dice.below(2), args);
                std::thread::sleep(Duration::from_millis(dice.below(40)));
                (child, dice.below(3) == 0)
            })
            .collect();
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        for ((mut child, doomed), args) in running.into_iter().zip(commands) {
            if doomed {
                child.kill().unwrap();
                child.wait().unwrap();
            } else {
                ends_well(child, &format!("{what}: {args:?}"));
            }
        }
        // Somebody who has never been here looks at every byte.
        let mut check = command(root, &["check", "--read-data"]);
        let cache = root.join(format!("fresh-{round}"));
        ends_well(check.env("REPO_CACHE_DIR", cache).spawn().unwrap(), &what);
    }
    for name in ["a", "b"] {
        ends_well(start(root, 0, &["ingest", name, "--name", name]), name);
        ends_well(start(root, 1, &["prune", "--max-unused", "0"]), "prune");
        let target = format!("back-{name}");
        let restore = ["restore", name, "--target", &target];
        ends_well(start(root, 1, &restore), "restore");
        for entry in fs::read_dir(root.join(name)).unwrap() {
            let file = entry.unwrap().file_name();
            let restored = fs::read(root.join(&target).join(&file)).unwrap();
            assert!(restored == fs::read(root.join(name).join(&file)).unwrap());
        }
    }
    for area in ["sessions", "gc"] {
        let left = fs::read_dir(root.join("repository").join(area));
        let left = left.map_or(0, Iterator::count);
        assert_eq!(left, 0, "GC_SEED={seed}: {area} holds something");
    }
}
