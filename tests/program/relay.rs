//! Nothing is relayed for strangers: forged routes, foreign targets, stray responses. RFC 3261 16.4, RFC 6026 8.2.

use crate::harness::phone::unique;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{Dialog, Message, Phone, Server};

/// An established call: both phones and the dialog of the caller.
fn call(server: &Server) -> (Phone, Phone, Dialog) {
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let (sent, at_bob) = alice.calls("sip:bob@office.example", &mut bob);
    bob.reply(&at_bob, 200);
    let dialog = Dialog::caller(&sent, &alice.response(200));
    alice.send(dialog.ack());
    bob.expect("ACK");
    (alice, bob, dialog)
}

/// Sends a request that must get a failure response.
#[track_caller]
fn refused(phone: &mut Phone, request: Message) {
    let answer = phone.ask(request);
    assert!(answer.status() >= Some(400), "it went through:\n{answer}");
}

#[test]
fn a_forged_route_is_refused() {
    let server = Server::start(OPEN);
    let (mut alice, mut bob, mut dialog) = call(&server);
    let route = dialog.routes.first().cloned().expect("we are in the route set");

    // checklist 141: one character of the token is changed. Each position of it is signed.
    let own = route.replacen(&server.ip().to_string(), "", 1);
    let letters = own.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric());
    let token: Vec<_> = letters.map(|(at, _)| at + (route.len() - own.len())).collect();
    let user = route.find("sip:").map_or(0, |at| at + 4)..route.find('@').unwrap_or(0);
    let mut forged = 0;
    for at in token.into_iter().filter(|at| user.contains(at)).step_by(5) {
        let other = if route.as_bytes()[at] == b'x' { "y" } else { "x" };
        let mut routes = route.clone();
        routes.replace_range(at..=at, other);
        let request = dialog.request("INFO").set("Route", routes);
        refused(&mut alice, request);
        forged += 1;
    }
    assert!(forged > 0, "no token found in {route}");

    // Without a token.
    let request = dialog.request("INFO").set("Route", format!("<sip:{};lr>", server.address()));
    refused(&mut alice, request);
    bob.silence();

    let request = dialog.request("INFO");
    alice.send(request);
    bob.expect("INFO");
}

#[test]
fn a_valid_route_does_not_permit_relaying() {
    let server = Server::start(CLOSED.replace("required", "off").as_str());
    let (_alice, _bob, mut dialog) = call(&server);
    let mut victim = Phone::udp("victim", server.address());
    // An attacker has read a route set of ours and uses it for a call of its own from another address.
    let mut mallory = Phone::tcp("mallory", server.address()).of("elsewhere.example");
    let target = victim.contact();
    let mut request = dialog.request("INVITE").set("Call-ID", unique("stolen"));
    request.start = format!("INVITE {target} SIP/2.0");
    let request = request.set("From", "<sip:mallory@elsewhere.example>;tag=1").set("To", format!("<{target}>;tag=2"));
    refused(&mut mallory, request);
    // The same without a To tag.
    let mut request = dialog.request("INVITE").set("Call-ID", unique("stolen"));
    request.start = format!("INVITE {target} SIP/2.0");
    let request = request.set("From", "<sip:mallory@elsewhere.example>;tag=1").set("To", format!("<{target}>"));
    refused(&mut mallory, request);
    victim.silence();
}

#[test]
fn a_foreign_target_is_refused_with_any_route() {
    let server = Server::start(OPEN);
    let mut victim = Phone::udp("victim", server.address());
    let mut mallory = Phone::udp("mallory", server.address()).of("elsewhere.example");
    let target = victim.contact();

    let plain = mallory.invite(&target);
    refused(&mut mallory, plain);
    let routed = mallory.invite("sip:bob@office.example").with("Route", format!("<{target};lr>"));
    refused(&mut mallory, routed);
    let through_us =
        mallory.invite("sip:bob@office.example").with("Route", format!("<sip:{};lr>, <{target};lr>", server.address()));
    refused(&mut mallory, through_us);
    let host = victim.local().ip();
    let addressed = mallory.invite(&format!("sip:bob@office.example;maddr={host}"));
    refused(&mut mallory, addressed);
    let inside = mallory.request("BYE", &target).set("To", format!("<{target}>;tag=inside"));
    refused(&mut mallory, inside);
    victim.silence();
}

#[test]
fn a_stray_response_is_dropped() {
    let server = Server::start(OPEN);
    let mut victim = Phone::udp("victim", server.address());
    let mut mallory = Phone::udp("mallory", server.address());
    for branch in ["z9hG4bKguess", "z9hG4bK", "guess", "z9hG4bK0000000000000000000000000000000000000000"] {
        let stray = Message::response(200, "OK")
            .with("Via", format!("SIP/2.0/UDP {};branch={branch}", server.address()))
            .with("Via", victim.via())
            .with("From", "<sip:a@office.example>;tag=1")
            .with("To", "<sip:b@office.example>;tag=2")
            .with("Call-ID", unique("stray"))
            .with("CSeq", "1 INVITE");
        mallory.send(stray);
    }
    // checklist 60, 88, 109
    server.counts("frontdesk_drops_total", &[("reason", "stray_response")], |count| count >= 4.0);
    victim.silence();
}

#[test]
fn a_mark_is_valid_only_for_the_path_of_its_request() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let mut victim = Phone::udp("victim", server.address());
    let invite = alice.invite("sip:bob@office.example");
    alice.send(invite);
    let at_bob = bob.expect("INVITE");
    // The callee knows our branch, and sends a response with it to somebody who has not called.
    let ours = at_bob.list("Via")[0].to_owned();
    let bent = bob.answer(&at_bob, 200).without("Via").with_first("Via", victim.via()).with_first("Via", ours);
    bob.send(bent);
    // checklist 88
    victim.silence();
    bob.reply(&at_bob, 180);
    alice.response(180);
}
