//! A disk that is full to the last byte, or out of inodes, with the repository on it and the catalog as well. Needs to mount a small
//! file system, as root; where that is not allowed the tests say so and pass.

use std::path::Path;
use std::process::Command;

use crate::fixture::{Fixture, Ran};

/// What a disk is made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Ext4,
    Tmpfs,
}

/// A fixture whose `disk` is a file system of its own.
struct Disk(Fixture);

impl Disk {
    /// A disk of so many MiB; nothing where none can be mounted.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn new(kind: Kind, mebibytes: u32) -> Option<Self> {
        let disk = Self(Fixture::empty());
        let make = match kind {
            Kind::Ext4 => {
                disk.0.shell(&format!(
                    "truncate -s {mebibytes}M image; mkfs.ext4 -q -m 0 -N 400 image"
                ));
                "mkdir disk; mount -o loop image disk".to_owned()
            }
            Kind::Tmpfs => {
                format!("mkdir disk; mount -t tmpfs -o size={mebibytes}m,nr_inodes=500 none disk")
            }
        };
        let mounted = disk.0.shell_run(&make);
        if mounted.code != 0 {
            eprintln!("skipped: no {kind:?} can be mounted here: {}", mounted.err);
            return None;
        }
        Some(disk)
    }

    /// A new repository on it. The catalog is there as well.
    fn with_repository(kind: Kind, mebibytes: u32) -> Option<Self> {
        let disk = Self::new(kind, mebibytes)?;
        disk.0.shell("mkdir disk/repository disk/cache; ln -s disk/repository repository; ln -s disk/cache cache");
        assert_eq!(disk.init().code, 0);
        Some(disk)
    }

    fn init(&self) -> Ran {
        let mut init = self.0.command(&["init", "--key-file-out", "key"]);
        Ran::of(init.env_remove("REPO_KEY_FILE"))
    }

    /// A snapshot of `mebibytes` that do not compress.
    fn ingest(&self, name: &str, mebibytes: u32) {
        self.0.shell(&format!(
            "mkdir {name}; head -c {mebibytes}M /dev/urandom > {name}/noise; seq 500 > {name}/numbers"
        ));
        self.0.ok(&["ingest", name, "--name", name]);
    }

    /// Takes every byte.
    fn fill(&self) {
        self.0.shell(
            "dd if=/dev/zero of=disk/filler bs=64k 2>/dev/null || true
             dd if=/dev/zero of=disk/filler.end bs=1 2>/dev/null || true
             ! echo more >> disk/filler.end",
        );
    }

    /// Takes every inode.
    fn fill_inodes(&self) {
        self.0.shell("mkdir disk/many; for i in $(seq 1000); do touch disk/many/$i 2>/dev/null || break; done; ! touch disk/more");
    }

    fn reserve(&self) -> usize {
        let folder = self.0.path("disk/repository/reserve");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    /// Runs it; it must end with this code. All that it said.
    fn ends(&self, code: i32, args: &[&str]) -> String {
        let ran = self.0.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        format!("{}{}", ran.out, ran.err)
    }

    /// All that reads does, and `name` is what was ingested. Nobody left temporary files.
    fn assert_readable(&self, name: &str) {
        self.ends(0, &["snapshots"]);
        self.ends(0, &["ls", name]);
        self.ends(0, &["find", "noise"]);
        self.ends(0, &["stats"]);
        self.ends(0, &["check", "--read-data"]);
        self.0.shell(&format!(
            "rm -rf back a.tar plain; $REPO restore {name} --target back; diff -r {name} back
             $REPO cat {name}:numbers | cmp - {name}/numbers
             $REPO export {name} --format tar -o a.tar; mkdir plain; tar xf a.tar -C plain; diff -r {name} plain
             test -z \"$(find disk/repository -name 'tmp-*')\""
        ));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let disk = self.0.path("disk");
        // Mounted or not: a test that fails before leaves nothing behind either.
        drop(
            Command::new("umount")
                .args(["-q".as_ref(), Path::as_os_str(&disk)])
                .output(),
        );
    }
}

#[test]
fn a_full_disk_is_read_and_forgotten_from_and_pruned() {
    for kind in [Kind::Ext4, Kind::Tmpfs] {
        let Some(disk) = Disk::with_repository(kind, 24) else {
            continue;
        };
        disk.ingest("one", 4);
        disk.ingest("two", 3);
        let whole = disk.reserve();
        assert!(whole >= 12, "{whole}");
        disk.0
            .shell("mkdir big; head -c 26M /dev/urandom > big/noise");
        let said = disk.ends(1, &["ingest", "big"]);
        assert!(
            said.contains("No space left") && said.contains("make room"),
            "{said}"
        );
        disk.fill();
        assert_eq!(disk.reserve(), whole, "an ingest does not take it");
        for name in ["one", "two"] {
            disk.assert_readable(name);
        }
        let said = disk.ends(0, &["ls", "one"]);
        assert_eq!(
            said.matches("the catalog cannot be kept").count(),
            1,
            "{said}"
        );
        assert!(said.contains("no space is left there"), "{said}");
        disk.0.shell("mkdir mnt; $REPO mount mnt 2>said; diff -r two mnt/by-name/two/latest; $REPO umount mnt");
        let foreseen = disk.ends(0, &["forget", "one", "--dry-run", "--prune"]);
        assert!(foreseen.contains("would free"), "{foreseen}");
        disk.ends(1, &["ingest", "one", "--name", "three"]);
        disk.ends(0, &["forget", "one"]);
        let said = disk.ends(0, &["prune"]);
        assert!(
            said.contains("freed") && !said.contains("0 packs"),
            "{said}"
        );
        assert_eq!(disk.reserve(), whole, "{kind:?}: set aside again");
        disk.assert_readable("two");
        // There is room again, for the catalog as well.
        disk.0.shell("truncate -s -1M disk/filler");
        disk.ingest("small", 1);
        assert!(!disk.ends(0, &["ls", "small"]).contains("catalog cannot"));
        disk.assert_readable("small");
    }
}

