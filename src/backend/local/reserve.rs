//! Space that is set aside, so that what frees space still works where none is left.
//!
//! `reserve/` beside the areas holds files of [`PIECE_BYTES`] whose space is allocated and whose content is nothing. A write of a
//! small object that finds no space, by a command that draws on the reserve, removes one piece after the other until it fits:
//! each gives back its bytes and its inode. Packs never take it: what repacks needs space of its own. The pieces are made again by the next
//! command that fills the reserve, as far as there is room; one that is missing, short or of other bytes does no harm.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Area, list, path_error, write};
use crate::error::{Class, Result};

/// The folder.
pub(super) const FOLDER: &str = "reserve";
/// What one file holds.
const PIECE_BYTES: u64 = 256 << 10;
/// Sessions, plans and slots, beside the longest index object: that is written anew before the old one goes.
const BASE_BYTES: u64 = 3 << 20;
/// Index objects are closed at 8 MiB and a block.
const MOST_BYTES: u64 = 16 << 20;

/// Who draws on the reserve.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    drawing: AtomicUsize,
}

impl Reserve {
    /// Lets writes draw on it, until the same is called with false.
    pub(super) fn draw(&self, allowed: bool) {
        if allowed {
            self.drawing.fetch_add(1, Ordering::SeqCst);
        } else {
            self.drawing.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Does `write`, which stores an object of `area`; again with less of the reserve as long as there is no space for it.
    pub(super) fn write<T>(
        &self,
        root: &Path,
        area: Area,
        mut write: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            match write() {
                Err(e)
                    if e.class() == Class::Full
                        && !matches!(area, Area::Data | Area::Meta)
                        && self.drawing.load(Ordering::SeqCst) > 0
                        && give_back(root) => {}
                other => return other,
            }
        }
    }
}

/// Removes a piece; false if there is none.
fn give_back(root: &Path) -> bool {
    let Ok(entries) = fs::read_dir(root.join(FOLDER)) else {
        return false;
    };
    // Another process may be at it as well: then the next one counts.
    entries
        .flatten()
        .any(|entry| fs::remove_file(entry.path()).is_ok())
}

/// Makes what is missing of it, as far as there is room: true if it is whole.
pub(super) fn fill(root: &Path) -> Result<bool> {
    let folder = root.join(FOLDER);
    match make(root, &folder) {
        Ok(()) => Ok(true),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(path_error("write", &folder, e)),
    }
}

fn make(root: &Path, folder: &Path) -> io::Result<()> {
    write::create_folder(folder)?;
    let mut longest = 0;
    list::list(root, Area::Index, &mut |_, bytes| {
        longest = longest.max(bytes);
        Ok(())
    })
    .map_err(io::Error::from)?;
    let pieces = (BASE_BYTES + longest).min(MOST_BYTES).div_ceil(PIECE_BYTES);
    (0..pieces).try_for_each(|number| piece(folder.join(format!("{number:02}"))))
}

/// Makes one piece, or finds it made. What interrupts this leaves a short one, which the next try completes.
fn piece(path: PathBuf) -> io::Result<()> {
    if fs::symlink_metadata(&path).is_ok_and(|metadata| is_whole(&metadata)) {
        return Ok(());
    }
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)?;
    let made = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, PIECE_BYTES) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => written_out(&mut file),
        result => result.map_err(io::Error::from),
    };
    if made.is_err() {
        // A piece that is not whole would hold an inode and some bytes that others may need more.
        drop(fs::remove_file(&path));
    }
    made
}

/// Whether a piece has its length and its space: a copy of a repository may have holes.
fn is_whole(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.is_file() && metadata.len() == PIECE_BYTES && metadata.blocks() * 512 >= PIECE_BYTES
}

/// Where the file system cannot allocate: bytes that do not compress, since some store zeros as nothing.
fn written_out(file: &mut File) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(PIECE_BYTES).map_err(io::Error::other)?];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    file.write_all(&bytes)?;
    rustix::fs::fdatasync(file).map_err(io::Error::from)
}
