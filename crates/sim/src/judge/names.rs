//! Invariants of host names with several servers (RFC 3263 4.3, 4.4).

use super::rule::{Rule, Verdict, must, rules};
use super::settings::{GIVE_UP, UNREACHABLE_FOR};
use super::transactions::{Incoming, Outgoing, ReceivedResponse, Transactions, is_to_two_flows};
use crate::Sip;

pub(super) const OF_NEW_BRANCHES: &[Rule<Outgoing>] = rules![
    a_server_is_tried_once,
    one_server_of_a_name_at_a_time,
    better_servers_are_tried_first,
    a_server_that_failed_is_tried_last,
];

pub(super) const OF_STEPS: &[Rule<Incoming>] =
    rules![the_next_server_is_tried, without_a_response_a_call_ends_with_its_last_server];

/// A host name with several servers.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Its user.
    pub(crate) user: &'static str,
    pub(crate) host: String,
    /// The URI that leads to it.
    pub(crate) uri: String,
    pub(crate) servers: Vec<Server>,
}

/// A server of a site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) agent: usize,
    /// Servers with a lower rank are tried first. Those with the same one are tried in any order.
    pub(crate) rank: u32,
}

impl Site {
    /// Whether this URI leads to it by its name.
    pub(super) fn is_named_by(&self, uri: &str) -> bool {
        let host = uri.split_once('@').map_or("", |(_, rest)| rest);
        host.split([';', ':', '?']).next() == Some(&self.host)
    }

    /// Whether this URI names the user whose Contact it is.
    fn is_contact_of(&self, uri: &str) -> bool {
        let user = uri.strip_prefix("sip:").and_then(|rest| rest.split_once('@'));
        user.is_some_and(|(user, _)| user == self.user)
    }
}

impl Transactions {
    /// The site whose name a branch has as its Request-URI.
    pub(super) fn site_of(&self, outgoing: &Outgoing) -> Option<&Site> {
        self.sites.iter().find(|site| site.is_named_by(outgoing.request.uri()))
    }

    /// The site that a request outside of a dialog leads to: by its name, or as the only Contact of its user.
    pub(super) fn site_of_request(&self, incoming: &Incoming) -> Option<&Site> {
        let uri = incoming.request.uri();
        self.sites.iter().find(|site| site.is_named_by(uri) || site.is_contact_of(uri))
    }

    /// How long DNS may take for a request to this target.
    pub(super) fn dns_time(&self, incoming: &Incoming) -> u64 {
        if self.site_of_request(incoming).is_some() { self.settings.dns } else { 0 }
    }

    /// All branches that went to a site by its name.
    pub(super) fn to_site<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a Outgoing> {
        self.outgoing.values().filter(|outgoing| site.is_named_by(outgoing.request.uri()))
    }

    /// How long a request may at least go without a response before another flow or server is tried.
    pub(super) fn patience(&self, request: &Sip) -> Option<u64> {
        if is_to_two_flows(request.uri()) {
            return Some(GIVE_UP / 2);
        }
        let site = self.sites.iter().find(|site| site.is_named_by(request.uri()))?;
        Some(GIVE_UP / site.servers.len() as u64)
    }
}

impl Outgoing {
    /// When it certainly failed, so that another server must be tried: it was refused, or a 503 came in time.
    pub(super) fn certain_failure(&self) -> Option<u64> {
        let in_time = |ended: &&ReceivedResponse| {
            ended.status == 503 && !self.is_mute(ended.at) && !self.gave_up_before(ended.at)
        };
        self.refused.or_else(|| self.ended().filter(in_time).map(|ended| ended.at))
    }

    /// Whether its phone sent a redirection.
    pub(super) fn is_redirected(&self) -> bool {
        self.ended().is_some_and(|ended| matches!(ended.status, 300..=302))
    }

    /// The part of our branch that names the worker.
    pub(super) fn worker(&self) -> &str {
        self.context().get(..2).unwrap_or_default()
    }
}

/// The branches of the same request that went to the same URI earlier.
fn earlier<'a>(transactions: &'a Transactions, outgoing: &'a Outgoing) -> impl Iterator<Item = &'a Outgoing> {
    let incoming = transactions.incoming_of(outgoing);
    let same = |other: &&Outgoing| other.branch() != outgoing.branch() && other.request.uri() == outgoing.request.uri();
    transactions.branches(incoming).take_while(|other| other.branch() != outgoing.branch()).filter(same)
}

/// RFC 3263 4.3: each server is tried once for a request.
fn a_server_is_tried_once(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    if transactions.site_of(outgoing).is_none() || !outgoing.is_forked() {
        return Ok(());
    }
    let again = earlier(transactions, outgoing).find(|other| other.agent == outgoing.agent);
    must(again.is_none(), || format!("{} after {}", outgoing.branch(), again.map_or("", Outgoing::branch)))
}

/// RFC 3263 4.3: the next server is tried only after the previous one has failed: it could not be reached, sent 503 (or
/// 408 or 430, which say the same), or nothing in its share of the caller's time.
fn one_server_of_a_name_at_a_time(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    if transactions.site_of(outgoing).is_none() || !outgoing.is_forked() {
        return Ok(());
    }
    let rival = earlier(transactions, outgoing).find(|other| !may_have_failed(other, transactions.now));
    must(rival.is_none(), || format!("{} beside {}", outgoing.branch(), rival.map_or("", Outgoing::branch)))
}

