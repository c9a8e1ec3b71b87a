//! Entries as a zip that can be written into a pipe.
//!
//! Everything is written forwards: contents are deflated as they come and their sizes follow them (zip64 throughout, so no size
//! is too large). The central directory waits in memory, compressed. Names are UTF-8 and marked so; other bytes are written as
//! they are, with a warning. Symbolic links are entries whose content is the target, as Info-ZIP has it; modes, owners by
//! number and times to the second are kept.
//!
//! What a zip cannot hold is said, never dropped in silence: pipes, sockets and devices are left out; a hard link becomes a
//! symbolic link to the file's first name; attributes are not kept.

mod record;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use self::record::Member;
use crate::entry::{Entry, EntryPath, Kind, Outcome, Sink, Want};
use crate::error::{At, Error, Result};
use crate::progress::{Count, Monitor};

/// The longest name that the format can tell.
const MAX_NAME_BYTES: usize = u16::MAX as usize;
const BUFFER_BYTES: usize = 128 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// What a failing write was doing.
const WRITING: &str = "write the zip stream";

/// Writes entries as a zip stream; [`ZipWriter::finish`] completes it.
pub struct ZipWriter<W: Write> {
    /// The output; while a file is written, its encoder holds it.
    output: Output<W>,
    level: Compression,
    monitor: Arc<dyn Monitor>,
    directory: DeflateEncoder<Vec<u8>>,
    directory_bytes: u64,
    entries: u64,
}

enum Output<W: Write> {
    Between(Counted<W>),
    InFile(DeflateEncoder<Counted<W>>, Box<Body>),
    /// A write failed: there is nothing to go on with.
    Broken,
}

/// A file whose content is being written.
struct Body {
    entry: Entry,
    name: Vec<u8>,
    offset: u64,
    content_offset: u64,
    crc: Crc,
    plain_bytes: u64,
}

/// Counts what goes through.
struct Counted<W: Write> {
    inner: BufWriter<W>,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> ZipWriter<W> {
    /// Writes to `inner`, contents deflated at `level` (1 to 9).
    pub fn new(inner: W, level: u32, monitor: Arc<dyn Monitor>) -> Result<Self> {
        if !(1..=9).contains(&level) {
            let what = format!("zip level {level} does not exist (1 to 9)");
            return Err(Error::invalid(what));
        }
        Ok(Self {
            output: Output::Between(Counted {
                inner: BufWriter::with_capacity(BUFFER_BYTES, inner),
                bytes: 0,
            }),
            level: Compression::new(level),
            monitor,
            directory: DeflateEncoder::new(Vec::new(), Compression::fast()),
            directory_bytes: 0,
            entries: 0,
        })
    }

    /// Writes the central directory.
    pub fn finish(mut self) -> Result<W> {
        let mut output = self.take_output()?;
        let offset = output.bytes;
        let packed = self.directory.finish().at(WRITING)?;
        let copied = io::copy(&mut DeflateDecoder::new(packed.as_slice()), &mut output);
        let copied = copied.at(WRITING)?;
        if copied != self.directory_bytes {
            return Err(Error::corrupt("the zip directory changed in memory"));
        }
        let end = record::end(offset, self.directory_bytes, self.entries);
        output.write_all(&end).at(WRITING)?;
        let inner = output.inner.into_inner();
        inner.map_err(io::IntoInnerError::into_error).at(WRITING)
    }

    /// The output between two files.
    fn take_output(&mut self) -> Result<Counted<W>> {
        match std::mem::replace(&mut self.output, Output::Broken) {
            Output::Between(output) => Ok(output),
            _ => Err(Error::invalid("the zip stream ended inside a file")),
        }
    }

    /// The entry as the format has it; what is not streamed gets content and sizes later.
    fn member<'a>(entry: &Entry, name: &'a [u8], offset: u64) -> Member<'a> {
        let kind = match entry.kind {
            Kind::Directory => 0o040_000,
            Kind::File => 0o100_000,
            _ => 0o120_000,
        };
        Member {
            name,
            method: record::STORED,
            streamed: false,
            mode: kind | entry.meta.mode & 0o7777,
            mtime: entry.meta.mtime.seconds,
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            crc: 0,
            packed_bytes: 0,
            plain_bytes: 0,
            offset,
        }
    }

    fn add_to_directory(&mut self, member: &Member<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        member.directory_entry(&mut bytes);
        self.directory_bytes += bytes.len() as u64;
        self.entries += 1;
        self.directory.write_all(&bytes).at(WRITING)
    }

    /// An entry whose whole content is known: a directory, a link.
    fn put_small(&mut self, entry: &Entry, name: &[u8], content: &[u8]) -> Result<()> {
        let mut output = self.take_output()?;
        let mut member = Self::member(entry, name, output.bytes);
        let mut crc = Crc::new();
        crc.update(content);
        member.crc = crc.sum();
        member.packed_bytes = content.len() as u64;
        member.plain_bytes = content.len() as u64;
        let mut bytes = Vec::new();
        member.local_header(&mut bytes);
        bytes.extend_from_slice(content);
        output.write_all(&bytes).at(WRITING)?;
        self.output = Output::Between(output);
        self.add_to_directory(&member)
    }

    fn begin_file(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let mut output = self.take_output()?;
        let offset = output.bytes;
        let mut member = Self::member(entry, name, offset);
        member.streamed = true;
        member.method = record::DEFLATED;
        let mut header = Vec::new();
        member.local_header(&mut header);
        output.write_all(&header).at(WRITING)?;
        let body = Body {
            entry: entry.clone(),
            name: name.to_vec(),
            offset,
            content_offset: output.bytes,
            crc: Crc::new(),
            plain_bytes: 0,
        };
        self.output = Output::InFile(DeflateEncoder::new(output, self.level), Box::new(body));
        Ok(())
    }

    /// Warns of what this format does not keep; the name to write, or none if the entry is left out.
    fn name_of(&self, entry: &Entry) -> Option<Vec<u8>> {
        let warn = |what: &str| self.monitor.warn(&format!("'{}': {what}", entry.path));
        if matches!(
            entry.kind,
            Kind::Fifo | Kind::Socket | Kind::CharDevice(..) | Kind::BlockDevice(..)
        ) {
            warn(&format!(
                "left out, a zip cannot hold a {}",
                entry.kind.name()
            ));
            return None;
        }
        let mut name = entry.path.as_bytes().to_vec();
        if entry.is_directory() {
            name.push(b'/');
        }
        if name.len() > MAX_NAME_BYTES {
            warn("left out, a zip cannot hold so long a name");
            return None;
        }
        if std::str::from_utf8(&name).is_err() {
            warn("its name is not UTF-8, and readers will show other ones");
        }
        if !entry.meta.xattrs.is_empty() {
            warn("its extended attributes are not kept, a zip cannot hold them");
        }
        Some(name)
    }

    fn put_plain(&mut self, bytes: &[u8]) -> Result<()> {
        if let Output::InFile(encoder, body) = &mut self.output {
            encoder.write_all(bytes).at(WRITING)?;
            body.crc.update(bytes);
            body.plain_bytes += bytes.len() as u64;
        }
        Ok(())
    }
}

