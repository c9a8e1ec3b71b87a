//! What each source file was last time, so that an unchanged one is not read again.
//!
//! The catalog keeps, per directory, the files in it with their signature (size, mtime, ctime, inode) and their encoded node.
//! Rows are named by a keyed hash of the directory's path and sealed, so the catalog tells no names. A row is written before
//! its run commits; it counts without a further look only if its run is marked committed, no pack was removed since and none is condemned.
//! Otherwise the chunks that it names are looked up before it is believed.
//!
//! A file whose ctime is not older than the run is not recorded: it may change again within the same tick of the clock.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::entry::{Entry, EntryPath, Known, Time};
use crate::error::{Error, Result};
use crate::format::content::Item;
use crate::format::tree::{Body, MAX_NODE_BYTES, Node};
use crate::format::{Cursor, DecodeError, put_bytes, put_varint, put_zigzag};
use crate::repository::{Homes, Repository, lock};

/// Files of one row.
#[cfg(not(test))]
const PART_FILES: usize = 2048;
#[cfg(test)]
const PART_FILES: usize = 3;
/// Decoded rows that are kept, in bytes.
const CACHE_BYTES: usize = 24 << 20;
/// Directories whose keys are kept.
const KEPT_KEYS: usize = 4;
/// Rows that are written in one transaction.
const WRITE_ROWS: usize = 512;
/// The same in bytes.
const WRITE_BYTES: usize = 8 << 20;

type RowKey = [u8; 16];
/// Key, part, sealed value.
type Row = (RowKey, u32, Vec<u8>);

/// What a file's signature is: equal bytes mean that the content was not touched.
fn signature(entry: &Entry) -> Option<Vec<u8>> {
    let stat = entry.stat?;
    let mut out = Vec::with_capacity(40);
    put_varint(&mut out, entry.size);
    for time in [entry.meta.mtime, stat.ctime] {
        put_zigzag(&mut out, time.seconds);
        put_varint(&mut out, u64::from(time.nanoseconds));
    }
    put_varint(&mut out, stat.inode);
    Some(out)
}

/// From when on another change gets another ctime. Clocks of file systems tick every few milliseconds; some (FAT, ext3,
/// network file systems) know whole seconds only, FAT every other one.
fn settled(ctime: Time) -> Time {
    if ctime.nanoseconds == 0 {
        Time::new(ctime.seconds.saturating_add(2), 0)
    } else {
        Time::new(ctime.seconds, ctime.nanoseconds + 20_000_000)
    }
}

/// One file of a row.
#[derive(Debug)]
struct File {
    name: Vec<u8>,
    signature: Vec<u8>,
    node: Vec<u8>,
}

/// One file of a row that was read: where its parts are in the row's bytes.
#[derive(Debug)]
struct FileAt {
    name: Range<usize>,
    signature: Range<usize>,
    node: Range<usize>,
}

/// One row that was read.
#[derive(Debug, Default)]
struct Part {
    plain: Vec<u8>,
    /// Parts of the directory, in the first one.
    parts: u32,
    /// Files of the directory, in the first part.
    total: usize,
    /// First names of all parts, in the first part.
    firsts: Vec<Vec<u8>>,
    run: RowKey,
    files: Vec<FileAt>,
    bytes: usize,
}

impl Part {
    fn name(&self, file: &FileAt) -> &[u8] {
        &self.plain[file.name.clone()]
    }

    /// The encoded node of a file, if it has this signature.
    fn node(&self, name: &[u8], signature: &[u8]) -> Option<&[u8]> {
        let by_name = |file: &FileAt| self.name(file).cmp(name);
        let file = &self.files[self.files.binary_search_by(by_name).ok()?];
        (&self.plain[file.signature.clone()] == signature).then(|| &self.plain[file.node.clone()])
    }
}

/// The files of a directory as they are seen in this run. Of a large one only the first part and the present one are held.
pub(super) struct DirectoryRecord {
    /// The first part, once it is complete.
    first: Vec<File>,
    /// The present part.
    files: Vec<File>,
    /// First names of the complete parts.
    firsts: Vec<Vec<u8>>,
    /// Files of the complete parts, and how many of these were taken over.
    complete: usize,
    complete_reused: usize,
    enabled: bool,
    /// How many were taken over from the last run.
    pub(super) reused: usize,
}

