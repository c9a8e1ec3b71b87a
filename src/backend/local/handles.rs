//! Open files of objects: opened so that nothing can block, read at positions, and kept in a small bounded cache.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

use super::Key;
use crate::format::MAX_OBJECT_BYTES;

/// An open object.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    file: Arc<File>,
    bytes: u64,
}

/// Opens the object at `path` for reading. What is no regular file is refused before anything could wait for it: a
/// FIFO would block for ever, a device has side effects.
pub(super) fn open(path: &Path) -> io::Result<Handle> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP) => return Err(not_regular()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    Ok(Handle {
        file: Arc::new(file),
        bytes: metadata.len(),
    })
}

/// What stands in an object's place is none.
pub(super) fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no regular file")
}

impl Handle {
    /// Length of the object when it was opened.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Exactly `len` bytes from `offset`.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| end > self.bytes.min(MAX_OBJECT_BYTES)) {
            return Err(self.too_short(offset, len));
        }
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            // The vector may have more room than asked for; what is read into it beyond `len` is cut off below.
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(self.too_short(offset, len)),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn too_short(&self, offset: u64, len: usize) -> io::Error {
        let bytes = self.bytes;
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("it is shorter than it must be: {bytes} bytes, {len} wanted at {offset}"),
        )
    }
}

/// The handles used last. Only for objects that are named by their content: a handle may outlive the object's name.
#[derive(Debug)]
pub(super) struct Handles {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<Key, (Handle, u64)>,
    clock: u64,
}

impl Handles {
    /// A cache of at most `most` open files.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
        }
    }

    /// The handle of `key`, if it is open.
    pub(super) fn get(&self, key: &Key) -> Option<Handle> {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        let (handle, used) = state.open.get_mut(key)?;
        *used = now;
        Some(handle.clone())
    }

    /// Keeps `handle`, and closes the one unused for longest if there are too many.
    pub(super) fn put(&self, key: &Key, handle: Handle) -> Handle {
        let mut state = self.state();
        state.clock += 1;
        let now = state.clock;
        if state.open.len() >= self.most && !state.open.contains_key(key) {
            // A scan of a few dozen entries is nothing beside the open that led here.
            let oldest = state.open.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                state.open.remove(&oldest);
            }
        }
        state.open.insert(key.clone(), (handle.clone(), now));
        handle
    }

    /// Closes the handles of files that were removed since, by whichever process: they keep the space of whole packs.
    pub(super) fn forget_removed(&self) {
        use std::os::unix::fs::MetadataExt;
        let is_there = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() > 0);
        self.state()
            .open
            .retain(|_, (handle, _)| is_there(&handle.file));
    }

    /// Closes the handle of `key`.
    pub(super) fn forget(&self, key: &Key) {
        self.state().open.remove(key);
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state().open.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
