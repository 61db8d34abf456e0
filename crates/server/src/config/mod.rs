//! The configuration: YAML in, a valid [`Config`] out, or an error with file, line, key and what was expected.
//!
//! Each value is checked while it is parsed (`scalar`, `listen`, `accounts`); [`conflicts`] checks combinations of
//! values. Unknown keys are errors, so that a typing error does not silently mean the default. Must not open sockets
//! or create files.

mod accounts;
mod conflicts;
mod defence;
mod digest;
mod error;
mod listen;
mod registrar;
mod scalar;
mod sections;
mod websocket;

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

/// The configuration file without `--config`.
pub(crate) const DEFAULT_FILE: &str = "config/frontdesk.yaml";

const DEFAULT_LISTEN: [&str; 3] = ["udp://0.0.0.0:5060", "tcp://0.0.0.0:5060", "ws://127.0.0.1:5080"];

/// The configuration. Keys that are missing in the file have their default.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The domains of the AoRs, each a namespace of its own; default office.example. The first is the default of
    /// accounts.
    pub(crate) domains: Vec<HostName>,
    /// Other names of the first domain; the listen addresses are names of it too.
    pub(crate) aliases: Vec<HostName>,
    /// Where to listen; default UDP and TCP on port 5060 of every IPv4 address, and WebSocket on port 5080 for browsers
    /// on this machine.
    pub(crate) listen: Vec<Listen>,
    /// WebSocket connections.
    pub(crate) ws: websocket::WebSocket,
    /// Host in Via and Record-Route; default: the local address that the message is sent from.
    pub(crate) advertise: Option<HostName>,
    /// Worker threads, 1 to 64; default one for each CPU.
    pub(crate) workers: Option<Workers>,
    /// required (default) or off.
    pub(crate) authentication: Authentication,
    /// Digest authentication.
    pub(crate) digest: digest::Digest,
    /// The accounts.
    pub(crate) accounts: Vec<AccountEntry>,
    /// A file with more accounts, relative to the folder of this file.
    pub(crate) accounts_file: Option<PathBuf>,
    /// Networks whose requests to our users need no credentials; default none.
    pub(crate) trusted: Vec<Network>,
    /// Bans of addresses with too many failures.
    pub(crate) defence: Defence,
    /// Whether foreign domains outside `trusted` may call our users; default refuse.
    pub(crate) strangers: StrangersName,
    /// Whether our users may call foreign domains; default refuse.
    pub(crate) foreign: ForeignName,
    /// The registrar.
    pub(crate) registrar: RegistrarSection,
    /// Subscriptions to registrations.
    pub(crate) subscriptions: sections::Subscriptions,
    /// The location store.
    pub(crate) location: sections::Location,
    /// Forking.
    pub(crate) forking: sections::Forking,
    /// Protocol timers.
    pub(crate) timers: sections::Timers,
    /// Limits on memory and timeouts.
    pub(crate) limits: Limits,
    /// The metrics.
    pub(crate) metrics: sections::Metrics,
    /// The admin API.
    pub(crate) admin: sections::Admin,
    /// The log.
    pub(crate) log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec![HostName("office.example".into())],
            aliases: Vec::new(),
            listen: DEFAULT_LISTEN.into_iter().filter_map(Listen::read).collect(),
            ws: websocket::WebSocket::default(),
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

/// Whether users must authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// Digest.
    Required,
    /// No authentication.
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

/// A configuration that has been read, with all accounts.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Its file; `None` for the defaults.
    pub(crate) file: Option<PathBuf>,
    /// Its values.
    pub(crate) config: Config,
    /// The accounts of `accounts` and `accounts_file`.
    pub(crate) accounts: Accounts,
}

impl Loaded {
    /// The path of `accounts_file`.
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

/// The accounts of the configuration itself, and those of the given text of an accounts file.
pub(crate) fn accounts_of(loaded: &Loaded, file: &Path, text: &str) -> Result<Accounts, ConfigError> {
    let mut accounts = Accounts::default();
    let inline = add_accounts(&mut accounts, &loaded.config, &loaded.config.accounts, &[PathStep::Key("accounts")]);
    inline.map_err(|conflict| ConfigError::conflict(loaded.file.as_deref().unwrap_or(file), "", &conflict))?;
    add_accounts_from_text(file, text, &loaded.config, &mut accounts)?;
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

impl Config {
    /// The domain of accounts that name none.
    pub(crate) fn first_domain(&self) -> &str {
        self.domains.first().map_or("", |domain| &domain.0)
    }

    /// The folder of the store, the secret key and the accounts of the first run.
    pub(crate) fn data_folder(&self) -> &Path {
        match self.location.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    /// The number of worker threads.
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
