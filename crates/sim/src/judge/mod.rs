//! The judge. It sees all messages that the server receives and sends, records their transactions and checks the
//! invariants.
//!
//! There are four kinds of invariants, in one file each: for each response that is sent, for each request that is sent,
//! after each step (what a message or timer must have caused), and at the end.

mod attack;
mod attack_log;
mod end;
mod legs;
mod names;
mod office;
mod registrations;
mod requests;
mod responses;
mod rule;
mod settings;
mod step;
mod timers;
mod transactions;
mod trunks;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::{Cause, Observer, Sip};

use attack_log::Attacks;
use registrations::Registrations;
use rule::Verdict;
use transactions::{Incoming, Outgoing, ReceivedResponse, SentResponse, Transactions};

pub(crate) use attack_log::{AttackLog, Roles};
pub(crate) use names::{Server, Site};
pub(crate) use office::{GroupModel, NumberModel, OfficeModel, To, UserModel};
pub(crate) use registrations::{LEAST_EXPIRY, RegistrarModel};
pub(crate) use rule::{Violation, enforce, must};
pub(crate) use settings::{GIVE_UP, JudgeSettings, PHONE_MARK, T1, T2, T4, TWO_FLOWS};
pub(crate) use transactions::is_transaction;
pub(crate) use trunks::{CHALLENGES_IN_DIALOGS, LINES, TRUNK_REALM, TrunkModel, TrunksModel};

/// The figures of the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Received responses that match no request.
    pub(crate) forged: u64,
    pub(crate) cancels: u64,
    pub(crate) forks: u64,
    pub(crate) stateless: u64,
    /// Attacks, and how many of them were forwarded.
    pub(crate) attacks: u64,
    pub(crate) admitted: u64,
    /// Branches of calls that the rules of the office apply to, and responses that announce a diversion.
    pub(crate) by_rules: u64,
    pub(crate) diversions: u64,
    /// Requests to trunks.
    pub(crate) by_trunks: u64,
}

pub(crate) struct Judge {
    transactions: Transactions,
    attacks: Attacks,
    watchers: Vec<usize>,
    registrations: Registrations,
    seen: Counters,
    /// The requests that this step affected.
    touched: BTreeSet<Rc<str>>,
    /// Retransmissions that this step received.
    copies: Vec<Rc<str>>,
    /// INVITEs whose ACK or CANCEL this step received.
    followed: Vec<Rc<str>>,
    /// How many messages were sent, by Call-ID.
    sent: HashMap<String, usize>,
    /// When a branch must be checked again, because its ring time or its Timer C is over.
    due: BinaryHeap<Reverse<(u64, Rc<str>)>>,
}

/// The judge, shared between the simulation, which it observes, and the trial, which asks for its result.
#[derive(Clone)]
pub(crate) struct SharedJudge(Rc<RefCell<Judge>>);

impl SharedJudge {
    pub(crate) fn new(
        settings: JudgeSettings,
        rules: (Vec<Site>, Option<OfficeModel>, Option<TrunksModel>),
        attack_log: AttackLog,
        (roles, registrar): (Roles, Option<RegistrarModel>),
    ) -> Self {
        Self(Rc::new(RefCell::new(Judge {
            transactions: Transactions::new(settings, rules, roles.trusted.clone()),
            watchers: roles.watchers.clone(),
            attacks: Attacks::new(attack_log, roles),
            registrations: Registrations::new(registrar),
            seen: Counters::default(),
            touched: BTreeSet::new(),
            copies: Vec::new(),
            followed: Vec::new(),
            sent: HashMap::new(),
            due: BinaryHeap::new(),
        })))
    }

    /// Checks the invariants that hold at the end. `settled` is an error if the simulation did not end.
    pub(crate) fn check_end(&self, settled: Verdict) {
        enforce("nothing_is_left", "", settled);
        let judge = self.0.borrow();
        for incoming in judge.transactions.incoming.values().filter(|incoming| judge.applies_to(&incoming.request)) {
            for (rule, check) in end::OF_REQUESTS {
                enforce(rule, incoming.request.value("Call-ID"), check(&judge.transactions, incoming));
            }
        }
        for outgoing in judge.transactions.outgoing.values().filter(|outgoing| judge.applies_to(&outgoing.request)) {
            for (rule, check) in timers::OF_BRANCHES {
                enforce(rule, outgoing.request.value("Call-ID"), check(&judge.transactions, outgoing));
            }
        }
    }

