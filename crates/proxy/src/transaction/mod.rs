//! The four transaction machines of RFC 3261 17 with RFC 6026, one file each, the diagram on the type.
//!
//! Each machine only says what its diagram says: what a message means in its state, and what is due. It holds no
//! message and sends nothing; `response_context` owns the text and the Outbox. An illegal move is impossible outside its file.

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
    /// The first 300 to 699, to pass up (and to be ACKed, if it answers an INVITE).
    Failure,
    /// A retransmitted 300 to 699 to an INVITE: ACK it again, pass nothing up.
    FailureAgain,
    /// Nothing new.
    Nothing,
    /// Not for this transaction at all.
    Stray,
}

/// What a transaction does when its timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerAction {
    /// Send it again.
    Resend,
    /// Give up: no final response came.
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
