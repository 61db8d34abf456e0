//! Every metric: one variant with its name, its labels and its help text. README.md has the same table; a test compares
//! them.
//!
//! The names and labels are a public interface. Decides nothing about what is counted.

use std::time::Duration;

use metrics::{Counter, Label, counter, describe_counter, describe_gauge, gauge};
use parser::Transport;
use proxy::{
    AuthenticationFailure, DialogRequest, DiversionReason, Drop, ForkOutcome, GroupCallOutcome, LargeRequest, Limit,
    NodeRequest, Notification, Registration, TrunkCallOutcome,
};

use super::labels::{
    Answered, AnyLimit, Code, CommitOutcome, Direction, DriverLimit, DropReason, FailedAddress, HandshakeOutcome,
    HandshakeProtocol, LabelValue, LookupOutcome, Loss, Method, Name, PeerHandshakeOutcome, ReloadResult,
    UnwrittenLine,
};
use crate::text::ending::Ending;

/// Runs a block for each combination of values of the labels; not at all if one of them is an open set.
macro_rules! for_all {
    ($block:block) => { $block };
    ($block:block $label:ident: $value:ty $(, $labels:ident: $values:ty)*) => {
        for $label in <$value as LabelValue>::all() {
            for_all!($block $($labels: $values),*);
        }
    };
}

/// Declares the counters: help text, variant with its labels, name.
macro_rules! counters {
    ($($(#[doc = $help:literal])+ $variant:ident $({ $($label:ident: $value:ty),+ })? = $name:literal,)+) => {
        /// One time series of a counter: the variant is the metric, the fields are its labels.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Series {
            $($(#[doc = $help])+ $variant $({
                $(#[doc = concat!("Label `", stringify!($label), "`.")] $label: $value),+
            })?,)+
        }

        impl Series {
            /// The counter of this series. A look-up in the recorder: callers on a hot path keep it.
            pub(super) fn counter(self) -> Counter {
                match self {
                    $(Self::$variant $({ $($label),+ })? => {
                        let labels: Vec<Label> = vec![$($(Label::new(stringify!($label), $label.text())),+)?];
                        counter!($name, labels)
                    })+
                }
            }

            /// All series whose labels are closed sets.
            pub(super) fn closed() -> Vec<Self> {
                let mut closed = Vec::new();
                $(for_all!({ closed.push(Self::$variant $({ $($label: Clone::clone(&$label)),+ })?) } $($($label: $value),+)?);)+
                closed
            }

            /// Passes the help texts to the recorder.
            pub(super) fn describe() {
                $(describe_counter!($name, concat!($($help),+).trim_start());)+
            }
        }

        /// Rows of the table in README.md: name, labels with the values of closed sets, help text.
        #[cfg(test)]
        pub(super) fn counter_rows() -> Vec<(&'static str, Vec<(&'static str, Vec<String>)>, &'static str)> {
            fn values<V: LabelValue>() -> Vec<String> {
                V::all().into_iter().map(|value| value.text().to_string()).collect()
            }
            vec![$((
                $name,
                vec![$($((stringify!($label), values::<$value>())),+)?],
                concat!($($help),+).trim_start(),
            )),+]
        }
    };
}

