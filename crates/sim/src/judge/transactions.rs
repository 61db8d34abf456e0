//! What the server received and sent, by transaction: the facts that the invariants check.
//!
//! It records and does not judge. It only reads what is on the wire. Of our Via branch it knows the first character
//! (whether there is a transaction) and the part that identifies the response context.

use std::rc::Rc;

use hashbrown::HashMap;

use crate::{DOMAIN, Sip};

use super::{GIVE_UP, JudgeSettings, OfficeModel, Site, T4, TWO_FLOWS, TrunksModel};

/// A request that the server received: a server transaction, or a stateless request.
pub(crate) struct Incoming {
    pub(crate) request: Rc<Sip>,
    /// When each copy was received.
    pub(crate) received_at: Vec<u64>,
    /// When its CANCEL was first received.
    pub(crate) cancelled: Option<u64>,
    /// When the ACK of its failure response was first received.
    pub(crate) acked: Option<u64>,
    pub(crate) responses: Vec<SentResponse>,
    /// How many responses to its CANCEL were sent.
    pub(crate) cancel_replies: usize,
    /// The branches that it was forwarded with, in order.
    pub(crate) outgoing: Vec<Rc<str>>,
}

/// A response that the server sent.
pub(crate) struct SentResponse {
    pub(crate) at: u64,
    pub(crate) status: u16,
    pub(crate) sip: Rc<Sip>,
    /// Whether the server created it.
    pub(crate) own: bool,
}

/// A request that the server sent: a client transaction, or a stateless request.
pub(crate) struct Outgoing {
    /// The key of the request that caused it.
    pub(crate) incoming: Rc<str>,
    pub(crate) agent: Option<usize>,
    pub(crate) request: Rc<Sip>,
    /// How long it may go without a response if another flow or server can be tried.
    patience: Option<u64>,
    /// When each copy of it was sent.
    pub(crate) sent: Vec<u64>,
    /// When the transport refused it, if it did.
    pub(crate) refused: Option<u64>,
    /// The responses to it.
    pub(crate) responses: Vec<ReceivedResponse>,
    /// When the last ACK or CANCEL of the caller was forwarded after it.
    pub(crate) followed: u64,
    /// How many ACKs the server created for it.
    pub(crate) acks: usize,
    /// When each copy of the CANCEL that the server created was sent.
    pub(crate) cancels: Vec<u64>,
    pub(crate) cancel: Option<Rc<Sip>>,
    pub(crate) cancel_answered: Option<u64>,
}

/// A response that the server received.
pub(crate) struct ReceivedResponse {
    pub(crate) at: u64,
    pub(crate) status: u16,
    pub(crate) sip: Rc<Sip>,
}

/// All transactions by the top Via branch of their request.
pub(crate) struct Transactions {
    pub(crate) settings: JudgeSettings,
    /// The host names with several servers.
    pub(crate) sites: Vec<Site>,
    /// The rules of the office, if there are any.
    pub(crate) office: Option<OfficeModel>,
    /// The trunks, if there are any.
    pub(crate) trunks: Option<TrunksModel>,
    /// The agents whose History-Info is believed.
    pub(crate) trusted: Vec<usize>,
    /// When an attack last reached an agent.
    pub(crate) attacked: HashMap<usize, u64>,
    /// The time in microseconds since the beginning.
    pub(crate) now: u64,
    pub(crate) incoming: HashMap<Rc<str>, Incoming>,
    pub(crate) outgoing: HashMap<Rc<str>, Outgoing>,
    /// The agent that used a branch.
    pub(crate) senders: HashMap<Rc<str>, usize>,
}

impl Transactions {
    pub(crate) fn new(
        settings: JudgeSettings,
        (sites, office, trunks): (Vec<Site>, Option<OfficeModel>, Option<TrunksModel>),
        trusted: Vec<usize>,
    ) -> Self {
        Self {
            settings,
            sites,
            office,
            trunks,
            trusted,
            attacked: HashMap::new(),
            now: 0,
            incoming: HashMap::new(),
            outgoing: HashMap::new(),
            senders: HashMap::new(),
        }
    }

    /// The branches of a request.
    pub(crate) fn branches<'a>(&'a self, incoming: &'a Incoming) -> impl Iterator<Item = &'a Outgoing> {
        incoming.outgoing.iter().filter_map(|branch| self.outgoing.get(branch))
    }

