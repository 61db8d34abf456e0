//! Label values.
//!
//! A closed set of values is an enum, whose labels are the names of its variants in snake case. Text of a peer must not
//! become a label: each new value is a time series that Prometheus stores.

use location::Aor;
use metrics::SharedString;
use parser::Transport;
use proxy::{
    AuthenticationFailure, DialogRequest, DiversionReason, Drop, ForkOutcome, GroupCallOutcome, LargeRequest, Limit,
    NodeRequest, Notification, Registration, TrunkCallOutcome,
};
use strum::{IntoStaticStr, VariantArray};

use crate::text::ending::Ending;

/// A type whose values are the values of one label.
pub(super) trait LabelValue: Clone {
    /// All values of a closed set, whose series are initialised with 0. Empty if the set is open: its series appear with
    /// their first event.
    fn all() -> Vec<Self>;

    /// The value as text.
    fn text(self) -> SharedString;
}

/// Implements [`LabelValue`] by the variants of an enum.
macro_rules! closed_sets {
    ($($name:ty),+ $(,)?) => { $(
        impl LabelValue for $name {
            fn all() -> Vec<Self> {
                Self::VARIANTS.to_vec()
            }

            fn text(self) -> SharedString {
                SharedString::const_str(self.into())
            }
        }
    )+ };
}

closed_sets!(
    Registration,
    ForkOutcome,
    LargeRequest,
    NodeRequest,
    DialogRequest,
    DiversionReason,
    TrunkCallOutcome,
    GroupCallOutcome,
    Notification,
    AuthenticationFailure,
    Ending,
    Answered,
    Direction,
    LookupOutcome,
    CommitOutcome,
    FailedAddress,
    ReloadResult,
    UnwrittenLine,
    HandshakeProtocol,
    HandshakeOutcome,
    PeerHandshakeOutcome,
);

/// Whether a message that could not be parsed got a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Answered {
    /// It did.
    Yes,
    /// It did not: it lacks headers that a response needs.
    No,
}

/// Which side opened a connection, or began a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Direction {
    /// The peer.
    In,
    /// This server.
    Out,
}

/// Whether a DNS lookup found an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LookupOutcome {
    /// It did.
    Found,
    /// It did not.
    Failed,
}

/// Whether changes of the location store are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum CommitOutcome {
    /// They are.
    Safe,
    /// The write failed.
    Failed,
}

/// What was done about an address with too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum FailedAddress {
    /// It was banned.
    Banned,
    /// It is exempt from bans, or bans are off.
    Spared,
}

/// Whether a reload applied the new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ReloadResult {
    /// It did.
    Good,
    /// The new configuration has an error; the previous one is still in use.
    Refused,
}

/// Why a log line was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum UnwrittenLine {
    /// The rate limit suppressed it (`limits.refusal_lines`).
    Repeated,
    /// The queue of the log was full (`limits.log_queue`): its reader is too slow.
    Slow,
}

/// The protocol of a handshake on an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum HandshakeProtocol {
    /// The HTTP request that opens a WebSocket connection.
    Websocket,
    /// TLS. Over `wss` the HTTP request is part of it.
    Tls,
}

/// The outcome of a handshake on an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum HandshakeOutcome {
    /// The connection is open.
    Accepted,
    /// The peer only asked for a web page.
    Page,
    /// The server refused what the peer asked for.
    Refused,
    /// The peer violated the protocol or closed the connection.
    Failed,
    /// `limits.handshake_time`
    TimedOut,
}

/// The outcome of a TLS handshake on a connection that this server opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum PeerHandshakeOutcome {
    /// The connection is open.
    Accepted,
    /// The certificate is for another name.
    Name,
    /// No authority of `tls.authorities` has signed it.
    Untrusted,
    /// It is not valid now, or it was revoked.
    Expired,
    /// The peer refused this server, perhaps because it wants a certificate.
    Refused,
    /// Anything else: the peer closed the connection, or has no version of TLS that this server has.
    Failed,
    /// `limits.connect_time`
    TimedOut,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DropReason {
    /// The core dropped it.
    Core(Drop),
    /// A transport dropped it.
    Transport(Loss),
}

/// Why a transport dropped a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Loss {
    /// Received at a broadcast or multicast address: a response to it would amplify an attack.
    Broadcast,
    /// The buffer of the socket was full.
    SendBuffer,
    /// The system refused to send it.
    Unsendable,
    /// ICMP said that the peer was not reached.
    Unreachable,
    /// An ICMP message was not examined, because there were too many.
    Icmp,
    /// Its connection failed.
    ConnectionFailed,
    /// No listener serves this transport.
    NoTransport,
}

