//! The process in the background, from both sides.
//!
//! ```text
//! first process                                    this program again, `mount --serve`
//!   spawn with two pipes                             read the secret until its pipe ends
//!   write the secret, close the pipe  ------->       open, mount
//!   wait for one line                 <-------       say the snapshot and the log, leave the terminal behind
//!   end                                              serve
//! ```
//! If it fails before that line it has said why on the standard error that both share, and its exit code becomes ours. Ctrl-C
//! meanwhile reaches both, as they still are one job of the shell. From that line on its standard error is the [`log`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use zeroize::Zeroizing;

use super::{Answer, Args, log};
use crate::cli::context::Context;
use crate::cli::exit::{Done, FAILURE, Failure};
use crate::cli::secret::Secret;
use crate::error::{At, Class, Error};

/// The variables that may hold or name the secret: the child gets it by the pipe alone.
const SECRETS: [&str; 4] = [
    "REPO_PASSPHRASE",
    "REPO_PASSPHRASE_FILE",
    "REPO_PASSPHRASE_COMMAND",
    "REPO_KEY_FILE",
];
/// What the first process hears if there is a log.
const LOGGED: &str = "log";
/// No secret is longer.
const MAX_SECRET_BYTES: usize = 128 << 10;

/// Starts the process that serves, and waits until the mount can be used.
pub(super) fn start(
    args: &Args,
    context: &Context,
    reference: Option<&OsString>,
    mountpoint: &Path,
    secret: &Secret,
) -> Done<Answer> {
    let mut child = command(args, context, reference, mountpoint)?
        .spawn()
        .at("start the process that serves the mount")?;
    let pid = child.id();
    if let Some(mut pipe) = child.stdin.take() {
        // If it is gone already, its exit code says more than a broken pipe.
        let _ = pipe.write_all(&secret.to_bytes());
    }
    let mut line = String::new();
    if let Some(pipe) = child.stdout.take() {
        BufReader::new(pipe)
            .read_line(&mut line)
            .at("wait for the mount")?;
    }
    match line.strip_suffix('\n') {
        Some(line) => {
            let (snapshot, logged) = line.split_once(' ').unwrap_or((line, ""));
            Ok(Answer {
                snapshot: snapshot.to_owned(),
                pid,
                log: log_place(context, mountpoint)?.filter(|_| logged == LOGGED),
            })
        }
        None => Err(failed(child)),
    }
}

/// The same program with the same options, free of the directory it was started in.
fn command(
    args: &Args,
    context: &Context,
    reference: Option<&OsString>,
    mountpoint: &Path,
) -> Done<Command> {
    let program = std::env::current_exe().at("find this program")?;
    let mut command = Command::new(program);
    command
        .arg("mount")
        .arg("--serve")
        .arg("--repo")
        .arg(context.absolute_place()?);
    if let Some(folder) = context.cache_folder() {
        let folder = std::path::absolute(&folder).at_path("find", &folder)?;
        command.arg("--cache-dir").arg(folder);
    }
    let globals = context.globals();
    for (set, flag) in [
        (args.allow_other, "--allow-other"),
        (globals.json, "--json"),
        (globals.quiet, "--quiet"),
        (globals.verbose, "--verbose"),
        (globals.no_progress, "--no-progress"),
    ] {
        if set {
            command.arg(flag);
        }
    }
    if let Some(owner) = args.owner {
        command
            .arg("--owner")
            .arg(format!("{}:{}", owner.uid, owner.gid));
    }
    command.arg("--").args(reference);
    command.arg(std::path::absolute(mountpoint).at_path("find", mountpoint)?);
    for name in SECRETS {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// It ended without a mount, and has said why.
fn failed(mut child: Child) -> Failure {
    let status = match child.wait() {
        Ok(status) => status,
        Err(error) => return Error::io("wait for the process that serves the mount", error).into(),
    };
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Failure::Code(FAILURE),
        Some(code) => Failure::Code(code),
        None => {
            let what = format!("the process that serves the mount died ({status})");
            Error::new(Class::Io, what).into()
        }
    }
}

/// In the background: the secret, from standard input.
pub(super) fn receive_secret() -> Done<Secret> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES));
    std::io::stdin()
        .lock()
        .take(MAX_SECRET_BYTES as u64)
        .read_to_end(&mut bytes)
        .at("read the secret from standard input")?;
    Secret::from_bytes(&bytes)
}

/// Where the log of the mount is; the same from both sides.
fn log_place(context: &Context, mountpoint: &Path) -> Done<Option<PathBuf>> {
    let Some(folder) = context.cache_folder() else {
        return Ok(None);
    };
    let folder = std::path::absolute(&folder).at_path("find", &folder)?;
    let mountpoint = std::path::absolute(mountpoint).at_path("find", mountpoint)?;
    Ok(Some(log::place(&folder, &mountpoint)))
}

/// The log; a mount works without one as well.
fn open_log(context: &Context, mountpoint: &Path) -> Option<File> {
    let opened = match log_place(context, mountpoint) {
        Ok(Some(place)) => log::open(&place).map_err(|error| error.to_string()),
        Ok(None) => Err("HOME is not set".to_owned()),
        Err(failure) => Err(failure.message().unwrap_or_default()),
    };
    opened
        .map_err(|why| {
            let monitor = context.monitor();
            monitor.say(&format!("the mount's warnings will be lost: no log: {why}"));
        })
        .ok()
}

/// In the background: says that the mount can be used, and lets go of the terminal, the job and the directory.
pub(super) fn ready(context: &Context, mountpoint: &Path, answer: &Answer) -> Done {
    let log = open_log(context, mountpoint);
    let mut out = std::io::stdout().lock();
    // If nobody waits any more, the mount is there all the same.
    let logged = if log.is_some() { LOGGED } else { "" };
    let _ = writeln!(out, "{} {logged}", answer.snapshot);
    let _ = out.flush();
    // A process group leader cannot begin a session; then it is nobody's job already.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/").at("go to /")?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .at("open /dev/null")?;
    let null = null.as_fd();
    rustix::stdio::dup2_stdin(null).at("leave standard input")?;
    rustix::stdio::dup2_stdout(null).at("leave standard output")?;
    let errors = log.as_ref().map_or(null, AsFd::as_fd);
    rustix::stdio::dup2_stderr(errors).at("leave standard error")?;
    let monitor = context.monitor();
    monitor.tell_times();
    monitor.say(&format!(
        "mounted {} on {}; served by process {}",
        answer.what(),
        mountpoint.display(),
        answer.pid
    ));
    Ok(())
}
