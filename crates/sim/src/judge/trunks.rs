//! Invariants of calls by trunks: who may dial, which numbers the trunk and the caller see, when the next trunk is tried,
//! and what a trunk that calls may reach.

use super::GIVE_UP;
use super::attack_log::is_proven;
use super::legs::user_of;
use super::rule::{Rule, Verdict, must, rules};
use super::transactions::{Incoming, Outgoing, Transactions};
use crate::{DOMAIN, Sip, uri_in};

/// The realm of all trunks.
pub(crate) const TRUNK_REALM: &str = "trunk";

/// The trunks of a trial, the preferred one first.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrunksModel {
    pub(crate) trunks: Vec<TrunkModel>,
    /// The users who may dial some classes only.
    pub(crate) classes: Vec<(&'static str, &'static str)>,
    /// The numbers that a trunk may call.
    pub(crate) numbers: Vec<String>,
}

/// A trunk.
#[derive(Clone, Debug)]
pub(crate) struct TrunkModel {
    /// The agent that gets the calls.
    pub(crate) agent: usize,
    /// The agent that calls.
    pub(crate) caller: usize,
    /// What follows the number in the Request-URI of a call.
    pub(crate) server: String,
    /// Whether the server has a password there, and answers challenges.
    pub(crate) has_login: bool,
    pub(crate) max_calls: Option<usize>,
}

/// Which trunks numbers with a prefix take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) prefix: &'static str,
    pub(crate) strip: usize,
    pub(crate) add: &'static str,
    /// `None` for an emergency number.
    pub(crate) class: Option<&'static str>,
    /// So many of the trunks.
    pub(crate) trunks: usize,
}

/// The outgoing lines of all trials, the longest prefix first.
pub(crate) const LINES: [Line; 3] = [
    Line { prefix: "112", strip: 0, add: "", class: None, trunks: 2 },
    Line { prefix: "00", strip: 2, add: "+", class: Some("international"), trunks: 1 },
    Line { prefix: "0", strip: 1, add: "+49", class: Some("national"), trunks: 2 },
];

pub(super) const OF_NEW_BRANCHES: &[Rule<Outgoing>] = rules![
    only_who_may_dial_reaches_a_trunk,
    a_dialled_number_reaches_its_trunks_only,
    a_trunk_gets_numbers_of_its_own,
    a_prack_names_its_response,
    the_next_trunk_is_tried_for_a_reason,
    a_trunk_has_at_most_its_calls,
    a_trunk_reaches_numbers_only,
];

pub(super) const OF_RESPONSES: &[Rule<Incoming>] =
    rules![a_challenge_of_a_trunk_stays_here, every_trunk_is_tried, a_class_is_refused_with_403];

/// Whether challenges of a trunk are answered within dialogs.
pub(crate) const CHALLENGES_IN_DIALOGS: bool = true;

/// So many challenges are answered for one request.
const MOST_CHALLENGES: u64 = 2;

impl Line {
    fn is_for(&self, number: &str) -> bool {
        number.starts_with(self.prefix) && (self.class.is_some() || number.len() == self.prefix.len())
    }
}

impl Transactions {
    /// The trunk that gets this request.
    pub(super) fn trunk_of(&self, outgoing: &Outgoing) -> Option<&TrunkModel> {
        let model = self.trunks.as_ref()?;
        model.trunks.iter().find(|trunk| [trunk.agent, trunk.caller].map(Some).contains(&outgoing.agent))
    }

    /// The trunk that a request comes from.
    pub(super) fn calling_trunk(&self, incoming: &Incoming) -> Option<&TrunkModel> {
        let sender = self.senders.get(incoming.request.branch())?;
        self.trunks.as_ref()?.trunks.iter().find(|trunk| trunk.caller == *sender)
    }

