//! What a tar archive is about, by the identity document at its top.
//!
//! | document | kind | versions read |
//! |---|---|---|
//! | `manifest.json`, an object with `version` and `components` | [`StreamKind::Stack`] | 1 |
//! | `manifest.json`, a list of `{index, target, scope, source}` | [`StreamKind::Volume`] | none stated |
//! | `snapshot.json`, an object with `version` and `config` | [`StreamKind::Vm`] | 1 |
//!
//! A document is kept byte for byte: it may say more than this program knows. What is parsed from it is for people to read;
//! unknown keys are ignored, known ones of another type count as absent. A manifest of any other shape makes a plain tar
//! (container images and web apps have a `manifest.json` too); only a document that clearly is ours but of
//! another version is refused, because taking it for something plain would lose what it means.

mod finder;
mod scalar;
mod stack;
mod vm;
mod volume;

use std::fmt;

use serde::Serialize;

use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};

pub(super) use finder::Finder;
pub use stack::{Component, Stack};
pub use vm::Vm;
pub use volume::Volume;

/// A kind of archive that is known by its identity document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// An application stack: configuration, data directories, wallets, cluster objects.
    Stack,
    /// An application's data volumes, each under its index.
    Volume,
    /// A virtual machine: memory, devices, disks.
    Vm,
}

/// Which identity documents are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// None: the archive is a plain tar, whatever is in it.
    Nothing,
    /// This one, and it must be there.
    Only(StreamKind),
}

/// An archive's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What kind of archive it is.
    pub kind: StreamKind,
    /// The document, byte for byte.
    pub document: Vec<u8>,
    /// What it says.
    pub summary: Summary,
}

/// What an identity document says, for people and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Summary {
    /// Of a stack.
    Stack(Stack),
    /// Of data volumes.
    Volume(Vec<Volume>),
    /// Of a virtual machine.
    Vm(Box<Vm>),
}

impl StreamKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Stack, Self::Volume, Self::Vm];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Volume => "volume",
            Self::Vm => "vm",
        }
    }

    /// The name of its identity document.
    pub fn document_name(self) -> &'static str {
        match self {
            Self::Stack | Self::Volume => "manifest.json",
            Self::Vm => "snapshot.json",
        }
    }

    /// The largest document of its kind.
    fn max_document_bytes(self) -> u64 {
        match self {
            Self::Stack | Self::Volume => 1 << 20,
            Self::Vm => 64 << 20,
        }
    }

    fn recognise(self, document: &[u8]) -> Result<Recognised> {
        match self {
            Self::Stack => stack::recognise(document),
            Self::Volume => volume::recognise(document),
            Self::Vm => vm::recognise(document),
        }
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Identity {
    /// Reads a document that is said to be of `kind`.
    pub fn parse(kind: StreamKind, document: Vec<u8>) -> Result<Self> {
        match kind.recognise(&document)? {
            Recognised::Yes(summary) => Ok(Self {
                kind,
                document,
                summary,
            }),
            Recognised::No(why) | Recognised::Nearly(why) => Err(Error::invalid(format!(
                "{} is not that of a {kind} archive: {why}",
                kind.document_name()
            ))),
        }
    }
}

/// Whether a document is of some kind.
enum Recognised {
    Yes(Summary),
    No(String),
    /// No, but so nearly that whoever made it may have meant it.
    Nearly(String),
}

/// The refusal of a document of another version.
fn version_error(kind: StreamKind, found: i64, known: i64) -> Error {
    Error::new(
        Class::Unsupported,
        format!(
            "{} says that this is a {kind} archive of version {found}, but this program reads version \
             {known}; take it as a plain tar to keep it all the same",
            kind.document_name()
        ),
    )
}

/// Finds what cannot be an object before the parser does, which would take a list for a struct's fields in order.
fn is_object(document: &[u8]) -> bool {
    document.trim_ascii_start().starts_with(b"{")
}

/// True for members whose content never shifts but changes in place: memory dumps and disk images. They are cut
/// at fixed places. `kind` is what is known of the archive by now; `None` while its document has not come.
pub fn page_aligned(path: &EntryPath, kind: Option<StreamKind>) -> bool {
    let name = path.name();
    is_disk(name) || (kind != Some(StreamKind::Volume) && path.depth() == 1 && is_memory(name))
}

/// True for the name of a disk image.
pub fn is_disk(name: &[u8]) -> bool {
    [&b".raw"[..], b".qcow2", b".img"]
        .iter()
        .any(|extension| name.len() > extension.len() && name.ends_with(extension))
}

/// True for the name of a guest's memory in a VM archive.
pub fn is_memory(name: &[u8]) -> bool {
    name == b"mem" || name.starts_with(b"memory-range")
}

#[cfg(test)]
mod tests;
