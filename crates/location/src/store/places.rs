//! Whether the files of an open store are still the ones that it was opened with.
//!
//! Decides by device, inode, length and time of the last change. SQLite goes on writing to a file that was deleted, moved
//! or replaced, and does not notice one that was cut: what it calls safe is then lost with the next restart. Nothing is
//! opened here: closing any descriptor of a file gives up the locks that this process has on it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the files look like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As they were left.
    Same,
    /// Somebody else has written to them.
    Written,
    /// Deleted, cut, or others in their place.
    Lost,
}

/// The store's file and what lies beside it, as they were when this program last wrote to them.
pub(crate) struct Places(Vec<Place>);

struct Place {
    path: PathBuf,
    id: (u64, u64),
    /// Neither the store's file nor its log ever becomes shorter while it is in use: see `file.rs`.
    length: u64,
    /// Not of the files that carry no data.
    changed: Option<SystemTime>,
}

impl Places {
    /// As they are now: `data` hold records, `others` only have to be there.
    pub(crate) fn of(data: &[PathBuf], others: &[PathBuf]) -> io::Result<Self> {
        let data = data.iter().map(|path| Place::of(path, true));
        data.chain(others.iter().map(|path| Place::of(path, false))).collect::<io::Result<_>>().map(Self)
    }

    /// Compares them with what is there.
    pub(crate) fn look(&self) -> Look {
        let mut look = Look::Same;
        for place in &self.0 {
            match fs::metadata(&place.path) {
                Ok(found) if place.is(&found) => {
                    if place.changed.is_some() && place.changed != found.modified().ok() {
                        look = Look::Written;
                    }
                }
                _ => return Look::Lost,
            }
        }
        look
    }

    /// This program has written to them, or has found good what somebody else did. False if they are not the same files.
    pub(crate) fn note(&mut self) -> bool {
        self.0.iter_mut().all(|place| match fs::metadata(&place.path) {
            Ok(found) if place.is(&found) => {
                place.length = found.len();
                place.changed = place.changed.and_then(|_| found.modified().ok());
                true
            }
            _ => false,
        })
    }
}

impl Place {
    fn of(path: &Path, has_data: bool) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let changed = if has_data { Some(found.modified()?) } else { None };
        Ok(Self { path: path.to_owned(), id: id(&found), length: found.len(), changed })
    }

    fn is(&self, found: &Metadata) -> bool {
        self.id == id(found) && self.length <= found.len()
    }
}

// An inode that is still open is not given to another file.
fn id(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let [store, lock] = ["location", "location-lock"].map(|name| folder.path().join(name));
        let fresh = || {
            fs::write(&store, b"12345678").unwrap();
            fs::write(&lock, b"").unwrap();
            Places::of(std::slice::from_ref(&store), std::slice::from_ref(&lock)).unwrap()
        };
        let open = || fs::OpenOptions::new().write(true).open(&store).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);

        let mut places = fresh();
        assert_eq!(places.look(), Look::Same);
        open().set_modified(later).unwrap();
        assert_eq!(places.look(), Look::Written);
        assert!(places.note());
        assert_eq!(places.look(), Look::Same);

        open().set_len(7).unwrap();
        assert_eq!((places.look(), places.note()), (Look::Lost, false));

        let places = fresh();
        fs::rename(&store, folder.path().join("elsewhere")).unwrap();
        assert_eq!(places.look(), Look::Lost);
        fs::write(&store, b"12345678").unwrap();
        assert_eq!(places.look(), Look::Lost);
        fs::rename(folder.path().join("elsewhere"), &store).unwrap();
        assert_eq!(places.look(), Look::Same);

        fs::remove_file(&lock).unwrap();
        assert_eq!(places.look(), Look::Lost);
    }
}