    /// The line of a request that dials a number, and the number.
    pub(super) fn line<'i>(&self, incoming: &'i Incoming) -> Option<(&'static Line, &'i str)> {
        self.trunks.as_ref()?;
        let (number, host) = incoming.request.uri().strip_prefix("sip:")?.split_once('@')?;
        let line = LINES.iter().find(|line| line.is_for(number))?;
        (host == DOMAIN && incoming.request.to_tag().is_empty()).then_some((line, number))
    }

    /// Whether a URI names a number outside of the office.
    pub(super) fn is_outside(&self, uri: &str) -> bool {
        let number = uri.strip_prefix("sip:").and_then(|rest| rest.strip_suffix(DOMAIN)?.strip_suffix('@'));
        self.trunks.is_some() && number.is_some_and(|number| LINES.iter().any(|line| line.is_for(number)))
    }

    /// How long a trunk may go without a response if there is another one.
    pub(super) fn patience_with_trunk(&self, below: &str, agent: Option<usize>) -> Option<u64> {
        let model = self.trunks.as_ref()?;
        let (line, _) = self.line(self.incoming.get(below)?)?;
        let is_first = model.trunks.first().is_some_and(|trunk| Some(trunk.agent) == agent);
        (is_first && line.trunks > 1).then_some(GIVE_UP / 2)
    }

    /// Whether a user may dial a line.
    fn may_dial(&self, user: &str, line: &Line) -> bool {
        let only = self.trunks.iter().flat_map(|model| &model.classes).find(|(name, _)| *name == user);
        line.class.is_none() || only.is_none_or(|(_, class)| line.class == Some(*class))
    }

    /// The number that a trunk gets for a dialled one.
    pub(super) fn number_outside(&self, dialled: &str) -> Option<String> {
        let line = LINES.iter().find(|line| line.is_for(dialled)).filter(|_| self.trunks.is_some())?;
        Some(format!("{}{}", line.add, &dialled[line.strip..]))
    }

    /// The number that a trunk gets for a URI that dials one.
    pub(super) fn number_at_trunk(&self, uri: &str) -> Option<String> {
        self.is_outside(uri).then(|| self.number_outside(user_of(uri)))?
    }

    /// Whether the rules of any user lead to this number of a trunk.
    pub(super) fn rules_lead_outside(&self, number: &str) -> bool {
        let Some(office) = &self.office else { return false };
        let is_number = |to: &String| self.number_outside(to).is_some_and(|outside| outside == number);
        office.users.keys().any(|user| office.leads_to(user).into_iter().any(is_number))
    }

    /// Whether the rules of a user lead to this trunk, and the user may dial the number.
    fn is_forwarded_outside(&self, outgoing: &Outgoing) -> bool {
        let incoming = self.incoming_of(outgoing);
        let (Some(office), Some(_)) = (&self.office, self.dialled(incoming)) else { return false };
        let way = self.way(incoming, outgoing);
        let number = user_of(outgoing.request.uri());
        let is_number = |to: &&String| self.number_outside(to).is_some_and(|outside| outside == number);
        let may_dial = |user: &str, to: &String| LINES.iter().any(|line| line.is_for(to) && self.may_dial(user, line));
        // A member of a group may be followed.
        let is_on_way = |user: &String| {
            *user == way.at || way.left.last().is_some_and(|(name, _)| name == user) || office.is_group(&way.at)
        };
        let mut users = office.users.keys().filter(|user| is_on_way(user));
        users.any(|user| office.leads_to(user).into_iter().filter(is_number).any(|to| may_dial(user, to)))
    }

    /// What a trunk without calls to spare counts as, if a dialled number has one: the judge does not see it tried.
    pub(super) fn may_be_full(&self, incoming: &Incoming) -> bool {
        let limited = || self.trunks.iter().flat_map(|model| &model.trunks).any(|trunk| trunk.max_calls.is_some());
        let dials = self.line(incoming).is_some_and(|(line, _)| line.class.is_some());
        (dials || self.dialled(incoming).is_some()) && limited()
    }

    /// Whether a trunk has refused a BYE, which has not ended the call there then (RFC 3261 15.1.1).
    fn is_refused_by_trunk(&self, bye: &Incoming) -> bool {
        let last = self.branches(bye).last().filter(|last| self.trunk_of(last).is_some());
        let ended = last.and_then(|last| last.ended());
        ended.is_some_and(|ended| !matches!(ended.status, 200..=299 | 401 | 407 | 408 | 481))
    }

    /// The calls that a trunk certainly has now: they began, did not fail, and no side has sent a BYE that the trunk has not refused.
    fn calls_at<'a>(&'a self, trunk: &'a TrunkModel) -> impl Iterator<Item = &'a Incoming> {
        let ended = |incoming: &Incoming| {
            let call_id = incoming.request.value("Call-ID");
            let mut byes = self.incoming.values().filter(|other| other.request.what() == "BYE");
            // A BYE that the trunk has refused ends nothing.
            byes.any(|bye| bye.request.value("Call-ID") == call_id && !self.is_refused_by_trunk(bye))
        };
        let has_failed = |incoming: &Incoming| incoming.ended().is_some_and(|sent| sent.status >= 300);
        let invites = self.incoming.values().filter(|incoming| incoming.is_invite());
        invites.filter(move |incoming| {
            let is_new_call = incoming.request.to_tag().is_empty();
            let comes = self.calling_trunk(incoming).is_some_and(|from| from.agent == trunk.agent);
            let is_emergency = self.line(incoming).is_some_and(|(line, _)| line.class.is_none());
            let last = self.branches(incoming).last();
            let goes = self.line(incoming).is_some() && last.is_some_and(|last| last.agent == Some(trunk.agent));
            let counts = comes && last.is_some() || goes && !is_emergency;
            is_new_call && counts && !has_failed(incoming) && !ended(incoming)
        })
    }
}

