//! A disk as it is: a raw image file, or a block device, as a tree of one file.
//!
//! Holes are what the file system says; a device is all data. A disk is all or nothing: a sector that cannot be read, or an end
//! before the end, fails the stream. An image that is written to meanwhile is kept and named in a warning.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, SeekFrom, seek};

use super::bare_root;
use super::dir::facts::Facts;
use super::extents;
use super::readahead::{self, Piece, Plan, Stop};
use crate::entry::{Entry, EntryPath, Kind, Order, Outcome, Sink, Source, Want};
use crate::error::{At, Class, Error, Result};
use crate::progress::Monitor;

/// A raw disk image or block device.
pub struct DiskSource {
    path: PathBuf,
    file: File,
    entry: Entry,
    facts: Facts,
    monitor: Arc<dyn Monitor>,
}

impl DiskSource {
    /// Opens the image or device at `path`; the one file of the tree has its name. Whatever the content looks like, it is
    /// taken as it is: a guest can write anything into its disk.
    pub fn open(path: &Path, monitor: Arc<dyn Monitor>) -> Result<Self> {
        let file = File::open(path).at_path("open disk", path)?;
        let facts = Facts::of_handle(&file).at_path("look at disk", path)?;
        let size = match facts.file_type() {
            FileType::RegularFile => facts.size,
            FileType::BlockDevice => {
                seek(&file, SeekFrom::End(0)).at_path("find the size of", path)?
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{} is neither a disk image nor a block device",
                    path.display()
                )));
            }
        };
        let mut entry = image_entry(path, &facts)?;
        entry.size = size;
        if facts.file_type() == FileType::BlockDevice {
            // A device says nothing by which its content could be recognised.
            entry.stat = None;
        } else if facts.may_have_holes() {
            entry.extents = extents::list(&file, size);
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            entry,
            facts,
            monitor,
        })
    }

    /// A disk in a file that is open already, as `entry`; `path` is what it is called in messages.
    pub(super) fn of_file(
        file: File,
        entry: Entry,
        path: &Path,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self> {
        let facts = Facts::of_handle(&file).at_path("look at disk", path)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            entry,
            facts,
            monitor,
        })
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.entry.size
    }
}

/// A file entry with the name and the metadata of the image or device at `path`.
pub(super) fn image_entry(path: &Path, facts: &Facts) -> Result<Entry> {
    let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    let place = EntryPath::root().join(name).map_err(|error| {
        let shown = path.display();
        Error::invalid(format!("{shown} as a name in the snapshot: {error}"))
    })?;
    let mut entry = facts.entry(place).ok_or_else(|| {
        let shown = path.display();
        Error::invalid(format!("{shown} is of a type that is not known"))
    })?;
    entry.kind = Kind::File;
    Ok(entry)
}

impl Source for DiskSource {
    fn order(&self) -> Order {
        Order::Walk
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        sink.entry(&bare_root())?;
        if sink.entry(&self.entry)? == Want::Skip {
            return Ok(());
        }
        let plan = Plan {
            file: self.file.as_fd(),
            size: self.entry.size,
            sparse: self.facts.is_file() && self.facts.may_have_holes(),
            extents: self.entry.extents.as_deref(),
        };
        let read = readahead::pump(&plan, &mut |piece| deliver(piece, sink, &*self.monitor));
        let read = read.map_err(|stop| fault(stop, &self.path))?;
        let shown = self.path.display();
        if read != plan.size {
            return Err(Error::corrupt(format!(
                "{shown} ended at {read} of {} bytes",
                plan.size
            )));
        }
        let after = Facts::of_handle(&self.file).at_path("look at disk", &self.path)?;
        if self.facts.is_file() && !self.facts.same_content(&after) {
            self.monitor.warn(&format!(
                "{shown}: changed while it was read; it is kept as it was read"
            ));
            return sink.end(Outcome::Changed);
        }
        sink.end(Outcome::Whole)
    }
}

/// Passes a piece on, unless the user asked to stop.
pub(super) fn deliver(piece: Piece<'_>, sink: &mut dyn Sink, monitor: &dyn Monitor) -> Result<()> {
    if monitor.interrupted() {
        return Err(Error::new(Class::Interrupted, "interrupted"));
    }
    match piece {
        Piece::Data(bytes) => sink.data(bytes),
        Piece::Hole(len) => sink.hole(len),
    }
}

