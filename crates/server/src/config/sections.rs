//! The sections of the configuration that have no file of their own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use proxy::{SingleTarget, Strategy, SubscriptionTimes};

use super::cluster::{KeyPrefix, RedisUrl, Replicas};
use super::keys::section;
use super::scalar::{Endpoint, Flag, Period, PeriodOrOff, Scalar, Seconds, Size, Text, Token, scalars};

/// The port of DNS (RFC 1035 4.2).
const DNS_PORT: u16 = 53;

section! {
    /// `location`: the location store.
    pub(crate) struct Location {
        /// `disk`: registrations survive a restart; `memory`: nothing is written to disk; `redis`: several servers share
        /// the registrations ([cluster.md](cluster.md))
        store: StoreKind = StoreKind::Disk,
        /// the file of the registrations, relative to the working directory (`/var/lib/frontdesk` under systemd). The
        /// same folder contains the secret key and the accounts of the first start
        path: PathBuf = PathBuf::from("data/location"),
        /// registrations that arrive within this time are written to disk together. A longer time saves processor time
        /// and makes phones wait; at most `1s`
        pace: Period = Period(Duration::from_millis(4)),
        /// the Redis or Valkey of `store: redis`: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, or `rediss://` with TLS, whose
        /// certificate an authority in `tls.authorities` must have signed. With Sentinels
        /// `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DATABASE`, or `rediss+sentinel://`
        url: Option<RedisUrl> = None,
        /// the password of the Sentinels themselves, if they ask for one
        sentinel_password: Option<Text> = None,
        /// the first characters of all keys in Redis, so that several offices can share it
        prefix: KeyPrefix = KeyPrefix("frontdesk:".into()),
        /// how long a REGISTER waits for Redis; then it gets 503 with Retry-After
        timeout: Period = Period(Duration::from_secs(2)),
        /// how many replicas of Redis must have a registration before the phone gets the 200
        replicas: Replicas = Replicas(0),
    }
}

section! {
    /// `subscriptions`: subscriptions to calls (RFC 4235) and to registrations (RFC 3680).
    pub(crate) struct Subscriptions {
        /// shortest subscription; a shorter one gets 423
        min_expires: Seconds = Seconds(SubscriptionTimes::default().min_expires),
        /// for a subscriber to registrations that does not ask for a time (RFC 3680 4.4); one to calls gets up to an hour (RFC
        /// 4235 3.4)
        default_expires: Seconds = Seconds(SubscriptionTimes::default().default_expires),
        /// longest subscription; a longer one is shortened to this
        max_expires: Seconds = Seconds(SubscriptionTimes::default().max_expires),
        /// the least time between two NOTIFYs of a subscription to registrations; changes in between are reported together
        interval: Period = Period(SubscriptionTimes::default().interval),
        /// the same of a subscription to calls (RFC 4235 3.10)
        call_interval: Period = Period(SubscriptionTimes::of_dialogs().interval),
        /// a call without any request for this time has ended, as far as the server knows: its BYE was lost, or did not pass
        /// here
        call_lifetime: Period = Period(proxy::Settings::default().call_lifetime),
    }
}

section! {
    /// `calls`: the records of calls.
    pub(crate) struct Calls {
        /// how long the records of the last 1,000 calls are kept, for the status page and the API; with `store: disk` also
        /// across restarts, in the file `calls.json` beside the registrations. `off`: no record is kept
        keep: PeriodOrOff = PeriodOrOff(Some(Duration::from_hours(30 * 24))),
        /// a CSV file that gets a line for each call when it ends, also where it failed ([calls.md](calls.md)); the path is
        /// relative to the working directory, `/var/lib/frontdesk` under systemd. The server never removes it, whatever
        /// `keep` says
        file: Option<PathBuf> = None,
        /// the size at which the file is renamed, to a name with the time, and a new one begun
        rotate: Size = Size(100 << 20),
    }
}

section! {
    /// `forking`: how several phones of one user ring.
    pub(crate) struct Forking {
        /// `parallel`: all phones of a user ring at once; `sequential`: one after another, ordered by their q value;
        /// `wave`: one after another, and the earlier ones keep ringing. The phones of a user who has `forward` or
        /// `also_ring`, or is called as a member of a group, always ring at once
        strategy: StrategyName = StrategyName(proxy::Forking::default().strategy),
        /// how long the phones ring before the next one is called or the call ends
        ring_time: Period = Period(proxy::Forking::default().ring_time),
        /// `true`: the server follows a redirection (302) of a phone if the caller may call the new address; otherwise
        /// the caller gets the redirection
        recurse: Flag = Flag(proxy::Forking::default().recurse),
        /// `true`: a phone that registers while its user is being called rings too
        late_registration: Flag = Flag(proxy::Forking::default().late_registration),
        /// for a call to a user with one phone. `stateless`: least cost; the caller decides how long it rings and gets
        /// redirections itself, and no other phone can join. `stateful`: like a call to several phones
        single_target: SingleTargetName = SingleTargetName(proxy::Forking::default().single_target),
    }
}

section! {
    /// `timers`: timers of the protocol (RFC 3261 17, table 4).
    pub(crate) struct Timers {
        /// estimated round-trip time (RFC 3261 17)
        t1: Period = Period(proxy::Timers::default().t1),
        /// longest time between two retransmissions
        t2: Period = Period(proxy::Timers::default().t2),
        /// longest time that a message stays in the network
        t4: Period = Period(proxy::Timers::default().t4),
        /// how long a call may ring without another message from the phone
        c: Period = Period(proxy::Timers::default().c),
    }
}

