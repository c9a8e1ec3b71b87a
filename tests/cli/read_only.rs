//! A repository that nothing can be written to: everything that reads works, everything else says why it does not. Needs to mount, as
//! root; where that is not allowed the test says so and passes.

use std::process::Command;

use crate::fixture::Fixture;

/// Mounts that end with the test.
struct Mounted<'a>(&'a Fixture, &'static str);

impl<'a> Mounted<'a> {
    /// `name` in place, read-only.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn read_only(fixture: &'a Fixture, name: &'static str) -> Option<Self> {
        let ran = fixture.shell_run(&format!(
            "mount --bind {name} {name}; mount -o remount,ro,bind {name}"
        ));
        if ran.code != 0 {
            eprintln!("skipped: nothing can be mounted here: {}", ran.err);
            return None;
        }
        Some(Self(fixture, name))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0.path(self.1)).status());
    }
}

#[test]
fn a_read_only_repository_is_read_and_says_why_it_cannot_be_changed() {
    let fixture = Fixture::small();
    let Some(_repository) = Mounted::read_only(&fixture, "repository") else {
        return;
    };
    fixture.shell("mkdir mnt");
    for cache in ["kept", "lost", "read-only"] {
        if cache == "lost" {
            std::fs::remove_dir_all(fixture.path("cache")).unwrap();
        }
        let _cache = (cache == "read-only").then(|| Mounted::read_only(&fixture, "cache"));
        for args in [
            &["snapshots"][..],
            &["show", "small"],
            &["ls", "small"],
            &["find", "file"],
            &["diff", "small", "small"],
            &["stats"],
            &["check", "--read-data"],
            &["check", "--no-key"],
            &["key", "list"],
            &["pin"],
            &["prune", "--dry-run"],
            &["forget", "small", "--dry-run", "--prune"],
        ] {
            let ran = fixture.run(args);
            assert_eq!(ran.code, 0, "{cache}, {args:?}: {ran:?}");
        }
        fixture.shell(
            "rm -rf back plain a.tar; $REPO restore small --target back 2>said; diff -r source back
             $REPO cat small:file 2>>said | cmp - source/file
             $REPO export small --format tar -o a.tar 2>>said; mkdir plain; tar xf a.tar -C plain; diff -r source plain
             $REPO mount mnt 2>>said; diff -r source mnt/by-name/small/latest; $REPO umount mnt",
        );
        for args in [
            &["ingest", "source"][..],
            &["forget", "small"],
            &["prune"],
            &["pin", "small"],
            &["key", "add", "--new-key-file", "other"],
            &["key", "rotate"],
            &["key", "change", "--new-key-file", "other"],
            &["init", "--key-file-out", "other"],
        ] {
            let said = fixture.fails(1, args);
            assert!(
                said.contains("read-only") || args[0] == "init" && said.contains("already"),
                "{cache}, {args:?}: {said}"
            );
            assert!(!fixture.path("other").exists(), "{args:?}");
        }
    }
}
