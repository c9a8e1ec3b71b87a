//! Takes compression off the front of a stream, whatever its file name says.
//!
//! A compressed stream does not deduplicate, so gzip, zstd, xz and bzip2 are recognised by content and undone, up to
//! [`MAX_LAYERS`] deep. Each layer decompresses in a thread of its own and hands over buffers of 1 MiB
//! through a short channel: inflating, parsing and storing overlap, and memory stays bounded.
//!
//! Invariants: every checksum that the container has is verified; input that ends early is an error, never a short
//! stream; when `read` has returned 0 the reader underneath was read to its end and dropped. What follows the
//! last member is no content, but it is counted ([`Trailing`]), so that somebody can be told.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::detect::{Compression, Detected, HEAD_BYTES, detect};
use super::window::Window;
use crate::error::{Class, Error, Result};

/// How many containers inside each other are taken off; a third one is content.
pub const MAX_LAYERS: usize = 2;

/// The most bytes of garbage after the last member that are counted; beyond that the input is no compressed stream.
pub const MAX_GARBAGE_BYTES: u64 = 64 << 20;

/// How many first bytes of a stream tell what is inside its compression: a whole block of bzip2, which gives nothing
/// before its end.
pub const SNIFF_BYTES: usize = 1 << 20;

const INPUT_BYTES: usize = 256 << 10;
const OUTPUT_BYTES: usize = 1 << 20;
const BUFFERS: usize = 3;

/// What one member may ask for, window or dictionary: as much as `zstd -22` and twice `xz -9`.
const MAX_MEMORY_BYTES: u64 = 160 << 20;

/// What came after the last member of a compressed stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailing {
    /// Zeros, as tapes and block devices pad with.
    pub zero_bytes: u64,
    /// Anything else, from its first byte on.
    pub garbage_bytes: u64,
}

/// One container that was taken off.
#[derive(Clone, Debug)]
pub struct Layer {
    compression: Compression,
    trailing: Arc<OnceLock<Trailing>>,
}

impl Layer {
    /// Which container it is.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// What followed its last member; known once the stream was read to its end.
    pub fn trailing(&self) -> Option<Trailing> {
        self.trailing.get().copied()
    }
}

/// A stream without the compression around it.
pub struct Peeled {
    layers: Vec<Layer>,
    detected: Detected,
    window: Window<Box<dyn Read + Send>>,
}

impl Peeled {
    /// Looks at the first bytes of `reader` and takes off what compression it finds, outermost first.
    pub fn new(reader: impl Read + Send + 'static) -> Result<Self> {
        let mut layers = Vec::new();
        let mut reader: Box<dyn Read + Send> = Box::new(reader);
        loop {
            let mut window = Window::new(reader, INPUT_BYTES);
            // What is damaged or cut short further on is recognised by its beginning all the same.
            let head = window.peek_some(HEAD_BYTES);
            let detected = detect(&head[..head.len().min(HEAD_BYTES)]);
            match detected {
                Detected::Compressed(compression) if layers.len() < MAX_LAYERS => {
                    let trailing = Arc::new(OnceLock::new());
                    reader = Box::new(Inflater::start(compression, window, trailing.clone())?);
                    layers.push(Layer {
                        compression,
                        trailing,
                    });
                }
                _ => {
                    return Ok(Self {
                        layers,
                        detected,
                        window,
                    });
                }
            }
        }
    }

    /// What was taken off, outermost first; none if the stream was not compressed.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What the stream inside is.
    pub fn detected(&self) -> Detected {
        self.detected
    }
}

impl Read for Peeled {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.window.read(out)
    }
}

type Input = Window<Box<dyn Read + Send>>;

/// From the decompressing thread to the reader.
enum Message {
    Data(Vec<u8>),
    End,
    Failed(Error),
}

/// The reading end of one layer.
struct Inflater {
    full: Receiver<Message>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    ended: bool,
    /// Why it ended, if it failed: told to everyone who reads on.
    failure: Option<(Class, String)>,
}

impl Inflater {
    fn start(
        compression: Compression,
        input: Input,
        trailing: Arc<OnceLock<Trailing>>,
    ) -> Result<Self> {
        let (full_in, full) = bounded(BUFFERS);
        let (empty, empty_out) = bounded(BUFFERS);
        thread::Builder::new()
            .name(format!("peel-{compression}"))
            .spawn(move || {
                let mut outlet = Outlet {
                    full: full_in,
                    empty: empty_out,
                };
                let message = match inflate(compression, input, &mut outlet) {
                    Ok(found) => {
                        // Empty until here: this thread alone sets it.
                        let _ = trailing.set(found);
                        Message::End
                    }
                    Err(error) => Message::Failed(error),
                };
                // A reader that has gone away needs no answer.
                let _ = outlet.full.send(message);
            })
            .map_err(|e| Error::io("start a thread to decompress", e))?;
        Ok(Self {
            full,
            empty,
            current: Vec::new(),
            position: 0,
            ended: false,
            failure: None,
        })
    }
}

impl Read for Inflater {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.current.len() && !self.ended {
            match self.full.recv() {
                Ok(Message::Data(next)) => {
                    let spent = std::mem::replace(&mut self.current, next);
                    self.position = 0;
                    let _ = self.empty.try_send(spent);
                }
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(error)) => {
                    self.ended = true;
                    self.failure = Some((error.class(), error.to_string()));
                }
                Err(_) => return Err(io::Error::other("the decompressing thread died")),
            }
        }
        let rest = &self.current[self.position..];
        if let (true, Some((class, what))) = (rest.is_empty(), &self.failure) {
            return Err(Error::new(*class, what.clone()).into());
        }
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        self.position += len;
        Ok(len)
    }
}

