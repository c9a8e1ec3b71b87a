//! Extended attributes, ACLs and capabilities among them, through a handle where there is one.
//!
//! Symbolic links, pipes, sockets and devices are never opened: theirs are read by `/proc/self/fd/DIR/NAME`, which is as safe
//! against swapped directories as a handle, and of any depth.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{fgetxattr, flistxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::entry::Xattr;

/// What the kernel allows for a list of names, and for a value.
const LIMIT_BYTES: usize = 64 << 10;
/// Enough for nearly all.
const USUAL_BYTES: usize = 1 << 10;

/// Where the attributes hang.
pub(super) enum Of<'a> {
    /// An open file or directory.
    Handle(BorrowedFd<'a>),
    /// A name in an open directory, not followed.
    Name(BorrowedFd<'a>, &'a [u8]),
}

/// All attributes, sorted by name, and what could not be read (names, each with its error).
pub(super) fn read(of: &Of<'_>) -> (Vec<Xattr>, Vec<(Vec<u8>, io::Error)>) {
    let path = match of {
        Of::Handle(_) => Vec::new(),
        Of::Name(dir, name) => {
            let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            path
        }
    };
    let path = path.as_slice();
    let mut problems = Vec::new();
    let names = grow(|buffer| match of {
        Of::Handle(handle) => flistxattr(handle, buffer),
        Of::Name(..) => llistxattr(path, buffer),
    });
    let names = match names {
        Ok(names) => names,
        // No such thing on this file system; or, without a mounted /proc, no way to ask.
        Err(Errno::OPNOTSUPP | Errno::NOENT) => Vec::new(),
        Err(error) => {
            problems.push((b"*".to_vec(), error.into()));
            Vec::new()
        }
    };
    let mut all = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let value = grow(|buffer| match of {
            Of::Handle(handle) => fgetxattr(handle, name, buffer),
            Of::Name(..) => lgetxattr(path, name, buffer),
        });
        match value {
            Ok(value) => all.push(Xattr {
                name: name.to_vec(),
                value,
            }),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => problems.push((name.to_vec(), error.into())),
        }
    }
    all.sort_unstable();
    (all, problems)
}

/// Calls with a small buffer, and again with the largest if that was too small.
fn grow(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; USUAL_BYTES];
    match call(&mut small) {
        Ok(len) => Ok(small.get(..len).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LIMIT_BYTES];
            let len = call(&mut large)?;
            large.truncate(len);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
