//! Where objects live: the [`Backend`] trait, what every backend promises, and the table of kinds.
//!
//! A backend knows names and bytes, never keys or layouts. Objects are write-once: there is no overwriting and no
//! appending, so that a crash can only ever leave an object out, and two writers can never damage each other's.
//! What the trait's documentation promises is what [`conformance`] tests; a new kind is one file, one row in `KINDS`
//! and one call of that suite.

#[doc(hidden)]
pub mod conformance;
#[doc(hidden)]
pub mod fault;
mod key;
mod local;
mod memory;

pub use key::{Area, Key};
pub use local::Local;
pub use memory::Memory;

use std::ffi::OsStr;
use std::sync::Arc;

use crate::error::{Class, Error, Result};
use crate::format::MAX_OBJECT_BYTES;

/// A store of write-once objects.
///
/// Promises, to all threads and processes that use the same store:
/// * **atomic**: an object is there whole or not at all, whatever is killed when;
/// * **durable on return**: what [`Backend::write_new`] reported as written survives a power failure;
/// * **read after write, list after write**: what was written is read and listed from then on, what was removed is not;
/// * **an error, never a hang and never other bytes**, when the medium is gone.
pub trait Backend: Send + Sync {
    /// Makes the place ready for its first object; does nothing where that was done before. Refuses a place that
    /// holds other people's files.
    fn prepare(&self) -> Result<()>;

    /// Exactly `len` bytes of an object from `offset`. [`Class::NotFound`] without the object, [`Class::Corrupt`]
    /// if it ends before that.
    fn read(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>>;

    /// A whole object; [`Class::Corrupt`] if it is longer than `limit` bytes.
    fn read_all(&self, key: &Key, limit: u64) -> Result<Vec<u8>>;

    /// Stores a new object. [`Class::Exists`] if there is one of that name, which then stays as it is.
    fn write_new(&self, key: &Key, bytes: &[u8]) -> Result<()>;

    /// Tells name and length of every object in `area`, in any order, and ends early with the first error of `each`.
    /// Streams: memory does not grow with the number of objects. What is no object is passed over.
    fn list(&self, area: Area, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()>;

    /// Length of an object.
    fn size(&self, key: &Key) -> Result<u64>;

    /// Removes an object; [`Class::NotFound`] if there is none.
    fn remove(&self, key: &Key) -> Result<()>;

    /// Gives an object another name, durably; no bytes of it are changed. [`Class::NotFound`] without the object, [`Class::Exists`] if
    /// the other name is taken, and both stay as they are. Killed in between, it may have both names.
    ///
    /// This body is for stores that cannot rename: it holds the object in memory, and refuses what is longer than any object may be.
    fn rename(&self, from: &Key, to: &Key) -> Result<()> {
        let bytes = self.read_all(from, MAX_OBJECT_BYTES)?;
        self.write_new(to, &bytes)?;
        self.remove(from)
    }

    /// Stores a new object as [`Backend::write_new`] does, and holds it until the answer is dropped or the process has died,
    /// whatever kills it. At no instant others see the object without its being held. It stays until it is removed, but
    /// need not survive a power failure.
    fn hold(&self, key: &Key, bytes: &[u8]) -> Result<Box<dyn Held>>;

    /// Whether somebody holds an object; [`Class::NotFound`] without the object. Asking disturbs nobody. Where it cannot be told
    /// the answer is yes: nothing is taken from a holder that may live.
    fn is_held(&self, key: &Key) -> Result<bool>;

    /// Removes what interrupted writes left behind, but nothing that a live writer still works on; tells how many.
    fn remove_leftovers(&self) -> Result<u64>;

    /// From `true` on, until `false`, such objects are written into space that is set aside where there is no other: for commands that
    /// free space, or change who may. Calls nest. Where nothing is set aside this does nothing.
    fn draw_on_reserve(&self, what: Drawn, allowed: bool);

    /// Sets space aside, as far as there is room, where some is missing; true if nothing is.
    fn fill_reserve(&self) -> Result<bool>;

    /// Where this is, for messages: a path or a URL without secrets.
    fn location(&self) -> String;

    /// Whether there is an object of that name.
    fn exists(&self, key: &Key) -> Result<bool> {
        match self.size(key) {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What may take the space that is set aside; see [`Backend::draw_on_reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// All objects but packs.
    Small,
    /// Packs.
    Packs,
}

/// An object that is held; see [`Backend::hold`].
pub trait Held: Send + Sync {
    /// An error if others may take it for not held any more: the object was removed, or could not be renewed in time. Whoever holds
    /// it must not go on then.
    fn confirm(&self) -> Result<()>;
}

/// One kind of backend.
struct Kind {
    /// What stands before `://`.
    scheme: &'static str,
    /// How its URLs look, for messages.
    form: &'static str,
    open: fn(rest: &str) -> Result<Arc<dyn Backend>>,
}

/// All kinds that [`open`] knows. A text without a scheme is a path.
const KINDS: &[Kind] = &[Kind {
    scheme: "file",
    form: "file:///absolute/path",
    open: open_file_url,
}];

/// Schemes that people write without slashes, as some other tools want it. A directory of that name would be a surprise.
const REMOTE_PREFIXES: &[&str] = &[
    "s3", "sftp", "ssh", "rest", "rclone", "http", "https", "b2", "gs", "azure", "swift", "webdav",
];

/// The backend at `place`: a path, or a URL of a kind in the table. Touches nothing: whether something is there shows
/// with the first operation.
pub fn open(place: impl AsRef<OsStr>) -> Result<Arc<dyn Backend>> {
    let place = place.as_ref();
    // URLs are ASCII; a path need not be text.
    let Some(url) = place.to_str() else {
        return Ok(Arc::new(Local::new(place)));
    };
    if url.is_empty() {
        return Err(Error::invalid(
            "an empty place for a repository: give a path or a URL",
        ));
    }
    let Some((scheme, rest)) = split_scheme(url) else {
        return Ok(Arc::new(Local::new(url)));
    };
    match KINDS
        .iter()
        .find(|kind| kind.scheme.eq_ignore_ascii_case(scheme))
    {
        Some(kind) => (kind.open)(rest),
        None => Err(unknown_scheme(scheme)),
    }
}

/// The scheme of `url` and what follows it, if it has one.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let mut letters = scheme.bytes();
    let is_scheme = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    if !is_scheme {
        return None;
    }
    match rest.strip_prefix("//") {
        Some(rest) => Some((scheme, rest)),
        None if REMOTE_PREFIXES.contains(&scheme) => Some((scheme, rest)),
        None => None,
    }
}

fn unknown_scheme(scheme: &str) -> Error {
    let forms: Vec<_> = KINDS.iter().map(|kind| kind.form).collect();
    Error::new(
        Class::Unsupported,
        format!(
            "no backend for '{scheme}:': supported are a path and {}; write './{scheme}:...' for a path of that name",
            forms.join(", ")
        ),
    )
}

/// Opens what follows `file://`: an absolute path, percent-encoded as in every URL.
fn open_file_url(rest: &str) -> Result<Arc<dyn Backend>> {
    use std::os::unix::ffi::OsStringExt;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "'file://{rest}' names no absolute path: write file:///absolute/path, or the path alone"
        )));
    }
    let path = percent_decoded(path)
        .ok_or_else(|| Error::invalid(format!("'file://{rest}' has a bad %-escape")))?;
    Ok(Arc::new(Local::new(std::ffi::OsString::from_vec(path))))
}

