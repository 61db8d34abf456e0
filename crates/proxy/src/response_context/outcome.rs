//! How a branch ended (RFC 3261 16.7 step 4): what it puts into the response context, if anything.

use parser::Message;

/// How a branch ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// With a 2xx, which was passed on at once.
    Success,
    /// With a response of the phone.
    Final(Box<Message>),
    /// With a redirection that is followed here, and not passed on.
    Followed,
    /// Without a response, while another address of the phone is tried.
    FailedOver,
    /// Without a response: the status code that stands for it (408, 480, 487, 503).
    NoResponse(u16),
}

impl Outcome {
    /// Its code; none if it says nothing to the caller.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Success => Some(200),
            Self::Final(message) => message.status(),
            Self::FailedOver => Some(408),
            Self::NoResponse(status) => Some(*status),
            Self::Followed => None,
        }
    }
}

/// Why a branch is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CancelCause {
    /// A timer of this server fired: the ring time, Timer C.
    TimedOut,
    /// The caller hung up, or another branch decided for all. Of the two causes this one prevails: the caller waits for it.
    NotNeeded,
}

impl CancelCause {
    /// The status that the end of the branch counts as, if no final of the phone comes.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::TimedOut => 408,
            Self::NotNeeded => 487,
        }
    }
}
