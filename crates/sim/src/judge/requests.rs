//! Invariants of each request that is sent: forwarded ones, and the ACKs and CANCELs that the server creates.

use std::rc::Rc;

use super::GIVE_UP;
use super::rule::{Rule, Verdict, must, rules};
use super::transactions::{Incoming, Outgoing, Transactions, is_transaction};
use crate::{DOMAIN, Sip, quoted};

pub(super) const OF_NEW_BRANCHES: &[Rule<Outgoing>] = rules![
    a_request_has_one_response_context,
    max_forwards_is_decremented,
    max_breadth_is_divided,
    only_what_must_change_is_changed,
    loops_are_detected,
    no_branch_begins_after_the_decision,
    nobody_is_called_after_the_ring_time,
    one_flow_of_a_phone_at_a_time,
];

pub(super) const OF_CANCELS: &[Rule<Outgoing>] = rules![a_cancel_follows_a_provisional, a_cancel_has_a_cause];

/// RFC 3261 16.6: a request is sent because one was received, and with our Via.
pub(super) fn every_request_sent_was_received(incoming: Option<&Incoming>, sip: &Sip) -> Verdict {
    must(incoming.is_some(), || format!("no request was received for\n{sip}"))
}

/// RFC 3261 16.11, 17.1.1.2: a retransmission has the same text and destination.
pub(super) fn retransmissions_are_identical(outgoing: &Outgoing, agent: Option<usize>, sip: &Rc<Sip>) -> Verdict {
    must(is_same_way(outgoing, agent) && outgoing.request == *sip, || {
        format!("to {:?}\n{}then to {agent:?}\n{sip}", outgoing.agent, outgoing.request)
    })
}

/// RFC 3261 16.11: ACK and CANCEL follow a stateless INVITE while its pin lives.
pub(super) fn ack_and_cancel_take_the_route_of_their_invite(
    outgoing: Option<&Outgoing>,
    agent: Option<usize>,
    sip: &Sip,
) -> Verdict {
    let Some(outgoing) = outgoing else { return Err(format!("no INVITE was forwarded for\n{sip}")) };
    must(is_same_way(outgoing, agent) && outgoing.request.uri() == sip.uri(), || {
        format!("the INVITE went to {:?}\n{}and this to another place\n{sip}", outgoing.agent, outgoing.request)
    })
}

/// RFC 3261 9.1, 17.1.1.3: an ACK or CANCEL that the server creates has the branch and the other values of its INVITE.
pub(super) fn own_ack_and_cancel_match_their_invite(
    outgoing: Option<&Outgoing>,
    agent: Option<usize>,
    sip: &Sip,
) -> Verdict {
    let Some(outgoing) = outgoing.filter(|outgoing| outgoing.is_forked() && outgoing.is_invite()) else {
        return Err(format!("no INVITE has this branch\n{sip}"));
    };
    let invite = &outgoing.request;
    let same = |name| sip.values(name).eq(invite.values(name));
    let number = |sip: &Sip| sip.value("CSeq").split(' ').next().map(str::to_owned);
    let to = match sip.what() {
        "CANCEL" => same("To"),
        _ => outgoing
            .responses
            .iter()
            .any(|received| received.status >= 300 && received.sip.value("To") == sip.value("To")),
    };
    let good = is_same_way(outgoing, agent)
        && sip.uri() == invite.uri()
        && sip.values("Via").eq(invite.values("Via").take(1))
        && ["Call-ID", "From", "Route"].into_iter().all(same)
        && number(sip) == number(invite)
        && sip.method() == sip.what()
        && to;
    must(good, || format!("{sip}does not match\n{invite}"))
}

/// RFC 3261 9.1: all copies of the CANCEL of a branch are identical.
pub(super) fn a_branch_has_one_cancel(first: &Sip, sip: &Sip) -> Verdict {
    must(first == sip, || format!("first\n{first}then\n{sip}"))
}

/// RFC 3261 16.6 step 3.
fn max_forwards_is_decremented(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let came = transactions.incoming_of(outgoing).request.number("Max-Forwards");
    let went = outgoing.request.number("Max-Forwards");
    let right = came.map_or(Some(70), |hops| hops.checked_sub(1));
    must(went.is_some() && went == right, || format!("Max-Forwards {came:?} became {went:?}"))
}

/// RFC 5393 5.3.3: the Max-Breadth of a request.
fn max_breadth(incoming: &Incoming) -> u32 {
    incoming.request.number("Max-Breadth").unwrap_or(60).min(60)
}

