//! A call to one phone: forwarded without a transaction, with all requests of a dialog. RFC 3261 16.3 - 16.7, 16.11,
//! 16.12.

use std::net::{SocketAddr, TcpListener};

use crate::harness::message::{ack_of, cancel_of, param, uri};
use crate::harness::server::{OPEN, free_port};
use crate::harness::{Dialog, Message, PATIENCE, Phone, Server};

const BOB: &str = "sip:bob@office.example";

/// A call to a phone on UDP from a caller on another transport, which Via and the URI parameter name. Each side gets a
/// Record-Route value for its own transport (RFC 5658: the first one is for the callee, the second one for the caller).
#[track_caller]
pub(crate) fn is_bridged(
    caller: &mut Phone,
    (via, parameter): (&str, &str),
    caller_side: SocketAddr,
    callee: &mut Phone,
    callee_side: SocketAddr,
) {
    let invite = caller.calls_busy_phone(&callee.aor(), callee);
    let routes = invite.list("Record-Route");
    let ends = [format!("@{callee_side};lr"), format!("@{caller_side};transport={parameter};lr")];
    assert!(routes.len() == 2 && ends.iter().zip(&routes).all(|(end, route)| uri(route).ends_with(end)), "{invite}");
    let vias = invite.list("Via");
    assert!(vias[0].starts_with("SIP/2.0/UDP ") && vias[1].starts_with(&format!("SIP/2.0/{via} ")), "{invite}");
}

/// A call from INVITE to BYE with a request of every kind in between, from both sides.
#[track_caller]
pub(crate) fn talk(alice: &mut Phone, bob: &mut Phone) {
    let callee = bob.aor();
    let (sent, at_bob) = alice.calls(&callee, bob);
    bob.reply(&at_bob, 180);
    let ringing = alice.response(180);
    assert_eq!(ringing.list("Via"), sent_via(&sent, &ringing), "only the caller's own Via is left");
    let answered = bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    assert_eq!((ok.header("To"), ok.header("Contact")), (answered.header("To"), answered.header("Contact")));

    let mut caller = Dialog::caller(&sent, &ok);
    let mut callee = Dialog::callee(&at_bob, &answered);
    // checklist 89
    alice.send(caller.ack());
    let ack = bob.expect("ACK");
    assert_eq!(ack.uri(), bob.contact());
    assert!(ack.find("Route").is_none(), "our own Route is taken away:\n{ack}");

    for method in ["INFO", "UPDATE", "INVITE", "BYE"] {
        follow(alice, bob, &mut caller, method);
        if method != "BYE" {
            follow(bob, alice, &mut callee, method);
        }
    }
}

/// A request inside the dialog, its response, and the ACK if there is one.
#[track_caller]
fn follow(from: &mut Phone, to: &mut Phone, dialog: &mut Dialog, method: &str) {
    let request = dialog.request(method).with("Contact", format!("<{}>", from.contact()));
    from.send(request);
    let arrived = to.expect(method);
    assert_eq!(arrived.uri(), to.contact());
    assert!(arrived.find("Route").is_none(), "our own Route is taken away:\n{arrived}");
    to.reply(&arrived, 200);
    from.response(200);
    if method == "INVITE" {
        from.send(dialog.ack());
        to.expect("ACK");
    }
}

/// The Via that a caller sent, with the parameters that the server may have added.
fn sent_via<'a>(sent: &Message, received: &'a Message) -> Vec<&'a str> {
    let own = received.list("Via");
    assert_eq!(own.len(), 1);
    assert_eq!(param(own[0], "branch"), Some(sent.branch()));
    own
}

