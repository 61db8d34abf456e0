//! Invariants of each response that is sent.

use super::rule::{Rule, Verdict, must, rules};
use super::transactions::{Incoming, Outgoing, ReceivedResponse, SentResponse, Transactions};
use super::{GIVE_UP, JudgeSettings};
use crate::{Sip, uri_in};

pub(super) const OF_RESPONSES: &[Rule<Incoming>] = rules![
    every_response_forwarded_was_received,
    no_100_is_forwarded,
    one_final_or_several_2xx,
    a_non_invite_has_at_most_one_response,
    the_best_final_is_chosen,
    challenges_are_merged,
    a_closed_flow_gets_480,
];

/// RFC 3261 18.2.2, 16.7 step 9: a response goes to the sender of the request with that Via, and to nobody else.
pub(super) fn a_response_goes_where_its_via_says(
    transactions: &Transactions,
    agent: Option<usize>,
    sip: &Sip,
) -> Verdict {
    let sender = transactions.senders.get(sip.branch()).copied();
    must(sender.is_some() && agent == sender, || {
        format!("agent {agent:?} gets the response to agent {sender:?}\n{sip}")
    })
}

/// RFC 3261 10.3 step 8: the change that a 200 confirms is durable before it is sent, so that a crash cannot undo it.
pub(super) fn a_200_follows_the_commit(settings: &JudgeSettings, incoming: &Incoming, now: u64, sip: &Sip) -> Verdict {
    // A removal may remove nothing, so its 200 need not wait.
    let changes = incoming.request.has("Contact") && !incoming.request.value("Contact").contains("expires=0");
    let safe = incoming.received_at[0] + settings.commits;
    must(sip.status() != Some(200) || !changes || now >= safe, || format!("durable only at {safe}\n{sip}"))
}

/// RFC 3261 16.7 steps 3 and 9, 16.11; RFC 6026 8.2: a forwarded response is one that was received, without our Via and
/// otherwise unchanged.
fn every_response_forwarded_was_received(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    let received = response.own
        || transactions.branches(incoming).any(|outgoing| {
            let is_of_trunk = transactions.trunk_of(outgoing).is_some();
            let mut responses = outgoing.responses.iter().rev();
            responses.any(|received| match is_of_trunk {
                true => is_forwarded(&with_values_of(&incoming.request, &received.sip), response),
                false => is_forwarded(&received.sip, response),
            })
        });
    must(received, || format!("no phone sent this response\n{}", response.sip))
}

/// The response of a trunk with the values that the caller knows.
fn with_values_of(request: &Sip, received: &Sip) -> Sip {
    let names = ["From", "CSeq"];
    names.into_iter().fold(received.clone(), |response, name| response.set(name, request.value(name)))
}

/// Whether a sent response is this received one without its top Via. Challenges may have been added, and the token in
/// our Record-Route may have changed (RFC 3261 16.7 step 8).
fn is_forwarded(received: &Sip, response: &SentResponse) -> bool {
    let mut lines = received.lines().iter();
    let top = lines.position(|line| line.starts_with("Via:"));
    let expected = received.lines()[..top.unwrap_or_default()].iter().chain(lines);
    let (sent, count) = (response.sip.lines(), received.lines().len() - 1);
    let challenges = |line: &String| line.contains("-Authenticate:") && matches!(response.status, 401 | 407);
    received.start == response.sip.start
        && received.body == response.sip.body
        && sent.len() >= count
        && sent.iter().zip(expected).all(|(sent, received)| sent == received || is_same_but_token(sent, received))
        && sent[count..].iter().all(challenges)
}

/// Whether two lines are the same Record-Route with different tokens.
fn is_same_but_token(sent: &str, received: &str) -> bool {
    without_token(sent).is_some_and(|sent| without_token(received) == Some(sent))
}

/// A Record-Route value without the token.
fn without_token(line: &str) -> Option<&str> {
    line.strip_prefix("Record-Route: <sip:")?.split_once('@').map(|(_, rest)| rest)
}

/// RFC 3261 16.7 step 5.
fn no_100_is_forwarded(_: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    must(response.own || response.status != 100 || incoming.is_stateless(), || {
        "the 100 of a phone was forwarded".to_owned()
    })
}