/// RFC 5393 5.3.3: the sum over the pending branches is at most the Max-Breadth of the request, or 60 if it has none.
fn max_breadth_is_divided(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let (incoming, now) = (transactions.incoming_of(outgoing), transactions.now);
    if !outgoing.is_forked() {
        return Ok(());
    }
    let most = max_breadth(incoming);
    let holds = |branch: &&Outgoing| {
        // A branch that did not respond in its time holds no breadth; if it responds later, it is cancelled.
        let mute_until = |at| now >= at && branch.first_response_at().is_none_or(|first| first >= at);
        let silent = mute_until(transactions.rings_until(incoming, branch)) || mute_until(branch.began() + GIVE_UP);
        let silent = silent || transactions.left_silent(incoming, branch);
        !silent && !branch.is_over(now) && !moved_on(transactions, incoming, branch)
    };
    let held: u32 =
        transactions.branches(incoming).filter(holds).filter_map(|branch| branch.request.number("Max-Breadth")).sum();
    must(held <= most, || {
        let pending = transactions
            .branches(incoming)
            .filter(holds)
            .map(|branch| (branch.branch(), branch.request.number("Max-Breadth")));
        format!("{held} of a Max-Breadth of {most}: {:?}", pending.collect::<Vec<_>>())
    })
}

/// RFC 3261 16.6 step 1: all lines and the body are forwarded unchanged, except for what a proxy has to change.
/// Credentials for our realm are removed (22.3).
fn only_what_must_change_is_changed(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    const OURS: [&str; 6] = ["Via:", "Route:", "Record-Route:", "Max-Forwards:", "Max-Breadth:", "Content-Length:"];
    // RFC 3261 22.2, RFC 3325, RFC 3323 4.1: `trunks.rs` checks CSeq and RAck.
    const FOR_TRUNKS: [&str; 6] =
        ["CSeq:", "RAck:", "From:", "P-Asserted-Identity:", "Authorization:", "Proxy-Authorization:"];
    let proof = |line: &String| line.starts_with("Proxy-Authorization:") && quoted(line, "realm") == DOMAIN;
    let incoming = transactions.incoming_of(outgoing);
    let (came, went) = (&incoming.request, &outgoing.request);
    // RFC 7044, RFC 5806: the way of a call by the rules of the office.
    let has_office = transactions.office.is_some();
    let way = |line: &str| has_office && ["History-Info:", "Diversion:"].iter().any(|name| line.starts_with(name));
    let is_for_trunk = transactions.trunk_of(outgoing).is_some();
    let trunk = |line: &str| is_for_trunk && FOR_TRUNKS.iter().any(|name| line.starts_with(name));
    let ours =
        |line: &&String| !OURS.iter().any(|name| line.starts_with(name)) && !proof(line) && !way(line) && !trunk(line);
    let vias = came.values("Via").skip(1).eq(went.values("Via").skip(2));
    let rest = came.lines().iter().filter(ours).eq(went.lines().iter().filter(ours));
    must(vias && rest && came.body == went.body, || format!("came\n{came}went\n{went}"))
}

/// RFC 3261 16.3 step 4, RFC 5393 4.2: a request that was forked here before and comes back unchanged is not forked
/// again.
fn loops_are_detected(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    if !outgoing.is_forked() {
        return Ok(());
    }
    let now = transactions.incoming_of(outgoing);
    let branches = now.request.values("Via").filter_map(|via| crate::param(via, "branch"));
    let before =
        branches.filter(|branch| is_transaction(branch)).filter_map(|branch| transactions.outgoing.get(branch));
    let same = |before: &Outgoing| {
        let before = &transactions.incoming_of(before).request;
        before.uri() == now.request.uri() && before.values("Route").eq(now.request.values("Route"))
    };
    must(!before.into_iter().any(same), || format!("a loop was not detected\n{}", now.request))
}

/// RFC 3261 16.2, 16.5, 16.11: a request has one response context or none. No target is tried twice, unless its
/// connection was closed and it registered again. Without a context there is one target.
fn a_request_has_one_response_context(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    if incoming.is_stateless() && !incoming.is_pinned(transactions) {
        return Ok(());
    }
    let conflicts = |other: &Outgoing| {
        let same_target = other.agent == outgoing.agent && other.request.uri() == outgoing.request.uri();
        let same_context = other.is_forked() && outgoing.is_forked() && other.context() == outgoing.context();
        // A stateless branch names the connection of its sender, which may have changed.
        let moved = incoming.is_reliable() && !other.is_forked() && !outgoing.is_forked() && same_target;
        // RFC 5626 7: the phone was not reached over a connection, and has another one now.
        let unreached = other.ended().is_some_and(|ended| matches!(ended.status, 408 | 430));
        // The server gave it up for the next connection, and cancelled it when it responded after all.
        let replaced = !other.cancels.is_empty();
        let silent = other.responses.is_empty() || other.refused.is_some();
        let came_back = other.is_reliable() && (silent || unreached || replaced);
        // RFC 3261 22.2: the answer to a challenge of a trunk.
        let challenged = transactions.trunk_of(other).is_some()
            && other.ended().is_some_and(|ended| matches!(ended.status, 401 | 407));
        // RFC 3263 4.3: the next server of a name. At addresses without an agent, servers cannot be told apart.
        let same_agent = same_target && other.agent.is_some();
        other.branch() != outgoing.branch() && !moved && (same_agent && !came_back && !challenged || !same_context)
    };
    let other = transactions.branches(incoming).find(|other| conflicts(other));
    must(other.is_none(), || format!("{} and {}", outgoing.branch(), other.map_or("", Outgoing::branch)))
}

