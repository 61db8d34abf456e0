//! The judge: watches all that a server hears and says, keeps a journal of it, and holds the invariants against it.
//!
//! Four kinds of invariants, one file each: of a response that leaves, of a request that leaves, of every step (what a
//! message or a timer must have led to by the time the cores are done with it), and of the end.

mod attack;
mod clockwork;
mod end;
mod journal;
mod plot;
mod requests;
mod responses;
mod rule;
mod step;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::{Cause, Sip, Watcher};

use journal::{Asked, Heard, Journal, Said, Tried};
use plot::Attacks;
use rule::Verdict;

pub(crate) use plot::{Cast, Plot};
pub(crate) use rule::{Broken, enforce, must};

/// What the judge has to know of the settings, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) ring_time: u64,
    pub(crate) timer_c: u64,
    /// Whether a phone rings on when others begin to.
    pub(crate) rings_on: bool,
    /// Whether a phone that registers late rings too.
    pub(crate) joins: bool,
    /// How long a message between workers takes, if it comes for sure.
    pub(crate) core_messages: Option<u64>,
    /// How long a change takes to be safe.
    pub(crate) commits: u64,
}

/// Who has one phone with two flows (RFC 5626): with one phone there is no ring time.
pub(crate) const TWO_FLOWS: &str = "frank";

/// The timers of RFC 3261 table 4 in microseconds.
pub(crate) const T1: u64 = 500_000;
pub(crate) const T2: u64 = 4_000_000;
pub(crate) const T4: u64 = 5_000_000;
/// Timers B, F, H, J, L and M.
pub(crate) const GIVE_UP: u64 = 64 * T1;

/// The header by which a phone's response is told from one that the server made.
pub(crate) const PHONE_MARK: &str = "Server";

/// What the judge saw, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Responses that were not what they claimed to be.
    pub(crate) forged: u64,
    pub(crate) cancels: u64,
    pub(crate) forks: u64,
    pub(crate) stateless: u64,
    /// Messages that were attacks, and those of them that went on to somebody.
    pub(crate) attacks: u64,
    pub(crate) admitted: u64,
}

pub(crate) struct Judge {
    journal: Journal,
    attacks: Attacks,
    seen: Seen,
    /// The requests that this step has to do with.
    touched: BTreeSet<Rc<str>>,
    /// Copies of requests that this step heard.
    copies: Vec<Rc<str>>,
    /// INVITEs whose ACK or CANCEL it heard.
    followed: Vec<Rc<str>>,
    /// How many messages were sent by Call-ID.
    sent: HashMap<String, usize>,
    /// When to look at a branch again: its ring time or its Timer C has passed.
    due: BinaryHeap<Reverse<(u64, Rc<str>)>>,
}

/// The judge, shared between the world, which he watches, and the one who asks him at the end.
#[derive(Clone)]
pub(crate) struct Court(Rc<RefCell<Judge>>);

impl Court {
    pub(crate) fn new(terms: Terms, plot: Plot, cast: Cast) -> Self {
        Self(Rc::new(RefCell::new(Judge {
            journal: Journal::new(terms),
            attacks: Attacks::new(plot, cast),
            seen: Seen::default(),
            touched: BTreeSet::new(),
            copies: Vec::new(),
            followed: Vec::new(),
            sent: HashMap::new(),
            due: BinaryHeap::new(),
        })))
    }

    /// The invariants that can be judged only when all is over. `settled` says whether it is.
    pub(crate) fn close(&self, settled: Verdict) {
        enforce("nothing_is_left", "", settled);
        let judge = self.0.borrow();
        for asked in judge.journal.asked.values().filter(|asked| judge.is_judged(&asked.request)) {
            for (rule, check) in end::OF_REQUESTS {
                enforce(rule, asked.request.value("Call-ID"), check(&judge.journal, asked));
            }
        }
        for tried in judge.journal.tried.values().filter(|tried| judge.is_judged(&tried.request)) {
            for (rule, check) in clockwork::OF_BRANCHES {
                enforce(rule, tried.request.value("Call-ID"), check(&judge.journal, tried));
            }
        }
    }

    /// What was seen, once the adversary has stopped too.
    pub(crate) fn adjourn(&self, settled: Verdict) -> Seen {
        enforce("nothing_is_left", "", settled);
        let judge = self.0.borrow();
        let learned = attack::nobody_learns_who_is_registered(&judge.attacks);
        enforce("nobody_learns_who_is_registered", "", learned);
        Seen { attacks: judge.attacks.plot.len() as u64, ..judge.seen }
    }
}

impl Watcher for Court {
    fn heard(&mut self, now: u64, agent: usize, sip: &Rc<Sip>) {
        let mut judge = self.0.borrow_mut();
        judge.journal.now = now;
        if judge.attacks.hears(agent, sip) {
            return;
        }
        if sip.is_request() {
            judge.request_heard(now, agent, sip);
        } else {
            judge.response_heard(now, agent, sip);
        }
    }

