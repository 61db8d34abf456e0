//! The file of the disk store: an SQLite database with one table of numbered rows, which are appended at the end and
//! deleted from the front.
//!
//! Opens it for one process, with a write-ahead log and an fsync for each transaction (another process may read it, for a
//! backup), recognises files of other programs, and maps SQLite's errors. Must not know what the octets mean: see
//! `journal.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction};

use super::setup::{configure, create_if_missing, failure, lock, with_suffix};
use super::snapshot::{FileSnapshots, FileStatus};
use super::{StoreError, wal};

/// An open, locked store file.
pub(crate) struct File {
    connection: Connection,
    path: PathBuf,
    /// The files as this program last wrote them; `None` before [`start_writing`](Self::start_writing).
    snapshots: Option<FileSnapshots>,
    /// Locked while the file is open for writing. An exclusive lock of SQLite would prevent backups as well.
    _lock: Option<fs::File>,
}

impl File {
    /// Opens the file, or creates it and its parent folders. A file of another program is left unchanged.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        create_if_missing(path)?;
        let lock = lock(path)?;
        let whole = wal::is_whole(&with_suffix(path, "-wal"));
        if !whole.map_err(|error| StoreError::Io { path: path.to_owned(), kind: error.kind() })? {
            return Err(StoreError::Corrupt { path: path.to_owned() });
        }
        // Each connection is used by one thread at a time, so SQLite needs no mutexes.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |error: rusqlite::Error| failure(&error, path);
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        configure(&connection).map_err(fail)?;
        let file = Self { connection, path: path.to_owned(), snapshots: None, _lock: Some(lock) };
        match file.kind()? {
            Kind::Store | Kind::Format1 => {}
            Kind::Empty => {
                file.connection.execute_batch(&format!("BEGIN EXCLUSIVE; {} COMMIT;", schema())).map_err(fail)?;
            }
            Kind::Foreign => return Err(StoreError::NotAStore { path: path.to_owned() }),
        }
        // Taking the write lock shows whether the file and its folder are writable.
        file.connection.execute_batch("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; COMMIT;").map_err(fail)?;
        Ok(file)
    }

    /// Opens a file for reading. A server may be using it.
    pub(crate) fn read_only(path: &Path) -> Result<Self, StoreError> {
        let fail = |error: rusqlite::Error| failure(&error, path);
        // Read-write, because SQLite has to write to the `-shm` file to read a log that is in use.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        configure(&connection).map_err(fail)?;
        let file = Self { connection, path: path.to_owned(), snapshots: None, _lock: None };
        match file.kind()? {
            Kind::Store | Kind::Format1 => Ok(file),
            Kind::Empty | Kind::Foreign => Err(StoreError::NotAStore { path: path.to_owned() }),
        }
    }

    /// Writes all committed rows to a new file.
    pub(crate) fn copy(&self, to: &Path) -> Result<(), StoreError> {
        let Some(name) = to.to_str() else {
            return Err(StoreError::Io { path: to.to_owned(), kind: io::ErrorKind::InvalidFilename });
        };
        self.connection.execute("VACUUM INTO ?1", (name,)).map(drop).map_err(|error| self.failure(&error))
    }

    /// Writes the first transaction of this run: how far the machine's clock is ahead of the store's time. It shows that the
    /// file can be written; opening alone would succeed on a full disk. After that [`check`](Self::check) compares the
    /// files.
    pub(crate) fn start_writing(&mut self, ahead: i64) -> Result<(), StoreError> {
        self.transaction(|rows| {
            let created = rows.transaction.execute_batch(CLOCK);
            created.map_err(|error| rows.failure(&error))?;
            rows.set_ahead(ahead)
        })?;
        let data = ["", "-wal"].map(|suffix| with_suffix(&self.path, suffix));
        let others = ["-shm", "-lock"].map(|suffix| with_suffix(&self.path, suffix));
        let snapshots = FileSnapshots::of(&data, &others).map_err(|_| StoreError::Lost { path: self.path.clone() })?;
        self.snapshots = Some(snapshots);
        Ok(())
    }

    /// Milliseconds by which the machine's clock was ahead of the store's time, as last written.
    pub(crate) fn ahead(&self) -> Result<i64, StoreError> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'clock'";
        let number = |sql: &str| self.connection.query_row(sql, (), |row| row.get::<_, i64>(0));
        let tables = number(sql).map_err(|error| self.failure(&error))?;
        if tables == 0 {
            return Ok(0);
        }
        number("SELECT coalesce(sum(ahead), 0) FROM clock").map_err(|error| self.failure(&error))
    }

    /// Checks that the files are still those that were opened. If another program has modified them, `verify` decides.
    pub(crate) fn check(&mut self, verify: impl FnOnce(&Path) -> bool) -> Result<(), StoreError> {
        let good = match self.snapshots.as_ref().map_or(FileStatus::Unchanged, FileSnapshots::status) {
            FileStatus::Unchanged => true,
            FileStatus::Modified => verify(&self.path) && self.update_snapshots(),
            FileStatus::Lost => false,
        };
        if good { Ok(()) } else { Err(StoreError::Lost { path: self.path.clone() }) }
    }

    fn update_snapshots(&mut self) -> bool {
        self.snapshots.as_mut().is_none_or(FileSnapshots::update)
    }

    /// Calls `visit` with every row, the latest first.
    pub(crate) fn for_each_row(
        &self,
        mut visit: impl FnMut(i64, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.query("SELECT id, records FROM journal ORDER BY id DESC", |id, records| match (id, records) {
            (ValueRef::Integer(id), ValueRef::Blob(records)) => visit(id, records),
            _ => Err(self.corrupt()),
        })
    }

    /// The latest row, if there is one.
    pub(crate) fn last_row(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT records FROM journal ORDER BY id DESC LIMIT 1";
        let row = self.connection.query_row(sql, (), |row| row.get(0)).optional();
        row.map_err(|error| self.failure(&error))
    }

    /// Checks the integrity of SQLite's B-trees. Otherwise a row lost by a damaged page would not be noticed.
    pub(crate) fn quick_check(&self) -> Result<(), StoreError> {
        let result = self.connection.query_row("PRAGMA quick_check(1)", (), |row| row.get::<_, String>(0));
        if result.map_err(|error| self.failure(&error))? == "ok" { Ok(()) } else { Err(self.corrupt()) }
    }

    /// Whether it is a file of format 1, which has one row for each address of record.
    pub(crate) fn is_format1(&self) -> Result<bool, StoreError> {
        Ok(matches!(self.kind()?, Kind::Format1))
    }

    /// Calls `visit` with every address of record and its record in a file of format 1.
    pub(crate) fn for_each_format1(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.query("SELECT aor, record FROM location", |aor, record| match (aor, record) {
            (ValueRef::Blob(aor), ValueRef::Blob(record)) => visit(aor, record),
            _ => Err(self.corrupt()),
        })
    }

    /// Converts a file of format 1 to the current format, with the rows of `fill`, in one transaction.
    pub(crate) fn migrate(&mut self, fill: impl FnOnce(&Rows<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.transaction(|rows| {
            let sql = format!("DROP TABLE location; {}", schema());
            rows.transaction.execute_batch(&sql).map_err(|error| rows.failure(&error))?;
            fill(rows)
        })
    }

    /// Runs `fill` in one transaction, which is durable when this returns. After an error nothing of it is in the file,
    /// and the next transaction is independent of it.
    pub(crate) fn transaction(
        &mut self,
        fill: impl FnOnce(&Rows<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = &self.path;
        let fail = |error| failure(&error, path);
        let transaction = self.connection.transaction().map_err(fail)?;
        fill(&Rows { transaction: &transaction, path })?;
        transaction.commit().map_err(fail)
    }

    /// Checks after a transaction that it was written to the files that were opened.
    pub(crate) fn confirm_written(&mut self) -> Result<(), StoreError> {
        if self.update_snapshots() { Ok(()) } else { Err(StoreError::Lost { path: self.path.clone() }) }
    }

    /// Lets SQLite checkpoint the log when the file is closed. Called after the file was found undamaged.
    pub(crate) fn allow_checkpoint_on_close(&self) -> Result<(), StoreError> {
        let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        set.map(drop).map_err(|error| self.failure(&error))
    }

    /// Length in octets, 0 if unknown.
    pub(crate) fn len(&self) -> usize {
        fs::metadata(&self.path).map_or(0, |file| file.len()).try_into().unwrap_or(0)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn corrupt(&self) -> StoreError {
        StoreError::Corrupt { path: self.path.clone() }
    }

    /// Simulates a full disk: limits the file to this many pages.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        self.connection.execute_batch(&format!("PRAGMA max_page_count={pages}")).unwrap();
    }

    fn query(
        &self,
        sql: &str,
        mut visit: impl FnMut(ValueRef<'_>, ValueRef<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let fail = |error| self.failure(&error);
        let mut statement = self.connection.prepare(sql).map_err(fail)?;
        let mut rows = statement.query(()).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            visit(row.get_ref(0).map_err(fail)?, row.get_ref(1).map_err(fail)?)?;
        }
        Ok(())
    }

    fn kind(&self) -> Result<Kind, StoreError> {
        let number = |sql: &str| {
            self.connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(|error| self.failure(&error))
        };
        let application = number("SELECT application_id FROM pragma_application_id")?;
        if application == APPLICATION {
            return match u8::try_from(number("SELECT user_version FROM pragma_user_version")?) {
                Ok(SCHEMA) => Ok(Kind::Store),
                Ok(SCHEMA_1) => Ok(Kind::Format1),
                found => {
                    Err(StoreError::Format { path: self.path.clone(), found: found.unwrap_or(u8::MAX), known: SCHEMA })
                }
            };
        }
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        Ok(if application == 0 && tables == 0 { Kind::Empty } else { Kind::Foreign })
    }

    fn failure(&self, error: &rusqlite::Error) -> StoreError {
        failure(error, &self.path)
    }
}

/// Access to the rows in a transaction.
pub(crate) struct Rows<'t> {
    transaction: &'t Transaction<'t>,
    path: &'t Path,
}

impl Rows<'_> {
    pub(crate) fn append(&self, id: i64, records: &[u8]) -> Result<(), StoreError> {
        let insert = self.transaction.prepare_cached("INSERT INTO journal (id, records) VALUES (?1, ?2)");
        insert.and_then(|mut insert| insert.execute((id, records))).map(drop).map_err(|error| self.failure(&error))
    }

    pub(crate) fn read(&self, id: i64) -> Result<Vec<u8>, StoreError> {
        let select = self.transaction.prepare_cached("SELECT records FROM journal WHERE id = ?1");
        let row = select.and_then(|mut select| select.query_row((id,), |row| row.get(0)));
        row.map_err(|error| self.failure(&error))
    }

    pub(crate) fn delete(&self, id: i64) -> Result<(), StoreError> {
        let delete = self.transaction.prepare_cached("DELETE FROM journal WHERE id = ?1");
        delete.and_then(|mut delete| delete.execute((id,))).map(drop).map_err(|error| self.failure(&error))
    }

    pub(crate) fn set_ahead(&self, ahead: i64) -> Result<(), StoreError> {
        let set = self.transaction.execute("INSERT OR REPLACE INTO clock (id, ahead) VALUES (1, ?1)", (ahead,));
        set.map(drop).map_err(|error| self.failure(&error))
    }

    pub(crate) fn corrupt(&self) -> StoreError {
        StoreError::Corrupt { path: self.path.to_owned() }
    }

    fn failure(&self, error: &rusqlite::Error) -> StoreError {
        failure(error, self.path)
    }
}

enum Kind {
    Store,
    /// A store of format 1.
    Format1,
    /// An empty file, or a database without tables.
    Empty,
    Foreign,
}

fn schema() -> String {
    format!(
        "CREATE TABLE journal (id INTEGER PRIMARY KEY, records BLOB NOT NULL); \
         PRAGMA application_id={APPLICATION}; PRAGMA user_version={SCHEMA};"
    )
}

/// Not counted in the schema number: an older version of the program ignores this table.
const CLOCK: &str = "CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY, ahead INTEGER NOT NULL)";

/// Identifies databases of this program: "frdk".
const APPLICATION: i64 = 0x6672_646b;

/// Number of the current schema.
const SCHEMA: u8 = 2;

/// Number of the previous schema, which is converted to the current one.
const SCHEMA_1: u8 = 1;