/// RFC 3263 4.1, 4.2, RFC 2782: services, priorities and addresses in their order, except for servers that failed a
/// short time ago.
fn better_servers_are_tried_first(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let Some((site, agent)) = transactions.site_of(outgoing).zip(outgoing.agent) else { return Ok(()) };
    let Some(own) = site.servers.iter().find(|server| server.agent == agent) else {
        return Err(format!("{} goes to agent {agent}, which is no server of {}", outgoing.branch(), site.host));
    };
    // Within a dialog a request may go to the peer that is known from the dialog.
    if !outgoing.request.to_tag().is_empty() {
        return Ok(());
    }
    let tried = |server: &Server| earlier(transactions, outgoing).any(|other| other.agent == Some(server.agent));
    let resolved = resolved_after(transactions, outgoing);
    let better = site.servers.iter().find(|server| {
        server.rank < own.rank && !tried(server) && !failed_lately(transactions, site, server.agent, resolved)
    });
    must(better.is_none(), || format!("{} goes to {own:?}, before {better:?}", outgoing.branch()))
}

/// RFC 3263 4.3: a server that failed is tried last for a while, by the worker that has tried the next one because of
/// that.
fn a_server_that_failed_is_tried_last(transactions: &Transactions, outgoing: &Outgoing) -> Verdict {
    let Some((site, agent)) = transactions.site_of(outgoing).zip(outgoing.agent) else { return Ok(()) };
    if !outgoing.is_forked() || earlier(transactions, outgoing).next().is_some() {
        return Ok(());
    }
    let (now, resolved) = (transactions.now, resolved_after(transactions, outgoing));
    let is_known = |other: &&Outgoing| {
        let failed_at = other.certain_failure().filter(|at| *at < resolved && now < at + UNREACHABLE_FOR);
        let incoming = transactions.incoming_of(other);
        other.agent == Some(agent)
            && other.worker() == outgoing.worker()
            && failed_at.is_some_and(|at| {
                let next = |next: &Outgoing| next.began() == at && next.request.uri() == other.request.uri();
                transactions.branches(incoming).any(|branch| branch.agent != other.agent && next(branch))
            })
    };
    let Some(failure) = transactions.to_site(site).find(is_known) else { return Ok(()) };
    let other = |server: &&Server| server.agent != agent && !failed_lately(transactions, site, server.agent, resolved);
    let left_out = site.servers.iter().find(other);
    must(left_out.is_none(), || {
        format!("{} goes where {} failed, and not to {left_out:?}", outgoing.branch(), failure.branch())
    })
}

/// RFC 3263 4.3: after a server has failed the next one is tried at once.
fn the_next_server_is_tried(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let now = transactions.now;
    let gave_up = !incoming.is_invite() && now >= incoming.received_at[0] + GIVE_UP;
    if !incoming.is_forked() || transactions.decided(incoming).is_some() || gave_up {
        return Ok(());
    }
    // A redirection may have led to a group of its own, which ends with the ring time.
    let redirected = transactions.branches(incoming).any(|branch| branch.is_redirected());
    for branch in transactions.branches(incoming).filter(|branch| branch.certain_failure() == Some(now)) {
        let Some(site) = transactions.site_of(branch).filter(|_| !redirected && branch.cancels.is_empty()) else {
            continue;
        };
        let to_same = || transactions.branches(incoming).filter(|other| other.request.uri() == branch.request.uri());
        let went_on = to_same()
            .any(|other| other.began() > branch.began() || other.began() == now && other.agent != branch.agent);
        let all_tried = site.servers.iter().all(|server| to_same().any(|other| other.agent == Some(server.agent)));
        must(went_on || all_tried, || format!("{} failed, and no other server is tried", branch.branch()))?;
    }
    Ok(())
}

/// RFC 3261 17.1.1.2: each server gets its share of 64·T1, and the last one all of it.
fn without_a_response_a_call_ends_with_its_last_server(transactions: &Transactions, incoming: &Incoming) -> Verdict {
    let now = transactions.now;
    let Some(site) = transactions.site_of_request(incoming).filter(|_| incoming.is_invite() && incoming.is_forked())
    else {
        return Ok(());
    };
    let silent = transactions.branches(incoming).all(|branch| branch.responses.is_empty());
    let over = now > transactions.last_began(incoming) + GIVE_UP;
    must(!silent || !over || incoming.ended().is_some(), || format!("no server of {} responds", site.host))
}

/// Whether a branch has failed by now, so that the next server may be tried.
fn may_have_failed(branch: &Outgoing, now: u64) -> bool {
    let unreached = branch.ended().is_some_and(|ended| matches!(ended.status, 408 | 430 | 503));
    unreached || branch.refused.is_some() || branch.is_mute(now)
}

/// The name of a branch was resolved at this time or later: when its request had arrived. A target of a redirection may
/// have to wait after that.
fn resolved_after(transactions: &Transactions, outgoing: &Outgoing) -> u64 {
    transactions.incoming_of(outgoing).received_at[0]
}

/// Whether a worker may have regarded this server as unreachable at some time since then.
fn failed_lately(transactions: &Transactions, site: &Site, agent: usize, since: u64) -> bool {
    let now = transactions.now;
    if transactions.attacked.get(&agent).is_some_and(|at| since < at + 2 * GIVE_UP + UNREACHABLE_FOR) {
        return true;
    }
    transactions.to_site(site).filter(|branch| branch.agent == Some(agent)).any(|branch| {
        let lately = |at: u64| since < at + UNREACHABLE_FOR;
        let unreached = branch.ended().is_some_and(|ended| matches!(ended.status, 408 | 430 | 503) && lately(ended.at));
        let mute = branch.is_mute(now) && lately(branch.began() + GIVE_UP);
        unreached || branch.refused.is_some_and(lately) || mute
    })
}
