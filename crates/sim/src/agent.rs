//! A scripted agent: what a phone says and what it expects, one line each.
//!
//! An agent does nothing by itself: no retransmission, no ACK, no answer. Everything that happens stands in the script.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use parser::Transport;

use crate::digest::Login;
use crate::net::Parcel;
use crate::settings::DOMAIN;
use crate::sip::{Sip, uri_in};
use crate::state::State;
use crate::watch::Robot;

/// How long an agent waits for what it expects: longer than any way through the network, shorter than T1.
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
    /// How many names it made up; what tells requests apart.
    made: Rc<Cell<u32>>,
}

impl Agent {
    pub(crate) fn new(state: Rc<RefCell<State>>, id: usize, name: &str, transport: Transport) -> Self {
        let address = state.borrow().agents[id].address;
        Self { state, id, name: name.replace('/', "-"), transport, address, made: Rc::default() }
    }

    /// The user's name: what stands before the `/` of the agent's.
    pub fn user(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// The user's address of record.
    pub fn aor(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.user())
    }

    /// The URI of this phone.
    pub fn contact(&self) -> String {
        let (scheme, transport) = match self.transport {
            Transport::Tls => ("sips", ""),
            Transport::Tcp => ("sip", ";transport=tcp"),
            _ => ("sip", ""),
        };
        format!("{scheme}:{}@{}{transport}", self.user(), self.address)
    }

    // What it says.

    /// Sends a message to the server.
    pub fn sends(&self, sip: &Sip) {
        self.sends_raw(sip.bytes());
    }

    /// Sends these bytes to the server.
    pub fn sends_raw(&self, bytes: impl Into<Vec<u8>>) {
        self.state.borrow_mut().agent_sends(self.id, bytes.into().into());
    }

    /// A request that begins something, in the user's name.
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

    /// Sends a request, and again with credentials when it is challenged, which must be soon. Returns what was sent last.
    pub fn proves(&self, login: Login<'_>, request: &Sip) -> Sip {
        self.sends(request);
        let refused = self.heard_soon();
        let header = match refused.status() {
            Some(401) => "Authorization",
            Some(407) => "Proxy-Authorization",
            _ => panic!("{} expects a challenge and hears\n{refused}\n{}", self.name, self.transcript()),
        };
        if request.what() == "INVITE" {
            self.acks(request, &refused);
        }
        let again = request.clone().set("Via", self.via());
        let again = again.clone().with(header, login.answer(&refused, "SHA-256", &again, 1));
        self.sends(&again);
        again
    }

    /// Registers this phone with credentials, which works.
    pub fn signs_in(&self, login: Login<'_>) {
        self.proves(login, &self.register());
        self.expects("200");
    }

    /// The value of a Via of this agent, with a branch that it never used before.
    pub fn via(&self) -> String {
        let transport = self.transport.as_str();
        format!("SIP/2.0/{transport} {};branch=z9hG4bK-{}-{};rport", self.address, self.name, self.next_number())
    }

    /// The same request once more, as a new one (RFC 3261 22.2): with another branch and the next CSeq number.
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

    /// Calls a user of the office.
    pub fn calls(&self, user: &str) -> Sip {
        self.invites(&format!("sip:{user}@{DOMAIN}"))
    }

    /// Calls a user who has these phones, which all hear of it: the INVITE, and as each of them got it.
    pub fn rings<const N: usize>(&self, user: &str, phones: [&Self; N]) -> (Sip, [Sip; N]) {
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

    /// Registers this phone, which works.
    pub fn registers(&self) {
        self.registers_with("");
    }

    /// Registers this phone with parameters in its Contact, which works.
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

    /// Acknowledges a final response: one that failed on the way of its INVITE, a 2xx in its dialog.
    pub fn acks(&self, invite: &Sip, response: &Sip) -> Sip {
        let ack = match response.status() {
            Some(200..300) => self.within(invite, response, "ACK").set("CSeq", cseq(invite, 0, "ACK")),
            _ => hop_by_hop("ACK", invite, response.value("To")),
        };
        self.sends(&ack);
        ack
    }

    /// A request of the caller in the dialog that an INVITE and its 2xx made (RFC 3261 12.2.1.1).
    pub fn within(&self, invite: &Sip, ok: &Sip, method: &str) -> Sip {
        self.in_dialog(uri_in(ok.value("Contact")), ok.values("Record-Route").rev(), method)
            .set("From", invite.value("From"))
            .set("To", ok.value("To"))
            .set("Call-ID", invite.value("Call-ID"))
            .set("CSeq", cseq(invite, 1, method))
    }

    /// A request of the callee in the dialog that an INVITE and his 2xx made.
    pub fn back_within(&self, invite: &Sip, ok: &Sip, method: &str) -> Sip {
        self.in_dialog(uri_in(invite.value("Contact")), ok.values("Record-Route"), method)
            .set("From", ok.value("To"))
            .set("To", invite.value("From"))
            .set("Call-ID", invite.value("Call-ID"))
    }

    fn in_dialog<'a>(&self, uri: &str, routes: impl Iterator<Item = &'a str>, method: &str) -> Sip {
        routes.fold(self.request(method, uri), |request, route| request.with("Route", route))
    }

