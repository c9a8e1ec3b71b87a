//! Gzip on all cores, as one single standard member.
//!
//! Blocks of 512 KiB are deflated independently, each with the 32 KiB before it as dictionary, and end in a sync flush, so that
//! their outputs simply follow each other (the way of pigz). One member, not many: several readers stop after the first.
//! A block that would grow is stored. The header has no name and no time: the same input gives the same bytes.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::blocks::{BlockWriter, Codec, Cut};
use crate::error::{At, Error, Result};

/// The usual level: where more effort stops paying.
pub const DEFAULT_LEVEL: u32 = 6;

const CUT: Cut = Cut {
    block_bytes: 512 << 10,
    history_bytes: 32 << 10,
};
/// The longest stored block of deflate.
const STORED_BYTES: usize = 65_535;
/// The header's name for the operating system.
const UNIX: u8 = 3;

/// Compresses what is written as gzip; [`GzipWriter::finish`] completes it.
pub struct GzipWriter<W: Write> {
    blocks: BlockWriter<W, Deflater>,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses at `level` (1 to 9) with `threads` workers (at least one), about 2 MiB of memory each.
    pub fn new(inner: W, level: u32, threads: usize) -> Result<Self> {
        if !(1..=9).contains(&level) {
            let what = format!("gzip level {level} does not exist (1 to 9)");
            return Err(Error::invalid(what));
        }
        let codecs = (0..threads.max(1)).map(|_| Deflater {
            level: Compression::new(level),
        });
        let mut blocks = BlockWriter::new(inner, CUT, codecs.collect());
        let effort = match level {
            1 => 4,
            9 => 2,
            _ => 0,
        };
        blocks
            .write_raw(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, UNIX])
            .at("write the gzip stream")?;
        Ok(Self { blocks })
    }

    /// Compresses what is left and writes the check sum.
    pub fn finish(self) -> Result<W> {
        self.complete().at("write the gzip stream")
    }

    fn complete(self) -> io::Result<W> {
        let (mut inner, total) = self.blocks.finish()?;
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&total.sum().to_le_bytes());
        // The length is told modulo 2^32, which is what `Crc` counts.
        trailer[4..].copy_from_slice(&total.amount().to_le_bytes());
        inner.write_all(&trailer)?;
        Ok(inner)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blocks.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blocks.flush()
    }
}

/// One worker's compressor.
struct Deflater {
    level: Compression,
}

impl Deflater {
    fn deflate(
        &self,
        history: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        // A fresh state for every block: one that was reset remembers enough of what it compressed before to choose other matches
        // now and then, and the result would depend on which thread got which block.
        let mut state = Compress::new(self.level, false);
        if !history.is_empty() {
            state.set_dictionary(history).map_err(io::Error::other)?;
        }
        let flush = if last {
            FlushCompress::Finish
        } else {
            FlushCompress::Sync
        };
        // All of it fits in one call, so that no choice of the compressor depends on the buffer.
        out.reserve(input.len() + input.len() / 8 + 1024);
        loop {
            let taken = usize::try_from(state.total_in()).map_err(io::Error::other)?;
            let rest = input.get(taken..).unwrap_or_default();
            let status = state
                .compress_vec(rest, out, flush)
                .map_err(io::Error::other)?;
            // With room left the flush is complete.
            let room = out.capacity() - out.len();
            if status == Status::StreamEnd || (!last && room > 0) {
                return Ok(());
            }
            out.reserve(64 << 10);
        }
    }
}

impl Codec for Deflater {
    type Sum = Crc;

    fn compress(
        &mut self,
        history: &[u8],
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<Crc> {
        self.deflate(history, input, last, out)?;
        let stored = input.len() + 5 * input.len().div_ceil(STORED_BYTES);
        if !input.is_empty() && out.len() > stored {
            store(input, last, out);
        }
        let mut crc = Crc::new();
        crc.update(input);
        Ok(crc)
    }

    fn join(total: &mut Crc, next: Crc) {
        total.combine(&next);
    }
}

/// Replaces `out` by `input` as it is, in stored blocks. Every block begins on a byte, so this fits anywhere.
fn store(input: &[u8], last: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut pieces = input.chunks(STORED_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        out.push(u8::from(last && pieces.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::judge;

    fn gzip(plain: &[u8], level: u32, threads: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), level, threads).unwrap();
        for piece in plain.chunks(100_003) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn other_programs_read_it() {
        for len in [0, 1, 100, 524_287, 524_288, 524_289, 3_000_000] {
            let plain = judge::text(len);
            let packed = gzip(&plain, 6, 3);
            assert!(
                judge::pipe("gzip", &["-dc"], &packed) == plain,
                "gzip {len}"
            );
            assert!(
                judge::pipe("pigz", &["-dc"], &packed) == plain,
                "pigz {len}"
            );
            let script = "import sys,gzip;d=sys.stdin.buffer.read();\
                          import zlib;o=zlib.decompressobj(31);r=o.decompress(d)+o.flush();\
                          assert o.eof and not o.unused_data;\
                          assert gzip.decompress(d)==r;sys.stdout.buffer.write(r)";
            assert!(judge::pipe("python3", &["-c", script], &packed) == plain);
        }
    }

    #[test]
    fn the_same_for_any_number_of_threads_and_each_level() {
        let plain = judge::text(6_000_000);
        let mut sizes = Vec::new();
        for level in 1..=9 {
            let one = gzip(&plain, level, 1);
            assert!(one == gzip(&plain, level, 5));
            assert!(judge::pipe("gzip", &["-dc"], &one) == plain);
            sizes.push(one.len());
        }
        assert!(sizes[0] > sizes[5] && sizes[5] >= sizes[8], "{sizes:?}");
    }

    #[test]
    fn noise_hardly_grows() {
        let plain = judge::noise(3_000_000);
        for level in [1, 6] {
            let packed = gzip(&plain, level, 2);
            assert!(packed.len() < plain.len() + 400, "{}", packed.len());
            assert!(judge::pipe("gzip", &["-dc"], &packed) == plain);
        }
        assert!(GzipWriter::new(Vec::new(), 0, 1).is_err());
    }

    #[test]
    fn a_failing_writer_is_an_error() {
        let mut writer = GzipWriter::new(judge::Full(1000), 6, 2).unwrap();
        let written = writer.write_all(&judge::noise(5_000_000));
        assert!(written.is_err() || writer.finish().is_err());
    }
}
