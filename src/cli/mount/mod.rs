//! `repo mount`: snapshots as a file system.
//!
//! In the background the mount is served by a process of its own: this program again, which gets the secret through a pipe
//! (an argument or a variable could be read by others), opens the repository, mounts, and says so on another pipe. Only then the
//! first process ends, so that whoever calls it can use the mount at once, and learns why if there is none.

mod background;
mod log;
mod owner;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Failure, Hint};
use super::output::Output;
use super::place;
use super::secret::{Purpose, Secret};
use super::text;
use crate::error::Class;
use crate::mount::{self, Options, View};
use crate::repository::{Repository, Session};
use crate::vfs::{Owner, Store, shown_root};

/// Browse snapshots as a read-only file system
///
/// Without REF all snapshots are there: by-id/, by-name/NAME/TIME (with a 'latest' link), by-tag/; new ones appear while it is
/// mounted. With REF, that snapshot is at the root of the mount. Files can be read at once, at any place: nothing is unpacked
/// first. Disk images inside can be loop-mounted.
///
/// The mount is read-only in every respect. It is served in the background until 'repo umount', or umount(8), or a restart; with
/// --foreground until Ctrl-C; its warnings go to a log file, which the command names. Damage in the repository is an I/O error of the file concerned, never wrong bytes.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "repo mount [OPTIONS] [REF] MOUNTPOINT",
    after_long_help = "\
Examples:
  repo mount /mnt/snap
  repo mount home~3 /mnt/snap
  repo mount --allow-other --owner www-data: web /srv/old
  repo mount vm1 /mnt/snap && mount -o loop,ro /mnt/snap/cow.raw /mnt/disk

Other users than root need fusermount3 (package fuse3); --allow-other then needs 'user_allow_other' in /etc/fuse.conf."
)]
pub(super) struct Args {
    /// Which snapshot (all if there is none), and an existing directory to mount on
    #[arg(value_name = "[REF] MOUNTPOINT", required = true, num_args = 1..=2,
          value_hint = clap::ValueHint::DirPath)]
    what: Vec<OsString>,
    /// Serve it here until Ctrl-C, with warnings on standard error
    #[arg(short, long)]
    foreground: bool,
    /// Let other users in; permissions in the snapshots then count for them
    #[arg(long)]
    allow_other: bool,
    /// Show everything as owned by this user and group (names or numbers) [USER: is the user's own group]
    #[arg(long, value_name = "USER[:GROUP]", value_parser = owner::parse)]
    owner: Option<Owner>,
    /// We are the process in the background: the secret comes by standard input
    #[arg(long, hide = true)]
    serve: bool,
}

#[derive(Serialize)]
struct Mounted<'a> {
    mountpoint: &'a str,
    snapshot: Option<String>,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

/// Mounts, here or in the background.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let (reference, mountpoint) = match args.what.as_slice() {
        [mountpoint] => (None, PathBuf::from(mountpoint)),
        [reference, mountpoint] => (Some(reference), PathBuf::from(mountpoint)),
        _ => return Err(Failure::usage("name a directory to mount on")),
    };
    if args.serve {
        let secret = background::receive_secret()?;
        return serve(args, context, reference, &mountpoint, &secret, &|answer| {
            background::ready(context, &mountpoint, answer)
        });
    }
    // What can be known to fail without a passphrase fails before one is asked for.
    let (backend, _) = context.find()?;
    check_mountpoint(&mountpoint)?;
    drop(backend);
    let secret = context.secret(Purpose::Open)?;
    if args.foreground {
        return serve(args, context, reference, &mountpoint, &secret, &|answer| {
            tell(context, &mountpoint, answer)
        });
    }
    let answer = background::start(args, context, reference, &mountpoint, &secret)?;
    tell(context, &mountpoint, &answer)
}

/// What is known of a mount once it is there.
pub(super) struct Answer {
    /// The snapshot, in hexadecimal; empty for all.
    snapshot: String,
    /// The process that serves it.
    pid: u32,
    /// Where its warnings go, if not to standard error.
    log: Option<PathBuf>,
}

