//! A table that outgrows memory: what does not fit goes to an unnamed scratch file, sealed with a key that nobody else has.
//!
//! ```text
//! put -> memory (a hash table) --full--> run: pages of records sorted by key | a filter and the first keys stay in memory
//! get -> memory -> runs, the newest first: filter -> page -> record
//! ```
//! For what must be found again much later and mostly never is: files of which more names may come. In memory there are at
//! most 16 MiB of records, and for each record in the file about 12 bits of filter and its share of a page's first key: for ten
//! million records of 150 bytes, 16 MiB and 19 MiB. Without a scratch folder everything stays in memory.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::lock;
use crate::crypto::CatalogKey;
use crate::entry::{Shelf, ShelfKey};
use crate::error::{At, Class, Error, Result};
use crate::format::{Cursor, put_bytes};

/// Records that stay in memory, in bytes; next to none in tests, so that all that has a scratch folder goes there.
#[cfg(not(test))]
const MEMORY_BYTES: usize = 16 << 20;
#[cfg(test)]
const MEMORY_BYTES: usize = 200;
/// What the tables take for one record beside its value: key, pointer, free places of the table, allocator.
const RECORD_BYTES: usize = 96;
/// Plain bytes of one page.
const PAGE_BYTES: usize = 8 << 10;
/// The longest value: a node with all its attributes.
const MAX_VALUE_BYTES: usize = 16 << 20;
const FILTER_BITS: usize = 12;
const FILTER_PROBES: u64 = 6;
const CONTEXT: &[u8] = b"shelf";

/// See the module.
pub struct SpillShelf {
    scratch: Option<PathBuf>,
    memory_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<ShelfKey, Box<[u8]>>,
    bytes: usize,
    spilled: Option<Spilled>,
}

/// The scratch file and what is known of it.
struct Spilled {
    key: CatalogKey,
    file: File,
    end: u64,
    runs: Vec<Run>,
}

struct Run {
    filter: Filter,
    pages: Vec<Page>,
}

struct Page {
    first: ShelfKey,
    offset: u64,
    len: usize,
}

impl SpillShelf {
    /// An empty one; `scratch` is a folder, made when it is needed.
    pub fn new(scratch: Option<PathBuf>) -> Self {
        Self::with_memory(scratch, MEMORY_BYTES)
    }

    fn with_memory(scratch: Option<PathBuf>, memory_bytes: usize) -> Self {
        Self {
            scratch,
            memory_bytes,
            state: Mutex::default(),
        }
    }

    /// About how much memory it takes.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        let state = lock(&self.state);
        let runs = state.spilled.iter().flat_map(|spilled| &spilled.runs);
        let of = |run: &Run| {
            size_of_val(run.filter.words.as_slice()) + run.pages.len() * size_of::<Page>()
        };
        state.bytes + runs.map(of).sum::<usize>()
    }
}

impl Shelf for SpillShelf {
    fn put(&self, key: ShelfKey, value: &[u8]) -> Result<()> {
        let mut state = lock(&self.state);
        state.bytes += RECORD_BYTES + value.len();
        if let Some(before) = state.records.insert(key, value.into()) {
            state.bytes -= RECORD_BYTES + before.len();
        }
        match &self.scratch {
            Some(folder) if state.bytes > self.memory_bytes => state.spill(folder),
            _ => Ok(()),
        }
    }

    fn get(&self, key: &ShelfKey) -> Result<Option<Vec<u8>>> {
        let state = lock(&self.state);
        if let Some(value) = state.records.get(key) {
            return Ok(Some(value.to_vec()));
        }
        let Some(spilled) = &state.spilled else {
            return Ok(None);
        };
        for run in spilled.runs.iter().rev() {
            if let Some(value) = spilled.find(run, key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn forget(&self, key: &ShelfKey) {
        let mut state = lock(&self.state);
        if let Some(value) = state.records.remove(key) {
            state.bytes -= RECORD_BYTES + value.len();
        }
    }
}

impl State {
    /// Moves all records to the file.
    fn spill(&mut self, folder: &Path) -> Result<()> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled {
                key: CatalogKey::ephemeral()
                    .map_err(|e| Error::caused(e.class(), "make a scratch key", e))?,
                file: super::scratch::file(folder)?,
                end: 0,
                runs: Vec::new(),
            }),
        };
        let mut records: Vec<_> = std::mem::take(&mut self.records).into_iter().collect();
        self.bytes = 0;
        records.sort_unstable_by_key(|(key, _)| *key);
        let mut run = Run {
            filter: Filter::new(records.len()),
            pages: Vec::new(),
        };
        let mut page = Vec::with_capacity(PAGE_BYTES + RECORD_BYTES);
        let mut first = None;
        for (key, value) in records {
            run.filter.add(&key);
            let begins = *first.get_or_insert(key);
            page.extend_from_slice(&key);
            put_bytes(&mut page, &value);
            if page.len() >= PAGE_BYTES {
                run.pages.push(spilled.write(begins, &page)?);
                page.clear();
                first = None;
            }
        }
        if let Some(begins) = first {
            run.pages.push(spilled.write(begins, &page)?);
        }
        spilled.runs.push(run);
        Ok(())
    }
}