impl DirectoryRecord {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            first: Vec::new(),
            files: Vec::new(),
            firsts: Vec::new(),
            complete: 0,
            complete_reused: 0,
            enabled,
            reused: 0,
        }
    }
}

/// The known files of one source.
pub(super) struct KnownFiles {
    repository: Arc<Repository>,
    homes: Arc<Homes>,
    source: Vec<u8>,
    run: RowKey,
    begun: Time,
    /// [`Catalog::removals`](crate::catalog::Catalog::removals) when the run began: what went meanwhile may be missing.
    removals: Option<u64>,
    runs: Mutex<HashMap<RowKey, bool>>,
    cache: Mutex<Cache>,
    /// The directories that were asked for last, and the keys of their rows: files come directory by directory.
    keys: Mutex<VecDeque<(Vec<u8>, RowKey)>>,
    rows: Mutex<Vec<Row>>,
}

#[derive(Default)]
struct Cache {
    parts: HashMap<(RowKey, u32), Option<Arc<Part>>>,
    order: VecDeque<(RowKey, u32)>,
    bytes: usize,
}

impl KnownFiles {
    /// The known files of the source called `source` (an absolute path); the run began at `begun`.
    pub(super) fn new(
        repository: &Arc<Repository>,
        homes: &Arc<Homes>,
        source: &[u8],
        begun: Time,
    ) -> Self {
        let mut nonce = b"run\0".to_vec();
        nonce.extend_from_slice(source);
        put_zigzag(&mut nonce, begun.seconds);
        put_varint(&mut nonce, u64::from(begun.nanoseconds));
        Self {
            run: row_key(repository, &nonce),
            repository: Arc::clone(repository),
            homes: Arc::clone(homes),
            source: source.to_vec(),
            begun,
            removals: repository.catalog().removals().ok(),
            runs: Mutex::default(),
            cache: Mutex::default(),
            keys: Mutex::default(),
            rows: Mutex::default(),
        }
    }

    /// The node that a file had when it was last read, if it is the same file still and its content is stored.
    pub(super) fn find(&self, entry: &Entry) -> Option<Node> {
        let part = self.part_of(entry)?;
        let node = part.node(entry.path.name(), &signature(entry)?)?;
        let node = Node::decode(node).ok()?;
        (self.is_committed(part.run) || self.is_stored(&node)).then_some(node)
    }

    /// The row that a file is in, if it is in one.
    fn part_of(&self, entry: &Entry) -> Option<Arc<Part>> {
        let key = self.directory_key(entry.path.parent_bytes()?);
        let name = entry.path.name();
        let first = self.part(key, 0)?;
        let index = match first.firsts.partition_point(|f| f.as_slice() <= name) {
            0 => return None,
            n => u32::try_from(n - 1).ok()?,
        };
        if index == 0 {
            Some(first)
        } else {
            self.part(key, index)
        }
    }

    fn is_committed(&self, run: RowKey) -> bool {
        if !self.homes.is_clear() {
            return false;
        }
        if let Some(known) = lock(&self.runs).get(&run) {
            return *known;
        }
        let catalog = self.repository.catalog();
        let committed = match (catalog.known(&run, 0), catalog.removals()) {
            (Ok(Some(value)), Ok(removals)) => value == removals.to_le_bytes(),
            _ => false,
        };
        lock(&self.runs).insert(run, committed);
        committed
    }

    fn is_stored(&self, node: &Node) -> bool {
        let Body::File { content, .. } = &node.body else {
            return false;
        };
        content.iter().all(|item| match item {
            Item::Data { id, .. } => self.homes.has(&id.shorten()).unwrap_or(false),
            Item::Hole(_) | Item::Zeros(_) => true,
            Item::List { .. } => false,
        })
    }