counters! {
    /// SIP requests received, by method and transport.
    RequestReceived { method: Method, transport: Transport } = "frontdesk_requests_received_total",
    /// SIP requests forwarded, by method and transport.
    RequestForwarded { method: Method, transport: Transport } = "frontdesk_requests_forwarded_total",
    /// SIP responses received, by status code and transport.
    ResponseReceived { code: Code, transport: Transport } = "frontdesk_responses_received_total",
    /// SIP responses sent, by method of their request, status code and transport.
    ResponseSent { method: Method, code: Code, transport: Transport } = "frontdesk_responses_sent_total",
    /// REGISTER requests by outcome.
    Registration { outcome: Registration } = "frontdesk_registrations_total",
    /// Calls (initial INVITE requests) that were routed.
    Call = "frontdesk_calls_total",
    /// Calls whose setup ended, by how it ended.
    CallEnded { ending: Ending } = "frontdesk_calls_ended_total",
    /// Records of calls that were not written to `calls.file`: the disk is too slow or full.
    CallUnwritten = "frontdesk_call_records_dropped_total",
    /// Forked requests by outcome.
    Fork { outcome: ForkOutcome } = "frontdesk_forks_total",
    /// Requests that were too long for UDP; refused: the target did not accept TCP.
    LargeRequest { outcome: LargeRequest } = "frontdesk_large_requests_total",
    /// Messages of other nodes: requests for phones of this node, and what they tell it of calls (told); flow_gone: the phone is not connected any more; late: the clocks of the nodes differ; forged: no node has sent them.
    NodeRequest { outcome: NodeRequest } = "frontdesk_node_requests_total",
    /// Calls that went to another party by the rules of the office, by reason.
    Diverted { reason: DiversionReason } = "frontdesk_diversions_total",
    /// Calls by a trunk; out: each attempt at it; failed: the trunk failed or did not respond.
    TrunkCall { trunk: Name, direction: Direction, outcome: TrunkCallOutcome } = "frontdesk_trunk_calls_total",
    /// Calls that a trunk could not take, because it had `max_calls` calls already.
    TrunkFull { trunk: Name } = "frontdesk_trunk_full_total",
    /// Challenges of a trunk that were answered.
    TrunkChallenged { trunk: Name } = "frontdesk_trunk_challenges_total",
    /// Calls to a group; otherwise: nobody accepted the call, and it went to the party of `otherwise`.
    GroupCall { group: Name, outcome: GroupCallOutcome } = "frontdesk_group_calls_total",
    /// NOTIFY requests to subscribers of calls and registrations, by outcome.
    Notified { outcome: Notification } = "frontdesk_notifications_total",
    /// Requests within a dialog that did not go from one side of it to the other.
    DialogRequest { outcome: DialogRequest } = "frontdesk_dialog_requests_total",
    /// Rejected credentials, by reason.
    AuthenticationFailed { reason: AuthenticationFailure } = "frontdesk_authentication_failures_total",
    /// Messages that could not be parsed; answered: whether a 400 was sent.
    ParseError { answered: Answered, transport: Transport } = "frontdesk_parse_errors_total",
    /// Messages dropped without a response, by reason.
    Dropped { reason: DropReason } = "frontdesk_drops_total",
    /// Number of times a configured limit took effect; limit: the name of its key.
    LimitReached { limit: AnyLimit } = "frontdesk_limits_reached_total",
    /// Stream connections opened; in: by the peer, out: by the server.
    ConnectionOpened { direction: Direction } = "frontdesk_connections_opened_total",
    /// Stream connections that the server could not open.
    ConnectionFailed = "frontdesk_connections_failed_total",
    /// Handshakes on accepted connections; page: the peer only asked for a web page.
    Handshake { protocol: HandshakeProtocol, outcome: HandshakeOutcome } = "frontdesk_handshakes_total",
    /// TLS handshakes on connections that the server opened; name: the certificate is for another name.
    PeerHandshake { outcome: PeerHandshakeOutcome } = "frontdesk_peer_handshakes_total",
    /// Keep-alives received: packets, CRLF pings and STUN requests.
    KeepAlive { transport: Transport } = "frontdesk_keepalives_total",
    /// DNS lookups by outcome.
    Lookup { outcome: LookupOutcome } = "frontdesk_lookups_total",
    /// Changes to the location store by outcome.
    StoreChange { outcome: CommitOutcome } = "frontdesk_store_changes_total",
    /// Addresses with too many failures: banned, or exempt from bans (spared).
    AddressFailed { outcome: FailedAddress } = "frontdesk_bans_total",
    /// Messages and connections of banned addresses, dropped unread.
    Banned { transport: Transport } = "frontdesk_banned_dropped_total",
    /// Configuration reloads by outcome.
    Reload { outcome: ReloadResult } = "frontdesk_reloads_total",
    /// Messages that the server of `capture.hep` did not get: it does not answer, or there were too many.
    CaptureLost = "frontdesk_capture_lost_total",
    /// Log lines not written: too many of one kind (repeated), or the reader of the log is too slow.
    LineUnwritten { reason: UnwrittenLine } = "frontdesk_log_lines_dropped_total",
}

impl Series {
    /// The series of one trunk.
    fn of_trunk(trunk: &str) -> Vec<Self> {
        let name = || Name(trunk.into());
        let mut all = vec![Self::TrunkFull { trunk: name() }, Self::TrunkChallenged { trunk: name() }];
        for direction in Direction::all() {
            let outcomes = TrunkCallOutcome::all().into_iter();
            all.extend(outcomes.map(|outcome| Self::TrunkCall { trunk: name(), direction, outcome }));
        }
        all
    }

    /// The series of one group.
    fn of_group(group: &str) -> Vec<Self> {
        let outcomes = GroupCallOutcome::all().into_iter();
        outcomes.map(|outcome| Self::GroupCall { group: Name(group.into()), outcome }).collect()
    }

    /// Creates the series of the trunks and groups of a configuration: Prometheus sees the first increase of a series only
    /// if the series was there before.
    pub(crate) fn create_for<'a>(trunks: impl Iterator<Item = &'a str>, groups: impl Iterator<Item = &'a str>) {
        let all = trunks.flat_map(Self::of_trunk).chain(groups.flat_map(Self::of_group));
        all.for_each(|series| series.counter().increment(0));
    }
}

impl From<Loss> for Series {
    fn from(reason: Loss) -> Self {
        Self::Dropped { reason: DropReason::Transport(reason) }
    }
}

impl From<Drop> for Series {
    fn from(reason: Drop) -> Self {
        Self::Dropped { reason: DropReason::Core(reason) }
    }
}

impl From<DriverLimit> for Series {
    fn from(limit: DriverLimit) -> Self {
        Self::LimitReached { limit: AnyLimit::Driver(limit) }
    }
}

impl From<Limit> for Series {
    fn from(limit: Limit) -> Self {
        Self::LimitReached { limit: AnyLimit::Core(limit) }
    }
}

