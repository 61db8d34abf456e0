//! What the server heard and said, by transaction: the facts that the invariants are held against.
//!
//! Keeps books and judges nothing. It reads what is on the wire only; of our Via branch it knows the first letter
//! (whether there is a transaction) and which part names the response context.

use std::rc::Rc;

use hashbrown::HashMap;

use crate::Sip;

use super::{GIVE_UP, T4, TWO_FLOWS, Terms};

/// A request that the server heard: one server transaction, or what would be one.
pub(crate) struct Asked {
    pub(crate) request: Rc<Sip>,
    /// When each copy of it was heard.
    pub(crate) heard: Vec<u64>,
    /// When its CANCEL was first heard.
    pub(crate) cancelled: Option<u64>,
    /// When the ACK of its failure was first heard.
    pub(crate) acked: Option<u64>,
    pub(crate) said: Vec<Said>,
    /// How many responses to its CANCEL were sent.
    pub(crate) cancel_replies: usize,
    /// Our branches of it, in order.
    pub(crate) tried: Vec<Rc<str>>,
}

/// A response that the server sent.
pub(crate) struct Said {
    pub(crate) at: u64,
    pub(crate) status: u16,
    pub(crate) sip: Rc<Sip>,
    /// Whether it was made by the server rather than by a phone.
    pub(crate) own: bool,
}

/// A request that the server sent: one client transaction, or what would be one.
pub(crate) struct Tried {
    /// The key of the request that it came from.
    pub(crate) asked: Rc<str>,
    pub(crate) agent: Option<usize>,
    pub(crate) request: Rc<Sip>,
    /// When each copy of it was sent.
    pub(crate) sent: Vec<u64>,
    /// Whether the transport refused it, and when.
    pub(crate) refused: Option<u64>,
    /// Responses to it that are what they claim to be.
    pub(crate) heard: Vec<Heard>,
    /// When an ACK or CANCEL of the caller last went after it.
    pub(crate) followed: u64,
    /// ACKs that the server made for it.
    pub(crate) acks: usize,
    /// When each copy of the CANCEL that the server made for it was sent.
    pub(crate) cancels: Vec<u64>,
    pub(crate) cancel: Option<Rc<Sip>>,
    pub(crate) cancel_answered: Option<u64>,
}

/// A response that the server heard.
pub(crate) struct Heard {
    pub(crate) at: u64,
    pub(crate) status: u16,
    pub(crate) sip: Rc<Sip>,
}

/// All transactions by the branch of the top Via of their request.
pub(crate) struct Journal {
    pub(crate) terms: Terms,
    /// Microseconds.
    pub(crate) now: u64,
    pub(crate) asked: HashMap<Rc<str>, Asked>,
    pub(crate) tried: HashMap<Rc<str>, Tried>,
    /// Who used a branch.
    pub(crate) senders: HashMap<Rc<str>, usize>,
}

impl Journal {
    pub(crate) fn new(terms: Terms) -> Self {
        Self { terms, now: 0, asked: HashMap::new(), tried: HashMap::new(), senders: HashMap::new() }
    }

    /// The branches of a request.
    pub(crate) fn branches<'a>(&'a self, asked: &'a Asked) -> impl Iterator<Item = &'a Tried> {
        asked.tried.iter().filter_map(|branch| self.tried.get(branch))
    }

    /// When there was to be no new branch any more: the caller hung up, or a phone spoke for all (RFC 3261 16.7 steps 5
    /// and 10, 16.10).
    pub(crate) fn decided(&self, asked: &Asked) -> Option<u64> {
        self.branches(asked).filter_map(Tried::spoke_for_all).chain(asked.hung_up()).min()
    }

    /// When the ring time of a branch is over, at the earliest: who joins a group shares that of the group.
    pub(crate) fn rings_until(&self, asked: &Asked, tried: &Tried) -> u64 {
        let shared = |began: &u64| self.terms.joins && *began < tried.began();
        let group = self.branches(asked).map(Tried::began).filter(shared).min();
        group.unwrap_or_else(|| tried.began()) + self.terms.ring_time
    }

