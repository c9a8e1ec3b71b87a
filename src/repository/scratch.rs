//! Scratch files: without a name from the beginning, so that nothing of them is left whatever happens.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::error::{At, Result};

/// A new one in `folder`, which is made if it is missing.
pub fn file(folder: &Path) -> Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .at_path("make the scratch folder", folder)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match open(folder, flags | OFlags::TMPFILE, mode) {
        // File systems that know no files without a name: it has one for a moment.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            let path = folder.join(format!("{}.tmp", std::process::id()));
            let file = open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode);
            file.inspect(|_| {
                // What stays has no content that anybody could read.
                let _ = std::fs::remove_file(&path);
            })
        }
        opened => opened,
    };
    let file = file.at_path("make a scratch file in", folder)?;
    Ok(file.into())
}
