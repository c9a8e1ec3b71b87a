//! Opening a catalog, and replacing what cannot be used.
//!
//! Everything here happens under a lock beside the file, so that two processes never judge or replace at once. Files
//! are unlinked, not emptied: a process that has the old one open goes on with it undisturbed until it ends.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use rustix::fs::FlockOperation;

use super::connections::Connections;
use super::pack_row::PackCache;
use super::{Catalog, CatalogPlace, Opened, schema};
use crate::error::{Class, Error, Result};
use crate::id::RepositoryId;

/// Connections that read, beside the one that writes.
const READERS: usize = 4;
/// Page cache of the writer; it sorts whole packs into the tree.
pub(super) const WRITER_CACHE_KIB: i64 = 16 << 10;
/// Page cache of each reader; the kernel caches the rest.
const READER_CACHE_KIB: i64 = 4 << 10;
/// Pages that the log gathers before they are copied into the database: 32 MiB.
const LOG_PAGES: i64 = 8192;
/// The lock is held for milliseconds; this long means that its holder is stopped.
const LOCK_TRIES: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl Catalog {
    /// The catalog of `repository` at `place`, and what was found there. Fails only when another process blocks it.
    pub fn open(place: &CatalogPlace, repository: RepositoryId) -> Result<(Self, Opened)> {
        let file = match place {
            CatalogPlace::Memory => return Ok((in_memory(repository)?, Opened::Fresh)),
            CatalogPlace::File(file) => file,
        };
        match open_file(file, repository) {
            Ok((connections, opened)) => Ok((of(connections), opened)),
            Err(Failure::Blocked(error)) => Err(error),
            Err(Failure::Unusable(reason)) => {
                Ok((in_memory(repository)?, Opened::InMemory(reason)))
            }
        }
    }
}

fn of(connections: Connections) -> Catalog {
    Catalog {
        connections,
        packs: PackCache::default(),
    }
}

fn in_memory(repository: RepositoryId) -> Result<Catalog> {
    let make = || {
        let mut connection = Connection::open_in_memory()?;
        schema::configure(&connection, WRITER_CACHE_KIB)?;
        create(&mut connection, repository)?;
        Ok(connection)
    };
    let connection =
        make().map_err(|e: rusqlite::Error| Error::caused(Class::Io, "catalog in memory", e))?;
    Ok(of(Connections::new(connection, Vec::new(), None)))
}

/// Why a file gives no catalog.
enum Failure {
    /// Another process holds it.
    Blocked(Error),
    /// The place cannot be used.
    Unusable(String),
}

/// Why a file that is there is not the catalog wanted.
enum Unfit {
    /// It can be replaced.
    Replace(String),
    Failure(Failure),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                Self::Failure(Failure::Blocked(Error::caused(
                    Class::Busy,
                    "another process has been writing to the catalog for long",
                    error,
                )))
            }
            Some(Code::CannotOpen | Code::SystemIoFailure | Code::DiskFull) => {
                Self::Failure(Failure::Unusable(error.to_string()))
            }
            // Anything else comes from what is in the file: the place itself was written to a moment ago.
            _ => Self::Replace(format!("it was damaged ({error})")),
        }
    }
}

fn open_file(path: &Path, repository: RepositoryId) -> Result<(Connections, Opened), Failure> {
    let unusable = |e: io::Error| Failure::Unusable(format!("{}: {e}", path.display()));
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(unusable)?;
    }
    let _lock = lock(path)?;
    let fresh = create_empty(path).map_err(unusable)?;
    let connect = || {
        connect(path, repository).map_err(|unfit| match unfit {
            Unfit::Failure(Failure::Unusable(reason)) => {
                let space = if is_full(path) {
                    "; no space is left there"
                } else {
                    ""
                };
                let reason = format!("{}: {reason}{space}", path.display());
                Unfit::Failure(Failure::Unusable(reason))
            }
            other => other,
        })
    };
    match connect() {
        Ok(connections) if fresh => Ok((connections, Opened::Fresh)),
        Ok(connections) => Ok((connections, Opened::Existing)),
        Err(Unfit::Failure(failure)) => Err(failure),
        Err(Unfit::Replace(reason)) => {
            remove(path).map_err(unusable)?;
            create_empty(path).map_err(unusable)?;
            match connect() {
                Ok(connections) => Ok((connections, Opened::Replaced(reason))),
                Err(Unfit::Failure(failure)) => Err(failure),
                Err(Unfit::Replace(reason)) => Err(Failure::Unusable(reason)),
            }
        }
    }
}