    /// Notes a file for the next run.
    pub(super) fn record(
        &self,
        record: &mut DirectoryRecord,
        entry: &Entry,
        encoded: &[u8],
    ) -> Result<()> {
        let (Some(signature), Some(stat)) = (signature(entry), entry.stat) else {
            return Ok(());
        };
        if !record.enabled || settled(stat.ctime) >= self.begun {
            return Ok(());
        }
        // Only now: whether the last file was taken over is said after it was noted.
        if record.files.len() == PART_FILES {
            let key = self.directory_key(entry.path.parent_bytes().unwrap_or_default());
            self.complete_part(&key, record)?;
        }
        let name = entry.path.name().to_vec();
        record.files.push(File {
            name,
            signature,
            node: encoded.to_vec(),
        });
        Ok(())
    }

    /// The present part of a directory has all its files: it is written, unless it is the first, which tells of all others.
    fn complete_part(&self, key: &RowKey, record: &mut DirectoryRecord) -> Result<()> {
        let files = std::mem::take(&mut record.files);
        let (Some(first), Some(last)) = (files.first(), files.last()) else {
            return Ok(());
        };
        let index = u32::try_from(record.firsts.len())
            .map_err(|_| Error::invalid("too many files in one directory"))?;
        let reused = record.reused - record.complete_reused;
        record.firsts.push(first.name.clone());
        record.complete += files.len();
        record.complete_reused = record.reused;
        if index == 0 {
            record.first = files;
            return Ok(());
        }
        // As many of the same files, between the same two: the same files.
        let unchanged = reused == files.len()
            && self.part(*key, index).is_some_and(|before| {
                let name = |file| before.name(file);
                let ends = (before.files.first(), before.files.last());
                before.files.len() == files.len()
                    && ends.0.map(name) == Some(&first.name)
                    && ends.1.map(name) == Some(&last.name)
                    && self.is_committed(before.run)
            });
        if unchanged {
            return Ok(());
        }
        self.put_part(key, index, 0, &[], &files)
    }

    /// Writes the row of a directory that is complete, if it differs from what the catalog has.
    pub(super) fn keep(&self, path: &EntryPath, mut record: DirectoryRecord) -> Result<()> {
        let key = self.directory_key(path.as_bytes());
        let before = self.part(key, 0);
        self.complete_part(&key, &mut record)?;
        let unchanged = before.as_ref().is_some_and(|part| {
            part.total == record.complete
                && record.reused == record.complete
                && self.is_committed(part.run)
        });
        if unchanged || (before.is_none() && record.complete == 0) {
            return Ok(());
        }
        self.put_part(&key, 0, record.complete, &record.firsts, &record.first)
    }

    fn put_part(
        &self,
        key: &RowKey,
        index: u32,
        total: usize,
        firsts: &[Vec<u8>],
        files: &[File],
    ) -> Result<()> {
        let mut plain = self.run.to_vec();
        put_varint(&mut plain, firsts.len() as u64);
        put_varint(&mut plain, total as u64);
        for first in firsts {
            put_bytes(&mut plain, first);
        }
        for file in files {
            put_bytes(&mut plain, &file.name);
            put_bytes(&mut plain, &file.signature);
            put_bytes(&mut plain, &file.node);
        }
        let sealed = self
            .repository
            .catalog_key()
            .seal(&context(key, index), &plain)
            .map_err(|e| Error::caused(e.class(), "seal a catalog row", e))?;
        let mut pending = lock(&self.rows);
        pending.push((*key, index, sealed));
        let bytes: usize = pending.iter().map(|(_, _, row)| row.len()).sum();
        if pending.len() >= WRITE_ROWS || bytes >= WRITE_BYTES {
            put_rows(&self.repository, &mut pending)?;
        }
        Ok(())
    }

    /// The run is committed: what it recorded may be believed.
    pub(super) fn commit(&self) -> Result<()> {
        let mut rows = lock(&self.rows);
        if let Some(removals) = self.removals {
            rows.push((self.run, 0, removals.to_le_bytes().to_vec()));
        }
        put_rows(&self.repository, &mut rows)
    }

