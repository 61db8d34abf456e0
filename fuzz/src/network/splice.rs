//! Combines two messages of a call into a third one, which is sent from another address: a captured message must not
//! permit anything to anybody else.
//!
//! Alice and Bob register, Bob with one phone or two. Alice calls Bob with credentials, and the call rings, is
//! answered, or is refused. Then the input is read as a program that makes a message of those that were sent, and an
//! address that takes no part in the call sends it. These properties are checked: the server sends messages only back
//! to that address, unless strangers may call and it is such a call; a response is at most three times as long as the
//! message; and the call continues as if the message had not been sent.

mod text;

use std::net::SocketAddr;

use bytes::Bytes;
use parser::Message;

use super::{DOMAIN, Network, md5, secret};

use text::{address, is, lines, request, response, set, set_method, set_uri, take_lines, values, via, within, word};

/// The headers that a program can name, by their number.
const NAMES: [&str; 12] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Proxy-Authorization",
    "Authorization",
    "Record-Route",
    "Max-Forwards",
    "Content-Type",
    "Route",
];
const METHODS: [&str; 12] = [
    "INVITE",
    "BYE",
    "ACK",
    "CANCEL",
    "MESSAGE",
    "REGISTER",
    "UPDATE",
    "REFER",
    "INFO",
    "OPTIONS",
    "SUBSCRIBE",
    "NOTIFY",
];
const STATUSES: [&str; 7] = ["100 Trying", "180 Ringing", "200 OK", "302 Moved", "407 Challenge", "486 Busy", "603 No"];

/// The phones that take no part in the call, see [`Network::send_from_phone`].
const OUTSIDERS: [u8; 3] = [6, 7, 5];

/// The state of the call when the spliced message is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ringing,
    Answered,
    Refused,
}

/// A network and a call in it.
struct Call {
    network: Network,
    /// The number of Alice's phone.
    alice: u8,
    /// The number of the phone of Bob that rings.
    bob: u8,
    /// Whether strangers may call.
    strangers: bool,
    phase: Phase,
    /// All messages that were sent, and the BYE that will be sent next.
    messages: Vec<String>,
    /// The INVITE with credentials, as Alice sent it.
    invite: String,
    /// The same INVITE as Bob's phone received it.
    received_invite: String,
    /// The BYE of Alice, which has not been sent yet.
    bye: String,
    /// The newest nonce.
    nonce: String,
}

/// Runs an input: an octet that selects the kind of call, an octet that selects the sender, and a program.
pub fn splice(input: &[u8]) {
    let Some((&[options, sender], program)) = input.split_first_chunk() else { return };
    let mut call = Call::new(options);
    let spliced = call.spliced(sender, program);
    call.send_spliced(sender, &spliced);
    call.check_that_it_continues();
    call.network.finish();
}

impl Call {
    /// Sets the call up. Bits of `options`: 0: the phones of a user are called one after the other; 1: strangers may
    /// call; 2: Alice uses TCP; 3: Bob uses TCP; 4: the call is answered; 5: it is refused; 6: Bob has a second phone.
    fn new(options: u8) -> Self {
        let is = |bit: u8| options & 1 << bit != 0;
        // The bits of `settings`: authentication is always required.
        let network = Network::new(0b10 | u8::from(is(0)) << 2 | u8::from(is(1)) << 4);
        let (alice, bob) = (u8::from(is(2)), 2 + u8::from(is(3)));
        let phase = if is(4) {
            Phase::Answered
        } else if is(5) {
            Phase::Refused
        } else {
            Phase::Ringing
        };
        let (messages, [invite, received_invite, bye, nonce]) = (Vec::new(), Default::default());
        let strangers = is(1);
        let mut call = Self { network, alice, bob, strangers, phase, messages, invite, received_invite, bye, nonce };
        call.register(alice, "alice");
        call.register(bob, "bob");
        if is(6) {
            call.register(4, "bob");
        }
        call.set_up();
        call
    }

    fn register(&mut self, phone: u8, user: &str) {
        let uri = format!("sip:{DOMAIN}");
        let register = request("REGISTER", &uri, phone, &format!("reg{phone}"), ("alice", ""), (user, ""));
        self.send_with_credentials(phone, &register);
    }

