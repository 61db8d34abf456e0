//! Reads a configuration file and the files that it names: accounts, certificates.
//!
//! Decides which file is read, and checks accounts: each needs a secret or a contact, and may only name users and
//! domains that exist.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proxy::{Account, Accounts, Secrets};
use serde::de::DeserializeOwned;

use super::accounts::{AccountEntry, FixedContact, UserName};
use super::cluster::NodeArguments;
use super::error::{ConfigError, Conflict, PathStep};
use super::{Config, conflicts, office, tls, trunks};
use crate::text::io_error::{describe_io_error, full};
use crate::tls::Material;

/// The configuration file without `--config`.
const DEFAULT_FILE: &str = "config/frontdesk.yaml";

/// A configuration that has been read, with all accounts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    /// Its file; `None` for the defaults.
    pub(crate) file: Option<PathBuf>,
    /// Its values.
    pub(crate) config: Config,
    /// The accounts of `accounts` and `accounts_file`.
    pub(crate) accounts: Accounts,
    /// The certificates of `tls`.
    pub(crate) tls: Option<Arc<Material>>,
    /// What the command line said about this server.
    pub(crate) node: NodeArguments,
}

impl Loaded {
    /// The file of the authorities of connections that the server opens; `None` for those of the system.
    pub(crate) fn authorities_file(&self) -> Option<PathBuf> {
        self.config.tls.authorities_file(self.file.as_deref())
    }

    /// The path of `accounts_file`.
    pub(crate) fn accounts_file(&self) -> Option<PathBuf> {
        self.config.accounts_path(self.file.as_deref()?)
    }
}

/// Reads `file`, or `./config/frontdesk.yaml` if there is one, or else takes the defaults. What `node` says replaces what is
/// in the file.
pub(crate) fn load(file: Option<&Path>, node: &NodeArguments) -> Result<Loaded, ConfigError> {
    load_with(file, node, false)
}

/// The same for commands that edit accounts: a missing `accounts_file` counts as empty, since they create it.
pub(crate) fn load_for_accounts(file: Option<&Path>, node: &NodeArguments) -> Result<Loaded, ConfigError> {
    load_with(file, node, true)
}

fn load_with(file: Option<&Path>, node: &NodeArguments, may_lack_accounts: bool) -> Result<Loaded, ConfigError> {
    let fallback = Path::new(DEFAULT_FILE);
    match file.or_else(|| fallback.exists().then_some(fallback)) {
        Some(file) => read(file, node, may_lack_accounts),
        None => Ok(Loaded { node: node.clone(), ..Loaded::default() }),
    }
}

fn read(file: &Path, node: &NodeArguments, may_lack_accounts: bool) -> Result<Loaded, ConfigError> {
    let text = open(file)?;
    let mut config: Config = parse(file, &text)?;
    node.apply(&mut config.cluster);
    let mut accounts = Accounts::default();
    let conflict = |conflict| ConfigError::conflict(file, &text, &conflict);
    conflicts::check(&config).map_err(conflict)?;
    let tls = config.tls.files(file).map(|files| Material::read(&files)).transpose();
    let tls = tls.map_err(|error| conflict(tls::conflict(error)))?.map(Arc::new);
    let path = [PathStep::Key("accounts")];
    add_accounts(&mut accounts, &config, &config.accounts, &path).map_err(conflict)?;
    if let Some(other) = config.accounts_path(file) {
        let unreadable = |source: io::Error| {
            let why = describe_io_error(&source);
            let mut message = format!("{} cannot be read ({why}), expected a file that lists accounts", full(&other));
            if source.kind() == io::ErrorKind::NotFound {
                message.push_str("; `frontdesk account add USER` creates it");
            }
            conflict(Conflict { path: vec![PathStep::Key("accounts_file")], message })
        };
        let text = match fs::read_to_string(&other) {
            Err(error) if may_lack_accounts && error.kind() == io::ErrorKind::NotFound => String::new(),
            outcome => outcome.map_err(unreadable)?,
        };
        add_accounts_from_text(&other, &text, &config, &mut accounts)?;
    }
    check_names(&accounts, &config, &config.accounts, &path).map_err(conflict)?;
    office::check(&config, &accounts).map_err(conflict)?;
    trunks::check(&config, &accounts).map_err(conflict)?;
    Ok(Loaded { file: Some(file.to_owned()), config, accounts, tls, node: node.clone() })
}

/// Adds the accounts that a file lists.
pub(crate) fn add_accounts_from_file(file: &Path, config: &Config, accounts: &mut Accounts) -> Result<(), ConfigError> {
    add_accounts_from_text(file, &open(file)?, config, accounts)
}

/// The accounts of the configuration itself, and those of the given text of an accounts file.
pub(crate) fn accounts_of(loaded: &Loaded, file: &Path, text: &str) -> Result<Accounts, ConfigError> {
    let mut accounts = Accounts::default();
    let inline = add_accounts(&mut accounts, &loaded.config, &loaded.config.accounts, &[PathStep::Key("accounts")]);
    let conflict = |conflict| ConfigError::conflict(loaded.file.as_deref().unwrap_or(file), "", &conflict);
    inline.map_err(conflict)?;
    add_accounts_from_text(file, text, &loaded.config, &mut accounts)?;
    office::check(&loaded.config, &accounts).map_err(conflict)?;
    trunks::check(&loaded.config, &accounts).map_err(conflict)?;
    Ok(accounts)
}

