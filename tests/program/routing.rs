//! Who may call whom, and which status a refusal has. RFC 3261 16.3 - 16.5.

use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, uri};
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{Message, Phone, Server};

const BOB: &str = "sip:bob@office.example";
const ALICE: Credentials<'static> = Credentials::new("alice", "wonderland");

/// The final response to an INVITE, after its ACK.
#[track_caller]
fn outcome(phone: &mut Phone, invite: Message) -> Message {
    let sent = phone.send(invite);
    let answer = phone.next_final();
    phone.send(ack_of(&sent, &answer));
    answer
}

/// A phone of another domain.
fn stranger(server: &Server) -> Phone {
    Phone::udp("eve", server.address()).of("elsewhere.example")
}

#[test]
fn unknown_users_get_404_and_absent_ones_480() {
    let server = Server::start(CLOSED);
    let mut alice = Phone::udp("alice", server.address());
    // checklist 46
    for (user, status) in [("nobody", 404), ("bob", 480)] {
        let invite = alice.invite(&format!("sip:{user}@office.example"));
        let sent = alice.authenticated(invite, ALICE);
        let refused = alice.next_final();
        alice.send(ack_of(&sent, &refused));
        assert_eq!(refused.status(), Some(status), "{refused}");
    }
}

#[test]
fn without_authentication_unlisted_users_still_get_404() {
    let server = Server::start(&CLOSED.replace("required", "off"));
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let unknown = alice.invite("sip:nobody@office.example");
    assert_eq!(outcome(&mut alice, unknown).status(), Some(404));
    let absent = alice.invite("sip:carol@office.example");
    assert_eq!(outcome(&mut alice, absent).status(), Some(480));
    let present = alice.invite(BOB);
    alice.send(present);
    bob.expect("INVITE");
    // checklist 9
    let mut nobody = Phone::udp("nobody", server.address());
    let register = nobody.register(Some("<sip:nobody@192.0.2.1>"));
    assert_eq!(nobody.ask(register).status(), Some(404));
}

#[test]
fn strangers_are_refused() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut eve = stranger(&server);
    for method in ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER"] {
        let request = eve.request(method, BOB);
        let refused = outcome(&mut eve, request);
        assert_eq!(refused.status(), Some(407), "{method}: {refused}");
    }
    bob.silence();
}

