//! Entries as a PAX tar that every current program reads: ustar headers, and records only for what they cannot say.
//!
//! Kept: all names and links as bytes, owners by number and name, nanosecond times before and after their range, attributes,
//! ACLs and capabilities, hard links, devices, holes. A socket cannot be in a tar and is left out with a warning.
//!
//! Invariant: content has exactly the announced length. A source that breaks off ends the archive with an error, as everything
//! after it would be read from the wrong place.

mod header;
mod pax;
#[cfg(test)]
mod round_trip;
mod sparse;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use self::header::{BLOCK_BYTES, Header, padding};
use self::pax::Records;
pub use self::sparse::Sparse;
use self::sparse::{Map, Plan};
use crate::entry::{Entry, EntryPath, Extent, Kind, Outcome, Sink, Want};
use crate::error::{At, Class, Error, Result};
use crate::progress::{Count, Monitor};

/// What a tar is rounded up to, as every tar program does.
const RECORD_BYTES: u64 = 10_240;
const BUFFER_BYTES: usize = 128 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// What a failing write was doing.
const WRITING: &str = "write the tar stream";

/// Writes entries as a tar stream; [`TarWriter::finish`] completes it.
pub struct TarWriter<W: Write> {
    inner: BufWriter<W>,
    sparse: Sparse,
    monitor: Arc<dyn Monitor>,
    written_bytes: u64,
    file: Option<Body>,
    /// The root, kept for the end: a reader that finishes a directory as soon as it sees something outside of it (GNU tar, where
    /// names do not begin with `./`) would set its times too early.
    root: Option<Entry>,
    /// What was left out, so that hard links to it are too.
    left_out: HashSet<EntryPath>,
}

/// A file whose content is being written.
struct Body {
    path: EntryPath,
    size: u64,
    offset: u64,
    /// Where data must lie, if a map of it stands in front: the extents still to come, the next one last.
    extents: Option<Vec<Extent>>,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `inner`, files with holes in the way of `sparse`.
    pub fn new(inner: W, sparse: Sparse, monitor: Arc<dyn Monitor>) -> Self {
        Self {
            inner: BufWriter::with_capacity(BUFFER_BYTES, inner),
            sparse,
            monitor,
            written_bytes: 0,
            file: None,
            root: None,
            left_out: HashSet::new(),
        }
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> Result<W> {
        if let Some(root) = self.root.take() {
            self.put_node(&root)?;
        }
        self.zeros(2 * BLOCK_BYTES as u64)?;
        let over = self.written_bytes % RECORD_BYTES;
        self.zeros((RECORD_BYTES - over) % RECORD_BYTES)?;
        self.inner
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .at(WRITING)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes).at(WRITING)?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, mut len: u64) -> Result<()> {
        while len > 0 {
            let piece = usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()));
            self.write(&ZEROS[..piece])?;
            len -= piece as u64;
        }
        Ok(())
    }

    /// Records (if any) and the header they belong to.
    fn write_header(&mut self, header: Header, records: Records, name: &[u8]) -> Result<()> {
        let records = records.finish();
        if !records.is_empty() {
            let mut announcing = Header::new(b'x');
            let mut its_name = b"PaxHeaders/".to_vec();
            its_name.extend_from_slice(&name[..name.len().min(80)]);
            announcing.set_name(&its_name);
            announcing.set_mode(0o644);
            announcing.set_uid(0);
            announcing.set_gid(0);
            announcing.set_mtime(0);
            announcing.set_size(records.len() as u64);
            self.write(&announcing.finish())?;
            self.write(&records)?;
            self.zeros(padding(records.len() as u64) as u64)?;
        }
        self.write(&header.finish())
    }

    /// True if the entry cannot be in a tar; it was warned about.
    fn leave_out(&mut self, entry: &Entry) -> bool {
        let why = match &entry.kind {
            Kind::Socket => "a tar cannot hold sockets",
            Kind::HardLink(to) if self.left_out.contains(to) => "it is a hard link to a socket",
            _ => return false,
        };
        self.monitor
            .warn(&format!("'{}' left out: {why}", entry.path));
        self.left_out.insert(entry.path.clone());
        true
    }

    /// Attributes as records; what is more than readers take is left out with a warning.
    fn put_xattrs(&self, entry: &Entry, records: &mut Records) {
        for xattr in &entry.meta.xattrs {
            if !records.xattr(xattr) {
                let name = String::from_utf8_lossy(&xattr.name);
                self.monitor.warn(&format!(
                    "'{}': attribute {} left out: more than a tar may hold",
                    entry.path,
                    name.escape_debug()
                ));
            }
        }
    }

    /// Header and map of a file.
    fn begin_file(&mut self, entry: &Entry) -> Result<()> {
        let map =
            Map::of(entry).map_err(|why| Error::invalid(format!("'{}': {why}", entry.path)))?;
        let plan = map.map_or(Plan::Plain, |map| map.plan(self.sparse, entry.size));
        let (mut header, mut records) = (Header::new(b'0'), Records::default());
        let size = match &plan {
            Plan::Plain => entry.size,
            Plan::Gnu(bytes, map) => bytes.len() as u64 + map.data_bytes,
            Plan::Cocoon(_, map) => map.data_bytes,
        };
        match &plan {
            Plan::Gnu(..) => {
                records.number("GNU.sparse.major", "1");
                records.number("GNU.sparse.minor", "0");
                records.text("GNU.sparse.name", entry.path.as_bytes());
                records.number("GNU.sparse.realsize", &entry.size.to_string());
                let mut name = b"GNUSparseFile.0/".to_vec();
                let real = entry.path.name();
                name.extend_from_slice(&real[..real.len().min(80)]);
                header.set_name(&name);
            }
            Plan::Cocoon(text, _) => {
                records.number("COCOON.sparse.map", text);
                records.number("COCOON.sparse.size", &entry.size.to_string());
                put_name(&mut header, &mut records, entry.path.as_bytes());
            }
            Plan::Plain => put_name(&mut header, &mut records, entry.path.as_bytes()),
        }
        if !header.set_size(size) {
            records.number("size", &size.to_string());
        }
        put_meta(entry, &mut header, &mut records);
        self.put_xattrs(entry, &mut records);
        self.write_header(header, records, entry.path.name())?;
        let extents = match plan {
            Plan::Plain => None,
            Plan::Gnu(bytes, map) => {
                self.write(&bytes)?;
                Some(map.extents)
            }
            Plan::Cocoon(_, map) => Some(map.extents),
        };
        self.file = Some(Body {
            path: entry.path.clone(),
            size: entry.size,
            offset: 0,
            extents: extents.map(|extents| extents.into_iter().rev().collect()),
        });
        Ok(())
    }

    /// Header of what has no content.
    fn put_node(&mut self, entry: &Entry) -> Result<()> {
        let mut name = entry.path.as_bytes().to_vec();
        let (typeflag, target) = match &entry.kind {
            Kind::HardLink(to) => (b'1', to.as_bytes()),
            Kind::Symlink(target) => (b'2', target.as_slice()),
            Kind::CharDevice(..) => (b'3', [].as_slice()),
            Kind::BlockDevice(..) => (b'4', [].as_slice()),
            Kind::Directory => (b'5', [].as_slice()),
            Kind::Fifo => (b'6', [].as_slice()),
            Kind::File | Kind::Socket => return Ok(()),
        };
        if entry.is_directory() {
            if name.is_empty() {
                name.push(b'.');
            }
            name.push(b'/');
        }
        let (mut header, mut records) = (Header::new(typeflag), Records::default());
        put_name(&mut header, &mut records, &name);
        if !header.set_link(target) {
            records.text("linkpath", target);
        }
        if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = entry.kind {
            header.set_device(major, minor);
        }
        header.set_size(0);
        put_meta(entry, &mut header, &mut records);
        self.put_xattrs(entry, &mut records);
        self.write_header(header, records, entry.path.name())
    }
}

