//! `repo export`: snapshots as plain archives.

mod destination;
mod stream;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use self::destination::Destination;
use super::context::Context;
use super::exit::{Done, Failure};
use super::output::{Output, stdout_is_terminal};
use super::place;
use super::text;
use crate::error::{Class, Error};
use crate::export::tar::Sparse;
use crate::export::{FORMATS, Format};
use crate::format::snapshot::Snapshot;
use crate::restore::{RestoreOptions, Selection, restore};

/// Hand a snapshot, or a part of it, on as a plain archive that needs no 'repo' to be read
///
/// A tar that was ingested comes out byte for byte as it went in (as --format tar, or compressed anew as tar.gz or tar.zst), and is
/// compared with the digest that was taken then. Directories, parts (REF:PATH) and --include/--exclude make a new POSIX
/// tar with all metadata. 'raw' is the content of one single file, as of a disk image or a dump; 'original' are the very bytes
/// that were ingested, compression included (if they were kept: 'repo ingest --exact').
///
/// The archive goes to standard output, or if that is a terminal to NAME-TIME.tar.gz in this directory, whose name is printed.
/// A file gets its name only when it is complete, is readable by its owner only, and replaces nothing without --force.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo export --format tar.gz                    the latest snapshot
  repo export home:documents -o documents.tar.zst
  repo export shop --format raw | pg_restore -d shop
  repo export vm1:cow.raw --format raw -o disk.raw      holes stay holes
  repo export web --format original -o web.tar.xz
  repo export home --format tar | ssh other tar x -C /home

The format can be left out if the name after -o tells it.")]
pub(super) struct Args {
    /// What to hand on
    #[arg(value_name = "REF[:PATH]", default_value = "latest")]
    places: Vec<OsString>,
    /// How
    #[arg(short, long, value_name = "FORMAT", value_parser = formats())]
    format: Option<String>,
    /// Where to: a file that is not there yet, or '-' for standard output; for 'dir' a directory
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// How hard to compress: 1 to 9 for gzip and zip, 1 to 22 for zstd
    #[arg(short, long, value_name = "N")]
    level: Option<i32>,
    /// How files with holes are written in a tar
    #[arg(long, value_enum, default_value_t = SparseArg::Gnu)]
    sparse: SparseArg,
    /// Hand on only what matches, in the syntax of .gitignore; can be given more than once
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out what matches; can be given more than once
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Replace FILE if it is there, or write to it if it is a device
    #[arg(long)]
    force: bool,
}

/// Ways to write holes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SparseArg {
    /// As GNU tar does (format 1.0 in PAX): read by GNU tar, bsdtar, Python, Go
    #[value(name = "gnu1.0")]
    Gnu,
    /// As cocoon's VM snapshots do: read by cocoon only
    Cocoon,
    /// As zeros: read by everything, takes more room
    None,
}

impl SparseArg {
    fn sparse(self) -> Sparse {
        match self {
            Self::Gnu => Sparse::Gnu,
            Self::Cocoon => Sparse::Cocoon,
            Self::None => Sparse::None,
        }
    }
}

fn formats() -> impl TypedValueParser<Value = String> {
    let streams = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.about));
    let others = [
        PossibleValue::new("dir").help("a directory, as 'repo restore' makes it"),
        PossibleValue::new("original").help("the very bytes that were ingested"),
    ];
    PossibleValuesParser::new(streams.chain(others))
}

