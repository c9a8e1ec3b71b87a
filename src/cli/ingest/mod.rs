//! `repo ingest`: takes a snapshot.

mod directory;
mod disk;
mod input;
mod request;
mod stream;
mod summary;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use self::input::Input;
use self::request::What;
use super::context::Context;
use super::exit::{Done, Failure, Hint};
use super::tag::{self, Tag};
use super::text;
use crate::crypto::Role;
use crate::error::Class;
use crate::ingest::Ingest;
use crate::maintain::prune::settle;
use crate::progress::Monitor;
use crate::repository::Repository;

/// Take a snapshot of directories, files, a disk, an archive, or whatever a pipe or a command brings
///
/// What a SOURCE is, is found out by looking: a directory is a directory; a file or stream that is a tar archive (compressed
/// or not) is taken apart, so that its files can be browsed and are shared with all other snapshots, and still comes
/// out byte for byte; stacks, volumes and VM snapshots are recognised by the description they carry; a block device or a
/// qcow2 image is a disk; anything else is kept as the file or stream it is. --kind says it instead.
///
/// Files that did not change since the last snapshot of the same source are not read again. Interrupted at any time, what was
/// stored is kept; the same command goes on from there. A stream that ends early never becomes a snapshot.
///
/// Files that cannot be read, or that change while they are read, are named in warnings; the rest is taken, and the exit code is 7.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "repo ingest [OPTIONS] [SOURCE]...\n       \
                      repo ingest [OPTIONS] -           (or nothing: a piped standard input)\n       \
                      repo ingest [OPTIONS] --name NAME -- COMMAND [ARGUMENT]...",
    after_long_help = "\
Examples:
  repo ingest /home --exclude '*.o' --exclude-caches --one-file-system
  repo ingest backup.tar.zst --name old-server
  pg_dump -Fc -Z0 shop | repo ingest --name shop --tag db=shop
  repo ingest --name shop -- pg_dump -Fc -Z0 shop      the exit status of pg_dump counts
  repo ingest /dev/vg0/web --name web-disk
  tar c -C /srv . | ssh backup repo ingest --name srv

Dumps and archives deduplicate best uncompressed: gzip, zstd, xz and bzip2 around them are taken off."
)]
pub(super) struct Args {
    /// What to take: directories or files, one disk or archive, or '-' for standard input
    ///
    /// Several sources become one snapshot, each under its own name in it.
    #[arg(value_name = "SOURCE", value_hint = clap::ValueHint::AnyPath)]
    pub(super) sources: Vec<OsString>,
    /// Run this and take what it prints; a snapshot is made only if it ends well
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "sources",
          value_hint = clap::ValueHint::CommandWithArguments)]
    pub(super) command: Vec<OsString>,
    /// What the source is
    #[arg(long, value_enum, default_value_t = KindArg::Auto)]
    pub(super) kind: KindArg,
    /// Keep the compressed bytes of the stream as well, for 'repo export --format original'
    ///
    /// Only for compressed streams. It costs the space of the compressed stream, which shares nothing with anything.
    #[arg(long)]
    pub(super) exact: bool,
    /// Name of the snapshot [default: the name of the source; 'stdin' or the command's name for streams]
    #[arg(short, long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// A tag; can be given more than once
    #[arg(short, long = "tag", value_name = "KEY=VALUE", value_parser = tag::tag)]
    pub(super) tags: Vec<Tag>,
    /// Free text that 'repo show' shows
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) description: String,
    #[command(flatten)]
    pub(super) reading: ReadingArgs,
    /// Look at everything and say what would be taken; write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Time of the snapshot, for streams that are older than now (RFC 3339, as 2026-11-21T09:30:00Z)
    #[arg(long, value_name = "TIME")]
    pub(super) time: Option<jiff::Timestamp>,
}

/// How directories and disks are read.
#[derive(Debug, clap::Args)]
pub(super) struct ReadingArgs {
    /// Leave out what matches, in the syntax of .gitignore; can be given more than once
    #[arg(short, long, value_name = "PATTERN", help_heading = "Directories")]
    pub(super) exclude: Vec<String>,
    /// Leave out what the patterns in this file match
    #[arg(long, value_name = "FILE", help_heading = "Directories",
          value_hint = clap::ValueHint::FilePath)]
    pub(super) exclude_from: Vec<PathBuf>,
    /// Leave out what is in directories marked as caches (CACHEDIR.TAG)
    #[arg(long, help_heading = "Directories")]
    pub(super) exclude_caches: bool,
    /// Leave out other file systems that are mounted inside
    #[arg(short = 'x', long, help_heading = "Directories")]
    pub(super) one_file_system: bool,
    /// How a qcow2 image is read: by this program, or by the installed qemu-img
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Qcow2Arg::Native,
          help_heading = "Disks")]
    pub(super) qcow2: Qcow2Arg,
    /// A backing image of a qcow2 image, the nearest first; can be given more than once
    ///
    /// What an image says of its backing image is never enough to open that file: an image may come from a stranger.
    #[arg(long, value_name = "IMAGE", help_heading = "Disks", value_hint = clap::ValueHint::FilePath)]
    pub(super) backing: Vec<PathBuf>,
}

