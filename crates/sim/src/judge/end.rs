//! Invariants of the end: when nothing is on its way any more and no timer runs.

use super::GIVE_UP;
use super::clockwork::a_failure_is_repeated_until_its_ack;
use super::journal::{Asked, Heard, Journal, Tried};
use super::rule::{Rule, Verdict, must, rules};

pub(super) const OF_REQUESTS: &[Rule<Asked>] =
    rules![every_request_ends, every_call_ends_in_time, a_failure_is_repeated_until_its_ack];

/// RFC 3261 16.7 step 6, RFC 4320 4.2: with a final; another method than INVITE in silence, if nobody had an answer.
fn every_request_ends(journal: &Journal, asked: &Asked) -> Verdict {
    if asked.is_stateless() || asked.request.what() == "ACK" {
        return Ok(());
    }
    // What is no better than silence, and what may lead to it.
    let worth = |ended: &Heard| !matches!(ended.status, 300..=302 | 408 | 503);
    let in_time = |branch: &Tried, ended: &Heard| ended.at < branch.began() + GIVE_UP && !branch.is_mute_flow(ended.at);
    let answered = |branch: &Tried| branch.ended().is_some_and(|ended| worth(ended) && in_time(branch, ended));
    let silent = !journal.branches(asked).any(answered);
    let may_be_silent = !asked.is_invite() && silent && asked.is_forked();
    must(asked.ended().is_some() || may_be_silent, || format!("{} has no final", asked.request.start))
}

/// RFC 3261 9.1, 16.8: 64·T1 after the last phone was told to stop, nobody is waited for.
fn every_call_ends_in_time(journal: &Journal, asked: &Asked) -> Verdict {
    let Some(ended) = asked.ended().filter(|_| asked.is_invite() && asked.is_forked()) else { return Ok(()) };
    let rang_out = journal.last_began(asked).saturating_add(journal.ring_time(asked));
    let told = journal.branches(asked).filter_map(|branch| branch.cancels.first().copied()).max();
    let latest = asked.hung_up().unwrap_or(u64::MAX).min(rang_out).max(told.unwrap_or_default());
    let latest = latest.saturating_add(GIVE_UP);
    must(ended.at <= latest, || format!("it ended at {} and not by {latest}", ended.at))
}
