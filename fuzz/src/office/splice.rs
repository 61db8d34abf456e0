//! Two messages of a dialog spliced into a third, which comes from somebody else: issue 12, "owning a captured message gives
//! nothing".
//!
//! Alice registers, and bob with one phone or two; she calls him with credentials, and it rings, or is answered, or refused.
//! Then the input says how a message is made of those that were on the wire, and an address that is none of theirs sends it.
//! What must be so: nothing of it goes anywhere but back to its sender, unless strangers may call and it is such a call; an
//! answer to it is no longer than three times as long; and the call goes on as if it had never come.

mod text;

use std::net::SocketAddr;

use bytes::Bytes;
use parser::Message;

use super::{DOMAIN, Office, hex, secret};

use text::{address, is, lines, request, response, set, set_method, set_uri, take, values, via, within, word};

/// What an input can name. `Route` is last, so that an input with small numbers does most.
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

/// Phones as `Office::says` numbers them: even ones speak UDP, odd ones TCP.
const OUTSIDERS: [u8; 3] = [6, 7, 5];

/// How far the call is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ringing,
    Answered,
    Refused,
}

/// The office with a call in it.
struct Call {
    office: Office,
    alice: u8,
    bob: u8,
    strangers: bool,
    phase: Phase,
    /// Everything that was on the wire, and what comes next.
    wire: Vec<String>,
    /// The INVITE that was not challenged, and as it reached bob.
    invite: String,
    rings: String,
    /// What ends the call and was not sent yet.
    bye: String,
    /// The newest nonce.
    nonce: String,
}

/// Splices as the input says, and sends the result.
pub fn splice(input: &[u8]) {
    let Some((&[manners, sender], program)) = input.split_first_chunk() else { return };
    let mut call = Call::new(manners);
    let spliced = call.spliced(sender, program);
    call.comes(sender, &spliced);
    call.goes_on();
    call.office.close();
}

impl Call {
    fn new(manners: u8) -> Self {
        let is = |bit: u8| manners & 1 << bit != 0;
        // Credentials are asked for; one phone after another, and whether strangers may call, as `settings` reads it.
        let office = Office::new(0b10 | u8::from(is(0)) << 2 | u8::from(is(1)) << 4);
        let (alice, bob) = (u8::from(is(2)), 2 + u8::from(is(3)));
        let phase = if is(4) {
            Phase::Answered
        } else if is(5) {
            Phase::Refused
        } else {
            Phase::Ringing
        };
        let (wire, [invite, rings, bye, nonce]) = (Vec::new(), Default::default());
        let mut call = Self { office, alice, bob, strangers: is(1), phase, wire, invite, rings, bye, nonce };
        call.register(alice, "alice");
        call.register(bob, "bob");
        if is(6) {
            call.register(4, "bob");
        }
        call.begins();
        call
    }

    fn register(&mut self, phone: u8, user: &str) {
        let uri = format!("sip:{DOMAIN}");
        let register = request("REGISTER", &uri, phone, &format!("reg{phone}"), ("alice", ""), (user, ""));
        self.proves(phone, &register);
    }

    /// Alice calls, and bob does what the phase says.
    fn begins(&mut self) {
        let invite =
            request("INVITE", &format!("sip:bob@{DOMAIN}"), self.alice, "call", ("alice", ";tag=a"), ("bob", ""));
        let (invite, out) = self.proves(self.alice, &invite);
        let to_bob = |(to, text): &&(SocketAddr, String)| *to == address(self.bob) && text.starts_with("INVITE");
        let rings = out.iter().find(to_bob).map(|(_, text)| text.clone()).unwrap_or_default();
        // A group may begin with the other phone; then that one is called.
        let rings = if rings.is_empty() {
            self.bob = 4;
            out.iter().find(|(to, _)| *to == address(4)).map(|(_, text)| text.clone()).expect("somebody is called")
        } else {
            rings
        };
        self.invite = invite;
        self.rings = rings;
        self.says(self.bob, &response(&self.rings, "180 Ringing", self.bob));
        match self.phase {
            Phase::Ringing => {}
            Phase::Refused => {
                self.says(self.bob, &response(&self.rings, "486 Busy Here", self.bob));
            }
            Phase::Answered => {
                let out = self.says(self.bob, &response(&self.rings, "200 OK", self.bob));
                let ok = out.iter().find(|(to, _)| *to == address(self.alice)).map(|(_, text)| text.clone());
                let ok = ok.expect("alice gets the 200");
                let ack = within(&ok, "ACK", self.alice);
                assert!(self.reach(self.alice, &ack, self.bob, "ACK"), "the ACK goes on");
                // Most phones put credentials into every request; what nobody has looked at yet must be as worthless.
                self.bye = self.signed(&within(&ok, "BYE", self.alice), "Proxy-Authorization", 2);
                self.wire.push(self.bye.clone());
            }
        }
    }

    /// Sends a request, and again with an answer to its challenge. Returns it as it was sent last, and what left then.
    fn proves(&mut self, phone: u8, text: &str) -> (String, Vec<(SocketAddr, String)>) {
        let out = self.says(phone, text);
        let (_, refused) = out.first().expect("it is challenged");
        let header = if refused.contains("\nWWW-Authenticate") { "Authorization" } else { "Proxy-Authorization" };
        let nonce = refused.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        self.nonce = nonce.to_owned();
        let again = text.replace("branch=z9hG4bK", "branch=z9hG4bKx").replace("CSeq: 1 ", "CSeq: 2 ");
        let again = self.signed(&again, header, 1);
        let out = self.says(phone, &again);
        (again, out)
    }

