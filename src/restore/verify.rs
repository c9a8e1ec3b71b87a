//! Comparing files in the target with what they should hold, by chunk ids: what was read is hashed, not what was written.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::file::FilePlan;
use crate::error::{At, Error, Result};
use crate::export::place::Place;
use crate::format::content::Item;
use crate::repository::block_cache::Blocks;
use crate::repository::content::Content;

/// Read from a file at once where it must be all zeros.
const ZERO_BYTES: usize = 256 << 10;

/// True if `file` is `content`, byte for byte. Needs no chunk of the repository, only their ids (and the lists of long files).
pub(super) fn same_content(blocks: &dyn Blocks, file: &File, content: &Content) -> Result<bool> {
    if file.metadata().at("stat")?.len() != content.len() {
        return Ok(false);
    }
    let mut buffer = Vec::new();
    for extent in content.extents(blocks, 0) {
        let extent = extent?;
        match extent.item {
            Item::Data { id, len } => {
                buffer.resize(len as usize, 0);
                if !filled(file, &mut buffer, extent.start)?
                    || blocks.verify_chunk(&id, &buffer).is_err()
                {
                    return Ok(false);
                }
            }
            item => {
                let end = extent.start + item.len();
                if !all_zero(file, extent.start, end, &mut buffer)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Reads a restored file back from the medium and compares it.
pub(super) fn check(blocks: &dyn Blocks, place: &Place, plan: &FilePlan) -> Result<()> {
    let file = place.open_file(&plan.path)?;
    // What was just written is in memory; a check of the medium must not be answered from there. A refusal only
    // makes the check weaker.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    if same_content(blocks, &file, &plan.content)? {
        return Ok(());
    }
    Err(Error::corrupt(
        "what was written reads back differently: the target's medium or memory is faulty",
    ))
}

fn all_zero(file: &File, start: u64, end: u64, buffer: &mut Vec<u8>) -> Result<bool> {
    let mut at = start;
    while at < end {
        // A hole answers in one call, however long it is; without support everything counts as data.
        let data = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at));
        at = match data {
            Ok(data) => data.max(at),
            Err(rustix::io::Errno::NXIO) => return Ok(true),
            Err(_) => at,
        };
        if at >= end {
            break;
        }
        let len = (ZERO_BYTES as u64).min(end - at);
        buffer.resize(usize::try_from(len).unwrap_or(ZERO_BYTES), 0);
        if !filled(file, buffer, at)? || buffer.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += len;
    }
    Ok(true)
}

/// Fills `buffer` from `offset`; false if the file is shorter.
fn filled(file: &File, buffer: &mut [u8], offset: u64) -> Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e).at("read back"),
    }
}
