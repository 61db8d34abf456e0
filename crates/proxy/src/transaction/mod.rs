//! The four transaction state machines (RFC 3261 17, RFC 6026), one file each. The type has the diagram.
//!
//! A machine decides what a message means in its state and what to do when a timer fires. It contains no message and
//! sends nothing; `response_context` does that. Its state can be changed only by its own methods.

mod client_invite;
mod client_other;
mod server_invite;
mod server_other;

pub(crate) use client_invite::ClientInvite;
pub(crate) use client_other::ClientOther;
pub(crate) use server_invite::ServerInvite;
pub(crate) use server_other::ServerOther;

use crate::clock::Instant;

/// What a response means to a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientEvent {
    /// A 1xx to pass up.
    Provisional,
    /// A 2xx to pass up.
    Success,
    /// The first 300 to 699 to pass up. If it answers an INVITE, an ACK has to be sent.
    Failure,
    /// A retransmitted 300 to 699 to an INVITE. An ACK has to be sent; nothing is passed up.
    FailureAgain,
    /// Nothing has to be done.
    Nothing,
    /// The response does not belong to this transaction.
    Stray,
}

/// What a transaction does when its timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerAction {
    /// Retransmit the message.
    Resend,
    /// Give up, because no final response was received.
    TimedOut,
    /// Nothing.
    Nothing,
}

/// The sooner of two deadlines.
pub(crate) fn sooner(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Whether a deadline has come.
pub(crate) fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Timers;

    /// RFC 3261 table 4.
    pub(crate) const TIMERS: Timers = Timers {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        c: Duration::from_secs(181),
    };

    pub(crate) const fn ms(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }
}