/// RFC 3261 16.7 steps 5 and 10, 16.10: no branch begins after the call was decided; RFC 4321 1.3: nor after the sender
/// of another method than INVITE gave up.
fn no_branch_begins_after_the_decision(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let latest = incoming.received_at[0] + GIVE_UP + transactions.dns_time(incoming);
    let given_up = !incoming.is_invite() && transactions.now >= latest;
    let over = incoming.ended().is_some() || transactions.decided(incoming).is_some() || given_up;
    must(!over || !outgoing.is_forked(), || format!("{} began too late", outgoing.branch()))
}

/// RFC 3261 16.6 step 11, 16.8: the ring time of the last group is over if no further group began within it. A phone that
/// registers then is not called, even while the CANCELs of the others are under way.
fn nobody_is_called_after_the_ring_time(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let others = || transactions.branches(incoming).filter(|other| other.branch() != outgoing.branch());
    let last = others().map(Outgoing::began).max().unwrap_or(transactions.now);
    // RFC 5393 5.3.3: a phone waits until earlier branches release their breadth, if they hold all of it.
    let holds = |other: &&Outgoing| other.ended().is_none_or(|ended| ended.at >= last);
    let held: u32 = others().filter(holds).filter_map(|other| other.request.number("Max-Breadth")).sum();
    let waits = held >= max_breadth(incoming);
    let leads_on = |other: &Outgoing| {
        let redirects = other.ended().is_some_and(|ended| matches!(ended.status, 300..=302));
        redirects || other.request.uri() == outgoing.request.uri()
    };
    let is_followed = transactions.dialled(incoming).is_some() || others().any(leads_on);
    if !incoming.is_invite() || !outgoing.is_forked() || waits || is_followed {
        return Ok(());
    }
    let until = last.saturating_add(transactions.ring_time(incoming));
    must(transactions.now <= until, || {
        let (uri, now) = (outgoing.request.uri(), transactions.now);
        format!("{} to {uri} began at {now}, after {until}", outgoing.branch())
    })
}

/// RFC 5626 7: the next flow is tried only if the previous one failed. A final response other than 408 and 430 is the
/// answer of the phone.
fn one_flow_of_a_phone_at_a_time(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let failed = |other: &Outgoing| {
        let unreached = other.ended().is_some_and(|ended| matches!(ended.status, 408 | 430));
        unreached || other.refused.is_some() || other.is_mute(transactions.now)
    };
    let rivals = |other: &&Outgoing| other.is_flow() && other.request.uri() != outgoing.request.uri();
    let rival = transactions.branches(incoming).filter(rivals).find(|other| outgoing.is_flow() && !failed(other));
    must(rival.is_none(), || format!("{} beside {}", outgoing.branch(), rival.map_or("", Outgoing::branch)))
}

/// Whether a copy that reaches `agent` takes the same route. A flow that has ended leads nowhere, and a stream to a
/// disconnected agent does not either.
fn is_same_way(outgoing: &Outgoing, agent: Option<usize>) -> bool {
    let may_be_gone = outgoing.is_flow() || outgoing.request.value("Via").starts_with("SIP/2.0/TCP");
    outgoing.agent == agent || may_be_gone && (agent.is_none() || outgoing.agent.is_none())
}

/// RFC 3261 9.1.
fn a_cancel_follows_a_provisional(_: &Transactions, outgoing: &Outgoing) -> Verdict {
    must(outgoing.is_proceeding(), || format!("{} is not proceeding", outgoing.branch()))
}

/// RFC 3261 16.7 steps 5 and 10, 16.8, 16.10: the caller hung up, another phone decided the call, or a timer fired.
fn a_cancel_has_a_cause(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let moved = moved_on(transactions, incoming, outgoing) || outgoing.is_mute(transactions.now);
    let last_news = outgoing.last_news().unwrap_or_else(|| outgoing.began());
    let no_news = transactions.now >= last_news + transactions.settings.timer_c;
    let good = transactions.decided(incoming).is_some()
        || transactions.now >= transactions.rings_until(incoming, outgoing)
        || no_news
        || moved
        || transactions.is_busy_everywhere(incoming, outgoing);
    must(good, || {
        let until = transactions.rings_until(incoming, outgoing);
        format!("{} was cancelled without a cause at {}, before {until}", outgoing.branch(), transactions.now)
    })
}

/// Whether its phone has registered again since and is called at the new binding.
fn moved_on(transactions: &Transactions, incoming: &Incoming, outgoing: &Outgoing) -> bool {
    transactions
        .branches(incoming)
        .any(|other| other.began() > outgoing.began() && other.request.uri() == outgoing.request.uri())
}
