//! A scripted agent. Each method sends one message or checks what the agent receives.
//!
//! An agent does nothing by itself: it does not retransmit, send an ACK or answer. The script says everything that it
//! does.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use parser::Transport;

use crate::behaviour::Behaviour;
use crate::digest::Login;
use crate::net::InFlight;
use crate::settings::DOMAIN;
use crate::sip::{Sip, uri_in};
use crate::state::State;

/// How long an agent waits for a message that a test expects: longer than the delay of the network, shorter than T1.
const SOON: Duration = Duration::from_millis(100);

/// One phone of a user, or another peer.
#[derive(Clone)]
pub struct Agent {
    state: Rc<RefCell<State>>,
    id: usize,
    name: String,
    transport: Transport,
    /// The address in its Contact and Via.
    pub address: SocketAddr,
    /// Its Contact, if that is not its address.
    named: Option<Rc<str>>,
    /// How many requests and branches it has created; the number makes the next one unique.
    made: Rc<Cell<u32>>,
}

impl Agent {
    pub(crate) fn new(state: Rc<RefCell<State>>, id: usize, name: &str, transport: Transport) -> Self {
        let address = state.borrow().agents[id].address;
        Self { state, id, name: name.replace('/', "-"), transport, address, named: None, made: Rc::default() }
    }

    /// The user, which is the part of the agent's name before the `/`.
    pub fn user(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// The user's address of record.
    pub fn aor(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.user())
    }

    /// The URI of this phone.
    pub fn contact(&self) -> String {
        if let Some(named) = &self.named {
            return String::from(&**named);
        }
        let (scheme, transport) = match self.transport {
            Transport::Tls => ("sips", ""),
            Transport::Tcp => ("sip", ";transport=tcp"),
            _ => ("sip", ""),
        };
        format!("{scheme}:{}@{}{transport}", self.user(), self.address)
    }

    // Messages that it sends.

    /// Sends a message to the server.
    pub fn sends(&self, sip: &Sip) {
        self.sends_raw(sip.bytes());
    }

    /// Sends these bytes to the server.
    pub fn sends_raw(&self, bytes: impl Into<Vec<u8>>) {
        self.state.borrow_mut().agent_sends(self.id, bytes.into().into());
    }

    /// A request outside of a dialog, from this user.
    pub fn request(&self, method: &str, uri: &str) -> Sip {
        let number = self.next_number();
        let name = &self.name;
        let request = Sip::new(format!("{method} {uri} SIP/2.0"))
            .with("Via", self.via())
            .with("Max-Forwards", 70)
            .with("From", format_args!("<{}>;tag={name}{number}", self.aor()))
            .with("To", format_args!("<{uri}>"))
            .with("Call-ID", format_args!("{name}{number}@{}", self.address.ip()))
            .with("CSeq", format_args!("{number} {method}"))
            .with("Contact", format_args!("<{}>", self.contact()));
        request.with("Content-Length", 0)
    }

    /// Sends a request, and sends it again with credentials when it is challenged. Returns the second request. Panics
    /// if there is no challenge.
    pub fn authenticates(&self, login: Login<'_>, request: &Sip) -> Sip {
        self.sends(request);
        let refused = self.next_message();
        let header = match refused.status() {
            Some(401) => "Authorization",
            Some(407) => "Proxy-Authorization",
            _ => panic!("{} expects a challenge and receives\n{refused}\n{}", self.name, self.transcript()),
        };
        if request.what() == "INVITE" {
            self.acks(request, &refused);
        }
        let again = request.clone().set("Via", self.via());
        let again = again.clone().with(header, login.answer(&refused, "SHA-256", &again, 1));
        self.sends(&again);
        again
    }

    /// Registers this phone with credentials. Panics if this fails.
    pub fn signs_in(&self, login: Login<'_>) {
        self.authenticates(login, &self.register());
        self.expects("200");
    }

    /// A Via value with a branch that this agent has not used before.
    pub fn via(&self) -> String {
        let transport = self.transport.as_str();
        format!("SIP/2.0/{transport} {};branch=z9hG4bK-{}-{};rport", self.address, self.name, self.next_number())
    }

    /// The same request as a new transaction (RFC 3261 22.2): with a new branch and the next CSeq number.
    pub fn again(&self, request: &Sip) -> Sip {
        let number = cseq(request, 1, request.what());
        request.clone().set("Via", self.via()).set("CSeq", number)
    }

    /// Sends an INVITE to a URI.
    pub fn invites(&self, uri: &str) -> Sip {
        let invite = self.request("INVITE", uri);
        self.sends(&invite);
        invite
    }

    /// Calls a user of the local domain.
    pub fn calls(&self, user: &str) -> Sip {
        self.invites(&format!("sip:{user}@{DOMAIN}"))
    }

