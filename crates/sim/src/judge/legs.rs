//! Invariants of calls that the rules of the office apply to: who may ring, when the call is forwarded and why, and what
//! the caller and the phones are told.
//!
//! A *leg* is what rings at one stop of a call. Its branches have the same History-Info.

use super::GIVE_UP;
use super::office::{RingTimes, Way};
use super::rule::{Rule, Verdict, must, rules};
use super::transactions::{Incoming, Outgoing, Transactions};
use crate::{DOMAIN, uri_in};

pub(super) const OF_NEW_BRANCHES: &[Rule<Outgoing>] = rules![
    a_code_reaches_nobody,
    a_call_takes_the_way_of_the_rules,
    nobody_rings_who_must_not,
    a_phone_is_called_once,
    the_caller_is_told_of_each_diversion,
    the_reason_of_a_diversion_is_true,
];

impl Transactions {
    /// The name that a request was sent to, if rules of the office apply to it: the request is outside of dialogs.
    pub(super) fn dialled<'i>(&self, incoming: &'i Incoming) -> Option<&'i str> {
        let request = &incoming.request;
        let applies = request.to_tag().is_empty() && !matches!(request.what(), "ACK" | "CANCEL" | "REGISTER");
        self.office.as_ref()?.name_in(request.uri()).filter(|_| applies)
    }

    /// How a branch came to its phone: the History-Info that this server has added.
    pub(super) fn way(&self, incoming: &Incoming, outgoing: &Outgoing) -> Way {
        let came: Vec<&str> = incoming.request.values("History-Info").collect();
        let went: Vec<&str> = outgoing.request.values("History-Info").collect();
        // The entries of a trusted sender are kept. Those of others are removed, and may be the same as the new ones.
        let sender = self.senders.get(&outgoing.incoming);
        let is_trusted = sender.is_some_and(|sender| self.trusted.contains(sender));
        let added = if is_trusted && went.starts_with(&came) { &went[came.len()..] } else { &went };
        let Some((last, left)) = added.split_last() else {
            let dialled = self.dialled(incoming).unwrap_or_default();
            let at = self.office.as_ref().map(|office| office.begin(dialled)).unwrap_or_default();
            return Way { left: Vec::new(), at };
        };
        let left = left.iter().map(|entry| diverted(entry)).collect();
        Way { left, at: name_of(uri_in(last)) }
    }

    /// The branches of the leg of a branch, itself too.
    fn leg<'a>(&'a self, incoming: &'a Incoming, outgoing: &'a Outgoing) -> impl Iterator<Item = &'a Outgoing> {
        let way = self.way(incoming, outgoing);
        self.branches(incoming).filter(move |other| self.way(incoming, other) == way)
    }

    /// The times of the leg of a branch, if rules of the office apply.
    fn times(&self, incoming: &Incoming, outgoing: &Outgoing) -> Option<RingTimes> {
        self.dialled(incoming)?;
        let office = self.office.as_ref()?;
        Some(office.times(&self.way(incoming, outgoing).at, self.settings.ring_time))
    }

    /// The leg of a branch began at this time or later: its request arrived, or the call was forwarded.
    fn leg_began_after(&self, incoming: &Incoming, leg_began: u64) -> u64 {
        let told = incoming.responses.iter().filter(|sent| sent.own && sent.status == 181 && sent.at <= leg_began);
        told.map(|sent| sent.at).max().unwrap_or_else(|| incoming.received_at[0])
    }

    /// The earliest time at which a branch may be cancelled because its time is over.
    pub(super) fn leg_rings_until(&self, incoming: &Incoming, outgoing: &Outgoing) -> Option<u64> {
        let times = self.times(incoming, outgoing)?;
        let leg_began = self.leg(incoming, outgoing).map(Outgoing::began).min().unwrap_or_else(|| outgoing.began());
        let after = self.leg_began_after(incoming, leg_began);
        // A phone that begins in the middle of a turn shares its time.
        let shares = self.settings.joins || times.follows < u64::MAX || outgoing.is_one_of_several();
        // So does the answer to a challenge of a trunk (RFC 3261 22.2).
        let same = self.leg(incoming, outgoing).filter(|other| other.request.uri() == outgoing.request.uri());
        let began = same.map(Outgoing::began).min().unwrap_or_else(|| outgoing.began());
        let turn_began = if shares { leg_began } else { began };
        let until = turn_began.saturating_add(times.shortest);
        Some(until.min(after.saturating_add(times.all.min(times.follows))))
    }

    /// The latest time at which a branch must be cancelled.
    pub(super) fn leg_rings_on_until(&self, incoming: &Incoming, outgoing: &Outgoing) -> Option<u64> {
        let times = self.times(incoming, outgoing)?;
        let leg = || self.leg(incoming, outgoing).map(Outgoing::began);
        let rings_on = self.settings.rings_on || times.rings_on;
        let leg_began = leg().min().unwrap_or_default();
        // A turn also begins with a party, or with the target of a redirection, that nothing can be sent to.
        let ends = self.leg(incoming, outgoing).filter_map(Outgoing::ended);
        let redirected = ends.filter(|ended| (300..400).contains(&ended.status)).map(|ended| ended.at);
        let last_turn = leg_began.saturating_add(times.last_turn);
        let began = if rings_on { leg().chain(redirected).fold(last_turn, u64::max) } else { outgoing.began() };
        Some(began.saturating_add(times.longest).min(leg_began.saturating_add(times.all)))
    }

    /// Whether a 6xx of this branch ends the call: it does not if it comes from a member of a group, or if the user has
    /// a party for the calls that arrive while the user is busy.
    pub(super) fn a_6xx_decides(&self, incoming: &Incoming, outgoing: &Outgoing, status: u16) -> bool {
        let Some(office) = self.office.as_ref().filter(|_| self.dialled(incoming).is_some()) else { return true };
        let stop = self.way(incoming, outgoing).at;
        !office.is_group(&stop) && (status != 600 || !incoming.is_invite() || !office.has_busy_party(&stop))
    }

    /// When the call left a branch that had not responded: it is given up, and holds no breadth.
    pub(super) fn left_silent(&self, incoming: &Incoming, outgoing: &Outgoing) -> bool {
        if self.dialled(incoming).is_none() {
            return false;
        }
        let told = incoming.responses.iter().filter(|sent| sent.own && sent.status == 181).map(|sent| sent.at);
        let busy = self.leg(incoming, outgoing).filter(|branch| has_sent(branch, &[600]));
        let mut left = told.chain(busy.filter_map(|branch| Some(branch.ended()?.at)));
        let first = outgoing.first_response_at().unwrap_or(u64::MAX);
        left.any(|at| outgoing.began() < at && at <= first)
    }

    /// Whether the user of a branch is busy at all phones, so that its other branches are cancelled.
    pub(super) fn is_busy_everywhere(&self, incoming: &Incoming, outgoing: &Outgoing) -> bool {
        self.dialled(incoming).is_some() && self.leg(incoming, outgoing).any(|branch| has_sent(branch, &[600]))
    }
}

