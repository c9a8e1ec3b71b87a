//! The log of a mount in the background: its warnings have no terminal to go to.
//!
//! One file per mount point, beside the catalogs, readable by its owner only: messages may hold names from snapshots. It is added
//! to by every mount there; a long one is set aside under `.old` first, and a mount writes a bounded number of warnings, so it
//! cannot fill a disk.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{At, Result};

/// A log longer than this is set aside by the next mount.
const LONG_BYTES: u64 = 1 << 20;
/// Longer names end in a digest.
const MAX_STEM_BYTES: usize = 200;

/// Where the log of a mount on `mountpoint` is, an absolute path, given the folder of the catalogs.
pub(super) fn place(folder: &Path, mountpoint: &Path) -> PathBuf {
    let bytes = mountpoint.as_os_str().as_bytes();
    let mut stem = String::with_capacity(bytes.len());
    for byte in bytes.iter().skip_while(|byte| **byte == b'/') {
        match byte {
            b'/' => stem.push('-'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' => stem.push(char::from(*byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(stem, "%{byte:02x}");
            }
        }
    }
    if stem.len() > MAX_STEM_BYTES {
        stem.truncate(MAX_STEM_BYTES);
        let _ = write!(stem, "~{}", &blake3::hash(bytes).to_hex()[..16]);
    }
    folder.join("mounts").join(format!("{stem}.log"))
}

/// Opens the log at `path` for adding to it.
pub(super) fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .at_path("make the directory", folder)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.len() > LONG_BYTES => {
            let aside = path.with_extension("log.old");
            std::fs::rename(path, &aside).at_path("set aside the log", path)?;
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).at_path("look at the log", path),
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .at_path("open the log", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_mount_point_has_a_name_of_its_own() {
        let name = |mountpoint: &str| {
            let place = place(Path::new("/c"), Path::new(mountpoint));
            assert_eq!(place.parent(), Some(Path::new("/c/mounts")));
            place.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("/mnt/snap"), "mnt-snap.log");
        assert_eq!(name("/mnt-snap"), "mnt%2dsnap.log");
        assert_eq!(name("/a b\n"), "a%20b%0a.log");
        let long = |last: char| name(&format!("/{}{last}", "d/".repeat(400)));
        assert!(long('a').len() < 255 && long('a') != long('b'));
    }

    #[test]
    fn it_is_private_added_to_and_set_aside_when_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = place(folder.path(), Path::new("/mnt"));
        for _ in 0..2 {
            let file = open(&path).unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            io::Write::write_all(&mut &file, b"line\n").unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"line\nline\n");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(LONG_BYTES + 1)
            .unwrap();
        assert_eq!(open(&path).unwrap().metadata().unwrap().len(), 0);
        assert!(path.with_extension("log.old").exists());
    }
}
