//! Invariants of every request that leaves: forwarded ones, and the ACKs and CANCELs that the server makes.

use std::rc::Rc;

use super::GIVE_UP;
use super::journal::{Asked, Journal, Tried, is_transaction};
use super::rule::{Rule, Verdict, must, rules};
use crate::{DOMAIN, Sip, quoted};

pub(super) const OF_NEW_BRANCHES: &[Rule<Tried>] = rules![
    one_request_has_one_way,
    hops_are_counted,
    breadth_is_shared_out,
    what_is_forwarded_is_what_came,
    what_comes_round_is_stopped,
    nothing_begins_after_the_end,
    one_flow_of_a_phone_at_a_time,
];

pub(super) const OF_CANCELS: &[Rule<Tried>] = rules![a_cancel_follows_a_provisional, a_cancel_has_a_cause];

/// RFC 3261 16.6: a request leaves because one came, and under a Via of ours.
pub(super) fn nothing_is_asked_for_nobody(asked: Option<&Asked>, sip: &Sip) -> Verdict {
    must(asked.is_some(), || format!("nobody asked for this\n{sip}"))
}

/// RFC 3261 16.11, 17.1.1.2: the same text to the same place.
pub(super) fn a_copy_is_a_copy(tried: &Tried, agent: Option<usize>, sip: &Rc<Sip>) -> Verdict {
    must(is_same_way(tried, agent) && tried.request == *sip, || {
        format!("to {:?}\n{}then to {agent:?}\n{sip}", tried.agent, tried.request)
    })
}

/// RFC 3261 16.11: CANCEL and ACK follow an INVITE that left no transaction, for as long as its pin lives.
pub(super) fn a_follow_up_goes_the_way_of_its_invite(
    tried: Option<&Tried>,
    agent: Option<usize>,
    sip: &Sip,
) -> Verdict {
    let Some(tried) = tried else { return Err(format!("no INVITE went this way\n{sip}")) };
    must(is_same_way(tried, agent) && tried.request.uri() == sip.uri(), || {
        format!("the INVITE went to {:?}\n{}but not\n{sip}", tried.agent, tried.request)
    })
}

/// RFC 3261 9.1, 17.1.1.3: what the server makes itself has the branch, and all else, of its INVITE.
pub(super) fn a_follow_up_is_of_its_invite(tried: Option<&Tried>, agent: Option<usize>, sip: &Sip) -> Verdict {
    let Some(tried) = tried.filter(|tried| tried.is_forked() && tried.is_invite()) else {
        return Err(format!("no INVITE has this branch\n{sip}"));
    };
    let invite = &tried.request;
    let same = |name| sip.values(name).eq(invite.values(name));
    let number = |sip: &Sip| sip.value("CSeq").split(' ').next().map(str::to_owned);
    let to = match sip.what() {
        "CANCEL" => same("To"),
        _ => tried.heard.iter().any(|heard| heard.status >= 300 && heard.sip.value("To") == sip.value("To")),
    };
    let good = is_same_way(tried, agent)
        && sip.uri() == invite.uri()
        && sip.values("Via").eq(invite.values("Via").take(1))
        && ["Call-ID", "From", "Route"].into_iter().all(same)
        && number(sip) == number(invite)
        && sip.method() == sip.what()
        && to;
    must(good, || format!("{sip}is not of\n{invite}"))
}

/// RFC 3261 9.1: the CANCEL of a branch is one request, however often it is sent.
pub(super) fn a_branch_has_one_cancel(first: &Sip, sip: &Sip) -> Verdict {
    must(first == sip, || format!("first\n{first}then\n{sip}"))
}

/// RFC 3261 16.6 step 3.
fn hops_are_counted(journal: &Journal, tried: &Tried) -> Verdict {
    let came = journal.asked_of(tried).request.number("Max-Forwards");
    let went = tried.request.number("Max-Forwards");
    let right = came.map_or(Some(70), |hops| hops.checked_sub(1));
    must(went.is_some() && went == right, || format!("Max-Forwards {came:?} became {went:?}"))
}

/// RFC 5393 5.3.3: the branches that are pending together hold no more than the request has; 60 if it does not say.
fn breadth_is_shared_out(journal: &Journal, tried: &Tried) -> Verdict {
    let (asked, now) = (journal.asked_of(tried), journal.now);
    if !tried.is_forked() {
        return Ok(());
    }
    let most = asked.request.number("Max-Breadth").unwrap_or(60).min(60);
    let holds = |branch: &&Tried| {
        // Whoever was mute until then is told to stop when he wakes, and holds nothing.
        let mute_until = |at| now >= at && branch.first_heard().is_none_or(|first| first >= at);
        let silent = mute_until(journal.rings_until(asked, branch)) || mute_until(branch.began() + GIVE_UP);
        !silent && !branch.is_over(now) && !moved_on(journal, asked, branch)
    };
    let held: u32 =
        journal.branches(asked).filter(holds).filter_map(|branch| branch.request.number("Max-Breadth")).sum();
    must(held <= most, || {
        let pending =
            journal.branches(asked).filter(holds).map(|branch| (branch.branch(), branch.request.number("Max-Breadth")));
        format!("{held} of a Max-Breadth of {most}: {:?}", pending.collect::<Vec<_>>())
    })
}

