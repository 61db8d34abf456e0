//! A phone: the server transactions of INVITE and CANCEL (RFC 3261 17.2), the retransmission of a 2xx until its ACK
//! (13.3.1.4), other requests, its own registration, and sometimes a forged response.

use std::rc::Rc;

use hashbrown::HashMap;

use super::call_plan::{CallPlan, WhenCancelled, of_a_request};
use super::client::{Sending, TimerTokens};
use super::credentials::Credentials;
use super::gate::Gate;
use crate::judge::{GIVE_UP, PHONE_MARK, T1, T2, is_transaction};
use crate::{Agent, Behaviour, Random, Reaction, Sip};

/// A phone with any number of calls.
pub(crate) struct Phone {
    agent: Agent,
    random: Random,
    /// It forges a response to so many requests of a thousand.
    forges: u64,
    calls: Vec<Call>,
    /// The target of its 302.
    elsewhere: String,
    by_branch: HashMap<String, usize>,
    own: Vec<Sending>,
    timers: TimerTokens<Todo>,
    /// `None` if requests need no credentials.
    credentials: Option<Credentials>,
    /// Challenges requests, if it is a trunk.
    gate: Option<Gate>,
}

/// A server transaction.
struct Call {
    request: Rc<Sip>,
    call_plan: Option<CallPlan>,
    /// The last provisional response, or the final one of another method than INVITE.
    last: Option<Rc<Sip>>,
    finals: Vec<Final>,
    /// The challenge of a trunk, which is its answer.
    challenge: Option<String>,
    /// Its provisional responses, if they are reliable (RFC 3262 3).
    reliable: Option<Reliable>,
}

/// The last reliable provisional response, retransmitted until its PRACK.
#[derive(Clone, Copy)]
struct Reliable {
    number: u32,
    interval: u64,
    spent: u64,
    acknowledged: bool,
}

/// A final response to an INVITE, retransmitted until its ACK.
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
    /// The reliable provisional response with this number.
    RingAgain(usize, u32),
    Repeat(usize, usize),
    HangUp(usize),
    /// A request of its own.
    Own(usize),
}