    fn sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool, cause: Option<&Cause>) {
        let mut judge = self.0.borrow_mut();
        judge.journal.now = now;
        if let Some(attack) = judge.attacks.behind(agent, sip, cause) {
            return judge.attack_sent(&attack, agent, sip);
        }
        let count = judge.sent.entry_ref(sip.value("Call-ID")).or_default();
        *count += 1;
        enforce("messages_are_bounded", sip.value("Call-ID"), messages_are_bounded(*count));
        match sip.what() {
            _ if !sip.is_request() => judge.response_sent(now, agent, sip, cause),
            "ACK" | "CANCEL" if sip.branch_below().is_none() => judge.follow_up_sent(now, agent, sip),
            _ => judge.request_sent(now, agent, sip, taken),
        }
    }

    fn settled(&mut self, now: u64) {
        let mut judge = self.0.borrow_mut();
        judge.journal.now = now;
        judge.settle(now);
    }
}

impl Judge {
    /// Whether anything is asked of a call that this message is of: not if the adversary interferes with its own.
    fn is_judged(&self, sip: &Sip) -> bool {
        !self.attacks.is_spoilt(sip)
    }

    fn request_heard(&mut self, now: u64, agent: usize, sip: &Rc<Sip>) {
        let key: Rc<str> = sip.branch().into();
        self.journal.senders.insert(Rc::clone(&key), agent);
        let known = self.journal.asked.get_mut(&key);
        match (sip.what(), known) {
            ("CANCEL", Some(asked)) if !asked.is_forgotten(now) => {
                asked.cancelled.get_or_insert(now);
                self.followed.push(Rc::clone(&key));
            }
            ("CANCEL", _) => return,
            ("ACK", Some(asked)) if asked.is_invite() => {
                if asked.ended().is_some() {
                    asked.acked.get_or_insert(now);
                }
                // What we said ourselves is acknowledged to us.
                let to = sip.value("To");
                if asked.said.iter().any(|said| !said.own && said.status >= 300 && said.sip.value("To") == to) {
                    self.followed.push(Rc::clone(&key));
                }
            }
            (_, known) => {
                let fresh = known.is_none_or(|asked| asked.is_new_again(now));
                if fresh {
                    self.journal.asked.insert(Rc::clone(&key), Asked::new(sip));
                } else {
                    self.copies.push(Rc::clone(&key));
                }
                self.journal.asked.get_mut(&key).expect("it is there").heard.push(now);
            }
        }
        self.touched.insert(key);
    }

    fn response_heard(&mut self, now: u64, agent: usize, sip: &Rc<Sip>) {
        let Some(tried) = self.journal.tried.get_mut(sip.branch()).filter(|tried| tried.is_answered_by(agent, sip))
        else {
            self.seen.forged += u64::from(self.attacks.of_branch(sip.branch()).is_none());
            return;
        };
        let status = sip.status().unwrap_or_default();
        if sip.method() == "CANCEL" {
            if status >= 200 {
                tried.cancel_answered.get_or_insert(now);
            }
            return;
        }
        tried.heard.push(Heard { at: now, status, sip: Rc::clone(sip) });
        let asked = Rc::clone(&tried.asked);
        if tried.is_forked() && (101..200).contains(&status) {
            self.due.push(Reverse((now + self.journal.terms.timer_c, sip.branch().into())));
        }
        self.touched.insert(asked);
    }