impl<W: Write> Sink for TarWriter<W> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        if self.leave_out(entry) {
            return Ok(Want::Skip);
        }
        self.monitor.add(Count::Entries, 1);
        if entry.is_file() {
            self.begin_file(entry)?;
            return Ok(Want::Content);
        }
        if entry.path.is_root() {
            self.root = Some(entry.clone());
        } else {
            self.put_node(entry)?;
        }
        Ok(Want::Skip)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.take_data(bytes.len() as u64)?;
            self.monitor.add(Count::Bytes, bytes.len() as u64);
            self.write(bytes)?;
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let written = file.take_hole(len)?;
        self.zeros(written)
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        if outcome == Outcome::Failed {
            return Err(file.damaged("its content could not be read to the end"));
        }
        if file.offset < file.size {
            return Err(file.damaged("its content is shorter than announced"));
        }
        self.zeros(padding(self.written_bytes) as u64)
    }

    /// This archive has headers of its own.
    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Body {
    /// The next `len` bytes are data.
    fn take_data(&mut self, len: u64) -> Result<()> {
        let end = self.advance(len)?;
        if let Some(extents) = &mut self.extents {
            let inside = extents
                .last()
                .is_some_and(|next| self.offset >= next.offset && end <= next.offset + next.len);
            if !inside {
                return Err(self.damaged("its data lies outside of the announced extents"));
            }
            extents.pop_if(|next| end == next.offset + next.len);
        }
        self.offset = end;
        Ok(())
    }

    /// The next `len` bytes are hole; answers how many of them are written, as zeros.
    fn take_hole(&mut self, len: u64) -> Result<u64> {
        let end = self.advance(len)?;
        let start = std::mem::replace(&mut self.offset, end);
        let Some(extents) = &mut self.extents else {
            return Ok(len);
        };
        let mut written = 0;
        while let Some(next) = extents.last().filter(|next| next.offset < end) {
            let next_end = next.offset + next.len;
            written += end.min(next_end) - start.max(next.offset);
            if next_end > end {
                break;
            }
            extents.pop();
        }
        Ok(written)
    }

    fn advance(&self, len: u64) -> Result<u64> {
        let end = self.offset.checked_add(len).filter(|end| *end <= self.size);
        end.ok_or_else(|| self.damaged("its content is longer than announced"))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::new(
            Class::Corrupt,
            format!("the archive breaks off at '{}': {why}", self.path),
        )
    }
}

fn put_name(header: &mut Header, records: &mut Records, name: &[u8]) {
    if !header.set_name(name) {
        records.text("path", name);
    }
}

/// Mode, owner and times.
fn put_meta(entry: &Entry, header: &mut Header, records: &mut Records) {
    let meta = &entry.meta;
    header.set_mode(meta.mode);
    if !header.set_uid(meta.uid) {
        records.number("uid", &meta.uid.to_string());
    }
    if !header.set_gid(meta.gid) {
        records.number("gid", &meta.gid.to_string());
    }
    if !header.set_user(&meta.user) {
        records.text("uname", &meta.user);
    }
    if !header.set_group(&meta.group) {
        records.text("gname", &meta.group);
    }
    if !header.set_mtime(meta.mtime.seconds) || meta.mtime.nanoseconds > 0 {
        records.number("mtime", &pax::time(meta.mtime));
    }
    for (key, time) in [("atime", meta.atime), ("ctime", meta.ctime)] {
        if let Some(time) = time {
            records.number(key, &pax::time(time));
        }
    }
}
