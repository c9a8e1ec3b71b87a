//! The tables, and the version that says which tables they are.

use rusqlite::Connection;

/// Written to `user_version`. A catalog of another version is replaced, not migrated: it is derived data.
pub(super) const VERSION: i64 = 3;
/// Written to `application_id`: "repo".
pub(super) const APPLICATION: i64 = 0x7265_706f;

/// A chunk may have several homes; one of them is used. All are kept, because any may be pruned.
/// `place` is `chunks::Place`, `blocks` is `packs::encode_blocks`: both end in a checksum over the whole row.
/// `listings` says which index objects name which packs, also packs that are gone: who removes packs must find those, and a pack that
/// is gone was pruned if none names it, and lost if one does. An index object is `whole` once all that it lists was taken in.
/// Pack numbers are never used again (AUTOINCREMENT), so what another process cached under one cannot become wrong.
pub(super) const TABLES: &str = "
CREATE TABLE packs (
    no INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    blocks BLOB NOT NULL
) STRICT;
CREATE TABLE chunks (
    id BLOB NOT NULL,
    pack_no INTEGER NOT NULL,
    place BLOB NOT NULL,
    PRIMARY KEY (id, pack_no)
) STRICT, WITHOUT ROWID;
CREATE TABLE index_objects (id BLOB PRIMARY KEY, whole INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE listings (
    pack_id BLOB NOT NULL,
    index_id BLOB NOT NULL,
    PRIMARY KEY (pack_id, index_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots (id BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
CREATE TABLE known (
    key BLOB NOT NULL,
    part INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (key, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE state (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO state VALUES ('removals', 0);
";

/// Empties every table but keeps whose catalog it is, and the count of removals.
pub(super) const CLEAR: &str = "
DELETE FROM packs;
DELETE FROM chunks;
DELETE FROM index_objects;
DELETE FROM listings;
DELETE FROM snapshots;
DELETE FROM known;
UPDATE state SET value = value + 1 WHERE name = 'removals';
";

/// How long a write waits for another one.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// Settings of every connection.
pub(super) fn configure(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(48);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "cell_size_check", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}
