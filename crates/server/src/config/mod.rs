//! The configuration: YAML in, a [`Config`] that can be used out, or an error with file, line, key and expectation.
//!
//! Every value checks itself while it is read (`scalar`, `listen`, `accounts`); [`conflicts`] checks what only shows
//! between values. Unknown keys are refused: a typo must not become a default. Must not open sockets or make files.

mod accounts;
mod conflicts;
mod defence;
mod digest;
mod error;
mod listen;
mod registrar;
mod scalar;
mod sections;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proxy::{Account, Accounts, Foreign, Secrets, Strangers};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) use accounts::{AccountEntry, hashed};
pub(crate) use defence::Defence;
pub(crate) use error::ConfigError;
pub(crate) use listen::Listen;
pub(crate) use registrar::Registrar as RegistrarSection;
pub(crate) use scalar::{Endpoint, HostName, Token};
pub(crate) use sections::{Level, Limits, Log, LogFormat, Masked, StoreKind};

use accounts::{FixedContact, UserName};
use error::{Conflict, PathStep};
use scalar::{Network, Scalar, scalars};

/// Where the configuration is looked for when nobody says where.
pub(crate) const DEFAULT_FILE: &str = "config/frontdesk.yaml";

/// All that can be configured. Keys that are not in the file have their default.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The AoR domains, each a name space of its own; default office.example. The first is the digest realm.
    pub(crate) domains: Vec<HostName>,
    /// Further names of the first domain; its listen addresses always are.
    pub(crate) aliases: Vec<HostName>,
    /// Where to listen; default UDP and TCP on port 5060 of every IPv4 address.
    pub(crate) listen: Vec<Listen>,
    /// Host for Via and Record-Route; default: the address that a message goes out from.
    pub(crate) advertise: Option<HostName>,
    /// Worker threads, 1 to 64; default one for each CPU.
    pub(crate) workers: Option<Workers>,
    /// required (default) or off.
    pub(crate) authentication: Authentication,
    /// How users prove who they are.
    pub(crate) digest: digest::Digest,
    /// Who may register and call.
    pub(crate) accounts: Vec<AccountEntry>,
    /// A list of more accounts, relative to this file's folder.
    pub(crate) accounts_file: Option<PathBuf>,
    /// Networks whose requests to our users need no credentials; default none.
    pub(crate) trusted: Vec<Network>,
    /// Who guesses is not answered for a while.
    pub(crate) defence: Defence,
    /// Whether foreign domains outside `trusted` may call our users; default refuse.
    pub(crate) strangers: StrangersName,
    /// Whether our users may call foreign domains; default refuse.
    pub(crate) foreign: ForeignName,
    /// What a REGISTER may ask for.
    pub(crate) registrar: RegistrarSection,
    /// Who watches registrations.
    pub(crate) subscriptions: sections::Subscriptions,
    /// Where registrations are kept.
    pub(crate) location: sections::Location,
    /// How several phones of one user ring.
    pub(crate) forking: sections::Forking,
    /// Protocol timers.
    pub(crate) timers: sections::Timers,
    /// Caps on memory and patience.
    pub(crate) limits: Limits,
    /// For Prometheus.
    pub(crate) metrics: sections::Metrics,
    /// For people who look after it.
    pub(crate) admin: sections::Admin,
    /// What is logged.
    pub(crate) log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec![HostName("office.example".into())],
            aliases: Vec::new(),
            listen: ["udp://0.0.0.0:5060", "tcp://0.0.0.0:5060"].into_iter().filter_map(Listen::read).collect(),
            advertise: None,
            workers: None,
            authentication: Authentication::Required,
            digest: digest::Digest::default(),
            accounts: Vec::new(),
            accounts_file: None,
            trusted: Vec::new(),
            defence: Defence::default(),
            strangers: StrangersName(Strangers::Refuse),
            foreign: ForeignName(Foreign::Refuse),
            registrar: RegistrarSection::default(),
            subscriptions: sections::Subscriptions::default(),
            location: sections::Location::default(),
            forking: sections::Forking::default(),
            timers: sections::Timers::default(),
            limits: Limits::default(),
            metrics: sections::Metrics::default(),
            admin: sections::Admin::default(),
            log: Log::default(),
        }
    }
}

