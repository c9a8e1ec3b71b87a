//! Space that is set aside, so that what frees space still works where none is left.
//!
//! `reserve/` beside the areas holds files of [`PIECE_BYTES`] whose space is allocated and whose content is nothing. A write that
//! finds no space, by a command that draws on the reserve, removes one piece after the other until it fits: each gives back its bytes and
//! its inode. The pieces are made again by the next command that fills the reserve, as far as there is room; one that is missing, short
//! or of other bytes does no harm.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Area, Drawn, list, path_error, write};
use crate::error::{Class, Result};

/// The folder.
pub(super) const FOLDER: &str = "reserve";
/// What one file holds.
const PIECE_BYTES: u64 = 256 << 10;
/// Sessions, plans, slots and what a prune without room repacks, beside the longest index object: that is written anew before the old one goes.
const BASE_BYTES: u64 = 3 << 20;
/// Index objects are closed at 8 MiB and a block.
const MOST_BYTES: u64 = 16 << 20;

/// Who draws on the reserve.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    small: AtomicUsize,
    packs: AtomicUsize,
}

impl Reserve {
    fn drawing(&self, what: Drawn) -> &AtomicUsize {
        match what {
            Drawn::Small => &self.small,
            Drawn::Packs => &self.packs,
        }
    }

    /// Lets writes draw on it, until the same is called with false.
    pub(super) fn draw(&self, what: Drawn, allowed: bool) {
        if allowed {
            self.drawing(what).fetch_add(1, Ordering::SeqCst);
        } else {
            self.drawing(what).fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Does `write`, which stores an object of `area`; again with less of the reserve as long as there is no space for it.
    pub(super) fn write<T>(
        &self,
        root: &Path,
        area: Area,
        mut write: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let what = match area {
            Area::Data | Area::Meta => Drawn::Packs,
            _ => Drawn::Small,
        };
        loop {
            match write() {
                Err(e)
                    if e.class() == Class::Full
                        && self.drawing(what).load(Ordering::SeqCst) > 0
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
    (0..pieces).try_for_each(|number| piece(&folder.join(format!("{number:02}"))))
}

/// Makes one piece, or finds it made. What interrupts this leaves a short one, which the next try completes.
fn piece(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| is_whole(&metadata)) {
        return Ok(());
    }
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let made = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, PIECE_BYTES) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => written_out(&mut file),
        result => result.map_err(io::Error::from),
    };
    if made.is_err() {
        // A piece that is not whole would hold an inode and some bytes that others may need more.
        drop(fs::remove_file(path));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn pieces(root: &Path) -> usize {
        fs::read_dir(root.join(FOLDER)).map_or(0, Iterator::count)
    }

    /// Fails as a full disk does until so many pieces are gone.
    fn until(root: &Path, left: usize) -> impl FnMut() -> Result<usize> {
        move || match pieces(root) {
            count if count > left => Err(Error::new(Class::Full, "full")),
            count => Ok(count),
        }
    }

    #[test]
    fn pieces_go_one_by_one_and_only_for_who_draws() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let reserve = Reserve::default();
        assert!(fill(root).unwrap());
        assert_eq!(pieces(root), 12);
        let refused = reserve.write(root, Area::Gc, until(root, 9)).unwrap_err();
        assert_eq!((refused.class(), pieces(root)), (Class::Full, 12));
        reserve.draw(Drawn::Small, true);
        reserve.draw(Drawn::Small, true);
        reserve.draw(Drawn::Small, false);
        assert_eq!(reserve.write(root, Area::Gc, until(root, 9)).unwrap(), 9);
        for area in [Area::Data, Area::Meta] {
            let refused = reserve.write(root, area, until(root, 0)).unwrap_err();
            assert_eq!((refused.class(), pieces(root)), (Class::Full, 9));
        }
        reserve.draw(Drawn::Packs, true);
        assert_eq!(reserve.write(root, Area::Data, until(root, 8)).unwrap(), 8);
        reserve.draw(Drawn::Packs, false);
        let other = || Err::<(), _>(Error::new(Class::Denied, "no"));
        reserve.write(root, Area::Gc, other).unwrap_err();
        assert_eq!(pieces(root), 8);
        reserve.draw(Drawn::Small, false);
        reserve.write(root, Area::Gc, until(root, 0)).unwrap_err();
        assert_eq!(pieces(root), 8);
        // One that lost its space, as in a copy of the repository, is made again.
        let hollow = root.join(FOLDER).join("00");
        File::create(&hollow).unwrap().set_len(PIECE_BYTES).unwrap();
        assert!(fill(root).unwrap());
        assert_eq!(pieces(root), 12);
        assert!(is_whole(&fs::metadata(&hollow).unwrap()));
    }

    #[test]
    fn it_grows_with_the_longest_index_object() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("index")).unwrap();
        let index = |digit: &str, bytes| {
            let file = File::create(root.join("index").join(digit.repeat(64))).unwrap();
            file.set_len(bytes).unwrap();
        };
        index("a", 1 << 20);
        index("b", 300_000);
        assert!(fill(root).unwrap());
        assert_eq!(pieces(root), 16);
        index("c", 1 << 40);
        assert!(fill(root).unwrap());
        assert_eq!(pieces(root), 64);
    }

    #[test]
    fn where_nothing_can_be_allocated_it_is_written_out() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("piece");
        written_out(&mut File::create(&path).unwrap()).unwrap();
        assert!(is_whole(&fs::metadata(&path).unwrap()));
    }
}