#[test]
fn one_target_gets_the_request_as_it_was_sent() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice
        .invite("sip:bob@office.example;user=phone")
        .with("Subject", "lunch,  and more")
        .with("X-Unknown", "kept as it is; even=\"this\"")
        .with("Allow", "INVITE, ACK, BYE")
        .with("X-Unknown", "twice");
    let sent = alice.send(invite);
    let at_bob = bob.expect("INVITE");

    // checklist 48
    assert_eq!(at_bob.uri(), bob.contact());
    // checklist 47
    let ours = ["Via", "Record-Route", "Max-Forwards", "Max-Breadth", "Content-Length"];
    let rest = |message: &Message| {
        let own = |name: &String| !ours.iter().any(|our| name.eq_ignore_ascii_case(our));
        message.headers.iter().filter(|(name, _)| own(name)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(rest(&at_bob), rest(&sent));
    assert_eq!(at_bob.body, sent.body);
    // checklist 49
    assert_eq!(at_bob.header("Max-Forwards"), "69");
    // checklist 130
    assert_eq!(at_bob.header("Max-Breadth"), "60");
    // checklist 55, 112
    let vias = at_bob.list("Via");
    assert_eq!(vias.len(), 2, "{at_bob}");
    let host = vias[0].strip_prefix("SIP/2.0/UDP ").expect("a Via for UDP");
    assert!(host.starts_with(&server.ip().to_string()), "{}", vias[0]);
    assert!(at_bob.branch().starts_with("z9hG4bK"));
    assert_eq!(param(vias[1], "rport"), Some(alice.local().port().to_string().as_str()));
    assert_eq!(param(vias[1], "received"), Some("127.0.0.1"));
    // checklist 50
    let route = at_bob.list("Record-Route");
    assert_eq!(route.len(), 1, "{at_bob}");
    let route = uri(route[0]);
    assert!(route.starts_with("sip:") && route.contains(&server.ip().to_string()), "{route}");
    assert!(route.split(';').any(|item| item == "lr"), "{route}");
    // checklist 33, 84: without a transaction there is no 100.
    alice.silence();
}

#[test]
fn a_whole_call_over_udp() {
    let server = Server::start(OPEN);
    talk(&mut Phone::udp("alice", server.address()), &mut Phone::udp("bob", server.address()).registered());
}

#[test]
fn a_whole_call_over_tcp() {
    let server = Server::start(OPEN);
    talk(&mut Phone::tcp("alice", server.address()), &mut Phone::tcp("bob", server.address()).registered());
}

#[test]
fn a_whole_call_from_udp_to_tcp() {
    let server = Server::start(OPEN);
    talk(&mut Phone::udp("alice", server.address()), &mut Phone::tcp("bob", server.address()).registered());
}

#[test]
fn a_whole_call_from_tcp_to_udp() {
    let server = Server::start(OPEN);
    talk(&mut Phone::tcp("alice", server.address()), &mut Phone::udp("bob", server.address()).registered());
}

#[test]
fn a_whole_call_over_ipv6() {
    let (_server, address) = Server::start_v6(OPEN);
    talk(&mut Phone::udp("alice", address), &mut Phone::tcp("bob", address).registered());
}

#[test]
fn a_whole_call_from_ipv4_to_ipv6() {
    let ip = crate::harness::server::fresh_ip();
    let port = free_port("::1".parse().expect("an address"));
    let listen = format!("listen: [\"udp://{ip}:5060\", \"tcp://{ip}:5060\", \"udp://[::1]:{port}\"]\n");
    let folder = tempfile::TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let server = Server::start_in(folder, ip, &format!("{OPEN}{listen}"));
    let mut bob = Phone::udp("bob", format!("[::1]:{port}").parse().expect("an address")).registered();
    talk(&mut Phone::udp("alice", server.address()), &mut bob);
}

#[test]
fn a_change_of_transport_is_recorded_on_both_sides() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    alice.send(invite);
    let at_bob = bob.expect("INVITE");
    // checklist 51, 57
    assert_eq!(at_bob.list("Record-Route").len(), 2, "{at_bob}");
    assert!(at_bob.list("Via")[0].starts_with("SIP/2.0/TCP "), "{at_bob}");
    assert!(at_bob.find("Content-Length").is_some());
}

#[test]
fn a_phone_that_listens_on_tcp_is_connected_to() {
    let server = Server::start(OPEN);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a TCP port");
    let contact = format!("<sip:bob@{};transport=tcp>", listener.local_addr().expect("a bound socket"));
    let mut desk = Phone::udp("bob", server.address());
    let register = desk.register(Some(&contact)).with("Expires", 600);
    assert_eq!(desk.ask(register).status(), Some(200));
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    alice.send(invite);
    let mut bob = Phone::accept("bob", server.address(), &listener);
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
}

