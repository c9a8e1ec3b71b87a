//! Walking the folders of a local repository: objects for `list`, and what interrupted writes left behind.
//!
//! Directories are read as streams, a kernel buffer at a time. Whatever is not a regular file with the name of an
//! object in its place is passed over in silence: it cannot be reached through a key, so it can do no harm.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::super::key::TEMPORARY_PREFIX;
use super::{Area, path_error};
use crate::error::{Class, Error, Result};

/// Tells every object of `area`.
pub(super) fn list(
    root: &Path,
    area: Area,
    each: &mut dyn FnMut(&str, u64) -> Result<()>,
) -> Result<()> {
    if !root.is_dir() {
        // An area may be missing, the repository may not: a disk that is not there is no empty one.
        fs::read_dir(root).map_err(|e| path_error("list", root, e))?;
    }
    refuse_absent(root, area)?;
    walk(root, area, &mut |entry, folder| {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| area.admits(name)) else {
            return Ok(());
        };
        if folder.is_some_and(|folder| !name.starts_with(folder)) {
            return Ok(());
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => each(name, metadata.len()),
            Ok(_) => Ok(()),
            // Removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(path_error("look at", &entry.path(), error)),
        }
    })
}

/// A folder that leads elsewhere, where nothing is, is a disk that is not there. And who took missing snapshots for none would
/// have everything pruned: their folder is made with the repository.
fn refuse_absent(root: &Path, area: Area) -> Result<()> {
    let folder = root.join(area.name());
    let is_link = fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_symlink());
    let needed = is_link || area == Area::Snapshots && root.join(Area::Config.name()).exists();
    if needed && !folder.exists() {
        return Err(Error::new(
            Class::NotFound,
            format!(
                "there is no directory {}: its disk may be away; if the repository was copied without its empty directories, make it",
                folder.display()
            ),
        ));
    }
    Ok(())
}

/// Removes temporary files whose writer is gone. A writer holds a lock on its file from before the first byte until the
/// file has its final name (see `write`), and the lock dies with the process.
pub(super) fn remove_leftovers(root: &Path) -> Result<u64> {
    let mut removed = 0;
    for area in Area::ALL {
        walk(root, area, &mut |entry, _| {
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|n| n.starts_with(TEMPORARY_PREFIX))
                && remove_if_unused(&entry.path())
            {
                removed += 1;
            }
            Ok(())
        })?;
    }
    Ok(removed)
}

/// Removes the file if its lock can be taken. Failures do not matter: the next run tries again.
fn remove_if_unused(path: &Path) -> bool {
    let regular = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let Ok(file) = File::options().read(true).write(true).open(path) else {
        return false;
    };
    regular
        && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && fs::remove_file(path).is_ok()
}

/// Shows every directory entry where objects of `area` can lie, with the name of its fan-out folder.
fn walk(
    root: &Path,
    area: Area,
    each: &mut dyn FnMut(&DirEntry, Option<&str>) -> Result<()>,
) -> Result<()> {
    if area == Area::Config {
        return entries(root, &mut |entry| each(entry, None));
    }
    let top = root.join(area.name());
    if !area.has_fan_out() {
        return entries(&top, &mut |entry| each(entry, None));
    }
    entries(&top, &mut |entry| {
        let name = entry.file_name();
        match name.to_str().filter(|name| is_fan_out(name)) {
            // A file of that name has no objects in it.
            Some(_) if !entry.path().is_dir() => Ok(()),
            Some(folder) => entries(&entry.path(), &mut |entry| each(entry, Some(folder))),
            None => Ok(()),
        }
    })
}

fn is_fan_out(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// Shows every entry of a directory. One that is not there is empty.
fn entries(directory: &Path, each: &mut dyn FnMut(&DirEntry) -> Result<()>) -> Result<()> {
    let failed = |e| path_error("list", directory, e);
    let stream = match fs::read_dir(directory) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in stream {
        each(&entry.map_err(failed)?)?;
    }
    Ok(())
}
