//! A stream that is no archive: a dump, a log, anything piped in, as a tree of one file.
//!
//! A thread reads ahead of the sink, so that waiting for the producer and storing overlap. The stream is complete only if its
//! reader says so: an error of the reader, at its end too, is an error of the source.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::bare_root;
use crate::entry::{Entry, EntryPath, Kind, Meta, Order, Outcome, Sink, Source, Want};
use crate::error::{Class, Error, Result};
use crate::progress::{Monitor, Silent};

/// What one `data` call carries at most.
const SEGMENT_BYTES: usize = 1 << 20;
/// Buffers that go round between the thread and the sink.
const BUFFERS: usize = 4;
/// How often a stream that says nothing is checked for an interruption.
const POLL: Duration = Duration::from_millis(100);

/// One file, its content from any reader.
pub struct StreamSource {
    entry: Entry,
    reader: Option<Box<dyn Read + Send>>,
    monitor: Arc<dyn Monitor>,
}

impl StreamSource {
    /// A tree with the one file `name` (a single component) with the content of `reader`, which is to be read by its owner
    /// only. Bytes that were read before to find out what the stream is go in front: `Cursor::new(head).chain(rest)`.
    pub fn new(reader: impl Read + Send + 'static, name: &[u8]) -> Result<Self> {
        let path = EntryPath::root().join(name).map_err(|error| {
            let name = name.escape_ascii();
            Error::invalid(format!("'{name}' as a name for the stream: {error}"))
        })?;
        let mut entry = Entry::new(path, Kind::File);
        entry.meta.mode = 0o600;
        Ok(Self {
            entry,
            reader: Some(Box::new(reader)),
            monitor: Arc::new(Silent),
        })
    }

    /// Gives the file this metadata, as a time.
    #[must_use]
    pub fn with_meta(mut self, meta: Meta) -> Self {
        self.entry.meta = meta;
        self
    }

    /// Ends with class `Interrupted` when `monitor` says so, even while the stream is silent.
    #[must_use]
    pub fn with_monitor(mut self, monitor: Arc<dyn Monitor>) -> Self {
        self.monitor = monitor;
        self
    }
}

impl Source for StreamSource {
    fn order(&self) -> Order {
        Order::Walk
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let Some(reader) = self.reader.take() else {
            return Err(Error::invalid("a stream can be read only once"));
        };
        sink.entry(&bare_root())?;
        // Even if the content is not wanted the stream is read to its end: only that proves it whole.
        let wanted = sink.entry(&self.entry)? == Want::Content;
        let (filled_in, filled) = bounded(BUFFERS);
        let (spent, spent_out) = bounded(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for all of them.
            let _ = spent.send(Vec::new());
        }
        // Not a scoped thread: one that waits for a silent producer must not keep an interrupted run from ending.
        thread::Builder::new()
            .name("stream-read".into())
            .spawn(move || read_all(reader, &filled_in, &spent_out))
            .map_err(|error| Error::io("start a reader thread", error))?;
        loop {
            if self.monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "interrupted"));
            }
            let buffer = match filled.recv_timeout(POLL) {
                Ok(Ok(buffer)) => buffer,
                Ok(Err(error)) => {
                    let what = format!("read the stream '{}'", self.entry.path);
                    return Err(Error::io(what, error));
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Class::Io, "the reader thread ended early"));
                }
            };
            if buffer.is_empty() {
                break;
            }
            if wanted {
                sink.data(&buffer)?;
            }
            // The thread may have ended: then nobody needs the buffer.
            let _ = spent.send(buffer);
        }
        if wanted {
            sink.end(Outcome::Whole)?;
        }
        Ok(())
    }
}

/// Sends full buffers, and an empty one at the end of the stream.
fn read_all(
    mut reader: Box<dyn Read + Send>,
    filled: &Sender<io::Result<Vec<u8>>>,
    spent: &Receiver<Vec<u8>>,
) {
    for mut buffer in spent {
        buffer.resize(SEGMENT_BYTES, 0);
        let mut got = 0;
        let step = loop {
            let room = buffer.get_mut(got..).unwrap_or_default();
            if room.is_empty() {
                break Ok(());
            }
            match reader.read(room) {
                Ok(0) => break Ok(()),
                Ok(n) => got += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        buffer.truncate(got);
        let last = step.is_err() || got == 0;
        if filled.send(step.map(|()| buffer)).is_err() || last {
            return;
        }
    }
}

/// Asks for a larger pipe (1 MiB), so that producer and reader take turns less often. Not a pipe, or not allowed: no matter.
pub fn widen_pipe(pipe: impl AsFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, SEGMENT_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Checked, MemorySink};
    use std::io::Cursor;

    fn source(reader: impl Read + Send + 'static) -> StreamSource {
        StreamSource::new(reader, b"dump").unwrap()
    }

    #[test]
    fn head_and_rest_become_one_file() {
        let bytes: Vec<u8> = (0..5_000_003_u32).map(|n| (n % 251) as u8).collect();
        let (head, rest) = bytes.split_at(70_000);
        let reader = Cursor::new(head.to_vec()).chain(Cursor::new(rest.to_vec()));
        let mut sink = Checked::new(MemorySink::default(), Order::Walk);
        source(reader).stream(&mut sink).unwrap();
        let sink = sink.finish().unwrap();
        assert!(sink.get(b"dump").unwrap().bytes() == bytes);
        assert!(sink.stream == bytes);
    }

    #[test]
    fn an_empty_stream_is_an_empty_file() {
        let mut sink = MemorySink::default();
        source(io::empty()).stream(&mut sink).unwrap();
        let file = sink.get(b"dump").unwrap();
        assert!(file.content.is_empty() && file.outcome == Some(Outcome::Whole));
    }

    struct Breaks;

    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Error::corrupt("member 2").into())
        }
    }

    #[test]
    fn an_error_at_the_end_fails_the_stream() {
        let mut sink = MemorySink::default();
        let reader = Cursor::new(vec![1; 3_000_000]).chain(Breaks);
        let error = source(reader).stream(&mut sink).unwrap_err();
        assert_eq!(error.class(), Class::Corrupt);
        assert!(sink.get(b"dump").unwrap().outcome.is_none());
        assert!(StreamSource::new(io::empty(), b"a/b").is_err());
    }
}
