//! A copy of the store's file, also while a server has it in use.
//!
//! Decides that the copy is of one moment, on disk, and whole: every row of it is read again. Must not touch the original,
//! nor overwrite anything.

use std::fs;
use std::io;
use std::path::Path;

use super::StoreError;
use super::file::File;
use super::journal;

/// Copy the store at `from` to the new file `to`. What a server acknowledges meanwhile may or may not be in it. Put in
/// the place of the original, without that one's `-wal` and `-shm`, it is the store of a server.
///
/// # Errors
/// There is something at `to` already; `from` is no store, or damaged; the system refuses. Nothing is left at `to` then.
pub fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    if to.symlink_metadata().is_ok() {
        return Err(StoreError::Io { path: to.to_owned(), kind: io::ErrorKind::AlreadyExists });
    }
    let made = File::read_only(from)?.copy(to).and_then(|()| check(to, from)).and_then(|()| sync(to));
    if made.is_err() {
        // It was not there before.
        let _ = fs::remove_file(to);
    }
    made
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

fn sync(to: &Path) -> Result<(), StoreError> {
    let synced = fs::File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|error| StoreError::Io { path: to.to_owned(), kind: error.kind() })
}
