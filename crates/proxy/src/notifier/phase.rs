//! The phases of a subscription, with what means something in each (RFC 6665 4.1.3, 4.2).
//!
//! Holds values and computes moments. `subscription.rs` moves a subscription from one phase to the next.

use crate::clock::Instant;
use crate::transaction::sooner;

use super::state::State;

/// ```text
///   SUBSCRIBE            Expires: 0, expired, not authorized
///  -----------> Active -----------------------------------> Terminating
///                 |                                             | the last NOTIFY is sent
///                 '-------------> Terminated <------------------'
///                   a NOTIFY failed
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    Active(Active),
    Terminating(Terminating),
    /// No further NOTIFY is sent. The subscription is kept for retransmissions of its SUBSCRIBE.
    Terminated,
}

/// NOTIFYs report changes of the state.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) expires_at: Instant,
    /// The state as the last NOTIFY reported it; `None` if the next one has to have the full state.
    pub(super) reported: Option<State>,
    /// When the state is read next; `None` if no change is due.
    pub(super) read_at: Option<Instant>,
    /// Whether the answer to a question is awaited: the state, or an address for the NOTIFYs.
    pub(super) is_waiting: bool,
    /// No change is reported before this moment (RFC 6665 5.4.10).
    pub(super) not_before: Instant,
}

/// The state is being read for the last NOTIFY (RFC 6665 4.1.3).
#[derive(Debug)]
pub(super) struct Terminating {
    /// The value of `reason` in Subscription-State.
    pub(super) reason: Reason,
    /// As in [`Active`].
    pub(super) reported: Option<State>,
}

/// Why a subscription ends (RFC 6665 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Timeout,
    Rejected,
}

impl Active {
    /// The last NOTIFY has to wait for the interval, too.
    pub(super) fn ends_at(&self) -> Instant {
        self.expires_at.max(self.not_before)
    }

    /// Has the state read at this moment, or as soon after it as the next NOTIFY may be sent.
    pub(super) fn read_after(&mut self, at: Instant) {
        self.read_at = sooner(self.read_at, Some(self.not_before.max(at)));
    }
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
        }
    }
}