/// A name and the cause for which it was left.
fn diverted(entry: &str) -> (String, u16) {
    let (uri, reason) = uri_in(entry).split_once('?').unwrap_or_default();
    let cause = reason.rsplit("%3D").next().and_then(|cause| cause.rsplit('=').next());
    (name_of(uri), cause.and_then(|cause| cause.parse().ok()).unwrap_or_default())
}

/// The name in a URI of this server, or the URI.
fn name_of(uri: &str) -> String {
    let name = uri.strip_prefix("sip:").and_then(|rest| rest.split_once('@'));
    name.filter(|(_, host)| *host == DOMAIN).map_or(uri, |(name, _)| name).to_owned()
}

/// The user part of a SIP URI.
pub(super) fn user_of(uri: &str) -> &str {
    uri.strip_prefix("sip:").and_then(|rest| rest.split_once('@')).map_or("", |(user, _)| user)
}

fn has_sent(branch: &Outgoing, statuses: &[u16]) -> bool {
    branch.ended().is_some_and(|ended| statuses.contains(&ended.status))
}

/// The caller changes its own rules, which calls nobody.
fn a_code_reaches_nobody(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let Some(office) = transactions.office.as_ref().filter(|_| incoming.is_invite()) else { return Ok(()) };
    let dialled = name_of(incoming.request.uri());
    must(!office.codes.contains(&dialled), || format!("{dialled} was forwarded"))
}

/// RFC 7044: the History-Info names the way of the call. Each step is one that the rules allow; there are at most five
/// diversions, and none leads back.
fn a_call_takes_the_way_of_the_rules(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let (Some(office), Some(dialled)) = (&transactions.office, transactions.dialled(incoming)) else { return Ok(()) };
    let way = transactions.way(incoming, outgoing);
    // Only INVITEs are forwarded, but a number leads to another party outside of its hours for all requests.
    let is_forwarded = way.left.iter().any(|(name, _)| !office.is_number(name));
    must(incoming.is_invite() || !is_forwarded, || format!("{} was diverted: {way:?}", incoming.request.start))?;
    office.check(dialled, &way, incoming.is_invite()).map_err(|what| format!("{what}: {way:?} from {dialled}"))
}

