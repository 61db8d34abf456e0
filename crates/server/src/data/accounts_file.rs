//! The file that lists the accounts, as the command `account` and the admin API change it.
//!
//! Decides which file that is, and writes it atomically: a temporary file, checked with the server's own reader,
//! synced and renamed. Passwords are stored as hashes only. Everything else is kept byte for byte, also in an entry whose
//! password changes. The folder is locked, so that edits do not overlap.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use parser::hex_text;
use serde_yaml::Mapping;

use super::{entry_text, files, first_start};
use crate::config::{self, AccountEntry, Loaded, StoreKind};
use crate::error::{AccountError, CliError};

/// A change of the account of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountChange {
    /// A new account.
    Add,
    /// Another password.
    Password,
    /// No account any more.
    Remove,
}

/// Changes the file. `password` is only called if the change needs one and the account can be changed. After an error
/// nothing was changed.
pub(crate) fn change<P: AsRef<str>>(
    loaded: &Loaded,
    name: &str,
    change: AccountChange,
    password: impl FnOnce() -> Result<P, CliError>,
) -> Result<(), CliError> {
    let file = path(loaded)?;
    let user_id = UserId::read(name, loaded).ok_or_else(|| AccountError::Name(name.to_owned()))?;
    // A second change waits, and then reads the result of the first.
    let _lock = lock(&file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AccountError::NoFolder(file.clone()).into(),
        _ => CliError::File { path: file.clone(), source },
    })?;
    let accounts_file = AccountsFile::open(&file, loaded)?;
    if let Some(configuration) = loaded.file.as_ref().filter(|_| user_id.is_in_configuration(loaded)) {
        let (file, name) = (configuration.clone(), name.to_owned());
        return Err(AccountError::InConfiguration { file, name }.into());
    }
    let text = match change {
        AccountChange::Add => accounts_file.with_added(&user_id, password)?,
        AccountChange::Password => accounts_file.with_password(&user_id, password)?,
        AccountChange::Remove => accounts_file.with_removed(&user_id)?,
    };
    // Checked with the server's own reader: what it would refuse is not written.
    config::accounts_of(loaded, &file, &text).map_err(|error| AccountError::Refused(error.without_position()))?;
    files::replace(&file, &text).map_err(|source| CliError::File { path: file.clone(), source })
}

/// The names of all accounts, of the configuration and the file, in order.
pub(crate) fn names(loaded: &Loaded) -> Result<Vec<String>, CliError> {
    let accounts = match path(loaded) {
        Ok(file) if loaded.config.accounts_file.is_none() && file.exists() => {
            config::accounts_of(loaded, &file, &read(&file)?)?
        }
        _ => loaded.accounts.clone(),
    };
    let mut names: Vec<_> = accounts.aors().map(ToString::to_string).collect();
    names.sort();
    Ok(names)
}

/// The file that lists the accounts.
fn path(loaded: &Loaded) -> Result<PathBuf, AccountError> {
    if let Some(file) = loaded.accounts_file() {
        return Ok(file);
    }
    match (first_start::is_needed(&loaded.config), loaded.config.location.store) {
        (false, _) => Err(AccountError::Inline),
        (true, StoreKind::Memory | StoreKind::Redis) => Err(AccountError::Memory),
        (true, StoreKind::Disk) => Ok(loaded.config.data_folder().join(first_start::FILE)),
    }
}

fn lock(file: &Path) -> io::Result<File> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

fn read(file: &Path) -> Result<String, CliError> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.map_err(|source| CliError::File { path: file.to_owned(), source }),
    }
}

/// A user of one of the domains.
struct UserId {
    user: String,
    domain: String,
    /// Whether an entry needs the `domain` key.
    needs_domain: bool,
}

impl UserId {
    fn read(name: &str, loaded: &Loaded) -> Option<Self> {
        let first = loaded.config.first_domain();
        let (user, domain) = name.rsplit_once('@').unwrap_or((name, first));
        let known = loaded.config.domains.iter().any(|own| own.0.eq_ignore_ascii_case(domain));
        let domain = domain.to_ascii_lowercase();
        (known && !user.is_empty()).then(|| Self { user: user.to_owned(), needs_domain: domain != first, domain })
    }

    fn is(&self, entry: &AccountEntry, loaded: &Loaded) -> bool {
        *entry.user.0 == *self.user && entry.domain(&loaded.config) == self.domain
    }

    /// Whether `accounts` of the configuration lists the user.
    fn is_in_configuration(&self, loaded: &Loaded) -> bool {
        loaded.config.accounts.iter().any(|entry| self.is(entry, loaded))
    }

