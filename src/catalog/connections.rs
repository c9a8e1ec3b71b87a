//! The connections of one open catalog: one writer, a few readers, and what SQLite's errors mean to callers.
//!
//! Where the file cannot be written any more (a full disk, a medium that became read-only), what is in it is copied to memory, and the
//! process goes on there: the file stays as it is, and whoever opens it next catches up from the repository.
//!
//! All connections are opened together, so that they all see the same file even if another process replaces the
//! catalog later. Nobody holds a connection while calling back into other code, so waiting for one always ends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::open::OpenFile;
use super::schema;
use crate::error::{Class, Error, Result};

/// How long the second of two that rebuild one catalog waits for the first.
const LOAD_PATIENCE: Duration = Duration::from_mins(15);

/// Why a transaction was given up.
pub(super) enum Stopped {
    Sql(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// One writer, readers, and whether damage was seen.
#[derive(Debug)]
pub(super) struct Connections {
    writer: Mutex<Connection>,
    /// Empty for a catalog in memory, where the writer does both.
    readers: Mutex<Vec<Connection>>,
    returned: Condvar,
    file: Option<OpenFile>,
    damaged: AtomicBool,
    /// The writer is in memory, and so is what must be read.
    in_memory: AtomicBool,
    /// Why it moved there, until somebody asks.
    moved: Mutex<Option<String>>,
}

/// Pages that are copied to memory at a time.
const COPY_PAGES: std::ffi::c_int = 4096;

impl Connections {
    /// Around open connections; no readers and no file means that it is in memory.
    pub(super) fn new(
        writer: Connection,
        readers: Vec<Connection>,
        file: Option<OpenFile>,
    ) -> Self {
        Self {
            writer: Mutex::new(writer),
            readers: Mutex::new(readers),
            returned: Condvar::new(),
            in_memory: AtomicBool::new(file.is_none()),
            file,
            damaged: AtomicBool::new(false),
            moved: Mutex::default(),
        }
    }

    /// Runs `work` on a reader. It must not call back into the catalog.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        if self.in_memory() {
            return work(&self.writer()).map_err(|e| self.failed(&e));
        }
        let lease = self.lease();
        let result = match &lease.connection {
            Some(connection) => work(connection),
            None => Err(rusqlite::Error::InvalidQuery),
        };
        result.map_err(|e| self.failed(&e))
    }

    /// Runs `work` in one write transaction, which is committed if it succeeds and undone if not; once more in memory if the file
    /// cannot be written.
    pub(super) fn write<T>(
        &self,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut writer = self.writer();
        let run = |writer: &mut Connection| {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        match run(&mut writer) {
            Err(error) if is_unwritable(&error) && !self.in_memory() => {
                self.move_to_memory(&mut writer, &error)?;
                run(&mut writer)
            }
            result => result,
        }
        .map_err(|e| self.failed(&e))
    }

    /// Goes on with a copy in memory. If that cannot be made either, the first error is what counts.
    fn move_to_memory(&self, writer: &mut Connection, why: &rusqlite::Error) -> Result<()> {
        let copy = || {
            let mut memory = Connection::open_in_memory()?;
            schema::configure(&memory, super::open::WRITER_CACHE_KIB)?;
            Backup::new(writer, &mut memory)?.run_to_completion(
                COPY_PAGES,
                Duration::ZERO,
                None,
            )?;
            Ok(memory)
        };
        *writer = copy().map_err(|_: rusqlite::Error| self.failed(why))?;
        self.in_memory.store(true, Ordering::Release);
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(format!("{}: {why}", self.name()));
        Ok(())
    }

    /// Why it moved to memory; once.
    pub(super) fn take_moved(&self) -> Option<String> {
        self.moved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The same for work that does other things than SQL as well, and perhaps for long. Who comes second waits longer than for a small write:
    /// the first does what it would do. If the file cannot be written, the catalog is in memory afterwards ([`Connections::in_memory`]) and the work
    /// has to be done again.
    pub(super) fn load<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Stopped>,
    ) -> Result<T> {
        let mut writer = self.writer();
        let run = || {
            writer.busy_timeout(LOAD_PATIENCE)?;
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.busy_timeout(schema::PATIENCE)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        match run() {
            Ok(value) => Ok(value),
            Err(Stopped::Other(e)) => Err(e),
            Err(Stopped::Sql(e)) => {
                if is_unwritable(&e) && !self.in_memory() {
                    self.move_to_memory(&mut writer, &e)?;
                }
                Err(self.failed(&e))
            }
        }
    }

    /// Runs `work` on a reader in one transaction: many small statements take the file's locks only once.
    pub(super) fn read_at_once<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.read(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let value = work(&transaction)?;
            transaction.finish()?;
            Ok(value)
        })
    }

    /// Where the catalog is; nothing if it is in memory.
    pub(super) fn file(&self) -> Option<&Path> {
        let file = self.file.as_ref().filter(|_| !self.in_memory());
        file.map(OpenFile::path)
    }

    /// Whether the catalog is in memory, from the beginning or because its file could not be written.
    pub(super) fn in_memory(&self) -> bool {
        self.in_memory.load(Ordering::Acquire)
    }

    /// What was put beside the catalog a moment ago is not what it was.
    pub(super) fn lost_scratch(&self) -> Error {
        Error::new(
            Class::Io,
            format!(
                "a scratch file beside the catalog {} was damaged: run again",
                self.name()
            ),
        )
    }

    /// Whether an operation met damage. The next opening replaces the file.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// A row whose checksum is wrong, or that cannot be what it says.
    pub(super) fn damaged_row(&self) -> Error {
        if !self.damaged.swap(true, Ordering::Relaxed)
            && let Some(file) = &self.file
        {
            file.retire();
        }
        self.damage()
    }

    fn damage(&self) -> Error {
        Error::new(
            Class::Io,
            format!(
                "the catalog {} was damaged and is dropped: run again, it will be rebuilt from the repository",
                self.name()
            ),
        )
    }

    /// What an error of SQLite means. Damage is no [`Class::Corrupt`]: the repository is not hurt.
    fn failed(&self, error: &rusqlite::Error) -> Error {
        if is_damage(error) {
            return self.damaged_row();
        }
        let class = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Class::Busy,
            Some(ErrorCode::DiskFull) => Class::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Class::Denied,
            _ => Class::Io,
        };
        Error::new(class, format!("catalog {}: {error}", self.name()))
    }

    fn name(&self) -> String {
        match &self.file {
            Some(file) => file.path().display().to_string(),
            None => "in memory".to_owned(),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(&self) -> Lease<'_> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut readers = self
            .returned
            .wait_while(readers, |readers| readers.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        Lease {
            connection: readers.pop(),
            of: self,
        }
    }
}

/// A reader that goes back when dropped, also by a panic.
struct Lease<'a> {
    connection: Option<Connection>,
    of: &'a Connections,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut readers = self
            .of
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        readers.extend(self.connection.take());
        self.of.returned.notify_one();
    }
}

/// Whether an error says that nothing can be written to the file.
fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
        )
    )
}

/// Whether an error says that the file is no sound catalog.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(cause, _) => matches!(
            cause.code,
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::Unknown
        ),
        // Tables or columns that are not as they were made.
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..)
        | E::InvalidColumnType(..)
        | E::InvalidColumnIndex(_)
        | E::SqlInputError { .. } => true,
        _ => false,
    }
}