    /// Alice calls, and Bob's phone responds as the phase requires.
    fn set_up(&mut self) {
        let invite =
            request("INVITE", &format!("sip:bob@{DOMAIN}"), self.alice, "call", ("alice", ";tag=a"), ("bob", ""));
        let (invite, out) = self.send_with_credentials(self.alice, &invite);
        let to_bob = |(to, text): &&(SocketAddr, String)| *to == address(self.bob) && text.starts_with("INVITE");
        let received = out.iter().find(to_bob).map(|(_, text)| text.clone()).unwrap_or_default();
        // If the phones are called one after the other, the second one may be the first to be called.
        let received = if received.is_empty() {
            self.bob = 4;
            out.iter()
                .find(|(to, _)| *to == address(4))
                .map(|(_, text)| text.clone())
                .expect("a phone of Bob is called")
        } else {
            received
        };
        self.invite = invite;
        self.received_invite = received;
        self.send(self.bob, &response(&self.received_invite, "180 Ringing", self.bob));
        match self.phase {
            Phase::Ringing => {}
            Phase::Refused => {
                self.send(self.bob, &response(&self.received_invite, "486 Busy Here", self.bob));
            }
            Phase::Answered => {
                let out = self.send(self.bob, &response(&self.received_invite, "200 OK", self.bob));
                let ok = out.iter().find(|(to, _)| *to == address(self.alice)).map(|(_, text)| text.clone());
                let ok = ok.expect("Alice receives the 200");
                let ack = within(&ok, "ACK", self.alice);
                assert!(self.arrives(self.alice, &ack, self.bob, "ACK"), "Bob receives the ACK");
                // Most phones put credentials into every request. Those that the server has not seen yet must be as
                // useless.
                self.bye = self.with_credentials(&within(&ok, "BYE", self.alice), "Proxy-Authorization", 2);
                self.messages.push(self.bye.clone());
            }
        }
    }

    /// Sends a request, and then again with credentials for the challenge. Returns the second request, and the messages
    /// that the server sent because of it.
    fn send_with_credentials(&mut self, phone: u8, text: &str) -> (String, Vec<(SocketAddr, String)>) {
        let out = self.send(phone, text);
        let (_, refused) = out.first().expect("the server challenges the request");
        let header = if refused.contains("\nWWW-Authenticate") { "Authorization" } else { "Proxy-Authorization" };
        let nonce = refused.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        self.nonce = nonce.to_owned();
        let again = text.replace("branch=z9hG4bK", "branch=z9hG4bKx").replace("CSeq: 1 ", "CSeq: 2 ");
        let again = self.with_credentials(&again, header, 1);
        let out = self.send(phone, &again);
        (again, out)
    }

    /// A request with the credentials of Alice for the newest nonce.
    fn with_credentials(&self, text: &str, header: &str, nc: u8) -> String {
        let (method, uri, nonce) = (word(text, 0), word(text, 1), &self.nonce);
        let a1 = md5(secret().as_bytes());
        let a2 = md5(format!("{method}:{uri}").as_bytes());
        let response = md5(format!("{a1}:{nonce}:{nc:08x}:c:auth:{a2}").as_bytes());
        let line = format!(
            "{header}: Digest username=\"alice\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"c\", qop=auth, nc={nc:08x}\r\n"
        );
        let at = text.find("\r\n").map_or(0, |end| end + 2);
        format!("{}{line}{}", &text[..at], &text[at..])
    }

    /// A phone sends a message. Returns the messages that the server sends because of it, with their destinations.
    fn send(&mut self, phone: u8, text: &str) -> Vec<(SocketAddr, String)> {
        self.network.sent.clear();
        self.network.send_from_phone(phone, Bytes::copy_from_slice(text.as_bytes()));
        let out = self.sent();
        self.messages.push(text.to_owned());
        self.messages.extend(out.iter().map(|(_, text)| text.clone()));
        out
    }

