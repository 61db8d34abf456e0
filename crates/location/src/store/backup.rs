//! A copy of the store's file, possible while a server uses it.
//!
//! The copy is consistent, synced to disk and verified: every row of it is read again. Must not change the original, and
//! must not overwrite an existing file.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::StoreError;
use super::file::File;
use super::journal;

/// Copies the store at `from` to the new file `to`. Registrations that a server accepts meanwhile may or may not be in
/// it. Only its owner may read `to`. To restore it, replace the original with it and remove the original's `-wal` and
/// `-shm` files. Returns the length of `to` in octets.
///
/// # Errors
/// [`StoreError::Exists`] if `to` exists already; `from` is not a store, or damaged; an error of the operating system. `to` is
/// not left behind then.
pub fn backup(from: &Path, to: &Path) -> Result<u64, StoreError> {
    let source = File::read_only(from)?;
    // The registrations contain addresses and Contacts of people, so nobody else may read the copy. SQLite copies into an
    // empty file.
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists { path: to.to_owned() },
        kind => StoreError::Io { path: to.to_owned(), kind },
    })?;
    let result = source.copy(to).and_then(|()| check(to, from)).and_then(|()| sync(to));
    if result.is_err() {
        // The file did not exist before, so it may be removed.
        let _ = fs::remove_file(to);
    }
    result
}

fn check(copy: &Path, from: &Path) -> Result<(), StoreError> {
    let copy = File::read_only(copy)?;
    if copy.is_format1()? {
        return Ok(());
    }
    copy.for_each_row(|_, row| {
        let whole = journal::entries(row).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok()));
        if whole { Ok(()) } else { Err(StoreError::Corrupt { path: from.to_owned() }) }
    })
}

/// Returns the length of the file.
fn sync(to: &Path) -> Result<u64, StoreError> {
    let synced = fs::File::open(to).and_then(|file| file.sync_all().and_then(|()| Ok(file.metadata()?.len())));
    synced.map_err(|error| StoreError::Io { path: to.to_owned(), kind: error.kind() })
}
