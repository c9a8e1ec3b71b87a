//! What a SOURCE is, by looking at it.
//!
//! Only the type of the file and its first bytes decide, never its name. A file that is no archive and no dump is taken as a
//! file, with its owner, times and attributes; what comes through a pipe has none of these and is taken as a stream.

use std::ffi::OsString;
use std::fs::{File, FileType, OpenOptions};
use std::io::{IsTerminal, Read, Seek};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Args, KindArg};
use crate::cli::exit::{Done, Failure};
use crate::error::At;
use crate::source::detect::{Detected, Dump, detect};
use crate::source::peel::{Peeled, SNIFF_BYTES};

/// What is to be taken in.
#[derive(Debug)]
pub(super) enum Input {
    /// Directories, or files as files.
    Paths(Vec<PathBuf>),
    /// A file whose content is an archive or a dump.
    File(PathBuf, File),
    /// A named pipe, or what a shell puts in the place of `<(COMMAND)`.
    Pipe(PathBuf, File),
    /// A block device or a raw image.
    Disk(PathBuf),
    /// A qcow2 image, taken as the disk in it.
    Qcow2(PathBuf),
    /// Standard input.
    Stdin,
    /// What a command prints.
    Command(Vec<OsString>),
}

/// Looks at what was given.
pub(super) fn find(args: &Args) -> Done<Input> {
    if !args.command.is_empty() {
        return Ok(Input::Command(args.command.clone()));
    }
    if args.sources.iter().any(|source| source.is_empty()) {
        return Err(Failure::usage("an empty SOURCE")
            .hint("is a variable not set? name a directory or a file, or '-' for standard input"));
    }
    let paths: Vec<PathBuf> = args.sources.iter().map(PathBuf::from).collect();
    let [path] = paths.as_slice() else {
        if paths.is_empty() {
            return stdin(args);
        }
        if paths.iter().any(|path| path == Path::new("-")) {
            return Err(Failure::usage(
                "'-' (standard input) cannot be one of several sources",
            ));
        }
        return only_paths(args.kind, paths);
    };
    if path == Path::new("-") {
        return stdin(args);
    }
    let kind = std::fs::metadata(path)
        .at_path("look at", path)?
        .file_type();
    if kind.is_dir() {
        return only_paths(args.kind, paths);
    }
    if args.kind == KindArg::Dir {
        return Ok(Input::Paths(paths));
    }
    if kind.is_block_device() && matches!(args.kind, KindArg::Auto | KindArg::Disk) {
        return Ok(Input::Disk(path.clone()));
    }
    let mut file = open(path, kind)?;
    if !kind.is_file() {
        return Ok(Input::Pipe(path.clone(), file));
    }
    if !matches!(args.kind, KindArg::Auto | KindArg::Disk) {
        return Ok(Input::File(path.clone(), file));
    }
    let head = head(path, &mut file)?;
    Ok(match (detect(&head), args.kind) {
        (Detected::Qcow2, _) => Input::Qcow2(path.clone()),
        // A compressed image is a stream: its compression is taken off.
        (Detected::Compressed(_), KindArg::Disk) => Input::File(path.clone(), file),
        (_, KindArg::Disk) => Input::Disk(path.clone()),
        _ if is_stream(head) => Input::File(path.clone(), file),
        _ => Input::Paths(paths),
    })
}

fn stdin(args: &Args) -> Done<Input> {
    if std::io::stdin().is_terminal() {
        let what = if args.sources.is_empty() {
            "nothing to ingest: no SOURCE, and standard input is a terminal"
        } else {
            "standard input is a terminal"
        };
        return Err(Failure::usage(what).hint(
            "name a directory or a file, pipe something in, or run a command: '-- COMMAND'",
        ));
    }
    Ok(Input::Stdin)
}

fn only_paths(kind: KindArg, paths: Vec<PathBuf>) -> Done<Input> {
    match kind {
        KindArg::Auto | KindArg::Dir => Ok(Input::Paths(paths)),
        _ if paths.len() > 1 => Err(Failure::usage(
            "several sources can only be directories or files (--kind dir)",
        )
        .hint("take archives, disks and dumps one by one")),
        _ => {
            let shown: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(
                Failure::usage(format!("{} is a directory", shown.join(" ")))
                    .hint("leave --kind out, or give the archive that it was unpacked from"),
            )
        }
    }
}

/// Opens it. A named pipe without a writer would hold us up here, where no signal ends the wait: opened like this, it is
/// waited for where it is read.
fn open(path: &Path, kind: FileType) -> Done<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    if kind.is_fifo() {
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    }
    Ok(options.open(path).at_path("open", path)?)
}

/// The file's first bytes.
fn head(path: &Path, file: &mut File) -> Done<Vec<u8>> {
    let mut head = Vec::new();
    file.by_ref()
        .take(SNIFF_BYTES as u64)
        .read_to_end(&mut head)
        .at_path("read", path)?;
    file.rewind().at_path("read", path)?;
    Ok(head)
}

/// True if the file is an archive or a dump, compressed or not. A database file in use by its engine is rather a file.
fn is_stream(head: Vec<u8>) -> bool {
    let detected = match detect(&head) {
        // What is compressed and cannot be looked into is a file like any other.
        Detected::Compressed(_) => {
            let peeled = Peeled::new(std::io::Cursor::new(head));
            peeled.map_or(Detected::Opaque, |peeled| peeled.detected())
        }
        other => other,
    };
    match detected {
        Detected::Tar => true,
        Detected::Dump(dump) => dump != Dump::Sqlite,
        Detected::Compressed(_) | Detected::Qcow2 | Detected::Opaque => false,
    }
}
