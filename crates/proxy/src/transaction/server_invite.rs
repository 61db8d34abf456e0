//! The INVITE server transaction (RFC 3261 17.2.1 figure 7, with the changes of RFC 6026 7.1).
//!
//! Must not send anything.

use std::time::Duration;

use super::{TimerAction, is_due, sooner};
use crate::clock::Instant;
use crate::settings::Timers;

/// ```text
///             INVITE came
///            +------------+  1xx from above; INVITE: last 1xx again
///            | Proceeding |--.
///            |            |<-'
///            +------------+
///   2xx        |        | 300-699
///              v        v
///     +----------+    +-----------+  Timer G: resend; INVITE: resend
///     | Accepted |    | Completed |--.
///     +----------+    |           |<-'
///       | INVITE:     +-----------+
///       | absorbed;     |       | ACK
///       | 2xx: sent     |       v
///       |       Timer H |     +-----------+
///       |               |     | Confirmed |  INVITE, ACK: absorbed
///       | Timer L       |     +-----------+
///       v               v       | Timer I (reliable: at once)
///     +-----------------------------------+
///     |            Terminated             |
///     +-----------------------------------+
/// ```
#[derive(Debug)]
pub(crate) struct ServerInvite {
    state: State,
    /// Timer G.
    resend_at: Option<Instant>,
    interval: Duration,
    /// T2, the longest interval.
    longest: Duration,
    /// Timer H, I or L, depending on the state.
    ends_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Proceeding,
    Accepted,
    Completed,
    Confirmed,
    Terminated,
}

impl ServerInvite {
    /// The state after the INVITE was received.
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Proceeding,
            resend_at: None,
            interval: Duration::ZERO,
            longest: Duration::ZERO,
            ends_at: None,
        }
    }

    /// Records that a response is sent. Returns false if the state does not permit it.
    pub(crate) fn send(&mut self, status: u16, reliable: bool, timers: &Timers, now: Instant) -> bool {
        match (self.state, status) {
            (State::Proceeding, 100..=199) => true,
            (State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.ends_at = Some(now + timers.give_up());
                true
            }
            // RFC 6026 7.1: every 2xx is sent, also of other phones.
            (State::Accepted, 200..=299) => true,
            (State::Proceeding, 300..) => {
                self.state = State::Completed;
                self.interval = timers.t1;
                self.longest = timers.t2;
                self.resend_at = (!reliable).then(|| now + timers.t1);
                self.ends_at = Some(now + timers.give_up());
                true
            }
            _ => false,
        }
    }

    /// Whether the last response must be sent again, because the INVITE was retransmitted.
    pub(crate) const fn must_resend(&self) -> bool {
        matches!(self.state, State::Proceeding | State::Completed)
    }

    /// Records that the ACK of a 300 to 699 was received.
    pub(crate) fn on_ack(&mut self, reliable: bool, timers: &Timers, now: Instant) {
        if self.state == State::Completed {
            self.resend_at = None;
            if reliable {
                self.state = State::Terminated;
                self.ends_at = None;
            } else {
                self.state = State::Confirmed;
                self.ends_at = Some(now + timers.t4);
            }
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) -> TimerAction {
        if is_due(self.ends_at, now) {
            self.state = State::Terminated;
            self.resend_at = None;
            self.ends_at = None;
            return TimerAction::Nothing;
        }
        if is_due(self.resend_at, now) {
            self.interval = self.interval.saturating_mul(2).min(self.longest);
            self.resend_at = Some(now + self.interval);
            return TimerAction::Resend;
        }
        TimerAction::Nothing
    }

    /// Whether no final response was sent.
    pub(crate) const fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding)
    }

    /// Whether a 2xx was sent, so that an ACK is forwarded (RFC 6026 7.1).
    pub(crate) const fn is_accepted(&self) -> bool {
        matches!(self.state, State::Accepted)
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

    #[test]
    fn a_failure_is_resent_until_its_ack() {
        // checklist 99
        let mut invite = ServerInvite::new();
        assert!(invite.send(486, false, &TIMERS, ms(0)));
        let mut sent = Vec::new();
        while sent.len() < 5 {
            let at = invite.deadline().unwrap();
            assert_eq!(invite.timeout(at), TimerAction::Resend);
            sent.push(at.as_micros() / 1000);
        }
        assert_eq!(sent, [500, 1500, 3500, 7500, 11500]);
        invite.on_ack(false, &TIMERS, ms(12_000));
        assert_eq!(invite.deadline(), Some(ms(17_000)), "Timer I is T4");
        assert!(!invite.must_resend());
        invite.timeout(ms(17_000));
        assert!(invite.is_terminated());
    }

    #[test]
    fn without_an_ack_it_ends_with_timer_h() {
        // checklist 99
        let mut invite = ServerInvite::new();
        assert!(invite.send(486, true, &TIMERS, ms(0)));
        assert_eq!(invite.deadline(), Some(ms(32_000)), "no Timer G on a reliable transport");
        invite.timeout(ms(32_000));
        assert!(invite.is_terminated());
    }

    #[test]
    fn after_a_2xx_only_2xx_pass() {
        // checklist 98
        let mut invite = ServerInvite::new();
        assert!(invite.send(180, false, &TIMERS, ms(0)));
        assert!(invite.must_resend());
        assert!(invite.send(200, false, &TIMERS, ms(10)));
        assert!(invite.send(200, false, &TIMERS, ms(20)));
        assert!(!invite.send(486, false, &TIMERS, ms(20)));
        assert!(!invite.send(180, false, &TIMERS, ms(20)));
        assert!(!invite.must_resend(), "the INVITE is absorbed");
        assert_eq!(invite.deadline(), Some(ms(32_010)), "Timer L");
    }
}
