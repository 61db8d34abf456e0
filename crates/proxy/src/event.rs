//! Events for the log and the metrics. A new metric is one variant here and one match arm in the server.
//!
//! Labels are closed sets: text from a peer never becomes a label. Such text (addresses of record) is only for the log.

use std::net::SocketAddr;

use location::{Aor, Flow};
use parser::Transport;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request was received.
    RequestReceived {
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The transport that it came over.
        transport: Transport,
    },
    /// A request was forwarded.
    RequestForwarded {
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The transport that it went over.
        transport: Transport,
    },
    /// A response was received.
    ResponseReceived {
        /// 100..=699.
        status: u16,
        /// The transport that it came over.
        transport: Transport,
    },
    /// A response was sent: one of this server or a forwarded one.
    ResponseSent {
        /// Method of the request, or `other`.
        method: &'static str,
        /// 100..=699.
        status: u16,
        /// The transport that it went over.
        transport: Transport,
    },
    /// A REGISTER for a local domain was processed.
    Registration {
        /// The result.
        outcome: Registration,
        /// Status of the response.
        status: u16,
        /// Reason phrase of the response.
        reason: &'static str,
        /// The AoR of the REGISTER.
        aor: Aor,
        /// Number of bindings before it.
        before: usize,
        /// Number of bindings after it.
        bindings: usize,
        /// The longest remaining time of these, in seconds.
        expires: u32,
        /// The flow that it came over.
        flow: Flow,
        /// The permission that the sender lacks, if this is why it was refused.
        offence: Option<Offence>,
    },
    /// An INVITE that begins a call was routed.
    Call {
        /// Identifies the call in later events. No two calls have the same one.
        call: u64,
        /// The caller, from the From header.
        from: Aor,
        /// The called user or foreign address.
        to: Aor,
        /// Number of phones that will ring, in all groups together.
        targets: usize,
    },
    /// The first final response to an INVITE was forwarded. INVITEs within a dialog emit this too, without an
    /// [`Event::Call`] before.
    CallEnded {
        /// As in [`Event::Call`].
        call: u64,
        /// 200..=699; `None` if no final response came in time.
        status: Option<u16>,
        /// Number of phones that were tried.
        tried: usize,
        /// The phone that sent the final response; `None` if several phones are behind it, or this server made
        /// it.
        by: Option<SocketAddr>,
    },
    /// An INVITE that begins a call was refused by this server.
    CallRefused {
        /// As in [`Event::Call`], if that was emitted.
        call: u64,
        /// The caller, from the From header.
        from: Aor,
        /// The called user or foreign address.
        to: Aor,
        /// 400..=699.
        status: u16,
        /// Reason phrase of the response.
        reason: &'static str,
        /// The source address.
        source: SocketAddr,
        /// The permission that the sender lacks, if this is why it was refused.
        offence: Option<Offence>,
    },
    /// Another request outside of a dialog was refused because of its sender.
    RequestRefused {
        /// The permission that the sender lacks.
        offence: Offence,
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The sender, from the From header.
        from: Aor,
        /// The source address.
        source: SocketAddr,
    },
    /// A response context ended.
    Fork {
        /// The result.
        outcome: ForkOutcome,
    },
    /// The transaction of a NOTIFY of this server ended (RFC 3680).
    Notified {
        /// The result.
        outcome: Notification,
    },
    /// Credentials were missing or wrong.
    AuthenticationFailed {
        /// The reason.
        reason: AuthenticationFailure,
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The user that the request names: of the bindings to change, or as the caller.
        user: Aor,
        /// The flow that it came over.
        flow: Flow,
        /// Whether the failure counts towards a ban of the source address: the credentials were wrong, and the
        /// address is not forged. A UDP source is known to be real if the nonce was sent to it.
        counts: bool,
    },
    /// A request with a valid dialog token was not sent by one side of the dialog to the other.
    DialogRequest {
        /// The result.
        outcome: DialogRequest,
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The flow that it came over.
        flow: Flow,
    },
    /// A message has a syntax error.
    ParseError {
        /// Whether a 400 could be sent.
        answered: bool,
        /// The flow that it came over.
        flow: Flow,
    },
    /// A message was dropped without a response.
    Dropped(Drop),
    /// A configured limit took effect.
    LimitReached(Limit),
}

/// The result of a REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Registration {
    /// Bindings were added or refreshed.
    Registered,
    /// Bindings were removed and none added.
    Unregistered,
    /// The REGISTER asked for no change.
    Queried,
    /// Challenged with 401.
    Challenged,
    /// Refused with a 4xx.
    Refused,
    /// The store failed or had no room.
    Failed,
}

/// The permission that the sender of a request lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// To act as another user than the authenticated one.
    Identity,
    /// To call local users without an account here.
    Stranger,
    /// To reach foreign domains through this server.
    Relay,
    /// To use a Route value that this server did not issue.
    ForeignRoute,
}

/// The result of a response context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForkOutcome {
    /// A 2xx was forwarded.
    Answered,
    /// The caller cancelled before.
    Cancelled,
    /// The best final response was not a 2xx.
    Refused,
    /// No phone sent a final response in time.
    TimedOut,
}

/// The result of a request that its dialog token alone does not permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialogRequest {
    /// Its sender was challenged.
    Challenged,
    /// It was refused; an ACK was dropped.
    Refused,
}

/// The result of a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notification {
    /// With a 2xx.
    Answered,
    /// With another final response.
    Refused,
    /// With no response, or it could not be sent.
    Unanswered,
}

/// Why credentials were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthenticationFailure {
    /// Unknown user or wrong password. The event does not say which.
    Credentials,
    /// The nonce is not from this server, or it is too old.
    Stale,
    /// The nonce count was used before.
    Replay,
    /// The credentials are valid, but for another user.
    Identity,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Drop {
    /// Not SIP.
    Garbage,
    /// Malformed, and without the headers that a response needs.
    Unanswerable,
    /// A response that belongs to no transaction and has no valid mark (RFC 6026 8.2).
    StrayResponse,
    /// An ACK that belongs to no INVITE.
    StrayAck,
    /// No address to send it to is known.
    Unroutable,
    /// A response cannot be sent to the source: its port is 0.
    Source,
    /// A response that was too long for an unauthenticated UDP source.
    Amplification,
}

/// A limit of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Number of response contexts.
    Transactions,
    /// Memory of all response contexts.
    TransactionMemory,
    /// Targets of one request.
    Targets,
    /// Number of pins.
    Pins,
    /// Nonces in the replay window.
    Nonces,
    /// Wrong responses to one nonce.
    NonceFailures,
    /// Challenged REGISTERs that are remembered.
    UnansweredChallenges,
    /// Contacts of an AoR.
    Contacts,
    /// Length of one Contact with its Path and instance.
    ContactSize,
    /// Number of subscriptions.
    Subscriptions,
    /// Subscriptions to one user.
    SubscriptionsPerUser,
    /// Moved sides of dialogs that are remembered.
    MovedDialogs,
    /// Length of a response in relation to its request.
    Amplification,
    /// Changes that wait for the store.
    StoreQueue,
}
