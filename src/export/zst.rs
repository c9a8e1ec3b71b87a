//! Zstandard on all cores, as independent frames of 8 MiB.
//!
//! A file of several frames is a standard zstd file, which every reader reads to its end; each frame tells its length and has a
//! check sum. Frames rather than one frame cut by hand: the format offers no sync flush, and 8 MiB lose next to nothing.

use std::io::{self, Write};

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::blocks::{BlockWriter, Codec, Cut};
use crate::error::{At, Error, Result};

/// The usual level of the `zstd` program.
pub const DEFAULT_LEVEL: i32 = 3;

const CUT: Cut = Cut {
    block_bytes: 8 << 20,
    history_bytes: 0,
};

/// Compresses what is written as zstd; [`ZstdWriter::finish`] completes it.
pub struct ZstdWriter<W: Write> {
    blocks: BlockWriter<W, Framer>,
}

impl<W: Write> ZstdWriter<W> {
    /// Compresses at `level` (those of the library, 1 to 22 and negative ones) with `threads` workers (at least one), about
    /// 32 MiB of memory each, and what the level takes.
    pub fn new(inner: W, level: i32, threads: usize) -> Result<Self> {
        if level == 0 || !zstd::compression_level_range().contains(&level) {
            let what = format!("zstd level {level} does not exist (1 to 22)");
            return Err(Error::invalid(what));
        }
        let codecs: io::Result<Vec<_>> = (0..threads.max(1)).map(|_| Framer::new(level)).collect();
        let codecs = codecs.at("prepare zstd")?;
        Ok(Self {
            blocks: BlockWriter::new(inner, CUT, codecs),
        })
    }

    /// Compresses what is left.
    pub fn finish(self) -> Result<W> {
        let (inner, ()) = self.blocks.finish().at("write the zstd stream")?;
        Ok(inner)
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blocks.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blocks.flush()
    }
}

/// One worker's compressor.
struct Framer {
    state: Compressor<'static>,
}

impl Framer {
    fn new(level: i32) -> io::Result<Self> {
        let mut state = Compressor::new(level)?;
        state.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { state })
    }
}

impl Codec for Framer {
    type Sum = ();

    fn compress(
        &mut self,
        _: &[u8],
        input: &[u8],
        _: bool,
        out: &mut Vec<u8>,
    ) -> io::Result<Self::Sum> {
        out.reserve(zstd::zstd_safe::compress_bound(input.len()));
        self.state.compress_to_buffer(input, out)?;
        Ok(())
    }

    fn join((): &mut Self::Sum, (): Self::Sum) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::judge;

    fn zstd(plain: &[u8], level: i32, threads: usize) -> Vec<u8> {
        let mut writer = ZstdWriter::new(Vec::new(), level, threads).unwrap();
        for piece in plain.chunks(1_000_003) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_zstd_program_reads_it() {
        for len in [0, 1, 8 << 20, (8 << 20) + 1, 20_000_000] {
            let plain = judge::text(len);
            let packed = zstd(&plain, 3, 3);
            assert!(packed == zstd(&plain, 3, 1));
            assert!(judge::pipe("zstd", &["-dc"], &packed) == plain, "{len}");
        }
    }

    #[test]
    fn levels_are_checked() {
        let plain = judge::text(300_000);
        assert!(zstd(&plain, 19, 1).len() < zstd(&plain, 1, 1).len());
        assert!(ZstdWriter::new(Vec::new(), 23, 1).is_err());
        assert!(ZstdWriter::new(Vec::new(), 0, 1).is_err());
    }
}
