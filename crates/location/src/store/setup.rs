//! What the files of the disk store need before and while they are open: creation, lock, settings of SQLite, its errors.
//!
//! Must not read or write records: see `file.rs`.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use super::StoreError;

/// Creates an empty file and its parent folders, unless the file exists. Does not open an existing file: closing any
/// descriptor of a file releases the locks that this process has on it.
pub(super) fn create_if_missing(path: &Path) -> Result<(), StoreError> {
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

/// The path of a file beside the store's file.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Locks the store for this process, until the returned file is closed.
pub(super) fn lock(path: &Path) -> Result<fs::File, StoreError> {
    let open = fs::OpenOptions::new().write(true).create(true).truncate(false).open(with_suffix(path, "-lock"));
    let io = |error: io::Error| StoreError::Io { path: path.to_owned(), kind: error.kind() };
    let lock = open.map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Settings of each connection to the database.
pub(super) fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // FULL: every commit is fsynced, not only checkpoints.
    connection
        .execute_batch(&format!("PRAGMA synchronous=FULL; PRAGMA cell_size_check=ON; PRAGMA cache_size=-{CACHE_KIB};"))
}

/// The error of the store for an error of SQLite.
pub(super) fn failure(error: &rusqlite::Error, path: &Path) -> StoreError {
    let path = path.to_owned();
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => return StoreError::NotAStore { path },
        Some(ErrorCode::DatabaseCorrupt) => return StoreError::Corrupt { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return StoreError::Locked { path },
        Some(ErrorCode::DiskFull) => return StoreError::Full { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            io::ErrorKind::PermissionDenied
        }
        // SQLite does not report the reason.
        Some(ErrorCode::CannotOpen) => match fs::OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) => error.kind(),
            Ok(_) => io::ErrorKind::PermissionDenied,
        },
        // A row is missing, or a column has another type than this program writes.
        None => return StoreError::Corrupt { path },
        Some(_) => io::ErrorKind::Other,
    };
    StoreError::Io { path, kind }
}

/// Size of the page cache. Only the first and the last pages of the table are used.
const CACHE_KIB: u32 = 1024;

/// How long to wait while another process, such as an SQLite tool, has locked the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
