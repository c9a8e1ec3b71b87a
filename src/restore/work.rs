//! Carrying out the jobs of a window: decode a block, check the chunks, write them where they belong.
//!
//! No byte is written before its chunk's keyed id was checked. What the repository cannot give spoils one file and is reported;
//! what the target refuses for one entry is a warning; a full or failing target stops everything.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::file::{Access, FilePlan, Purpose};
use super::first_names::Spoiler;
use super::report::Report;
use super::select::Root;
use super::window::{Job, Piece};
use crate::error::{Error, Result};
use crate::export::place::{FileHandle, Place};
use crate::format::content::Item;
use crate::progress::Count;
use crate::repository::block_cache::Blocks;
use crate::repository::content::chunk;

/// What workers share.
pub(super) struct Crew<'a> {
    pub(super) blocks: &'a dyn Blocks,
    pub(super) place: &'a Place,
    pub(super) roots: &'a [Root],
    pub(super) report: &'a Report<'a>,
    /// Files open for more than one worker.
    pub(super) open: AtomicUsize,
}

/// Why a file was not written: what the repository could not give, or what the target refused.
enum Trouble {
    Repository(Error),
    Target(Error),
}

impl Crew<'_> {
    /// Does one job. All that goes wrong is in the report afterwards.
    pub(super) fn carry_out(&self, job: Job) {
        // What a user no longer wants is dropped job by job; the planner sees the same and says so.
        if self.report.is_stopped() || self.report.monitor().interrupted() {
            return;
        }
        match job {
            Job::Block(block, pieces) => {
                let raw = self.blocks.cache().get(self.blocks, &block);
                for run in pieces.chunk_by(|a, b| Arc::ptr_eq(&a.file, &b.file)) {
                    let file = &run[0].file;
                    let raw = raw.as_ref().map(|raw| raw.as_slice());
                    let wrote = self.write_run(raw, run);
                    self.settle(file, run.len(), wrote);
                }
            }
            Job::Whole(files) => {
                for file in &files {
                    let wrote = self.write_whole(file);
                    self.settle(file, 0, wrote);
                }
            }
        }
    }

    /// Accounts for runs of a file and finishes it after the last.
    pub(super) fn settle_runs(&self, file: &FilePlan, runs: usize) {
        self.settle(file, runs, Ok(()));
    }

    fn settle(&self, file: &FilePlan, runs: usize, wrote: Result<(), Trouble>) {
        if let Err(trouble) = wrote {
            self.give_up(file, trouble);
        }
        if runs > 0
            && file.settle(runs)
            && let Some(handle) = file.take(&self.open)
            && let Err(error) = self.finish(file, handle)
        {
            self.give_up(file, Trouble::Target(error));
        }
    }

    fn write_run(&self, raw: Result<&[u8], &Error>, run: &[Piece]) -> Result<(), Trouble> {
        let file = &run[0].file;
        let access = file.access(self.place, run.len(), &self.open);
        match access.map_err(Trouble::Target)? {
            Access::Nothing => Ok(()),
            Access::Everything => self.write_content(file),
            Access::Shared(handle) => self.write_pieces(&handle, raw, run),
            Access::Alone(handle) => {
                self.write_pieces(&handle, raw, run)?;
                self.finish(file, handle).map_err(Trouble::Target)
            }
        }
    }

    /// Writes pieces, those side by side in one call. What the block does not give comes from the chunks' other homes.
    fn write_pieces(
        &self,
        handle: &FileHandle,
        raw: Result<&[u8], &Error>,
        run: &[Piece],
    ) -> Result<(), Trouble> {
        let beside =
            |a: &Piece, b: &Piece| a.at + a.len == b.at && a.offset + u64::from(a.len) == b.offset;
        for stretch in run.chunk_by(beside) {
            match raw
                .map_err(again)
                .and_then(|raw| self.checked(raw, stretch))
            {
                Ok(bytes) => self.write(handle, stretch[0].offset, bytes)?,
                Err(error) => self.write_from_elsewhere(handle, stretch, error)?,
            }
        }
        Ok(())
    }

    /// The bytes of pieces side by side in a block, each held against its id.
    fn checked<'b>(&self, raw: &'b [u8], stretch: &[Piece]) -> Result<&'b [u8]> {
        let mut end = stretch[0].at as usize;
        for piece in stretch {
            let bytes = raw.get(end..end + piece.len as usize).ok_or_else(|| {
                Error::corrupt(format!("chunk {} lies beyond its block", piece.chunk))
            })?;
            self.blocks.verify_chunk(&piece.chunk, bytes)?;
            end += bytes.len();
        }
        Ok(&raw[stretch[0].at as usize..end])
    }

    fn write_from_elsewhere(
        &self,
        handle: &FileHandle,
        stretch: &[Piece],
        error: Error,
    ) -> Result<(), Trouble> {
        for piece in stretch {
            let bytes = chunk(self.blocks, &piece.chunk, piece.len).and_then(|bytes| {
                self.blocks.verify_chunk(&piece.chunk, &bytes)?;
                Ok(bytes)
            });
            let Ok(bytes) = bytes else {
                return Err(Trouble::Repository(error));
            };
            self.write(handle, piece.offset, &bytes)?;
        }
        Ok(())
    }

    fn write(&self, handle: &FileHandle, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        handle.write_at(offset, bytes).map_err(Trouble::Target)?;
        self.report.monitor().add(Count::Bytes, bytes.len() as u64);
        Ok(())
    }

    /// Writes a file that is not shared: one without chunks, or one that must be compared first.
    fn write_whole(&self, file: &FilePlan) -> Result<(), Trouble> {
        if file.is_spoiled() {
            return Ok(());
        }
        if file.purpose == Purpose::Compare && self.has_content(file)? {
            return self
                .place
                .update(&file.path, &file.meta)
                .map_err(Trouble::Target);
        }
        self.write_content(file)
    }

    /// Writes all of a file, chunk after chunk.
    fn write_content(&self, file: &FilePlan) -> Result<(), Trouble> {
        let handle = file.create(self.place).map_err(Trouble::Target)?;
        for extent in file.content.extents(self.blocks, 0) {
            let extent = extent.map_err(Trouble::Repository)?;
            if let Item::Data { id, len } = extent.item {
                let bytes = chunk(self.blocks, &id, len).map_err(Trouble::Repository)?;
                self.blocks
                    .verify_chunk(&id, &bytes)
                    .map_err(Trouble::Repository)?;
                handle
                    .write_at(extent.start, &bytes)
                    .map_err(Trouble::Target)?;
                self.report.monitor().add(Count::Bytes, bytes.len() as u64);
            }
            if self.report.is_stopped() {
                return Ok(());
            }
        }
        self.finish(file, handle).map_err(Trouble::Target)
    }

    /// True if the file in the target has the planned content.
    fn has_content(&self, file: &FilePlan) -> Result<bool, Trouble> {
        let there = self.place.open_file(&file.path).map_err(Trouble::Target)?;
        super::verify::same_content(self.blocks, &there, &file.content).map_err(Trouble::Repository)
    }

    fn finish(&self, file: &FilePlan, handle: FileHandle) -> Result<()> {
        file.finish(handle)?;
        self.report.monitor().add(Count::Entries, 1);
        Ok(())
    }

    /// The file will not be there, or stays as it was.
    fn give_up(&self, file: &FilePlan, trouble: Trouble) {
        let by = match trouble {
            Trouble::Repository(_) => Spoiler::Repository,
            Trouble::Target(_) => Spoiler::Target,
        };
        if !file.spoil(&self.open, by) {
            return;
        }
        self.report
            .unmake_file(&file.content, by == Spoiler::Target);
        match trouble {
            Trouble::Repository(error) => {
                let root = &self.roots[file.root];
                self.report
                    .lose(root.id, root.source_path(&file.path), error);
            }
            Trouble::Target(error) => {
                if let Err(fatal) = self.place.warn_or_fail(error) {
                    self.report.stop(fatal);
                }
            }
        }
    }

    /// The repository cannot give this file.
    pub(super) fn lose(&self, file: &FilePlan, error: Error) {
        self.give_up(file, Trouble::Repository(error));
    }
}

/// The same error once more.
fn again(error: &Error) -> Error {
    Error::new(error.class(), error.to_string())
}
