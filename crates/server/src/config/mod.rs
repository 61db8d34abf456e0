//! The configuration: YAML in, a valid [`Config`] out, or an error with file, line, key and what was expected.
//!
//! Each value is checked while it is parsed (`scalar`, `listen`, `accounts`); [`conflicts`] checks combinations of
//! values. Unknown keys are errors, so that a typing error does not silently mean the default. Must not open sockets
//! or create files.

mod accounts;
mod cluster;
mod conflicts;
mod defence;
mod digest;
mod error;
mod keys;
mod limits;
mod listen;
mod load;
mod office;
mod policy;
mod registrar;
mod scalar;
mod sections;
mod tls;
mod trunks;
mod websocket;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use accounts::{AccountEntry, hashed};
pub(crate) use cluster::NodeArguments;
pub(crate) use defence::Defence;
pub(crate) use error::ConfigError;
pub(crate) use limits::Limits;
pub(crate) use listen::Listen;
pub(crate) use load::{
    Loaded, accounts_of, add_accounts_from_file, add_accounts_from_text, entries, load, load_for_accounts,
};
pub(crate) use office::{
    AlsoRingText, check_also_ring_texts, check_party_text, expected_period, is_called_name, read_also_ring, read_party,
    read_period, warnings,
};
pub(crate) use policy::Authentication;
pub(crate) use registrar::Registrar as RegistrarSection;
pub(crate) use scalar::{Endpoint, HostName, Scalar, Token};
pub(crate) use sections::{Capture, Level, Log, LogFormat, Masked, StoreKind, Subscriptions};
pub(crate) use trunks::OutgoingEntry;

use keys::section;
use policy::{ForeignName, StrangersName, Workers};
use scalar::Network;

const DEFAULT_LISTEN: [&str; 3] = ["udp://0.0.0.0:5060", "tcp://0.0.0.0:5060", "ws://127.0.0.1:5080"];

section! {
    /// The configuration. Keys that are missing in the file have their default.
    pub(crate) struct Config {
        /// the domains of your users: the part after the @. Each domain has its own users. The first one is the realm
        /// of the passwords
        domains: Vec<HostName> = proxy::Settings::default().domains.into_iter().map(HostName).collect(),
        /// other names of the first domain; the server's own addresses need not be listed
        aliases: Vec<HostName> = Vec::new(),
        /// where the server listens for phones; IPv6 as `udp://[::]:5060`; with port 0 the server takes a free port and
        /// logs it. `tls://` is encrypted and needs `tls.certificate`; so is `wss://`, which is WebSocket (RFC 7118), for
        /// phones in browsers. `ws://` is WebSocket without encryption; for other machines it needs a
        /// [reverse proxy](#websocket-behind-a-reverse-proxy)
        listen: Vec<Listen> = DEFAULT_LISTEN.into_iter().filter_map(Listen::read).collect(),
        /// Certificates.
        tls: tls::Tls = tls::Tls::default(),
        /// WebSocket connections.
        ws: websocket::WebSocket = websocket::WebSocket::default(),
        /// the host name that the server puts into Via and Record-Route
        advertise: Option<HostName> = None,
        /// number of worker threads
        workers: Option<Workers> = None,
        /// `required`: users must log in with a password before they register or call; `off`: nobody needs a password,
        /// and anybody can use any name
        authentication: Authentication = Authentication::Required,
        /// Digest authentication.
        digest: digest::Digest = digest::Digest::default(),
        /// the users who may register and call. When an account is removed, its registrations are removed at the reload
        /// or at the next start. With `authentication: off` and no account, anybody may register and nothing is removed
        accounts: Vec<AccountEntry> = Vec::new(),
        /// a file with more accounts, a list of the same form; the path is relative to the folder of the configuration
        /// file
        accounts_file: Option<PathBuf> = None,
        /// ring groups: several parties that are called by one name
        groups: Vec<office::GroupEntry> = Vec::new(),
        /// office hours, by a name of your choice
        hours: BTreeMap<accounts::UserName, office::HoursEntry> = BTreeMap::new(),
        /// numbers that are not the number of one user or group, and where they lead
        numbers: BTreeMap<office::CalledName, office::NumberEntry> = BTreeMap::new(),
        /// the SIP URI of the voicemail server. It gets calls with the mailbox as `target` and the reason as `cause` (RFC
        /// 4458), and subscriptions to the messages of a user (RFC 3842) with that user in place of its own
        voicemail: Option<accounts::FixedContact> = None,
        /// Feature codes.
        codes: office::Codes = office::Codes::default(),
        /// the trunks, which connect the office to the telephone network
        trunks: Vec<trunks::TrunkEntry> = Vec::new(),
        /// which numbers that nobody here has are dialled, and by which trunk; needs `authentication: required`. Other
        /// numbers get 404
        outgoing: Vec<OutgoingEntry> = Vec::new(),
        /// networks whose requests to your users need no password: a gateway, another server
        trusted: Vec<Network> = Vec::new(),
        /// Bans of addresses with too many failures.
        defence: Defence = Defence::default(),
        /// `refuse` or `accept`: calls to your users from foreign domains outside `trusted`. A refused caller is asked
        /// for a password first, because an account may call anonymously or under a name in its `may_call_as`
        strangers: StrangersName = StrangersName(proxy::Settings::default().strangers),
        /// `refuse` or `authenticated`: calls of your users to other domains. Never to the address of a trunk: a number
        /// outside is dialled by `outgoing`
        foreign: ForeignName = ForeignName(proxy::Settings::default().foreign),
        /// The registrar.
        registrar: RegistrarSection = RegistrarSection::default(),
        /// Subscriptions to calls and registrations.
        subscriptions: Subscriptions = Subscriptions::default(),
        /// The location store.
        location: sections::Location = sections::Location::default(),
        /// Several servers.
        cluster: cluster::Cluster = cluster::Cluster::default(),
        /// How several phones of one user ring.
        forking: sections::Forking = sections::Forking::default(),
        /// Timers of the protocol.
        timers: sections::Timers = sections::Timers::default(),
        /// How host names are resolved.
        dns: sections::Dns = sections::Dns::default(),
        /// Requests that are too long for UDP.
        large_requests: sections::LargeRequests = sections::LargeRequests::default(),
        /// Limits of memory and time.
        limits: Limits = Limits::default(),
        /// The HTTP listener.
        metrics: sections::Metrics = sections::Metrics::default(),
        /// The records of calls.
        calls: sections::Calls = sections::Calls::default(),
        /// Access to the status page and the API.
        admin: sections::Admin = sections::Admin::default(),
        /// The messages of calls.
        trace: sections::Trace = sections::Trace::default(),
        /// The capture server.
        capture: Capture = Capture::default(),
        /// The log.
        log: Log = Log::default(),
    }
}

impl Config {
    /// The domain of accounts that name none.
    pub(crate) fn first_domain(&self) -> &str {
        self.domains.first().map_or("", |domain| &domain.0)
    }

    /// The folder of the store, the secret key and the accounts of the first start.
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

    /// The path of `accounts_file`, for a configuration in `file`.
    fn accounts_path(&self, file: &Path) -> Option<PathBuf> {
        let named = self.accounts_file.as_ref()?;
        Some(file.parent().map_or_else(|| named.clone(), |folder| folder.join(named)))
    }
}

#[cfg(test)]
mod tests;
