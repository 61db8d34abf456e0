//! `sip:` and `sips:` over every transport: whether a call reaches the phone, over which scheme, or which refusal the
//! caller gets. RFC 3261 26.2.2, RFC 5630 5.3.

use std::net::TcpListener;

use crate::harness::message::{ack_of, uri};
use crate::harness::server::OPEN;
use crate::harness::tls::{self, Pair};
use crate::harness::{Authority, Dialog, Message, PATIENCE, Phone, Server, wait_for};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It reaches the phone, with this scheme in the Request-URI.
    Reaches(&'static str),
    /// 480 with this Warning (RFC 5630 6.3).
    Refused(u16),
}
use Outcome::{Reaches, Refused};

fn server(authority: &Authority) -> Server {
    let certificate = authority.issue("office", &["office.example"]);
    Server::start(&format!("{OPEN}{}", authority.config(&certificate, "")))
}

/// A phone on each transport, and whether that is encrypted.
fn phones(user: &str, server: &Server, authority: &Authority) -> [(&'static str, bool, Phone); 5] {
    let (sip, ws) = (server.address(), server.websocket());
    [
        ("udp", false, Phone::udp(user, sip)),
        ("tcp", false, Phone::tcp(user, sip)),
        ("tls", true, Phone::tls(user, server.tls(), authority)),
        ("ws", false, Phone::websocket(user, ws)),
        ("wss", true, Phone::secure_websocket(user, server.secure_websocket(), authority)),
    ]
}

/// RFC 5630 5.3. A phone that registers a `sips:` Contact over UDP or TCP is reached by a TLS connection to the address in
/// the Contact. RFC 7118 5: a phone on a WebSocket has no such address.
fn expected(called: &str, contact: &str, transport: &str) -> Outcome {
    match (called, contact, transport) {
        ("sip", "sip", _) => Reaches("sip"),
        ("sip", "sips", "ws") => Refused(381),
        ("sips", "sip", _) | ("sips", "sips", "ws") => Refused(380),
        // RFC 5630 5.3: the scheme of the Contact becomes that of the call.
        ("sip", _, _) => Reaches("sip"),
        _ => Reaches("sips"),
    }
}

/// A called phone, and where it listens for TLS connections of the server.
struct Callee {
    phone: Phone,
    contact: String,
    listener: TcpListener,
    /// Once the server has connected.
    accepted: Option<Phone>,
}

impl Callee {
    /// Registers a Contact with this scheme.
    fn new(mut phone: Phone, user: String, scheme: &'static str, transport: &str) -> Self {
        phone.user = user;
        let mut phone = phone.with_scheme(scheme);
        let listener = TcpListener::bind((phone.local().ip(), 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let contact = match (scheme, transport) {
            ("sips", "udp" | "tcp") => format!("sips:{}@{}", phone.user, listener.local_addr().expect("an address")),
            _ => phone.contact(),
        };
        let register = phone.register(Some(&format!("<{contact}>")));
        assert_eq!(phone.ask(register).status(), Some(200));
        Self { phone, contact, listener, accepted: None }
    }

    /// The phone that a call arrives at: over the flow that it registered over, or over a connection of the server.
    #[track_caller]
    fn reached(&mut self, server: &Server, certificate: &Pair) -> &mut Phone {
        if self.phone.contact() == self.contact {
            return &mut self.phone;
        }
        self.accepted.get_or_insert_with(|| {
            let stream = wait_for(PATIENCE, || self.listener.accept().ok()).expect("the server connects").0;
            stream.set_nonblocking(false).expect("a stream");
            let socket = tls::Socket::accept(stream, certificate.server()).expect("a handshake");
            Phone::on_tls(&self.phone.user, server.tls(), socket)
        })
    }
}

#[test]
fn every_request_uri_contact_and_transport() {
    // checklist 116, 117
    let authority = Authority::new();
    let server = server(&authority);
    let certificate = authority.issue("phone", &["127.0.0.1"]);
    let mut wrong = Vec::new();
    for contact in ["sip", "sips"] {
        for (transport, _, phone) in phones("", &server, &authority) {
            let user = format!("{contact}-{transport}");
            let mut callee = Callee::new(phone, user.clone(), contact, transport);
            for called in ["sip", "sips"] {
                for (from, _, mut caller) in phones("alice", &server, &authority) {
                    let invite = caller.invite(&format!("{called}:{user}@office.example"));
                    let sent = caller.send(invite);
                    let expected = expected(called, contact, transport);
                    let outcome = match expected {
                        Reaches(_) => answers_busy(
                            &mut caller,
                            &sent,
                            &callee.contact.clone(),
                            callee.reached(&server, &certificate),
                        ),
                        Refused(_) => refused(&mut caller),
                    };
                    if outcome != expected {
                        let case = format!("{from} calls {called}: with a {contact}: Contact over {transport}");
                        wrong.push(format!("{case}: {outcome:?} instead of {expected:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.logs("call alice -> sip-udp refused: SIPS Not Allowed");
}

/// The called phone gets the INVITE at its Contact, and is busy.
#[track_caller]
fn answers_busy(caller: &mut Phone, sent: &Message, contact: &str, callee: &mut Phone) -> Outcome {
    let at_callee = callee.expect("INVITE");
    let (scheme, rest) = at_callee.uri().split_once(':').expect("a scheme");
    assert_eq!(Some(rest), contact.split_once(':').map(|(_, rest)| rest));
    callee.reply(&at_callee, 486);
    let busy = caller.response(486);
    caller.send(ack_of(sent, &busy));
    callee.expect("ACK");
    Reaches(if scheme == "sips" { "sips" } else { "sip" })
}

#[track_caller]
fn refused(caller: &mut Phone) -> Outcome {
    let response = caller.next_final();
    assert_eq!(response.status(), Some(480), "{response}");
    let warning = response.find("Warning").and_then(|text| text.split(' ').next()?.parse().ok());
    Refused(warning.unwrap_or_default())
}

#[test]
fn a_call_to_sips_from_an_unencrypted_phone_has_a_route_for_each_side() {
    // RFC 3261 16.6 step 4, 16.7 step 8: the URI for the side without TLS is `sip:`, because that side cannot use `sips:`.
    let authority = Authority::new();
    let server = server(&authority);
    let mut bob = Phone::tls("bob", server.tls(), &authority).with_scheme("sips").registered();
    for (transport, is_encrypted, mut alice) in phones("alice", &server, &authority) {
        let invite = alice.invite("sips:bob@office.example");
        let sent = alice.send(invite);
        let at_bob = bob.expect("INVITE");
        let answered = bob.reply(&at_bob, 200);
        let ok = alice.response(200);
        for message in [&at_bob, &ok] {
            let routes = message.list("Record-Route");
            let own = if is_encrypted { "sips:" } else { "sip:" };
            let (first, last) = (uri(routes[0]), uri(routes[routes.len() - 1]));
            assert!(first.starts_with("sips:") && last.starts_with(own), "{transport}\n{message}");
        }
        let (mut caller, mut callee) = (Dialog::caller(&sent, &ok), Dialog::callee(&at_bob, &answered));
        alice.send(caller.ack());
        bob.expect("ACK");
        let update = callee.request("UPDATE");
        bob.send(update);
        let update = alice.expect("UPDATE");
        alice.reply(&update, 200);
        bob.response(200);
        let bye = caller.request("BYE");
        alice.send(bye);
        let bye = bob.expect("BYE");
        bob.reply(&bye, 200);
        alice.response(200);
    }
}
