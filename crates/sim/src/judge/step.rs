//! Invariants after each step: what a message or a timer must have caused.

use super::GIVE_UP;
use super::rule::{Rule, Verdict, must, rules};
use super::transactions::{Incoming, Outgoing, Transactions};

pub(super) const OF_STEPS: &[Rule<Incoming>] = rules![
    ringing_stops_when_the_call_is_decided,
    every_2xx_is_forwarded,
    every_failure_response_gets_an_ack,
    a_cancel_is_answered,
    without_a_transaction_no_1xx_is_created,
    without_a_transaction_every_response_is_forwarded,
];

pub(super) const OF_COPIES: &[Rule<Incoming>] =
    rules![a_retransmission_gets_the_last_response, a_retransmission_takes_the_same_route];

pub(super) const OF_DEADLINES: &[Rule<Outgoing>] = rules![ringing_ends_with_the_ring_time, ringing_ends_with_timer_c];

/// RFC 3261 16.7 steps 5 and 10, 16.10: when the caller has hung up or another phone has decided the call, each ringing
/// phone gets a CANCEL.
fn ringing_stops_when_the_call_is_decided(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    if !incoming.is_invite() || !incoming.is_forked() {
        return Ok(());
    }
    let over = transactions.decided(incoming).is_some();
    let in_vain = |branch: &&Outgoing| {
        let rang_out = transactions.now > transactions.rings_on_until(incoming, branch);
        (over || rang_out) && is_ringing(branch)
    };
    let victim = transactions.branches(incoming).find(in_vain);
    must(victim.is_none(), || format!("{} is still ringing", victim.map_or("", Outgoing::branch)))
}

/// Whether a phone has sent a provisional response in time and got no CANCEL.
fn is_ringing(branch: &Outgoing) -> bool {
    let in_time = branch.first_response_at().is_some_and(|first| first < branch.began() + GIVE_UP);
    branch.is_invite() && branch.is_proceeding() && branch.cancels.is_empty() && in_time
}

/// RFC 3261 16.7 step 5: each 2xx to an INVITE is forwarded, each copy too, however late.
fn every_2xx_is_forwarded(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    if !incoming.is_invite() || !incoming.is_forked() {
        return Ok(());
    }
    let is_success = |status: u16| (200..300).contains(&status);
    let received = transactions
        .branches(incoming)
        .flat_map(|branch| &branch.responses)
        .filter(|received| is_success(received.status))
        .count();
    let sent = incoming.responses.iter().filter(|sent| is_success(sent.status)).count();
    must(received == sent, || format!("{received} were received and {sent} were sent"))
}

/// RFC 3261 17.1.1.2, 17.1.1.3: each failure response gets an ACK, each copy too while Timer D runs.
fn every_failure_response_gets_an_ack(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    for branch in transactions.branches(incoming).filter(|branch| branch.is_forked() && branch.is_invite()) {
        let Some(first) = branch.ended().filter(|ended| ended.status >= 300 && !branch.gave_up_before(ended.at)) else {
            continue;
        };
        let rest = if branch.is_reliable() { 1 } else { GIVE_UP };
        let failures = branch.responses.iter().filter(|received| received.status >= 300);
        let owed = failures.filter(|received| received.at < first.at + rest).count();
        must(branch.acks >= owed, || format!("{}: {owed} failures, {} ACKs", branch.branch(), branch.acks))?;
    }
    Ok(())
}

/// RFC 3261 16.10, 9.2: the server answers a CANCEL itself if the INVITE has a transaction.
fn a_cancel_is_answered(_: &Transactions, incoming: &Incoming) -> Verdict {
    let owed = incoming.cancelled.is_some() && incoming.is_forked();
    must(!owed || incoming.cancel_replies > 0, || "the CANCEL got no response".to_owned())
}

/// RFC 3261 16.11: the server sends no 100 and no other 1xx of its own.
fn without_a_transaction_no_1xx_is_created(_: &Transactions, incoming: &Incoming) -> Verdict {
    let made = incoming.responses.iter().find(|sent| sent.own && sent.status < 200);
    must(made.is_none() || !incoming.is_stateless(), || format!("{}", made.map_or(0, |sent| sent.status)))
}