/// Whether this is the URI of an emergency number.
pub(super) fn is_emergency(uri: &str) -> bool {
    LINES.iter().any(|line| line.class.is_none() && uri == format!("sip:{}@{DOMAIN}", line.prefix))
}

fn is_outside_of_dialogs(request: &Sip) -> bool {
    request.to_tag().is_empty() && !matches!(request.what(), "ACK" | "CANCEL")
}

/// Nobody calls at the expense of the office: a call by a trunk was dialled by a user with credentials and permission, or
/// forwarded by a user with permission. Nothing else that a trunk, a stranger or a redirection sends leads there.
fn only_who_may_dial_reaches_a_trunk(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    if transactions.trunk_of(outgoing).is_none() || !is_outside_of_dialogs(&outgoing.request) {
        return Ok(());
    }
    let from = uri_in(incoming.request.value("From"));
    let user = from.strip_prefix("sip:").and_then(|rest| rest.strip_suffix(DOMAIN)?.strip_suffix('@'));
    let dials = |user: &str| {
        let line = transactions.line(incoming);
        let is_proven = is_proven(&incoming.request, user) || is_emergency(incoming.request.uri());
        is_proven && line.is_some_and(|(line, _)| transactions.may_dial(user, line))
    };
    let is_allowed = incoming.is_invite() && (user.is_some_and(dials) || transactions.is_forwarded_outside(outgoing));
    must(is_allowed, || format!("{from} reaches a trunk by {}", incoming.request.uri()))
}

/// A dialled number leads to the trunks of its line and to nobody else; a redirection of a trunk is not followed.
fn a_dialled_number_reaches_its_trunks_only(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let (Some(model), Some((line, number))) = (&transactions.trunks, transactions.line(incoming)) else {
        return Ok(());
    };
    let outside = format!("{}{}", line.add, &number[line.strip..]);
    let mut trunks = model.trunks.iter().take(line.trunks);
    let uri = outgoing.request.uri();
    let is_right = |trunk: &TrunkModel| uri == format!("sip:{outside}@{};user=phone", trunk.server);
    must(trunks.clone().any(is_right), || format!("{uri} was called for {number}"))?;
    // An emergency call is never refused because a trunk has too many calls.
    let is_first = transactions.branches(incoming).count() == 1;
    let skips = line.class.is_none() && is_first && !trunks.next().is_some_and(is_right);
    must(!skips, || format!("{uri} was called first for {number}"))
}