/// How it is handed on.
#[derive(Clone, Copy)]
enum How {
    Dir,
    Original,
    Stream(&'static Format),
}

#[derive(Serialize)]
struct View {
    output: Option<String>,
    format: String,
    bytes: u64,
    seconds: f64,
}

/// Exports it.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let began = Instant::now();
    let (name, how) = args.how()?;
    let repository = context.open()?;
    let selections = args
        .places
        .iter()
        .map(|typed| {
            let place = place::parse(&repository, typed)?;
            Ok(Selection {
                id: place.snapshot.id,
                snapshot: place.snapshot.snapshot,
                path: place.path.unwrap_or_default(),
                contents: place.contents,
            })
        })
        .collect::<Done<Vec<_>>>()?;
    let read = selections.iter().map(|s| (s.id, &s.snapshot));
    let _session = place::announce(&repository, context, read)?;
    let Some(first) = selections.first() else {
        return Err(Failure::usage("name a snapshot"));
    };
    let extension = match how {
        How::Dir => "",
        How::Original => original_extension(&first.snapshot),
        How::Stream(format) => format.extension,
    };
    let default_name = default_name(first, extension);
    if let How::Dir = how {
        let target = args
            .output
            .clone()
            .unwrap_or_else(|| PathBuf::from(&default_name));
        return directory(args, context, &repository, &selections, &target, began);
    }
    let destination = match &args.output {
        Some(path) if path.as_os_str() == "-" => Destination::stdout()?,
        Some(path) => Destination::file(path, args.force)?,
        None if !stdout_is_terminal() => Destination::stdout()?,
        None => Destination::file(&PathBuf::from(&default_name), args.force)?,
    };
    let job = stream::Job {
        context,
        repository: &repository,
        selections: &selections,
        args,
    };
    let drawing = context.monitor().draw("exporting");
    let written = job.run(how, &destination);
    drop(drawing);
    let bytes = match written {
        Ok(()) => destination.finish()?,
        Err(_) if destination.reader_is_gone() => return Err(Failure::Code(super::exit::FAILURE)),
        Err(failure) => return Err(failure),
    };
    tell(
        context,
        &View {
            output: destination
                .path()
                .map(|path| path.to_string_lossy().into_owned()),
            format: name,
            bytes,
            seconds: began.elapsed().as_secs_f64(),
        },
    )
}

impl Args {
    /// The format: as it was said, or as the output's name says, or tar.
    fn how(&self) -> Done<(String, How)> {
        let by_name = || {
            let name = self.output.as_ref()?.file_name()?.to_str()?.to_lowercase();
            let endings = [
                (".tar", "tar"),
                (".tar.gz", "tar.gz"),
                (".tgz", "tar.gz"),
                (".tar.zst", "tar.zst"),
                (".tzst", "tar.zst"),
                (".zip", "zip"),
                (".raw", "raw"),
                (".img", "raw"),
            ];
            let found = endings.iter().find(|(ending, _)| name.ends_with(ending));
            found.map(|(_, format)| (*format).to_owned())
        };
        let name = match (&self.format, by_name()) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name,
            (None, None) if self.output.is_some() && !self.to_stdout() => {
                let hint = "say --format, or end the name in .tar, .tar.gz, .tar.zst or .zip; \
                            '--format dir' makes a directory of it";
                return Err(Failure::usage("what format shall it be?").hint(hint));
            }
            (None, None) => "tar".to_owned(),
        };
        let how = match name.as_str() {
            "dir" => How::Dir,
            "original" => How::Original,
            _ => match Format::named(&name) {
                Some(format) => How::Stream(format),
                None => return Err(Failure::usage(format!("there is no format '{name}'"))),
            },
        };
        self.check_level(&name, how)?;
        Ok((name, how))
    }

    /// A level that the format does not have is a mistake in the command line.
    fn check_level(&self, name: &str, how: How) -> Done {
        let Some(level) = self.level else {
            return Ok(());
        };
        let levels = match how {
            How::Stream(format) => format.levels(),
            How::Dir | How::Original => None,
        };
        match levels {
            Some(levels) if levels.contains(&level) => Ok(()),
            Some(levels) => {
                let (least, most) = (levels.start(), levels.end());
                let what = format!("{name} has no level {level}: {least} to {most}");
                Err(Failure::usage(what))
            }
            None => Err(Failure::usage(format!(
                "{name} is not compressed here: --level changes nothing"
            ))),
        }
    }

    fn to_stdout(&self) -> bool {
        self.output
            .as_ref()
            .is_some_and(|path| path.as_os_str() == "-")
    }
}