/// Number of worker threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workers(pub(crate) u8);

/// Whether users must prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// Digest.
    Required,
    /// Nobody is asked.
    Off,
}

/// `strangers` by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrangersName(pub(crate) Strangers);

/// `foreign` by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignName(pub(crate) Foreign);

scalars!(Workers, Authentication, StrangersName, ForeignName);

impl Scalar for Workers {
    const EXPECTED: &'static str = "a number of threads, 1 to 64";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| (1..=64).contains(count)).map(Self)
    }
}

impl Scalar for Authentication {
    const EXPECTED: &'static str = "required or off";

    fn read(text: &str) -> Option<Self> {
        match text {
            "required" => Some(Self::Required),
            // YAML 1.1 editors turn `off` into `false`.
            "off" | "false" => Some(Self::Off),
            _ => None,
        }
    }
}

impl Scalar for StrangersName {
    const EXPECTED: &'static str = "refuse or accept";

    fn read(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self(Strangers::Refuse)),
            "accept" => Some(Self(Strangers::Accept)),
            _ => None,
        }
    }
}

impl Scalar for ForeignName {
    const EXPECTED: &'static str = "refuse or authenticated";

    fn read(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self(Foreign::Refuse)),
            "authenticated" => Some(Self(Foreign::Authenticated)),
            _ => None,
        }
    }
}

/// A configuration that has been read, with the accounts of both places.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Where it was read from; `None` if the defaults are in force.
    pub(crate) file: Option<PathBuf>,
    /// What it says.
    pub(crate) config: Config,
    /// The accounts of `accounts` and `accounts_file`.
    pub(crate) accounts: Accounts,
}

impl Loaded {
    /// The file of accounts that the configuration names.
    pub(crate) fn accounts_file(&self) -> Option<PathBuf> {
        self.config.accounts_path(self.file.as_deref()?)
    }
}

/// Reads `file`, or `./config/frontdesk.yaml` if there is one, or else takes the defaults.
pub(crate) fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    let fallback = Path::new(DEFAULT_FILE);
    match file.or_else(|| fallback.exists().then_some(fallback)) {
        Some(file) => read(file),
        None => Ok(Loaded { file: None, config: Config::default(), accounts: Accounts::default() }),
    }
}

fn read(file: &Path) -> Result<Loaded, ConfigError> {
    let text = open(file)?;
    let config: Config = parse(file, &text)?;
    let mut accounts = Accounts::default();
    let conflict = |conflict| ConfigError::conflict(file, &text, &conflict);
    conflicts::check(&config).map_err(conflict)?;
    let path = [PathStep::Key("accounts")];
    add_accounts(&mut accounts, &config, &config.accounts, &path).map_err(conflict)?;
    if let Some(other) = config.accounts_path(file) {
        let unreadable = |source: io::Error| {
            let message = format!("{} cannot be read ({source}), expected a file that lists accounts", other.display());
            conflict(Conflict { path: vec![PathStep::Key("accounts_file")], message })
        };
        add_accounts_from_text(&other, &fs::read_to_string(&other).map_err(unreadable)?, &config, &mut accounts)?;
    }
    check_names(&accounts, &config, &config.accounts, &path).map_err(conflict)?;
    Ok(Loaded { file: Some(file.to_owned()), config, accounts })
}

/// Adds the accounts that a file lists.
pub(crate) fn add_accounts_from_file(file: &Path, config: &Config, accounts: &mut Accounts) -> Result<(), ConfigError> {
    add_accounts_from_text(file, &open(file)?, config, accounts)
}

/// The accounts of the configuration itself, and those of a text that is, or might be, in its file of accounts.
pub(crate) fn accounts_of(loaded: &Loaded, file: &Path, text: &str) -> Result<Accounts, ConfigError> {
    let mut accounts = Accounts::default();
    let inline = add_accounts(&mut accounts, &loaded.config, &loaded.config.accounts, &[PathStep::Key("accounts")]);
    inline.map_err(|conflict| ConfigError::conflict(loaded.file.as_deref().unwrap_or(file), "", &conflict))?;
    add_accounts_from_text(file, text, &loaded.config, &mut accounts)?;
    Ok(accounts)
}