/// RFC 3261 22.2, 12.2.1.1: CSeq n of a phone leaves as 8n + k, where k is the number of challenges that were answered. The
/// ACK has the number of its INVITE.
fn a_trunk_gets_numbers_of_its_own(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let Some(trunk) = transactions.trunk_of(outgoing) else { return Ok(()) };
    let (came, went) = (sequence(&incoming.request), sequence(&outgoing.request));
    if !trunk.has_login {
        return must(came == went, || format!("CSeq {came} became {went}"));
    }
    let same_trunk = |other: &&Outgoing| other.agent == outgoing.agent && other.branch() != outgoing.branch();
    let answered = transactions.branches(incoming).filter(same_trunk).count() as u64;
    let is_right = match outgoing.request.what() {
        "ACK" => transactions.outgoing.values().any(|invite| {
            let same = |name| invite.request.value(name) == outgoing.request.value(name);
            let tag = outgoing.request.to_tag();
            let has_accepted = invite.responses.iter().any(|received| received.sip.to_tag() == tag);
            let is_same = invite.agent == outgoing.agent && same("Call-ID") && sequence(&invite.request) == went;
            invite.is_invite() && is_same && has_accepted
        }),
        _ => went == 8 * came + answered,
    };
    must(is_right && answered <= MOST_CHALLENGES, || format!("CSeq {came} became {went} after {answered} challenges"))
}

/// RFC 3262 7.2: the RAck of a PRACK has the RSeq of a provisional response and the CSeq of its INVITE, as the phone or trunk
/// that sent the response knows them.
fn a_prack_names_its_response(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let prack = &outgoing.request;
    if prack.what() != "PRACK" {
        return Ok(());
    }
    let is_named = transactions.outgoing.values().any(|invite| {
        let cseq = invite.request.value("CSeq");
        invite.request.value("Call-ID") == prack.value("Call-ID")
            && invite.responses.iter().any(|received| {
                let response = &received.sip;
                response.to_tag() == prack.to_tag()
                    && prack.value("RAck") == format!("{} {cseq}", response.value("RSeq"))
            })
    });
    must(is_named, || format!("no response has the numbers in RAck\n{prack}"))
}

/// RFC 3261 21.5, 21.6: the next trunk is tried if the one before could not set up the call, and not if the called party has
/// refused it.
fn the_next_trunk_is_tried_for_a_reason(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let Some((line, _)) = transactions.line(incoming) else { return Ok(()) };
    let others = || transactions.branches(incoming).filter(|other| other.agent != outgoing.agent);
    // One trunk at a time.
    let beside = others().find(|other| !other.is_over(transactions.now));
    must(beside.is_none(), || format!("{} beside {}", outgoing.branch(), beside.map_or("", Outgoing::branch)))?;
    let refusing = others().find(|other| has_decided(other, line));
    must(refusing.is_none(), || format!("{} after {}", outgoing.branch(), refusing.map_or("", Outgoing::branch)))
}

/// Whether the called party has refused a call by a trunk, so that no other trunk is tried.
fn has_decided(branch: &Outgoing, line: &Line) -> bool {
    let Some(ended) = branch.ended() else { return false };
    // RFC 3261 16.8: a branch that Timer C has cancelled counts as 408.
    let is_cancelled = ended.status == 487 && !branch.cancels.is_empty();
    let is_late = branch.is_mute(ended.at) || branch.gave_up_before(ended.at) || is_cancelled;
    let is_emergency = line.class.is_none();
    let is_failure = match ended.status {
        300..=399 | 401 | 407 | 408 | 430 | 500 | 502..=504 => true,
        486 | 487 | 600.. => false,
        _ => is_emergency,
    };
    !is_late && !is_failure
}

