//! The sections of the configuration, one struct each: every key with its unit and default.
//!
//! Decides names and defaults. `config/frontdesk.yaml` shows them all; a test fails when a key is missing there.

use std::path::PathBuf;
use std::time::Duration;

use proxy::{SingleTarget, Strategy};
use serde::Deserialize;

use super::scalar::{Count, Endpoint, Flag, Period, Scalar, Seconds, Size, Token, scalars};

/// `location`: the location store.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Location {
    /// disk (default): registrations survive a restart. memory: nothing is written.
    pub(crate) store: StoreKind,
    /// The store's file, relative to the working directory; default data/location. Its folder also keeps the
    /// server's secret key and the accounts of the first run.
    pub(crate) path: PathBuf,
    /// Commits within this period share a sync to disk; default 4ms, at most 1s.
    pub(crate) pace: Period,
}

impl Default for Location {
    fn default() -> Self {
        let pace = Period(Duration::from_millis(4));
        Self { store: StoreKind::Disk, path: PathBuf::from("data/location"), pace }
    }
}

/// `subscriptions`: subscriptions to registrations (RFC 3680).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Subscriptions {
    /// Shorter expirations get 423; default 60s.
    pub(crate) min_expires: Seconds,
    /// For SUBSCRIBEs without an expiration; default 3761s (RFC 3680 4.4).
    pub(crate) default_expires: Seconds,
    /// Longer expirations are shortened; default 2h.
    pub(crate) max_expires: Seconds,
    /// Minimum interval of NOTIFYs; changes meanwhile are reported together; default 5s (RFC 3680 4.10).
    pub(crate) interval: Period,
}

impl Default for Subscriptions {
    fn default() -> Self {
        let [min_expires, default_expires, max_expires] = [60, 3761, 7200].map(Seconds);
        Self { min_expires, default_expires, max_expires, interval: secs(5) }
    }
}

/// `forking`: how several phones of one user ring.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Forking {
    /// parallel (default): all at once. sequential: by descending q, equal q together. wave: the same, but earlier
    /// phones keep ringing.
    pub(crate) strategy: StrategyName,
    /// How long each group rings; default 30s.
    pub(crate) ring_time: Period,
    /// Whether a redirection by a phone is followed here, if the caller may call its target; default true.
    pub(crate) recurse: Flag,
    /// Whether a phone that registers while its user is being called rings too; default true.
    pub(crate) late_registration: Flag,
    /// Calls to a user with one phone: stateless (default), which costs least, or stateful, as for several phones.
    pub(crate) single_target: SingleTargetName,
}

impl Default for Forking {
    fn default() -> Self {
        Self {
            strategy: StrategyName(Strategy::Parallel),
            ring_time: secs(30),
            recurse: Flag(true),
            late_registration: Flag(true),
            single_target: SingleTargetName(SingleTarget::Stateless),
        }
    }
}

/// `timers`: RFC 3261 17, table 4.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Timers {
    /// Round-trip estimate; default 500ms.
    pub(crate) t1: Period,
    /// Longest retransmission interval; default 4s.
    pub(crate) t2: Period,
    /// How long a message stays in the network; default 5s.
    pub(crate) t4: Period,
    /// How long an INVITE may go without a response; default 181s (RFC 3261 16.6 step 11: over 3 minutes).
    pub(crate) c: Period,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Period(Duration::from_millis(500)), t2: secs(4), t4: secs(5), c: secs(181) }
    }
}