    /// When the call was decided, so that no branch may begin: the caller hung up, or a phone sent a 2xx or 6xx (RFC
    /// 3261 16.7 steps 5 and 10, 16.10).
    pub(crate) fn decided(&self, incoming: &Incoming) -> Option<u64> {
        let by_branch = |branch| self.decided_by(incoming, branch);
        self.branches(incoming).filter_map(by_branch).chain(incoming.hung_up()).min()
    }

    /// When a branch received a 2xx, or a 6xx that ends the call.
    fn decided_by(&self, incoming: &Incoming, outgoing: &Outgoing) -> Option<u64> {
        let success = outgoing.responses.iter().find(|received| (200..300).contains(&received.status));
        // The transaction of another request than INVITE has ended when the request could not be sent.
        let is_late =
            |at: u64| at >= outgoing.began() + GIVE_UP || outgoing.refused.is_some_and(|refused| at >= refused);
        let success = success.filter(|received| outgoing.is_invite() || !is_late(received.at));
        success.map(|received| received.at).into_iter().chain(self.refused_by(incoming, outgoing)).min()
    }

    /// When a branch received a 6xx in time that ends the call.
    pub(crate) fn refused_by(&self, incoming: &Incoming, outgoing: &Outgoing) -> Option<u64> {
        let refusal = outgoing.ended().filter(|ended| ended.status >= 600 && !outgoing.gave_up_before(ended.at))?;
        self.a_6xx_decides(incoming, outgoing, refusal.status).then_some(refusal.at)
    }

    /// The earliest end of the ring time of a branch: a phone that joins a group shares the ring time of the group, and so
    /// does the next server of a name.
    pub(crate) fn rings_until(&self, incoming: &Incoming, outgoing: &Outgoing) -> u64 {
        if let Some(until) = self.leg_rings_until(incoming, outgoing) {
            return until;
        }
        let shared = |other: &&Outgoing| {
            let same_name = outgoing.is_one_of_several() && other.request.uri() == outgoing.request.uri();
            (self.settings.joins || same_name) && other.began() < outgoing.began()
        };
        let group = self.branches(incoming).filter(shared).map(Outgoing::began).min();
        group.unwrap_or_else(|| outgoing.began()) + self.settings.ring_time
    }

    /// How long each group rings at most. A single phone has no ring time.
    pub(crate) fn ring_time(&self, incoming: &Incoming) -> u64 {
        let uri = incoming.request.uri();
        // A call to the Contact of a phone reaches one phone, perhaps over another of its contacts.
        let is_user = uri.contains(DOMAIN);
        // Whether a call of a trunk has a ring time depends on the phones of its number.
        let is_outside = self.line(incoming).is_some() || self.calling_trunk(incoming).is_some();
        let bounded = is_user && !is_outside && !is_to_two_flows(uri) && self.site_of_request(incoming).is_none();
        if bounded { self.settings.ring_time } else { u64::MAX }
    }

    /// The latest end of the ring time of a branch, if other branches of its request extend it.
    pub(crate) fn rings_on_until(&self, incoming: &Incoming, outgoing: &Outgoing) -> u64 {
        if let Some(until) = self.leg_rings_on_until(incoming, outgoing) {
            return until;
        }
        let began = if self.settings.rings_on { self.last_began(incoming) } else { outgoing.began() };
        began.saturating_add(self.ring_time(incoming))
    }

    /// When no phone may ring any more.
    pub(crate) fn rang_out(&self, incoming: &Incoming) -> u64 {
        let legs = self.branches(incoming).filter_map(|branch| self.leg_rings_on_until(incoming, branch));
        legs.max().unwrap_or_else(|| self.last_began(incoming).saturating_add(self.ring_time(incoming)))
    }

    /// When the last branch began.
    pub(crate) fn last_began(&self, incoming: &Incoming) -> u64 {
        self.branches(incoming).map(Outgoing::began).max().unwrap_or_default()
    }

    pub(crate) fn incoming_of(&self, outgoing: &Outgoing) -> &Incoming {
        &self.incoming[&outgoing.incoming]
    }
}