#[test]
fn a_disk_without_inodes_is_pruned() {
    for kind in [Kind::Ext4, Kind::Tmpfs] {
        let Some(disk) = Disk::with_repository(kind, 32) else {
            continue;
        };
        disk.ingest("one", 2);
        disk.ingest("two", 2);
        disk.fill_inodes();
        disk.assert_readable("one");
        disk.ends(1, &["ingest", "one", "--name", "three"]);
        disk.ends(0, &["forget", "one", "--prune"]);
        disk.assert_readable("two");
        assert!(disk.reserve() >= 12, "{kind:?}");
    }
}

/// Repacking takes space of its own; what nothing needs goes before, and makes room for it.
#[test]
fn what_cannot_be_repacked_does_not_keep_dead_packs() {
    let Some(disk) = Disk::with_repository(Kind::Ext4, 32) else {
        return;
    };
    disk.ingest("dead", 5);
    // One pack, half of which is needed by another snapshot.
    disk.0.shell("mkdir both half; head -c 4M /dev/urandom > both/a; head -c 4M /dev/urandom > both/b; cp both/b half");
    disk.0.ok(&["ingest", "both", "--name", "both"]);
    disk.0.ok(&["ingest", "half", "--name", "half"]);
    disk.fill();
    disk.ends(0, &["forget", "both"]);
    // Nothing is dead in whole but some trees: that much is freed, and why not more is told.
    let said = disk.ends(7, &["prune", "--max-unused", "0"]);
    assert!(said.contains("no room to repack"), "{said}");
    assert!(said.contains("garbage that stays"), "{said}");
    // With a dead pack there is room for the rest, in the same run.
    disk.ends(0, &["forget", "dead"]);
    let said = disk.ends(0, &["prune", "--max-unused", "0"]);
    assert!(
        said.contains("repacked") && !said.contains("no room"),
        "{said}"
    );
    disk.ends(0, &["check", "--read-data"]);
    disk.0
        .shell("$REPO restore half --target back 2>said; diff -r half back");
}

#[test]
fn keys_are_changed_on_a_full_disk() {
    let Some(disk) = Disk::with_repository(Kind::Ext4, 24) else {
        return;
    };
    disk.ingest("one", 2);
    disk.fill();
    disk.ends(
        0,
        &[
            "key",
            "add",
            "--label",
            "second",
            "--new-key-file",
            "second",
        ],
    );
    disk.ends(0, &["key", "rotate"]);
    disk.ends(0, &["key", "change", "--new-key-file", "third"]);
    disk.ends(1, &["ls", "one"]);
    for key in ["second", "third"] {
        disk.ends(0, &["ls", "one", "--key-file", key]);
    }
    let keys = disk.0.json(&["key", "list", "--key-file", "third"]);
    let second = keys
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["label"] == "second");
    let id = second.unwrap()["id"].as_str().unwrap();
    disk.ends(0, &["key", "remove", id, "--key-file", "third"]);
    disk.ends(1, &["ls", "one", "--key-file", "second"]);
    disk.ends(0, &["check", "--read-data", "--key-file", "third"]);
}

#[test]
fn a_repository_is_made_where_there_is_no_room_for_a_reserve() {
    let Some(disk) = Disk::new(Kind::Tmpfs, 2) else {
        return;
    };
    disk.0
        .shell("mkdir disk/repository; ln -s disk/repository repository");
    let made = disk.init();
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.err.contains("no room to set space aside"), "{made:?}");
    disk.0.shell("mount -o remount,size=20m disk");
    disk.ingest("one", 1);
    assert_eq!(
        disk.reserve(),
        12,
        "the first ingest with room for it makes it"
    );
}

/// An ingest whose catalog has no room any more ended with it, although the repository had room.
#[test]
fn a_catalog_whose_disk_becomes_full_stops_nobody() {
    let Some(disk) = Disk::new(Kind::Tmpfs, 3) else {
        return;
    };
    let fixture = &disk.0;
    fixture.shell("mkdir disk/cache; ln -s disk/cache cache");
    assert_eq!(disk.init().code, 0);
    fixture.shell("head -c 3M /dev/urandom > noise; head -c 18M /dev/urandom > more; echo 'cat noise; dd if=/dev/zero of=disk/filler bs=4k 2>/dev/null; cat more' > produce");
    let ran = fixture.run(&["ingest", "--name", "stream", "--", "sh", "produce"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.err
            .matches("the catalog cannot be kept up to date")
            .count(),
        1,
        "{ran:?}"
    );
    fixture.shell("cat noise more > whole; $REPO cat stream 2>said | cmp - whole");
    let again = fixture.run(&["ingest", "noise", "--name", "again"]);
    assert_eq!(again.code, 0, "{again:?}");
    disk.ends(0, &["check", "--read-data"]);
    disk.ends(0, &["forget", "stream", "--prune"]);
    fixture.shell("rm disk/filler; $REPO cat again | cmp - noise; $REPO check --read-data");
}