impl Answer {
    /// For people.
    fn what(&self) -> String {
        match self.snapshot.get(..8) {
            Some(short) => format!("snapshot {short}"),
            None => "all snapshots".to_owned(),
        }
    }
}

/// Opens, mounts and serves until the end; `ready` is called in between.
fn serve(
    args: &Args,
    context: &Context,
    reference: Option<&OsString>,
    mountpoint: &Path,
    secret: &Secret,
    ready: &dyn Fn(&Answer) -> Done,
) -> Done {
    let (backend, config) = context.find()?;
    let location = backend.location();
    let repository = context.open_found(backend, &config, secret)?;
    let (view, snapshot, _session) = view(context, &repository, reference)?;
    let options = Options {
        allow_other: args.allow_other,
        owner: args.owner,
        source: format!("repo:{location}"),
        keep_visible: keep_visible(context)?,
    };
    let answer = Answer {
        snapshot,
        pid: std::process::id(),
        log: None,
    };
    let mut told = Ok(());
    let store: Arc<dyn Store> = repository;
    let monitor = context.library_monitor();
    mount::run(store, view, mountpoint, &options, &monitor, || {
        told = ready(&answer);
    })
    .hint_for(Class::Busy, || {
        let shown = mountpoint.display();
        format!("'repo umount {shown}' ends what is there; or choose another directory")
    })?;
    if args.serve {
        let shown = mountpoint.display();
        context
            .monitor()
            .say(&format!("no longer mounted on {shown}"));
    }
    told
}

/// What is shown, its id, and the session that keeps it. A mount of all snapshots announces them itself.
fn view(
    context: &Context,
    repository: &Repository,
    reference: Option<&OsString>,
) -> Done<(View, String, Option<Session>)> {
    repository.require_full("mount snapshots")?;
    let Some(reference) = reference else {
        return Ok((View::All, String::new(), None));
    };
    let place = place::parse(repository, reference)?;
    if place.path.is_some_and(|path| !path.is_root()) {
        return Err(Failure::usage("only whole snapshots can be mounted")
            .hint("mount the snapshot, and use the directory in it"));
    }
    let info = place.snapshot;
    let session = place::announce(repository, context, [(info.id, &info.snapshot)])?;
    let id = info.id.to_hex();
    let root = Box::new(shown_root(info.snapshot));
    Ok((View::One(root), id, session))
}

/// The directories that the process itself reads while it serves: hidden by the mount, it would wait for itself.
fn keep_visible(context: &Context) -> Done<Vec<PathBuf>> {
    let place = PathBuf::from(context.place()?);
    Ok([Some(place), context.cache_folder()]
        .into_iter()
        .flatten()
        .filter(|p| p.exists())
        .collect())
}

/// The commonest mistake, told before anything is asked. (A dead mount has no metadata; the library knows it.)
fn check_mountpoint(mountpoint: &Path) -> Done {
    match std::fs::metadata(mountpoint) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let shown = mountpoint.display();
            let error = crate::error::Error::io(format!("mount on {shown}"), error);
            Err(Failure::from(error).hint(format!("make the directory first: mkdir -p {shown}")))
        }
        _ => Ok(()),
    }
}

/// Says that it can be used.
fn tell(context: &Context, mountpoint: &Path, answer: &Answer) -> Done {
    let mut out = Output::new();
    let shown = mountpoint.to_string_lossy();
    if context.json() {
        let snapshot = (!answer.snapshot.is_empty()).then(|| answer.snapshot.clone());
        out.json_line(&Mounted {
            mountpoint: &shown,
            snapshot,
            pid: answer.pid,
            log: answer
                .log
                .as_ref()
                .map(|log| log.to_string_lossy().into_owned()),
        })?;
    } else if !context.globals().quiet {
        let (what, shown) = (answer.what(), text::line(&shown));
        out.line(format!(
            "mounted {what} on {shown}; 'repo umount {shown}' ends it"
        ))?;
        if let Some(log) = &answer.log {
            out.line(format!(
                "warnings go to {}",
                text::line(&log.to_string_lossy())
            ))?;
        }
    }
    out.finish()
}