/// Readers of qcow2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Qcow2Arg {
    /// By this program
    Native,
    /// By qemu-img, for encrypted images and external data files; it opens whatever the image names
    QemuImg,
}

/// Kinds as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum KindArg {
    /// Find out
    Auto,
    /// Directories or files
    Dir,
    /// A tar archive and nothing more, whatever it says about itself
    Tar,
    /// An application stack: a tar with a manifest.json object
    Stack,
    /// Data volumes: a tar with a manifest.json array
    Volume,
    /// A VM snapshot: a tar with a snapshot.json
    Vm,
    /// A disk image or block device
    Disk,
    /// A database dump
    Db,
    /// Bytes, kept as they come
    Stream,
}

/// What an ingest that broke off leaves behind.
const GO_ON: &str = "run the same command again to go on: what was stored is found again";

/// Takes the snapshot.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let began = Instant::now();
    let input = input::find(args)?;
    args.check(&input)?;
    if args.dry_run {
        let Input::Paths(paths) = input else {
            return Err(Failure::usage("--dry-run is for directories")
                .hint("a stream can be read only once; look into an archive with tar -t"));
        };
        let drawing = context.monitor().draw("looking");
        let counted = directory::look(paths, &args.reading, context);
        drop(drawing);
        return summary::show_counted(context, &counted?);
    }
    let what = match &input {
        Input::Paths(paths) => What::paths(paths)?,
        Input::Pipe(path, _) => What::pipe(path),
        Input::File(path, _) | Input::Disk(path) | Input::Qcow2(path) => {
            What::file(path, args.kind)?
        }
        Input::Stdin => What::stdin(),
        Input::Command(command) => What::command(command),
    };
    let mut file_name = what.file_name.clone();
    let request = request::build(args, context, what)?;
    if file_name.is_empty() {
        file_name = request.name.replace('/', "_").into_bytes();
    }
    let repository = context.open()?;
    request::check_ids(&repository, &request.name)?;
    let drawing = context.monitor().draw("reading");
    let ingest = Ingest::begin(&repository, request, &context.library_monitor())?;
    let summary = match input {
        Input::Paths(paths) => directory::run(paths, &args.reading, ingest),
        Input::File(_, file) => stream::run(file, args, file_name, ingest),
        Input::Pipe(_, file) => {
            stream::run(stream::patient(file, context), args, file_name, ingest)
        }
        Input::Disk(path) => disk::run(&path, ingest),
        Input::Qcow2(path) => disk::run_qcow2(&path, &args.reading, context, ingest),
        Input::Stdin => stream::run(
            stream::patient(stream::stdin()?, context),
            args,
            file_name,
            ingest,
        ),
        Input::Command(command) => stream::run_command(&command, args, context, file_name, ingest),
    };
    drop(drawing);
    let summary = summary
        .hint_for(Class::Interrupted, || GO_ON.to_owned())
        .hint_for(Class::Full, || format!("make room there; {GO_ON}"))?;
    settle_plans(&repository, context);
    summary::show(context, summary, began.elapsed())
}

/// Frees what a prune could not while this ingest (or copy) ran. The snapshot is taken, whatever becomes of this.
pub(super) fn settle_plans(repository: &Repository, context: &Context) {
    if repository.role() != Role::Full {
        return;
    }
    let monitor = context.monitor();
    match settle(repository, None, false, monitor.as_ref()) {
        Ok(settled) => {
            if settled.removed.count > 0 {
                monitor.note(&format!(
                    "freed {} that an earlier prune could not",
                    text::bytes(settled.removed.bytes)
                ));
            }
            for moved in &settled.set_aside {
                monitor.note(&format!(
                    "moved {}, which a repair found damaged, to {}",
                    moved.from, moved.to
                ));
            }
        }
        Err(e) => monitor.note(&format!(
            "what an earlier prune left is for the next one: {e}"
        )),
    }
}

impl Args {
    /// Refuses options that would be ignored.
    fn check(&self, input: &Input) -> Done {
        let reading = &self.reading;
        let directories_only = !reading.exclude.is_empty()
            || !reading.exclude_from.is_empty()
            || reading.exclude_caches
            || reading.one_file_system;
        let qcow2_only = reading.qcow2 != Qcow2Arg::Native || !reading.backing.is_empty();
        let streams_only = self.exact;
        let (directory, stream, qcow2) = match input {
            Input::Paths(_) => (true, false, false),
            Input::Disk(_) => (false, false, false),
            Input::Qcow2(_) => (false, false, true),
            Input::File(..) | Input::Pipe(..) | Input::Stdin | Input::Command(_) => {
                (false, true, false)
            }
        };
        if streams_only && !stream {
            return Err(
                Failure::usage("--exact is for compressed streams").hint(if qcow2 {
                    "a qcow2 image is taken as the disk in it, which comes out as a raw image; \
                 '--kind stream' keeps the very bytes of the image"
                } else {
                    "files, directories and disks always come out as they were"
                }),
            );
        }
        if directories_only && !directory {
            return Err(Failure::usage("--exclude and the like are for directories")
                .hint("a stream is taken whole, so that it can come out byte for byte"));
        }
        if qcow2_only && !qcow2 {
            return Err(Failure::usage("--qcow2 and --backing are for qcow2 images"));
        }
        Ok(())
    }
}