impl Incoming {
    pub(crate) fn new(request: &Rc<Sip>) -> Self {
        Self {
            request: Rc::clone(request),
            received_at: Vec::new(),
            cancelled: None,
            acked: None,
            responses: Vec::new(),
            cancel_replies: 0,
            outgoing: Vec::new(),
        }
    }

    pub(crate) fn is_invite(&self) -> bool {
        self.request.what() == "INVITE"
    }

    /// Whether it was forwarded with client transactions.
    pub(crate) fn is_forked(&self) -> bool {
        self.outgoing.first().is_some_and(|branch| is_transaction(branch))
    }

    pub(crate) fn is_stateless(&self) -> bool {
        self.outgoing.first().is_some_and(|branch| !is_transaction(branch))
    }

    pub(crate) fn is_reliable(&self) -> bool {
        over_a_stream(&self.request)
    }

    /// Whether its server transaction must be over. A request that was refused at once had none (RFC 3261 8.2.7).
    pub(crate) fn is_forgotten(&self, now: u64) -> bool {
        // A response context that could reach nobody has sent 100.
        let had_context = self.responses.iter().any(|sent| sent.own && sent.status == 100);
        if self.outgoing.is_empty() && !had_context {
            return self.ended().is_some();
        }
        let rested = self.ended().is_some_and(|ended| ended.at + GIVE_UP <= now);
        let rest = if self.is_reliable() { 0 } else { T4 };
        rested || self.acked.is_some_and(|acked| self.is_forked() && acked + rest <= now)
    }

    /// Whether a request with this branch counts as a new one. A retransmitted REGISTER is recognised by the binding
    /// that it left.
    pub(crate) fn is_new_again(&self, now: u64) -> bool {
        self.request.what() != "REGISTER" && !self.is_stateless() && self.is_forgotten(now)
    }

    /// Whether the pin of a stateless request is alive.
    pub(crate) fn is_pinned(&self, transactions: &Transactions) -> bool {
        !self.is_forgotten(transactions.now) && transactions.now < self.pinned_until(transactions)
    }

    /// The pin of an INVITE is extended by each provisional response (RFC 3261 16.7 step 2) and by the final one, which
    /// the worker with the pin may have to learn from another worker.
    fn pinned_until(&self, transactions: &Transactions) -> u64 {
        let JudgeSettings { timer_c, core_messages, .. } = transactions.settings;
        if !self.is_invite() {
            return self.received_at[0] + GIVE_UP;
        }
        let mut until = self.received_at[0] + timer_c;
        for received in transactions.branches(self).flat_map(|outgoing| &outgoing.responses) {
            if received.status == 100 || core_messages.is_none_or(|core_messages| received.at + core_messages >= until)
            {
                continue;
            }
            if received.status >= 200 {
                return until.max(received.at + GIVE_UP);
            }
            until = received.at + timer_c;
        }
        until
    }

    /// The last response that was sent.
    pub(crate) fn last_response(&self) -> Option<&SentResponse> {
        self.responses.last()
    }

    /// The first final response that was sent.
    pub(crate) fn ended(&self) -> Option<&SentResponse> {
        self.responses.iter().find(|sent| sent.status >= 200)
    }

    /// When the CANCEL of the caller arrived, if it was before the final response.
    pub(crate) fn hung_up(&self) -> Option<u64> {
        self.cancelled.filter(|at| self.ended().is_none_or(|ended| ended.at >= *at))
    }
}

impl Outgoing {
    pub(crate) fn new(incoming: &Rc<str>, agent: Option<usize>, request: &Rc<Sip>, patience: Option<u64>) -> Self {
        Self {
            incoming: Rc::clone(incoming),
            agent,
            request: Rc::clone(request),
            patience,
            sent: Vec::new(),
            refused: None,
            responses: Vec::new(),
            followed: 0,
            acks: 0,
            cancels: Vec::new(),
            cancel: None,
            cancel_answered: None,
        }
    }

    pub(crate) fn branch(&self) -> &str {
        self.request.branch()
    }

    pub(crate) fn is_forked(&self) -> bool {
        is_transaction(self.branch())
    }

    pub(crate) fn is_invite(&self) -> bool {
        self.request.what() == "INVITE"
    }

    pub(crate) fn is_reliable(&self) -> bool {
        over_a_stream(&self.request)
    }

