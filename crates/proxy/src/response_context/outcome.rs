//! How a branch ended: what it contributes to the choice of the final response (RFC 3261 16.7 step 4).
//!
//! Must not choose among several outcomes: `best.rs` does.

use parser::{HeaderName, Message, reason_phrase};

/// How a branch ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// With a 2xx, which was forwarded at once.
    Success,
    /// With a failure that can be forwarded.
    Final(Box<Message>),
    /// With a redirection that this server follows, so it is not forwarded.
    Followed,
    /// Without a response; another contact of the phone is tried.
    FailedOver,
    /// Over TCP and without a response; the branch over UDP counts instead (RFC 3261 18.1.1).
    OverUdpInstead,
    /// Without a response that can be forwarded: the status that stands for it.
    NoResponse(u16),
}

impl Outcome {
    /// Its status; `None` if it does not count.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Success => Some(200),
            Self::Final(message) => message.status(),
            Self::FailedOver => Some(408),
            Self::NoResponse(status) => Some(*status),
            Self::Followed | Self::OverUdpInstead => None,
        }
    }
}

/// Which branches a 6xx of a branch ends. RFC 3261 16.7 step 5 says all; a rule of the office may need the others. It
/// depends on whom the branch is for: the response may come when the call is for another party already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RefusalScope {
    /// All branches.
    #[default]
    Call,
    /// All branches; but after a 600 the call is forwarded, since the user has a party for calls while it is busy.
    CallUnlessBusy,
    /// Only this one: a member of a group does not speak for the others.
    Branch,
}

/// Why a branch is cancelled. The greater cause prevails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CancelCause {
    /// A timer of this server fired: the ring time or Timer C.
    TimedOut,
    /// The caller cancelled, or another branch decided the response: the caller waits for the 487.
    NotNeeded,
}

impl CancelCause {
    /// The status of the branch if the phone sends no final response.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::TimedOut => 408,
            Self::NotNeeded => 487,
        }
    }
}

/// The Reason for a CANCEL or a 199 that this final response causes (RFC 3326 2).
pub(super) fn reason_of(status: u16) -> String {
    format!("SIP;cause={status};text=\"{}\"", reason_phrase(status))
}

/// Whether a response can be forwarded: it has a Via below ours.
pub(super) fn has_upstream_via(response: &Message) -> bool {
    response.values(HeaderName::Via).nth(1).is_some()
}