#[test]
fn a_retransmission_takes_the_same_route_after_a_change() {
    let server = Server::start(OPEN);
    let mut desk = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let (sent, first) = alice.calls(BOB, &mut desk);

    let mut cell = Phone::udp("bob", server.address()).registered();
    // checklist 81, 82, 83, 85
    alice.send(sent.clone());
    let copy = desk.next_any(PATIENCE).expect("the copy comes through");
    assert_eq!(copy, first, "a copy of the copy");
    desk.reply(&first, 180);
    alice.response(180);
    alice.send(cancel_of(&sent));
    let cancel = desk.expect("CANCEL");
    assert_eq!(cancel.branch(), first.branch());
    assert_eq!(cancel.uri(), first.uri());
    desk.reply(&cancel, 200);
    assert_eq!(alice.response(200).method(), "CANCEL");
    desk.reply(&first, 487);
    let refused = alice.response(487);
    alice.send(ack_of(&sent, &refused));
    let ack = desk.expect("ACK");
    assert_eq!((ack.branch(), ack.uri()), (first.branch(), first.uri()));
    cell.silence();
}

#[test]
fn a_failure_response_is_forwarded_and_gets_an_ack() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    for status in [302, 404, 486, 503, 603] {
        let (sent, at_bob) = alice.calls(BOB, &mut bob);
        bob.reply(&at_bob, status);
        let refused = alice.response(status);
        assert_eq!(refused.reason(), "As The Test Says");
        alice.send(ack_of(&sent, &refused));
        assert_eq!(bob.expect("ACK").branch(), at_bob.branch());
    }
}

#[test]
fn requests_outside_of_a_dialog_are_forwarded() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::tcp("alice", server.address());
    // checklist 34: an unknown method is forwarded too.
    for method in ["MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH", "TELEPORT"] {
        let request = alice.request(method, BOB).body("text/plain", "hello");
        alice.send(request);
        let arrived = bob.expect(method);
        assert_eq!((arrived.uri(), arrived.body.as_slice()), (bob.contact().as_str(), b"hello".as_slice()));
        bob.reply(&arrived, 200);
        assert_eq!(alice.response(200).method(), method);
    }
}

#[test]
fn our_route_is_removed() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    // checklist 42: a phone with an outbound proxy.
    let invite = alice.invite(BOB).with("Route", format!("<sip:{};lr>", server.address()));
    alice.send(invite);
    let at_bob = bob.expect("INVITE");
    assert!(at_bob.find("Route").is_none(), "{at_bob}");
}

#[test]
fn missing_max_forwards_becomes_70() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    let invite = alice.stamp(invite).without("Max-Forwards");
    alice.send_raw(&invite.bytes());
    // checklist 36
    assert_eq!(bob.expect("INVITE").header("Max-Forwards"), "70");
}

#[test]
fn a_large_request_is_forwarded() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    // checklist 106: the phone refuses TCP; the datagram arrives in fragments.
    let body = "x".repeat(4_000);
    let message = alice.request("MESSAGE", BOB).body("text/plain", body.clone());
    alice.send(message);
    let arrived = bob.expect("MESSAGE");
    assert_eq!(arrived.body, body.as_bytes());
    bob.reply(&arrived, 200);
    alice.response(200);
}

#[test]
fn without_a_transaction_all_responses_are_forwarded() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let (sent, at_bob) = alice.calls(BOB, &mut bob);
    for status in [180, 183] {
        bob.reply(&at_bob, status);
        alice.response(status);
    }
    // checklist 86: a phone that has not received the ACK sends its 200 again much later.
    let ok = bob.reply(&at_bob, 200);
    let first = alice.response(200);
    bob.send(ok);
    assert_eq!(alice.next_any(PATIENCE).expect("the copy comes through"), first);
    alice.send(Dialog::caller(&sent, &first).ack());
    bob.expect("ACK");
}
