//! TLS: handshakes, certificates, calls with phones on other transports, peers that prove their names. RFC 3261 26.2,
//! RFC 5922.

use crate::call::talk;
use crate::harness::digest::Credentials;
use crate::harness::message::uri;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{Authority, Phone, Server};

/// A server with a certificate for `office.example`.
fn start(authority: &Authority, config: &str) -> Server {
    let pair = authority.issue("office", &["office.example"]);
    Server::start(&format!("{config}{}", authority.config(&pair, "")))
}

#[test]
fn calls_with_every_other_transport_in_both_directions() {
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let (sip, tls, ws) = (server.address(), server.tls(), server.websocket());
    let phone = |user| Phone::tls(user, tls, &authority);
    talk(&mut phone("alice"), &mut phone("bob").registered());
    talk(&mut phone("alice"), &mut Phone::udp("carol", sip).registered());
    talk(&mut phone("alice"), &mut Phone::tcp("dave", sip).registered());
    talk(&mut phone("alice"), &mut Phone::websocket("erin", ws).registered());
    talk(&mut Phone::udp("alice", sip), &mut phone("frank").registered());
    talk(&mut Phone::tcp("alice", sip), &mut phone("grace").registered());
    talk(&mut Phone::websocket("alice", ws), &mut phone("heidi").registered());
    let metrics = server.metrics();
    for name in ["frontdesk_requests_received_total", "frontdesk_requests_forwarded_total"] {
        assert!(metrics.sum(name, &[("transport", "tls")]) > 0.0, "{name}");
    }
    let accepted = [("protocol", "tls"), ("outcome", "accepted")];
    assert_eq!(metrics.sum("frontdesk_handshakes_total", &accepted), 8.0);
    assert_eq!(metrics.sum("frontdesk_connections_opened_total", &[("direction", "out")]), 0.0);
}

#[test]
fn each_side_of_a_bridged_call_gets_a_route_for_its_transport() {
    let authority = Authority::new();
    let server = start(&authority, OPEN);
    let mut alice = Phone::tls("alice", server.tls(), &authority);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let invite = alice.invite(&bob.aor());
    alice.send(invite);
    let at_bob = bob.expect("INVITE");
    // RFC 5658: the first value is for the callee, the second one for the caller.
    let routes = at_bob.list("Record-Route");
    let (sip, tls) = (format!("@{};lr", server.address()), format!("@{};transport=tls;lr", server.tls()));
    assert!(routes.len() == 2 && uri(routes[0]).ends_with(&sip) && uri(routes[1]).ends_with(&tls), "{at_bob}");
    let via = at_bob.list("Via");
    assert!(via[0].starts_with("SIP/2.0/UDP ") && via[1].starts_with("SIP/2.0/TLS "), "{at_bob}");
    bob.reply(&at_bob, 486);
    alice.response(486);
}

#[test]
fn a_phone_with_a_password_registers_and_calls() {
    let authority = Authority::new();
    let server = start(&authority, CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::tls("alice", server.tls(), &authority).registered_as("wonderland");
    let invite = alice.invite(&bob.aor());
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
}
