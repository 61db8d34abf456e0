//! A caller: invites, hangs up at any moment, acknowledges each 2xx (RFC 3261 13.2.2.4), talks, says BYE; sends other
//! requests too. Forgets things now and then.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;

use super::client::{Agenda, Sending};
use super::credentials::Credentials;
use super::report::Report;
use crate::judge::PHONE_MARK;
use crate::{Agent, Robot, Sip, Turn, hop_by_hop};

/// Where credentials for a proxy stand.
const PROOF: &str = "Proxy-Authorization";

/// What a caller means to do.
pub(super) struct Intent {
    pub(super) request: Sip,
    /// So many microseconds after it began.
    pub(super) hangs_up: Option<u64>,
    /// What he says why.
    pub(super) reason: Option<&'static str>,
    /// Hears the failure, and does not say so.
    pub(super) forgets_ack: bool,
    /// Says BYE so many microseconds after the first 2xx.
    pub(super) talks: Option<u64>,
    /// Invites again in the dialog before that.
    pub(super) holds: bool,
}

/// All requests of one agent.
pub(crate) struct Caller {
    agent: Agent,
    transactions: Vec<Transaction>,
    by_branch: HashMap<String, usize>,
    agenda: Agenda<(usize, Todo)>,
    report: Rc<RefCell<Report>>,
    /// None where nobody is asked for any.
    credentials: Option<Credentials>,
}

struct Transaction {
    sending: Sending,
    intent: Option<Intent>,
    /// He hung up, and the CANCEL waits for a provisional (RFC 3261 9.1).
    wants_cancel: bool,
    cancel: Option<Sending>,
    /// The ACK of each 2xx by To tag.
    acks: HashMap<String, Rc<Sip>>,
    /// Status, tag, and whether a phone said so.
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
        Self { agent, transactions, by_branch: HashMap::new(), agenda: Agenda::new(), report, credentials }
    }

    /// Something to be done. Returns the token that begins it.
    pub(super) fn plan(&mut self, intent: Intent) -> u64 {
        let request = intent.request.clone();
        let index = self.add(Sending::new(request), Some(intent));
        self.agenda.note((index, Todo::Send))
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
            failure: None,
        });
        index
    }

    fn begin(&mut self, request: Sip, turn: &mut Turn) {
        let index = self.add(Sending::new(request), None);
        self.send(index, turn);
    }

    fn send(&mut self, index: usize, turn: &mut Turn) {
        let token = self.agenda.note((index, Todo::Send));
        let sending = &mut self.transactions[index].sending;
        sending.sign(self.credentials.as_mut());
        sending.send(turn, token);
    }

    /// A challenge of ours is answered, by a new transaction in place of this one; not if nobody wants it any more.
    fn challenged(&mut self, index: usize, refused: &Sip, turn: &mut Turn) {
        let Transaction { sending, intent, wants_cancel, .. } = &mut self.transactions[index];
        if *wants_cancel {
            return;
        }
        let Some(again) = sending.answer(&self.agent, self.credentials.as_mut(), refused) else { return };
        let intent = intent.take();
        let index = self.add(again, intent);
        turn.wake(0, self.agenda.note((index, Todo::Send)));
    }

    fn invited(&mut self, index: usize, sip: &Rc<Sip>, status: u16, turn: &mut Turn) {
        let transaction = &mut self.transactions[index];
        transaction.sending.heard(status);
        match status {
            100..200 if transaction.wants_cancel => self.cancel(index, turn),
            100..200 => {}
            200..300 => self.answered(index, sip, turn),
            _ => {
                let failure = (status, sip.to_tag().to_owned(), sip.value(PHONE_MARK).starts_with("sip:"));
                let is_first = transaction.failure.is_none();
                let first = transaction.failure.get_or_insert_with(|| failure.clone());
                // RFC 3261 8.2.7: a refusal leaves no state, so a late copy may find what the first did not.
                assert!(
                    *first == failure || !first.2 || !failure.2,
                    "{} failed with {first:?} and {failure:?}",
                    sip.value("Call-ID")
                );
                if transaction.intent.as_ref().is_none_or(|intent| !intent.forgets_ack) {
                    let invite = &transaction.sending.request;
                    turn.send(hop_by_hop("ACK", invite, sip.value("To")));
                }
                if is_first {
                    self.challenged(index, sip, turn);
                }
            }
        }
    }

    /// RFC 3261 13.2.2.4: each 2xx is acknowledged, and all but the first are hung up at once.
    fn answered(&mut self, index: usize, ok: &Rc<Sip>, turn: &mut Turn) {
        let Transaction { sending, acks, intent, .. } = &mut self.transactions[index];
        if let Some(ack) = acks.get(ok.to_tag()) {
            return turn.resend(ack);
        }
        let first = acks.is_empty();
        let invite = Rc::clone(&sending.request);
        let number = invite.value("CSeq").split(' ').next().unwrap_or_default();
        let ack = self.agent.within(&invite, ok, "ACK").set("CSeq", format_args!("{number} ACK"));
        // RFC 3261 22.1: an ACK cannot be challenged, so it has the credentials of its INVITE.
        let ack = invite.values(PROOF).fold(ack, |ack, proof| ack.with(PROOF, proof));
        let ack = Rc::new(ack);
        turn.resend(&ack);
        acks.insert(ok.to_tag().to_owned(), ack);
        let Some(intent) = intent else { return };
        if !first {
            return self.begin(self.agent.within(&invite, ok, "BYE"), turn);
        }
        let Some(talks) = intent.talks else { return };
        let (bye, hold) = (self.agent.within(&invite, ok, "BYE"), intent.holds);
        if hold {
            let index = self.add(Sending::new(self.agent.within(&invite, ok, "INVITE")), None);
            turn.wake(talks / 2, self.agenda.note((index, Todo::Hold)));
        }
        let number = format!(
            "{} BYE",
            bye.value("CSeq").split(' ').next().unwrap_or_default().parse::<u32>().unwrap_or_default() + 1
        );
        let index = self.add(Sending::new(bye.set("CSeq", number)), None);
        turn.wake(talks, self.agenda.note((index, Todo::Bye)));
    }

    fn cancel(&mut self, index: usize, turn: &mut Turn) {
        let Transaction { sending, intent, cancel, wants_cancel, .. } = &mut self.transactions[index];
        *wants_cancel = false;
        let cancel = cancel.get_or_insert_with(|| {
            let cancel = hop_by_hop("CANCEL", &sending.request, sending.request.value("To"));
            let reason = intent.as_ref().and_then(|intent| intent.reason);
            Sending::new(reason.into_iter().fold(cancel, |cancel, reason| cancel.with("Reason", reason)))
        });
        cancel.send(turn, self.agenda.note((index, Todo::Cancel)));
    }
}

