//! A caller: sends INVITEs, hangs up at any moment, acknowledges each 2xx (RFC 3261 13.2.2.4), holds, sends BYE, and
//! sends other requests too. Sometimes it omits a message.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;

use super::client::{Sending, TimerTokens};
use super::credentials::Credentials;
use super::report::Report;
use crate::judge::PHONE_MARK;
use crate::{Agent, Behaviour, Reaction, Sip, cseq, hop_by_hop};

/// The header with credentials for a proxy.
const PROOF: &str = "Proxy-Authorization";

/// One request of a caller, with what follows it.
pub(super) struct Intent {
    pub(super) request: Sip,
    /// Cancels it this many microseconds after it began.
    pub(super) hangs_up: Option<u64>,
    /// The Reason in the CANCEL.
    pub(super) reason: Option<&'static str>,
    /// Does not send the ACK of a failure response.
    pub(super) forgets_ack: bool,
    /// Sends a BYE this many microseconds after the first 2xx.
    pub(super) talks: Option<u64>,
    /// Sends another INVITE in the dialog before the BYE.
    pub(super) holds: bool,
}

/// All requests of one agent.
pub(crate) struct Caller {
    agent: Agent,
    transactions: Vec<Transaction>,
    by_branch: HashMap<String, usize>,
    timers: TimerTokens<(usize, Todo)>,
    report: Rc<RefCell<Report>>,
    /// `None` if requests need no credentials.
    credentials: Option<Credentials>,
}

struct Transaction {
    sending: Sending,
    intent: Option<Intent>,
    /// It hung up, and the CANCEL waits for a provisional response (RFC 3261 9.1).
    wants_cancel: bool,
    cancel: Option<Sending>,
    /// The ACK of each 2xx by To tag.
    acks: HashMap<String, Rc<Sip>>,
    /// The last RSeq of each early dialog by To tag (RFC 3262 4), and how many PRACKs were sent.
    early: HashMap<String, u32>,
    pracks: u32,
    /// Status, To tag, and whether a phone sent it.
    failure: Option<(u16, String, bool)>,
}

#[derive(Clone, Copy)]
enum Todo {
    Send,
    Cancel,
    HangUp,
    Hold,
    Bye,
}

impl Caller {
    pub(super) fn new(agent: Agent, report: Rc<RefCell<Report>>, credentials: Option<Credentials>) -> Self {
        let transactions = Vec::new();
        Self { agent, transactions, by_branch: HashMap::new(), timers: TimerTokens::new(), report, credentials }
    }

    /// Adds a request. Returns the token of the timer that begins it.
    pub(super) fn plan(&mut self, intent: Intent) -> u64 {
        let request = intent.request.clone();
        let index = self.add(Sending::new(request), Some(intent));
        self.timers.add((index, Todo::Send))
    }

    fn add(&mut self, sending: Sending, intent: Option<Intent>) -> usize {
        let index = self.transactions.len();
        self.by_branch.insert(sending.request.branch().to_owned(), index);
        self.transactions.push(Transaction {
            sending,
            intent,
            wants_cancel: false,
            cancel: None,
            acks: HashMap::new(),
            early: HashMap::new(),
            pracks: 0,
            failure: None,
        });
        index
    }

    fn begin(&mut self, request: Sip, reaction: &mut Reaction) {
        let index = self.add(Sending::new(request), None);
        self.send(index, reaction);
    }

    fn send(&mut self, index: usize, reaction: &mut Reaction) {
        let token = self.timers.add((index, Todo::Send));
        let sending = &mut self.transactions[index].sending;
        sending.sign(self.credentials.as_mut());
        sending.send(reaction, token);
    }

    /// Responds to a challenge of our server with a new transaction, unless the caller has hung up.
    fn challenged(&mut self, index: usize, refused: &Sip, reaction: &mut Reaction) {
        let Transaction { sending, intent, wants_cancel, .. } = &mut self.transactions[index];
        if *wants_cancel {
            return;
        }
        let Some(again) = sending.answer(&self.agent, self.credentials.as_mut(), refused) else { return };
        let intent = intent.take();
        let index = self.add(again, intent);
        reaction.set_timer(0, self.timers.add((index, Todo::Send)));
    }

    fn invited(&mut self, index: usize, sip: &Rc<Sip>, status: u16, reaction: &mut Reaction) {
        let transaction = &mut self.transactions[index];
        transaction.sending.on_response(status);
        match status {
            100..200 => {
                if transaction.wants_cancel {
                    self.cancel(index, reaction);
                }
                self.rings(index, sip, reaction);
            }
            200..300 => self.answered(index, sip, reaction),
            _ => {
                let failure = (status, sip.to_tag().to_owned(), sip.value(PHONE_MARK).starts_with("sip:"));
                let is_first = transaction.failure.is_none();
                let first = transaction.failure.get_or_insert_with(|| failure.clone());
                // RFC 3261 8.2.7: a refused request leaves no state, so a late copy may get another response.
                assert!(
                    *first == failure || !first.2 || !failure.2,
                    "{} failed with {first:?} and {failure:?}",
                    sip.value("Call-ID")
                );
                if transaction.intent.as_ref().is_none_or(|intent| !intent.forgets_ack) {
                    let invite = &transaction.sending.request;
                    reaction.send(hop_by_hop("ACK", invite, sip.value("To")));
                }
                if is_first {
                    self.challenged(index, sip, reaction);
                }
            }
        }
    }

