//! A window of the plan: files whose chunks are grouped by block, so that each block is read and decoded once.
//!
//! A window is bounded by files, runs and bytes, whatever the size of the snapshot; two exist at a time, one being planned while
//! the other is carried out. Blocks are visited in the order in which their packs are first needed and then in the order
//! in which they lie in the pack, which is one sequential read of each pack.

use std::collections::HashMap;
use std::sync::Arc;

use super::file::FilePlan;
use super::first_names::Fate;
use crate::entry::{EntryPath, Meta};
use crate::error::{Error, Result};
use crate::id::{ChunkId, PackId};
use crate::repository::BlockAddress;
use crate::repository::block_cache::Blocks;
use crate::repository::load::locate_all;

const MAX_FILES: usize = 8192;
const MAX_PIECES: usize = 1 << 16;
const LOCATED_TOGETHER: usize = 8192;
/// Paths, attributes and contents.
const MAX_BYTES: usize = 8 << 20;
/// The most pieces of one job: a chunk that many files share must not keep one worker busy alone.
const JOB_PIECES: usize = 256;

/// One chunk's place in a file.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) file: Arc<FilePlan>,
    pub(super) chunk: ChunkId,
    /// Where the chunk begins in the raw block, and its length.
    pub(super) at: u32,
    pub(super) len: u32,
    /// Where it goes in the file.
    pub(super) offset: u64,
}

/// One more name of a file, made once the file is there.
pub(super) struct LinkPlan {
    pub(super) root: usize,
    pub(super) path: EntryPath,
    pub(super) meta: Meta,
    pub(super) to: EntryPath,
    /// What became of the file there: whatever else has that name is not it.
    pub(super) fate: Fate,
    pub(super) replace: bool,
}

/// What a worker does in one go.
pub(super) enum Job {
    /// Decode a block and write chunks of it.
    Block(BlockAddress, Vec<Piece>),
    /// Write files that need no block or none in particular.
    Whole(Vec<Arc<FilePlan>>),
}

/// See the module.
#[derive(Default)]
pub(super) struct Window {
    /// Chunks that are not located yet.
    wanted: Vec<Piece>,
    groups: HashMap<BlockAddress, Vec<Piece>>,
    packs: HashMap<PackId, usize>,
    whole: Vec<Arc<FilePlan>>,
    /// Files that are complete when the window is.
    pub(super) files: Vec<Arc<FilePlan>>,
    pub(super) links: Vec<LinkPlan>,
    /// Directories whose last entry is in this window, innermost first.
    pub(super) left: Vec<(EntryPath, Meta)>,
    pieces: usize,
    bytes: usize,
}

impl Window {
    pub(super) fn is_full(&self) -> bool {
        self.pieces >= MAX_PIECES
            || self.files.len() + self.links.len() + self.left.len() >= MAX_FILES
            || self.bytes >= MAX_BYTES
    }

    /// Adds a chunk of a file.
    pub(super) fn add_chunk(
        &mut self,
        file: &Arc<FilePlan>,
        chunk: ChunkId,
        len: u32,
        offset: u64,
    ) {
        file.expect(1);
        self.pieces += 1;
        self.wanted.push(Piece {
            file: Arc::clone(file),
            chunk,
            at: 0,
            len,
            offset,
        });
    }

    /// Groups the chunks by the blocks that they are in; tells `lost` the files whose chunks are nowhere.
    pub(super) fn locate(
        &mut self,
        blocks: &dyn Blocks,
        lost: &mut dyn FnMut(&FilePlan, Error),
    ) -> Result<()> {
        let wanted = std::mem::take(&mut self.wanted);
        for group in wanted.chunks(LOCATED_TOGETHER) {
            let ids: Vec<_> = group.iter().map(|piece| (piece.chunk, piece.len)).collect();
            for (piece, found) in group.iter().zip(locate_all(blocks, &ids)?) {
                match found {
                    Ok(location) => {
                        let next = self.packs.len();
                        self.packs.entry(location.block.pack).or_insert(next);
                        let mut piece = piece.clone();
                        piece.at = location.offset;
                        self.groups.entry(location.block).or_default().push(piece);
                    }
                    Err(error) => lost(&piece.file, error),
                }
            }
        }
        Ok(())
    }

    /// Adds a file that one worker writes whole.
    pub(super) fn add_whole(&mut self, file: &Arc<FilePlan>) {
        self.whole.push(Arc::clone(file));
    }

    /// Everything about a file is planned.
    pub(super) fn add_file(&mut self, file: Arc<FilePlan>) {
        self.count(&file.path, &file.meta);
        self.bytes += file.content.memory_bytes();
        self.files.push(file);
    }

    pub(super) fn add_link(&mut self, link: LinkPlan) {
        self.count(&link.path, &link.meta);
        self.links.push(link);
    }

    pub(super) fn add_left(&mut self, path: EntryPath, meta: Meta) {
        self.count(&path, &meta);
        self.left.push((path, meta));
    }

    /// The jobs of the window, in the order in which to do them.
    pub(super) fn take_jobs(&mut self) -> Vec<Job> {
        let mut groups: Vec<_> = self.groups.drain().collect();
        groups.sort_by_key(|(block, _)| (self.packs.get(&block.pack).copied(), block.number));
        let mut jobs: Vec<Job> = Vec::with_capacity(groups.len());
        for (block, mut pieces) in groups {
            while pieces.len() > JOB_PIECES {
                let rest = pieces.split_off(job_end(&pieces));
                jobs.push(Job::Block(block, std::mem::replace(&mut pieces, rest)));
            }
            if !pieces.is_empty() {
                jobs.push(Job::Block(block, pieces));
            }
        }
        let whole = std::mem::take(&mut self.whole);
        jobs.extend(
            whole
                .chunks(JOB_PIECES / 4)
                .map(|files| Job::Whole(files.to_vec())),
        );
        jobs
    }

    fn count(&mut self, path: &EntryPath, meta: &Meta) {
        let xattrs: usize = meta
            .xattrs
            .iter()
            .map(|x| x.name.len() + x.value.len())
            .sum();
        self.bytes += path.as_bytes().len() + xattrs + 256;
    }
}

/// Where to cut a list of pieces so that the runs of one file stay together.
fn job_end(pieces: &[Piece]) -> usize {
    let same = |at: usize| Arc::ptr_eq(&pieces[at - 1].file, &pieces[at].file);
    let end = (JOB_PIECES..pieces.len()).find(|at| !same(*at));
    end.unwrap_or(JOB_PIECES)
}
