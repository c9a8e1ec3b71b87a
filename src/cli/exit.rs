//! How a command ends: the one table from a failure's class to the exit code, and what to do next.
//!
//! Scripts depend on these numbers; they are printed by `repo --help` and stand in `docs/json.md`. Code elsewhere never
//! chooses a number: it returns a [`Failure`], or collects warnings in the monitor.

use std::io;

use crate::error::{Class, Error};

/// Everything went well.
pub(super) const OK: u8 = 0;
/// It did not work, or it was interrupted.
pub(super) const FAILURE: u8 = 1;
/// The command line or the environment cannot be understood.
pub(super) const USAGE: u8 = 2;
/// Stored or received bytes are not what they must be.
pub(super) const INTEGRITY: u8 = 3;
/// It would replace or destroy something, and was not told to.
pub(super) const REFUSED: u8 = 4;
/// Somebody else is at it.
pub(super) const BUSY: u8 = 5;
/// There was nothing to do.
pub(super) const NO_DATA: u8 = 6;
/// It was done, but something was left out or changed on the way.
pub(super) const WARNINGS: u8 = 7;

/// Why a command did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command was not understood: message, and what to do.
    Usage(String, Option<String>),
    /// It failed, and what to do about it if the class alone does not say.
    Failed(Error, Option<String>),
    /// Whoever read our output went away: no reason to say anything.
    Pipe,
    /// All has been said already; end with this code.
    Code(u8),
}

/// The result of a command.
pub(super) type Done<T = ()> = Result<T, Failure>;

impl Failure {
    /// A command that cannot be understood.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into(), None)
    }

    /// The same failure with advice of its own.
    #[must_use]
    pub(super) fn hint(self, advice: impl Into<String>) -> Self {
        match self {
            Self::Usage(message, _) => Self::Usage(message, Some(advice.into())),
            Self::Failed(error, _) => Self::Failed(error, Some(advice.into())),
            other => other,
        }
    }

    /// The number that the process ends with.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(..) => USAGE,
            Self::Failed(error, _) => code(error.class()),
            Self::Pipe => OK,
            Self::Code(code) => *code,
        }
    }

    /// The class as a word, for JSON.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Failed(error, _) => row(error.class()).1,
            Self::Usage(..) => "usage",
            Self::Pipe | Self::Code(_) => "none",
        }
    }

    /// What happened, in one line; nothing for endings that need no words.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message, _) => Some(message.clone()),
            Self::Failed(error, _) => Some(error.to_string()),
            Self::Pipe | Self::Code(_) => None,
        }
    }

    /// What to do next.
    pub(super) fn advice(&self) -> Option<&str> {
        match self {
            Self::Usage(_, hint) => hint.as_deref(),
            Self::Failed(error, hint) => hint.as_deref().or(row(error.class()).2),
            Self::Pipe | Self::Code(_) => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error, None)
    }
}

/// Attaches advice to a failure of the library.
pub(super) trait Hint<T> {
    /// Says what to do if it failed with this class.
    fn hint_for(self, class: Class, advice: impl FnOnce() -> String) -> Done<T>;
}

impl<T, E: Into<Failure>> Hint<T> for Result<T, E> {
    fn hint_for(self, class: Class, advice: impl FnOnce() -> String) -> Done<T> {
        self.map_err(|error| match error.into() {
            Failure::Failed(error, None) if error.class() == class => {
                Failure::Failed(error, Some(advice()))
            }
            other => other,
        })
    }
}

/// A failure to write our own output: a reader that went away is no failure of ours.
pub(super) fn output_failed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::Pipe
    } else {
        Failure::from(Error::io("write to standard output", error))
    }
}

/// The exit code for a class.
pub(super) fn code(class: Class) -> u8 {
    row(class).0
}

/// One row per class: exit code, word, what to do next.
fn row(class: Class) -> (u8, &'static str, Option<&'static str>) {
    match class {
        Class::NotFound => (FAILURE, "not-found", None),
        Class::Exists => (FAILURE, "exists", None),
        Class::Corrupt => (
            INTEGRITY,
            "corrupt",
            Some(
                "nothing wrong was handed out; 'repo check' tells which snapshots and paths are hurt",
            ),
        ),
        Class::WrongKey => (
            FAILURE,
            "wrong-key",
            Some(
                "check the passphrase, or which of --key-file, REPO_PASSPHRASE, REPO_PASSPHRASE_FILE, \
                 REPO_PASSPHRASE_COMMAND and REPO_KEY_FILE is set",
            ),
        ),
        Class::Busy => (BUSY, "busy", Some("try again when the other one is done")),
        Class::Unsupported => (FAILURE, "unsupported", None),
        Class::Full => (
            FAILURE,
            "full",
            Some("make room there, and run the same command again"),
        ),
        Class::Invalid => (FAILURE, "invalid", None),
        Class::Denied => (FAILURE, "denied", None),
        Class::Refused => (REFUSED, "refused", None),
        Class::NoData => (NO_DATA, "no-data", None),
        Class::Interrupted => (FAILURE, "interrupted", None),
        Class::Io => (FAILURE, "io", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_classes_that_scripts_act_on() {
        assert_eq!(code(Class::Corrupt), 3);
        assert_eq!(code(Class::Refused), 4);
        assert_eq!(code(Class::Busy), 5);
        assert_eq!(code(Class::NoData), 6);
    }

    #[test]
    fn own_advice_goes_before_that_of_the_class() {
        let busy = || Error::new(Class::Busy, "x");
        assert!(Failure::from(busy()).advice().is_some());
        let own = Err::<(), _>(busy()).hint_for(Class::Busy, || "wait".into());
        assert_eq!(own.unwrap_err().advice(), Some("wait"));
        let other = Err::<(), _>(busy()).hint_for(Class::Full, || "wait".into());
        assert_ne!(other.unwrap_err().advice(), Some("wait"));
    }
}