/// Whether the place has no space or no inodes left: SQLite does not say why it cannot do something.
fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path)
        .is_ok_and(|now| now.f_bavail < 16 || now.f_ffree == 0 && now.f_files > 0)
}

/// Makes the file, for this user only: SQLite would make it by the umask. True if it was not there or is empty.
fn create_empty(path: &Path) -> io::Result<bool> {
    if !path.exists() {
        // A log without its database would be replayed into the new one.
        remove(path)?;
    }
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.metadata()?.len() == 0)
}

/// All connections to a sound catalog of this repository.
fn connect(path: &Path, repository: RepositoryId) -> Result<Connections, Unfit> {
    let mut writer = connection(path, WRITER_CACHE_KIB)?;
    writer.pragma_update(None, "journal_mode", "WAL")?;
    // Chunks scatter over the whole table: with few checkpoints a page that changed often is copied over once.
    writer.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    writer.pragma_update(None, "journal_size_limit", LOG_PAGES * 4096)?;
    let version: i64 = writer.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 =
        writer.query_one("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables == 0 {
        create(&mut writer, repository)?;
    } else {
        judge(&writer, version, repository)?;
    }
    let readers = (0..READERS)
        .map(|_| connection(path, READER_CACHE_KIB))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let file = OpenFile::at(path).map_err(|e| Unfit::Failure(Failure::Unusable(e.to_string())))?;
    Ok(Connections::new(writer, readers, Some(file)))
}

fn connection(path: &Path, cache_kib: i64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    schema::configure(&connection, cache_kib)?;
    Ok(connection)
}

/// Makes the tables, all or none.
fn create(connection: &mut Connection, repository: RepositoryId) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(schema::TABLES)?;
    transaction.execute(
        "INSERT INTO state VALUES ('repository', ?1)",
        [&repository.as_bytes()[..]],
    )?;
    transaction.pragma_update(None, "application_id", schema::APPLICATION)?;
    transaction.pragma_update(None, "user_version", schema::VERSION)?;
    transaction.commit()
}

/// Whether a file with tables is a catalog of this version and repository.
fn judge(connection: &Connection, version: i64, repository: RepositoryId) -> Result<(), Unfit> {
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    if application != schema::APPLICATION || version != schema::VERSION {
        return Err(Unfit::Replace(
            "another version of the program made it".to_owned(),
        ));
    }
    let owner: Option<Vec<u8>> = connection
        .query_row(
            "SELECT value FROM state WHERE name = 'repository'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    if owner.as_deref() != Some(&repository.as_bytes()[..]) {
        return Err(Unfit::Replace(
            "it belonged to another repository".to_owned(),
        ));
    }
    // One look at every table finds missing ones and broken roots; deeper damage shows when it is met.
    for table in [
        "packs",
        "chunks",
        "index_objects",
        "listings",
        "snapshots",
        "known",
    ] {
        let one = format!("SELECT 1 FROM {table} LIMIT 1");
        connection.query_row(&one, [], |_| Ok(())).optional()?;
    }
    Ok(())
}

/// The lock under which catalogs are opened and replaced.
fn lock(path: &Path) -> Result<File, Failure> {
    let unusable = |e: io::Error| Failure::Unusable(format!("{}: {e}", path.display()));
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, "-lock"))
        .map_err(unusable)?;
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            // Without locks on this file system SQLite has none either; go on.
            _ => return Ok(file),
        }
    }
    Err(Failure::Blocked(Error::new(
        Class::Busy,
        format!(
            "another process has been opening the catalog {} for long",
            path.display()
        ),
    )))
}

/// A catalog's file as it was opened: another process may put a new one in its place.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl OpenFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            device_and_inode: device_and_inode(path)?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Drops the file, in which damage was met, so that the next opening makes a new one; unless that was done already.
    /// What fails here is met again there.
    pub(super) fn retire(&self) {
        let Ok(_lock) = lock(&self.path) else {
            return;
        };
        if device_and_inode(&self.path).is_ok_and(|now| now == self.device_and_inode) {
            drop(remove(&self.path));
        }
    }
}

fn device_and_inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn remove(path: &Path) -> io::Result<()> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