/// Parses the text of an accounts file.
pub(crate) fn entries(file: &Path, text: &str) -> Result<Vec<AccountEntry>, ConfigError> {
    parse(file, text)
}

/// Adds the accounts of the text of an accounts file.
pub(crate) fn add_accounts_from_text(
    file: &Path,
    text: &str,
    config: &Config,
    accounts: &mut Accounts,
) -> Result<(), ConfigError> {
    let entries: Vec<AccountEntry> = parse(file, text)?;
    let added = add_accounts(accounts, config, &entries, &[]);
    let checked = added.and_then(|()| check_names(accounts, config, &entries, &[]));
    checked.map_err(|conflict| ConfigError::conflict(file, text, &conflict))
}

fn open(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })
}

fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T, ConfigError> {
    // A file with comments only is valid too.
    let empty = text.lines().all(|line| matches!(line.trim_start().chars().next(), None | Some('#')));
    if empty {
        Ok(T::default())
    } else {
        serde_yaml::from_str(text).map_err(|error| ConfigError::yaml(file, text, &error))
    }
}

/// Adds `entries`, which are at `path` of their file.
fn add_accounts(
    accounts: &mut Accounts,
    config: &Config,
    entries: &[AccountEntry],
    path: &[PathStep],
) -> Result<(), Conflict> {
    for (at, entry) in entries.iter().enumerate() {
        let conflict = |key, message: String| {
            let path = path.iter().cloned().chain([PathStep::Item(at), PathStep::Key(key)]).collect();
            Err(Conflict { path, message })
        };
        let (user, domain) = (&entry.user.0, entry.domain(config));
        if !config.domains.iter().any(|own| &*own.0 == domain) {
            return conflict("domain", format!("{domain:?} is not one of `domains`"));
        }
        let secrets = match (&entry.password, &entry.ha1) {
            (None, None) if !entry.contacts.is_empty() => Some(Secrets::default()),
            (None, None) => return conflict("user", format!("{user:?} needs one of `password`, `ha1` and `contacts`")),
            (Some(_), Some(_)) => return conflict("user", format!("{user:?} needs `password` or `ha1`, not both")),
            _ => entry.secrets(domain, &config.digest.algorithms),
        };
        let Some(secrets) = secrets else {
            return conflict("ha1", format!("{user:?} has no hash for any of `digest.algorithms`"));
        };
        let may_register = entry.may_register.iter().map(|other| other.aor(domain)).collect();
        let (may_watch, may_pick_up) = (entry.may_watch.in_domain(domain), entry.may_pick_up.in_domain(domain));
        let callers: Vec<_> = entry.may_call_as.iter().map(|name| name.caller(config)).collect();
        if callers.contains(&None) {
            return conflict("may_call_as", format!("{user:?} cannot call as every user of a domain of this server"));
        }
        let may_call_as = callers.into_iter().flatten().collect();
        let (contacts, rules, dialling) = (entry.bindings(), entry.rules(domain, config), entry.dialling());
        let label = entry.name.as_ref().map(|label| label.0.clone()).unwrap_or_default();
        let account =
            Account { secrets, contacts, may_register, may_watch, may_pick_up, may_call_as, rules, dialling, label };
        if accounts.insert(entry.user.aor(domain), account).is_some() {
            return conflict("user", format!("{user:?} is listed twice for {domain:?}"));
        }
        for number in &entry.numbers {
            if !accounts.add_number(&number.aor(domain), &entry.user.aor(domain)) {
                return conflict("numbers", format!("{:?} is the number of another user already", number.text()));
            }
        }
    }
    Ok(())
}

/// Checks the names in `entries`: a misspelt user, or a contact at this server itself, would only show up as a failed
/// call.
fn check_names(
    accounts: &Accounts,
    config: &Config,
    entries: &[AccountEntry],
    path: &[PathStep],
) -> Result<(), Conflict> {
    for (at, entry) in entries.iter().enumerate() {
        let conflict = |key, item, message: String| {
            let steps = [PathStep::Item(at), PathStep::Key(key), PathStep::Item(item)];
            Err(Conflict { path: path.iter().cloned().chain(steps).collect(), message })
        };
        let domain = entry.domain(config);
        let unknown = |other: &UserName| accounts.find(&other.aor(domain)).is_none();
        let lists = [
            ("may_register", &*entry.may_register),
            ("may_watch", entry.may_watch.listed()),
            ("may_pick_up", entry.may_pick_up.listed()),
        ];
        for (key, users) in lists {
            if let Some(item) = users.iter().position(unknown) {
                return conflict(key, item, format!("expected a user of {domain:?} that has an account"));
            }
        }
        let own = || config.domains.iter().chain(&config.aliases).chain(&config.advertise);
        let is_own_address = |contact: &FixedContact| own().any(|name| contact.is_at(name));
        if let Some(item) = entry.contacts.iter().position(is_own_address) {
            return conflict("contacts", item, "expected an address that is not this server's".to_owned());
        }
    }
    trunks::check_classes(config, entries, path)?;
    office::check_rules(config, accounts, entries, path)
}
