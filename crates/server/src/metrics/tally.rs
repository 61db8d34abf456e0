//! Counters of one worker. Each [`Counter`] is looked up once and kept; a worker adds up its counts and publishes
//! them once per batch, so that counting is an addition.
//!
//! Decides labels.

use hashbrown::HashMap;
use metrics::{Counter, Label, counter};
use parser::Transport;
use proxy::{AuthenticationFailure, DialogRequest, Drop, Event, ForkOutcome, Limit, Notification, Registration};

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct Tally {
    counters: HashMap<Series, Counter>,
    /// Counts that have not been published. There are few series per batch, so a linear search is fastest.
    unpublished: Vec<(Series, u64)>,
}

/// One time series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Series {
    /// Method, transport.
    RequestReceived(&'static str, Transport),
    /// Method, transport.
    RequestForwarded(&'static str, Transport),
    /// Status, transport.
    ResponseReceived(u16, Transport),
    /// Method of the request, status, transport.
    ResponseSent(&'static str, u16, Transport),
    /// REGISTER by outcome.
    Registration(Registration),
    /// An initial INVITE.
    Call,
    /// A response context by outcome.
    Fork(ForkOutcome),
    /// A NOTIFY by outcome.
    Notified(Notification),
    DialogRequest(DialogRequest),
    /// Credentials refused.
    AuthenticationFailed(AuthenticationFailure),
    /// Unparseable message: answered?, transport.
    ParseError(bool, Transport),
    /// The core dropped a message.
    Dropped(Drop),
    /// The transports dropped a message.
    Lost(Loss),
    /// A message or connection of a banned address.
    Banned(Transport),
    /// A limit of the core.
    LimitReached(Limit),
    /// A limit of the transports.
    DriverLimitReached(DriverLimit),
    /// A connection: opened by us?
    ConnectionOpened(bool),
    /// A connection that could not be opened.
    ConnectionFailed,
    /// A keep-alive.
    KeepAlive(Transport),
    /// A DNS lookup: found?
    Lookup(bool),
}

/// Why a transport dropped a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loss {
    /// Received at a broadcast or multicast address, which must not be answered.
    Broadcast,
    /// The socket's buffer was full.
    SendBuffer,
    /// The system refused to send it.
    Unsendable,
    /// Its connection failed.
    ConnectionFailed,
    /// No listener serves this transport.
    NoTransport,
}

/// A limit of the transports and queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DriverLimit {
    /// `limits.message_size`
    MessageSize,
    /// `limits.worker_queue`
    WorkerQueue,
    /// `limits.connections`, or the system's limit of open files.
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
    /// `limits.journal_queue`
    JournalQueue,
    /// `limits.users`
    Users,
}

impl Tally {
    /// With all series of closed sets initialised to 0, so that the first increase is visible to Prometheus.
    pub(crate) fn new() -> Self {
        let mut tally = Self::default();
        for series in Series::with_fixed_labels() {
            tally.counter(series);
        }
        tally
    }

    /// Adds one; published by [`publish`](Self::publish).
    pub(crate) fn count(&mut self, series: Series) {
        match self.unpublished.iter_mut().find(|(known, _)| *known == series) {
            Some((_, count)) => *count += 1,
            None => self.unpublished.push((series, 1)),
        }
    }

    /// Publishes the counts since the last call.
    pub(crate) fn publish(&mut self) {
        let mut unpublished = std::mem::take(&mut self.unpublished);
        unpublished.drain(..).for_each(|(series, count)| self.counter(series).increment(count));
        self.unpublished = unpublished;
    }