    // What it hears.

    /// The next message it hears, which must come soon and be this: a method or a status code.
    pub fn expects(&self, what: &str) -> Sip {
        match self.hears_soon() {
            Some(sip) if sip.what() == what => sip,
            Some(sip) => panic!("{} expects {what} and hears\n{sip}\n{}", self.name, self.transcript()),
            None => panic!("{} expects {what} and hears nothing\n{}", self.name, self.transcript()),
        }
    }

    /// Nothing that comes soon.
    pub fn hears_nothing(&self) {
        if let Some(sip) = self.hears_soon() {
            panic!("{} expects nothing and hears\n{sip}\n{}", self.name, self.transcript());
        }
    }

    /// The next message it hears, which must come soon.
    pub fn heard_soon(&self) -> Sip {
        self.hears_soon().unwrap_or_else(|| panic!("{} hears nothing\n{}", self.name, self.transcript()))
    }

    /// All that has come and was not expected.
    pub fn heard(&self) -> Vec<Sip> {
        self.state.borrow_mut().agents[self.id].inbox.drain(..).collect()
    }

    /// The next message it hears, if one comes soon.
    pub fn hears_soon(&self) -> Option<Sip> {
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

    // Where it is.

    /// Its packets reach the socket of this worker.
    pub fn lands_on(&self, worker: usize) -> &Self {
        self.state.borrow_mut().agents[self.id].worker = worker;
        self
    }

    /// It is at this address, and says so.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        let mut state = self.state.borrow_mut();
        let agent = &mut state.agents[self.id];
        (agent.address, agent.source) = (address, address);
        drop(state);
        self
    }

    /// Its packets come from here, as behind a NAT.
    pub fn appears_at(&self, source: SocketAddr) -> &Self {
        self.state.borrow_mut().agents[self.id].source = source;
        self
    }

    /// Its packets may be slow, but never for seconds.
    pub fn is_near(&self) {
        self.state.borrow_mut().net.near.push(self.id);
    }

    /// What happens to its packets changes nothing of what happens to those of others.
    pub fn is_apart(&self) {
        self.state.borrow_mut().net.apart.push(self.id);
    }

    /// It hears nothing any more; who connects to it is refused.
    pub fn is_unplugged(&self) {
        let mut state = self.state.borrow_mut();
        state.agents[self.id].plugged = false;
        state.net.disconnect(self.id);
    }

    /// Its connections close; it still listens.
    pub fn disconnects(&self) {
        self.state.borrow_mut().net.disconnect(self.id);
    }

    /// Its index among the agents of its world.
    pub fn id(&self) -> usize {
        self.id
    }

    // What it does by itself.

    /// From now on this robot acts for the agent.
    pub fn becomes(&self, robot: impl Robot + 'static) {
        self.state.borrow_mut().agents[self.id].robot = Some(Box::new(robot));
    }

    /// Its robot is woken with this token after so many microseconds.
    pub fn is_woken(&self, micros: u64, token: u64) {
        let mut state = self.state.borrow_mut();
        let at = state.now + micros;
        state.net.at(at, Parcel::Wake { agent: self.id, token });
    }

    fn next_number(&self) -> u32 {
        self.made.set(self.made.get() + 1);
        self.made.get()
    }

    fn transcript(&self) -> String {
        self.state.borrow().transcript()
    }
}

/// The CANCEL of an INVITE, or the ACK of its failure (RFC 3261 9.1, 17.1.1.3).
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

/// The CSeq of a request that comes `later` requests after an INVITE.
pub fn cseq(invite: &Sip, later: u32, method: &str) -> impl Display + use<> {
    let number: u32 = invite.value("CSeq").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    format!("{} {method}", number + later)
}
