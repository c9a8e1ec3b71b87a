//! Damage of every kind to every kind of small object, as each command meets it: how it ends, and that no wrong byte comes out. Damage to
//! packs is tested beside `restore` and in `tests/damage/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::fixture::{Fixture, Ran};

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Deleted,
    Truncated,
    Flipped,
}

const DAMAGES: [Damage; 3] = [Damage::Deleted, Damage::Truncated, Damage::Flipped];

impl Damage {
    fn apply(self, object: &Path) {
        if self == Self::Deleted {
            return fs::remove_file(object).unwrap();
        }
        fs::set_permissions(object, fs::Permissions::from_mode(0o600)).unwrap();
        let mut bytes = fs::read(object).unwrap();
        let middle = bytes.len() / 2;
        match self {
            Self::Truncated => bytes.truncate(middle),
            _ => bytes[middle] ^= 4,
        }
        fs::write(object, bytes).unwrap();
    }
}

/// A repository with one of everything: two keys, a pinned snapshot, another, a plan that waits with its list of sessions, and the
/// session of somebody who died.
fn with_everything() -> Fixture {
    let fixture = Fixture::small();
    fixture.shell(
        "$REPO pin small; $REPO key add --new-key-file other >/dev/null
         mkdir more; head -c 100000 /dev/urandom > more/noise; $REPO ingest more --name gone
         echo '$REPO forget gone --prune >&2; cp -a repository whole; echo done' > produce
         $REPO ingest --name stream -- sh produce",
    );
    assert_eq!(
        fixture.shell("ls whole/gc | wc -l; ls whole/sessions | wc -l"),
        "2\n1\n"
    );
    fixture
}

/// The objects in an area.
fn objects(fixture: &Fixture, area: &str) -> Vec<PathBuf> {
    let place = fixture.path("repository").join(area);
    if place.is_file() {
        return vec![place];
    }
    let mut all: Vec<PathBuf> = fs::read_dir(place)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    all.sort();
    all
}

/// A command, and whether what it printed or made is right as far as it goes.
struct Command {
    args: &'static str,
    is_right: &'static str,
}

const COMMANDS: [Command; 8] = [
    Command {
        args: "snapshots",
        is_right: "true",
    },
    Command {
        args: "ls -R small",
        is_right: "printf 'file\\nlink\\nsub/\\nsub/numbers\\n' | cmp - out",
    },
    Command {
        args: "cat small:file",
        is_right: "cmp out source/file",
    },
    Command {
        args: "restore small --target back",
        is_right: "diff -r source back",
    },
    Command {
        args: "export small --format tar -o a.tar",
        is_right: "mkdir plain; tar xf a.tar -C plain; diff -r source plain",
    },
    Command {
        args: "mount small mnt",
        is_right: "diff -r source mnt",
    },
    Command {
        args: "check --read-data",
        is_right: "true",
    },
    Command {
        args: "ingest source --name again --json",
        is_right: "id=$(grep -m1 '\"id\"' out | cut -d'\"' -f4); $REPO restore $id --target again >/dev/null 2>&1 || true; diff -r source again",
    },
];

impl Command {
    /// Runs it on the repository as it is; its exit code. What it made is right, or it is not there.
    fn run(&self, fixture: &Fixture, what: &str) -> Ran {
        fixture.shell("rm -rf back a.tar plain again; mkdir -p mnt");
        let args: Vec<&str> = self.args.split(' ').collect();
        let ran = fixture.run(&args);
        fs::write(fixture.path("out"), &ran.out).unwrap();
        let right = fixture.shell_run(self.is_right);
        if self.args.starts_with("mount") {
            fixture.shell("$REPO umount mnt 2>/dev/null || true");
        }
        if ran.code == 0 || ran.code == 7 {
            assert_eq!(right.code, 0, "{what}, {}: {ran:?} {right:?}", self.args);
        } else {
            let made = ["back", "a.tar"].map(|name| fixture.path(name).exists());
            assert!(!made[0] && !made[1], "{what}, {}: {ran:?}", self.args);
            assert!(
                self.args.starts_with("check") || ran.out.is_empty(),
                "{what}, {}: {ran:?}",
                self.args
            );
        }
        ran
    }
}

/// The exit codes of all commands after a damage.
fn codes(fixture: &Fixture, object: &Path, damage: Damage, cold: bool) -> Vec<i32> {
    let what = format!("{damage:?} {} (cold: {cold})", object.display());
    let run = |command: &Command| {
        fixture.shell("rm -rf repository; cp -a whole repository");
        if cold {
            fixture.shell("rm -rf cache");
        }
        damage.apply(object);
        command.run(fixture, &what).code
    };
    COMMANDS.iter().map(run).collect()
}

/// Damages every object of an area, with and without a catalog, and compares how all commands end. Some depend on
/// which object it was.
fn assert_codes(area: &str, damages: &[Damage], cold: &[bool], expected: [&[i32]; 8]) {
    let fixture = with_everything();
    fixture.shell("cp -a whole repository.new; rm -rf repository; mv repository.new repository");
    for object in objects(&fixture, area) {
        for damage in damages {
            for cold in cold {
                let found = codes(&fixture, &object, *damage, *cold);
                for ((command, allowed), code) in COMMANDS.iter().zip(expected).zip(found) {
                    assert!(
                        allowed.contains(&code),
                        "{damage:?} {} (cold: {cold}), {}: {code}",
                        object.display(),
                        command.args
                    );
                }
            }
        }
    }
}

const CHANGED: [Damage; 2] = [Damage::Truncated, Damage::Flipped];
const FINE: [&[i32]; 8] = [&[0]; 8];

#[test]
fn config() {
    assert_codes("config", &[Damage::Deleted], &[true], [&[1]; 8]);
    assert_codes("config", &CHANGED, &[true, false], [&[3]; 8]);
}

/// There are two keys, one of which is ours: whoever's is damaged cannot open it, the other does not notice.
#[test]
fn keys() {
    assert_codes("keys", &DAMAGES, &[true], [&[0, 1]; 8]);
}

#[test]
fn index() {
    let lost: [&[i32]; 8] = [&[0], &[0], &[0], &[0], &[0], &[0], &[0, 7], &[0]];
    assert_codes("index", &[Damage::Deleted], &[true, false], lost);
    let changed: [&[i32]; 8] = [&[7], &[7], &[7], &[7], &[7], &[0], &[7], &[7]];
    assert_codes("index", &CHANGED, &[true, false], changed);
}

#[test]
fn snapshots() {
    let lost: [&[i32]; 8] = [&[0], &[1], &[1], &[1], &[1], &[1], &[0], &[0]];
    assert_codes("snapshots", &[Damage::Deleted], &[true, false], lost);
    let changed: [&[i32]; 8] = [&[7], &[3], &[3], &[3], &[3], &[3], &[3], &[7]];
    assert_codes("snapshots", &CHANGED, &[true], changed);
    // The catalog knows what it said; only a check reads it again.
    let known: [&[i32]; 8] = [&[0], &[0], &[0], &[0], &[0], &[0], &[3], &[0]];
    assert_codes("snapshots", &CHANGED, &[false], known);
}

/// Nothing that is needed is in them.
#[test]
fn pins_sessions_and_plans() {
    for area in ["pins", "sessions", "gc"] {
        assert_codes(area, &DAMAGES, &[true], FINE);
    }
}