    /// Counts an event of the core.
    pub(crate) fn event(&mut self, event: &Event) {
        self.count(match event {
            Event::RequestReceived { method, transport } => Series::RequestReceived(method, *transport),
            Event::RequestForwarded { method, transport } => Series::RequestForwarded(method, *transport),
            Event::ResponseReceived { status, transport } => Series::ResponseReceived(*status, *transport),
            Event::ResponseSent { method, status, transport } => Series::ResponseSent(method, *status, *transport),
            Event::Registration { outcome, .. } => Series::Registration(*outcome),
            Event::Call { .. } => Series::Call,
            Event::Fork { outcome } => Series::Fork(*outcome),
            Event::Notified { outcome } => Series::Notified(*outcome),
            Event::DialogRequest { outcome, .. } => Series::DialogRequest(*outcome),
            Event::AuthenticationFailed { reason, .. } => Series::AuthenticationFailed(*reason),
            Event::ParseError { answered, flow } => Series::ParseError(*answered, flow.transport),
            Event::Dropped(drop) => Series::Dropped(*drop),
            Event::LimitReached(limit) => Series::LimitReached(*limit),
            // Counted by the event log, which knows the call.
            Event::CallEnded { .. } | Event::CallRefused { .. } | Event::RequestRefused { .. } => return,
        });
    }

    fn counter(&mut self, series: Series) -> &Counter {
        self.counters.entry(series).or_insert_with(|| counter!(series.name(), series.labels()))
    }
}