/// `max_calls` counts calls in both directions; emergency calls are never refused because of it.
fn a_trunk_has_at_most_its_calls(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let is_emergency = transactions.line(incoming).is_some_and(|(line, _)| line.class.is_none());
    let trunk = transactions.trunk_of(outgoing).or_else(|| transactions.calling_trunk(incoming));
    let Some((trunk, most)) = trunk.and_then(|trunk| Some((trunk, trunk.max_calls?))) else { return Ok(()) };
    if is_emergency || !incoming.is_invite() || !is_outside_of_dialogs(&outgoing.request) {
        return Ok(());
    }
    let calls: Vec<&str> = transactions.calls_at(trunk).map(|call| call.request.value("Call-ID")).collect();
    must(calls.len() <= most, || format!("{calls:?} at a trunk with at most {most} calls"))
}

/// A trunk reaches numbers of this server, and no user by name.
fn a_trunk_reaches_numbers_only(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    if transactions.calling_trunk(incoming).is_none() || !is_outside_of_dialogs(&incoming.request) {
        return Ok(());
    }
    let uri = incoming.request.uri();
    let number = uri.strip_prefix("sip:").and_then(|rest| rest.split_once('@')).map_or("", |(number, _)| number);
    let plain = |number: &str| number.trim_start_matches('+').to_owned();
    let mut known = transactions.trunks.iter().flat_map(|model| &model.numbers);
    must(known.any(|known| plain(known) == plain(number)), || format!("a trunk reaches {uri}"))
}

/// A 401 or 407 of a trunk never reaches the phone.
fn a_challenge_of_a_trunk_stays_here(_: &Transactions, incoming: &Incoming) -> Verdict {
    let Some(response) = incoming.last_response() else { return Ok(()) };
    let realm = format!("realm=\"{TRUNK_REALM}\"");
    let challenge = response.sip.lines().iter().find(|line| line.contains("-Authenticate:") && line.contains(&realm));
    let applies = CHALLENGES_IN_DIALOGS || incoming.request.to_tag().is_empty();
    must(!applies || challenge.is_none(), || format!("{} with {challenge:?}", response.sip.start))
}

/// A call fails only if every trunk was tried, or the called party has refused it.
fn every_trunk_is_tried(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let (Some(model), Some((line, _))) = (&transactions.trunks, transactions.line(incoming)) else { return Ok(()) };
    let Some(response) = incoming.last_response().filter(|sent| sent.status >= 300) else { return Ok(()) };
    let is_first = incoming.ended().is_some_and(|ended| std::ptr::eq(ended, response));
    let hung_up = incoming.hung_up().is_some();
    let decided = transactions.branches(incoming).any(|branch| has_decided(branch, line));
    if !is_first || !incoming.is_forked() || hung_up || decided {
        return Ok(());
    }
    let is_free = |trunk: &&TrunkModel| line.class.is_none() || trunk.max_calls.is_none();
    let was_tried =
        |trunk: &TrunkModel| transactions.branches(incoming).any(|branch| branch.agent == Some(trunk.agent));
    let mut untried = model.trunks.iter().take(line.trunks).filter(is_free).filter(|trunk| !was_tried(trunk));
    must(untried.next().is_none(), || format!("{} although a trunk was not tried", response.status))
}

/// A number of a class that the caller may not dial.
fn a_class_is_refused_with_403(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let (Some((line, _)), Some(response)) = (transactions.line(incoming), incoming.last_response()) else {
        return Ok(());
    };
    let from = uri_in(incoming.request.value("From"));
    let user = from.strip_prefix("sip:").and_then(|rest| rest.strip_suffix(DOMAIN)?.strip_suffix('@'));
    let refused = user.is_some_and(|user| !transactions.may_dial(user, line)) && incoming.is_invite();
    // It may be refused for another reason first.
    let is_right = matches!(response.status, 403 | 407 | 440 | 482 | 483 | 500 | 503);
    must(!refused || is_right, || format!("{} for a class that the caller may not dial", response.status))
}

/// The CSeq number.
pub(super) fn sequence(sip: &Sip) -> u64 {
    sip.value("CSeq").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