/// `limits`: limits of memory and timeouts. Each time one is reached counts in `frontdesk_limits_reached_total`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Longest message, over any transport; default 64KiB.
    pub(crate) message_size: Size,
    /// Requests being forked at a time, per worker; default 100000.
    pub(crate) transactions: Count,
    /// Their memory, per worker: above it no new one is started; default 512MiB.
    pub(crate) transaction_memory: Size,
    /// Targets of one request, those that redirections and late registrations add included; default 50, at most 255.
    pub(crate) targets: Count,
    /// Calls being set up without a fork, and other requests of the last 64·T1 and T4, per worker; default 200000.
    pub(crate) pins: Count,
    /// Digest nonces whose use is remembered, per worker, and the same number of nonces with wrong responses; default
    /// 100000.
    pub(crate) nonces: Count,
    /// Challenged REGISTERs that are remembered, per worker, to detect phones that do not answer the challenge;
    /// default 100000.
    pub(crate) unanswered_challenges: Count,
    /// Banned addresses, and the same number of addresses with failures; default 10000.
    pub(crate) bans: Count,
    /// Subscriptions to registrations at a time, per worker; default 10000.
    pub(crate) subscriptions: Count,
    /// Subscriptions to one user, per worker; default 50. Each change of the registrations causes that many NOTIFYs.
    pub(crate) subscriptions_per_user: Count,
    /// Sides of dialogs whose address has changed since the dialog began, per worker; default 10000. A side that is
    /// forgotten has to prove its address by its registration or credentials.
    pub(crate) moved_dialogs: Count,
    /// Registered users where anybody may register (`authentication: off` without accounts); default 100000. One more
    /// gets 503.
    pub(crate) users: Count,
    /// Limit of the length of a response over UDP to an unverified sender, as a multiple of its request; default 3.
    pub(crate) amplification: Count,
    /// Items in the inbox of a worker: messages from connections and other workers; default 4096.
    pub(crate) worker_queue: Count,
    /// Changes that wait for the disk; default 65536.
    pub(crate) store_queue: Count,
    /// Stream connections, all workers together; default 10000.
    pub(crate) connections: Count,
    /// Stream connections from one address; default 1000.
    pub(crate) connections_per_source: Count,
    /// Bytes queued for one connection; default 256KiB. A connection that exceeds it is closed.
    pub(crate) connection_queue: Size,
    /// Idle timeout of a connection; default 2h.
    pub(crate) connection_idle: Period,
    /// Timeout of a connection's first message, and of any message from its first byte to its last; default 15s.
    pub(crate) message_time: Period,
    /// Timeout for opening a connection; default 5s.
    pub(crate) connect_time: Period,
    /// Handshakes under way on accepted connections; default 512.
    pub(crate) handshakes: Count,
    /// Handshakes under way with one address outside `trusted`; default 64.
    pub(crate) handshakes_per_source: Count,
    /// Timeout of a handshake on an accepted connection; default 10s.
    pub(crate) handshake_time: Period,
    /// DNS lookups at a time, per worker; default 256.
    pub(crate) lookups: Count,
    /// Timeout of a DNS lookup; default 5s.
    pub(crate) lookup_time: Period,
    /// Events that wait to be logged, per worker; default 8192. More are not logged.
    pub(crate) journal_queue: Count,
    /// Active calls that the status page knows; default 10000.
    pub(crate) journal_calls: Count,
    /// Log lines per minute about refusals of one kind; default 100. The others are summarised once a minute.
    pub(crate) refusal_lines: Count,
    /// Log lines that wait to be written; default 8192.
    pub(crate) log_queue: Count,
    /// HTTP connections, half of them from one address; default 32. One more replaces the one that has been idle for
    /// longest.
    pub(crate) admin_connections: Count,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: Size(64 << 10),
            transactions: Count(400_000),
            transaction_memory: Size(512 << 20),
            targets: Count(50),
            pins: Count(200_000),
            nonces: Count(100_000),
            unanswered_challenges: Count(100_000),
            bans: Count(10_000),
            subscriptions: Count(10_000),
            subscriptions_per_user: Count(50),
            moved_dialogs: Count(10_000),
            users: Count(100_000),
            amplification: Count(3),
            worker_queue: Count(4096),
            store_queue: Count(65_536),
            connections: Count(10_000),
            connections_per_source: Count(1000),
            connection_queue: Size(256 << 10),
            connection_idle: secs(7200),
            message_time: secs(15),
            connect_time: secs(5),
            handshakes: Count(512),
            handshakes_per_source: Count(64),
            handshake_time: secs(10),
            lookups: Count(256),
            lookup_time: secs(5),
            journal_queue: Count(8192),
            journal_calls: Count(10_000),
            refusal_lines: Count(100),
            log_queue: Count(8192),
            admin_connections: Count(32),
        }
    }
}

/// `admin`: access to the status page and the API.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// A bearer token that requests need; default none, which allows only clients on this machine.
    pub(crate) token: Option<Token>,
}

/// `metrics`: for Prometheus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Address of GET /metrics, of the status page and its API, or off; default 127.0.0.1:9090, or a free port
    /// (logged) if that is in use. Port 0 takes a free one as well.
    pub(crate) listen: Endpoint,
}

/// `log`: what is written to standard error.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// error, warn, info (default), debug or trace. The environment variable RUST_LOG wins.
    pub(crate) level: Level,
    /// text (default) or json.
    pub(crate) format: LogFormat,
    /// users, addresses, or both: replaced by pseudonyms that change at a restart; default none.
    pub(crate) mask: Vec<Masked>,
}

/// A forking strategy by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrategyName(pub(crate) Strategy);

/// The handling of calls to one phone, by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SingleTargetName(pub(crate) SingleTarget);

/// Which location store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// Durable.
    Disk,
    /// Lost at exit.
    Memory,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Level {
    /// Faults of this program.
    Error,
    /// And what an operator should look at.
    Warn,
    /// And a line for each registration and call.
    #[default]
    Info,
    /// And faults of peers.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What a log line does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Masked {
    /// User parts.
    Users,
    /// IP addresses.
    Addresses,
}

scalars!(Masked, StrategyName, SingleTargetName, StoreKind, Level, LogFormat);

impl Scalar for StrategyName {
    const EXPECTED: &'static str = "parallel, sequential or wave";

    fn read(text: &str) -> Option<Self> {
        match text {
            "parallel" => Some(Self(Strategy::Parallel)),
            "sequential" => Some(Self(Strategy::Sequential)),
            "wave" => Some(Self(Strategy::Wave)),
            _ => None,
        }
    }
}

impl Scalar for SingleTargetName {
    const EXPECTED: &'static str = "stateless or stateful";

    fn read(text: &str) -> Option<Self> {
        match text {
            "stateless" => Some(Self(SingleTarget::Stateless)),
            "stateful" => Some(Self(SingleTarget::Stateful)),
            _ => None,
        }
    }
}

impl Scalar for StoreKind {
    const EXPECTED: &'static str = "disk or memory";

    fn read(text: &str) -> Option<Self> {
        match text {
            "disk" => Some(Self::Disk),
            "memory" => Some(Self::Memory),
            _ => None,
        }
    }
}

impl Level {
    /// As a filter directive.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Scalar for Level {
    const EXPECTED: &'static str = "error, warn, info, debug or trace";

    fn read(text: &str) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace].into_iter().find(|level| level.as_str() == text)
    }
}

impl Scalar for Masked {
    const EXPECTED: &'static str = "users or addresses";

    fn read(text: &str) -> Option<Self> {
        match text {
            "users" => Some(Self::Users),
            "addresses" => Some(Self::Addresses),
            _ => None,
        }
    }
}

impl Scalar for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn read(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

const fn secs(secs: u64) -> Period {
    Period(Duration::from_secs(secs))
}