/// What an original file would be called.
fn original_extension(snapshot: &Snapshot) -> &'static str {
    use crate::format::snapshot::Wrapping;
    let archive = !snapshot.recipe.is_empty();
    match (archive, snapshot.wrapping) {
        (true, Wrapping::Plain | Wrapping::Qcow2) => "tar",
        (true, Wrapping::Gzip) => "tar.gz",
        (true, Wrapping::Zstd) => "tar.zst",
        (true, Wrapping::Xz) => "tar.xz",
        (true, Wrapping::Bzip2) => "tar.bz2",
        (false, Wrapping::Plain) => "",
        (false, Wrapping::Gzip) => "gz",
        (false, Wrapping::Zstd) => "zst",
        (false, Wrapping::Xz) => "xz",
        (false, Wrapping::Bzip2) => "bz2",
        (false, Wrapping::Qcow2) => "qcow2",
    }
}

/// `NAME-TIME.EXTENSION`: what it is and when, fit for any file system.
fn default_name(selection: &Selection, extension: &str) -> String {
    let snapshot = &selection.snapshot;
    let part = String::from_utf8_lossy(selection.path.name()).into_owned();
    let parts = [snapshot.name.as_str(), part.as_str()];
    let mut name = parts
        .into_iter()
        .filter(|p| !p.is_empty())
        .collect::<Vec<_>>()
        .join("-");
    if name.is_empty() {
        name = selection.id.short();
    }
    let mut name: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.+".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    // No hidden file, and nothing that looks like an option.
    if name.starts_with(['.', '-']) {
        name.insert(0, '_');
    }
    let dot = if extension.is_empty() { "" } else { "." };
    format!("{name}-{}{dot}{extension}", text::file_time(snapshot.time))
}

/// A directory is restored: verified, and there only when it is complete.
fn directory(
    args: &Args,
    context: &Context,
    repository: &crate::repository::Repository,
    selections: &[Selection],
    target: &std::path::Path,
    began: Instant,
) -> Done {
    if target.as_os_str() == "-" {
        return Err(Failure::usage("a directory cannot go to standard output"));
    }
    if super::restore::holds_something(target)? {
        let what = format!("{} is not empty", target.display());
        return Err(Failure::from(Error::new(Class::Refused, what))
            .hint("name a new directory; 'repo restore --overwrite' restores over files"));
    }
    let options = RestoreOptions {
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        scratch: context.scratch(),
        ..RestoreOptions::default()
    };
    let drawing = context.monitor().draw("exporting");
    let monitor = context.library_monitor();
    let done = restore(
        repository,
        selections,
        target,
        &options,
        &monitor,
        &mut |_| {},
    );
    drop(drawing);
    let summary = done?;
    super::restore::matched(&args.include, super::restore::handled(&summary))?;
    tell(
        context,
        &View {
            output: Some(target.to_string_lossy().into_owned()),
            format: "dir".to_owned(),
            bytes: summary.bytes,
            seconds: began.elapsed().as_secs_f64(),
        },
    )?;
    super::restore::lost(summary.lost)
}

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Says where it is; nothing if it went to standard output.
fn tell(context: &Context, view: &View) -> Done {
    let Some(path) = &view.output else {
        return Ok(());
    };
    let mut out = Output::new();
    if context.json() {
        out.json(view)?;
    } else if !context.globals().quiet {
        out.line(format!(
            "wrote {} ({})",
            text::line(path),
            text::bytes(view.bytes)
        ))?;
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{EntryPath, Time};
    use crate::format::snapshot::StreamKind;
    use crate::format::tree::{Body, Node};
    use crate::id::SnapshotId;

    #[test]
    fn names_of_files() {
        let mut snapshot = Snapshot::new(StreamKind::Dir, Node::new(Vec::new(), Body::Fifo));
        snapshot.time = Time::new(0, 0);
        let id = SnapshotId::new([0xab; 32]);
        let path = EntryPath::root();
        let mut selection = Selection {
            id,
            snapshot,
            path,
            contents: false,
        };
        let name = |selection: &Selection| default_name(selection, "tar");
        assert_eq!(name(&selection), "abababab-19700101T000000Z.tar");
        selection.snapshot.name = "../db:web/x y".to_owned();
        assert_eq!(name(&selection), "_.._db_web_x_y-19700101T000000Z.tar");
        selection.snapshot.name = "home".to_owned();
        selection.path = EntryPath::parse(b"a/letters").unwrap();
        assert_eq!(
            default_name(&selection, ""),
            "home-letters-19700101T000000Z"
        );
    }
}