    /// RFC 3262 4: each reliable provisional response gets a PRACK, in the order of their numbers. Copies get none.
    fn rings(&mut self, index: usize, early: &Sip, reaction: &mut Reaction) {
        let Some(number) = early.number("RSeq") else { return };
        let Transaction { sending, early: known, pracks, .. } = &mut self.transactions[index];
        let last = known.get(early.to_tag()).copied();
        if sending.is_over() || last.is_some_and(|last| number != last + 1) {
            return;
        }
        known.insert(early.to_tag().to_owned(), number);
        *pracks += 1;
        let invite = Rc::clone(&sending.request);
        let prack = self.agent.within(&invite, early, "PRACK").set("CSeq", cseq(&invite, *pracks, "PRACK"));
        let rack = format!("{number} {}", invite.value("CSeq"));
        self.begin(prack.with("RAck", rack), reaction);
    }

    /// RFC 3261 13.2.2.4: each 2xx gets an ACK, and each dialog but the first is ended at once.
    fn answered(&mut self, index: usize, ok: &Rc<Sip>, reaction: &mut Reaction) {
        let Transaction { sending, acks, intent, pracks, .. } = &mut self.transactions[index];
        let later = *pracks + 1;
        if let Some(ack) = acks.get(ok.to_tag()) {
            return reaction.resend(ack);
        }
        let first = acks.is_empty();
        let invite = Rc::clone(&sending.request);
        let number = invite.value("CSeq").split(' ').next().unwrap_or_default();
        let ack = self.agent.within(&invite, ok, "ACK").set("CSeq", format_args!("{number} ACK"));
        // RFC 3261 22.1: an ACK cannot be challenged, so it has the credentials of its INVITE.
        let ack = invite.values(PROOF).fold(ack, |ack, proof| ack.with(PROOF, proof));
        let ack = Rc::new(ack);
        reaction.resend(&ack);
        acks.insert(ok.to_tag().to_owned(), ack);
        let Some(intent) = intent else { return };
        if !first {
            let bye = self.agent.within(&invite, ok, "BYE").set("CSeq", cseq(&invite, later, "BYE"));
            return self.begin(bye, reaction);
        }
        let Some(talks) = intent.talks else { return };
        let (bye, hold) = (self.agent.within(&invite, ok, "BYE"), intent.holds);
        if hold {
            let hold = self.agent.within(&invite, ok, "INVITE").set("CSeq", cseq(&invite, later, "INVITE"));
            let index = self.add(Sending::new(hold), None);
            reaction.set_timer(talks / 2, self.timers.add((index, Todo::Hold)));
        }
        let number = cseq(&invite, later + 1, "BYE");
        let index = self.add(Sending::new(bye.set("CSeq", number)), None);
        reaction.set_timer(talks, self.timers.add((index, Todo::Bye)));
    }

    fn cancel(&mut self, index: usize, reaction: &mut Reaction) {
        let Transaction { sending, intent, cancel, wants_cancel, .. } = &mut self.transactions[index];
        *wants_cancel = false;
        let cancel = cancel.get_or_insert_with(|| {
            let cancel = hop_by_hop("CANCEL", &sending.request, sending.request.value("To"));
            let reason = intent.as_ref().and_then(|intent| intent.reason);
            Sending::new(reason.into_iter().fold(cancel, |cancel, reason| cancel.with("Reason", reason)))
        });
        cancel.send(reaction, self.timers.add((index, Todo::Cancel)));
    }
}

impl Behaviour for Caller {
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction) {
        let Some(status) = sip.status() else {
            // A BYE of the phone, or a copy of it.
            if sip.what() != "ACK" {
                reaction.send(self.agent.answer(sip, 200).with(PHONE_MARK, "caller"));
            }
            return;
        };
        let Some(index) = self.by_branch.get(sip.branch()).copied() else { panic!("a response to nothing\n{sip}") };
        let transaction = &mut self.transactions[index];
        match sip.method() {
            "CANCEL" => {
                if let Some(cancel) = &mut transaction.cancel {
                    cancel.on_response(status);
                }
            }
            "INVITE" => self.invited(index, sip, status, reaction),
            method => {
                assert_eq!(method, transaction.sending.request.what(), "a response to something else\n{sip}");
                transaction.sending.on_response(status);
                if status >= 200 {
                    let is_first = transaction.failure.replace((status, String::new(), false)).is_none();
                    if is_first {
                        self.challenged(index, sip, reaction);
                    }
                }
            }
        }
    }

    fn on_timer(&mut self, token: u64, reaction: &mut Reaction) {
        let (index, todo) = self.timers.what(token);
        let transaction = &mut self.transactions[index];
        match todo {
            Todo::Send => {
                let first = !transaction.sending.has_begun();
                let hangs_up = transaction.intent.as_ref().and_then(|intent| intent.hangs_up).filter(|_| first);
                if let Some(micros) = hangs_up {
                    reaction.set_timer(micros, self.timers.add((index, Todo::HangUp)));
                }
                transaction.sending.sign(self.credentials.as_mut());
                transaction.sending.send(reaction, token);
            }
            Todo::Hold | Todo::Bye => self.send(index, reaction),
            Todo::Cancel => self.cancel(index, reaction),
            Todo::HangUp if transaction.sending.is_over() => {}
            Todo::HangUp => {
                self.report.borrow_mut().hung_up += 1;
                transaction.wants_cancel = true;
                if transaction.sending.is_proceeding() {
                    self.cancel(index, reaction);
                }
            }
        }
    }
}

impl Drop for Caller {
    /// Reports how each request ended.
    fn drop(&mut self) {
        let mut report = self.report.borrow_mut();
        for transaction in self.transactions.iter().filter(|transaction| transaction.intent.is_some()) {
            let method = transaction.sending.request.what();
            let answers = transaction.acks.len();
            let failed = transaction.failure.as_ref().map(|(status, ..)| *status);
            report.ended(method, if answers > 0 { Some(200) } else { failed });
            report.several += u64::from(answers > 1);
        }
    }
}
