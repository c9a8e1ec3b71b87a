//! Where the passphrase or key file comes from: never an argument, never more than one place at once.
//!
//! | from | variable, or option |
//! |---|---|
//! | a key file | `--key-file`, `REPO_KEY_FILE` |
//! | the environment | `REPO_PASSPHRASE` |
//! | a file | `REPO_PASSPHRASE_FILE` |
//! | a program's output | `REPO_PASSPHRASE_COMMAND` |
//! | a person | the terminal, without echo |
//!
//! Two sources at once are an error, since one of them would be ignored; only `--key-file` on the command line overrules the
//! environment. One trailing end of line is no part of a passphrase from a file or a program. New secrets (`repo key
//! add`, `repo key change`) come from the same places with `REPO_NEW_` in front, that of the other repository of `repo copy` with
//! `REPO_TO_`. Secrets live in buffers that are wiped.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::exit::{Done, Failure};
use crate::crypto::KeyFile;
use crate::crypto::slot::{Passphrase, Unlock};
use crate::error::{At, Class, Error};

/// The longest passphrase.
const MAX_PASSPHRASE_BYTES: usize = 64 << 10;
/// Kinds of secrets in a pipe.
const PASSPHRASE: u8 = b'p';
const KEY_FILE: u8 = b'k';
/// How often a person may mistype a new passphrase.
const TRIES: usize = 3;

/// What opens a key slot.
#[derive(Debug)]
pub(super) enum Secret {
    /// A passphrase.
    Passphrase(Passphrase),
    /// A key file.
    KeyFile(KeyFile),
}

impl Secret {
    /// The secret for a pipe to a process that trusts us: a letter for its kind, and the secret.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let text;
        let (kind, secret) = match self {
            Self::Passphrase(passphrase) => (PASSPHRASE, passphrase.expose()),
            Self::KeyFile(key) => {
                text = key.encode();
                (KEY_FILE, text.as_slice())
            }
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
        bytes.push(kind);
        bytes.extend_from_slice(secret);
        bytes
    }

    /// The secret that came through such a pipe.
    pub(super) fn from_bytes(bytes: &[u8]) -> Done<Self> {
        match bytes.split_first() {
            Some((&PASSPHRASE, secret)) => {
                passphrase(Zeroizing::new(secret.to_vec()), "the first process")
            }
            Some((&KEY_FILE, secret)) => Ok(Self::KeyFile(
                KeyFile::decode(secret).at("read the key from the first process")?,
            )),
            _ => Err(Failure::usage("no secret came through standard input")),
        }
    }

    /// The form in which the repository takes it.
    pub(super) fn unlock(&self) -> Unlock<'_> {
        match self {
            Self::Passphrase(passphrase) => Unlock::Passphrase(passphrase),
            Self::KeyFile(key) => Unlock::KeyFile(key),
        }
    }
}

/// Whether the secret exists already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To open a repository.
    Open,
    /// For a new repository: a person types it twice.
    Create,
    /// For a new or changed key slot: other variables, typed twice.
    NewSlot,
    /// To open the repository that is copied to: other variables.
    Destination,
}

impl Purpose {
    /// The variables for a passphrase, its file, and the program that prints it; and for a key file.
    fn variables(self) -> [&'static str; 4] {
        match self {
            Self::Open | Self::Create => [
                "REPO_PASSPHRASE",
                "REPO_PASSPHRASE_FILE",
                "REPO_PASSPHRASE_COMMAND",
                "REPO_KEY_FILE",
            ],
            Self::NewSlot => [
                "REPO_NEW_PASSPHRASE",
                "REPO_NEW_PASSPHRASE_FILE",
                "REPO_NEW_PASSPHRASE_COMMAND",
                "REPO_NEW_KEY_FILE",
            ],
            Self::Destination => [
                "REPO_TO_PASSPHRASE",
                "REPO_TO_PASSPHRASE_FILE",
                "REPO_TO_PASSPHRASE_COMMAND",
                "REPO_TO_KEY_FILE",
            ],
        }
    }
}

impl Purpose {
    /// The variable that names a key file.
    pub(super) fn key_file_variable(self) -> &'static str {
        self.variables()[3]
    }
}

/// Finds the secret; `key_file` is what the command line says, `what` is named in the prompt.
pub(super) fn acquire(purpose: Purpose, key_file: Option<&Path>, what: &str) -> Done<Secret> {
    if let Some(path) = key_file {
        return read_key_file(path).map(Secret::KeyFile);
    }
    let variables = purpose.variables();
    let set: Vec<(usize, OsString)> = variables
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((index, std::env::var_os(name)?)))
        .collect();
    let mut set = set.into_iter();
    match (set.next(), set.next()) {
        (None, _) => prompt(purpose, what),
        (Some((first, _)), Some((second, _))) => Err(Failure::usage(format!(
            "{} and {} are both set",
            variables[first], variables[second]
        ))
        .hint("unset all but one: which of them is meant cannot be known")),
        (Some((index, value)), None) => {
            let name = variables[index];
            let value = Zeroizing::new(value.into_vec());
            if value.is_empty() {
                return Err(Failure::usage(format!("{name} is set, but empty"))
                    .hint("set it, or unset it to be asked for a passphrase"));
            }
            let as_path = || PathBuf::from(OsString::from_vec(value.to_vec()));
            match index {
                0 => passphrase(value, name),
                1 => passphrase_file(&as_path(), name),
                2 => passphrase_command(&OsString::from_vec(value.to_vec()), name),
                _ => read_key_file(&as_path()).map(Secret::KeyFile),
            }
        }
    }
}