/// The entries of such a text.
pub(crate) fn entries(file: &Path, text: &str) -> Result<Vec<AccountEntry>, ConfigError> {
    parse(file, text)
}

/// Adds the accounts of a text that is, or might be, in a file.
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

impl Config {
    /// The domain of accounts that name none, the digest realm.
    pub(crate) fn first_domain(&self) -> &str {
        self.domains.first().map_or("", |domain| &domain.0)
    }

    /// The folder of the store; also of the secret key and the accounts of the first run.
    pub(crate) fn data_folder(&self) -> &Path {
        match self.location.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// Worker threads to start.
    pub(crate) fn worker_count(&self) -> u8 {
        let cpus = || std::thread::available_parallelism().map_or(1, |count| count.get().min(64));
        self.workers.map_or_else(|| u8::try_from(cpus()).unwrap_or(1), |workers| workers.0)
    }

    fn accounts_path(&self, file: &Path) -> Option<PathBuf> {
        let named = self.accounts_file.as_ref()?;
        Some(file.parent().map_or_else(|| named.clone(), |folder| folder.join(named)))
    }
}

fn open(file: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(file).map_err(|source| ConfigError::Read { file: file.to_owned(), source })
}

fn parse<T: DeserializeOwned + Default>(file: &Path, text: &str) -> Result<T, ConfigError> {
    // Nothing but comments is a configuration too.
    let empty = text.lines().all(|line| matches!(line.trim_start().chars().next(), None | Some('#')));
    if empty {
        Ok(T::default())
    } else {
        serde_yaml::from_str(text).map_err(|error| ConfigError::yaml(file, text, &error))
    }
}

/// Adds `entries`, which stand at `path` of their file.
fn add_accounts(
    accounts: &mut Accounts,
    config: &Config,
    entries: &[AccountEntry],
    path: &[PathStep],
) -> Result<(), Conflict> {
    for (at, entry) in entries.iter().enumerate() {
        let conflict = |key, message: String| {
            let path = path.iter().copied().chain([PathStep::Item(at), PathStep::Key(key)]).collect();
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
        let aors = |users: &[UserName]| users.iter().map(|other| other.aor(domain)).collect();
        let (may_register, may_watch) = (aors(&entry.may_register), aors(&entry.may_watch));
        let callers: Vec<_> = entry.may_call_as.iter().map(|name| name.caller(config)).collect();
        if callers.contains(&None) {
            return conflict("may_call_as", format!("{user:?} cannot call as every user of a domain of this server"));
        }
        let may_call_as = callers.into_iter().flatten().collect();
        let account = Account { secrets, contacts: entry.bindings(), may_register, may_watch, may_call_as };
        if accounts.insert(entry.user.aor(domain), account).is_some() {
            return conflict("user", format!("{user:?} is listed twice for {domain:?}"));
        }
    }
    Ok(())
}

/// Whether all that `entries` name is there: a misspelt user, or a contact that leads back, would never be told.
fn check_names(
    accounts: &Accounts,
    config: &Config,
    entries: &[AccountEntry],
    path: &[PathStep],
) -> Result<(), Conflict> {
    for (at, entry) in entries.iter().enumerate() {
        let conflict = |key, item, message: String| {
            let steps = [PathStep::Item(at), PathStep::Key(key), PathStep::Item(item)];
            Err(Conflict { path: path.iter().copied().chain(steps).collect(), message })
        };
        let domain = entry.domain(config);
        let unknown = |other: &UserName| accounts.find(&other.aor(domain)).is_none();
        for (key, users) in [("may_register", &entry.may_register), ("may_watch", &entry.may_watch)] {
            if let Some(item) = users.iter().position(unknown) {
                return conflict(key, item, format!("expected a user of {domain:?} who has an account"));
            }
        }
        let own = || config.domains.iter().chain(&config.aliases).chain(&config.advertise);
        let is_own_address = |contact: &FixedContact| own().any(|name| contact.is_at(name));
        if let Some(item) = entry.contacts.iter().position(is_own_address) {
            return conflict("contacts", item, "expected an address that is not this server's".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
