//! Facts for log and metrics. Adding a metric is one variant here, and one counter in the server.
//!
//! An enum that becomes a label of a metric derives the label from the name of its variant. So labels are closed sets:
//! nothing that a peer writes becomes a label. Text that a peer wrote (AoRs) is only for the log.

use std::net::SocketAddr;

use location::{Aor, Flow};
use parser::Transport;
use strum::{IntoStaticStr, VariantArray};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request came in.
    RequestReceived {
        /// Upper-case method, or `other`.
        method: &'static str,
        /// How it came.
        transport: Transport,
    },
    /// A request of somebody else went out.
    RequestForwarded {
        /// Upper-case method, or `other`.
        method: &'static str,
        /// How it went.
        transport: Transport,
    },
    /// A response came in.
    ResponseReceived {
        /// 100..=699.
        status: u16,
        /// How it came.
        transport: Transport,
    },
    /// A response went out, made here or forwarded.
    ResponseSent {
        /// Method of its request, or `other`.
        method: &'static str,
        /// 100..=699.
        status: u16,
        /// How it went.
        transport: Transport,
    },
    /// A REGISTER for a domain of ours was decided.
    Registration {
        /// How it ended.
        outcome: Registration,
        /// The status of its answer.
        status: u16,
        /// What stands beside the status.
        reason: &'static str,
        /// For whom.
        aor: Aor,
        /// Live bindings before it.
        before: usize,
        /// Live bindings after it.
        bindings: usize,
        /// The longest remaining time of them, in seconds.
        expires: u32,
        /// Where it came from.
        flow: Flow,
        /// What its sender may not, if it was refused for that.
        offence: Option<Offence>,
    },
    /// An INVITE that begins a call was routed.
    Call {
        /// Names the call in what follows; never the same for two of them.
        call: u64,
        /// The caller, by its From.
        from: Aor,
        /// The user of ours, or the foreign address.
        to: Aor,
        /// How many phones are to ring, all groups together.
        targets: usize,
    },
    /// The first final response to an INVITE has passed. INVITEs within a dialog end so too: their calls are not known.
    CallEnded {
        /// As in [`Event::Call`].
        call: u64,
        /// 200..=699; none if no final came in time.
        status: Option<u16>,
        /// How many phones were tried.
        tried: usize,
        /// The phone that gave it; none if it speaks for several, or was made here.
        by: Option<SocketAddr>,
    },
    /// An INVITE that would have begun a call was refused here.
    CallRefused {
        /// As in [`Event::Call`], if it came so far.
        call: u64,
        /// The caller, by its From.
        from: Aor,
        /// The user of ours, or the foreign address.
        to: Aor,
        /// 400..=699.
        status: u16,
        /// What stands beside the status.
        reason: &'static str,
        /// Where it came from.
        source: SocketAddr,
        /// What its sender may not, if it was refused for that.
        offence: Option<Offence>,
    },
    /// Any other request was refused because of its sender, outside of a dialog.
    RequestRefused {
        /// What its sender may not.
        offence: Offence,
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The sender, by its From.
        from: Aor,
        /// Where it came from.
        source: SocketAddr,
    },
    /// A response context ended.
    Fork {
        /// How it ended.
        outcome: ForkOutcome,
    },
    /// A NOTIFY of ours has ended (RFC 3680).
    Notified {
        /// How.
        outcome: Notification,
    },
    /// Credentials were missing or wrong.
    AuthenticationFailed {
        /// Why.
        reason: AuthenticationFailure,
        /// Upper-case method, or `other`.
        method: &'static str,
        /// The user that was claimed: whose bindings were to change, or who was to be the caller.
        user: Aor,
        /// From where.
        flow: Flow,
        /// Whether it is held against the address: wrong credentials, from an address that is the sender's own. Over UDP
        /// anybody writes any address; it is known to be its own if the nonce was sent there.
        counts: bool,
    },
    /// A request with a token of its dialog did not come from one side of it, or did not go to the other.
    DialogRequest {
        /// What became of it.
        outcome: DialogRequest,
        /// Upper-case method, or `other`.
        method: &'static str,
        /// From where.
        flow: Flow,
    },
    /// A message could not be read.
    ParseError {
        /// Whether it could be answered with a 400.
        answered: bool,
        /// How it came.
        flow: Flow,
    },
    /// A message was dropped without an answer.
    Dropped(Drop),
    /// A configured limit took effect.
    LimitReached(Limit),
}

/// How a REGISTER ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Registration {
    /// Bindings were added or refreshed.
    Registered,
    /// Bindings were removed and none added.
    Unregistered,
    /// Nothing was asked to change.
    Queried,
    /// Challenged with 401.
    Challenged,
    /// Refused with a 4xx.
    Refused,
    /// The store could not take it.
    Failed,
}

/// What the sender of a request may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// Act as another user than the one that the credentials are of.
    Identity,
    /// Reach our users from elsewhere.
    Stranger,
    /// Reach somebody elsewhere through us.
    Relay,
    /// Use a Route that was not issued here.
    ForeignRoute,
}

/// How a response context ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ForkOutcome {
    /// A 2xx was passed on.
    Answered,
    /// The caller hung up first.
    Cancelled,
    /// The best final was not a 2xx.
    Refused,
    /// No phone gave a final in time.
    TimedOut,
}

/// What became of a request that its dialog alone does not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DialogRequest {
    /// Its sender was asked for credentials.
    Challenged,
    /// It was refused; an ACK, dropped.
    Refused,
}

/// How a NOTIFY ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Notification {
    /// With a 2xx.
    Answered,
    /// With another final response.
    Refused,
    /// With none, or it could not be sent.
    Unanswered,
}

/// Why credentials were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AuthenticationFailure {
    /// Unknown user or wrong password: not told apart.
    Credentials,
    /// The nonce is not ours or too old.
    Stale,
    /// The nonce count was used before.
    Replay,
    /// The credentials are good, but for another user.
    Identity,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Drop {
    /// Not SIP.
    Garbage,
    /// Malformed and without the headers that an answer needs.
    Unanswerable,
    /// A response that matches no transaction and carries no mark of ours (RFC 6026 8.2).
    StrayResponse,
    /// An ACK that nobody waits for.
    StrayAck,
    /// No address to send it to.
    Unroutable,
    /// The source cannot be answered (port 0).
    Source,
    /// An answer that would have been too long for a source that has proved nothing.
    Amplification,
}

/// A limit of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Limit {
    /// Response contexts at a time.
    Transactions,
    /// What they hold.
    TransactionMemory,
    /// Targets of one request.
    Targets,
    /// Pins at a time.
    Pins,
    /// Nonces in the replay window.
    Nonces,
    /// Wrong responses to one nonce.
    NonceFailures,
    /// Challenged REGISTERs that are remembered.
    UnansweredChallenges,
    /// Contacts of an AoR.
    Contacts,
    /// Text of one Contact and what belongs to it.
    ContactSize,
    /// Subscriptions at a time.
    Subscriptions,
    /// Those to one user.
    SubscriptionsPerUser,
    /// Sides of dialogs that have moved.
    MovedDialogs,
    /// How much longer than its request an answer may be.
    Amplification,
    /// The store's queue.
    StoreQueue,
}