/// RFC 3261 16.7 step 5, 17.2.1: after a final response there are only copies of it, or a 2xx to an INVITE.
fn one_final_or_several_2xx(_: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    let Some(first) = incoming.ended().filter(|first| first.at < response.at || !std::ptr::eq(*first, response)) else {
        return Ok(());
    };
    let copy = first.status == response.status && first.sip == response.sip;
    let success = incoming.is_invite() && (200..300).contains(&response.status);
    let stateless = incoming.outgoing.is_empty() || incoming.is_stateless();
    must(copy || success || stateless, || format!("{} after {}", response.sip.start, first.sip.start))
}

/// RFC 4320 4.1, 4.2: another method than INVITE gets no 1xx except 100, and never a 408.
fn a_non_invite_has_at_most_one_response(_: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    let bad = matches!(response.status, 101..200 | 408);
    must(!bad || incoming.is_invite() || incoming.is_stateless(), || {
        format!("{} for a {}", response.status, incoming.request.what())
    })
}

/// RFC 3261 16.7 step 6.
fn the_best_final_is_chosen(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    let first = incoming.ended().is_some_and(|ended| std::ptr::eq(ended, response));
    if !first || !incoming.is_forked() || response.status < 300 {
        return Ok(());
    }
    let mut outcomes: Vec<_> =
        transactions.branches(incoming).map(|outgoing| outcomes(transactions, incoming, outgoing)).collect();
    outcomes.extend(transactions.may_be_full(incoming).then(|| vec![None, Some(503)]));
    let hung_up = incoming.hung_up().is_some();
    // A forwarded 503 would make the caller avoid this server because of one phone. A 430 is about a flow that only we
    // know (RFC 5626 11.5).
    let told = |status| match status {
        430 => 480,
        503 => 500,
        _ => status,
    };
    let good = choices(&outcomes).any(|choice| {
        let best = choice.into_iter().flatten().min_by_key(|status| place(*status, hung_up));
        told(best.unwrap_or(408)) == response.status
    });
    must(good, || format!("{} is not the best of {outcomes:?}", response.status))
}

/// RFC 3261 16.9, RFC 5626 11.5: a stateless call that has no other way than a closed flow. The pin knows that it was a flow.
fn a_closed_flow_gets_480(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    let pinned = incoming.is_invite() && incoming.is_stateless() && incoming.is_pinned(transactions);
    let new_call = incoming.request.to_tag().is_empty();
    let closed = |branch: &Outgoing| branch.is_flow() && branch.agent.is_none() && branch.refused == Some(response.at);
    let owed = pinned && new_call && response.own && transactions.branches(incoming).any(closed);
    must(!owed || response.status == 480, || format!("{} for a closed flow", response.status))
}

/// The order of final responses, best first; the lower code within a place.
fn place(status: u16, hung_up: bool) -> (u8, u16) {
    let place = match status {
        600.. => 1,
        487 if hung_up => 2,
        401 | 407 => 3,
        415 | 420 | 484 => 4,
        300..=399 => 5,
        486 => 6,
        480 => 7,
        404 | 410 => 9,
        430 => 11,
        408 => 12,
        503 => 13,
        500.. => 10,
        _ => 8,
    };
    (place, status)
}

/// What the end of a branch can count as: one code; several if a response and a timer raced; `None` if it was a
/// redirection that was followed.
fn outcomes(transactions: &Transactions, incoming: &Incoming, outgoing: &Outgoing) -> Vec<Option<u16>> {
    if let Some(ended) = outgoing.ended().filter(|_| transactions.trunk_of(outgoing).is_some()) {
        let is_refused = || codes(transactions, incoming, outgoing).into_iter().map(Some);
        // A challenge that was answered does not count.
        return match ended.status {
            401 | 407 => is_refused().filter(|code| *code != Some(ended.status)).chain([None, Some(502)]).collect(),
            300..=399 => is_refused().filter(|code| *code != Some(ended.status)).chain([Some(502)]).collect(),
            _ => is_refused().collect(),
        };
    }
    let followed = |ended: &ReceivedResponse| transactions.decided(incoming).is_none_or(|at| ended.at < at);
    if let Some(ended) = outgoing.ended().filter(|ended| matches!(ended.status, 300..=302) && followed(ended)) {
        // RFC 4321 1.3: it is not followed any more when the sender has given up.
        let began = incoming.received_at.first().copied().unwrap_or_default();
        let is_late = !incoming.is_invite() && ended.at >= began + GIVE_UP;
        // The redirection led nowhere, or to other targets.
        // A number outside of the office is for the caller to dial.
        let is_kept = is_late || transactions.is_outside(uri_in(ended.sip.value("Contact")));
        // The caller may hang up while its targets are looked up.
        let hung_up = incoming.hung_up().map(|_| Some(487));
        return [Some(480), None].into_iter().chain(is_kept.then_some(Some(ended.status))).chain(hung_up).collect();
    }
    codes(transactions, incoming, outgoing).into_iter().map(Some).collect()
}