impl Phone {
    pub(super) fn new(
        agent: Agent,
        random: Random,
        forges: u64,
        elsewhere: String,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            agent,
            random,
            forges,
            calls: Vec::new(),
            elsewhere,
            by_branch: HashMap::new(),
            own: Vec::new(),
            timers: TimerTokens::new(),
            credentials,
            gate: None,
        }
    }

    /// Its redirections lead there.
    pub(super) fn redirects_to(&mut self, uri: String) {
        self.elsewhere = uri;
    }

    /// It challenges requests like this.
    pub(super) fn with_gate(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Adds a request of its own. Returns the token of the timer that sends it.
    pub(super) fn plan(&mut self, request: Sip) -> u64 {
        self.own.push(Sending::new(request));
        self.timers.add(Todo::Own(self.own.len() - 1))
    }

    /// Sends or retransmits a request of its own.
    fn send_own(&mut self, index: usize, reaction: &mut Reaction, token: u64) {
        let own = &mut self.own[index];
        own.sign(self.credentials.as_mut());
        own.send(reaction, token);
    }

    /// A response to a request of its own has arrived. A challenge of our server is answered.
    fn answered(&mut self, sip: &Rc<Sip>, status: u16, reaction: &mut Reaction) {
        let mine = |own: &&mut Sending| own.request.branch() == sip.branch();
        let own = self.own.iter_mut().rfind(mine).unwrap_or_else(|| panic!("a response to nothing\n{sip}"));
        let first = !own.is_over();
        own.on_response(status);
        if first
            && status >= 200
            && let Some(again) = own.answer(&self.agent, self.credentials.as_mut(), sip)
        {
            self.own.push(again);
            reaction.set_timer(0, self.timers.add(Todo::Own(self.own.len() - 1)));
        }
    }

    fn asked(&mut self, request: &Rc<Sip>, reaction: &mut Reaction) {
        let index = self.calls.len();
        self.by_branch.insert(request.branch().to_owned(), index);
        let mut call = Call {
            request: Rc::clone(request),
            call_plan: None,
            last: None,
            finals: Vec::new(),
            challenge: None,
            reliable: None,
        };
        if self.random.chance(self.forges) {
            self.forge(request, reaction);
        }
        let refusal = self.gate.as_ref().and_then(|gate| gate.challenge(request));
        call.challenge = refusal.as_ref().map(|(_, challenge)| challenge.clone());
        let (decides, says, when) = match request.what() {
            what if let Some((status, _)) = refusal => {
                call.call_plan = (what == "INVITE").then(|| CallPlan::for_hold(&mut self.random));
                let delay = self.gate.map_or(0, |gate| gate.delay(request, &mut self.random));
                (Some((delay, status)), None, None)
            }
            "INVITE" => {
                let in_dialog = !request.to_tag().is_empty();
                let draw = if in_dialog { CallPlan::for_hold } else { CallPlan::for_call };
                let call_plan = draw(&mut self.random);
                let plan = (call_plan.decides, call_plan.trying.then_some(100), call_plan.rings);
                call.call_plan = Some(call_plan);
                let first = u32::try_from(1 + self.random.below(1000)).expect("a small number");
                call.reliable = (request.value("Supported").contains("100rel") && self.random.chance(700))
                    .then_some(Reliable { number: first, interval: T1, spent: 0, acknowledged: true });
                plan
            }
            // A trunk refuses some: the call goes on.
            "BYE" if self.gate.is_some() && self.random.chance(50) => (Some((0, 500)), None, None),
            "BYE" => (Some((0, 200)), None, None),
            "PRACK" => (Some((0, self.acknowledges(request))), None, None),
            _ => {
                let (answer, announces) = of_a_request(&mut self.random);
                (answer, announces, None)
            }
        };
        self.calls.push(call);
        if let Some(status) = says {
            self.say(index, status, reaction);
        }
        if let Some((micros, _)) = when {
            reaction.set_timer(micros, self.timers.add(Todo::Ring(index)));
        }
        if let Some((micros, status)) = decides {
            reaction.set_timer(micros, self.timers.add(Todo::Answer(index, status)));
        }
    }

    /// Sends a provisional response, or any response to another method than INVITE.
    fn say(&mut self, index: usize, status: u16, reaction: &mut Reaction) {
        let response = self.response(index, status);
        reaction.resend(&response);
        self.calls[index].last = Some(response);
    }

    fn response(&self, index: usize, status: u16) -> Rc<Sip> {
        let name = self.agent.contact();
        let request = &self.calls[index].request;
        let response = self.agent.answer(request, status).with(PHONE_MARK, &name);
        // RFC 3261 19.3: each call has its own tag.
        let response = if request.to_tag().is_empty() && status > 100 {
            let to = format!("{}-{index}", response.value("To"));
            response.set("To", to)
        } else {
            response
        };
        let reliable = self.calls[index].reliable.filter(|_| (101..200).contains(&status));
        let response = reliable
            .into_iter()
            .fold(response, |response, reliable| response.with("Require", "100rel").with("RSeq", reliable.number));
        Rc::new(match (status, &self.calls[index].challenge) {
            (401, Some(challenge)) => response.with("WWW-Authenticate", challenge),
            (407, Some(challenge)) => response.with("Proxy-Authenticate", challenge),
            (302, _) => response.set("Contact", format_args!("<{}>", self.elsewhere)),
            (401, _) => response.with("WWW-Authenticate", format_args!("Digest realm=\"{name}\", nonce=\"1\"")),
            (407, _) => response
                .with("Proxy-Authenticate", format_args!("Digest realm=\"{name}\", nonce=\"2\", algorithm=SHA-256"))
                .with("Proxy-Authenticate", format_args!("Digest realm=\"{name}\", nonce=\"2\"")),
            _ => response,
        })
    }

    fn ring(&mut self, index: usize, reaction: &mut Reaction) {
        let call = &self.calls[index];
        let Some(call_plan) = call.call_plan.as_ref().filter(|_| call.finals.is_empty()) else { return };
        let again = call_plan.rings_again;
        // RFC 3262 3: a second one does not follow before the PRACK of the first.
        if call.reliable.is_some_and(|reliable| !reliable.acknowledged) {
            return;
        }
        if let Some(reliable) = &mut self.calls[index].reliable {
            *reliable = Reliable { number: reliable.number + 1, interval: T1, spent: 0, acknowledged: false };
            reaction.set_timer(T1, self.timers.add(Todo::RingAgain(index, reliable.number)));
        }
        let call_plan = self.calls[index].call_plan.as_ref().expect("it rings");
        self.say(index, call_plan.rings.map_or(180, |(_, status)| status), reaction);
        if let Some(micros) = again {
            reaction.set_timer(micros, self.timers.add(Todo::Ring(index)));
        }
    }

    /// RFC 3262 3: until its PRACK, the final response of the call or 64*T1.
    fn ring_again(&mut self, index: usize, number: u32, reaction: &mut Reaction, token: u64) {
        let call = &mut self.calls[index];
        let (Some(last), true) = (&call.last, call.finals.is_empty()) else { return };
        let Some(reliable) = call.reliable.as_mut().filter(|reliable| reliable.number == number) else { return };
        reliable.spent += reliable.interval;
        if !reliable.acknowledged && reliable.spent < GIVE_UP {
            reaction.resend(last);
            reliable.interval *= 2;
            reaction.set_timer(reliable.interval, token);
        }
    }

    /// RFC 3262 3: a PRACK names the number of the provisional response and the CSeq of its INVITE, as this phone got it. The
    /// status for it.
    fn acknowledges(&mut self, prack: &Sip) -> u16 {
        let is_own = |call: &&mut Call| {
            let rings = call.last.as_ref().is_some_and(|last| last.to_tag() == prack.to_tag());
            let rings = rings || call.finals.iter().any(|last| last.response.to_tag() == prack.to_tag());
            rings && call.request.value("Call-ID") == prack.value("Call-ID") && call.reliable.is_some()
        };
        let Some(call) = self.calls.iter_mut().find(is_own) else { return 481 };
        let Some(reliable) = &mut call.reliable else { return 481 };
        let is_last = prack.value("RAck") == format!("{} {}", reliable.number, call.request.value("CSeq"));
        if is_last && !reliable.acknowledged {
            reliable.acknowledged = true;
            return 200;
        }
        481
    }

    fn answer(&mut self, index: usize, status: u16, reaction: &mut Reaction) {
        let call = &self.calls[index];
        if call.call_plan.is_none() {
            if call.last.as_ref().and_then(|last| last.status()).is_none_or(|last| last < 200) {
                self.say(index, status, reaction);
            }
            return;
        }
        if !call.finals.is_empty() {
            return;
        }
        let response = self.response(index, status);
        self.repeat_until_ack(index, response, reaction);
        let call_plan = self.calls[index].call_plan.as_ref();
        if let Some(micros) = call_plan.filter(|_| status == 200).and_then(|call_plan| call_plan.answers_twice) {
            reaction.set_timer(micros, self.timers.add(Todo::AnswerAgain(index)));
        }
    }

    fn answer_again(&mut self, index: usize, reaction: &mut Reaction) {
        let response = self.response(index, 200);
        let to = format!("{}-again", response.value("To"));
        self.repeat_until_ack(index, Rc::new(Sip::clone(&response).set("To", to)), reaction);
    }

    fn repeat_until_ack(&mut self, index: usize, response: Rc<Sip>, reaction: &mut Reaction) {
        reaction.resend(&response);
        let finals = &mut self.calls[index].finals;
        reaction.set_timer(T1, self.timers.add(Todo::Repeat(index, finals.len())));
        finals.push(Final { response, interval: T1, spent: 0, acknowledged: false });
    }

    fn repeat(&mut self, index: usize, number: usize, reaction: &mut Reaction, token: u64) {
        let last = &mut self.calls[index].finals[number];
        last.spent += last.interval;
        let success = last.response.status() == Some(200);
        let stream = last.response.value("Via").starts_with("SIP/2.0/TCP");
        if !last.acknowledged && last.spent < GIVE_UP && (success || !stream) {
            reaction.resend(&last.response);
            last.interval = T2.min(last.interval * 2);
            reaction.set_timer(last.interval, token);
        }
    }

    fn acknowledged(&mut self, ack: &Sip, reaction: &mut Reaction) {
        let same = |call: &Call| call.request.value("Call-ID") == ack.value("Call-ID");
        let number = |sip: &Sip| sip.value("CSeq").split(' ').next().map(str::to_owned);
        for (index, call) in self.calls.iter_mut().enumerate().filter(|(_, call)| same(call)) {
            let call_plan = call.call_plan.as_ref();
            if call_plan.is_none_or(|call_plan| call_plan.ignores_acks) || number(&call.request) != number(ack) {
                continue;
            }
            for last in call.finals.iter_mut().filter(|last| last.response.to_tag() == ack.to_tag()) {
                let first = !std::mem::replace(&mut last.acknowledged, true);
                let hangs_up = call_plan.and_then(|call_plan| call_plan.hangs_up);
                if let Some(micros) = hangs_up.filter(|_| first && last.response.status() == Some(200)) {
                    reaction.set_timer(micros, self.timers.add(Todo::HangUp(index)));
                }
            }
        }
    }

    fn cancelled(&mut self, index: usize, cancel: &Sip, reaction: &mut Reaction) {
        let how =
            self.calls[index].call_plan.as_ref().map_or(WhenCancelled::Stops, |call_plan| call_plan.when_cancelled);
        if !matches!(how, WhenCancelled::Ignores | WhenCancelled::ForgetsCancel) {
            reaction.send(self.agent.answer(cancel, 200).with(PHONE_MARK, "phone"));
        }
        match how {
            WhenCancelled::Stops | WhenCancelled::ForgetsCancel => self.answer(index, 487, reaction),
            WhenCancelled::PickedUp => self.answer(index, 200, reaction),
            WhenCancelled::Declines => self.answer(index, 603, reaction),
            WhenCancelled::Ignores | WhenCancelled::ForgetsInvite => {}
        }
    }

    /// Sends a response that matches no request: with another branch, or to another agent.
    fn forge(&mut self, request: &Sip, reaction: &mut Reaction) {
        let status = [180, 200, 486][self.random.index(3)];
        let response = self.agent.answer(request, status).with(PHONE_MARK, "forger");
        let stateless = !is_transaction(request.branch());
        let forged = match self.random.below(4) {
            0 if stateless => response.set("Call-ID", "somebody-elses"),
            1 if stateless => response.set("CSeq", format_args!("77 {}", request.what())),
            _ => {
                // Changes a character of a stateless branch. In the branch of a transaction it changes the number, or
                // makes it look stateless.
                let mut branch = request.branch().to_owned();
                if !stateless && self.random.chance(500) {
                    branch.replace_range(7..44, "s");
                } else {
                    let digits = if stateless { branch.len() - 10 } else { 16 };
                    let place = 10 + self.random.index(digits);
                    let digit = if branch[place..].starts_with('7') { "8" } else { "7" };
                    branch.replace_range(place..=place, digit);
                }
                let via = request.value("Via").replace(request.branch(), &branch);
                response.set("Via", via)
            }
        };
        reaction.send(forged);
    }

    fn hang_up(&mut self, index: usize, reaction: &mut Reaction) {
        let call = &self.calls[index];
        let bye = self.agent.within_as_callee(&call.request, &call.finals[0].response, "BYE");
        let token = self.plan(bye);
        self.on_timer(token, reaction);
    }
}