    /// How long each group may ring at the most: one phone alone, as long as it likes.
    pub(crate) fn ring_time(&self, asked: &Asked) -> u64 {
        let bounded = !asked.request.uri().contains(TWO_FLOWS);
        if bounded { self.terms.ring_time } else { u64::MAX }
    }

    /// Until when a branch may ring at the latest, where others of its request make it ring on.
    pub(crate) fn rings_on_until(&self, asked: &Asked, tried: &Tried) -> u64 {
        let began = if self.terms.rings_on { self.last_began(asked) } else { tried.began() };
        began.saturating_add(self.ring_time(asked))
    }

    /// When the last branch began.
    pub(crate) fn last_began(&self, asked: &Asked) -> u64 {
        self.branches(asked).map(Tried::began).max().unwrap_or_default()
    }

    pub(crate) fn asked_of(&self, tried: &Tried) -> &Asked {
        &self.asked[&tried.asked]
    }
}

impl Asked {
    pub(crate) fn new(request: &Rc<Sip>) -> Self {
        Self {
            request: Rc::clone(request),
            heard: Vec::new(),
            cancelled: None,
            acked: None,
            said: Vec::new(),
            cancel_replies: 0,
            tried: Vec::new(),
        }
    }

    pub(crate) fn is_invite(&self) -> bool {
        self.request.what() == "INVITE"
    }

    /// Whether it went out on client transactions.
    pub(crate) fn is_forked(&self) -> bool {
        self.tried.first().is_some_and(|branch| is_transaction(branch))
    }

    pub(crate) fn is_stateless(&self) -> bool {
        self.tried.first().is_some_and(|branch| !is_transaction(branch))
    }

    pub(crate) fn is_reliable(&self) -> bool {
        over_a_stream(&self.request)
    }

    /// Whether a server transaction for it cannot live any more. What was refused at once had none (RFC 3261 8.2.7).
    pub(crate) fn is_forgotten(&self, now: u64) -> bool {
        if self.tried.is_empty() {
            return self.ended().is_some();
        }
        let rested = self.ended().is_some_and(|ended| ended.at + GIVE_UP <= now);
        let rest = if self.is_reliable() { 0 } else { T4 };
        rested || self.acked.is_some_and(|acked| self.is_forked() && acked + rest <= now)
    }

    /// Whether a request that comes again is a new one. A REGISTER is known again by the binding that it left.
    pub(crate) fn is_new_again(&self, now: u64) -> bool {
        self.request.what() != "REGISTER" && !self.is_stateless() && self.is_forgotten(now)
    }

    /// Whether the way of a request without a transaction is still known.
    pub(crate) fn is_pinned(&self, journal: &Journal) -> bool {
        !self.is_forgotten(journal.now) && journal.now < self.pinned_until(journal)
    }

    /// That of an INVITE lives on with each news of the phone (RFC 3261 16.7 step 2), and with its final; another worker
    /// may have to be told.
    fn pinned_until(&self, journal: &Journal) -> u64 {
        let Terms { timer_c, core_messages, .. } = journal.terms;
        if !self.is_invite() {
            return self.heard[0] + GIVE_UP;
        }
        let mut until = self.heard[0] + timer_c;
        for heard in journal.branches(self).flat_map(|tried| &tried.heard) {
            if heard.status == 100 || core_messages.is_none_or(|core_messages| heard.at + core_messages >= until) {
                continue;
            }
            if heard.status >= 200 {
                return until.max(heard.at + GIVE_UP);
            }
            until = heard.at + timer_c;
        }
        until
    }

    /// The last response that was sent.
    pub(crate) fn last_said(&self) -> Option<&Said> {
        self.said.last()
    }

    /// The first final that was sent.
    pub(crate) fn ended(&self) -> Option<&Said> {
        self.said.iter().find(|said| said.status >= 200)
    }

    /// Whether the caller wants no more: his CANCEL came, and before any final had gone.
    pub(crate) fn hung_up(&self) -> Option<u64> {
        self.cancelled.filter(|at| self.ended().is_none_or(|ended| ended.at >= *at))
    }
}

