//! The data folder: created when it is missing, and its small files that only the owner may read.
//!
//! Decides that files are written atomically: a file has its old or its new content, never a part.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use crate::error::CliError;

/// Creates the folder if it is missing, accessible only to its owner.
pub(crate) fn prepare(folder: &Path) -> Result<(), CliError> {
    if folder.is_dir() {
        return Ok(());
    }
    let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(|source| CliError::File { path: folder.to_owned(), source })
}

/// Reads a file; if it is missing, creates it with `content`. Returns the content and whether the file was created.
pub(crate) fn read_or_create(
    path: &Path,
    content: impl FnOnce() -> Result<String, CliError>,
) -> Result<(String, bool), CliError> {
    let refused = |source| CliError::File { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => Ok((text, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = content()?;
            write(path, &text, None).map_err(refused)?;
            Ok((text, true))
        }
        Err(source) => Err(refused(source)),
    }
}

/// Replaces or creates a file that only its owner may read.
pub(crate) fn replace_private(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, None)
}

/// Replaces the content of a file. Owner and permissions stay.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, fs::metadata(path).ok().as_ref())
}

fn write(path: &Path, text: &str, permissions_of: Option<&Metadata>) -> io::Result<()> {
    // Written under a temporary name first: a crash cannot leave a partial file that a later start would use.
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    if let Some(old) = permissions_of {
        let metadata = file.metadata()?;
        // If root edits the file, the server must still be able to read it.
        if (metadata.uid(), metadata.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_created_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep").join("secret");
        prepare(path.parent().expect("a parent")).expect("a folder");
        let created = read_or_create(&path, || Ok("one".to_owned())).expect("a file");
        assert_eq!(created, ("one".to_owned(), true));
        let again = read_or_create(&path, || panic!("it is there")).expect("a file");
        assert_eq!(again, ("one".to_owned(), false));
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a parent")), 0o700);
    }
}