    /// Calls a user who has exactly these phones. Returns the INVITE as sent, and the INVITE that each phone received.
    pub fn calls_phones<const N: usize>(&self, user: &str, phones: [&Self; N]) -> (Sip, [Sip; N]) {
        let invite = self.calls(user);
        self.expects("100");
        (invite, phones.map(|phone| phone.expects("INVITE")))
    }

    /// A REGISTER for this phone; the Call-ID stays the same.
    pub fn register(&self) -> Sip {
        self.request("REGISTER", &format!("sip:{DOMAIN}"))
            .set("To", format_args!("<{}>", self.aor()))
            .set("Call-ID", format_args!("register-{}", self.name))
    }

    /// Registers this phone. Panics if this fails.
    pub fn registers(&self) {
        self.registers_with("");
    }

    /// Registers this phone with parameters in its Contact. Panics if this fails.
    pub fn registers_with(&self, params: &str) {
        self.sends(&self.register().set("Contact", format_args!("<{}>{params}", self.contact())));
        self.expects("200");
    }

    /// This agent's response to a request.
    pub fn answer(&self, request: &Sip, status: u16) -> Sip {
        let reason = parser::reason_phrase(status);
        let mut response = Sip::new(format!("SIP/2.0 {status} {reason}"));
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            response = request.values(name).fold(response, |response, value| response.with(name, value));
        }
        if status > 100 && request.param("To", "tag").is_none() {
            let to = format!("{};tag={}", request.value("To"), self.name);
            response = response.set("To", to);
        }
        if request.what() == "INVITE" && (101..400).contains(&status) {
            response = response.with("Contact", format_args!("<{}>", self.contact()));
        }
        response.with("Content-Length", 0)
    }

    /// Answers a request.
    pub fn answers(&self, request: &Sip, status: u16) -> Sip {
        let response = self.answer(request, status);
        self.sends(&response);
        response
    }

    /// The CANCEL of its INVITE.
    pub fn cancel(&self, invite: &Sip) -> Sip {
        hop_by_hop("CANCEL", invite, invite.value("To"))
    }

    /// Cancels its INVITE.
    pub fn cancels(&self, invite: &Sip) -> Sip {
        let cancel = self.cancel(invite);
        self.sends(&cancel);
        cancel
    }

    /// Sends the ACK of a final response: hop by hop for a failure response, within the dialog for a 2xx.
    pub fn acks(&self, invite: &Sip, response: &Sip) -> Sip {
        let ack = match response.status() {
            Some(200..300) => self.within(invite, response, "ACK").set("CSeq", cseq(invite, 0, "ACK")),
            _ => hop_by_hop("ACK", invite, response.value("To")),
        };
        self.sends(&ack);
        ack
    }

    /// A request of the caller within the dialog that an INVITE and its 2xx created (RFC 3261 12.2.1.1).
    pub fn within(&self, invite: &Sip, ok: &Sip, method: &str) -> Sip {
        self.in_dialog(uri_in(ok.value("Contact")), ok.values("Record-Route").rev(), method)
            .set("From", invite.value("From"))
            .set("To", ok.value("To"))
            .set("Call-ID", invite.value("Call-ID"))
            .set("CSeq", cseq(invite, 1, method))
    }

    /// A request of the callee within the dialog that an INVITE and its 2xx created.
    pub fn within_as_callee(&self, invite: &Sip, ok: &Sip, method: &str) -> Sip {
        self.in_dialog(uri_in(invite.value("Contact")), ok.values("Record-Route"), method)
            .set("From", ok.value("To"))
            .set("To", invite.value("From"))
            .set("Call-ID", invite.value("Call-ID"))
    }

    fn in_dialog<'a>(&self, uri: &str, routes: impl Iterator<Item = &'a str>, method: &str) -> Sip {
        routes.fold(self.request(method, uri), |request, route| request.with("Route", route))
    }

    // Messages that it receives.

    /// The next message, which must arrive now and be of this kind: a method or a status code.
    pub fn expects(&self, what: &str) -> Sip {
        match self.next_message_if_any() {
            Some(sip) if sip.what() == what => sip,
            Some(sip) => panic!("{} expects {what} and receives\n{sip}\n{}", self.name, self.transcript()),
            None => panic!("{} expects {what} and receives nothing\n{}", self.name, self.transcript()),
        }
    }

    /// Checks that no message arrives now.
    pub fn receives_nothing(&self) {
        if let Some(sip) = self.next_message_if_any() {
            panic!("{} expects nothing and receives\n{sip}\n{}", self.name, self.transcript());
        }
    }

    /// The next message, which must arrive now.
    pub fn next_message(&self) -> Sip {
        self.next_message_if_any().unwrap_or_else(|| panic!("{} receives nothing\n{}", self.name, self.transcript()))
    }

    /// All messages that have arrived and that the script has not read.
    pub fn all_received(&self) -> Vec<Sip> {
        self.state.borrow_mut().agents[self.id].inbox.drain(..).collect()
    }

    /// The next message, if one arrives now.
    pub fn next_message_if_any(&self) -> Option<Sip> {
        let mut state = self.state.borrow_mut();
        let end = state.now + u64::try_from(SOON.as_micros()).expect("a short time");
        loop {
            if let Some(sip) = state.agents[self.id].inbox.pop_front() {
                return Some(sip);
            }
            if !state.step(end) {
                state.now = end;
                return None;
            }
        }
    }

    // Where it is in the network.

    /// From now on its packets arrive at the socket of this worker.
    pub fn reaches_worker(&self, worker: usize) -> &Self {
        self.state.borrow_mut().agents[self.id].worker = worker;
        self
    }

    /// From now on it sends to this node.
    pub fn reaches_node(&self, node: usize) -> &Self {
        self.reaches_worker(node)
    }

    /// Moves it to this address, which its Via and Contact contain from now on.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        let mut state = self.state.borrow_mut();
        let agent = &mut state.agents[self.id];
        (agent.address, agent.source) = (address, address);
        drop(state);
        self
    }

    /// Gives it this Contact, which leads to it by its host name.
    #[must_use]
    pub fn named(mut self, contact: &str) -> Self {
        self.named = Some(contact.into());
        self.state.borrow_mut().agents[self.id].contact.clone_from(&self.named);
        self
    }

    /// While it is disconnected, its host reports each datagram that it cannot deliver.
    pub fn reports_failures(&self) {
        self.state.borrow_mut().agents[self.id].reports = true;
    }

    /// From now on its packets have this source address, as behind a NAT. Its Via and Contact do not change.
    pub fn sends_from(&self, source: SocketAddr) -> &Self {
        self.state.borrow_mut().agents[self.id].source = source;
        self
    }

    /// Its packets are never delayed by seconds.
    pub fn is_never_late(&self) {
        self.state.borrow_mut().net.never_late.push(self.id);
    }

    /// The random numbers for its packets come from a generator of their own, so what it sends does not change what
    /// happens to the packets of others.
    pub fn has_own_random(&self) {
        self.state.borrow_mut().net.with_own_random.push(self.id);
    }

    /// From now on nothing reaches it, and connections to it are refused.
    pub fn is_unplugged(&self) {
        let mut state = self.state.borrow_mut();
        state.agents[self.id].plugged = false;
        state.net.disconnect(self.id);
    }

    /// Closes its connections. It still accepts new ones.
    pub fn disconnects(&self) {
        self.state.borrow_mut().net.disconnect(self.id);
    }

    /// Its index among the agents of its simulation.
    pub fn id(&self) -> usize {
        self.id
    }

    // What it does without a script.

    /// From now on this behaviour reacts to what the agent receives.
    pub fn acts_as(&self, behaviour: impl Behaviour + 'static) {
        self.state.borrow_mut().agents[self.id].behaviour = Some(Box::new(behaviour));
    }

    /// Calls [`Behaviour::on_timer`] with this token after so many microseconds.
    pub fn set_timer(&self, micros: u64, token: u64) {
        let mut state = self.state.borrow_mut();
        let at = state.now + micros;
        state.net.at(at, InFlight::Timer { agent: self.id, token });
    }

    fn next_number(&self) -> u32 {
        self.made.set(self.made.get() + 1);
        self.made.get()
    }

    fn transcript(&self) -> String {
        self.state.borrow().transcript()
    }
}

/// The CANCEL of an INVITE, or the ACK of a failure response to it (RFC 3261 9.1, 17.1.1.3).
pub fn hop_by_hop(method: &str, invite: &Sip, to: &str) -> Sip {
    let request = Sip::new(format!("{method} {} SIP/2.0", invite.uri())).with("Via", invite.value("Via"));
    let request = invite.values("Route").fold(request, |request, route| request.with("Route", route));
    request
        .with("Max-Forwards", 70)
        .with("From", invite.value("From"))
        .with("To", to)
        .with("Call-ID", invite.value("Call-ID"))
        .with("CSeq", cseq(invite, 0, method))
        .with("Content-Length", 0)
}

/// The CSeq value of the request that comes `later` requests after an INVITE.
pub fn cseq(invite: &Sip, later: u32, method: &str) -> impl Display + use<> {
    let number: u32 = invite.value("CSeq").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    format!("{} {method}", number + later)
}
