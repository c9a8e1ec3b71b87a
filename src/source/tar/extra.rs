//! What extended headers say about the next entry (or, when global, about all that follow), until it is merged
//! with the entry's own header.
//!
//! Unknown records are left alone: they stay in the literal stream. Known ones whose value makes no sense
//! become `problems`, which are told with the entry's name; only those that decide where bytes go (sizes, maps) are errors.

use std::collections::BTreeMap;

use super::acl;
use super::pax::{integer, records, time};
use super::sparse::{MapError, RawMap, parse_json, parse_list};
use super::{MAX_PATH_BYTES, base64, number};
use crate::entry::{Time, Xattr};
use crate::error::{Error, Result};

/// Bounds of attributes, as Linux has them, and of all attributes of one entry.
const MAX_XATTR_NAME_BYTES: usize = 255;
const MAX_XATTR_VALUE_BYTES: usize = 64 << 10;
const MAX_XATTRS_BYTES: usize = 1 << 20;

/// The most remarks that are kept about one entry.
const MAX_PROBLEMS: usize = 8;

/// Values from extended headers. `None`: the header block's own field counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    /// GNU long names; PAX records win over them.
    pub(super) long_path: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) user: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) mtime: Option<Time>,
    pub(super) atime: Option<Time>,
    pub(super) ctime: Option<Time>,
    pub(super) devmajor: Option<i64>,
    pub(super) devminor: Option<i64>,
    pub(super) sparse: PaxSparse,
    pub(super) problems: Vec<String>,
    xattrs: BTreeMap<Vec<u8>, (Spelling, Vec<u8>)>,
    xattr_bytes: usize,
}

/// Where an attribute came from; the later one is the more exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spelling {
    Text,
    Libarchive,
    Schily,
}

/// The records of the sparse dialects, as read.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) version: [Option<u64>; 2],
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) blocks: Option<u64>,
    pub(super) map: Option<RawMap>,
    pub(super) cocoon_map: Option<RawMap>,
    pub(super) cocoon_size: Option<u64>,
    pending_offset: Option<u64>,
}

impl Extra {
    /// Applies the records of one extended header that stands at `offset` of the stream.
    pub(super) fn apply(&mut self, bytes: &[u8], global: bool, offset: u64) -> Result<()> {
        let at = |e: &dyn std::fmt::Display| {
            Error::corrupt(format!("PAX header at byte {offset} of the tar: {e}"))
        };
        for record in records(bytes) {
            let (key, value) = record.map_err(|e| at(&e))?;
            if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                self.sparse.gnu(name, value).map_err(|e| at(&e))?;
            } else if let Some(name) = key.strip_prefix(b"COCOON.sparse.") {
                self.sparse.cocoon(name, value).map_err(|e| at(&e))?;
            } else if key == b"size" {
                self.size = match value {
                    b"" => None,
                    _ => Some(number::decimal(value).ok_or_else(|| at(&"has a bad size"))?),
                };
            } else {
                self.set(key, value);
            }
        }
        if global && !self.sparse.is_empty() {
            return Err(at(&"a global header cannot make files sparse"));
        }
        Ok(())
    }

    /// A record that decides nothing about where bytes go.
    fn set(&mut self, key: &[u8], value: &[u8]) {
        // One byte over the limit tells that a name is too long; more of it would only take memory.
        let kept = &value[..value.len().min(MAX_PATH_BYTES + 1)];
        let text = || (!value.is_empty()).then(|| kept.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"uname" => self.user = text(),
            b"gname" => self.group = text(),
            b"uid" => self.uid = self.parsed(key, value, integer),
            b"gid" => self.gid = self.parsed(key, value, integer),
            b"mtime" => self.mtime = self.parsed(key, value, time),
            b"atime" => self.atime = self.parsed(key, value, time),
            b"ctime" => self.ctime = self.parsed(key, value, time),
            b"SCHILY.devmajor" => self.devmajor = self.parsed(key, value, integer),
            b"SCHILY.devminor" => self.devminor = self.parsed(key, value, integer),
            b"SCHILY.acl.access" => self.set_acl(b"system.posix_acl_access", value),
            b"SCHILY.acl.default" => self.set_acl(b"system.posix_acl_default", value),
            b"SCHILY.acl.ace" => self.problem("its NFSv4 ACL is kept in the stream only"),
            b"RHT.security.selinux" => {
                // The kernel's value ends with a NUL, the text does not.
                let value = [value, b"\0"].concat();
                self.set_xattr(b"security.selinux".to_vec(), Spelling::Text, value);
            }
            _ => self.set_prefixed(key, value),
        }
    }

    fn set_prefixed(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.set_xattr(schily_name(name), Spelling::Schily, value.to_vec());
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            match base64::decode(value) {
                Some(value) => {
                    self.set_xattr(base64::percent_decode(name), Spelling::Libarchive, value);
                }
                None => self.problem("an attribute is not readable as base64"),
            }
        }
    }

    fn set_acl(&mut self, name: &[u8], text: &[u8]) {
        match acl::encode(text) {
            Some(value) if name.ends_with(b"access") && acl::is_minimal(&value) => {}
            Some(value) => self.set_xattr(name.to_vec(), Spelling::Text, value),
            None if text.trim_ascii().is_empty() => {}
            None => self.problem(
                "its ACL names someone without a number, or is not readable: kept in the stream only",
            ),
        }
    }

    fn set_xattr(&mut self, name: Vec<u8>, spelling: Spelling, value: Vec<u8>) {
        if name.is_empty() || name.len() > MAX_XATTR_NAME_BYTES || name.contains(&0) {
            self.problem("an attribute's name cannot exist on Linux: kept in the stream only");
            return;
        }
        if self.xattrs.get(&name).is_some_and(|held| held.0 > spelling) {
            return;
        }
        // An overwritten value counts again: this bounds work as well as memory.
        self.xattr_bytes += name.len() + value.len();
        if value.len() > MAX_XATTR_VALUE_BYTES || self.xattr_bytes > MAX_XATTRS_BYTES {
            self.problem("an attribute is too large for Linux: kept in the stream only");
            return;
        }
        self.xattrs.insert(name, (spelling, value));
    }

    /// All attributes, sorted by name.
    pub(super) fn take_xattrs(&mut self) -> Vec<Xattr> {
        let xattrs = std::mem::take(&mut self.xattrs).into_iter();
        xattrs
            .map(|(name, (_, value))| Xattr { name, value })
            .collect()
    }

    /// A value, or `None` for the empty one, which takes an earlier record back.
    fn parsed<T>(
        &mut self,
        key: &[u8],
        value: &[u8],
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        if value.is_empty() {
            return None;
        }
        let parsed = parse(value);
        if parsed.is_none() {
            self.problem(&format!(
                "its {} record is not readable",
                key.escape_ascii()
            ));
        }
        parsed
    }

    /// Something the user must know about the entry.
    pub(super) fn problem(&mut self, what: &str) {
        if self.problems.len() < MAX_PROBLEMS && !self.problems.iter().any(|p| p == what) {
            self.problems.push(what.to_owned());
        }
    }
}