impl Series {
    const fn name(self) -> &'static str {
        match self {
            Self::RequestReceived(..) => "frontdesk_requests_received_total",
            Self::RequestForwarded(..) => "frontdesk_requests_forwarded_total",
            Self::ResponseReceived(..) => "frontdesk_responses_received_total",
            Self::ResponseSent(..) => "frontdesk_responses_sent_total",
            Self::Registration(_) => "frontdesk_registrations_total",
            Self::Call => "frontdesk_calls_total",
            Self::Fork(_) => "frontdesk_forks_total",
            Self::Notified(_) => "frontdesk_notifications_total",
            Self::DialogRequest(_) => "frontdesk_dialog_requests_total",
            Self::AuthenticationFailed(_) => "frontdesk_authentication_failures_total",
            Self::ParseError(..) => "frontdesk_parse_errors_total",
            Self::Dropped(_) | Self::Lost(_) => "frontdesk_drops_total",
            Self::Banned(_) => "frontdesk_banned_dropped_total",
            Self::LimitReached(_) | Self::DriverLimitReached(_) => "frontdesk_limits_reached_total",
            Self::ConnectionOpened(_) => "frontdesk_connections_opened_total",
            Self::ConnectionFailed => "frontdesk_connections_failed_total",
            Self::KeepAlive(_) => "frontdesk_keepalives_total",
            Self::Lookup(_) => "frontdesk_lookups_total",
        }
    }

    fn labels(self) -> Vec<Label> {
        let label = Label::from_static_parts;
        let over = |transport: Transport| label("transport", transport.param());
        match self {
            Self::RequestReceived(method, transport) | Self::RequestForwarded(method, transport) => {
                vec![label("method", method), over(transport)]
            }
            Self::ResponseReceived(status, transport) => vec![code_label(status), over(transport)],
            Self::ResponseSent(method, status, transport) => {
                vec![label("method", method), code_label(status), over(transport)]
            }
            Self::Registration(outcome) => vec![label("outcome", registration_label(outcome))],
            Self::Fork(outcome) => vec![label("outcome", fork_label(outcome))],
            Self::Notified(outcome) => vec![label("outcome", notification_label(outcome))],
            Self::DialogRequest(outcome) => vec![label("outcome", dialog_request_label(outcome))],
            Self::AuthenticationFailed(reason) => vec![label("reason", failure_label(reason))],
            Self::ParseError(answered, transport) => {
                vec![label("answered", if answered { "yes" } else { "no" }), over(transport)]
            }
            Self::Dropped(reason) => vec![label("reason", drop_label(reason))],
            Self::Lost(reason) => vec![label("reason", loss_label(reason))],
            Self::LimitReached(limit) => vec![label("limit", limit_label(limit))],
            Self::DriverLimitReached(limit) => vec![label("limit", driver_limit_label(limit))],
            Self::ConnectionOpened(ours) => vec![label("direction", if ours { "out" } else { "in" })],
            Self::KeepAlive(transport) | Self::Banned(transport) => vec![over(transport)],
            Self::Lookup(found) => vec![label("outcome", if found { "found" } else { "failed" })],
            Self::Call | Self::ConnectionFailed => Vec::new(),
        }
    }

    /// The series whose labels are closed sets.
    fn with_fixed_labels() -> impl Iterator<Item = Self> {
        use Registration::{Challenged, Failed, Queried, Refused, Registered, Unregistered};
        let registrations = [Registered, Unregistered, Queried, Challenged, Refused, Failed].map(Self::Registration);
        let forks = [ForkOutcome::Answered, ForkOutcome::Cancelled, ForkOutcome::Refused, ForkOutcome::TimedOut]
            .map(Self::Fork);
        let notifications = {
            use Notification::{Answered, Refused, Unanswered};
            [Answered, Refused, Unanswered].map(Self::Notified)
        };
        let dialog_requests = [DialogRequest::Challenged, DialogRequest::Refused].map(Self::DialogRequest);
        let failures = {
            use AuthenticationFailure::{Credentials, Identity, Replay, Stale};
            [Credentials, Stale, Replay, Identity].map(Self::AuthenticationFailed)
        };
        let drops = {
            use Drop::{Amplification, Garbage, Source, StrayAck, StrayResponse, Unanswerable, Unroutable};
            [Garbage, Unanswerable, StrayResponse, StrayAck, Unroutable, Source, Amplification].map(Self::Dropped)
        };
        let losses = {
            use Loss::{Broadcast, ConnectionFailed, NoTransport, SendBuffer, Unsendable};
            [Broadcast, SendBuffer, Unsendable, ConnectionFailed, NoTransport].map(Self::Lost)
        };
        let limits = {
            use Limit::{
                Amplification, ContactSize, Contacts, MovedDialogs, NonceFailures, Nonces, Pins, StoreQueue,
                Subscriptions, SubscriptionsPerUser, Targets, TransactionMemory, Transactions, UnansweredChallenges,
            };
            [Transactions, TransactionMemory, Targets, Pins, Nonces, Contacts, ContactSize, StoreQueue]
                .into_iter()
                .chain([Subscriptions, SubscriptionsPerUser, MovedDialogs, NonceFailures, UnansweredChallenges])
                .chain([Amplification])
                .map(Self::LimitReached)
        };
        let driver_limits = {
            use DriverLimit::{
                ConnectionIdle, ConnectionQueue, Connections, ConnectionsPerSource, FlowTimer, HandshakeTime,
                Handshakes, HandshakesPerSource, JournalQueue, Lookups, MessageSize, MessageTime, Users, WorkerQueue,
            };
            [MessageSize, WorkerQueue, Connections, ConnectionsPerSource, ConnectionQueue, ConnectionIdle, MessageTime]
                .map(Self::DriverLimitReached)
                .into_iter()
                .chain([FlowTimer, Lookups, JournalQueue, Users].map(Self::DriverLimitReached))
                .chain([Handshakes, HandshakesPerSource, HandshakeTime].map(Self::DriverLimitReached))
        };
        let transports = [Transport::Udp, Transport::Tcp, Transport::Ws];
        let errors = transports.into_iter();
        let errors = errors.flat_map(|transport| [true, false].map(|answered| Self::ParseError(answered, transport)));
        let banned = transports.map(Self::Banned);
        let others = [Self::Call, Self::ConnectionFailed, Self::ConnectionOpened(true), Self::ConnectionOpened(false)];
        registrations
            .into_iter()
            .chain(forks)
            .chain(notifications)
            .chain(dialog_requests)
            .chain(failures)
            .chain(drops)
            .chain(losses)
            .chain(limits)
            .chain(driver_limits)
            .chain(errors)
            .chain(banned)
            .chain(others)
    }
}

/// Registered status codes (IANA). Others are counted by class, so that peers cannot create labels.
const CODES: &[u16] = &[
    100, 180, 181, 182, 183, 199, 200, 202, 204, 300, 301, 302, 305, 380, 400, 401, 402, 403, 404, 405, 406, 407, 408,
    410, 412, 413, 414, 415, 416, 417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437, 438, 439, 440, 469,
    470, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 500, 501, 502, 503, 504, 505, 513, 555, 580,
    600, 603, 604, 606, 607, 608,
];

fn code_label(status: u16) -> Label {
    if CODES.binary_search(&status).is_ok() {
        return Label::new("code", status.to_string());
    }
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "6xx",
    };
    Label::from_static_parts("code", class)
}

