//! Who, when, from what: the facts about a snapshot that only the command line knows.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Args, KindArg};
use crate::cli::context::Context;
use crate::cli::exit::{Done, Failure};
use crate::cli::text;
use crate::entry::{Time, accounts};
use crate::error::At;
use crate::format::snapshot::{MAX_NAME_BYTES, MAX_TEXT_BYTES};
use crate::ingest::IngestRequest;
use crate::repository::{Repository, WriterOptions};

/// Endings of file names that say how something is packed and not what it is.
const PACKINGS: [&str; 13] = [
    ".qcow2", ".tar", ".gz", ".tgz", ".zst", ".tzst", ".xz", ".txz", ".bz2", ".tbz2", ".tbz",
    ".zstd", ".taz",
];

/// What a REF says beside the name, so that a name cannot have it.
const SIGNS: [char; 2] = [':', '~'];
/// What makes an option, a hidden file or a path of a name.
const NOT_FIRST: [char; 3] = ['-', '.', '/'];
/// As many digits as listings show of an id.
const SHOWN_DIGITS: usize = 8;

/// What is read, as the request needs it.
pub(super) struct What {
    /// For people: absolute paths, `-`, or the command line of a producer.
    pub(super) sources: Vec<Vec<u8>>,
    /// The name, if none was given.
    pub(super) name: String,
    /// Name of the one file in the tree of a stream that is no archive; empty to call it like the snapshot.
    pub(super) file_name: Vec<u8>,
    /// What unchanged files are recognised by.
    pub(super) known_as: Option<Vec<u8>>,
}

impl What {
    /// Files and directories by their absolute paths.
    pub(super) fn paths(paths: &[PathBuf]) -> Done<Self> {
        let absolute: Vec<PathBuf> = paths
            .iter()
            .map(|path| path.canonicalize().at_path("find", path))
            .collect::<Result<_, _>>()?;
        let sources: Vec<Vec<u8>> = absolute
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec())
            .collect();
        let names: Vec<String> = absolute.iter().map(|path| base_name(path)).collect();
        Ok(Self {
            known_as: Some(sources.join(&0)),
            file_name: Vec::new(),
            name: names.join("+"),
            sources,
        })
    }

    /// A file that is an archive or a dump: called what it is called without its compression, which is taken off.
    pub(super) fn file(path: &Path, kind: KindArg) -> Done<Self> {
        let paths = Self::paths(&[path.to_path_buf()])?;
        let kept_as_it_is = kind == KindArg::Stream;
        let name = if kept_as_it_is {
            paths.name.as_str()
        } else {
            unpacked_name(&paths.name)
        };
        let (name, file_name) = (name.to_owned(), name.as_bytes().to_vec());
        Ok(Self {
            name,
            file_name,
            known_as: None,
            ..paths
        })
    }

    /// A pipe, whose name mostly is a number.
    pub(super) fn pipe(path: &Path) -> Self {
        Self {
            sources: vec![path.as_os_str().as_bytes().to_vec()],
            name: "pipe".to_owned(),
            known_as: None,
            file_name: Vec::new(),
        }
    }

    /// Standard input.
    pub(super) fn stdin() -> Self {
        Self {
            sources: vec![b"-".to_vec()],
            name: "stdin".to_owned(),
            known_as: None,
            file_name: Vec::new(),
        }
    }

    /// What a command prints.
    pub(super) fn command(command: &[OsString]) -> Self {
        // Only the program: arguments may be secrets.
        let program = command.first().cloned().unwrap_or_default();
        Self {
            name: base_name(Path::new(&program)),
            sources: vec![program.into_encoded_bytes()],
            known_as: None,
            file_name: Vec::new(),
        }
    }
}

/// The request for a snapshot of `what`.
pub(super) fn build(args: &Args, context: &Context, what: What) -> Done<IngestRequest> {
    let now = jiff::Timestamp::now();
    let time = args.time.unwrap_or(now);
    if time > now {
        return Err(Failure::usage(format!("the time {time} is in the future")));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => fitting(&what.name),
    };
    check_name(&name)?;
    if args.description.len() > MAX_TEXT_BYTES {
        return Err(Failure::usage("the description is longer than 64 KiB"));
    }
    let mut tags = args.tags.clone();
    tags.sort();
    if let Some(pair) = tags.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Failure::usage(format!(
            "the tag '{}' is given twice",
            pair[0].0
        )));
    }
    Ok(IngestRequest {
        name,
        description: args.description.clone(),
        tags,
        time: entry_time(time),
        host: host(),
        user: user(),
        sources: what.sources,
        program: concat!("repo ", env!("CARGO_PKG_VERSION")).to_owned(),
        known_as: what.known_as,
        scratch: context.scratch(),
        clock: || entry_time(jiff::Timestamp::now()),
        writer: WriterOptions::default(),
    })
}

