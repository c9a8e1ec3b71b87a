//! Streams the guest's disk in order: looks each range up through the chain of images, reads and decompresses it.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;

use flate2::{Decompress, FlushDecompress, Status};
use rustix::fs::{Advice, fadvise};

use super::header::Compression;
use super::image::{Image, Run};
use crate::error::{At, Result};
use crate::source::readahead::{Feed, SEGMENT_BYTES, Stop, read_full};

/// How far ahead of the reads the kernel is told to read.
const ADVISED_BYTES: u64 = 8 << 20;
/// The window that a frame may ask for: a cluster is 2 MiB at most.
const ZSTD_WINDOW_BITS: u32 = 24;

/// An image and what it builds on, topmost first.
pub(super) struct Chain {
    pub(super) images: Vec<Image>,
    /// A raw image at the bottom, and its size.
    pub(super) base: Option<(File, u64, String)>,
}

/// Where a range comes from: the number of the image, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Hole,
    Data(usize, u64),
    /// Image, offset, bytes in the file, and where in the cluster the range begins.
    Compressed(usize, u64, u64, u64),
}

impl Chain {
    /// Size of the guest's disk.
    pub(super) fn size(&self) -> u64 {
        self.images.first().map_or(0, |image| image.header.size)
    }

    /// Sends all of the disk; `warn` hears of clusters that the end of the file cuts.
    pub(super) fn produce(
        &mut self,
        feed: &Feed,
        warn: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Stop> {
        let mut out = Out::new(feed);
        let mut at = 0;
        let size = self.size();
        while at < size {
            let (place, len) = self.find(at, size - at).map_err(Stop::Failed)?;
            let go_on = match place {
                Place::Hole => out.hole(self, len, warn)?,
                Place::Data(level, offset) => out.data(self, level, offset, len, warn)?,
                Place::Compressed(level, offset, bytes, within) => {
                    out.compressed(self, (level, offset, bytes), (within, len), warn)?
                }
            };
            if !go_on {
                return Ok(());
            }
            at += len;
        }
        out.flush(self, warn).map(drop)
    }

    /// Where the disk's bytes from `at` on are, and for how long that holds.
    fn find(&mut self, at: u64, limit: u64) -> Result<(Place, u64)> {
        let mut limit = limit;
        for (level, image) in self.images.iter_mut().enumerate() {
            if at >= image.header.size {
                return Ok((Place::Hole, limit));
            }
            limit = limit.min(image.header.size - at);
            let (run, len) = image.run(at)?;
            limit = limit.min(len);
            match run {
                Run::Unallocated => {}
                Run::Zeros => return Ok((Place::Hole, limit)),
                Run::Data(offset) => return Ok((Place::Data(level, offset), limit)),
                Run::Compressed(offset, bytes) => {
                    let within = at % image.header.cluster();
                    return Ok((Place::Compressed(level, offset, bytes, within), limit));
                }
            }
        }
        match &self.base {
            Some((_, size, _)) if at < *size => {
                Ok((Place::Data(self.images.len(), at), limit.min(size - at)))
            }
            _ => Ok((Place::Hole, limit)),
        }
    }

    /// Reads from the file of image number `level`; what lies beyond its end is zeros.
    fn read(
        &self,
        level: usize,
        offset: u64,
        room: &mut [u8],
        warn: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Stop> {
        let (file, shown) = match (self.images.get(level), &self.base) {
            (Some(image), _) => (&image.file, &image.shown),
            (None, Some((file, _, shown))) => (file, shown),
            (None, None) => return Ok(()),
        };
        // Advice only: a refusal costs speed, nothing else.
        let ahead = offset.saturating_add(ADVISED_BYTES);
        let _ = fadvise(
            file,
            ahead,
            NonZeroU64::new(room.len() as u64),
            Advice::WillNeed,
        );
        let got = read_full(file, room, offset).map_err(|error| Stop::Read(offset, error))?;
        if let Some(missing) = room.get_mut(got..).filter(|missing| !missing.is_empty()) {
            missing.fill(0);
            warn(&format!(
                "{shown}: the file ends inside a cluster; what is missing is taken as zeros"
            ));
        }
        Ok(())
    }
}

/// Collects content into buffers, and holes into longer ones.
struct Out<'a> {
    feed: &'a Feed,
    buffer: Option<Vec<u8>>,
    filled: usize,
    hole: u64,
    /// A read that is still to be done into the end of the filled part: image, offset, length.
    read: Option<(usize, u64, usize)>,
    /// The cluster decompressed last, and which it is.
    cluster: Vec<u8>,
    cluster_of: Option<(usize, u64)>,
}

impl<'a> Out<'a> {
    fn new(feed: &'a Feed) -> Self {
        Self {
            feed,
            buffer: None,
            filled: 0,
            hole: 0,
            read: None,
            cluster: Vec::new(),
            cluster_of: None,
        }
    }

    fn hole(
        &mut self,
        chain: &Chain,
        len: u64,
        warn: &(dyn Fn(&str) + Sync),
    ) -> Result<bool, Stop> {
        let go_on = self.filled == 0 || self.flush(chain, warn)?;
        self.hole += len;
        Ok(go_on)
    }