    /// A request with alice's credentials, for the newest nonce.
    fn signed(&self, text: &str, header: &str, nc: u8) -> String {
        let (method, uri, nonce) = (word(text, 0), word(text, 1), &self.nonce);
        let a1 = hex(secret().as_bytes());
        let a2 = hex(format!("{method}:{uri}").as_bytes());
        let proof = hex(format!("{a1}:{nonce}:{nc:08x}:c:auth:{a2}").as_bytes());
        let line = format!(
            "{header}: Digest username=\"alice\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{proof}\", algorithm=MD5, cnonce=\"c\", qop=auth, nc={nc:08x}\r\n"
        );
        let at = text.find("\r\n").map_or(0, |end| end + 2);
        format!("{}{line}{}", &text[..at], &text[at..])
    }

    /// A phone says something; all that leaves because of it.
    fn says(&mut self, phone: u8, text: &str) -> Vec<(SocketAddr, String)> {
        self.office.sent.clear();
        self.office.says(phone, Bytes::copy_from_slice(text.as_bytes()));
        let out = self.sent();
        self.wire.push(text.to_owned());
        self.wire.extend(out.iter().map(|(_, text)| text.clone()));
        out
    }

    fn sent(&mut self) -> Vec<(SocketAddr, String)> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.office.sent.iter().rev().map(|sent| (sent.hop.remote, text(&sent.bytes))).collect()
    }

    /// Whether what one phone says reaches another, as what it begins with.
    fn reach(&mut self, from: u8, text: &str, to: u8, what: &str) -> bool {
        let out = self.says(from, text);
        // Over TCP it goes back on the connection, whose port is the phone's own here.
        out.iter().any(|(remote, text)| *remote == address(to) && text.starts_with(what))
    }

    /// The third message.
    fn spliced(&self, sender: u8, program: &[u8]) -> Vec<u8> {
        let mut program = program.iter().copied();
        let mut next = || program.next().unwrap_or_default();
        let pick = |number: u8| self.wire[usize::from(number) % self.wire.len()].as_str();
        let mut sip = lines(pick(next()));
        let mut other = lines(pick(next()));
        for _ in 0..16 {
            let (verb, argument) = (next(), usize::from(next()));
            let name = NAMES[argument % NAMES.len()];
            match verb {
                0 => break,
                1 => other = lines(pick(argument as u8)),
                2 => take(&mut sip, &other, name),
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
                12 => sip.push("Subject: pay".to_owned()),
                // Octets of the input in place of a line.
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
            // As a strict router would: our own Record-Route value (RFC 3261 16.4).
            _ => {
                let route = values(other, "Record-Route").next().unwrap_or_default();
                route.trim_matches(['<', '>']).to_owned()
            }
        }
    }

    /// The spliced message comes, from an address that is nobody's.
    fn comes(&mut self, sender: u8, text: &[u8]) {
        let which = OUTSIDERS[usize::from(sender) % OUTSIDERS.len()];
        let stream = which & 1 != 0;
        self.office.sent.clear();
        self.office.says(which | sender & 8, Bytes::copy_from_slice(text));
        for (remote, sent) in self.sent() {
            let back = remote.ip() == address(which).ip();
            let request = Message::parse(Bytes::copy_from_slice(sent.as_bytes())).is_ok_and(|sip| sip.is_request());
            assert!(
                back && !request || self.strangers && is_call_of_a_stranger(&sent),
                "to {remote}:\n{sent}because of\n{}",
                String::from_utf8_lossy(text)
            );
            let bounded = stream || !ANSWERS_ARE_BOUNDED || sent.len() <= 3 * text.len();
            assert!(request || bounded, "{} octets for {}:\n{sent}", sent.len(), text.len());
        }
    }

    /// The call goes on.
    fn goes_on(&mut self) {
        let (alice, bob) = (self.alice, self.bob);
        match self.phase {
            Phase::Ringing => {
                let ok = response(&self.rings, "200 OK", bob);
                assert!(self.reach(bob, &ok, alice, "SIP/2.0 200"), "alice gets the 200");
            }
            Phase::Answered => {
                let bye = self.bye.clone();
                assert!(self.reach(alice, &bye, bob, "BYE"), "bob gets the BYE");
            }
            Phase::Refused => {
                let cancel = self.invite.replacen("INVITE", "ACK", 1).replace(" INVITE\r\n", " ACK\r\n");
                let ack = cancel.replace("To: <sip:bob@office.example>", "To: <sip:bob@office.example>;tag=b");
                self.says(alice, &ack);
            }
        }
    }
}

/// Whether the core bounds its answers yet (issue 12 item 5).
const ANSWERS_ARE_BOUNDED: bool = true;

/// A request that strangers may send: not in a name of ours, and to a phone of a user.
fn is_call_of_a_stranger(text: &str) -> bool {
    let sip = lines(text);
    let from = values(&sip, "From").next().unwrap_or_default();
    let ours = [DOMAIN, "192.0.2.1>", "192.0.2.1:", "192.0.2.1;"].iter().any(|own| from.contains(own));
    let to_phone = ["bob@192.0.2.", "door@192.0.2.", "alice@192.0.2."].iter().any(|own| word(text, 1).contains(own));
    !text.starts_with("SIP/2.0") && !ours && to_phone && !sip.iter().any(|line| is(line, "Route"))
}
