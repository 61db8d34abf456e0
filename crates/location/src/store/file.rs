//! The file of the disk store: an SQLite database with one table, octets under octets.
//!
//! Decides how it is opened (one process, write-ahead log, an fsync for each transaction), how a file that is not ours
//! is told, and what each of SQLite's errors is called here. Must not know what the octets mean: see `codec.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::StoreError;

/// An open, locked store file.
pub(crate) struct File {
    connection: Connection,
    path: PathBuf,
}

impl File {
    /// Open or make the file, and the folders above it. A file that is not ours is left as it is.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        prepare(path)?;
        // Each connection is used by one thread at a time: SQLite's own mutexes are for nothing.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |error: rusqlite::Error| failure(&error, path);
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        set_up(&connection).map_err(fail)?;
        let file = Self { connection, path: path.to_owned() };
        match file.kind()? {
            Kind::Store => {}
            Kind::Empty => file.connection.execute_batch(&schema()).map_err(fail)?,
            Kind::Foreign => return Err(StoreError::NotAStore { path: path.to_owned() }),
        }
        // Taking the write lock now finds out whether the file and its folder can be written, and by us alone.
        file.connection.execute_batch("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; COMMIT;").map_err(fail)?;
        Ok(file)
    }

    /// Show every row.
    pub(crate) fn each(&self, mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let fail = |error| self.failure(&error);
        let mut statement = self.connection.prepare("SELECT aor, record FROM location").map_err(fail)?;
        let mut rows = statement.query(()).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let blob = |at| row.get_ref(at)?.as_blob().map_err(rusqlite::Error::from);
            visit(blob(0).map_err(fail)?, blob(1).map_err(fail)?)?;
        }
        Ok(())
    }

    /// Write in one transaction, safe on disk when this returns; `fill` puts and deletes. After an error nothing of it
    /// is in the file, and the next transaction is tried afresh.
    pub(crate) fn transaction(
        &mut self,
        fill: impl FnOnce(&mut Rows<'_>) -> Result<(), rusqlite::Error>,
    ) -> Result<(), StoreError> {
        let path = &self.path;
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            {
                let put = transaction.prepare_cached(
                    "INSERT INTO location (aor, record) VALUES (?1, ?2) \
                     ON CONFLICT (aor) DO UPDATE SET record = excluded.record",
                )?;
                let delete = transaction.prepare_cached("DELETE FROM location WHERE aor = ?1")?;
                fill(&mut Rows { put, delete })?;
            }
            transaction.commit()
        };
        run(&mut self.connection).map_err(|error| failure(&error, path))
    }

    /// From now on the file may be tidied up when it is closed: it was found whole.
    pub(crate) fn trust(&self) -> Result<(), StoreError> {
        let set = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        set.map(drop).map_err(|error| self.failure(&error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A full disk at hand: the file takes no more pages than these.
    #[cfg(test)]
    pub(crate) fn limit(&self, pages: u32) {
        self.connection.execute_batch(&format!("PRAGMA max_page_count={pages}")).unwrap();
    }

    fn kind(&self) -> Result<Kind, StoreError> {
        let number = |sql: &str| {
            self.connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map_err(|error| self.failure(&error))
        };
        let application = number("SELECT application_id FROM pragma_application_id")?;
        if application == APPLICATION {
            return match u8::try_from(number("SELECT user_version FROM pragma_user_version")?) {
                Ok(SCHEMA) => Ok(Kind::Store),
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

/// The rows as a transaction may change them.
pub(crate) struct Rows<'t> {
    put: rusqlite::CachedStatement<'t>,
    delete: rusqlite::CachedStatement<'t>,
}

impl Rows<'_> {
    pub(crate) fn put(&mut self, aor: &[u8], record: &[u8]) -> Result<(), rusqlite::Error> {
        self.put.execute((aor, record)).map(drop)
    }

    pub(crate) fn delete(&mut self, aor: &[u8]) -> Result<(), rusqlite::Error> {
        self.delete.execute((aor,)).map(drop)
    }
}

enum Kind {
    Store,
    /// No database yet, or one without any table.
    Empty,
    Foreign,
}

// Never opens what is there: closing any descriptor of a file gives up the locks that this process has on it.
fn prepare(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => return Ok(()),
        Ok(_) => return Err(StoreError::NotAStore { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::Io { path: path.to_owned(), kind: error.kind() }),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(|error| StoreError::Io { path: folder.to_owned(), kind: error.kind() })?;
    match fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StoreError::Io { path: path.to_owned(), kind: error.kind() })
        }
        _ => Ok(()),
    }
}

fn set_up(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Exclusive: no second process, and no shared memory file. FULL: every commit is fsynced, not only checkpoints.
    connection.execute_batch(&format!(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL; PRAGMA cell_size_check=ON; \
         PRAGMA cache_size=-{CACHE_KIB};"
    ))
}

fn schema() -> String {
    format!(
        "BEGIN EXCLUSIVE; \
         CREATE TABLE location (aor BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID; \
         PRAGMA application_id={APPLICATION}; PRAGMA user_version={SCHEMA}; COMMIT;"
    )
}

fn failure(error: &rusqlite::Error, path: &Path) -> StoreError {
    let path = path.to_owned();
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => return StoreError::NotAStore { path },
        Some(ErrorCode::DatabaseCorrupt) => return StoreError::Corrupt { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return StoreError::Locked { path },
        Some(ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            io::ErrorKind::PermissionDenied
        }
        // SQLite keeps the reason to itself.
        Some(ErrorCode::CannotOpen) => match fs::OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) => error.kind(),
            Ok(_) => io::ErrorKind::PermissionDenied,
        },
        // A column of another type than we write.
        None => return StoreError::Corrupt { path },
        Some(_) => io::ErrorKind::Other,
    };
    StoreError::Io { path, kind }
}

/// Tells our databases from those of other programs: "frdk".
const APPLICATION: i64 = 0x6672_646b;

/// Layout of the tables.
const SCHEMA: u8 = 1;

/// Page cache. All reads but those of the start come from the map: it only has to hold the upper pages.
const CACHE_KIB: u32 = 32 * 1024;
