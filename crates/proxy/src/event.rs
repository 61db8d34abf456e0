//! Events for the log and the metrics. A new metric is one variant here and one counter in the server.
//!
//! An enum that becomes a label of a metric derives the label from the names of its variants. So labels are closed
//! sets: text from a peer never becomes a label. Such text (addresses of record) is only for the log.

use std::net::SocketAddr;

use location::{Aor, Flow, Record};
use parser::Transport;
use strum::{IntoStaticStr, VariantArray};

use crate::calls::CallRecord;
use crate::config_key::ConfigKey;

pub(crate) use crate::calls::{CalledPhone, DiversionReason, Offence, TriedPhones};

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
    /// A task at a trunk has failed, or works again.
    Trunk {
        /// The name of the trunk.
        trunk: Box<str>,
        /// The task.
        task: TrunkTask,
        /// The status of the trunk, 408 without response; `None` if the task works.
        status: Option<u16>,
    },
    /// An attempt to call by a trunk ended; a call that is tried at two trunks has two.
    TrunkCall {
        /// The name of the trunk.
        trunk: Box<str>,
        /// The result.
        outcome: TrunkCallOutcome,
    },
    /// A trunk could not take a call, because it has `max_calls` calls already.
    TrunkFull {
        /// The name of the trunk.
        trunk: Box<str>,
    },
    /// A challenge of a trunk was answered.
    TrunkChallenged {
        /// The name of the trunk.
        trunk: Box<str>,
    },
    /// A call to a ring group ended, or went to the party after the group.
    GroupCall {
        /// The group.
        group: Aor,
        /// The result.
        outcome: GroupCallOutcome,
    },
    /// A REGISTER was processed: for a local domain, or refused because its domain is not local.
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
        before: u32,
        /// Number of bindings after it.
        bindings: u32,
        /// The longest remaining time of these, in seconds.
        expires: u32,
        /// The flow that it came over.
        flow: Flow,
        /// The record after it, if bindings were added or refreshed. The log takes the name of the phone from it.
        record: Option<Record>,
        /// The permission that the sender lacks, if this is why it was refused.
        offence: Option<Offence>,
        /// The key that decided about its refusal.
        key: Option<ConfigKey>,
    },
    /// An INVITE that begins a call was routed.
    Call {
        /// The caller, from the From header.
        from: Aor,
        /// The called user or foreign address.
        to: Aor,
        /// Number of phones that will ring, in all groups together.
        targets: usize,
    },
    /// The first 2xx to that INVITE was forwarded.
    CallAnswered {
        /// The source address of the INVITE.
        source: SocketAddr,
    },
    /// A call has ended: by a BYE or a final response, or this server has refused its INVITE.
    CallEnded(Box<CallRecord>),
    /// Another request outside of a dialog was refused because of its sender, or an INVITE of such a sender was challenged.
    RequestRefused {
        /// The permission that the sender lacks.
        offence: Offence,
        /// Reason phrase of the response.
        reason: &'static str,
        /// The key that decided.
        key: Option<ConfigKey>,
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
    /// A request was too long for UDP (RFC 3261 18.1.1).
    LargeRequest {
        /// What was done.
        outcome: LargeRequest,
    },
    /// A message with a token of another node came.
    NodeRequest {
        /// What was done.
        outcome: NodeRequest,
    },
    /// A call goes to another party, by the rules of the office.
    Diverted {
        /// Why.
        reason: DiversionReason,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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

/// The result of a response context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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

/// The result of an attempt to call by a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TrunkCallOutcome {
    /// With a 2xx.
    Answered,
    /// Nobody accepted the call: the called party is busy, declines or does not exist, or the trunk does not allow it.
    Refused,
    /// The caller hung up, or another party accepted the call.
    Cancelled,
    /// The trunk failed or did not respond.
    Failed,
}

/// The result of a call to a ring group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum GroupCallOutcome {
    /// A member accepted it.
    Answered,
    /// It went to the party of `otherwise`.
    Otherwise,
    /// Nobody accepted it.
    Unanswered,
}

/// What this server does at a trunk again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrunkTask {
    /// It registers there.
    Register,
    /// It asks whether the trunk responds.
    Probe,
}

/// The result of a request that its dialog token alone does not permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DialogRequest {
    /// Its sender was challenged.
    Challenged,
    /// It was refused; an ACK was dropped.
    Refused,
}

/// What was done with a message of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum NodeRequest {
    /// It was sent over the flow of the phone.
    Delivered,
    /// That flow is gone.
    FlowGone,
    /// It was for this node itself, which the other one tells of calls.
    Told,
    /// The token is older than 32 s, or the clocks of the nodes differ by that.
    Late,
    /// No node has signed these octets.
    Forged,
}

/// What was done with a request that is too long for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LargeRequest {
    /// It was sent over TCP.
    OverTcp,
    /// Nobody accepted it over TCP, so it was sent over UDP.
    Refused,
}

/// The result of a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Notification {
    /// With a 2xx.
    Answered,
    /// With another final response.
    Refused,
    /// With no response, or it could not be sent.
    Unanswered,
}

/// Why credentials were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Limit {
    /// Number of response contexts.
    Transactions,
    /// Memory of all response contexts.
    TransactionMemory,
    /// Targets of one request.
    Targets,
    /// Number of calls of a trunk.
    MaxCalls,
    /// Number of pins.
    Pins,
    /// Nonces in the replay window.
    Nonces,
    /// Wrong responses to one nonce.
    NonceFailures,
    /// Challenged REGISTERs that are remembered.
    UnansweredChallenges,
    /// Contacts of an AoR.
    MaxContacts,
    /// Length of one Contact with its Path and instance.
    ContactSize,
    /// Number of subscriptions.
    Subscriptions,
    /// Subscriptions to one user.
    SubscriptionsPerUser,
    /// Moved sides of dialogs that are remembered.
    MovedDialogs,
    /// Addresses of host names that failed a short time ago.
    Unreachable,
    /// Addresses that refused TCP.
    UdpOnly,
    /// Length of a response in relation to its request.
    Amplification,
    /// Changes that wait for the store.
    StoreQueue,
    /// Calls in progress that are known.
    JournalCalls,
}