impl Spilled {
    fn write(&mut self, first: ShelfKey, page: &[u8]) -> Result<Page> {
        let sealed = self
            .key
            .seal(CONTEXT, page)
            .map_err(|e| Error::caused(e.class(), "seal a page of scratch", e))?;
        let page = Page {
            first,
            offset: self.end,
            len: sealed.len(),
        };
        self.file
            .write_all_at(&sealed, self.end)
            .at("write to a scratch file")?;
        self.end += sealed.len() as u64;
        Ok(page)
    }

    fn find(&self, run: &Run, key: &ShelfKey) -> Result<Option<Vec<u8>>> {
        if !run.filter.may_have(key) {
            return Ok(None);
        }
        let at = run.pages.partition_point(|page| page.first <= *key);
        let Some(page) = at.checked_sub(1).and_then(|at| run.pages.get(at)) else {
            return Ok(None);
        };
        let mut sealed = vec![0; page.len];
        self.file
            .read_exact_at(&mut sealed, page.offset)
            .at("read a scratch file")?;
        let plain = self.key.open(CONTEXT, &sealed).map_err(|_| broken())?;
        let mut cursor = Cursor::new(&plain);
        while !cursor.is_empty() {
            let found: ShelfKey = cursor.array("key").map_err(|_| broken())?;
            let value = cursor
                .bytes(MAX_VALUE_BYTES, "value")
                .map_err(|_| broken())?;
            if found == *key {
                return Ok(Some(value.to_vec()));
            }
        }
        Ok(None)
    }
}

fn broken() -> Error {
    Error::new(Class::Corrupt, "a scratch file changed while it was in use")
}

/// A Bloom filter.
struct Filter {
    words: Vec<u64>,
}

impl Filter {
    fn new(records: usize) -> Self {
        Self {
            words: vec![0; (records * FILTER_BITS).div_ceil(64).max(1)],
        }
    }

    /// Where the bits of a key are. Keys may be numbers one after another: they are mixed.
    fn bits(&self, key: &ShelfKey) -> impl Iterator<Item = (usize, u64)> + use<> {
        let hash = blake3::hash(key);
        let part = |at: usize| {
            hash.as_bytes()
                .as_chunks::<8>()
                .0
                .get(at)
                .map_or(0, |b| u64::from_le_bytes(*b))
        };
        let (first, second) = (part(0), part(1) | 1);
        let bits = self.words.len() as u64 * 64;
        (0..FILTER_PROBES).map(move |probe| {
            let bit = first.wrapping_add(probe.wrapping_mul(second)) % bits;
            let word = usize::try_from(bit / 64).unwrap_or(0);
            (word, 1 << (bit % 64))
        })
    }

    fn add(&mut self, key: &ShelfKey) {
        for (word, bit) in self.bits(key) {
            self.words[word] |= bit;
        }
    }

    fn may_have(&self, key: &ShelfKey) -> bool {
        self.bits(key)
            .all(|(word, bit)| self.words[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> ShelfKey {
        let mut key = [0; 16];
        key[8..].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn value(number: u64, version: u64) -> Vec<u8> {
        format!("{number}/{version}/{}", "name".repeat(20)).into_bytes()
    }

    /// 5 million hard links of which no further name ever comes take 21 times of what is counted here, and the same memory.
    #[test]
    fn memory_does_not_grow_with_what_is_kept() {
        const RECORDS: u64 = 240_000;
        let folder = tempfile::tempdir().unwrap();
        let shelf = SpillShelf::with_memory(Some(folder.path().join("scratch")), 1 << 20);
        for number in 0..RECORDS {
            shelf.put(key(number), &value(number, 0)).unwrap();
        }
        // 1 MiB in memory; of the rest filters and first keys only.
        let spilled_bytes = usize::try_from(RECORDS).unwrap() * 2;
        let held = shelf.held_bytes();
        assert!(held <= (1 << 20) + spilled_bytes, "{held}");
        for number in (0..RECORDS).step_by(997) {
            assert_eq!(shelf.get(&key(number)).unwrap(), Some(value(number, 0)));
            assert_eq!(shelf.get(&key(number + RECORDS)).unwrap(), None);
        }
        let visible = std::fs::read_dir(folder.path().join("scratch")).unwrap();
        assert_eq!(visible.count(), 0, "the file has no name");
    }

    #[test]
    fn what_was_put_last_is_found_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        for scratch in [None, Some(folder.path().to_owned())] {
            let shelf = SpillShelf::with_memory(scratch, 4000);
            for version in 0..4 {
                for number in 0..200 {
                    shelf.put(key(number), &value(number, version)).unwrap();
                }
            }
            for number in 0..200 {
                assert_eq!(shelf.get(&key(number)).unwrap(), Some(value(number, 3)));
            }
            shelf.put(key(1000), b"").unwrap();
            assert_eq!(shelf.get(&key(1000)).unwrap(), Some(Vec::new()));
            shelf.forget(&key(1000));
            assert_eq!(shelf.get(&key(1000)).unwrap(), None);
        }
    }

    #[test]
    fn a_scratch_file_tells_no_names() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = SpillShelf::with_memory(Some(folder.path().to_owned()), 0);
        shelf.put(key(7), b"a secret name").unwrap();
        let state = lock(&shelf.state);
        let spilled = state.spilled.as_ref().unwrap();
        let mut bytes = vec![0; usize::try_from(spilled.end).unwrap()];
        spilled.file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_full_disk_is_told_and_not_forgotten() {
        let shelf = SpillShelf::with_memory(Some("/proc/nothing".into()), 0);
        assert!(shelf.put(key(1), b"x").is_err());
    }
}