impl Behaviour for Phone {
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction) {
        if let Some(status) = sip.status() {
            return self.answered(sip, status, reaction);
        }
        let known = self.by_branch.get(sip.branch()).copied();
        match (sip.what(), known) {
            ("ACK", _) => self.acknowledged(sip, reaction),
            ("CANCEL", Some(index)) => self.cancelled(index, sip, reaction),
            ("CANCEL", None) => reaction.send(self.agent.answer(sip, 481).with(PHONE_MARK, "phone")),
            (_, None) => self.asked(sip, reaction),
            (_, Some(index)) => {
                let Call { last, finals, .. } = &self.calls[index];
                match finals.first() {
                    Some(last) if last.response.status() == Some(200) => {}
                    Some(last) => reaction.resend(&last.response),
                    None => last.iter().for_each(|last| reaction.resend(last)),
                }
            }
        }
    }

    fn on_timer(&mut self, token: u64, reaction: &mut Reaction) {
        match self.timers.what(token) {
            Todo::Ring(index) => self.ring(index, reaction),
            Todo::Answer(index, status) => self.answer(index, status, reaction),
            Todo::AnswerAgain(index) => self.answer_again(index, reaction),
            Todo::Repeat(index, number) => self.repeat(index, number, reaction, token),
            Todo::RingAgain(index, number) => self.ring_again(index, number, reaction, token),
            Todo::HangUp(index) => self.hang_up(index, reaction),
            Todo::Own(index) => self.send_own(index, reaction, token),
        }
    }
}
