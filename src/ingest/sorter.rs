//! Sorts the records of an archive by path in bounded memory: runs that do not fit are sealed and spilled.
//!
//! An archive tells its members in any order, a tree is built in one. Runs go to unnamed files in the scratch directory,
//! sealed like rows of the catalog, because they hold names. Without a scratch directory everything stays in memory.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{At, Error, Result};
use crate::format::{Cursor, put_bytes, put_varint};
use crate::repository::{Repository, scratch};

/// Bytes of records that stay in memory, of members and of replaced contents each.
const RUN_BYTES: usize = 24 << 20;
/// What a record takes beside its bytes: a place in a list that grows by doubling, and two allocations.
const RECORD_BYTES: usize = 120;
/// Plain bytes of one sealed piece of a run.
const PIECE_BYTES: usize = 256 << 10;
/// The longest sealed piece: one record may exceed the piece's size.
const MAX_PIECE_BYTES: usize = 16 << 20;

/// One record; ordered by key, then by ordinal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) ordinal: u64,
    pub(super) value: Vec<u8>,
}

impl Record {
    fn weight(&self) -> usize {
        self.key.capacity() + self.value.capacity() + RECORD_BYTES
    }
}

pub(super) struct Sorter {
    repository: Arc<Repository>,
    scratch: Option<PathBuf>,
    run_bytes: usize,
    records: Vec<Record>,
    bytes: usize,
    runs: Vec<File>,
}

impl Sorter {
    pub(super) fn new(repository: &Arc<Repository>, scratch: Option<PathBuf>) -> Self {
        Self {
            repository: Arc::clone(repository),
            scratch,
            run_bytes: RUN_BYTES,
            records: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, record: Record) -> Result<()> {
        self.bytes += record.weight();
        self.records.push(record);
        if self.bytes >= self.run_bytes && self.scratch.is_some() {
            self.spill()
        } else {
            Ok(())
        }
    }

    fn spill(&mut self) -> Result<()> {
        let Some(directory) = &self.scratch else {
            return Ok(());
        };
        let what = format!("a scratch file in {}", directory.display());
        let mut file = scratch::file(directory)?;
        self.records.sort_unstable();
        let mut piece = Vec::new();
        for record in self.records.drain(..) {
            put_bytes(&mut piece, &record.key);
            put_varint(&mut piece, record.ordinal);
            put_bytes(&mut piece, &record.value);
            if piece.len() >= PIECE_BYTES {
                write_piece(&self.repository, &mut file, &piece).at(&what)?;
                piece.clear();
            }
        }
        write_piece(&self.repository, &mut file, &piece).at(&what)?;
        self.bytes = 0;
        self.runs.push(file);
        Ok(())
    }

    /// Calls `each` with all records in order. May be called again.
    pub(super) fn for_each(&mut self, mut each: impl FnMut(Record) -> Result<()>) -> Result<()> {
        self.records.sort_unstable();
        let mut runs = Vec::new();
        for file in &mut self.runs {
            file.seek(SeekFrom::Start(0)).at("rewind a scratch file")?;
            let reader = BufReader::new(file.try_clone().at("open a scratch file again")?);
            let mut run = Run {
                repository: &self.repository,
                reader,
                piece: Vec::new(),
                at: 0,
                next: None,
            };
            run.advance()?;
            runs.push(run);
        }
        let mut memory = self.records.iter().peekable();
        loop {
            let first = runs
                .iter()
                .enumerate()
                .filter_map(|(index, run)| run.next.as_ref().map(|next| (next, index)))
                .min();
            match (first, memory.peek()) {
                (None, None) => return Ok(()),
                (Some((next, index)), here) if here.is_none_or(|here| next < *here) => {
                    let run = &mut runs[index];
                    let record = run.next.take().ok_or_else(broken)?;
                    run.advance()?;
                    each(record)?;
                }
                _ => each(memory.next().ok_or_else(broken)?.clone())?,
            }
        }
    }
}

/// A spilled run while it is read.
struct Run<'a> {
    repository: &'a Repository,
    reader: BufReader<File>,
    piece: Vec<u8>,
    at: usize,
    next: Option<Record>,
}

impl Run<'_> {
    fn advance(&mut self) -> Result<()> {
        if self.at == self.piece.len() {
            self.at = 0;
            match read_piece(self.repository, &mut self.reader)? {
                Some(piece) => self.piece = piece,
                None => return Ok(()),
            }
        }
        let mut cursor = Cursor::new(&self.piece[self.at..]);
        let mut read = || {
            Ok::<_, crate::format::DecodeError>(Record {
                key: cursor.bytes(MAX_PIECE_BYTES, "key")?.to_vec(),
                ordinal: cursor.varint("ordinal")?,
                value: cursor.bytes(MAX_PIECE_BYTES, "value")?.to_vec(),
            })
        };
        self.next = Some(read().map_err(|_| broken())?);
        self.at += cursor.offset();
        Ok(())
    }
}

fn write_piece(repository: &Repository, file: &mut File, piece: &[u8]) -> std::io::Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    let sealed = repository
        .catalog_key()
        .seal(b"scratch", piece)
        .map_err(std::io::Error::other)?;
    let len = u32::try_from(sealed.len()).map_err(std::io::Error::other)?;
    file.write_all(&len.to_le_bytes())?;
    file.write_all(&sealed)
}

fn read_piece(repository: &Repository, reader: &mut BufReader<File>) -> Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    match reader.read_exact(&mut len) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other.at("read a scratch file")?,
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > 2 * MAX_PIECE_BYTES {
        return Err(broken());
    }
    let mut sealed = vec![0; len];
    reader.read_exact(&mut sealed).at("read a scratch file")?;
    repository
        .catalog_key()
        .open(b"scratch", &sealed)
        .map(Some)
        .map_err(|_| broken())
}

fn broken() -> Error {
    Error::corrupt("a scratch file changed while it was in use")
}
