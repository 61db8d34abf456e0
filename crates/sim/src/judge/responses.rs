//! Invariants of every response that leaves.

use super::Terms;
use super::journal::{Asked, Heard, Journal, Said, Tried};
use super::rule::{Rule, Verdict, must, rules};
use crate::Sip;

pub(super) const OF_RESPONSES: &[Rule<Asked>] = rules![
    what_is_passed_on_was_heard,
    a_100_stays_here,
    one_final_or_several_2xx,
    other_methods_have_one_answer_at_the_most,
    the_best_final_is_chosen,
    challenges_are_merged,
];

/// RFC 3261 18.2.2, 16.7 step 9: to whoever sent the request with that Via, and to nobody else.
pub(super) fn a_response_goes_where_its_via_says(journal: &Journal, agent: Option<usize>, sip: &Sip) -> Verdict {
    let sender = journal.senders.get(sip.branch()).copied();
    must(sender.is_some() && agent == sender, || format!("agent {agent:?} gets what agent {sender:?} asked for\n{sip}"))
}

/// RFC 3261 10.3 step 8: what the 200 says has happened, so that the machine may die that very moment.
pub(super) fn a_200_waits_for_the_disk(terms: &Terms, asked: &Asked, now: u64, sip: &Sip) -> Verdict {
    // Nothing happens where nothing was to be removed.
    let changes = asked.request.has("Contact") && !asked.request.value("Contact").contains("expires=0");
    let safe = asked.heard[0] + terms.commits;
    must(sip.status() != Some(200) || !changes || now >= safe, || format!("safe at {safe}\n{sip}"))
}

/// RFC 3261 16.7 steps 3 and 9, 16.11; RFC 6026 8.2: without our Via, else as it came; nothing that nobody said.
fn what_is_passed_on_was_heard(journal: &Journal, asked: &Asked) -> Verdict {
    let Some(said) = asked.last_said() else { return Ok(()) };
    let source = journal.branches(asked).flat_map(|tried| tried.heard.iter().rev());
    let heard = said.own || source.map(|heard| &heard.sip).any(|heard| is_forwarded(heard, said));
    must(heard, || format!("nobody said this\n{}", said.sip))
}

/// Whether this is that response without its top Via; challenges may have been added, and RFC 3261 16.7 step 8 lets us
/// change what is ours in a Record-Route.
fn is_forwarded(heard: &Sip, said: &Said) -> bool {
    let mut lines = heard.lines().iter();
    let top = lines.position(|line| line.starts_with("Via:"));
    let expected = heard.lines()[..top.unwrap_or_default()].iter().chain(lines);
    let (sent, count) = (said.sip.lines(), heard.lines().len() - 1);
    let challenges = |line: &String| line.contains("-Authenticate:") && matches!(said.status, 401 | 407);
    heard.start == said.sip.start
        && heard.body == said.sip.body
        && sent.len() >= count
        && sent.iter().zip(expected).all(|(sent, heard)| sent == heard || without_token(sent) == without_token(heard))
        && sent[count..].iter().all(challenges)
}

/// A Record-Route value without the token, which only we write.
fn without_token(line: &str) -> Option<&str> {
    line.strip_prefix("Record-Route: <sip:")?.split_once('@').map(|(_, rest)| rest)
}

/// RFC 3261 16.7 step 5.
fn a_100_stays_here(_: &Journal, asked: &Asked) -> Verdict {
    let Some(said) = asked.last_said() else { return Ok(()) };
    must(said.own || said.status != 100 || asked.is_stateless(), || "a phone's 100 was passed on".to_owned())
}

/// RFC 3261 16.7 step 5, 17.2.1: after a final nothing but copies of it, or a 2xx to an INVITE.
fn one_final_or_several_2xx(_: &Journal, asked: &Asked) -> Verdict {
    let Some(said) = asked.last_said() else { return Ok(()) };
    let Some(first) = asked.ended().filter(|first| first.at < said.at || !std::ptr::eq(*first, said)) else {
        return Ok(());
    };
    let copy = first.status == said.status && first.sip == said.sip;
    let success = asked.is_invite() && (200..300).contains(&said.status);
    let stateless = asked.tried.is_empty() || asked.is_stateless();
    must(copy || success || stateless, || format!("{} after {}", said.sip.start, first.sip.start))
}

/// RFC 4320 4.1, 4.2: a request other than INVITE gets no 1xx but a 100, and never a 408.
fn other_methods_have_one_answer_at_the_most(_: &Journal, asked: &Asked) -> Verdict {
    let Some(said) = asked.last_said() else { return Ok(()) };
    let bad = matches!(said.status, 101..200 | 408);
    must(!bad || asked.is_invite() || asked.is_stateless(), || format!("{} to {}", said.status, asked.request.what()))
}

