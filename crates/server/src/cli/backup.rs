//! `frontdesk backup`: copies the registrations to a new file.
//!
//! Decides the output. The copy itself is made and verified by `location`.

use std::path::{Path, absolute};

use crate::config::{Loaded, StoreKind};
use crate::error::CliError;

/// Executes the command; returns the output. After an error no file is left behind.
pub(crate) fn backup(loaded: &Loaded, to: &Path) -> Result<String, CliError> {
    let location = &loaded.config.location;
    if location.store == StoreKind::Memory {
        return Err(CliError::NothingToCopy);
    }
    let path = |path: &Path| absolute(path).unwrap_or_else(|_| path.to_owned());
    let (from, to) = (path(&location.path), path(to));
    let octets = location::backup(&from, &to).map_err(CliError::Backup)?;
    Ok(format!(
        "copied the registrations in {} to {}: {octets} octets, read again without an error.\n\
         Only the owner of the copy may read it. docs/backup.md says what else belongs to a backup.\n",
        from.display(),
        to.display(),
    ))
}
