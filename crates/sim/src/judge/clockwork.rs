//! Invariants of retransmission: each copy leaves at the very microsecond that RFC 3261 17 says, and no other does.

use super::journal::{Asked, Journal, Tried};
use super::rule::{Rule, Verdict, must, rules};
use super::{GIVE_UP, T1, T2};

pub(super) const OF_BRANCHES: &[Rule<Tried>] =
    rules![an_invite_is_repeated_by_timer_a, a_request_is_repeated_by_timer_e, a_cancel_is_repeated_by_timer_e];

/// Timer A: doubles, until there is a response.
fn an_invite_is_repeated_by_timer_a(_: &Journal, tried: &Tried) -> Verdict {
    if !tried.is_invite() || !tried.is_forked() {
        return Ok(());
    }
    let mut due = Schedule::new(tried, tried.began());
    due.until(tried.first_heard());
    let due = due.times(|interval, _| interval * 2);
    must(tried.sent == due, || format!("{} was sent at {:?}, not {due:?}", tried.branch(), tried.sent))
}

/// Timer E: doubles up to T2, is T2 after a provisional, until there is a final.
fn a_request_is_repeated_by_timer_e(_: &Journal, tried: &Tried) -> Verdict {
    if tried.is_invite() || !tried.is_forked() {
        return Ok(());
    }
    let proceeding = tried.first_heard().unwrap_or(u64::MAX);
    let mut due = Schedule::new(tried, tried.began());
    due.until(tried.ended().map(|ended| ended.at));
    let due = due.times(|interval, at| if at >= proceeding { T2 } else { T2.min(interval * 2) });
    must(tried.sent == due, || format!("{} was sent at {:?}, not {due:?}", tried.branch(), tried.sent))
}

/// A CANCEL is a request like others (9.1).
fn a_cancel_is_repeated_by_timer_e(_: &Journal, tried: &Tried) -> Verdict {
    let Some(first) = tried.cancels.first().filter(|_| tried.is_forked()) else { return Ok(()) };
    let mut due = Schedule::new(tried, *first);
    due.until(tried.cancel_answered);
    let due = due.times(|interval, _| T2.min(interval * 2));
    must(tried.cancels == due, || format!("{}: CANCELs at {:?}, not {due:?}", tried.branch(), tried.cancels))
}

/// Timer G: doubles up to T2, until the ACK; besides, once for each copy of the INVITE.
pub(super) fn a_failure_is_repeated_until_its_ack(_: &Journal, asked: &Asked) -> Verdict {
    let Some(first) = asked.ended().filter(|ended| ended.status >= 300 && asked.is_invite() && asked.is_forked())
    else {
        return Ok(());
    };
    let acked = asked.acked.filter(|acked| *acked >= first.at);
    let mut due = Schedule { reliable: asked.is_reliable(), began: first.at, end: first.at + GIVE_UP };
    due.until(acked);
    let due = due.times(|interval, _| T2.min(interval * 2));
    let copies = asked.heard.iter().filter(|heard| **heard >= first.at && acked.is_none_or(|acked| **heard <= acked));
    let failures = asked.said.iter().filter(|said| said.status >= 300);
    let sent: Vec<u64> = failures.map(|said| said.at).collect();
    let copies: Vec<u64> = copies.copied().collect();
    let all_due = due.iter().all(|at| sent.contains(at));
    let none_else = sent.iter().all(|at| due.contains(at) || copies.contains(at));
    must(all_due && none_else, || format!("sent at {sent:?}, not {due:?} and {copies:?}"))
}

/// When copies of a message are to leave.
struct Schedule {
    reliable: bool,
    began: u64,
    /// Nothing leaves at or after this.
    end: u64,
}

impl Schedule {
    fn new(tried: &Tried, began: u64) -> Self {
        let end = tried.refused.unwrap_or(u64::MAX).min(began + GIVE_UP);
        Self { reliable: tried.is_reliable(), began, end }
    }

    fn until(&mut self, stopped: Option<u64>) {
        self.end = stopped.unwrap_or(self.end).min(self.end);
    }

    /// The first interval is T1; `next` makes the following one, of the last and of when that ends.
    fn times(&self, next: impl Fn(u64, u64) -> u64) -> Vec<u64> {
        let mut times = vec![self.began];
        let (mut at, mut interval) = (self.began + T1, T1);
        while !self.reliable && at < self.end {
            times.push(at);
            interval = next(interval, at);
            at += interval;
        }
        times
    }
}
