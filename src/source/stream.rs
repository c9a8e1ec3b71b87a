//! A stream of bytes that is no archive: a tree with one file in it.

use std::io::Read;

use crate::entry::{Entry, EntryPath, Kind, Order, Outcome, Sink, Source, Want};
use crate::error::{At, Error, Result};

/// Bytes per read.
const READ_BYTES: usize = 256 << 10;

/// Reads a stream to its end as one file.
pub struct StreamSource<R> {
    reader: R,
    path: EntryPath,
}

impl<R: Read> StreamSource<R> {
    /// A source of the file `name`, which must be a valid single name.
    pub fn new(reader: R, name: &[u8]) -> Result<Self> {
        let path = EntryPath::root()
            .join(name)
            .map_err(|e| Error::invalid(format!("a name for the stream: {e}")))?;
        Ok(Self { reader, path })
    }
}

impl<R: Read> Source for StreamSource<R> {
    fn order(&self) -> Order {
        Order::Walk
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let mut root = Entry::new(EntryPath::root(), Kind::Directory);
        root.meta.mode = 0o700;
        sink.entry(&root)?;
        let mut entry = Entry::new(self.path.clone(), Kind::File);
        entry.meta.mode = 0o600;
        if sink.entry(&entry)? == Want::Skip {
            return Ok(());
        }
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.reader.read(&mut buffer).at("read the stream")? {
                0 => return sink.end(Outcome::Whole),
                len => sink.data(buffer.get(..len).unwrap_or_default())?,
            }
        }
    }
}