    /// Adds a range of a file; neighbours are read at once.
    fn data(
        &mut self,
        chain: &Chain,
        level: usize,
        mut offset: u64,
        mut len: u64,
        warn: &(dyn Fn(&str) + Sync),
    ) -> Result<bool, Stop> {
        while len > 0 {
            let Some(room) = self.room(chain, warn)? else {
                return Ok(false);
            };
            let now = usize::try_from(len).map_or(room, |len| len.min(room));
            self.read = match self.read {
                Some((same, from, have)) if same == level && from + have as u64 == offset => {
                    Some((same, from, have + now))
                }
                _ => {
                    self.finish_read(chain, warn)?;
                    Some((level, offset, now))
                }
            };
            self.filled += now;
            offset += now as u64;
            len -= now as u64;
        }
        Ok(true)
    }

    /// Adds a range (start, length) of a compressed cluster (image, offset, bytes in the file).
    fn compressed(
        &mut self,
        chain: &Chain,
        of: (usize, u64, u64),
        (within, len): (u64, u64),
        warn: &(dyn Fn(&str) + Sync),
    ) -> Result<bool, Stop> {
        let (level, offset, bytes) = of;
        if self.cluster_of != Some((level, offset)) {
            if let Some(image) = chain.images.get(level) {
                decompress(image, offset, bytes, &mut self.cluster).map_err(Stop::Failed)?;
            }
            self.cluster_of = Some((level, offset));
        }
        let mut from = usize::try_from(within).unwrap_or(usize::MAX);
        let end = usize::try_from(within + len).unwrap_or(usize::MAX);
        while from < end {
            let Some(room) = self.room(chain, warn)? else {
                return Ok(false);
            };
            self.finish_read(chain, warn)?;
            let now = room.min(end - from);
            let target = self.buffer.as_mut().and_then(|buffer| {
                let filled = self.filled;
                buffer.get_mut(filled..filled + now)
            });
            if let (Some(target), Some(bytes)) = (target, self.cluster.get(from..from + now)) {
                target.copy_from_slice(bytes);
            }
            self.filled += now;
            from += now;
        }
        Ok(true)
    }

    /// Free bytes in the buffer, never 0. `None`: nobody wants more.
    fn room(&mut self, chain: &Chain, warn: &(dyn Fn(&str) + Sync)) -> Result<Option<usize>, Stop> {
        if self.filled == SEGMENT_BYTES && !self.flush(chain, warn)? {
            return Ok(None);
        }
        if self.hole > 0 && !self.feed.hole(std::mem::take(&mut self.hole)) {
            return Ok(None);
        }
        if self.buffer.is_none() {
            self.buffer = self.feed.buffer();
        }
        Ok(self.buffer.as_ref().map(|_| SEGMENT_BYTES - self.filled))
    }

    fn finish_read(&mut self, chain: &Chain, warn: &(dyn Fn(&str) + Sync)) -> Result<(), Stop> {
        let Some((level, offset, len)) = self.read.take() else {
            return Ok(());
        };
        let range = self.filled - len..self.filled;
        match self
            .buffer
            .as_mut()
            .and_then(|buffer| buffer.get_mut(range))
        {
            Some(room) => chain.read(level, offset, room, warn),
            None => Ok(()),
        }
    }

    /// Passes everything on. False: nobody wants more.
    fn flush(&mut self, chain: &Chain, warn: &(dyn Fn(&str) + Sync)) -> Result<bool, Stop> {
        self.finish_read(chain, warn)?;
        if !self.feed.hole(std::mem::take(&mut self.hole)) {
            return Ok(false);
        }
        match self.buffer.take() {
            Some(mut buffer) => {
                buffer.truncate(std::mem::take(&mut self.filled));
                Ok(self.feed.data(buffer))
            }
            None => Ok(true),
        }
    }
}

/// Decompresses the cluster at `offset` into `cluster`, which it fills exactly.
fn decompress(image: &Image, offset: u64, bytes: u64, cluster: &mut Vec<u8>) -> Result<()> {
    let bad = |what: &str| image.corrupt(offset, what);
    if offset >= image.file_bytes {
        return Err(bad("a compressed cluster does not lie within the file"));
    }
    let bytes = bytes.min(image.file_bytes - offset);
    let mut packed = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let got = read_full(&image.file, &mut packed, offset)
        .at(format!("read {} at byte {offset}", image.shown))?;
    packed.truncate(got);
    cluster.resize(usize::try_from(image.header.cluster()).unwrap_or(0), 0);
    let whole = match image.header.compression {
        Compression::Deflate => {
            let mut inflate = Decompress::new(false);
            let status = inflate.decompress(&packed, cluster, FlushDecompress::Finish);
            // What follows in the last sector is not read: it may begin another cluster.
            matches!(
                status,
                Ok(Status::StreamEnd | Status::Ok | Status::BufError)
            ) && inflate.total_out() == cluster.len() as u64
        }
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(packed.as_slice())
            .and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_BITS)?;
                decoder.read_exact(cluster)
            })
            .is_ok(),
    };
    if whole {
        Ok(())
    } else {
        Err(bad("a compressed cluster cannot be decompressed"))
    }
}