fn passphrase(bytes: Zeroizing<Vec<u8>>, from: &str) -> Done<Secret> {
    Passphrase::new(bytes)
        .map(Secret::Passphrase)
        .map_err(|error| Failure::usage(format!("{error} (from {from})")))
}

fn passphrase_file(path: &Path, from: &str) -> Done<Secret> {
    let file = File::open(path).at_path("open the passphrase file", path)?;
    let bytes = read_line(file, MAX_PASSPHRASE_BYTES)
        .map_err(|error| error.within(format!("passphrase file {}", path.display())))?;
    passphrase(bytes, from)
}

/// Runs a shell command and takes its output. It cannot read our standard input, which may be the stream to ingest.
fn passphrase_command(command: &OsString, from: &str) -> Done<Secret> {
    let what = "run the passphrase command";
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .at(what)?;
    let output = match child.stdout.take() {
        Some(stdout) => read_line(stdout, MAX_PASSPHRASE_BYTES),
        None => Ok(Zeroizing::new(Vec::new())),
    };
    let status = child.wait().at(what)?;
    if !status.success() {
        let error = Error::new(
            Class::Io,
            format!("the command in {from} failed ({status})"),
        );
        return Err(Failure::from(error)
            .hint("run it by hand: it must print the passphrase and end with exit code 0"));
    }
    passphrase(output?, from)
}

/// Reads all of a short secret, without its trailing end of line.
fn read_line(from: impl Read, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Reserved at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 2));
    from.take(limit as u64 + 2)
        .read_to_end(&mut bytes)
        .at("read the secret")?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.len() > limit {
        return Err(Error::invalid(format!(
            "the secret is longer than {limit} bytes"
        )));
    }
    Ok(bytes)
}

/// Reads a key file.
pub(super) fn read_key_file(path: &Path) -> Done<KeyFile> {
    let file = File::open(path).at_path("open the key file", path)?;
    let text = read_line(file, KeyFile::MAX_BYTES)
        .map_err(|error| error.within(format!("key file {}", path.display())))?;
    let key = KeyFile::decode(&text).at_path("read the key file", path)?;
    Ok(key)
}

/// True if others than the owner can read the file at `path`.
pub(super) fn is_exposed(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o077 != 0)
}

/// Makes a new key file that only its owner can read; never replaces anything.
pub(super) fn create_key_file(path: &Path) -> Done<KeyFile> {
    let key = KeyFile::generate().at("make a key")?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at_path("create the key file", path)?;
    if let Err(error) = file.write_all(&key.encode()).and_then(|()| file.sync_all()) {
        // Half a key opens nothing; the failure that is told is the first one.
        let _ = std::fs::remove_file(path);
        return Err(error).at_path("write the key file", path)?;
    }
    Ok(key)
}

/// Asks a person.
fn prompt(purpose: Purpose, what: &str) -> Done<Secret> {
    if matches!(purpose, Purpose::Open | Purpose::Destination) {
        let typed = ask(&format!("Passphrase for {what}: "), purpose)?;
        return passphrase(typed, "the terminal");
    }
    for _ in 0..TRIES {
        let first = ask(&format!("New passphrase for {what}: "), purpose)?;
        if first.is_empty() {
            say("An empty passphrase protects nothing; once more.")?;
            continue;
        }
        let second = ask("The same again: ", purpose)?;
        if first == second {
            return passphrase(first, "the terminal");
        }
        say("These were not the same; once more.")?;
    }
    Err(Failure::usage(format!("no passphrase after {TRIES} tries")))
}

fn ask(question: &str, purpose: Purpose) -> Done<Zeroizing<Vec<u8>>> {
    match rpassword::prompt_password(question) {
        Ok(typed) => Ok(Zeroizing::new(typed.into_bytes())),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
            Err(Error::new(Class::Interrupted, "interrupted at the prompt").into())
        }
        Err(_) => {
            let [plain, file, command, key] = purpose.variables();
            Err(
                Failure::usage("no passphrase: there is no terminal to ask on, and none is set")
                    .hint(format!("set one of {file}, {command}, {plain} or {key}")),
            )
        }
    }
}

/// A word to the person at the prompt.
fn say(text: &str) -> Done {
    let mut terminal = OpenOptions::new()
        .write(true)
        .open("/dev/tty")
        .at("open the terminal")?;
    writeln!(terminal, "{text}").at("write to the terminal")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_end_of_line_is_no_part_of_a_secret() {
        let read = |text: &[u8]| read_line(text, 8).map(|bytes| bytes.to_vec());
        assert_eq!(read(b"a b\n").unwrap(), b"a b");
        assert_eq!(read(b"a\n\n").unwrap(), b"a\n");
        assert_eq!(read(b"a\r\n").unwrap(), b"a");
        assert_eq!(read(b"12345678\n").unwrap(), b"12345678");
        assert!(read(b"123456789").is_err());
    }

    #[test]
    fn key_files_are_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = create_key_file(&path).unwrap();
        assert!(!is_exposed(&path));
        assert_eq!(read_key_file(&path).unwrap(), key);
        assert!(create_key_file(&path).is_err());
    }
}