    fn response_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, cause: Option<&Cause>) {
        let call_id = sip.value("Call-ID");
        let to_asker = responses::a_response_goes_where_its_via_says(&self.journal, agent, sip);
        enforce("a_response_goes_where_its_via_says", call_id, to_asker);
        let key = sip.branch();
        let Some(asked) = self.journal.asked.get_mut(key) else { return };
        match sip.method() {
            "CANCEL" => return asked.cancel_replies += 1,
            "REGISTER" => {
                let safe = responses::a_200_waits_for_the_disk(&self.journal.terms, asked, now, sip);
                enforce("a_200_waits_for_the_disk", call_id, safe);
                let status = sip.status().unwrap_or_default();
                return asked.said.push(Said { at: now, status, sip: Rc::clone(sip), own: true });
            }
            _ => {}
        }
        let own = !sip.has(PHONE_MARK);
        let status = sip.status().unwrap_or_default();
        asked.said.push(Said { at: now, status, sip: Rc::clone(sip), own });
        if !own && (101..300).contains(&status) && sip.method() == "INVITE" {
            let agents = [agent, cause.map(|(agent, _)| *agent)].map(Option::unwrap_or_default);
            self.attacks.dialog_made(sip, agents);
        }
        let asked = &self.journal.asked[key];
        if !self.is_judged(sip) {
            return;
        }
        for (rule, check) in responses::OF_RESPONSES {
            enforce(rule, call_id, check(&self.journal, asked));
        }
    }

    fn request_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool) {
        let call_id = sip.value("Call-ID");
        let below: Rc<str> = sip.branch_below().unwrap_or_default().into();
        let asked = self.journal.asked.get(&below);
        // RFC 3261 16.10: a CANCEL goes on, too, if its INVITE was lost on the way here.
        if asked.is_none() && sip.what() == "CANCEL" && self.journal.senders.contains_key(&below) {
            return;
        }
        enforce("nothing_is_asked_for_nobody", call_id, requests::nothing_is_asked_for_nobody(asked, sip));
        let branch: Rc<str> = sip.branch().into();
        if let ("CANCEL" | "ACK", Some(asked)) = (sip.what(), asked)
            && asked.is_invite()
        {
            let pinned = asked.is_pinned(&self.journal);
            let tried = self.journal.tried.get_mut(&branch);
            let same = requests::a_follow_up_goes_the_way_of_its_invite(tried.as_deref(), agent, sip);
            let same = if pinned { same } else { Ok(()) };
            tried.into_iter().for_each(|tried| tried.followed = now);
            return enforce("a_follow_up_goes_the_way_of_its_invite", call_id, same);
        }
        let fresh = !self.journal.tried.contains_key(&branch);
        if fresh {
            if let Some(asked) = self.journal.asked.get_mut(&below) {
                asked.tried.push(Rc::clone(&branch));
            }
            self.journal.tried.insert(Rc::clone(&branch), Tried::new(&below, agent, sip));
            self.begin(now, &branch);
        }
        let tried = self.journal.tried.get_mut(&branch).expect("it is there");
        tried.sent.push(now);
        if !taken {
            tried.refused.get_or_insert(now);
        }
        self.touched.insert(below);
        if fresh {
            self.others_sent(agent, sip);
        }
        if !self.is_judged(sip) {
            return;
        }
        let tried = &self.journal.tried[&branch];
        if fresh {
            for (rule, check) in requests::OF_NEW_BRANCHES {
                enforce(rule, call_id, check(&self.journal, tried));
            }
        }
        enforce("a_copy_is_a_copy", call_id, requests::a_copy_is_a_copy(tried, agent, sip));
    }

    /// A branch begins.
    fn begin(&mut self, now: u64, branch: &Rc<str>) {
        if journal::is_transaction(branch) {
            self.seen.forks += 1;
            self.due.push(Reverse((now + self.journal.terms.ring_time, Rc::clone(branch))));
        } else {
            self.seen.stateless += 1;
        }
    }

    /// An ACK or CANCEL that the server made itself.
    fn follow_up_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>) {
        if !self.is_judged(sip) {
            return;
        }
        let call_id = sip.value("Call-ID");
        let tried = self.journal.tried.get_mut(sip.branch());
        enforce(
            "a_follow_up_is_of_its_invite",
            call_id,
            requests::a_follow_up_is_of_its_invite(tried.as_deref(), agent, sip),
        );
        let Some(tried) = tried else { return };
        if sip.what() == "ACK" {
            tried.acks += 1;
            return;
        }
        let first = tried.cancel.is_none();
        tried.cancels.push(now);
        let before = Rc::clone(tried.cancel.get_or_insert_with(|| Rc::clone(sip)));
        enforce("a_branch_has_one_cancel", call_id, requests::a_branch_has_one_cancel(&before, sip));
        if first {
            self.seen.cancels += 1;
            let tried = &self.journal.tried[sip.branch()];
            for (rule, check) in requests::OF_CANCELS {
                enforce(rule, call_id, check(&self.journal, tried));
            }
        }
    }

    fn settle(&mut self, now: u64) {
        for key in std::mem::take(&mut self.touched) {
            let Some(asked) = self.journal.asked.get(&key).filter(|asked| self.is_judged(&asked.request)) else {
                continue;
            };
            for (rule, check) in step::OF_STEPS {
                enforce(rule, asked.request.value("Call-ID"), check(&self.journal, asked));
            }
        }
        for key in std::mem::take(&mut self.followed) {
            let asked = &self.journal.asked[&key];
            if !self.is_judged(&asked.request) {
                continue;
            }
            let went = step::a_follow_up_goes_on(&self.journal, asked);
            enforce("a_follow_up_goes_on", asked.request.value("Call-ID"), went);
        }
        for key in std::mem::take(&mut self.copies) {
            let asked = &self.journal.asked[&key];
            if !self.is_judged(&asked.request) {
                continue;
            }
            for (rule, check) in step::OF_COPIES {
                enforce(rule, asked.request.value("Call-ID"), check(&self.journal, asked));
            }
        }
        while let Some(Reverse((_, branch))) = self.due.peek().filter(|Reverse((at, _))| *at < now).cloned() {
            self.due.pop();
            let tried = &self.journal.tried[&branch];
            if !self.is_judged(&tried.request) {
                continue;
            }
            for (rule, check) in step::OF_DEADLINES {
                enforce(rule, tried.request.value("Call-ID"), check(&self.journal, tried));
            }
        }
    }
}

/// RFC 3261 16.3 step 4, RFC 5393: wherever it leads, a call becomes so many messages and no more.
fn messages_are_bounded(count: usize) -> Verdict {
    const MOST: usize = 3000;
    must(count <= MOST, || format!("{count} messages"))
}