/// Declares gauges: help text, variant, name.
macro_rules! gauges {
    ($(#[doc = $about:literal])+ $kind:ident: $($(#[doc = $help:literal])+ $variant:ident = $name:literal,)+) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum $kind {
            $($(#[doc = $help])+ $variant,)+
        }

        impl $kind {
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Passes the help texts to the recorder.
            pub(super) fn describe() {
                $(describe_gauge!($name, concat!($($help),+).trim_start());)+
            }

            /// Rows of the table in README.md: name, help text.
            #[cfg(test)]
            pub(super) fn rows() -> Vec<(&'static str, &'static str)> {
                vec![$(($name, concat!($($help),+).trim_start())),+]
            }
        }
    };
}

gauges! {
    /// A gauge.
    Gauge:
    /// 1 if phones can register and call, as `/ready` reports.
    Ready = "frontdesk_ready",
    /// 1 if the last reload was refused and the previous configuration is still in use.
    ReloadFailed = "frontdesk_config_reload_failed",
    /// Stream connections open now.
    Connections = "frontdesk_connections",
    /// Users with at least one phone registered now.
    Users = "frontdesk_users",
    /// Phones registered now.
    Bindings = "frontdesk_bindings",
    /// Addresses banned now.
    Bans = "frontdesk_bans",
    /// Phones that only this server reaches, if several share the registrations: over their connection, or through a NAT.
    HeldBindings = "frontdesk_held_bindings",
    /// Servers that share the registrations and are alive, this one among them; 0 without such servers.
    Nodes = "frontdesk_nodes",
    /// Trunks configured.
    Trunks = "frontdesk_trunks",
    /// Trunks that work now: registered if they should be, and responding.
    TrunksUsable = "frontdesk_trunks_usable",
    /// Trunks at which the server should be registered and is not now.
    TrunksUnregistered = "frontdesk_trunks_unregistered",
    /// Trunks that do not respond now.
    TrunksSilent = "frontdesk_trunks_silent",
    /// Accounts configured.
    Accounts = "frontdesk_accounts",
    /// Calls in progress now, from INVITE to BYE.
    Calls = "frontdesk_calls",
    /// Forked requests in progress now.
    Transactions = "frontdesk_transactions",
    /// Unforked calls being set up now, and other requests forwarded in the last 37 s.
    Pins = "frontdesk_pins",
    /// Digest nonces in use now.
    Nonces = "frontdesk_nonces",
    /// Active subscriptions to calls and registrations.
    Subscriptions = "frontdesk_subscriptions",
    /// Dialog sides that changed their address during the dialog.
    MovedDialogs = "frontdesk_moved_dialogs",
    /// Changes waiting for the disk now.
    StoreQueue = "frontdesk_store_queue",
    /// 1 if the store accepts changes: the last changes were written, and its files exist.
    StoreUsable = "frontdesk_store_usable",
    /// The end of the validity of the TLS certificate that expires first, in seconds since 1970-01-01 UTC.
    CertificateExpiry = "frontdesk_tls_certificate_expiry_seconds",
    /// 1 if renewed certificates were refused and the previous ones are still in use.
    CertificateRefused = "frontdesk_tls_certificate_refused",
    /// Seconds since the server started.
    Uptime = "frontdesk_uptime_seconds",
    /// The clock of the machine, in seconds since 1970-01-01 UTC.
    Time = "frontdesk_time_seconds",
    /// Always 1; the version of the program is a label.
    BuildInfo = "frontdesk_build_info",
}

gauges! {
    /// A gauge of one trunk.
    TrunkGauge:
    /// 1 if the server is registered at the trunk, for trunks with `register: true`.
    Registered = "frontdesk_trunk_registered",
    /// 1 if the trunk responds to `probe`.
    Responding = "frontdesk_trunk_responding",
    /// Calls of the trunk now, for trunks with `max_calls`.
    Calls = "frontdesk_trunk_calls",
    /// `max_calls` of the trunk.
    MaxCalls = "frontdesk_trunk_max_calls",
}

impl TrunkGauge {
    /// Sets the gauge of a trunk.
    pub(crate) fn set(self, trunk: &str, value: u32) {
        self.of(trunk).set(f64::from(value));
    }

    /// The trunk has no such value any more. The recorder cannot remove a series, and with NaN no alert fires.
    pub(crate) fn clear(self, trunk: &str) {
        self.of(trunk).set(f64::NAN);
    }

    fn of(self, trunk: &str) -> metrics::Gauge {
        gauge!(self.name(), "trunk" => trunk.to_owned())
    }
}

impl Gauge {
    /// Sets the gauge to a number of things.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is an f64, exact up to 2^53")]
    pub(crate) fn set_count(self, count: impl TryInto<u64>) {
        gauge!(self.name()).set(count.try_into().unwrap_or(u64::MAX) as f64);
    }

    /// Sets the gauge to 1 or 0.
    pub(crate) fn set_flag(self, flag: bool) {
        gauge!(self.name()).set(f64::from(flag));
    }

    /// Sets the gauge to a time in seconds.
    pub(crate) fn set_seconds(self, time: Duration) {
        gauge!(self.name()).set(time.as_secs_f64());
    }
}