const fn registration_label(outcome: Registration) -> &'static str {
    match outcome {
        Registration::Registered => "registered",
        Registration::Unregistered => "unregistered",
        Registration::Queried => "queried",
        Registration::Challenged => "challenged",
        Registration::Refused => "refused",
        Registration::Failed => "failed",
    }
}

const fn fork_label(outcome: ForkOutcome) -> &'static str {
    match outcome {
        ForkOutcome::Answered => "answered",
        ForkOutcome::Cancelled => "cancelled",
        ForkOutcome::Refused => "refused",
        ForkOutcome::TimedOut => "timed_out",
    }
}

const fn notification_label(outcome: Notification) -> &'static str {
    match outcome {
        Notification::Answered => "answered",
        Notification::Refused => "refused",
        Notification::Unanswered => "unanswered",
    }
}

const fn dialog_request_label(outcome: DialogRequest) -> &'static str {
    match outcome {
        DialogRequest::Challenged => "challenged",
        DialogRequest::Refused => "refused",
    }
}

const fn failure_label(reason: AuthenticationFailure) -> &'static str {
    match reason {
        AuthenticationFailure::Credentials => "credentials",
        AuthenticationFailure::Stale => "stale",
        AuthenticationFailure::Replay => "replay",
        AuthenticationFailure::Identity => "identity",
    }
}

const fn drop_label(reason: Drop) -> &'static str {
    match reason {
        Drop::Garbage => "garbage",
        Drop::Unanswerable => "unanswerable",
        Drop::StrayResponse => "stray_response",
        Drop::StrayAck => "stray_ack",
        Drop::Unroutable => "unroutable",
        Drop::Source => "source",
        Drop::Amplification => "amplification",
    }
}

const fn loss_label(reason: Loss) -> &'static str {
    match reason {
        Loss::Broadcast => "broadcast",
        Loss::SendBuffer => "send_buffer",
        Loss::Unsendable => "unsendable",
        Loss::ConnectionFailed => "connection_failed",
        Loss::NoTransport => "no_transport",
    }
}

const fn limit_label(limit: Limit) -> &'static str {
    match limit {
        Limit::Transactions => "transactions",
        Limit::TransactionMemory => "transaction_memory",
        Limit::Targets => "targets",
        Limit::Pins => "pins",
        Limit::Nonces => "nonces",
        Limit::NonceFailures => "nonce_failures",
        Limit::UnansweredChallenges => "unanswered_challenges",
        Limit::Contacts => "contacts",
        Limit::ContactSize => "contact_size",
        Limit::SubscriptionsPerUser => "subscriptions_per_user",
        Limit::MovedDialogs => "moved_dialogs",
        Limit::Subscriptions => "subscriptions",
        Limit::StoreQueue => "store_queue",
        Limit::Amplification => "amplification",
    }
}

const fn driver_limit_label(limit: DriverLimit) -> &'static str {
    match limit {
        DriverLimit::MessageSize => "message_size",
        DriverLimit::WorkerQueue => "worker_queue",
        DriverLimit::Connections => "connections",
        DriverLimit::ConnectionsPerSource => "connections_per_source",
        DriverLimit::ConnectionQueue => "connection_queue",
        DriverLimit::ConnectionIdle => "connection_idle",
        DriverLimit::FlowTimer => "flow_timer",
        DriverLimit::MessageTime => "message_time",
        DriverLimit::Handshakes => "handshakes",
        DriverLimit::HandshakesPerSource => "handshakes_per_source",
        DriverLimit::HandshakeTime => "handshake_time",
        DriverLimit::Lookups => "lookups",
        DriverLimit::JournalQueue => "journal_queue",
        DriverLimit::Users => "users",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_are_counted_by_class() {
        assert!(CODES.is_sorted());
        assert_eq!(code_label(486), Label::new("code", "486"));
        assert_eq!(code_label(499), Label::new("code", "4xx"));
        assert_eq!(code_label(699), Label::new("code", "6xx"));
    }

    #[test]
    fn every_series_is_described() {
        let described = |series: Series| super::super::TABLE.iter().any(|(_, name, _)| *name == series.name());
        assert!(Series::with_fixed_labels().all(described));
    }
}
