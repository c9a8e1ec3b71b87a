//! What one process, or a few one after the other, does in a round. What it does is drawn before the round begins.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::judge::{Kind, Known};
use crate::place::{CLIENTS, Place, SOURCES, digest_of_tree};

/// One of the round.
pub(crate) struct Actor {
    number: u64,
    client: u64,
    /// Milliseconds from the beginning of the round.
    begins: u64,
    /// Milliseconds that it lives, if it is killed.
    lives: Option<u64>,
    /// Chooses among what there is when it begins.
    choice: u64,
    act: Act,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    IngestDirectory(&'static str),
    IngestArchive(&'static str),
    Forget { prune: bool },
    Prune { max_unused: &'static str },
    Mount,
    Restore,
    Export,
    Check,
    KeyAdd,
    KeyChange,
    KeyRotate,
    Pin { remove: bool },
    Copy,
    PruneOther,
    DeleteCatalog,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed = if self.lives.is_some() {
            " (killed)"
        } else {
            ""
        };
        write!(f, "{:?}{killed}", self.act)
    }
}

/// How a process ended.
enum Ended {
    Killed,
    /// By itself, with one of the codes that were expected.
    Well(Output),
}

impl Actor {
    pub(crate) fn draw(number: u64, dice: &mut Dice) -> Self {
        let source = dice.pick(&SOURCES);
        let act = match dice.below(24) {
            0..=4 => Act::IngestDirectory(source),
            5..=7 => Act::IngestArchive(source),
            8..=10 => Act::Forget {
                prune: dice.one_in(2),
            },
            11..=12 => Act::Prune {
                max_unused: dice.pick(&["0", "0", "5%"]),
            },
            13 => Act::Mount,
            14 => Act::Restore,
            15 => Act::Export,
            16 => Act::Check,
            17 => Act::KeyAdd,
            18 => Act::KeyChange,
            19 => Act::KeyRotate,
            20 => Act::Pin {
                remove: dice.one_in(2),
            },
            21 => Act::Copy,
            22 => Act::PruneOther,
            _ => Act::DeleteCatalog,
        };
        Self {
            number,
            client: dice.below(CLIENTS),
            begins: dice.below(300),
            lives: dice.one_in(3).then(|| dice.below(600)),
            choice: dice.below(1 << 20),
            act,
        }
    }

    /// Acts; the snapshots that it was told are committed.
    pub(crate) fn run(&self, place: &Place, known: &[Known], what: &str) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(self.begins));
        let what = &format!("{what}\n  {self} ({})", self.number);
        match self.act {
            Act::IngestDirectory(name) => {
                let tag = format!("tree={}", digest_of_tree(&place.path(name)));
                let args = ["ingest", name, "--name", name, "--tag", &tag, "--json"];
                self.ingest(place.command(self.client, &args), what)
            }
            Act::IngestArchive(name) => {
                let archive = place.path(&format!("{name}.tar"));
                let bytes = fs::read(&archive).unwrap();
                let tag = format!("tar={}", blake3::hash(&bytes).to_hex());
                let named = format!("tar-{name}");
                let args = ["ingest", "-", "--name", &named, "--tag", &tag, "--json"];
                let mut command = place.command(self.client, &args);
                command.stdin(File::open(archive).unwrap());
                self.ingest(command, what)
            }
            _ => {
                self.keep_house(place, known, what);
                Vec::new()
            }
        }
    }

    fn ingest(&self, command: Command, what: &str) -> Vec<String> {
        let Ended::Well(output) = self.ends(command, &[0, 7], what) else {
            return Vec::new();
        };
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        vec![said["id"].as_str().unwrap().to_owned()]
    }

    fn keep_house(&self, place: &Place, known: &[Known], what: &str) {
        let run =
            |args: &[&str], codes: &[i32]| self.ends(place.command(self.client, args), codes, what);
        match self.act {
            Act::Forget { prune } => {
                let mut args = vec!["forget", "--keep-last", "2"];
                if prune {
                    args.extend(["--prune", "--max-unused", "0"]);
                }
                run(&args, &[0, 7, 6]);
            }
            Act::Prune { max_unused } => drop(run(&["prune", "--max-unused", max_unused], &[0, 7])),
            Act::Check => drop(run(&["check"], &[0, 7])),
            Act::Pin { remove } => {
                let Some(chosen) = self.choose(known, |_| true) else {
                    return;
                };
                let mut args = vec!["pin", &chosen.id];
                if remove {
                    args.push("--remove");
                }
                // It may have been forgotten.
                run(&args, &[0, 7, 1]);
            }
            Act::Copy => {
                let args = ["copy", "--to", "other", "--to-key-file", "other-key"];
                run(&args, &[0, 7, 6]);
            }
            Act::PruneOther => {
                let at = ["--repo", "other", "--key-file", "other-key"];
                let forget = ["forget", "--keep-last", "1", "--prune", "--max-unused", "0"];
                run(&[&at[..], &forget].concat(), &[0, 7, 6]);
            }
            Act::DeleteCatalog => drop(fs::remove_dir_all(place.cache(self.client))),
            Act::Mount => self.mount(place, known, what),
            Act::Restore => self.restore(place, known, what),
            Act::Export => self.export(place, known, what),
            _ => self.keys(place, what),
        }
    }

