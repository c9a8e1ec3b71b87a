//! The program itself: mounts in the background and foreground, as root and as an ordinary user, ended gently and not.

use std::time::{Duration, Instant};

use crate::fixture::{is_mounted, shell};

/// A repository made by the program, owned by a user.
struct Program {
    folder: tempfile::TempDir,
    user: &'static str,
}

impl Program {
    /// `user` is a prefix of commands: nothing for root.
    fn new(user: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Self { folder, user };
        // Devices in /dev may be closed to ordinary users where nothing set them up.
        shell("chmod 666 /dev/fuse");
        program.shell("chmod 777 .");
        // The build may lie where an ordinary user cannot look. By another process: a test that begins one meanwhile would hold
        // this one's handle for writing, and the copy be busy.
        program.shell(&format!("cp '{}' repo", env!("CARGO_BIN_EXE_repo")));
        program.run("mkdir source mnt; echo text > source/file; echo more > source/other");
        program.run("$repo init; $repo ingest --name first source");
        program
    }

    fn shell(&self, script: &str) -> String {
        let folder = self.folder.path().display();
        shell(&format!("cd {folder}\n{script}"))
    }

    /// Runs a script as the user, with `$repo` being the program.
    fn run(&self, script: &str) -> String {
        let folder = self.folder.path();
        let file = folder.join("script");
        let environment = format!(
            "export REPO_URL={0}/repository REPO_CACHE_DIR={0}/cache REPO_PASSPHRASE=open-sesame HOME={0}; repo={0}/repo; cd {0}",
            folder.display(),
        );
        std::fs::write(&file, format!("{environment}\n{script}\n")).unwrap();
        shell(&format!(
            "{} bash -euo pipefail {}",
            self.user,
            file.display()
        ))
    }

    fn mount_point(&self) -> std::path::PathBuf {
        self.folder.path().join("mnt")
    }

    /// The process that serves the mount.
    fn server(&self) -> String {
        let mnt = self.mount_point();
        let list = format!("pgrep -f -- '[m]ount --serve.*{}'", mnt.display());
        shell(&list).trim().to_owned()
    }
}

/// Waits for something that another process does, ten seconds at most.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let mnt = self.mount_point();
        let _ = std::process::Command::new("fusermount3")
            .arg("-uzq")
            .arg(mnt)
            .status();
    }
}

const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

#[test]
fn a_mount_in_the_background_can_be_used_when_the_command_returns() {
    let program = Program::new("");
    program.run("$repo mount first mnt; cat mnt/file");
    let server = program.server();
    let seen = shell(&format!(
        "tr '\\0' '\\n' < /proc/{server}/cmdline; tr '\\0' '\\n' < /proc/{server}/environ"
    ));
    assert!(
        !seen.contains("open-sesame"),
        "the secret is to be seen in {seen}"
    );
    program.run("$repo umount mnt");
    let gone = format!("/proc/{server}");
    wait_until("the server ends", || !std::path::Path::new(&gone).exists());
}

#[test]
fn signals_unmount() {
    let program = Program::new("");
    for signal in ["TERM", "INT"] {
        program.run("$repo mount mnt; cat mnt/latest/file");
        let server = program.server();
        shell(&format!("kill -{signal} {server}"));
        wait_until("it is unmounted", || !is_mounted(&program.mount_point()));
    }
}

#[test]
fn after_a_kill_the_mount_point_says_what_to_do() {
    let program = Program::new("");
    program.run("$repo mount mnt; cat mnt/latest/file");
    shell(&format!("kill -9 {}", program.server()));
    let mnt = program.mount_point();
    wait_until("it is dead", || {
        std::fs::metadata(&mnt).is_err_and(|e| e.raw_os_error() == Some(107))
    });
    let said = program.run("! $repo mount mnt 2>&1");
    assert!(
        said.contains("dead mount") && said.contains("repo umount"),
        "{said}"
    );
    program.run("$repo umount mnt; ! mountpoint -q mnt; $repo mount mnt; cat mnt/latest/file; $repo umount mnt");
}

#[test]
fn an_ordinary_user_mounts_with_the_helper() {
    let program = Program::new(NOBODY);
    program.run(
        "$repo mount first mnt; cat mnt/file; [ $(findmnt -n -o FSTYPE mnt) = fuse.repo ]
         ! touch mnt/new 2> said; grep -q 'Read-only' said
         $repo umount mnt; ! mountpoint -q mnt",
    );
    program.run("$repo mount mnt; cat mnt/latest/file");
    // Not even root gets in, as with every mount of an ordinary user.
    program.shell("! ls mnt 2> /dev/null");
    shell(&format!("kill -9 {}", program.server()));
    let mnt = program.mount_point();
    program.run("for i in $(seq 100); do ls mnt > /dev/null 2>&1 || break; sleep 0.05; done; $repo umount mnt");
    assert!(!is_mounted(&mnt));
    program.run("$repo mount mnt; cat mnt/latest/file");
    shell(&format!("kill -TERM {}", program.server()));
    wait_until("it is unmounted", || !is_mounted(&mnt));
    let said = program.run("! $repo mount --allow-other mnt 2>&1");
    assert!(said.contains("user_allow_other"), "{said}");
}

#[test]
fn what_cannot_be_mounted_is_said_before_it_goes_to_the_background() {
    let program = Program::new("");
    for (command, said) in [
        ("mount nowhere", "nowhere"),
        ("mount source/file", "not a directory"),
        ("mount unknown mnt", "unknown"),
        ("mount repository", "would hide"),
    ] {
        let output = program.run(&format!("! $repo {command} 2>&1"));
        assert!(output.contains(said), "{command}: {output}");
    }
    assert!(!is_mounted(&program.mount_point()));
}