    /// The figures, after the late attacks.
    pub(crate) fn finish(&self, settled: Verdict) -> Counters {
        enforce("nothing_is_left", "", settled);
        let judge = self.0.borrow();
        let learned = attack::registrations_cannot_be_probed(&judge.attacks);
        enforce("registrations_cannot_be_probed", "", learned);
        Counters { attacks: judge.attacks.attack_log.len() as u64, ..judge.seen }
    }
}

impl Observer for SharedJudge {
    fn on_received(&mut self, now: u64, agent: usize, sip: &Rc<Sip>) {
        let mut judge = self.0.borrow_mut();
        judge.transactions.now = now;
        if judge.watchers.contains(&agent) {
            return;
        }
        if judge.attacks.hears(agent, sip) {
            return;
        }
        if judge.registrations.is_own(Some(agent), sip) {
            judge.registrations.received(now, sip);
        } else if sip.is_request() {
            judge.request_received(now, agent, sip);
        } else {
            judge.response_received(now, agent, sip);
        }
    }

    fn on_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool, cause: Option<&Cause>) {
        let mut judge = self.0.borrow_mut();
        judge.transactions.now = now;
        if agent.is_some_and(|agent| judge.watchers.contains(&agent)) {
            return;
        }
        if let Some(attack) = judge.attacks.behind(agent, sip, cause) {
            return judge.attack_sent(&attack, agent, sip);
        }
        if judge.registrations.is_own(agent, sip) {
            return judge.registrations.sent(now, sip);
        }
        let count = judge.sent.entry_ref(sip.value("Call-ID")).or_default();
        *count += 1;
        enforce("messages_are_bounded", sip.value("Call-ID"), messages_are_bounded(*count));
        match sip.what() {
            _ if !sip.is_request() => judge.response_sent(now, agent, sip, cause),
            "ACK" | "CANCEL" if sip.branch_below().is_none() => judge.own_ack_or_cancel_sent(now, agent, sip),
            _ => judge.request_sent(now, agent, sip, taken),
        }
    }

    fn on_refused(&mut self, now: u64, sip: &Rc<Sip>) {
        let mut judge = self.0.borrow_mut();
        judge.transactions.now = now;
        let Some(outgoing) = judge.transactions.outgoing.get_mut(sip.branch()) else { return };
        let has_received = outgoing.is_invite() && !outgoing.responses.is_empty();
        if outgoing.ended().is_none() && outgoing.refused.is_none() && !has_received {
            outgoing.refused = Some(now);
            let incoming = Rc::clone(&outgoing.incoming);
            judge.touched.insert(incoming);
        }
    }

    fn on_step_end(&mut self, now: u64) {
        let mut judge = self.0.borrow_mut();
        judge.transactions.now = now;
        judge.check_step(now);
        judge.registrations.check(now);
    }
}

impl Judge {
    /// Whether the invariants apply to the call of this message. They do not if the adversary interferes with its own
    /// call.
    fn applies_to(&self, sip: &Sip) -> bool {
        !self.attacks.is_tampered_with(sip)
    }

    fn request_received(&mut self, now: u64, agent: usize, sip: &Rc<Sip>) {
        let key: Rc<str> = sip.branch().into();
        self.transactions.senders.insert(Rc::clone(&key), agent);
        let known = self.transactions.incoming.get_mut(&key);
        match (sip.what(), known) {
            ("CANCEL", Some(incoming)) if !incoming.is_forgotten(now) => {
                incoming.cancelled.get_or_insert(now);
                self.followed.push(Rc::clone(&key));
            }
            ("CANCEL", _) => return,
            ("ACK", Some(incoming)) if incoming.is_invite() => {
                if incoming.ended().is_some() {
                    incoming.acked.get_or_insert(now);
                }
                // The ACK of a response that we created ends here.
                let to = sip.value("To");
                if incoming.responses.iter().any(|sent| !sent.own && sent.status >= 300 && sent.sip.value("To") == to) {
                    self.followed.push(Rc::clone(&key));
                }
            }
            (_, known) => {
                let fresh = known.is_none_or(|incoming| incoming.is_new_again(now));
                if fresh {
                    self.transactions.incoming.insert(Rc::clone(&key), Incoming::new(sip));
                } else {
                    self.copies.push(Rc::clone(&key));
                }
                self.transactions.incoming.get_mut(&key).expect("it is there").received_at.push(now);
            }
        }
        self.touched.insert(key);
    }

