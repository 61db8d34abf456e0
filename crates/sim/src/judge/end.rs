//! Invariants that hold at the end, when no timer is set and nothing is on its way.

use super::GIVE_UP;
use super::rule::{Rule, Verdict, must, rules};
use super::timers::failure_responses_are_retransmitted_until_their_ack;
use super::transactions::{Incoming, Outgoing, ReceivedResponse, Transactions};

pub(super) const OF_REQUESTS: &[Rule<Incoming>] =
    rules![every_request_ends, every_call_ends_in_time, failure_responses_are_retransmitted_until_their_ack];

/// RFC 3261 16.7 step 6, RFC 4320 4.2: each request gets a final response. Other methods than INVITE get none if no
/// phone responded.
fn every_request_ends(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    if incoming.is_stateless() || incoming.request.what() == "ACK" {
        return Ok(());
    }
    // Responses that count as no response, and those that may lead to it.
    let worth = |ended: &ReceivedResponse| !matches!(ended.status, 300..=302 | 408 | 503);
    let in_time = |branch: &Outgoing, ended: &ReceivedResponse| {
        let is_refused = branch.refused.is_some_and(|refused| refused <= ended.at);
        ended.at < branch.began() + GIVE_UP && !branch.is_mute(ended.at) && !is_refused
    };
    // A challenge of a trunk is answered here.
    let is_challenge = |branch: &Outgoing, ended: &ReceivedResponse| {
        matches!(ended.status, 401 | 407) && transactions.trunk_of(branch).is_some()
    };
    let answered = |branch: &Outgoing| {
        let counts = |ended: &ReceivedResponse| worth(ended) && in_time(branch, ended) && !is_challenge(branch, ended);
        branch.ended().is_some_and(counts)
    };
    let silent = !transactions.branches(incoming).any(answered);
    let may_be_silent = !incoming.is_invite() && silent && incoming.is_forked();
    must(incoming.ended().is_some() || may_be_silent, || format!("{} has no final response", incoming.request.start))
}

/// RFC 3261 9.1, 16.8: 64·T1 after the CANCEL of the last branch the call is over, whether the phone responded or not.
fn every_call_ends_in_time(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(ended) = incoming.ended().filter(|_| incoming.is_invite() && incoming.is_forked()) else { return Ok(()) };
    let rang_out = transactions.rang_out(incoming);
    let told = transactions.branches(incoming).filter_map(|branch| branch.cancels.first().copied()).max();
    let latest = incoming.hung_up().unwrap_or(u64::MAX).min(rang_out).max(told.unwrap_or_default());
    let latest = latest.saturating_add(GIVE_UP);
    must(ended.at <= latest, || format!("it ended at {}, after {latest}", ended.at))
}