impl Tried {
    pub(crate) fn new(asked: &Rc<str>, agent: Option<usize>, request: &Rc<Sip>) -> Self {
        Self {
            asked: Rc::clone(asked),
            agent,
            request: Rc::clone(request),
            sent: Vec::new(),
            refused: None,
            heard: Vec::new(),
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

    /// Whether a response is what it claims to be: comes from whom this was sent to, and says what this said.
    pub(crate) fn is_answered_by(&self, agent: usize, response: &Sip) -> bool {
        let same = |name| response.value(name) == self.request.value(name);
        let number = |sip: &Sip| sip.value("CSeq").split(' ').next().map(str::to_owned);
        // RFC 3261 9.1: a CANCEL that we made has no Via but ours.
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
        self.ended().is_some() || self.gave_up_before(now) || timed_out || self.is_mute_flow(now)
    }

    /// Whether it went to a phone with two flows.
    pub(crate) fn is_flow(&self) -> bool {
        self.request.uri().contains(TWO_FLOWS)
    }

    /// Whether the other flow is tried, as this one said nothing in its share of the time that the caller waits.
    pub(crate) fn is_mute_flow(&self, now: u64) -> bool {
        let patience = self.began() + GIVE_UP / 2;
        self.is_flow() && now >= patience && self.first_heard().is_none_or(|first| first >= patience)
    }

    /// Whether its client transaction had given up when this came (Timer B; 9.1 after a CANCEL).
    pub(crate) fn gave_up_before(&self, at: u64) -> bool {
        let unanswered = self.first_heard().is_none_or(|first| first >= self.began() + GIVE_UP);
        unanswered && at >= self.began() + GIVE_UP
            || self.cancels.first().is_some_and(|cancelled| cancelled + GIVE_UP <= at)
            || self.refused.is_some_and(|refused| refused <= at)
    }

    /// When it was first sent.
    pub(crate) fn began(&self) -> u64 {
        self.sent[0]
    }

    /// When the first response came.
    pub(crate) fn first_heard(&self) -> Option<u64> {
        self.heard.first().map(|heard| heard.at)
    }

    /// When the phone last gave a sign of ringing (RFC 3261 16.7 step 2: not a 100).
    pub(crate) fn last_news(&self) -> Option<u64> {
        self.heard.iter().rfind(|heard| (101..200).contains(&heard.status)).map(|heard| heard.at)
    }

    /// The first final that came; to another method than INVITE, before Timer F.
    pub(crate) fn ended(&self) -> Option<&Heard> {
        let in_time = |heard: &&Heard| self.is_invite() || heard.at < self.began() + GIVE_UP;
        self.heard.iter().filter(in_time).find(|heard| heard.status >= 200)
    }

    /// Whether the phone has said something and no final yet.
    pub(crate) fn is_proceeding(&self) -> bool {
        !self.heard.is_empty() && self.ended().is_none() && self.refused.is_none()
    }

    /// When a 2xx came, or a 6xx that was still waited for.
    pub(crate) fn spoke_for_all(&self) -> Option<u64> {
        let success = self.heard.iter().find(|heard| (200..300).contains(&heard.status));
        let success = success.filter(|heard| self.is_invite() || heard.at < self.began() + GIVE_UP);
        let refusal = self.ended().filter(|ended| ended.status >= 600 && !self.gave_up_before(ended.at));
        success.into_iter().chain(refusal).map(|heard| heard.at).min()
    }

    /// The part of our branch that names the response context: worker and fork.
    pub(crate) fn context(&self) -> &str {
        self.branch().get(COOKIE.len()..COOKIE.len() + 19).unwrap_or_default()
    }
}

fn over_a_stream(request: &Sip) -> bool {
    request.value("Via").starts_with("SIP/2.0/TCP")
}

const COOKIE: &str = "z9hG4bK";

/// Whether a branch of ours is that of a client transaction.
pub(crate) fn is_transaction(branch: &str) -> bool {
    branch.strip_prefix(COOKIE).is_some_and(|rest| rest.starts_with('t'))
}
