//! Nobody can assert the identity of another: identity headers of phones and strangers are removed from requests and
//! responses (RFC 3325 5).

use crate::harness::digest::Credentials;
use crate::harness::server::CLOSED;
use crate::harness::{Message, Phone, Server};

const CLAIMS: [&str; 5] =
    ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info"];

fn with_claims(message: Message) -> Message {
    CLAIMS.iter().fold(message, |message, name| message.with(name, "<sip:boss@office.example>;index=1"))
}

/// The names of the identity headers of a message.
fn claims(message: &Message) -> Vec<&'static str> {
    CLAIMS.into_iter().filter(|name| message.find(name).is_some()).collect()
}

#[test]
fn a_user_cannot_assert_another_identity() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address());
    let invite = with_claims(alice.invite("sip:bob@office.example"));
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    assert_eq!(claims(&at_bob), [""; 0], "{at_bob}");
    // Responses assert no identity either.
    for status in [180, 200] {
        let answer = with_claims(bob.answer(&at_bob, status));
        bob.send(answer);
        let received = alice.response(status);
        assert_eq!(claims(&received), [""; 0], "{received}");
    }
    // The identity of alice is asserted.
    let message = alice.request("MESSAGE", "sip:bob@office.example");
    let message = message.with("P-Preferred-Identity", "\"The Boss\" <sip:alice@office.example>");
    alice.authenticated(message, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("MESSAGE");
    assert_eq!(claims(&at_bob), ["P-Asserted-Identity"]);
    assert_eq!(at_bob.header("P-Asserted-Identity"), "<sip:alice@office.example>");
}

#[test]
fn a_stranger_cannot_assert_an_identity_and_a_trunk_can() {
    for (trusted, left) in [("192.0.2.0/24", &[][..]), ("127.0.0.0/8", &CLAIMS[..])] {
        let server = Server::start(&format!("{CLOSED}strangers: accept\ntrusted: [{trusted}]\n"));
        let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
        let mut trunk = Phone::udp("trunk", server.address()).of("elsewhere.example");
        let invite = with_claims(trunk.invite("sip:bob@office.example"));
        trunk.send(invite);
        assert_eq!(claims(&bob.expect("INVITE")), left, "trusted: {trusted}");
    }
}