impl<W: Write> Sink for ZipWriter<W> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        // A zip has no entry for the root itself.
        if entry.path.is_root() {
            return Ok(Want::Skip);
        }
        let Some(name) = self.name_of(entry) else {
            return Ok(Want::Skip);
        };
        self.monitor.add(Count::Entries, 1);
        match &entry.kind {
            Kind::File => {
                self.begin_file(entry, &name)?;
                return Ok(Want::Content);
            }
            Kind::Symlink(target) => self.put_small(entry, &name, target)?,
            Kind::HardLink(to) => {
                let target = relative(&entry.path, to);
                self.monitor.warn(&format!(
                    "'{}': written as a symbolic link, a zip cannot hold hard links",
                    entry.path
                ));
                self.put_small(entry, &name, &target)?;
            }
            _ => self.put_small(entry, &name, &[])?,
        }
        Ok(Want::Skip)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.monitor.add(Count::Bytes, bytes.len() as u64);
        self.put_plain(bytes)
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            let piece = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.put_plain(&ZEROS[..piece])?;
            left -= piece as u64;
        }
        Ok(())
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        let Output::InFile(encoder, body) = std::mem::replace(&mut self.output, Output::Broken)
        else {
            return Err(Error::invalid("a file ended that had not begun"));
        };
        if outcome == Outcome::Failed {
            return Err(Error::corrupt(format!(
                "the archive breaks off at '{}': its content could not be read to the end",
                body.entry.path
            )));
        }
        let mut output = encoder.finish().at(WRITING)?;
        let mut member = Self::member(&body.entry, &body.name, body.offset);
        member.streamed = true;
        member.method = record::DEFLATED;
        member.crc = body.crc.sum();
        member.packed_bytes = output.bytes - body.content_offset;
        member.plain_bytes = body.plain_bytes;
        let mut descriptor = Vec::new();
        member.descriptor(&mut descriptor);
        output.write_all(&descriptor).at(WRITING)?;
        self.output = Output::Between(output);
        self.add_to_directory(&member)
    }

    /// This archive has headers of its own.
    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// The target of a symbolic link at `from` that leads to `to`.
fn relative(from: &EntryPath, to: &EntryPath) -> Vec<u8> {
    let mut target = b"../".repeat(from.depth().saturating_sub(1));
    target.extend_from_slice(to.as_bytes());
    target
}