/// RFC 3261 16.6 step 1: but for what a proxy has to change, all lines and the body as they came. Credentials for our realm
/// end here (22.3).
fn what_is_forwarded_is_what_came(journal: &Journal, tried: &Tried) -> Verdict {
    const OURS: [&str; 6] = ["Via:", "Route:", "Record-Route:", "Max-Forwards:", "Max-Breadth:", "Content-Length:"];
    let proof = |line: &String| line.starts_with("Proxy-Authorization:") && quoted(line, "realm") == DOMAIN;
    let ours = |line: &&String| !OURS.iter().any(|name| line.starts_with(name)) && !proof(line);
    let (came, went) = (&journal.asked_of(tried).request, &tried.request);
    let vias = came.values("Via").skip(1).eq(went.values("Via").skip(2));
    let rest = came.lines().iter().filter(ours).eq(went.lines().iter().filter(ours));
    must(vias && rest && came.body == went.body, || format!("came\n{came}went\n{went}"))
}

/// RFC 3261 16.3 step 4, RFC 5393 4.2: what forked here before, and comes back unchanged, does not fork again.
fn what_comes_round_is_stopped(journal: &Journal, tried: &Tried) -> Verdict {
    if !tried.is_forked() {
        return Ok(());
    }
    let now = journal.asked_of(tried);
    let branches = now.request.values("Via").filter_map(|via| crate::param(via, "branch"));
    let before = branches.filter(|branch| is_transaction(branch)).filter_map(|branch| journal.tried.get(branch));
    let same = |before: &Tried| {
        let before = &journal.asked_of(before).request;
        before.uri() == now.request.uri() && before.values("Route").eq(now.request.values("Route"))
    };
    must(!before.into_iter().any(same), || format!("it forked before\n{}", now.request))
}

/// RFC 3261 16.2, 16.5, 16.11: one response context or none; no target twice, unless its connection was lost and it
/// registered anew; one target without a context.
fn one_request_has_one_way(journal: &Journal, tried: &Tried) -> Verdict {
    let asked = journal.asked_of(tried);
    if asked.is_stateless() && !asked.is_pinned(journal) {
        return Ok(());
    }
    let conflicts = |other: &Tried| {
        let same_target = other.agent == tried.agent && other.request.uri() == tried.request.uri();
        let same_context = other.is_forked() && tried.is_forked() && other.context() == tried.context();
        // A branch without a transaction names the connection of its sender, which may be another one by now.
        let moved = asked.is_reliable() && !other.is_forked() && !tried.is_forked() && same_target;
        // RFC 5626 7: a phone that could not be reached over a connection, and has another one now.
        let unreached = other.ended().is_some_and(|ended| matches!(ended.status, 408 | 430));
        let came_back = other.is_reliable() && (other.heard.is_empty() || other.refused.is_some() || unreached);
        other.branch() != tried.branch() && !moved && (same_target && !came_back || !same_context)
    };
    let other = journal.branches(asked).find(|other| conflicts(other));
    must(other.is_none(), || format!("{} and {}", tried.branch(), other.map_or("", Tried::branch)))
}

/// RFC 3261 16.7 steps 5 and 10, 16.10: no new branch once it is decided; RFC 4321 1.3: nor once the sender of another
/// method than INVITE has given up.
fn nothing_begins_after_the_end(journal: &Journal, tried: &Tried) -> Verdict {
    let asked = journal.asked_of(tried);
    let given_up = !asked.is_invite() && journal.now >= asked.heard[0] + GIVE_UP;
    let over = asked.ended().is_some() || journal.decided(asked).is_some() || given_up;
    must(!over || !tried.is_forked(), || format!("{} begins too late", tried.branch()))
}

/// RFC 5626 7: and another one only if the first has failed; a final other than 408 and 430 is the phone's answer.
fn one_flow_of_a_phone_at_a_time(journal: &Journal, tried: &Tried) -> Verdict {
    let asked = journal.asked_of(tried);
    let failed = |other: &Tried| {
        let unreached = other.ended().is_some_and(|ended| matches!(ended.status, 408 | 430));
        unreached || other.refused.is_some() || other.is_mute_flow(journal.now)
    };
    let rivals = |other: &&Tried| other.is_flow() && other.request.uri() != tried.request.uri();
    let rival = journal.branches(asked).filter(rivals).find(|other| tried.is_flow() && !failed(other));
    must(rival.is_none(), || format!("{} beside {}", tried.branch(), rival.map_or("", Tried::branch)))
}

/// Whether it goes where this went. Nothing leads to a flow that has ended since, nor over a stream to an agent that is cut off.
fn is_same_way(tried: &Tried, agent: Option<usize>) -> bool {
    let may_be_gone = tried.is_flow() || tried.request.value("Via").starts_with("SIP/2.0/TCP");
    tried.agent == agent || may_be_gone && (agent.is_none() || tried.agent.is_none())
}

/// RFC 3261 9.1.
fn a_cancel_follows_a_provisional(_: &Journal, tried: &Tried) -> Verdict {
    must(tried.is_proceeding(), || format!("{} is not proceeding", tried.branch()))
}

/// RFC 3261 16.7 steps 5 and 10, 16.8, 16.10: the caller hung up, another phone decided, or a clock ran out.
fn a_cancel_has_a_cause(journal: &Journal, tried: &Tried) -> Verdict {
    let asked = journal.asked_of(tried);
    let moved = moved_on(journal, asked, tried) || tried.is_mute_flow(journal.now);
    let last_news = tried.last_news().unwrap_or_else(|| tried.began());
    let no_news = journal.now >= last_news + journal.terms.timer_c;
    let good = journal.decided(asked).is_some() || journal.now >= journal.rings_until(asked, tried) || no_news || moved;
    must(good, || format!("{} is cancelled for no reason", tried.branch()))
}

/// Whether its phone has registered anew since, and is tried there.
fn moved_on(journal: &Journal, asked: &Asked, tried: &Tried) -> bool {
    journal.branches(asked).any(|other| other.began() > tried.began() && other.request.uri() == tried.request.uri())
}
