//! Invariants of retransmissions: each copy is sent at the exact microsecond that RFC 3261 17 prescribes, and there is
//! no other copy.

use super::rule::{Rule, Verdict, must, rules};
use super::transactions::{Incoming, Outgoing, Transactions};
use super::{GIVE_UP, T1, T2};

pub(super) const OF_BRANCHES: &[Rule<Outgoing>] = rules![
    invites_are_retransmitted_by_timer_a,
    non_invites_are_retransmitted_by_timer_e,
    a_cancel_is_repeated_by_timer_e
];

/// Timer A doubles until there is a response.
fn invites_are_retransmitted_by_timer_a(_: &Transactions, outgoing: &Outgoing) -> Verdict {
    if !outgoing.is_invite() || !outgoing.is_forked() {
        return Ok(());
    }
    let mut due = Schedule::new(outgoing, outgoing.began());
    due.until(outgoing.first_response_at());
    let due = due.times(|interval, _| interval * 2);
    must(outgoing.sent == due, || format!("{} was sent at {:?}, not {due:?}", outgoing.branch(), outgoing.sent))
}

/// Timer E doubles up to T2, and is T2 after a provisional response, until there is a final response.
fn non_invites_are_retransmitted_by_timer_e(_: &Transactions, outgoing: &Outgoing) -> Verdict {
    if outgoing.is_invite() || !outgoing.is_forked() {
        return Ok(());
    }
    let proceeding = outgoing.first_response_at().unwrap_or(u64::MAX);
    let mut due = Schedule::new(outgoing, outgoing.began());
    due.until(outgoing.ended().map(|ended| ended.at));
    let due = due.times(|interval, at| if at >= proceeding { T2 } else { T2.min(interval * 2) });
    must(outgoing.sent == due, || format!("{} was sent at {:?}, not {due:?}", outgoing.branch(), outgoing.sent))
}

/// The CANCEL of a branch is retransmitted like other requests (RFC 3261 9.1).
fn a_cancel_is_repeated_by_timer_e(_: &Transactions, outgoing: &Outgoing) -> Verdict {
    let Some(first) = outgoing.cancels.first().filter(|_| outgoing.is_forked()) else { return Ok(()) };
    let mut due = Schedule::new(outgoing, *first);
    due.until(outgoing.cancel_answered);
    let due = due.times(|interval, _| T2.min(interval * 2));
    must(outgoing.cancels == due, || format!("{}: CANCELs at {:?}, not {due:?}", outgoing.branch(), outgoing.cancels))
}

/// Timer G doubles up to T2 until the ACK, or until the sender may not get more octets. Each copy of the INVITE gets one
/// more copy of the response.
pub(super) fn failure_responses_are_retransmitted_until_their_ack(
    transactions: &Transactions,
    incoming: &Incoming,
) -> Verdict {
    let Some(first) =
        incoming.ended().filter(|ended| ended.status >= 300 && incoming.is_invite() && incoming.is_forked())
    else {
        return Ok(());
    };
    let acked = incoming.acked.filter(|acked| *acked >= first.at);
    let mut due = Schedule { reliable: incoming.is_reliable(), began: first.at, end: first.at + GIVE_UP };
    due.until(acked);
    let due = due.times(|interval, _| T2.min(interval * 2));
    let copies = incoming
        .received_at
        .iter()
        .filter(|received| **received >= first.at && acked.is_none_or(|acked| **received <= acked));
    let failures = incoming.responses.iter().filter(|sent| sent.status >= 300);
    let sent: Vec<u64> = failures.map(|sent| sent.at).collect();
    let copies: Vec<u64> = copies.copied().collect();
    let amplification = transactions.settings.amplification;
    let all_due = due.iter().all(|at| sent.contains(at) || !may_get_another(incoming, *at, amplification));
    let none_else = sent.iter().all(|at| due.contains(at) || copies.contains(at));
    must(all_due && none_else, || format!("sent at {sent:?}, not {due:?} and {copies:?}"))
}

/// Whether the sender may get its last response once more at this time. Over UDP, a sender whose address may be forged
/// gets at most `amplification` times the octets that it has sent. Credentials of requests within dialogs do not count.
fn may_get_another(incoming: &Incoming, at: u64, amplification: usize) -> bool {
    let request = &incoming.request;
    if incoming.is_reliable() || request.to_tag().is_empty() && request.has("Proxy-Authorization") {
        return true;
    }
    let copies = incoming.received_at.iter().filter(|received| **received <= at).count();
    let room = amplification * copies * request.bytes().len();
    let before = incoming.responses.iter().filter(|sent| sent.at < at);
    let lengths: Vec<usize> = before.map(|sent| sent.sip.bytes().len()).collect();
    let another = lengths.last().copied().unwrap_or_default();
    lengths.iter().sum::<usize>() + another <= room
}

/// When the copies of a message are due.
struct Schedule {
    reliable: bool,
    began: u64,
    /// No copy is due at or after this time.
    end: u64,
}

impl Schedule {
    fn new(outgoing: &Outgoing, began: u64) -> Self {
        let end = outgoing.refused.unwrap_or(u64::MAX).min(began + GIVE_UP);
        Self { reliable: outgoing.is_reliable(), began, end }
    }

    fn until(&mut self, stopped: Option<u64>) {
        self.end = stopped.unwrap_or(self.end).min(self.end);
    }

    /// The first interval is T1; `next` computes the following one from the last one and the time at which that ends.
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