/// A time as the library has it.
fn entry_time(time: jiff::Timestamp) -> Time {
    let nanoseconds = u32::try_from(time.subsec_nanosecond()).unwrap_or(0);
    Time::new(time.as_second(), nanoseconds)
}

/// A name must be fit for a REF.
fn check_name(name: &str) -> Done {
    let problem = if name.is_empty() {
        "a name is not empty"
    } else if name.len() > MAX_NAME_BYTES {
        "a name has at most 255 bytes"
    } else if name == "latest" {
        "'latest' always means the newest snapshot and cannot be a name"
    } else if name.chars().any(char::is_control) {
        "a name has no control characters"
    } else if name.contains(SIGNS) {
        "a name has no ':' and no '~': NAME:PATH is a place in the snapshot, NAME~1 the one before"
    } else if name.starts_with(NOT_FIRST) {
        "a name does not begin with '-', '.' or '/'"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("{problem}: '{}'", text::line(name))).hint("set it with --name"))
}

/// A name must not be taken for the id of another snapshot, as it is shown: names go before the first digits of ids.
pub(super) fn check_ids(repository: &Repository, name: &str) -> Done {
    let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if name.len() < SHOWN_DIGITS || !name.bytes().all(digits) {
        return Ok(());
    }
    // Whoever may not list snapshots cannot name one either.
    let all = repository.snapshots().unwrap_or_default();
    match all.iter().find(|info| info.id.to_hex().starts_with(name)) {
        Some(_) => Err(
            Failure::usage(format!("'{name}' is the id of another snapshot"))
                .hint("set another name with --name"),
        ),
        None => Ok(()),
    }
}

/// A name that fits, made of one that may not.
fn fitting(name: &str) -> String {
    let name: String = name
        .trim_start_matches(NOT_FIRST)
        .chars()
        .map(|c| {
            if c.is_control() || SIGNS.contains(&c) {
                '_'
            } else {
                c
            }
        })
        .collect();
    if name.is_empty() {
        return "unnamed".to_owned();
    }
    shortened(name)
}

/// The last part of an absolute path; `root` for `/`.
fn base_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(OsStr::new("root"))
        .to_string_lossy()
        .into_owned()
}

/// A file's name without the endings that say how it is packed; never empty.
fn unpacked_name(name: &str) -> &str {
    let mut short = name;
    while let Some(rest) = PACKINGS
        .iter()
        .find_map(|ending| short.strip_suffix(ending))
    {
        if rest.is_empty() {
            break;
        }
        short = rest;
    }
    short
}

fn shortened(mut name: String) -> String {
    let mut end = name.len().min(MAX_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The user by the number that the kernel knows, looked up in the local table: the environment may say anything.
fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let table = std::fs::read("/etc/passwd").unwrap_or_default();
    let mut found = accounts(&table).filter(|(_, number)| *number == uid);
    let name = found
        .next()
        .and_then(|(name, _)| std::str::from_utf8(name).ok());
    name.map_or_else(|| uid.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        assert_eq!(unpacked_name("old-server.tar.zst"), "old-server");
        assert_eq!(unpacked_name("a.tgz"), "a");
        assert_eq!(unpacked_name("shop.sql.gz"), "shop.sql");
        assert_eq!(unpacked_name(".tar"), ".tar");
        assert_eq!(base_name(Path::new("/")), "root");
    }

    #[test]
    fn names_fit_for_references() {
        assert!(check_name("db-web~").is_err());
        assert!(check_name("db:web").is_err());
        for name in ["..", ".x", "-x", "/x", "x~1"] {
            assert!(check_name(name).is_err(), "{name}");
            assert!(check_name(&fitting(name)).is_ok(), "{name}");
        }
        assert!(check_name("db_web.2026-11/x y").is_ok());
        assert_eq!(fitting(".config"), "config");
        assert_eq!(fitting("a:b~\n"), "a_b__");
        assert_eq!(fitting("..."), "unnamed");
        assert!(check_name("latest").is_err());
        assert!(check_name("a\nb").is_err());
        assert!(check_name(&"x".repeat(256)).is_err());
        assert_eq!(shortened("\u{e9}".repeat(200)).len(), 254);
    }
}