    fn sent(&mut self) -> Vec<(SocketAddr, String)> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.network.sent.iter().rev().map(|sent| (sent.hop.remote, text(&sent.bytes))).collect()
    }

    /// Whether another phone receives a message that starts with `start` when a phone sends `text`.
    fn arrives(&mut self, from: u8, text: &str, to: u8, start: &str) -> bool {
        let out = self.send(from, text);
        // A connection of a phone has the same port as its Contact.
        out.iter().any(|(remote, text)| *remote == address(to) && text.starts_with(start))
    }

    /// The message that the program makes. The program starts with the numbers of two messages: the one that is
    /// changed, and the one that lines are taken from. Pairs of an operation and its argument follow.
    fn spliced(&self, sender: u8, program: &[u8]) -> Vec<u8> {
        let mut program = program.iter().copied();
        let mut next = || program.next().unwrap_or_default();
        let pick = |number: u8| self.messages[usize::from(number) % self.messages.len()].as_str();
        let mut sip = lines(pick(next()));
        let mut other = lines(pick(next()));
        for _ in 0..16 {
            let (operation, argument) = (next(), usize::from(next()));
            let name = NAMES[argument % NAMES.len()];
            match operation {
                0 => break,
                1 => other = lines(pick(argument as u8)),
                2 => take_lines(&mut sip, &other, name),
                3 => sip.retain(|line| !is(line, name)),
                4 => sip[0] = other[0].clone(),
                5 => set_method(&mut sip, METHODS[argument % METHODS.len()]),
                6 => {
                    let uri = self.uri(argument, sender, &other);
                    set_uri(&mut sip, &uri);
                }
                7 => {
                    let user = ["alice", "bob", "door", "someone"][argument % 4];
                    let host = if argument & 4 == 0 { DOMAIN } else { "elsewhere.example" };
                    let tag = if argument & 8 == 0 { ";tag=a" } else { "" };
                    set(&mut sip, if argument & 16 == 0 { "From" } else { "To" }, &format!("<sip:{user}@{host}>{tag}"));
                }
                8 => {
                    let mut routes: Vec<String> = values(&other, "Record-Route").map(str::to_owned).collect();
                    if argument & 1 != 0 {
                        routes.reverse();
                    }
                    let at = sip.len().min(1);
                    sip.splice(at..at, routes.into_iter().map(|route| format!("Route: {route}")));
                }
                9 => set(&mut sip, "Via", &via(sender % 8, argument)),
                10 => set(&mut sip, "Contact", &format!("<sip:x@{}>", address(OUTSIDERS[usize::from(sender) % 3]))),
                11 => sip[0] = format!("SIP/2.0 {}", STATUSES[argument % STATUSES.len()]),
                12 => sip.push("Subject: x".to_owned()),
                // A line is replaced by octets of the program.
                13 => {
                    let raw: Vec<u8> = (0..argument % 32).map(|_| next()).collect();
                    let at = usize::from(next()) % sip.len();
                    sip[at] = String::from_utf8_lossy(&raw).into_owned();
                }
                _ => {}
            }
        }
        let mut text = sip.join("\r\n").into_bytes();
        text.extend_from_slice(b"\r\n\r\n");
        text
    }

    fn uri(&self, which: usize, sender: u8, other: &[String]) -> String {
        match which % 8 {
            0 => format!("sip:bob@{DOMAIN}"),
            1 => format!("sip:bob@{}", address(self.bob)),
            2 => format!("sip:alice@{}", address(self.alice)),
            3 => "sip:x@203.0.113.9".to_owned(),
            4 => format!("sip:x@{}", address(OUTSIDERS[usize::from(sender) % 3])),
            5 => format!("sip:{DOMAIN}"),
            6 => format!("sip:door@{DOMAIN}"),
            // The Record-Route value of the server, as a strict router would send it (RFC 3261 16.4).
            _ => {
                let route = values(other, "Record-Route").next().unwrap_or_default();
                route.trim_matches(['<', '>']).to_owned()
            }
        }
    }

    /// A phone that takes no part in the call sends the message.
    fn send_spliced(&mut self, sender: u8, text: &[u8]) {
        let phone = OUTSIDERS[usize::from(sender) % OUTSIDERS.len()];
        let is_stream = phone & 1 != 0;
        self.network.sent.clear();
        self.network.send_from_phone(phone | sender & 8, Bytes::copy_from_slice(text));
        for (remote, sent) in self.sent() {
            let is_to_sender = remote.ip() == address(phone).ip();
            let is_request = Message::parse(Bytes::copy_from_slice(sent.as_bytes())).is_ok_and(|sip| sip.is_request());
            assert!(
                is_to_sender && !is_request || self.strangers && is_call_of_a_stranger(&sent),
                "sent to {remote}:\n{sent}because of\n{}",
                String::from_utf8_lossy(text)
            );
            // Over UDP the source address may be forged, so the response must not amplify.
            let is_bounded = is_stream || sent.len() <= 3 * text.len();
            assert!(is_request || is_bounded, "{} octets in response to {}:\n{sent}", sent.len(), text.len());
        }
    }

    /// The call continues: the next message of each phase arrives.
    fn check_that_it_continues(&mut self) {
        let (alice, bob) = (self.alice, self.bob);
        match self.phase {
            Phase::Ringing => {
                let ok = response(&self.received_invite, "200 OK", bob);
                assert!(self.arrives(bob, &ok, alice, "SIP/2.0 200"), "Alice receives the 200");
            }
            Phase::Answered => {
                let bye = self.bye.clone();
                assert!(self.arrives(alice, &bye, bob, "BYE"), "Bob receives the BYE");
            }
            Phase::Refused => {
                let ack = self.invite.replacen("INVITE", "ACK", 1).replace(" INVITE\r\n", " ACK\r\n");
                let ack = ack.replace("To: <sip:bob@office.example>", "To: <sip:bob@office.example>;tag=b");
                self.send(alice, &ack);
            }
        }
    }
}

/// Whether it is a request that strangers may send: its From is not of the server's domain, and its destination is a
/// phone of a user.
fn is_call_of_a_stranger(text: &str) -> bool {
    let sip = lines(text);
    let from = values(&sip, "From").next().unwrap_or_default();
    let ours = [DOMAIN, "192.0.2.1>", "192.0.2.1:", "192.0.2.1;"].iter().any(|own| from.contains(own));
    let to_phone = ["bob@192.0.2.", "door@192.0.2.", "alice@192.0.2."].iter().any(|own| word(text, 1).contains(own));
    !text.starts_with("SIP/2.0") && !ours && to_phone && !sip.iter().any(|line| is(line, "Route"))
}