#[test]
fn strangers_may_call_if_configured() {
    let server = Server::start(&format!("{CLOSED}strangers: accept\n"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut eve = stranger(&server);
    eve.calls_busy_phone(BOB, &mut bob);
    // A sender in the name of a user must authenticate.
    let mut fake = Phone::udp("alice", server.address());
    let invite = fake.invite(BOB);
    assert_eq!(outcome(&mut fake, invite).status(), Some(407));
}

#[test]
fn a_trusted_network_needs_no_credentials() {
    let server = Server::start(&format!("{CLOSED}trusted: [127.0.0.0/8]\n"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut trunk = stranger(&server);
    let invite = trunk.invite(BOB);
    trunk.send(invite);
    bob.expect("INVITE");
    // It may call local users, but no other domains.
    let abroad = trunk.invite("sip:someone@192.0.2.99");
    assert_eq!(outcome(&mut trunk, abroad).status(), Some(403));

    let server = Server::start(&format!("{CLOSED}trusted: [192.0.2.0/24]\n"));
    let mut other = stranger(&server);
    let invite = other.invite(BOB);
    assert_eq!(outcome(&mut other, invite).status(), Some(407));
}

#[test]
fn users_may_call_other_domains_only_if_configured() {
    let server = Server::start(CLOSED);
    let mut alice = Phone::udp("alice", server.address());
    let mut far = stranger(&server);
    let abroad = alice.invite(&far.contact());
    assert_eq!(outcome(&mut alice, abroad).status(), Some(403));
    far.silence();
}

#[test]
fn authenticated_users_may_call_other_domains_if_configured() {
    let server = Server::start(&format!("{CLOSED}foreign: authenticated\n"));
    let mut alice = Phone::udp("alice", server.address());
    let mut far = stranger(&server);
    // checklist 43, 117, 119: by address, and by name (RFC 3263 4.2).
    let by_name = format!("sip:eve@localhost:{}", far.local().port());
    for target in [far.contact(), by_name] {
        let abroad = alice.invite(&target);
        let unproven = outcome(&mut alice, abroad.clone());
        assert_eq!(unproven.status(), Some(407), "{unproven}");
        let sent = alice.send_again(abroad, ALICE, &unproven);
        let invite = far.expect("INVITE");
        assert_eq!(invite.uri(), target);
        far.reply(&invite, 404);
        let refused = alice.response(404);
        alice.send(ack_of(&sent, &refused));
        far.expect("ACK");
    }
    let mut eve = stranger(&server);
    let onward = eve.invite(&far.contact());
    assert!(matches!(outcome(&mut eve, onward).status(), Some(403 | 407)));
    far.silence();
}

#[test]
fn an_unresolvable_name_gets_a_response() {
    let server = Server::start(&format!("{CLOSED}foreign: authenticated\n"));
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:eve@no-such-host.invalid");
    let sent = alice.authenticated(invite, ALICE);
    let refused = alice.next_final();
    assert!(refused.status() >= Some(400), "{refused}");
    alice.send(ack_of(&sent, &refused));
}

#[test]
fn max_forwards_zero_gets_483() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    // checklist 36
    let spent = alice.invite(BOB).with("Max-Forwards", 0);
    assert_eq!(outcome(&mut alice, spent).status(), Some(483));
    bob.silence();
    let last = alice.invite(BOB).with("Max-Forwards", 1);
    alice.send(last);
    assert_eq!(bob.expect("INVITE").header("Max-Forwards"), "0");
}

#[test]
fn an_unsupported_proxy_require_gets_420() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    // checklist 38
    let invite = alice.invite(BOB).with("Proxy-Require", "nat-traversal, \tteleport");
    let refused = outcome(&mut alice, invite);
    assert_eq!(refused.status(), Some(420));
    assert_eq!(refused.list("Unsupported"), ["nat-traversal", "teleport"]);
    // Require is for the phone to check.
    let invite = alice.invite(BOB).with("Require", "100rel");
    alice.send(invite);
    assert_eq!(bob.expect("INVITE").header("Require"), "100rel");
}

#[test]
fn options_to_the_server_is_answered() {
    let server = Server::start(OPEN);
    for uri in ["sip:office.example".to_owned(), format!("sip:{}", server.ip()), format!("sip:{}", server.address())] {
        for hops in [70, 0] {
            let mut alice = Phone::udp("alice", server.address());
            let options = alice.request("OPTIONS", &uri).with("Max-Forwards", hops);
            let ok = alice.ask(options);
            assert_eq!(ok.status(), Some(200), "{uri}: {ok}");
            assert!(ok.tag("To").is_some(), "{ok}");
        }
    }
}

#[test]
fn an_unsupported_scheme_gets_416() {
    let server = Server::start(OPEN);
    let mut alice = Phone::udp("alice", server.address());
    // checklist 35
    for target in ["tel:+4989123456", "urn:service:sos", "http://office.example/"] {
        let invite = alice.invite(target);
        assert_eq!(outcome(&mut alice, invite).status(), Some(416), "{target}");
    }
}

#[test]
fn an_ack_gets_no_response() {
    let server = Server::start(CLOSED);
    let mut alice = Phone::udp("alice", server.address());
    for target in ["sip:nobody@office.example", "sip:bob@office.example", "sip:eve@192.0.2.1", "tel:1"] {
        let ack = alice.request("ACK", target);
        alice.send(ack);
    }
    alice.silence();
}

/// What a strict router sends for a request that was to follow our Record-Route (RFC 3261 16.12.1.2): our URI is the
/// Request-URI, and the target is the last Route.
#[test]
fn a_request_from_a_strict_router_is_processed() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let (sent, at_bob) = alice.calls(BOB, &mut bob);
    bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    let mut dialog = crate::harness::Dialog::caller(&sent, &ok);
    let bye = dialog.request("BYE");
    let ours = uri(bye.header("Route")).to_owned();
    let target = bye.uri().to_owned();
    let mut strict = bye.without("Route").with("Route", format!("<{target}>"));
    strict.start = format!("BYE {ours} SIP/2.0");
    // checklist 40, 87
    alice.send(strict);
    let arrived = bob.expect("BYE");
    assert_eq!(arrived.uri(), target);
    assert!(arrived.find("Route").is_none(), "{arrived}");
}

/// A phone behind a strict router: the URI of the router becomes the Request-URI, and that of the phone becomes the
/// last Route.
#[test]
fn a_request_to_a_strict_router_is_rewritten() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let mut strict = Phone::udp("router", server.address());
    let (sent, at_bob) = alice.calls(BOB, &mut bob);
    // The strict router was between the server and bob, so it is in the route set of the response.
    let own = strict.local();
    let answer = bob.answer(&at_bob, 200).with_first("Record-Route", format!("<sip:{own}>"));
    bob.send(answer);
    let ok = alice.response(200);
    let dialog = crate::harness::Dialog::caller(&sent, &ok);
    alice.send(dialog.ack());
    // checklist 52, 53
    let ack = strict.expect("ACK");
    assert_eq!(ack.uri(), format!("sip:{own}"));
    let routes = ack.list("Route");
    assert_eq!(routes.last().map(|route| uri(route).to_owned()), Some(bob.contact()), "{ack}");
    assert_eq!(routes.len(), 1, "{ack}");
}