impl Robot for Caller {
    fn hear(&mut self, sip: &Rc<Sip>, turn: &mut Turn) {
        let Some(status) = sip.status() else {
            // A BYE of the phone, or a copy of it.
            if sip.what() != "ACK" {
                turn.send(self.agent.answer(sip, 200).with(PHONE_MARK, "caller"));
            }
            return;
        };
        let Some(index) = self.by_branch.get(sip.branch()).copied() else { panic!("a response to nothing\n{sip}") };
        let transaction = &mut self.transactions[index];
        match sip.method() {
            "CANCEL" => {
                if let Some(cancel) = &mut transaction.cancel {
                    cancel.heard(status);
                }
            }
            "INVITE" => self.invited(index, sip, status, turn),
            method => {
                assert_eq!(method, transaction.sending.request.what(), "a response to something else\n{sip}");
                transaction.sending.heard(status);
                if status >= 200 {
                    let is_first = transaction.failure.replace((status, String::new(), false)).is_none();
                    if is_first {
                        self.challenged(index, sip, turn);
                    }
                }
            }
        }
    }

    fn wake(&mut self, token: u64, turn: &mut Turn) {
        let (index, todo) = self.agenda.what(token);
        let transaction = &mut self.transactions[index];
        match todo {
            Todo::Send => {
                let first = !transaction.sending.has_begun();
                let hangs_up = transaction.intent.as_ref().and_then(|intent| intent.hangs_up).filter(|_| first);
                if let Some(micros) = hangs_up {
                    turn.wake(micros, self.agenda.note((index, Todo::HangUp)));
                }
                transaction.sending.sign(self.credentials.as_mut());
                transaction.sending.send(turn, token);
            }
            Todo::Hold | Todo::Bye => self.send(index, turn),
            Todo::Cancel => self.cancel(index, turn),
            Todo::HangUp if transaction.sending.is_over() => {}
            Todo::HangUp => {
                self.report.borrow_mut().hung_up += 1;
                transaction.wants_cancel = true;
                if transaction.sending.is_proceeding() {
                    self.cancel(index, turn);
                }
            }
        }
    }
}

impl Drop for Caller {
    /// What became of everything he meant to do.
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
