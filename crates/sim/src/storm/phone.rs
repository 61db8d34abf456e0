//! A phone: the server transactions of INVITE and CANCEL (RFC 3261 17.2), 2xx repeated until their ACK (13.3.1.4),
//! other requests, its own registration, and now and then a forged response.

use std::rc::Rc;

use hashbrown::HashMap;

use super::client::{Agenda, Sending};
use super::credentials::Credentials;
use super::manner::{Manner, WhenCancelled, of_a_request};
use crate::judge::{GIVE_UP, PHONE_MARK, T1, T2};
use crate::{Agent, Dice, Robot, Sip, Turn};

/// One phone with many calls.
pub(crate) struct Phone {
    agent: Agent,
    dice: Dice,
    /// Forges a response to so many requests out of a thousand.
    forges: u64,
    calls: Vec<Call>,
    /// Where a 302 leads.
    elsewhere: String,
    by_branch: HashMap<String, usize>,
    own: Vec<Sending>,
    agenda: Agenda<Todo>,
    /// None where nobody is asked for any.
    credentials: Option<Credentials>,
}

/// A server transaction.
struct Call {
    request: Rc<Sip>,
    manner: Option<Manner>,
    /// The last provisional, or the final of another method.
    last: Option<Rc<Sip>>,
    finals: Vec<Final>,
}

/// A final response to an INVITE, repeated until its ACK.
struct Final {
    response: Rc<Sip>,
    interval: u64,
    spent: u64,
    acknowledged: bool,
}

#[derive(Clone, Copy)]
enum Todo {
    Ring(usize),
    Answer(usize, u16),
    AnswerAgain(usize),
    Repeat(usize, usize),
    HangUp(usize),
    /// A request of its own.
    Own(usize),
}