/// Users who do not want to be disturbed, those whose calls are always forwarded, the caller in its own group, parties
/// outside of their hours, and all others that the rules do not name.
fn nobody_rings_who_must_not(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let (Some(office), Some(_)) = (&transactions.office, transactions.dialled(incoming)) else { return Ok(()) };
    let way = transactions.way(incoming, outgoing);
    let from = name_of(uri_in(incoming.request.value("From")));
    let allowed = office.may_ring(&way.at, &from, incoming.is_invite());
    let uri = outgoing.request.uri();
    let outside = |party: &String| transactions.number_outside(party).is_some_and(|number| number == user_of(uri));
    let is_party = |party: &String| {
        let is_name = party == uri || party == user_of(uri) || uri.starts_with(&format!("{party};target="));
        is_name || outside(party)
    };
    let is_allowed = allowed.iter().any(is_party);
    // A phone of this call may have redirected it.
    let redirections = transactions.branches(incoming).filter_map(Outgoing::ended);
    let mut redirections = redirections.filter(|ended| matches!(ended.status, 300..=302));
    let redirected = redirections.any(|ended| user_of(uri_in(ended.sip.value("Contact"))) == user_of(uri));
    must(is_allowed || redirected, || format!("{uri} rings in a call from {from} at {way:?}; allowed: {allowed:?}"))
}

/// Nobody rings twice in one call, and so not twice at once: a phone is called again only if its flow failed or was
/// replaced.
fn a_phone_is_called_once(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    if transactions.dialled(incoming).is_none() || !outgoing.is_forked() {
        return Ok(());
    }
    let same = |other: &Outgoing| other.agent == outgoing.agent && other.agent.is_some();
    let failed = |other: &Outgoing| {
        let silent = other.responses.is_empty();
        let unreached = has_sent(other, &[408, 430]) || other.gave_up_before(transactions.now);
        // RFC 3261 22.2: the answer to a challenge of a trunk.
        let unreached = unreached || transactions.trunk_of(other).is_some() && has_sent(other, &[401, 407]);
        unreached || other.refused.is_some() || other.is_mute(transactions.now) || other.is_reliable() && silent
    };
    let again = |other: &&Outgoing| {
        other.branch() != outgoing.branch() && (same(other) || other.is_flow() && outgoing.is_flow()) && !failed(other)
    };
    let before = transactions.branches(incoming).find(again);
    must(before.is_none(), || format!("{} after {}", outgoing.branch(), before.map_or("", Outgoing::branch)))
}

/// The branch of the leg before this one, if phones were asked then.
fn previous<'a>(transactions: &'a Transactions, incoming: &'a Incoming, way: &Way) -> Option<&'a Outgoing> {
    let earlier = |branch: &&Outgoing| transactions.way(incoming, branch).left.len() < way.left.len();
    transactions.branches(incoming).filter(earlier).last()
}

/// RFC 3261 21.1.3: a 181 precedes each leg but the first one.
fn the_caller_is_told_of_each_diversion(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    if transactions.dialled(incoming).is_none() || !incoming.is_invite() {
        return Ok(());
    }
    let mut legs: Vec<Way> = transactions.branches(incoming).map(|branch| transactions.way(incoming, branch)).collect();
    legs.dedup();
    let told = incoming.responses.iter().filter(|sent| sent.own && sent.status == 181).count();
    must(told + 1 >= legs.len(), || format!("{told} times for {legs:?}"))
}

/// RFC 4458 3.2: busy only after 486 or 600, or if no member of a group accepts the call; unavailable only if no phone
/// rang until its time was over; no answer only after that time.
fn the_reason_of_a_diversion_is_true(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let incoming = transactions.incoming_of(outgoing);
    let (Some(office), Some(_)) = (&transactions.office, transactions.dialled(incoming)) else { return Ok(()) };
    let way = transactions.way(incoming, outgoing);
    let Some(before) = previous(transactions, incoming, &way) else { return Ok(()) };
    let now = transactions.now;
    let stop = transactions.way(incoming, before);
    let Some((_, cause)) = way.left.get(stop.left.len()) else { return Ok(()) };
    let leg = || transactions.leg(incoming, before);
    let rang_out = || leg().any(|branch| !branch.cancels.is_empty() && !branch.is_mute(now));
    let is_true = match cause {
        486 if office.is_group(&stop.at) => leg().any(|branch| branch.ended().is_some()),
        486 => leg().any(|branch| has_sent(branch, &[486, 600])),
        404 => !rang_out() && !leg().any(|branch| has_sent(branch, &[486, 600]) && !is_late(branch)),
        // The time of one of its phones is over, even if the phone has not responded at all.
        408 => {
            // A server that was given up for the next one counts as a phone that nobody answered.
            let is_over = |branch: &Outgoing| ring_time_is_over(transactions, incoming, branch) || branch.is_mute(now);
            rang_out() || leg().any(is_over)
        }
        _ => false,
    };
    must(is_true, || format!("{cause} is not why the call leaves {}", stop.at))
}

fn ring_time_is_over(transactions: &Transactions, incoming: &Incoming, branch: &Outgoing) -> bool {
    transactions.leg_rings_until(incoming, branch).is_some_and(|until| transactions.now >= until)
}

/// Whether a final response came after the server had given up waiting for it.
fn is_late(branch: &Outgoing) -> bool {
    branch.ended().is_some_and(|ended| {
        branch.gave_up_before(ended.at) || branch.is_mute(ended.at) || ended.at >= branch.began() + GIVE_UP
    })
}