fn codes(transactions: &Transactions, incoming: &Incoming, outgoing: &Outgoing) -> Vec<u16> {
    // A 6xx that arrived after its branch had given up does not end the call.
    let refusal = |outgoing: &Outgoing| transactions.refused_by(incoming, outgoing);
    let called_off = incoming.hung_up().into_iter().chain(transactions.branches(incoming).find_map(refusal)).min();
    let unheard = was_mute(transactions, incoming, outgoing);
    match outgoing.ended() {
        // RFC 3261 16.9; RFC 5626 11.5 if only a flow led there.
        _ if outgoing.refused.is_some() => {
            let refused = if outgoing.agent.is_none() { 430 } else { 503 };
            let ended = outgoing.ended().map_or(refused, |ended| ended.status);
            // A late report may come after the branch was to be cancelled.
            let is_late = outgoing.refused.is_some_and(|at| at > outgoing.began());
            // A branch of an office call may begin when the time of its party is over, and is given up at once.
            let is_late = is_late || transactions.dialled(incoming).is_some();
            if is_late { vec![refused, ended, 408, 487] } else { vec![refused, ended] }
        }
        Some(ended) if unheard || outgoing.gave_up_before(ended.at) => vec![ended.status, 408, 487],
        // RFC 3261 16.8: a branch that our own timer cancelled counts as 408, not as 487.
        Some(ended)
            if ended.status == 487 && !outgoing.cancels.is_empty() && called_off.is_none_or(|at| ended.at < at) =>
        {
            vec![408]
        }
        Some(ended) => vec![ended.status],
        None if called_off.is_none() => vec![408],
        None => vec![487, 408],
    }
}

/// Whether it did not respond while the server waited for it, so that a later response may count or not.
fn was_mute(transactions: &Transactions, incoming: &Incoming, outgoing: &Outgoing) -> bool {
    let rang_out = transactions.rings_until(incoming, outgoing);
    outgoing.first_response_at().is_none_or(|first| first >= rang_out || outgoing.is_mute(first))
}

/// All combinations of one value from each set.
fn choices(sets: &[Vec<Option<u16>>]) -> impl Iterator<Item = Vec<Option<u16>>> {
    let count: usize = sets.iter().map(Vec::len).product();
    (0..count).map(|mut number| {
        let pick = |set: &Vec<Option<u16>>| {
            let one = set[number % set.len()];
            number /= set.len();
            one
        };
        sets.iter().map(pick).collect()
    })
}

/// RFC 3261 16.7 step 7, RFC 8760 2.5: all challenges of all branches, those of each phone in its order.
fn challenges_are_merged(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    if !matches!(response.status, 401 | 407) || !incoming.is_forked() {
        return Ok(());
    }
    let sent = challenges(&response.sip);
    let challenging = |outgoing: &&Outgoing| {
        let is_answered_here = transactions.trunk_of(outgoing).is_some();
        let is_challenge = |status| matches!(status, 401 | 407) && !is_answered_here;
        let ended = outgoing.ended().filter(|ended| is_challenge(ended.status) && ended.at <= response.at);
        // A challenge that arrived after its branch had given up may be missing.
        ended.is_some_and(|ended| {
            !was_mute(transactions, incoming, outgoing) || sent.contains(&challenges(&ended.sip)[0])
        })
    };
    let asked_for: Vec<Vec<&str>> = transactions
        .branches(incoming)
        .filter(challenging)
        .filter_map(Outgoing::ended)
        .map(|ended| challenges(&ended.sip))
        .collect();
    let total: usize = asked_for.iter().map(Vec::len).sum();
    let first = incoming.ended().is_some_and(|ended| std::ptr::eq(ended, response));
    let in_order = |one: &Vec<&str>| {
        let mut places = one.iter().map(|challenge| sent.iter().position(|other| other == challenge));
        places.try_fold(None, |last, place| place.is_some_and(|place| last < Some(place)).then_some(place)).is_some()
    };
    must(!first || total == sent.len() && asked_for.iter().all(in_order), || format!("{asked_for:?} became {sent:?}"))
}

fn challenges(sip: &Sip) -> Vec<&str> {
    let all = sip.lines().iter().filter(|line| line.contains("-Authenticate:"));
    all.map(String::as_str).collect()
}