/// `text` with `%XX` replaced; nothing if an escape is malformed or makes a zero byte.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = u8::try_from(digit()? * 16 + digit()?).ok()?;
        if value == 0 {
            return None;
        }
        out.push(value);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(url: &str) -> String {
        open(url).unwrap().location()
    }

    #[test]
    fn paths_and_file_urls_open() {
        assert_eq!(location("/srv/repo"), "/srv/repo");
        assert_eq!(location("here/we:are"), "here/we:are");
        assert_eq!(location("nas:backup"), "nas:backup");
        assert_eq!(location("file:///srv/my%20repo"), "/srv/my repo");
        assert_eq!(location("FILE://localhost/srv"), "/srv");
        let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"s3:\xff");
        let not_text: &OsStr = bytes;
        assert_eq!(open(not_text).unwrap().location(), "s3:\u{fffd}");
    }

    #[test]
    fn other_urls_are_refused_by_name() {
        for (url, class) in [
            ("", Class::Invalid),
            ("file://server/share", Class::Invalid),
            ("file:///bad%2", Class::Invalid),
            ("file:///nul%00", Class::Invalid),
            ("s3://bucket/place", Class::Unsupported),
            ("sftp:host:/place", Class::Unsupported),
            ("gopher://x", Class::Unsupported),
        ] {
            let error = open(url).map(|_| ()).unwrap_err();
            assert_eq!(error.class(), class, "{url}: {error}");
        }
        let message = open("s3://bucket").map(|_| ()).unwrap_err().to_string();
        assert!(
            message.contains("'s3:'") && message.contains("file://"),
            "{message}"
        );
    }
}
