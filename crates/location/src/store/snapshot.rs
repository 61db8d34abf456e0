//! Detects whether the files of an open store were deleted, replaced or modified by another program.
//!
//! Compares device, inode, length and modification time. SQLite continues to write to a file that was deleted, moved or
//! replaced, and does not notice one that was truncated: its commits are then lost at the next restart. Must not open the
//! files: closing any descriptor of a file releases the locks that this process has on it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The state of the files compared with the snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileStatus {
    /// As in the snapshots.
    Unchanged,
    /// Another program has written to them.
    Modified,
    /// Deleted, truncated or replaced.
    Lost,
}

/// The store's file and the files beside it, as they were when this program last wrote to them.
pub(crate) struct FileSnapshots(Vec<FileSnapshot>);

struct FileSnapshot {
    path: PathBuf,
    id: (u64, u64),
    /// The store's file and its log never become shorter while in use: see `file.rs`.
    length: u64,
    /// Modification time; `None` for the files without data.
    modified: Option<SystemTime>,
}

impl FileSnapshots {
    /// Takes snapshots: `data` files contain records, `others` only have to exist.
    pub(crate) fn of(data: &[PathBuf], others: &[PathBuf]) -> io::Result<Self> {
        let data = data.iter().map(|path| FileSnapshot::of(path, true));
        data.chain(others.iter().map(|path| FileSnapshot::of(path, false))).collect::<io::Result<_>>().map(Self)
    }

    /// Compares the snapshots with the files.
    pub(crate) fn status(&self) -> FileStatus {
        let mut status = FileStatus::Unchanged;
        for snapshot in &self.0 {
            match fs::metadata(&snapshot.path) {
                Ok(found) if snapshot.is_same_file(&found) => {
                    if snapshot.modified.is_some() && snapshot.modified != found.modified().ok() {
                        status = FileStatus::Modified;
                    }
                }
                _ => return FileStatus::Lost,
            }
        }
        status
    }

    /// Takes new snapshots after this program has written to the files, or has verified what another program wrote. False if
    /// they are not the same files.
    pub(crate) fn update(&mut self) -> bool {
        self.0.iter_mut().all(|snapshot| match fs::metadata(&snapshot.path) {
            Ok(found) if snapshot.is_same_file(&found) => {
                snapshot.length = found.len();
                snapshot.modified = snapshot.modified.and_then(|_| found.modified().ok());
                true
            }
            _ => false,
        })
    }
}

impl FileSnapshot {
    fn of(path: &Path, has_data: bool) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let modified = if has_data { Some(found.modified()?) } else { None };
        Ok(Self { path: path.to_owned(), id: id(&found), length: found.len(), modified })
    }

    fn is_same_file(&self, found: &Metadata) -> bool {
        self.id == id(found) && self.length <= found.len()
    }
}

// The inode of an open file is not reused for another file.
fn id(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [store, lock] = ["location", "location-lock"].map(|name| folder.path().join(name));
        let fresh = || {
            fs::write(&store, b"12345678").unwrap();
            fs::write(&lock, b"").unwrap();
            FileSnapshots::of(std::slice::from_ref(&store), std::slice::from_ref(&lock)).unwrap()
        };
        let open = || fs::OpenOptions::new().write(true).open(&store).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);

        let mut snapshots = fresh();
        assert_eq!(snapshots.status(), FileStatus::Unchanged);
        open().set_modified(later).unwrap();
        assert_eq!(snapshots.status(), FileStatus::Modified);
        assert!(snapshots.update());
        assert_eq!(snapshots.status(), FileStatus::Unchanged);

        open().set_len(7).unwrap();
        assert_eq!((snapshots.status(), snapshots.update()), (FileStatus::Lost, false));

        let snapshots = fresh();
        fs::rename(&store, folder.path().join("elsewhere")).unwrap();
        assert_eq!(snapshots.status(), FileStatus::Lost);
        fs::write(&store, b"12345678").unwrap();
        assert_eq!(snapshots.status(), FileStatus::Lost);
        fs::rename(folder.path().join("elsewhere"), &store).unwrap();
        assert_eq!(snapshots.status(), FileStatus::Unchanged);

        fs::remove_file(&lock).unwrap();
        assert_eq!(snapshots.status(), FileStatus::Lost);
    }
}