    /// Somebody else's key: the one that all others use must go on opening.
    fn keys(&self, place: &Place, what: &str) {
        // Somebody else may be changing keys at the same time: then one of them is told to try again (5), or that there are newer keys
        // than those that it opened with (4).
        let run = |args: &[&str]| self.ends(place.command(self.client, args), &[0, 7, 4, 5], what);
        let fresh = || {
            let mut n = 0;
            loop {
                let name = format!("key-{}-{n}", self.number);
                if !place.path(&name).exists() {
                    return name;
                }
                n += 1;
            }
        };
        match self.act {
            Act::KeyAdd => drop(run(&["key", "add", "--new-key-file", &fresh()])),
            Act::KeyChange => {
                let mine = fresh();
                if let Ended::Well(output) = run(&["key", "add", "--new-key-file", &mine])
                    && output.status.success()
                {
                    let next = fresh();
                    run(&[
                        "--key-file",
                        &mine,
                        "key",
                        "change",
                        "--new-key-file",
                        &next,
                    ]);
                }
            }
            _ => drop(run(&["key", "rotate"])),
        }
    }

    fn restore(&self, place: &Place, known: &[Known], what: &str) {
        let Some(chosen) = self.choose(known, |one| one.kind == Kind::Tree) else {
            return;
        };
        let target = place.path(&format!("restored-{}", self.number));
        let args = ["restore", &chosen.id, "--target", target.to_str().unwrap()];
        let ended = self.ends(place.command(self.client, &args), &[0, 7, 1], what);
        // Under its name there is all of it or nothing, whether it was killed or not.
        if target.exists() {
            assert_eq!(
                digest_of_tree(&target),
                chosen.digest,
                "{what}: restored {}",
                chosen.id
            );
        } else if let Ended::Well(output) = ended {
            forgotten(&output, &chosen.id, what);
        }
        drop(fs::remove_dir_all(&target));
    }

    fn export(&self, place: &Place, known: &[Known], what: &str) {
        let Some(chosen) = self.choose(known, |one| one.kind == Kind::Archive) else {
            return;
        };
        let args = ["export", &chosen.id, "--format", "tar", "-o", "-"];
        let ended = self.ends(place.command(self.client, &args), &[0, 7, 1], what);
        let Ended::Well(output) = ended else {
            return;
        };
        if output.status.code() == Some(1) {
            return forgotten(&output, &chosen.id, what);
        }
        let digest = blake3::hash(&output.stdout).to_hex().to_string();
        assert_eq!(digest, chosen.digest, "{what}: exported {}", chosen.id);
    }

    fn mount(&self, place: &Place, known: &[Known], what: &str) {
        let Some(chosen) = self.choose(known, |one| one.kind == Kind::Tree) else {
            return;
        };
        let at = place.path(&format!("mnt-{}", self.number));
        fs::create_dir_all(&at).unwrap();
        let point = at.to_str().unwrap();
        let args = ["mount", "--foreground", &chosen.id, point];
        let mut serving = place.command(self.client, &args).spawn().unwrap();
        let began = Instant::now();
        let mounted = || fs::read_to_string("/proc/mounts").unwrap().contains(point);
        while !mounted() {
            if serving.try_wait().unwrap().is_some() {
                return forgotten(&serving.wait_with_output().unwrap(), &chosen.id, what);
            }
            assert!(began.elapsed() < Duration::from_mins(2), "{what}: no mount");
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(lives) = self.lives {
            std::thread::sleep(Duration::from_millis(lives / 4));
            kill(serving);
            return;
        }
        assert_eq!(
            digest_of_tree(&at),
            chosen.digest,
            "{what}: mounted {}",
            chosen.id
        );
        let umount = place.command(self.client, &["umount", point]).output();
        assert!(
            umount.as_ref().unwrap().status.success(),
            "{what}: {umount:?}"
        );
        let output = serving.wait_with_output().unwrap();
        assert!(
            matches!(output.status.code(), Some(0 | 7)),
            "{what}: {output:?}"
        );
    }

    /// One of the snapshots that there were when the round began.
    fn choose<'a>(&self, known: &'a [Known], fits: impl Fn(&Known) -> bool) -> Option<&'a Known> {
        let fitting: Vec<&Known> = known.iter().filter(|one| fits(one)).collect();
        let count = u64::try_from(fitting.len())
            .ok()
            .filter(|count| *count > 0)?;
        fitting
            .get(usize::try_from(self.choice % count).unwrap())
            .copied()
    }

    /// Runs it to its end, or kills it.
    fn ends(&self, mut command: Command, codes: &[i32], what: &str) -> Ended {
        let mut child = command.spawn().unwrap();
        // Read beside, so that nobody waits with a full pipe.
        let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipes.0.read_to_end(&mut bytes).map(|_| bytes)
        });
        let err = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipes.1.read_to_end(&mut bytes).map(|_| bytes)
        });
        if let Some(lives) = self.lives {
            std::thread::sleep(Duration::from_millis(lives));
            if child.try_wait().unwrap().is_none() {
                kill(child);
                return Ended::Killed;
            }
        }
        let output = Output {
            status: child.wait().unwrap(),
            stdout: out.join().unwrap().unwrap(),
            stderr: err.join().unwrap().unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap_or(-1);
        assert!(codes.contains(&code), "{what}: {command:?}: {code}: {said}");
        let lost = ["are not in", "is lost", "panicked"];
        assert!(
            !lost.iter().any(|word| said.contains(word)),
            "{what}: {command:?} took something for lost: {said}"
        );
        Ended::Well(output)
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The only reason for which a snapshot that was there cannot be read.
fn forgotten(output: &Output, id: &str, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    let gone = [
        "forgotten just now",
        "no snapshot is called",
        "no snapshots yet",
    ];
    assert!(
        gone.iter().any(|reason| said.contains(reason)),
        "{what}: {id}: {:?}: {said}",
        output.status
    );
}