    fn response_received(&mut self, now: u64, agent: usize, sip: &Rc<Sip>) {
        let Some(outgoing) =
            self.transactions.outgoing.get_mut(sip.branch()).filter(|outgoing| outgoing.is_answered_by(agent, sip))
        else {
            self.seen.forged += u64::from(self.attacks.of_branch(sip.branch()).is_none());
            return;
        };
        let status = sip.status().unwrap_or_default();
        if sip.method() == "CANCEL" {
            if status >= 200 {
                outgoing.cancel_answered.get_or_insert(now);
            }
            return;
        }
        outgoing.responses.push(ReceivedResponse { at: now, status, sip: Rc::clone(sip) });
        let incoming = Rc::clone(&outgoing.incoming);
        if outgoing.is_forked() && (101..200).contains(&status) {
            self.due.push(Reverse((now + self.transactions.settings.timer_c, sip.branch().into())));
        }
        self.touched.insert(incoming);
    }

    fn response_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, cause: Option<&Cause>) {
        let call_id = sip.value("Call-ID");
        let to_asker = responses::a_response_goes_where_its_via_says(&self.transactions, agent, sip);
        enforce("a_response_goes_where_its_via_says", call_id, to_asker);
        let key = sip.branch();
        let Some(incoming) = self.transactions.incoming.get_mut(key) else { return };
        match sip.method() {
            "CANCEL" => return incoming.cancel_replies += 1,
            "REGISTER" => {
                let safe = responses::a_200_follows_the_commit(&self.transactions.settings, incoming, now, sip);
                enforce("a_200_follows_the_commit", call_id, safe);
                let status = sip.status().unwrap_or_default();
                return incoming.responses.push(SentResponse { at: now, status, sip: Rc::clone(sip), own: true });
            }
            _ => {}
        }
        let own = !sip.has(PHONE_MARK);
        let status = sip.status().unwrap_or_default();
        self.seen.diversions += u64::from(own && status == 181);
        incoming.responses.push(SentResponse { at: now, status, sip: Rc::clone(sip), own });
        if !own && (101..300).contains(&status) && sip.method() == "INVITE" {
            let agents = [agent, cause.map(|(agent, _)| *agent)].map(Option::unwrap_or_default);
            self.attacks.dialog_made(sip, agents);
        }
        let incoming = &self.transactions.incoming[key];
        if !self.applies_to(sip) {
            return;
        }
        for (rule, check) in responses::OF_RESPONSES.iter().chain(trunks::OF_RESPONSES) {
            enforce(rule, call_id, check(&self.transactions, incoming));
        }
    }

    fn request_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool) {
        let call_id = sip.value("Call-ID");
        let below: Rc<str> = sip.branch_below().unwrap_or_default().into();
        let incoming = self.transactions.incoming.get(&below);
        // RFC 3261 16.10: a CANCEL is forwarded even if its INVITE was lost on the way here.
        if incoming.is_none() && sip.what() == "CANCEL" && self.transactions.senders.contains_key(&below) {
            return;
        }
        enforce("every_request_sent_was_received", call_id, requests::every_request_sent_was_received(incoming, sip));
        let branch: Rc<str> = sip.branch().into();
        if let ("CANCEL" | "ACK", Some(incoming)) = (sip.what(), incoming)
            && incoming.is_invite()
        {
            let pinned = incoming.is_pinned(&self.transactions);
            let outgoing = self.transactions.outgoing.get_mut(&branch);
            let same = requests::ack_and_cancel_take_the_route_of_their_invite(outgoing.as_deref(), agent, sip);
            let same = if pinned { same } else { Ok(()) };
            outgoing.into_iter().for_each(|outgoing| outgoing.followed = now);
            return enforce("ack_and_cancel_take_the_route_of_their_invite", call_id, same);
        }
        let fresh = !self.transactions.outgoing.contains_key(&branch);
        if fresh {
            if let Some(incoming) = self.transactions.incoming.get_mut(&below) {
                incoming.outgoing.push(Rc::clone(&branch));
            }
            let patience = self.transactions.patience(sip);
            let patience = patience.or_else(|| self.transactions.patience_with_trunk(&below, agent));
            let outgoing = Outgoing::new(&below, agent, sip, patience);
            self.transactions.outgoing.insert(Rc::clone(&branch), outgoing);
            self.begin(now, &branch);
        }
        let outgoing = self.transactions.outgoing.get_mut(&branch).expect("it is there");
        outgoing.sent.push(now);
        if !taken {
            outgoing.refused.get_or_insert(now);
        }
        self.touched.insert(below);
        if fresh {
            self.others_sent(agent, sip);
        }
        if !self.applies_to(sip) {
            return;
        }
        let outgoing = &self.transactions.outgoing[&branch];
        if fresh {
            let until = self.transactions.leg_rings_on_until(self.transactions.incoming_of(outgoing), outgoing);
            self.seen.by_rules += u64::from(until.is_some());
            self.due.extend(until.map(|until| Reverse((until, Rc::clone(&branch)))));
            self.seen.by_trunks += u64::from(self.transactions.trunk_of(outgoing).is_some());
            let rules = [requests::OF_NEW_BRANCHES, names::OF_NEW_BRANCHES, legs::OF_NEW_BRANCHES];
            for (rule, check) in rules.into_iter().chain([trunks::OF_NEW_BRANCHES]).flatten() {
                enforce(rule, call_id, check(&self.transactions, outgoing));
            }
        }
        enforce(
            "retransmissions_are_identical",
            call_id,
            requests::retransmissions_are_identical(outgoing, agent, sip),
        );
    }

    /// A new branch.
    fn begin(&mut self, now: u64, branch: &Rc<str>) {
        if is_transaction(branch) {
            self.seen.forks += 1;
            self.due.push(Reverse((now + self.transactions.settings.ring_time, Rc::clone(branch))));
        } else {
            self.seen.stateless += 1;
        }
    }

    /// An ACK or CANCEL that the server created.
    fn own_ack_or_cancel_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>) {
        if !self.applies_to(sip) {
            return;
        }
        let call_id = sip.value("Call-ID");
        let outgoing = self.transactions.outgoing.get_mut(sip.branch());
        enforce(
            "own_ack_and_cancel_match_their_invite",
            call_id,
            requests::own_ack_and_cancel_match_their_invite(outgoing.as_deref(), agent, sip),
        );
        let Some(outgoing) = outgoing else { return };
        if sip.what() == "ACK" {
            outgoing.acks += 1;
            return;
        }
        let first = outgoing.cancel.is_none();
        outgoing.cancels.push(now);
        let before = Rc::clone(outgoing.cancel.get_or_insert_with(|| Rc::clone(sip)));
        enforce("a_branch_has_one_cancel", call_id, requests::a_branch_has_one_cancel(&before, sip));
        if first {
            self.seen.cancels += 1;
            let outgoing = &self.transactions.outgoing[sip.branch()];
            for (rule, check) in requests::OF_CANCELS {
                enforce(rule, call_id, check(&self.transactions, outgoing));
            }
        }
    }

    fn check_step(&mut self, now: u64) {
        for key in std::mem::take(&mut self.touched) {
            let Some(incoming) =
                self.transactions.incoming.get(&key).filter(|incoming| self.applies_to(&incoming.request))
            else {
                continue;
            };
            for (rule, check) in step::OF_STEPS.iter().chain(names::OF_STEPS) {
                enforce(rule, incoming.request.value("Call-ID"), check(&self.transactions, incoming));
            }
        }
        for key in std::mem::take(&mut self.followed) {
            let incoming = &self.transactions.incoming[&key];
            if !self.applies_to(&incoming.request) {
                continue;
            }
            let went = step::ack_and_cancel_of_a_stateless_invite_are_forwarded(&self.transactions, incoming);
            enforce("ack_and_cancel_of_a_stateless_invite_are_forwarded", incoming.request.value("Call-ID"), went);
        }
        for key in std::mem::take(&mut self.copies) {
            let incoming = &self.transactions.incoming[&key];
            if !self.applies_to(&incoming.request) {
                continue;
            }
            for (rule, check) in step::OF_COPIES {
                enforce(rule, incoming.request.value("Call-ID"), check(&self.transactions, incoming));
            }
        }
        while let Some(Reverse((_, branch))) = self.due.peek().filter(|Reverse((at, _))| *at < now).cloned() {
            self.due.pop();
            let outgoing = &self.transactions.outgoing[&branch];
            if !self.applies_to(&outgoing.request) {
                continue;
            }
            for (rule, check) in step::OF_DEADLINES {
                enforce(rule, outgoing.request.value("Call-ID"), check(&self.transactions, outgoing));
            }
        }
    }
}

/// RFC 3261 16.3 step 4, RFC 5393: a call causes at most this many messages, whatever loops there are.
fn messages_are_bounded(count: usize) -> Verdict {
    const MOST: usize = 3000;
    must(count <= MOST, || format!("{count} messages"))
}
