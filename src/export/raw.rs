//! The content of one single file, without any container: a disk image, a dump, a stream that came in as it is.
//!
//! Into a pipe, holes are zeros; into a regular file they are holes again. More than one file is an error: which one was meant?

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use crate::entry::{Entry, EntryPath, Outcome, Sink, Want};
use crate::error::{At, Class, Error, Result};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// What a failing write was doing.
const WRITING: &str = "write the content";

/// Writes the content of the one file that comes; [`RawWriter::finish`] completes it.
pub struct RawWriter<W: Write> {
    inner: W,
    file: Option<EntryPath>,
    /// How a hole is written, and how the end, where the target knows holes or does not.
    hole: fn(&mut W, u64) -> Result<()>,
    end: fn(&mut W) -> Result<()>,
}

impl<W: Write> RawWriter<W> {
    /// Writes forwards only, holes as zeros.
    pub fn stream(inner: W) -> Self {
        Self {
            inner,
            file: None,
            hole: zeros,
            end: |inner| inner.flush().at(WRITING),
        }
    }

    /// The content is complete; class `NoData` if no file came.
    pub fn finish(mut self) -> Result<W> {
        if self.file.is_none() {
            return Err(Error::new(Class::NoData, "there is no file to write"));
        }
        (self.end)(&mut self.inner)?;
        Ok(self.inner)
    }
}

impl RawWriter<File> {
    /// Writes into a regular file of its own from its beginning, and leaves holes.
    pub fn sparse(file: File) -> Self {
        Self {
            inner: file,
            file: None,
            hole: skip,
            end: end_here,
        }
    }
}

fn zeros<W: Write>(inner: &mut W, mut len: u64) -> Result<()> {
    while len > 0 {
        let piece = usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()));
        inner.write_all(&ZEROS[..piece]).at(WRITING)?;
        len -= piece as u64;
    }
    Ok(())
}

fn skip(file: &mut File, len: u64) -> Result<()> {
    let ahead = i64::try_from(len)
        .map_err(|_| Error::invalid("the file is longer than any file can be"))?;
    file.seek(SeekFrom::Current(ahead)).at(WRITING)?;
    Ok(())
}

/// A hole at the end is only there once the length says so.
fn end_here(file: &mut File) -> Result<()> {
    let end = file.stream_position().at(WRITING)?;
    file.set_len(end).at(WRITING)
}

impl<W: Write> Sink for RawWriter<W> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        if !entry.is_file() {
            return Ok(Want::Skip);
        }
        if let Some(first) = &self.file {
            return Err(Error::invalid(format!(
                "raw output holds one file, and there are '{first}' and '{}': name one of them",
                entry.path
            )));
        }
        self.file = Some(entry.path.clone());
        Ok(Want::Content)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes).at(WRITING)
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        (self.hole)(&mut self.inner, len)
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        if outcome == Outcome::Failed {
            let what = "the content could not be read to its end";
            return Err(Error::corrupt(what));
        }
        Ok(())
    }

    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::entry::{Kind, MemoryEntry, MemorySource, Order, Piece, Source};
    use crate::export::judge::{bare, file, sparse};

    fn disk() -> Vec<MemoryEntry> {
        let content = vec![
            Piece::Hole(1 << 20),
            Piece::Data(vec![7; 4096]),
            Piece::Hole(1 << 20),
        ];
        vec![
            bare("", Kind::Directory, 0o755),
            sparse("disk", 0o600, content),
        ]
    }

    #[test]
    fn a_stream_has_zeros_and_a_file_has_holes() {
        let mut bytes = Vec::new();
        let mut writer = RawWriter::stream(&mut bytes);
        MemorySource::new(disk(), Order::Walk)
            .stream(&mut writer)
            .unwrap();
        writer.finish().unwrap();
        assert!(bytes == disk()[1].bytes());
        let tmp = tempfile::tempdir().unwrap();
        let at = tmp.path().join("disk");
        let mut writer = RawWriter::sparse(File::create(&at).unwrap());
        MemorySource::new(disk(), Order::Walk)
            .stream(&mut writer)
            .unwrap();
        writer.finish().unwrap();
        assert!(std::fs::read(&at).unwrap() == bytes);
        assert!(std::fs::metadata(&at).unwrap().blocks() < 64);
    }

    #[test]
    fn none_and_two_are_errors() {
        let writer = RawWriter::stream(Vec::new());
        assert!(writer.finish().is_err_and(|e| e.class() == Class::NoData));
        let mut writer = RawWriter::stream(Vec::new());
        let two = vec![file("a", 0o600, b"1"), file("b", 0o600, b"2")];
        let error = MemorySource::new(two, Order::Walk).stream(&mut writer);
        assert!(error.is_err_and(|e| e.class() == Class::Invalid));
    }
}
