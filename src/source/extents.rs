//! Where a file's data lies, asked from its file system (`SEEK_DATA`, `SEEK_HOLE`), without reading it.
//!
//! Zeros that are stored are data; only what the file system calls a hole is one. A file system or device that cannot say is
//! all data.

use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::entry::Extent;

/// More extents than this are not listed ahead (1 MiB of memory), but asked for while reading.
const LISTED_AHEAD: usize = 1 << 16;

/// The next range of data at or after `from` in a file of `size` bytes; `None` if the rest is hole.
pub(crate) fn next(file: impl AsFd, from: u64, size: u64) -> rustix::io::Result<Option<Extent>> {
    if from >= size {
        return Ok(None);
    }
    let all = Extent {
        offset: from,
        len: size - from,
    };
    let offset = match seek(&file, SeekFrom::Data(from)) {
        Ok(offset) => offset,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::SPIPE) => return Ok(Some(all)),
        Err(error) => return Err(error),
    };
    if offset >= size {
        return Ok(None);
    }
    let end = match seek(&file, SeekFrom::Hole(offset)) {
        Ok(end) => end.min(size),
        // It shrank meanwhile; reading finds that out.
        Err(_) => size,
    };
    Ok(Some(Extent {
        offset,
        len: end.max(offset + 1) - offset,
    }))
}

/// All of them. `None` if there is no hole, if there are too many to list, or if they cannot be told.
pub(crate) fn list(file: impl AsFd, size: u64) -> Option<Vec<Extent>> {
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(extent) = next(&file, from, size).ok()? {
        if extent.len == size || all.len() == LISTED_AHEAD {
            return None;
        }
        from = extent.offset + extent.len;
        all.push(extent);
    }
    Some(all)
}