section! {
    /// `dns`: how host names are resolved (RFC 3263).
    pub(crate) struct Dns {
        /// the DNS servers, as addresses, with a port if it is not 53; empty: those of the system
        servers: Vec<DnsServer> = Vec::new(),
        /// time for one DNS query
        timeout: Period = Period(Duration::from_secs(2)),
        /// for this long an address that failed is tried after the other addresses of its name
        unreachable_for: Period = Period(proxy::Settings::default().unreachable_for),
    }
}

section! {
    /// `large_requests`: requests that are too long for UDP (RFC 3261 18.1.1).
    pub(crate) struct LargeRequests {
        /// `true`: a request of more than 1300 bytes for a UDP phone goes over TCP, and over UDP if the phone does not
        /// accept TCP within `limits.brief_connect_time`; `false`: it goes over UDP, in fragments
        over_tcp: Flag = Flag(proxy::LargeRequests::default().over_tcp),
        /// for this long after a phone refused TCP, its large requests go over UDP at once
        udp_for: Period = Period(proxy::LargeRequests::default().udp_for),
    }
}

section! {
    /// `admin`: access to the status page and the API.
    pub(crate) struct Admin {
        /// the status page and the API are only for programs on the same machine; with a token, also for anybody who
        /// sends it, and only then they change accounts (16 to 256 letters, digits and `-._~+/=`)
        token: Option<Token> = None,
        /// whether the phone in the browser, `/phone`, is served at this address as well; if not said, only if
        /// `metrics.listen` is a loopback address
        phone: Option<bool> = None,
        /// whether users see and set their own forwarding at `/me`, with their SIP password: at this address, and at those of
        /// `ws://` and `wss://` in `listen`
        me: Flag = Flag(true),
    }
}

section! {
    /// `trace`: the messages of calls.
    pub(crate) struct Trace {
        /// of the last so many calls the status page shows every message; `0`: of none. Whoever may see the status page sees
        /// them ([troubleshooting.md](troubleshooting.md#see-the-messages-of-a-call))
        calls: TracedCalls = TracedCalls(0),
    }
}

section! {
    /// `capture`: copies of all messages for a capture server.
    pub(crate) struct Capture {
        /// the address of a capture server that gets a copy of every message, without encryption: `udp://192.0.2.30:9060`.
        /// The protocol is HEP version 3, for Homer or `sngrep -L`
        hep: Option<HepAddress> = None,
        /// the number of this server there
        id: AgentId = AgentId(2001),
    }
}

section! {
    /// `metrics`: the HTTP listener.
    pub(crate) struct Metrics {
        /// the HTTP address of `/metrics` for Prometheus, of the status page and of its API
        /// ([openapi.yaml](openapi.yaml)); `off`, or an address. If another program uses the default port, the server
        /// takes a free port and logs it
        listen: Endpoint = Endpoint::On(([127, 0, 0, 1], 9090).into()),
    }
}

section! {
    /// `log`: what is written to standard error.
    pub(crate) struct Log {
        /// `error`, `warn`, `info`, `debug`, `trace`; the environment variable `RUST_LOG` takes precedence
        level: Level = Level::Info,
        /// `text` or `json`; the log is written to standard error
        format: LogFormat = LogFormat::Text,
        /// `users`, `addresses`: the log shows substitutes instead, which change with each restart; debug and trace
        /// show everything
        mask: Vec<Masked> = Vec::new(),
    }
}

/// The address of a DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DnsServer(pub(crate) SocketAddr);

/// The number of calls whose messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TracedCalls(pub(crate) usize);

/// The address of a capture server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HepAddress(pub(crate) SocketAddr);

/// The number of this server at a capture server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AgentId(pub(crate) u32);

/// A forking strategy by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StrategyName(pub(crate) Strategy);

/// The handling of calls to one phone, by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SingleTargetName(pub(crate) SingleTarget);

/// Which location store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// On disk: it survives a restart.
    Disk,
    /// In memory: it is lost at exit.
    Memory,
    /// In Redis or Valkey, which several servers share.
    Redis,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Faults of this program only.
    Error,
    /// Also events that an administrator should look at.
    Warn,
    /// Also a line for each registration and call.
    Info,
    /// Also faults of peers.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
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

scalars!(
    AgentId,
    HepAddress,
    DnsServer,
    Masked,
    TracedCalls,
    StrategyName,
    SingleTargetName,
    StoreKind,
    Level,
    LogFormat
);

impl Scalar for DnsServer {
    const EXPECTED: &'static str = "an IP address, with a port if it is not 53";

    fn read(text: &str) -> Option<Self> {
        let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT)));
        address.ok().filter(|address| address.port() != 0).map(Self)
    }
}

impl Scalar for TracedCalls {
    const EXPECTED: &'static str = "a whole number from 0 to 1000";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|calls| *calls <= 1000).map(Self)
    }
}

impl Scalar for HepAddress {
    const EXPECTED: &'static str = "udp://, an IP address and a port, like udp://192.0.2.30:9060";

    fn read(text: &str) -> Option<Self> {
        let address = text.strip_prefix("udp://")?.parse().ok();
        address.filter(|address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified()).map(Self)
    }
}

impl Scalar for AgentId {
    const EXPECTED: &'static str = "a whole number from 0 to 4294967295";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

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
    const EXPECTED: &'static str = "disk, memory or redis";

    fn read(text: &str) -> Option<Self> {
        match text {
            "disk" => Some(Self::Disk),
            "memory" => Some(Self::Memory),
            "redis" => Some(Self::Redis),
            _ => None,
        }
    }
}

impl Scalar for Level {
    const EXPECTED: &'static str = "error, warn, info, debug or trace";

    fn read(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            "trace" => Some(Self::Trace),
            _ => None,
        }
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