impl PaxSparse {
    /// True if no record of any sparse dialect came.
    pub(super) fn is_empty(&self) -> bool {
        self.version == [None; 2]
            && self.size.is_none()
            && self.blocks.is_none()
            && self.map.is_none()
            && !self.is_cocoon()
    }

    /// True if the COCOON dialect was used.
    pub(super) fn is_cocoon(&self) -> bool {
        self.cocoon_map.is_some() || self.cocoon_size.is_some()
    }

    /// True if an `offset` came without its `numbytes`.
    pub(super) fn is_torn(&self) -> bool {
        self.pending_offset.is_some()
    }

    fn gnu(&mut self, name: &[u8], value: &[u8]) -> Result<(), MapError> {
        let number = || number::decimal(value).ok_or(MapError::Malformed("a record is no number"));
        match name {
            b"major" => self.version[0] = Some(number()?),
            b"minor" => self.version[1] = Some(number()?),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"numblocks" => self.blocks = Some(number()?),
            b"name" => self.name = Some(value[..value.len().min(MAX_PATH_BYTES + 1)].to_vec()),
            b"map" => self.map = Some(parse_list(value)?),
            b"offset" if self.pending_offset.is_none() => self.pending_offset = Some(number()?),
            b"numbytes" => {
                let offset = self.pending_offset.take();
                let offset = offset.ok_or(MapError::Malformed("a length has no offset"))?;
                self.map.get_or_insert_default().push(offset, number()?)?;
            }
            b"offset" => return Err(MapError::Malformed("an offset has no length")),
            _ => {}
        }
        Ok(())
    }

    fn cocoon(&mut self, name: &[u8], value: &[u8]) -> Result<(), MapError> {
        match name {
            b"map" => self.cocoon_map = Some(parse_json(value)?),
            b"size" => {
                let size = number::decimal(value);
                self.cocoon_size = Some(size.ok_or(MapError::Malformed("its size is no number"))?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The name in a `SCHILY.xattr` key: GNU tar writes `=` and `%` as `%3D` and `%25`, since an equals sign would end the key.
fn schily_name(mut key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    while let Some((first, rest)) = key.split_first() {
        let (byte, rest) = match rest {
            [b'3', b'D', rest @ ..] if *first == b'%' => (b'=', rest),
            [b'2', b'5', rest @ ..] if *first == b'%' => (b'%', rest),
            _ => (*first, rest),
        };
        name.push(byte);
        key = rest;
    }
    name
}