    /// Whether a response is one to this request: it comes from the agent that got the request, and repeats its
    /// headers.
    pub(crate) fn is_answered_by(&self, agent: usize, response: &Sip) -> bool {
        let same = |name| response.value(name) == self.request.value(name);
        let number = |sip: &Sip| sip.value("CSeq").split(' ').next().map(str::to_owned);
        // RFC 3261 9.1: a CANCEL that we created has no other Via than ours.
        let made_here = response.method() == "CANCEL" && self.is_forked();
        let below = self.request.branch_below().filter(|_| !made_here);
        self.agent == Some(agent)
            && ["Call-ID", "From"].into_iter().all(same)
            && number(response) == number(&self.request)
            && [self.request.what(), "CANCEL"].contains(&response.method())
            && response.branch_below() == below
    }

    pub(crate) fn is_over(&self, now: u64) -> bool {
        let timed_out = !self.is_invite() && now >= self.began() + GIVE_UP;
        self.ended().is_some() || self.gave_up_before(now) || timed_out || self.is_mute(now)
    }

    /// Whether it went to a phone with two flows.
    pub(crate) fn is_flow(&self) -> bool {
        is_to_two_flows(self.request.uri())
    }

    /// Whether its phone has two flows, or its host name several servers.
    pub(crate) fn is_one_of_several(&self) -> bool {
        self.patience.is_some()
    }

    /// Whether another flow or server may be tried because this one did not respond in its share of the caller's time.
    pub(crate) fn is_mute(&self, now: u64) -> bool {
        let until = self.patience.map(|patience| self.began() + patience);
        until.is_some_and(|until| now >= until && self.first_response_at().is_none_or(|first| first >= until))
    }

    /// Whether its client transaction had given up before this time (Timer B; RFC 3261 9.1 after a CANCEL).
    pub(crate) fn gave_up_before(&self, at: u64) -> bool {
        let unanswered = self.first_response_at().is_none_or(|first| first >= self.began() + GIVE_UP);
        unanswered && at >= self.began() + GIVE_UP
            || self.cancels.first().is_some_and(|cancelled| cancelled + GIVE_UP <= at)
            || self.refused.is_some_and(|refused| refused <= at)
    }

    /// When it was first sent.
    pub(crate) fn began(&self) -> u64 {
        self.sent[0]
    }

    /// When the first response was received.
    pub(crate) fn first_response_at(&self) -> Option<u64> {
        self.responses.first().map(|received| received.at)
    }

    /// When the phone last sent a provisional response (RFC 3261 16.7 step 2: other than 100).
    pub(crate) fn last_news(&self) -> Option<u64> {
        self.responses.iter().rfind(|received| (101..200).contains(&received.status)).map(|received| received.at)
    }

    /// The first final response that was received; before Timer F for another method than INVITE.
    pub(crate) fn ended(&self) -> Option<&ReceivedResponse> {
        let in_time = |received: &&ReceivedResponse| self.is_invite() || received.at < self.began() + GIVE_UP;
        self.responses.iter().filter(in_time).find(|received| received.status >= 200)
    }

    /// Whether the phone has sent a response and no final one yet.
    pub(crate) fn is_proceeding(&self) -> bool {
        !self.responses.is_empty() && self.ended().is_none() && self.refused.is_none()
    }

    /// The part of our branch that identifies the response context: worker and fork.
    pub(crate) fn context(&self) -> &str {
        self.branch().get(COOKIE.len() + 1..COOKIE.len() + 19).unwrap_or_default()
    }
}

/// Whether a URI names the user with two flows.
pub(super) fn is_to_two_flows(uri: &str) -> bool {
    uri.split_once('@').is_some_and(|(user, _)| user.strip_prefix("sip:") == Some(TWO_FLOWS))
}

fn over_a_stream(request: &Sip) -> bool {
    request.value("Via").starts_with("SIP/2.0/TCP")
}

const COOKIE: &str = "z9hG4bK";

/// Whether a branch of ours belongs to a client transaction: `u` says that a trunk got another CSeq number, and a capital that
/// it got another From.
pub(crate) fn is_transaction(branch: &str) -> bool {
    branch.strip_prefix(COOKIE).is_some_and(|rest| rest.starts_with(['t', 'u', 'T', 'U']))
}
