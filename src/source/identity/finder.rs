//! Watches an archive go by, keeps its identity documents, and says at the end what it is.
//!
//! Documents pass as normal entries too; this only copies them on their way. A document may stand anywhere in the
//! stream and may come again (the last one counts, as when the archive is unpacked); one of another version is refused
//! when it is seen, not after the whole stream.

use std::collections::BTreeMap;

use super::vm::{TopFile, check};
use super::{Expected, Identity, Recognised, StreamKind, Summary};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::progress::Monitor;

/// How many files at the top are remembered, to check a VM's list against; far above what such an archive has.
const MAX_TOP_FILES: usize = 65_536;

/// See the module.
pub(in crate::source) struct Finder {
    expected: Expected,
    capture: Option<(&'static str, Vec<u8>)>,
    manifest: Option<Identity>,
    envelope: Option<Identity>,
    /// Why a document that was there does not count.
    unfit: Option<String>,
    /// The same, if it looked much like one that does.
    nearly: Option<String>,
    members: BTreeMap<Vec<u8>, TopFile>,
    crowded: bool,
}

impl Finder {
    pub(in crate::source) fn new(expected: Expected) -> Self {
        Self {
            expected,
            capture: None,
            manifest: None,
            envelope: None,
            unfit: None,
            nearly: None,
            members: BTreeMap::new(),
            crowded: false,
        }
    }

    /// A file begins.
    pub(in crate::source) fn begin(&mut self, entry: &Entry) {
        if self.expected == Expected::Nothing || entry.path.depth() != 1 {
            return;
        }
        let name = entry.path.as_bytes();
        let top = TopFile {
            size: entry.size,
            sparse: entry.extents.is_some(),
        };
        if self.members.len() < MAX_TOP_FILES || self.members.contains_key(name) {
            self.members.insert(name.to_vec(), top);
        } else {
            self.crowded = true;
        }
        let wanted = |kind: &StreamKind| match self.expected {
            Expected::Any => true,
            Expected::Nothing => false,
            Expected::Only(only) => only == *kind,
        };
        let named = |kind: &StreamKind| kind.document_name().as_bytes() == name;
        let Some(kind) = StreamKind::ALL.into_iter().find(|k| wanted(k) && named(k)) else {
            return;
        };
        let limit = kind.max_document_bytes();
        if entry.size > limit {
            self.unfit = Some(format!("it is larger than {limit} bytes"));
            return;
        }
        self.capture = Some((kind.document_name(), Vec::new()));
    }

    /// Content of the file.
    pub(in crate::source) fn data(&mut self, bytes: &[u8]) {
        if let Some((_, document)) = &mut self.capture {
            document.extend_from_slice(bytes);
        }
    }

    /// A hole in the file.
    pub(in crate::source) fn hole(&mut self, len: u64) {
        if let Some((_, document)) = &mut self.capture {
            // A captured file is small as a whole.
            let len = usize::try_from(len).unwrap_or(0);
            document.resize(document.len() + len, 0);
        }
    }

    /// The file is over.
    pub(in crate::source) fn end(&mut self) -> Result<()> {
        let Some((name, document)) = self.capture.take() else {
            return Ok(());
        };
        let mut found = None;
        self.nearly = None;
        for kind in StreamKind::ALL {
            let tried = match self.expected {
                Expected::Only(only) => only == kind,
                _ => kind.document_name() == name,
            };
            if !tried {
                continue;
            }
            match kind.recognise(&document)? {
                Recognised::Yes(summary) => found = Some((kind, summary)),
                Recognised::No(why) => self.unfit = Some(why),
                Recognised::Nearly(why) => {
                    self.nearly = Some(format!("{name} looks like that of a {kind}, but {why}"));
                    self.unfit = Some(why);
                }
            }
        }
        let identity = found.map(|(kind, summary)| Identity {
            kind,
            document,
            summary,
        });
        if name == StreamKind::Vm.document_name() {
            self.envelope = identity;
        } else {
            self.manifest = identity;
        }
        Ok(())
    }

    /// What the archive is, once it has gone by as a whole.
    pub(in crate::source) fn finish(self, monitor: &dyn Monitor) -> Result<Option<Identity>> {
        let identity = match (self.manifest, self.envelope) {
            (Some(_), Some(_)) => {
                monitor.warn(
                    "the archive has both a manifest.json and a snapshot.json that say what it is: \
                     taken as a plain tar",
                );
                None
            }
            (manifest, envelope) => manifest.or(envelope),
        };
        if let (Expected::Any, None, Some(nearly)) = (self.expected, &identity, &self.nearly) {
            monitor.note(&format!("{nearly}: taken as a plain tar"));
        }
        if let (Expected::Only(kind), None) = (self.expected, &identity) {
            let name = kind.document_name();
            return Err(Error::invalid(match self.unfit {
                Some(why) => format!("{name} is not that of a {kind} archive: {why}"),
                None => format!("this is no {kind} archive: it has no {name} at its top"),
            }));
        }
        if let Some(Summary::Vm(vm)) = identity.as_ref().map(|identity| &identity.summary) {
            if self.crowded && vm.files.is_some() {
                return Err(Error::invalid(format!(
                    "the vm archive has more than {MAX_TOP_FILES} files: its list cannot be checked"
                )));
            }
            check(vm, &self.members, monitor)?;
        }
        Ok(identity)
    }
}
