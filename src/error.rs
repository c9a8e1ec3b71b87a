//! The one error type of rows 5 and up: a class that code acts on, what it was about, and its cause.
//!
//! Pure rows (`format`, `chunk`, `codec`, `crypto`) have small enums of their own whose variants carry
//! offsets and limits; they become an [`Error`] at the edge, by [`At::at`] or [`Error::caused`]. The class picks the
//! exit code (`cli`), the errno (`mount`) and the verdict (`maintain`): code matches on the class, never on text.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

/// What kind of failure it is; the only part of an error that code decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Something named by the caller does not exist.
    NotFound,
    /// Something that must not exist is there already.
    Exists,
    /// Stored or received bytes are not what they must be: bit rot, truncation, tampering.
    Corrupt,
    /// No key slot opens with the secret given.
    WrongKey,
    /// Another process holds what is needed.
    Busy,
    /// A version, kind or feature that this program does not know.
    Unsupported,
    /// No space left, or a quota was reached.
    Full,
    /// Input that cannot be accepted: bad argument, malformed archive, limit exceeded.
    Invalid,
    /// The operating system, or the key's role, does not permit it.
    Denied,
    /// It would destroy or replace something and was not confirmed.
    Refused,
    /// There is nothing to do: no input, no matching entry.
    NoData,
    /// The operation was interrupted by the user.
    Interrupted,
    /// Any other failure of the operating system or the medium.
    Io,
}

/// A failure: its [`Class`], what it was about (lower case, no full stop), and its cause.
pub struct Error {
    class: Class,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync + 'static>>,
}

/// The result of everything from row 5 up.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a deeper cause. `what` says what failed and where.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self {
            class,
            what: what.into(),
            source: None,
        }
    }

    /// An error with a cause.
    pub fn caused(
        class: Class,
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync + 'static>>,
    ) -> Self {
        Self {
            class,
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// An operating system error about `what`; the class follows from its kind.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self {
            class: class_of(&source),
            what: what.into(),
            source: Some(Box::new(source)),
        }
    }

    /// Input that cannot be accepted.
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::new(Class::Invalid, what)
    }

    /// Stored bytes that are not what they must be.
    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::new(Class::Corrupt, what)
    }

    /// What kind of failure it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What it was about, without the cause.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The same error with `context` in front ("context: what").
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.what = format!("{context}: {}", self.what);
        self
    }
}

/// The class that an operating system error belongs to.
fn class_of(error: &io::Error) -> Class {
    use io::ErrorKind as Kind;
    // An `Error` that travelled through an `io::Read` or `io::Write` keeps its class.
    if let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        return inner.class;
    }
    match error.kind() {
        Kind::NotFound => Class::NotFound,
        Kind::AlreadyExists => Class::Exists,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Class::Denied,
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Class::Full,
        Kind::UnexpectedEof | Kind::InvalidData => Class::Corrupt,
        Kind::ResourceBusy | Kind::WouldBlock => Class::Busy,
        Kind::Unsupported => Class::Unsupported,
        _ => Class::Io,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.class)
    }
}

// `source()` stays empty on purpose: `Display` already prints the chain, and a caller that prints both
// would say everything twice.
impl StdError for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.class {
            Class::NotFound => io::ErrorKind::NotFound,
            Class::Corrupt => io::ErrorKind::InvalidData,
            Class::Full => io::ErrorKind::StorageFull,
            Class::Denied => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// Adds what an operation was about to a bare operating system error.
pub trait At<T> {
    /// Turns the error into an [`Error`] about `what`.
    fn at(self, what: impl fmt::Display) -> Result<T>;
    /// The same for a path.
    fn at_path(self, what: &str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Error::io(what.to_string(), e))
    }

    fn at_path(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|e| Error::io(format!("{what} {}", path.display()), e))
    }
}

impl<T> At<T> for std::result::Result<T, rustix::io::Errno> {
    fn at(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(io::Error::from).at(what)
    }

    fn at_path(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(io::Error::from).at_path(what, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_what_and_cause() {
        let error = Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))
            .at_path("open", Path::new("/nowhere"))
            .unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        assert!(error.to_string().starts_with("open /nowhere: "), "{error}");
    }

    #[test]
    fn class_survives_a_trip_through_io() {
        let through: io::Error = Error::corrupt("block 3").into();
        assert_eq!(Error::io("read", through).class(), Class::Corrupt);
    }
}
