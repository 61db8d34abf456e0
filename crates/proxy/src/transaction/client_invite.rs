//! The INVITE client transaction (RFC 3261 17.1.1 figure 5, with the changes of RFC 6026 7.2).
//!
//! Must not send anything.

use std::time::Duration;

use super::{ClientEvent, TimerAction, is_due, sooner};
use crate::clock::Instant;
use crate::settings::Timers;

/// ```text
///             INVITE sent
///   Timer A  +-----------+   1xx    +------------+
///   resend   |  Calling  |--------->| Proceeding |--. 1xx: up
///        '---|           |          |            |<-'
///            +-----------+          +------------+
///   Timer B:   |   |   | 2xx: up      | 2xx: up  | 300-699: up, ACK
///   timed out  |   |   '------.  .----'          |
///   abandoned  |   | 300-699: v  v               v
///              |   | up, ACK +----------+   +-----------+  300-699: ACK
///              |   |         | Accepted |-. | Completed |--.
///              |   |         |          |<' |           |<-'
///              |   |         +----------+   +-----------+
///              |   |     2xx: up |   Timer M       ^  | Timer D
///              |   '-------------|-----------------'  | (reliable: at once)
///              v                 v                    v
///            +------------------------------------------+
///            |               Terminated                 |--. 2xx: up
///            |                                          |<-'
///            +------------------------------------------+
/// ```
///
/// A branch may also be abandoned in Proceeding, if the peer does not react to its CANCEL. A 2xx after the end means
/// that the phone was answered all the same. It is passed up as long as this value exists.
#[derive(Debug)]
pub(crate) struct ClientInvite {
    state: State,
    /// Timer A.
    resend_at: Option<Instant>,
    interval: Duration,
    /// Timer B, D or M, depending on the state.
    ends_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Accepted,
    Completed,
    Terminated,
}

/// Timer D on unreliable transports (RFC 3261 17.1.1.2: at least 32 s).
const TIMER_D: Duration = Duration::from_secs(32);

impl ClientInvite {
    /// The state after the INVITE was sent.
    pub(crate) fn new(reliable: bool, timers: &Timers, now: Instant) -> Self {
        Self {
            state: State::Calling,
            resend_at: (!reliable).then(|| now + timers.t1),
            interval: timers.t1,
            ends_at: Some(now + timers.give_up()),
        }
    }

    pub(crate) fn receive(&mut self, status: u16, reliable: bool, timers: &Timers, now: Instant) -> ClientEvent {
        match (self.state, status) {
            (State::Calling | State::Proceeding, 100..=199) => {
                self.enter(State::Proceeding, None);
                ClientEvent::Provisional
            }
            (State::Calling | State::Proceeding, 200..=299) => {
                self.enter(State::Accepted, Some(now + timers.give_up()));
                ClientEvent::Success
            }
            // A 2xx after the transaction was abandoned: the phone was answered all the same. A 2xx after a failure is
            // from another phone, behind a proxy that forked (RFC 3261 16.7 step 5).
            (State::Accepted | State::Completed | State::Terminated, 200..=299) => ClientEvent::Success,
            (State::Calling | State::Proceeding, 300..) => {
                if reliable {
                    self.enter(State::Terminated, None);
                } else {
                    self.enter(State::Completed, Some(now + TIMER_D.max(timers.give_up())));
                }
                ClientEvent::Failure
            }
            (State::Completed, 300..) => ClientEvent::FailureAgain,
            _ => ClientEvent::Nothing,
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant) -> TimerAction {
        if is_due(self.ends_at, now) {
            let unanswered = self.state == State::Calling;
            self.enter(State::Terminated, None);
            return if unanswered { TimerAction::TimedOut } else { TimerAction::Nothing };
        }
        if is_due(self.resend_at, now) {
            self.interval = self.interval.saturating_mul(2);
            self.resend_at = Some(now + self.interval);
            return TimerAction::Resend;
        }
        TimerAction::Nothing
    }

    /// Ends the transaction: the transport failed (RFC 3261 17.1.4), or its result is no longer needed.
    pub(crate) fn abandon(&mut self) {
        self.enter(State::Terminated, None);
    }

    /// Whether a provisional response was received, so that a CANCEL may be sent (RFC 3261 9.1).
    pub(crate) const fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding)
    }

    /// Whether no final response was received.
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    pub(crate) const fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        sooner(self.resend_at, self.ends_at)
    }

    fn enter(&mut self, state: State, ends_at: Option<Instant>) {
        self.state = state;
        self.resend_at = None;
        self.ends_at = ends_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::tests::{TIMERS, ms};

    #[test]
    fn resends_with_doubling_intervals_until_timer_b() {
        // checklist 90
        let mut invite = ClientInvite::new(false, &TIMERS, ms(0));
        let mut sent = Vec::new();
        while let Some(at) = invite.deadline() {
            match invite.timeout(at) {
                TimerAction::Resend => sent.push(at.as_micros() / 1000),
                TimerAction::TimedOut => assert_eq!(at, ms(32_000)),
                TimerAction::Nothing => {}
            }
        }
        assert_eq!(sent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
        assert!(invite.is_terminated());
    }

    #[test]
    fn never_resends_over_a_reliable_transport() {
        // checklist 90
        let mut invite = ClientInvite::new(true, &TIMERS, ms(0));
        assert_eq!(invite.deadline(), Some(ms(32_000)));
        assert_eq!(invite.timeout(ms(32_000)), TimerAction::TimedOut);
    }

    #[test]
    fn every_2xx_is_passed_up_until_timer_m() {
        // checklist 91
        let mut invite = ClientInvite::new(false, &TIMERS, ms(0));
        assert_eq!(invite.receive(180, false, &TIMERS, ms(10)), ClientEvent::Provisional);
        assert_eq!(invite.receive(200, false, &TIMERS, ms(20)), ClientEvent::Success);
        assert_eq!(invite.receive(200, false, &TIMERS, ms(30)), ClientEvent::Success);
        assert_eq!(invite.receive(486, false, &TIMERS, ms(40)), ClientEvent::Nothing);
        assert_eq!(invite.deadline(), Some(ms(32_020)));
        assert_eq!(invite.timeout(ms(32_020)), TimerAction::Nothing);
        assert!(invite.is_terminated());
    }

    #[test]
    fn a_failure_is_passed_up_once_and_acked_each_time() {
        // checklist 92
        let mut invite = ClientInvite::new(false, &TIMERS, ms(0));
        assert_eq!(invite.receive(486, false, &TIMERS, ms(10)), ClientEvent::Failure);
        assert_eq!(invite.receive(486, false, &TIMERS, ms(20)), ClientEvent::FailureAgain);
        assert_eq!(
            invite.receive(200, false, &TIMERS, ms(30)),
            ClientEvent::Success,
            "of another phone behind a proxy"
        );
        assert_eq!(invite.receive(486, false, &TIMERS, ms(40)), ClientEvent::FailureAgain);
        assert_eq!(invite.deadline(), Some(ms(32_010)));
        let mut invite = ClientInvite::new(true, &TIMERS, ms(0));
        assert_eq!(invite.receive(486, true, &TIMERS, ms(10)), ClientEvent::Failure);
        assert!(invite.is_terminated(), "Timer D is 0 on a reliable transport");
    }
}