/// The writing end of one layer.
struct Outlet {
    full: Sender<Message>,
    empty: Receiver<Vec<u8>>,
}

impl Outlet {
    /// Reads `decoder` to its end. An error of kind `BrokenPipe` from here says that nobody listens any more.
    fn pump(&mut self, decoder: &mut dyn Read) -> io::Result<()> {
        loop {
            let mut buffer = self.empty.try_recv().unwrap_or_default();
            buffer.resize(OUTPUT_BYTES, 0);
            let mut len = 0;
            let mut ended = None;
            while len < buffer.len() && ended.is_none() {
                match decoder.read(&mut buffer[len..]) {
                    Ok(0) => ended = Some(Ok(())),
                    Ok(more) => len += more,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => ended = Some(Err(e)),
                }
            }
            // What came before a failure is handed on first: it tells what the stream is.
            buffer.truncate(len);
            if len > 0 && self.full.send(Message::Data(buffer)).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
    }
}

/// Decompresses all members of `input`, then reads on to its end and says what was there.
fn inflate(compression: Compression, mut input: Input, outlet: &mut Outlet) -> Result<Trailing> {
    let mut context = zstd::zstd_safe::DCtx::create();
    loop {
        let result = member(compression, &mut input, &mut context, outlet);
        result.map_err(|e| explain(compression, &input, e))?;
        let read = |e| Error::io("read the input", e);
        let zero_bytes = skip_zeros(&mut input).map_err(read)?;
        let follows = input.peek(MAX_MAGIC_BYTES).map_err(read)?;
        if follows.is_empty() || !continues(compression, follows) {
            let garbage_bytes = skip_garbage(compression, &mut input)?;
            return Ok(Trailing {
                zero_bytes,
                garbage_bytes,
            });
        }
    }
}

/// Decompresses one member, and stops behind it.
fn member(
    compression: Compression,
    input: &mut Input,
    context: &mut zstd::zstd_safe::DCtx<'static>,
    outlet: &mut Outlet,
) -> io::Result<()> {
    let mut decoder: Box<dyn Read + '_> = match compression {
        Compression::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
        Compression::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(input)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                MAX_MEMORY_BYTES,
                liblzma::stream::TELL_UNSUPPORTED_CHECK,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Zstd => {
            Box::new(zstd::stream::read::Decoder::with_context(input, context).single_frame())
        }
    };
    outlet.pump(&mut decoder)
}

const MAX_MAGIC_BYTES: usize = 6;

/// True if another member begins with `head`; a head that is cut short counts, so that its decoder can say so.
fn continues(compression: Compression, head: &[u8]) -> bool {
    let begins = |magic: &[u8]| {
        let len = head.len().min(magic.len());
        head[..len] == magic[..len]
    };
    match compression {
        Compression::Gzip => begins(b"\x1f\x8b\x08"),
        Compression::Xz => begins(b"\xfd7zXZ\0"),
        Compression::Bzip2 => begins(b"BZh"),
        Compression::Zstd => {
            begins(b"\x28\xb5\x2f\xfd")
                || (head[0] & 0xf0 == 0x50 && begins(&[head[0], 0x2a, 0x4d, 0x18]))
        }
    }
}

fn skip_zeros(input: &mut Input) -> io::Result<u64> {
    let from = input.offset();
    loop {
        let shown = input.peek(1)?;
        let zeros = shown.iter().position(|b| *b != 0);
        let len = zeros.unwrap_or(shown.len());
        let done = zeros.is_some() || shown.is_empty();
        input.advance(len);
        if done {
            return Ok(input.offset() - from);
        }
    }
}

fn skip_garbage(compression: Compression, input: &mut Input) -> Result<u64> {
    let from = input.offset();
    loop {
        let shown = input
            .peek(1)
            .map_err(|e| Error::io("read the input", e))?
            .len();
        if shown == 0 {
            return Ok(input.offset() - from);
        }
        input.advance(shown);
        if input.offset() - from > MAX_GARBAGE_BYTES {
            return Err(Error::corrupt(format!(
                "the {compression} stream ends at byte {from}, but more than {} MiB that are not \
                 {compression} follow; take the input as an opaque stream to keep it as it is",
                MAX_GARBAGE_BYTES >> 20
            )));
        }
    }
}

/// Tells the input's own failure, its early end, a demand for too much memory, and damage apart.
fn explain(compression: Compression, input: &Input, error: io::Error) -> Error {
    if input.failed() || error.kind() == io::ErrorKind::BrokenPipe {
        return Error::io("read the input", error);
    }
    let at = input.offset();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::corrupt(format!(
            "the {compression} stream ends early, after {at} compressed bytes: the input is truncated"
        ));
    }
    let lzma = error.get_ref().and_then(|e| e.downcast_ref());
    // The zstd binding tells its error codes only by their text.
    let too_big = lzma == Some(&liblzma::stream::Error::MemLimit)
        || (compression == Compression::Zstd && error.to_string().contains("too much memory"));
    if too_big {
        let limit = if compression == Compression::Zstd {
            128
        } else {
            MAX_MEMORY_BYTES >> 20
        };
        return Error::new(
            Class::Unsupported,
            format!(
                "the {compression} stream needs more than {limit} MiB of memory to decompress (near \
                 compressed byte {at}); decompress it outside and ingest the result"
            ),
        );
    }
    Error::caused(
        Class::Corrupt,
        format!("the {compression} stream is damaged near compressed byte {at}"),
        error,
    )
}

#[cfg(test)]
mod tests;