impl Phone {
    pub(super) fn new(
        agent: Agent,
        dice: Dice,
        forges: u64,
        elsewhere: String,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            agent,
            dice,
            forges,
            calls: Vec::new(),
            elsewhere,
            by_branch: HashMap::new(),
            own: Vec::new(),
            agenda: Agenda::new(),
            credentials,
        }
    }

    /// A request of its own, for later. Returns the token that sends it.
    pub(super) fn plan(&mut self, request: Sip) -> u64 {
        self.own.push(Sending::new(request));
        self.agenda.note(Todo::Own(self.own.len() - 1))
    }

    /// Sends a request of its own, again if it was sent before.
    fn send_own(&mut self, index: usize, turn: &mut Turn, token: u64) {
        let own = &mut self.own[index];
        own.sign(self.credentials.as_mut());
        own.send(turn, token);
    }

    /// A response to a request of its own; a challenge of ours is answered.
    fn answered(&mut self, sip: &Rc<Sip>, status: u16, turn: &mut Turn) {
        let mine = |own: &&mut Sending| own.request.branch() == sip.branch();
        let own = self.own.iter_mut().rfind(mine).unwrap_or_else(|| panic!("a response to nothing\n{sip}"));
        let first = !own.is_over();
        own.heard(status);
        if first
            && status >= 200
            && let Some(again) = own.answer(&self.agent, self.credentials.as_mut(), sip)
        {
            self.own.push(again);
            turn.wake(0, self.agenda.note(Todo::Own(self.own.len() - 1)));
        }
    }

    fn asked(&mut self, request: &Rc<Sip>, turn: &mut Turn) {
        let index = self.calls.len();
        self.by_branch.insert(request.branch().to_owned(), index);
        let mut call = Call { request: Rc::clone(request), manner: None, last: None, finals: Vec::new() };
        if self.dice.happens(self.forges) {
            self.forge(request, turn);
        }
        let (decides, says, when) = match request.what() {
            "INVITE" => {
                let in_dialog = !request.to_tag().is_empty();
                let draw = if in_dialog { Manner::of_a_hold } else { Manner::of_a_call };
                let manner = draw(&mut self.dice);
                let plan = (manner.decides, manner.trying.then_some(100), manner.rings);
                call.manner = Some(manner);
                plan
            }
            "BYE" => (Some((0, 200)), None, None),
            _ => {
                let (answer, announces) = of_a_request(&mut self.dice);
                (answer, announces, None)
            }
        };
        self.calls.push(call);
        if let Some(status) = says {
            self.say(index, status, turn);
        }
        if let Some((micros, _)) = when {
            turn.wake(micros, self.agenda.note(Todo::Ring(index)));
        }
        if let Some((micros, status)) = decides {
            turn.wake(micros, self.agenda.note(Todo::Answer(index, status)));
        }
    }

    /// A provisional, or any response to another method than INVITE.
    fn say(&mut self, index: usize, status: u16, turn: &mut Turn) {
        let response = self.response(index, status);
        turn.resend(&response);
        self.calls[index].last = Some(response);
    }

    fn response(&self, index: usize, status: u16) -> Rc<Sip> {
        let name = self.agent.contact();
        let request = &self.calls[index].request;
        let response = self.agent.answer(request, status).with(PHONE_MARK, &name);
        // RFC 3261 19.3: another tag for each call.
        let response = if request.to_tag().is_empty() && status > 100 {
            let to = format!("{}-{index}", response.value("To"));
            response.set("To", to)
        } else {
            response
        };
        Rc::new(match status {
            302 => response.set("Contact", format_args!("<{}>", self.elsewhere)),
            401 => response.with("WWW-Authenticate", format_args!("Digest realm=\"{name}\", nonce=\"1\"")),
            407 => response
                .with("Proxy-Authenticate", format_args!("Digest realm=\"{name}\", nonce=\"2\", algorithm=SHA-256"))
                .with("Proxy-Authenticate", format_args!("Digest realm=\"{name}\", nonce=\"2\"")),
            _ => response,
        })
    }

    fn ring(&mut self, index: usize, turn: &mut Turn) {
        let call = &self.calls[index];
        let Some(manner) = call.manner.as_ref().filter(|_| call.finals.is_empty()) else { return };
        let again = manner.rings_again;
        self.say(index, manner.rings.map_or(180, |(_, status)| status), turn);
        if let Some(micros) = again {
            turn.wake(micros, self.agenda.note(Todo::Ring(index)));
        }
    }

    fn answer(&mut self, index: usize, status: u16, turn: &mut Turn) {
        let call = &self.calls[index];
        if call.manner.is_none() {
            if call.last.as_ref().and_then(|last| last.status()).is_none_or(|last| last < 200) {
                self.say(index, status, turn);
            }
            return;
        }
        if !call.finals.is_empty() {
            return;
        }
        let response = self.response(index, status);
        self.repeat_until_ack(index, response, turn);
        let manner = self.calls[index].manner.as_ref();
        if let Some(micros) = manner.filter(|_| status == 200).and_then(|manner| manner.answers_twice) {
            turn.wake(micros, self.agenda.note(Todo::AnswerAgain(index)));
        }
    }

    fn answer_again(&mut self, index: usize, turn: &mut Turn) {
        let response = self.response(index, 200);
        let to = format!("{}-again", response.value("To"));
        self.repeat_until_ack(index, Rc::new(Sip::clone(&response).set("To", to)), turn);
    }

    fn repeat_until_ack(&mut self, index: usize, response: Rc<Sip>, turn: &mut Turn) {
        turn.resend(&response);
        let finals = &mut self.calls[index].finals;
        turn.wake(T1, self.agenda.note(Todo::Repeat(index, finals.len())));
        finals.push(Final { response, interval: T1, spent: 0, acknowledged: false });
    }

    fn repeat(&mut self, index: usize, number: usize, turn: &mut Turn, token: u64) {
        let last = &mut self.calls[index].finals[number];
        last.spent += last.interval;
        let success = last.response.status() == Some(200);
        let stream = last.response.value("Via").starts_with("SIP/2.0/TCP");
        if !last.acknowledged && last.spent < GIVE_UP && (success || !stream) {
            turn.resend(&last.response);
            last.interval = T2.min(last.interval * 2);
            turn.wake(last.interval, token);
        }
    }

    fn acknowledged(&mut self, ack: &Sip, turn: &mut Turn) {
        let same = |call: &Call| call.request.value("Call-ID") == ack.value("Call-ID");
        let number = |sip: &Sip| sip.value("CSeq").split(' ').next().map(str::to_owned);
        for (index, call) in self.calls.iter_mut().enumerate().filter(|(_, call)| same(call)) {
            let manner = call.manner.as_ref();
            if manner.is_none_or(|manner| manner.deaf_to_acks) || number(&call.request) != number(ack) {
                continue;
            }
            for last in call.finals.iter_mut().filter(|last| last.response.to_tag() == ack.to_tag()) {
                let first = !std::mem::replace(&mut last.acknowledged, true);
                let hangs_up = manner.and_then(|manner| manner.hangs_up);
                if let Some(micros) = hangs_up.filter(|_| first && last.response.status() == Some(200)) {
                    turn.wake(micros, self.agenda.note(Todo::HangUp(index)));
                }
            }
        }
    }

    fn cancelled(&mut self, index: usize, cancel: &Sip, turn: &mut Turn) {
        let how = self.calls[index].manner.as_ref().map_or(WhenCancelled::Stops, |manner| manner.when_cancelled);
        if !matches!(how, WhenCancelled::Deaf | WhenCancelled::ForgetsCancel) {
            turn.send(self.agent.answer(cancel, 200).with(PHONE_MARK, "phone"));
        }
        match how {
            WhenCancelled::Stops | WhenCancelled::ForgetsCancel => self.answer(index, 487, turn),
            WhenCancelled::PickedUp => self.answer(index, 200, turn),
            WhenCancelled::Deaf | WhenCancelled::ForgetsInvite => {}
        }
    }

    /// A response that is not what it claims to be: to another transaction, or for somebody else.
    fn forge(&mut self, request: &Sip, turn: &mut Turn) {
        let status = [180, 200, 486][self.dice.below(3)];
        let response = self.agent.answer(request, status).with(PHONE_MARK, "forger");
        let stateless = !request.branch().starts_with("z9hG4bKt");
        let forged = match self.dice.roll(4) {
            0 if stateless => response.set("Call-ID", "somebody-elses"),
            1 if stateless => response.set("CSeq", format_args!("77 {}", request.what())),
            _ => {
                // In a stateless branch any digit; in that of a transaction its number, or as if it had none.
                let mut branch = request.branch().to_owned();
                if !stateless && self.dice.happens(500) {
                    branch.replace_range(7..44, "s");
                } else {
                    let digits = if stateless { branch.len() - 10 } else { 16 };
                    let place = 10 + self.dice.below(digits);
                    let digit = if branch[place..].starts_with('7') { "8" } else { "7" };
                    branch.replace_range(place..=place, digit);
                }
                let via = request.value("Via").replace(request.branch(), &branch);
                response.set("Via", via)
            }
        };
        turn.send(forged);
    }

    fn hang_up(&mut self, index: usize, turn: &mut Turn) {
        let call = &self.calls[index];
        let bye = self.agent.back_within(&call.request, &call.finals[0].response, "BYE");
        let token = self.plan(bye);
        self.wake(token, turn);
    }
}