impl LabelValue for DropReason {
    fn all() -> Vec<Self> {
        let core = Drop::VARIANTS.iter().copied().map(Self::Core);
        core.chain(Loss::VARIANTS.iter().copied().map(Self::Transport)).collect()
    }

    fn text(self) -> SharedString {
        SharedString::const_str(match self {
            Self::Core(reason) => reason.into(),
            Self::Transport(reason) => reason.into(),
        })
    }
}

/// A limit of the configuration, by the name of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AnyLimit {
    /// A limit of the core.
    Core(Limit),
    /// A limit of everything around the core.
    Driver(DriverLimit),
}

/// A limit of sockets, connections, queues and tables around the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DriverLimit {
    /// `limits.message_size`
    MessageSize,
    /// `limits.worker_queue`
    WorkerQueue,
    /// `limits.connections`, or the limit of open files of the system.
    Connections,
    /// `limits.connections_per_source`
    ConnectionsPerSource,
    /// `limits.connection_queue`
    ConnectionQueue,
    /// `limits.connection_idle`
    ConnectionIdle,
    /// `registrar.flow_timer`
    FlowTimer,
    /// `limits.message_time`
    MessageTime,
    /// `limits.handshakes`
    Handshakes,
    /// `limits.handshakes_per_source`
    HandshakesPerSource,
    /// `limits.handshake_time`
    HandshakeTime,
    /// `limits.lookups`
    Lookups,
    /// `limits.lookups_per_source`
    LookupsPerSource,
    /// `limits.rule_changes`
    RuleChanges,
    /// `limits.shared_value_size`
    SharedValueSize,
    /// `limits.shared_changes`
    SharedChanges,
    /// `limits.gone_nodes`
    GoneNodes,
    /// `limits.journal_queue`
    JournalQueue,
    /// `limits.users`
    Users,
    /// `limits.bans`
    Bans,
    /// `limits.admin_connections`
    AdminConnections,
    /// `limits.trace_rate`
    TraceRate,
    /// `limits.trace_memory`
    TraceMemory,
}

impl LabelValue for AnyLimit {
    fn all() -> Vec<Self> {
        let core = Limit::VARIANTS.iter().copied().map(Self::Core);
        core.chain(DriverLimit::VARIANTS.iter().copied().map(Self::Driver)).collect()
    }

    fn text(self) -> SharedString {
        SharedString::const_str(match self {
            Self::Core(limit) => limit.into(),
            Self::Driver(limit) => limit.into(),
        })
    }
}

/// The name of a trunk or group in the configuration, which bounds their number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(pub(crate) Box<str>);

impl Name {
    /// The name of a group, which is its number: all groups are in the first domain.
    pub(crate) fn of_group(group: &Aor) -> Self {
        Self(String::from_utf8_lossy(group.user()).into())
    }
}

impl LabelValue for Name {
    fn all() -> Vec<Self> {
        Vec::new()
    }

    fn text(self) -> SharedString {
        SharedString::from_owned(self.0.into())
    }
}

/// A SIP method as the core names it: a method that it knows, or `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Method(pub(crate) &'static str);

impl LabelValue for Method {
    fn all() -> Vec<Self> {
        Vec::new()
    }

    fn text(self) -> SharedString {
        SharedString::const_str(self.0)
    }
}

impl LabelValue for Transport {
    /// The transports that a listener can have.
    fn all() -> Vec<Self> {
        vec![Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
    }

    fn text(self) -> SharedString {
        SharedString::const_str(self.param())
    }
}

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Code(pub(crate) u16);

/// Registered status codes (IANA). Others are counted by class, so that peers cannot create labels.
const CODES: &[u16] = &[
    100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406, 407, 408,
    410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437, 438, 439, 440, 469,
    470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502, 503, 504, 505, 513, 555, 580,
    600, 603, 604, 606, 607, 608,
];

impl LabelValue for Code {
    fn all() -> Vec<Self> {
        Vec::new()
    }

    fn text(self) -> SharedString {
        if CODES.binary_search(&self.0).is_ok() {
            return SharedString::from_owned(self.0.to_string());
        }
        SharedString::const_str(match self.0 / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "6xx",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unregistered_codes_are_counted_by_class() {
        assert!(CODES.is_sorted());
        for (code, label) in [(486, "486"), (499, "4xx"), (699, "6xx")] {
            assert_eq!(&*Code(code).text(), label);
        }
    }
}