/// RFC 3261 16.11: a response with a valid mark is forwarded once.
fn without_a_transaction_every_response_is_forwarded(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let received: usize = transactions.branches(incoming).map(|branch| branch.responses.len()).sum();
    let sent = incoming.responses.iter().filter(|sent| !sent.own).count();
    // A copy of the request that arrived after the end of the pin may have been forked.
    let stateless = transactions.branches(incoming).all(|branch| !branch.is_forked());
    must(!stateless || received == sent, || format!("{received} responses were received and {sent} were sent"))
}

/// RFC 3261 17.2.1, 17.2.2, RFC 6026 7.1: a retransmission gets the last response again, except after a 2xx to an
/// INVITE or after the ACK.
fn a_retransmission_gets_the_last_response(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let now = transactions.now;
    if !incoming.is_forked() || incoming.is_forgotten(now) {
        return Ok(());
    }
    let last = incoming.responses.iter().rfind(|sent| sent.at < now);
    let due = match last.map(|last| last.status) {
        None => false,
        Some(200..300) => !incoming.is_invite(),
        Some(300..) => !incoming.is_invite() || incoming.acked.is_none(),
        // RFC 4320 4.2: another method than INVITE may have ended without a response.
        Some(_) => incoming.is_invite() || !transactions.branches(incoming).all(|branch| branch.is_over(now)),
    };
    let answered = incoming.responses.iter().any(|sent| sent.at == now);
    must(!due || answered, || "the retransmission got no response".to_owned())
}

/// RFC 3261 16.11: this holds while the pin lives. A request to another domain leaves no pin, so a copy of it is
/// challenged if its nonce has expired since.
fn a_retransmission_takes_the_same_route(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let pinned = incoming.is_stateless() && incoming.is_pinned(transactions);
    // Without a pin the name is resolved again.
    let waits = !incoming.is_invite() && transactions.dns_time(incoming) > 0;
    let went = waits || transactions.branches(incoming).any(|outgoing| outgoing.sent.contains(&transactions.now));
    let challenged =
        incoming.responses.iter().any(|sent| sent.at == transactions.now && sent.own && sent.status == 407);
    must(!pinned || went || challenged, || "the retransmission was not forwarded".to_owned())
}

/// RFC 3261 16.11: the CANCEL of the INVITE and the ACK of a failure response, while the pin lives.
pub(super) fn ack_and_cancel_of_a_stateless_invite_are_forwarded(
    transactions: &Transactions,
    incoming: &Incoming,
) -> Verdict {
    // A CANCEL of an INVITE that the server refused itself is not forwarded.
    let own = incoming.ended().is_some_and(|ended| ended.own);
    let pinned = incoming.is_stateless() && incoming.is_pinned(transactions) && !own;
    let went = transactions.branches(incoming).any(|outgoing| outgoing.followed == transactions.now);
    // The worker with the pin learns the To tag of the final response by a message from another worker, and recognises
    // no ACK before.
    let knows = |at: u64| {
        transactions.settings.core_messages.is_some_and(|core_messages| at + core_messages <= transactions.now)
    };
    let is_early = incoming.ended().is_some_and(|ended| !knows(ended.at));
    must(!pinned || went || is_early, || "the ACK or CANCEL was not forwarded".to_owned())
}

/// The ring time of the group, which no provisional response extends.
fn ringing_ends_with_the_ring_time(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let over = transactions.now > transactions.rings_on_until(transactions.incoming_of(outgoing), outgoing);
    must(!over || !is_ringing(outgoing), || format!("{} is still ringing", outgoing.branch()))
}

/// RFC 3261 16.8: unless a provisional response came since.
fn ringing_ends_with_timer_c(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let over = outgoing.last_news().is_some_and(|news| transactions.now > news + transactions.settings.timer_c);
    must(!over || !is_ringing(outgoing), || format!("{} is still ringing", outgoing.branch()))
}