/// RFC 3261 16.7 step 6.
fn the_best_final_is_chosen(journal: &Journal, asked: &Asked) -> Verdict {
    let Some(said) = asked.last_said() else { return Ok(()) };
    let first = asked.ended().is_some_and(|ended| std::ptr::eq(ended, said));
    if !first || !asked.is_forked() || said.status < 300 {
        return Ok(());
    }
    let outcomes: Vec<_> = journal.branches(asked).map(|tried| outcomes(journal, asked, tried)).collect();
    let hung_up = asked.hung_up().is_some();
    // A 503 would make the caller leave this server alone for one phone's trouble.
    // And a 430 is about a flow of ours (RFC 5626 11.5).
    let told = |status| match status {
        430 => 480,
        503 => 500,
        _ => status,
    };
    let good = choices(&outcomes).any(|choice| {
        let best = choice.into_iter().flatten().min_by_key(|status| place(*status, hung_up));
        told(best.unwrap_or(408)) == said.status
    });
    must(good, || format!("{} is not the best of {outcomes:?}", said.status))
}

/// The places of responses, as people expect them: best first, within a place the lower code.
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

/// What the end of a branch can count as: one code, or several if a response and a clock raced; none if it was a
/// redirection that was followed.
fn outcomes(journal: &Journal, asked: &Asked, tried: &Tried) -> Vec<Option<u16>> {
    let followed = |ended: &Heard| journal.decided(asked).is_none_or(|at| ended.at < at);
    if tried.ended().is_some_and(|ended| matches!(ended.status, 300..=302) && followed(ended)) {
        // It led nowhere, or elsewhere.
        return vec![Some(480), None];
    }
    codes(journal, asked, tried).into_iter().map(Some).collect()
}

fn codes(journal: &Journal, asked: &Asked, tried: &Tried) -> Vec<u16> {
    // A 6xx that came after its branch had been given up stops nobody.
    let refusal = |tried: &Tried| {
        tried.ended().filter(|ended| ended.status >= 600 && !tried.gave_up_before(ended.at)).map(|ended| ended.at)
    };
    let called_off = asked.hung_up().into_iter().chain(journal.branches(asked).find_map(refusal)).min();
    let unheard = was_mute(journal, asked, tried);
    match tried.ended() {
        // RFC 3261 16.9; RFC 5626 11.5 where nothing but a flow led there.
        _ if tried.refused.is_some() => {
            let refused = if tried.agent.is_none() { 430 } else { 503 };
            vec![refused, tried.ended().map_or(refused, |ended| ended.status)]
        }
        Some(ended) if unheard || tried.gave_up_before(ended.at) => vec![ended.status, 408, 487],
        // RFC 3261 16.8: what our own clock cancelled, the caller did not.
        Some(ended)
            if ended.status == 487 && !tried.cancels.is_empty() && called_off.is_none_or(|at| ended.at < at) =>
        {
            vec![408]
        }
        Some(ended) => vec![ended.status],
        None if called_off.is_none() => vec![408],
        None => vec![487, 408],
    }
}

/// Whether it said nothing as long as anybody waited: what it says then comes too late.
fn was_mute(journal: &Journal, asked: &Asked, tried: &Tried) -> bool {
    let rang_out = journal.rings_until(asked, tried);
    tried.first_heard().is_none_or(|first| first >= rang_out || tried.is_mute_flow(first))
}

/// All ways to take one of each.
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

/// RFC 3261 16.7 step 7, RFC 8760 2.5: all challenges of all branches, each phone's in its order.
fn challenges_are_merged(journal: &Journal, asked: &Asked) -> Verdict {
    let Some(said) = asked.last_said() else { return Ok(()) };
    if !matches!(said.status, 401 | 407) || !asked.is_forked() {
        return Ok(());
    }
    let sent = challenges(&said.sip);
    let challenging = |tried: &&Tried| {
        let ended = tried.ended().filter(|ended| matches!(ended.status, 401 | 407) && ended.at <= said.at);
        // Of one that spoke when nobody waited any more, it may be too late.
        ended.is_some_and(|ended| !was_mute(journal, asked, tried) || sent.contains(&challenges(&ended.sip)[0]))
    };
    let asked_for: Vec<Vec<&str>> = journal
        .branches(asked)
        .filter(challenging)
        .filter_map(Tried::ended)
        .map(|ended| challenges(&ended.sip))
        .collect();
    let total: usize = asked_for.iter().map(Vec::len).sum();
    let first = asked.ended().is_some_and(|ended| std::ptr::eq(ended, said));
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
