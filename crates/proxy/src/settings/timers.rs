//! Protocol timers (RFC 3261 17, table 4).
//!
//! Values only; `transaction` and `response_context` arm the timers.

use std::time::Duration;

/// The values that all timers of a transaction are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimated round-trip time.
    pub t1: Duration,
    /// Longest interval between two retransmissions.
    pub t2: Duration,
    /// Longest time that a message stays in the network.
    pub t4: Duration,
    /// How long an INVITE may stay without a response; more than 3 minutes (RFC 3261 16.6 step 11).
    pub c: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let [t2, t4, c] = [4, 5, 181].map(Duration::from_secs);
        Self { t1: Duration::from_millis(500), t2, t4, c }
    }
}

impl Timers {
    /// 64·T1: timers B, F, H, J, L and M.
    pub const fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// How long after a request a retransmission of it can arrive: the last one is sent after 64·T1, and stays in the
    /// network for T4.
    pub(crate) const fn last_copy(&self) -> Duration {
        self.give_up().saturating_add(self.t4)
    }
}