    fn directory_key(&self, path: &[u8]) -> RowKey {
        let mut keys = lock(&self.keys);
        if let Some((_, key)) = keys.iter().find(|(known, _)| known == path) {
            return *key;
        }
        let mut name = b"directory\0".to_vec();
        put_bytes(&mut name, &self.source);
        name.extend_from_slice(path);
        let key = row_key(&self.repository, &name);
        keys.truncate(KEPT_KEYS - 1);
        keys.push_front((path.to_vec(), key));
        key
    }

    fn part(&self, key: RowKey, index: u32) -> Option<Arc<Part>> {
        if let Some(part) = lock(&self.cache).parts.get(&(key, index)) {
            return part.clone();
        }
        let part = self.load(key, index).map(Arc::new);
        let mut cache = lock(&self.cache);
        if let Some(other) = cache.parts.get(&(key, index)) {
            // Another thread was faster: counted twice, it would shrink the cache to nothing.
            return other.clone();
        }
        cache.bytes += part.as_ref().map_or(64, |p| p.bytes);
        cache.parts.insert((key, index), part.clone());
        cache.order.push_back((key, index));
        while cache.bytes > CACHE_BYTES && cache.order.len() > 1 {
            let Some(oldest) = cache.order.pop_front() else {
                break;
            };
            if let Some(dropped) = cache.parts.remove(&oldest) {
                cache.bytes -= dropped.map_or(64, |p| p.bytes);
            }
        }
        part
    }

    /// A row that cannot be read is no row: the file is read instead.
    fn load(&self, key: RowKey, index: u32) -> Option<Part> {
        let sealed = self.repository.catalog().known(&key, index).ok()??;
        let plain = self
            .repository
            .catalog_key()
            .open(&context(&key, index), &sealed)
            .ok()?;
        decode_part(plain).ok()
    }
}

impl Known for KnownFiles {
    fn unchanged(&self, entry: &Entry) -> bool {
        if !entry.is_file() {
            return false;
        }
        let Some(part) = self.part_of(entry) else {
            return false;
        };
        if !self.is_committed(part.run) {
            return self.find(entry).is_some();
        }
        signature(entry).is_some_and(|signature| {
            let node = part.node(entry.path.name(), &signature);
            node.is_some()
        })
    }
}

fn decode_part(plain: Vec<u8>) -> Result<Part, DecodeError> {
    let mut cursor = Cursor::new(&plain);
    let mut part = Part {
        run: cursor.array("run")?,
        ..Part::default()
    };
    part.parts = cursor.varint_u32("parts")?;
    part.total = cursor.bounded(usize::MAX, "files")?;
    for _ in 0..part.parts {
        part.firsts.push(cursor.bytes(255, "first name")?.to_vec());
    }
    while !cursor.is_empty() {
        let mut take = |limit, what| {
            let len = cursor.bytes(limit, what)?.len();
            let end = plain.len() - cursor.remaining();
            Ok(end - len..end)
        };
        part.files.push(FileAt {
            name: take(255, "name")?,
            signature: take(64, "signature")?,
            node: take(MAX_NODE_BYTES, "node")?,
        });
    }
    part.bytes = plain.capacity() + part.files.capacity() * size_of::<FileAt>();
    part.plain = plain;
    Ok(part)
}

/// Stores rows, sorted, which is several times faster than not.
fn put_rows(repository: &Repository, rows: &mut Vec<Row>) -> Result<()> {
    rows.sort_unstable();
    let borrowed: Vec<_> = rows
        .iter()
        .map(|(key, part, value)| (key, *part, value.as_slice()))
        .collect();
    repository.catalog().put_known(&borrowed)?;
    rows.clear();
    Ok(())
}

fn context(key: &RowKey, index: u32) -> [u8; 20] {
    let mut context = [0; 20];
    context[..16].copy_from_slice(key);
    context[16..].copy_from_slice(&index.to_le_bytes());
    context
}

fn row_key(repository: &Repository, name: &[u8]) -> RowKey {
    let mut key = [0; 16];
    key.copy_from_slice(&repository.catalog_key().name(name)[..16]);
    key
}