    /// H(user:realm:password) for every algorithm that could be offered, as a value in YAML. The quotes keep digits from
    /// being a number.
    fn hashes(&self, password: &str) -> String {
        let secrets = config::hashed(&self.user, &self.domain, password);
        let hash = |name: &str, octets: Option<&[u8]>| Some(format!("{name}: \"{}\"", hex_text(octets?)));
        let hashes = [
            hash("md5", secrets.md5.as_ref().map(<[u8; 16]>::as_slice)),
            hash("sha-256", secrets.sha256.as_ref().map(<[u8; 32]>::as_slice)),
            hash("sha-512-256", secrets.sha512t256.as_ref().map(<[u8; 32]>::as_slice)),
        ];
        format!("{{ {} }}", hashes.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A file of accounts, with the position of each entry.
struct AccountsFile<'l> {
    loaded: &'l Loaded,
    file: PathBuf,
    text: String,
    entries: Vec<(Range<usize>, AccountEntry)>,
}

impl<'l> AccountsFile<'l> {
    fn open(file: &Path, loaded: &'l Loaded) -> Result<Self, CliError> {
        let text = read(file)?;
        let entries: Option<Vec<_>> =
            entry_ranges(&text).into_iter().map(|block| Some((block.clone(), entry(text.get(block)?)?))).collect();
        let whole: Option<Vec<AccountEntry>> =
            if text.trim().is_empty() { Some(Vec::new()) } else { config::entries(file, &text).ok() };
        match (entries, whole) {
            // The entries must add up to the whole list, otherwise the layout was misread.
            (Some(entries), Some(whole)) if entries.iter().map(|(_, entry)| entry).eq(&whole) => {
                Ok(Self { loaded, file: file.to_owned(), text, entries })
            }
            _ => Err(AccountError::Layout(file.to_owned()).into()),
        }
    }

    fn entries(&self) -> impl Iterator<Item = &AccountEntry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    fn layout(&self) -> AccountError {
        AccountError::Layout(self.file.clone())
    }

    fn find(&self, user_id: &UserId) -> Result<Range<usize>, AccountError> {
        let found = self.entries.iter().find(|(_, entry)| user_id.is(entry, self.loaded));
        let absent = || AccountError::Absent { file: self.file.clone(), name: user_id.user.clone() };
        found.map(|(block, _)| block.clone()).ok_or_else(absent)
    }

    fn with_added<P: AsRef<str>>(
        &self,
        user_id: &UserId,
        password: impl FnOnce() -> Result<P, CliError>,
    ) -> Result<String, CliError> {
        if self.find(user_id).is_ok() {
            return Err(AccountError::Present(user_id.user.clone()).into());
        }
        let mut new = Mapping::new();
        new.insert("user".into(), user_id.user.as_str().into());
        if user_id.needs_domain {
            new.insert("domain".into(), user_id.domain.as_str().into());
        }
        let new = serde_yaml::to_string(&[new]).map_err(|_| self.layout())?;
        let hashes = user_id.hashes(password()?.as_ref());
        let end = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        let text = format!("{}{end}{new}  ha1: {hashes}\n", self.text);
        // What the server would refuse is reported by the caller.
        let Ok(entries) = config::entries(&self.file, &text) else { return Ok(text) };
        match entries.split_last() {
            Some((last, others)) if user_id.is(last, self.loaded) && self.entries().eq(others) => Ok(text),
            _ => Err(self.layout().into()),
        }
    }

    fn with_password<P: AsRef<str>>(
        &self,
        user_id: &UserId,
        password: impl FnOnce() -> Result<P, CliError>,
    ) -> Result<String, CliError> {
        let block = self.find(user_id)?;
        let hashes = user_id.hashes(password()?.as_ref());
        let old = self.text.get(block.clone()).unwrap_or_default();
        let new = entry_text::with_ha1(old, &hashes).ok_or_else(|| self.layout())?;
        let text = self.with_replaced(block, &new);
        // The new text is read again, since a YAML text can be more complicated than `with_ha1` assumes.
        let with_hashes = |entry: &AccountEntry| match user_id.is(entry, self.loaded) {
            true => AccountEntry { password: None, ha1: serde_yaml::from_str(&hashes).ok(), ..entry.clone() },
            false => entry.clone(),
        };
        let is_changed = config::entries(&self.file, &text).is_ok_and(|new| self.entries().map(with_hashes).eq(new));
        if is_changed { Ok(text) } else { Err(self.layout().into()) }
    }

    fn with_removed(&self, user_id: &UserId) -> Result<String, AccountError> {
        Ok(self.with_replaced(self.find(user_id)?, ""))
    }

    fn with_replaced(&self, block: Range<usize>, by: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(block, by);
        text
    }
}

fn entry(block: &str) -> Option<AccountEntry> {
    let entries: Vec<AccountEntry> = serde_yaml::from_str(block).ok()?;
    entries.into_iter().next()
}

/// The range of each entry, from its `- ` to the next unindented line.
fn entry_ranges(text: &str) -> Vec<Range<usize>> {
    let (mut blocks, mut open, mut at): (Vec<Range<usize>>, bool, usize) = (Vec::new(), false, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.starts_with("- ") {
            blocks.push(at..end);
            open = true;
        } else if open && line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            if let Some(last) = blocks.last_mut() {
                last.end = end;
            }
        } else {
            open = false;
        }
        at = end;
    }
    blocks
}