impl Robot for Phone {
    fn hear(&mut self, sip: &Rc<Sip>, turn: &mut Turn) {
        if let Some(status) = sip.status() {
            return self.answered(sip, status, turn);
        }
        let known = self.by_branch.get(sip.branch()).copied();
        match (sip.what(), known) {
            ("ACK", _) => self.acknowledged(sip, turn),
            ("CANCEL", Some(index)) => self.cancelled(index, sip, turn),
            ("CANCEL", None) => turn.send(self.agent.answer(sip, 481).with(PHONE_MARK, "phone")),
            (_, None) => self.asked(sip, turn),
            (_, Some(index)) => {
                let Call { last, finals, .. } = &self.calls[index];
                match finals.first() {
                    Some(last) if last.response.status() == Some(200) => {}
                    Some(last) => turn.resend(&last.response),
                    None => last.iter().for_each(|last| turn.resend(last)),
                }
            }
        }
    }

    fn wake(&mut self, token: u64, turn: &mut Turn) {
        match self.agenda.what(token) {
            Todo::Ring(index) => self.ring(index, turn),
            Todo::Answer(index, status) => self.answer(index, status, turn),
            Todo::AnswerAgain(index) => self.answer_again(index, turn),
            Todo::Repeat(index, number) => self.repeat(index, number, turn, token),
            Todo::HangUp(index) => self.hang_up(index, turn),
            Todo::Own(index) => self.send_own(index, turn, token),
        }
    }
}
