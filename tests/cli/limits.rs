//! Runs that are ended by the kernel: killed in the middle, or held to a bound of memory, which needs no rights.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, Ran};

/// A source of many small files, a large one, and names of one file.
fn with_tree(files: u32, large_mib: u32) -> Fixture {
    let fixture = Fixture::new();
    fixture.shell(&format!(
        "mkdir -p tree; cd tree
         for d in $(seq 20); do mkdir d$d; for f in $(seq {}); do echo $d.$f > d$d/f$f; done; ln d$d/f1 d$d/link; done
         head -c {large_mib}M /dev/urandom > large",
        files / 20
    ));
    fixture
}

/// Waits until `seen` says so, or the process has ended.
fn wait_for(child: &mut Child, mut seen: impl FnMut() -> bool) {
    let patience = Instant::now();
    while !seen() && child.try_wait().unwrap().is_none() {
        assert!(patience.elapsed() < Duration::from_mins(5), "it hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The names that a restore has made so far, in its staging directory.
fn staged(fixture: &Fixture) -> usize {
    fixture
        .shell("find . -path './.back.restore-*' 2>/dev/null | wc -l || true")
        .trim()
        .parse()
        .unwrap()
}

/// `kill -9` at any moment leaves nothing under the target's name, or all of it, and does not keep a second run from it.
#[test]
fn a_restore_that_is_killed_leaves_nothing_or_all_of_it() {
    let fixture = with_tree(400, 8);
    fixture.ok(&["ingest", "tree", "--name", "tree", "-q"]);
    for moment in [0, 1, 2, 200, 440, usize::MAX] {
        let mut child = fixture
            .command(&["restore", "tree", "--target", "back", "-q"])
            .spawn()
            .unwrap();
        wait_for(&mut child, || match moment {
            0 => true,
            usize::MAX => fixture.path("back").exists(),
            names => staged(&fixture) >= names,
        });
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert!(!ended.success() || fixture.path("back").exists());
        if fixture.path("back").exists() {
            fixture.shell("diff -r tree back");
        }
        fixture.shell("rm -rf back");
        let left = fixture.shell("ls -d .back.restore-* 2>/dev/null || true");
        let ran = fixture.run(&["restore", "tree", "--target", "back"]);
        assert_eq!(ran.code, 0, "{moment}: {ran:?}");
        for name in left.lines() {
            assert!(ran.err.contains(name), "what is left is named: {ran:?}");
        }
        fixture.shell("diff -r tree back; rm -rf back .back.restore-*");
    }
}

/// Data beyond this cannot be had at all (`RLIMIT_DATA`): who can make no cgroup is held to a bound all the same.
const LIMIT_KIB: u64 = 512 << 10;

/// Runs it under the limit; how much memory it had at most, in KiB.
fn limited(fixture: &Fixture, args: &[&str]) -> (Ran, u64) {
    let script = r"
import os, resource, subprocess, sys
limit = int(sys.argv[1]) << 10
code = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL,
    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
";
    let mut command = std::process::Command::new("python3");
    command
        .args(["-c", script, &LIMIT_KIB.to_string(), crate::fixture::REPO])
        .args(args);
    fixture.prepare(&mut command);
    let ran = Ran::of(&mut command);
    let most = ran.out.trim().parse().unwrap_or(u64::MAX);
    (ran, most)
}

#[test]
fn everything_works_below_512_mib_without_a_cgroup() {
    let fixture = with_tree(400, 32);
    fixture.shell("tar cf tree.tar tree");
    for args in [
        &["ingest", "tree"] as &[&str],
        &["ingest", "tree.tar", "--name", "archive"],
        &["restore", "tree", "--target", "back"],
        &["export", "archive", "--format", "tar", "-o", "out.tar"],
        &["export", "tree", "--format", "tar.gz", "-o", "out.tar.gz"],
        &["check", "--read-data"],
    ] {
        let (ran, most) = limited(&fixture, args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(most < LIMIT_KIB, "{args:?}: {most} KiB");
    }
    fixture.shell("diff -r tree back; cmp tree.tar out.tar");
}
