//! The non-INVITE server transaction (RFC 3261 17.2.2 figure 8, with the changes of RFC 4320).
//!
//! Must not send anything.

use std::time::Duration;

use super::{is_due, sooner};
use crate::clock::Instant;
use crate::settings::Timers;

/// ```text
///             request came
///            +-----------+   1xx    +------------+
///            |  Trying   |--------->| Proceeding |  request: last 1xx again
///            +-----------+          +------------+
///                  | 200-699          | 200-699
///                  '-------.  .-------'
///                          v  v
///                      +-----------+
///                      | Completed |  request: final again
///                      +-----------+
///                          | Timer J (reliable: at once)
///                          v
///                      Terminated
/// ```
///
/// Without a final response it goes from Trying or Proceeding to Terminated. Nothing is sent then, because the client
/// has timed out too (RFC 4320 4.2).
#[derive(Debug)]
pub(crate) struct ServerOther {
    state: State,
    /// When a 100 has to be sent (RFC 4320 4.1).
    trying_at: Option<Instant>,
    /// Timer J.
    ends_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl ServerOther {
    /// The state after the request was received.
    pub(crate) fn new(reliable: bool, timers: &Timers, now: Instant) -> Self {
        // RFC 4320 4.1: a 100 is sent when Timer E of the client has grown to T2, and over a reliable transport after
        // T1.
        let mut wait = Duration::ZERO;
        let mut interval = timers.t1;
        while !reliable && interval < timers.t2 {
            wait += interval;
            interval = interval.saturating_mul(2).max(Duration::from_millis(1));
        }
        Self { state: State::Trying, trying_at: Some(now + wait.max(timers.t1)), ends_at: None }
    }

    /// Whether the 100 has to be sent now. Returns true only once.
    pub(crate) fn trying_is_due(&mut self, now: Instant) -> bool {
        let due = self.state == State::Trying && is_due(self.trying_at, now);
        if due {
            self.trying_at = None;
        }
        due
    }

    /// Records that a response is sent. Returns false if the state does not permit it.
    pub(crate) fn send(&mut self, status: u16, reliable: bool, timers: &Timers, now: Instant) -> bool {
        if !self.is_pending() {
            return false;
        }
        self.trying_at = None;
        if status < 200 {
            self.state = State::Proceeding;
        } else if reliable {
            self.end();
        } else {
            self.state = State::Completed;
            self.ends_at = Some(now + timers.give_up());
        }
        true
    }

    /// Whether the last response must be sent again, because the request was retransmitted.
    pub(crate) const fn must_resend(&self) -> bool {
        matches!(self.state, State::Proceeding | State::Completed)
    }

    /// Ends the transaction without a response (RFC 4320 4.2). Retransmissions are absorbed as long as they can arrive.
    pub(crate) fn end_without_response(&mut self, reliable: bool, timers: &Timers, now: Instant) {
        if self.send(408, reliable, timers, now) && !reliable {
            self.ends_at = Some(now + timers.last_copy());
        }
    }

    fn end(&mut self) {
        self.state = State::Terminated;
        self.trying_at = None;
        self.ends_at = None;
    }

    pub(crate) fn timeout(&mut self, now: Instant) {
        if is_due(self.ends_at, now) {
            self.end();
        }
    }

    /// Whether no final response was sent.
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    pub(crate) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        sooner(self.trying_at, self.ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::{TIMERS, ms};

    #[test]
    fn the_final_response_is_kept_for_timer_j() {
        // checklist 100
        let mut server = ServerOther::new(false, &TIMERS, ms(0));
        assert!(!server.must_resend());
        assert!(server.send(200, false, &TIMERS, ms(0)));
        assert!(server.must_resend());
        assert!(!server.send(404, false, &TIMERS, ms(1)), "only one final response");
        assert_eq!(server.deadline(), Some(ms(32_000)));
        server.timeout(ms(32_000));
        assert!(server.is_terminated());
        let mut server = ServerOther::new(true, &TIMERS, ms(0));
        assert!(server.send(200, true, &TIMERS, ms(0)));
        assert!(server.is_terminated(), "Timer J is 0 on a reliable transport");
    }

    #[test]
    fn a_100_is_due_when_timer_e_has_grown_to_t2() {
        // checklist 123
        let mut server = ServerOther::new(false, &TIMERS, ms(0));
        assert_eq!(server.deadline(), Some(ms(3500)));
        assert!(!server.trying_is_due(ms(3499)));
        assert!(server.trying_is_due(ms(3500)));
        assert!(!server.trying_is_due(ms(3501)));
        let mut server = ServerOther::new(false, &TIMERS, ms(0));
        assert!(server.send(200, false, &TIMERS, ms(100)));
        assert!(!server.trying_is_due(ms(3500)), "a final response was sent");
    }
}