/// A disk that cannot be read is an error, not a warning.
pub(super) fn fault(stop: Stop, path: &Path) -> Error {
    match stop {
        Stop::Failed(error) => error,
        Stop::Read(at, error) => Error::io(format!("read {} at byte {at}", path.display()), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Checked, MemorySink};
    use crate::progress::{Recorder, Silent};
    use std::os::unix::fs::FileExt;

    fn stream(path: &Path) -> MemorySink {
        let mut source = DiskSource::open(path, Arc::new(Silent)).unwrap();
        let mut sink = Checked::new(MemorySink::default(), Order::Walk);
        source.stream(&mut sink).unwrap();
        sink.finish().unwrap()
    }

    #[test]
    fn a_sparse_image() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm.raw");
        let file = File::create(&path).unwrap();
        file.set_len(40 << 20).unwrap();
        file.write_all_at(&vec![7; 3 << 20], 5 << 20).unwrap();
        file.write_all_at(b"end", (40 << 20) - 3).unwrap();
        let got = stream(&path);
        let disk = got.get(b"vm.raw").unwrap();
        assert!(disk.bytes() == std::fs::read(&path).unwrap());
        assert_eq!(disk.content.len(), 4);
        assert_eq!(disk.entry.extents.as_ref().map(Vec::len), Some(2));
        assert!(disk.entry.stat.is_some() && disk.entry.size == 40 << 20);
    }

    #[test]
    fn a_block_device() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let file = File::create(&image).unwrap();
        let bytes: Vec<u8> = (0..6_u32 << 20).map(|n| (n % 253) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        file.sync_all().unwrap();
        let losetup = |args: &[&str]| {
            let out = std::process::Command::new("losetup")
                .args(args)
                .output()
                .unwrap();
            assert!(
                out.status.success(),
                "{}",
                String::from_utf8_lossy(&out.stderr)
            );
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        };
        let device = losetup(&["--find", "--show", "--read-only", image.to_str().unwrap()]);
        let source = DiskSource::open(Path::new(&device), Arc::new(Silent)).map(|s| s.size());
        let got = source.is_ok().then(|| stream(Path::new(&device)));
        losetup(&["--detach", &device]);
        assert_eq!(source.unwrap(), 6 << 20);
        let got = got.unwrap();
        let name = device.rsplit('/').next().unwrap();
        let disk = got.get(name.as_bytes()).unwrap();
        assert!(disk.bytes() == bytes && disk.entry.is_file() && disk.entry.stat.is_none());
    }

    struct Meddles(MemorySink, File, u64);

    impl Sink for Meddles {
        fn entry(&mut self, entry: &Entry) -> Result<Want> {
            self.1.set_len(self.2).unwrap();
            self.0.entry(entry)
        }
        fn data(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.data(bytes)
        }
        fn hole(&mut self, len: u64) -> Result<()> {
            self.0.hole(len)
        }
        fn end(&mut self, outcome: Outcome) -> Result<()> {
            self.0.end(outcome)
        }
        fn literal(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.literal(bytes)
        }
    }

    #[test]
    fn written_to_it_is_marked_and_cut_short_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm");
        std::fs::write(&path, vec![1; 8 << 20]).unwrap();
        let file = || File::options().write(true).open(&path).unwrap();
        let monitor = Arc::new(Recorder::default());
        let mut source = DiskSource::open(&path, monitor.clone()).unwrap();
        let mut sink = Meddles(MemorySink::default(), file(), 9 << 20);
        source.stream(&mut sink).unwrap();
        assert_eq!(sink.0.get(b"vm").unwrap().outcome, Some(Outcome::Changed));
        assert_eq!(monitor.warnings().len(), 1);
        let mut source = DiskSource::open(&path, monitor).unwrap();
        let mut sink = Meddles(MemorySink::default(), file(), 100);
        let error = source.stream(&mut sink).unwrap_err();
        assert_eq!(error.class(), Class::Corrupt);
        assert!(DiskSource::open(dir.path(), Arc::new(Silent)).is_err());
    }
}
