//! The non-INVITE client transaction (RFC 3261 17.1.2 figure 6).
//!
//! Must not send anything.

use std::time::Duration;

use super::{ClientEvent, TimerAction, is_due, sooner};
use crate::clock::Instant;
use crate::settings::Timers;

/// ```text
///             request sent
///   Timer E  +-----------+   1xx    +------------+  Timer E (T2), 1xx
///   resend   |  Trying   |--------->| Proceeding |--.
///        '---|           |          |            |<-'
///            +-----------+          +------------+
///   Timer F    |     | 200-699        | 200-699 | Timer F
///   timed out  |     '------.  .------'         | timed out
///              |            v  v                |
///              |        +-----------+           |
///              |        | Completed |           |
///              |        +-----------+           |
///              v          | Timer K             v
///            +------------------------------------------+
///            |               Terminated                 |
///            +------------------------------------------+
/// ```
#[derive(Debug)]
pub(crate) struct ClientOther {
    state: State,
    /// Timer E.
    resend_at: Option<Instant>,
    interval: Duration,
    /// T2, the longest interval.
    longest: Duration,
    /// Timer F or K.
    ends_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

impl ClientOther {
    /// The state after the request was sent.
    pub(crate) fn new(reliable: bool, timers: &Timers, now: Instant) -> Self {
        Self {
            state: State::Trying,
            resend_at: (!reliable).then(|| now + timers.t1),
            interval: timers.t1,
            longest: timers.t2,
            ends_at: Some(now + timers.give_up()),
        }
    }

    pub(crate) fn receive(&mut self, status: u16, reliable: bool, timers: &Timers, now: Instant) -> ClientEvent {
        match (self.state, status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                ClientEvent::Provisional
            }
            (State::Trying | State::Proceeding, 200..) => {
                self.resend_at = None;
                if reliable {
                    self.abandon();
                } else {
                    self.state = State::Completed;
                    self.ends_at = Some(now + timers.t4);
                }
                if status < 300 { ClientEvent::Success } else { ClientEvent::Failure }
            }
            _ => ClientEvent::Nothing,
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) -> TimerAction {
        if is_due(self.ends_at, now) {
            let unanswered = self.is_pending();
            self.abandon();
            return if unanswered { TimerAction::TimedOut } else { TimerAction::Nothing };
        }
        if is_due(self.resend_at, now) {
            self.interval = match self.state {
                State::Trying => self.interval.saturating_mul(2).min(self.longest),
                _ => self.longest,
            };
            self.resend_at = Some(now + self.interval);
            return TimerAction::Resend;
        }
        TimerAction::Nothing
    }

    /// Ends the transaction: the transport failed (RFC 3261 17.1.4), or its result is no longer needed.
    pub(crate) fn abandon(&mut self) {
        self.state = State::Terminated;
        self.resend_at = None;
        self.ends_at = None;
    }

    /// Whether no final response was received.
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    pub(crate) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        sooner(self.resend_at, self.ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::{TIMERS, ms};

    fn resends(mut client: ClientOther) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(at) = client.deadline() {
            match client.timeout(at) {
                TimerAction::Resend => sent.push(at.as_micros() / 1000),
                TimerAction::TimedOut => assert_eq!(at, ms(32_000)),
                TimerAction::Nothing => {}
            }
        }
        sent
    }

    #[test]
    fn timer_e_doubles_to_t2() {
        // checklist 94
        let client = ClientOther::new(false, &TIMERS, ms(0));
        assert_eq!(resends(client), [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
        assert_eq!(resends(ClientOther::new(true, &TIMERS, ms(0))), []);
    }

    #[test]
    fn after_a_provisional_it_resends_at_t2() {
        // checklist 94
        let mut client = ClientOther::new(false, &TIMERS, ms(0));
        assert_eq!(client.receive(100, false, &TIMERS, ms(100)), ClientEvent::Provisional);
        assert_eq!(resends(client), [500, 4500, 8500, 12500, 16500, 20500, 24500, 28500]);
    }

    #[test]
    fn a_final_response_is_passed_up_once() {
        // checklist 94
        let mut client = ClientOther::new(false, &TIMERS, ms(0));
        assert_eq!(client.receive(404, false, &TIMERS, ms(10)), ClientEvent::Failure);
        assert_eq!(client.receive(404, false, &TIMERS, ms(20)), ClientEvent::Nothing);
        assert_eq!(client.deadline(), Some(ms(5010)), "Timer K is T4");
        let mut client = ClientOther::new(true, &TIMERS, ms(0));
        assert_eq!(client.receive(200, true, &TIMERS, ms(10)), ClientEvent::Success);
        assert!(client.is_terminated(), "Timer K is 0 on a reliable transport");
    }
}
