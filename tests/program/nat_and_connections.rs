//! Phones behind a NAT, over their own connection, by a name of the server, through several workers. RFC 3261 18, RFC
//! 3581.

use std::net::{SocketAddr, UdpSocket};

use crate::harness::digest::Credentials;
use crate::harness::message::{param, uri};
use crate::harness::server::{CLOSED, OPEN, fresh_ip};
use crate::harness::{Dialog, Phone, Server, wait_for};

const BOB: &str = "sip:bob@office.example";

#[test]
fn a_phone_behind_a_nat_is_reached_at_the_source_of_its_register() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    // The phone only knows its private address, and asks for rport.
    let register = bob.register(Some("<sip:bob@10.11.12.13:5062>")).with("Expires", 600);
    let register = register.with_first("Via", "SIP/2.0/UDP 10.11.12.13:5062;branch=z9hG4bKinside;rport");
    bob.send(register);
    // checklist 30, 112
    let ok = bob.response(200);
    let via = ok.header("Via");
    assert_eq!(param(via, "received"), Some("127.0.0.1"));
    assert_eq!(param(via, "rport"), Some(bob.local().port().to_string().as_str()));
    let mut alice = Phone::udp("alice", server.address());
    let at_bob = alice.calls_busy_phone(BOB, &mut bob);
    assert_eq!(at_bob.uri(), "sip:bob@10.11.12.13:5062");
}

#[test]
fn a_phone_on_tcp_is_reached_over_its_own_connection() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address());
    // No socket listens at its Contact.
    let register = bob.register(Some("<sip:bob@10.11.12.13:5062;transport=tcp>")).with("Expires", 600);
    assert_eq!(bob.ask(register).status(), Some(200));
    let mut alice = Phone::udp("alice", server.address());
    // checklist 107
    alice.calls_busy_phone(BOB, &mut bob);
}

/// Whatever is in the messages of the phone: a private address with `rport` or without, a name, a port from STUN.
#[test]
fn a_phone_behind_any_kind_of_nat_is_reached_at_the_source_of_its_register() {
    let server = Server::start(OPEN);
    let mut alice = Phone::udp("alice", server.address());
    for (number, (contact, sent_by)) in [
        ("10.11.12.13:5062", "10.11.12.13:5062"),
        ("10.11.12.13:5062", "laptop.local:5062;rport"),
        ("laptop.local:5062", "10.11.12.13:5062;rport"),
        ("127.0.0.1:9", "10.11.12.13:5062;rport"),
        ("127.0.0.1:9", "127.0.0.1:9;rport"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bob = Phone::udp(&format!("bob{number}"), server.address());
        let contact = contact.replace("127.0.0.1", &bob.local().ip().to_string());
        let sent_by = sent_by.replace("127.0.0.1", &bob.local().ip().to_string());
        let register = bob.register(Some(&format!("<sip:bob@{contact}>"))).with("Expires", 600);
        bob.send(register.with_first("Via", format!("SIP/2.0/UDP {sent_by};branch=z9hG4bKinside{number}")));
        bob.response(200);
        let at_bob = alice.calls_busy_phone(&bob.aor(), &mut bob);
        assert_eq!(at_bob.uri(), format!("sip:bob@{contact}"));
    }
}

#[test]
fn a_phone_on_tcp_is_reached_without_a_transport_parameter() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address());
    let register = bob.register(Some("<sip:bob@10.11.12.13:5062>")).with("Expires", 600);
    assert_eq!(bob.ask(register).status(), Some(200));
    let mut alice = Phone::udp("alice", server.address());
    alice.calls_busy_phone(BOB, &mut bob);
}

#[test]
fn a_phone_replaces_its_contact_in_one_register() {
    let server = Server::start(OPEN);
    let mut alice = Phone::udp("alice", server.address());
    let contact = |port: u16| format!("<sip:bob@10.11.12.13:{port};transport=tcp;ob>");
    let flow = ";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-0000c0ffee00>\"";
    let mut bob = Phone::tcp("bob", server.address());
    let register = bob.register(Some(&format!("{}{flow}", contact(40_000)))).with("Supported", "outbound");
    assert_eq!(bob.ask(register).status(), Some(200));
    for (port, new_first) in [(40_001, true), (40_002, false)] {
        // The old connection is still open, but the phone has another address now.
        let mut moved = Phone::tcp("bob", server.address());
        let (new, old) = (format!("{}{flow}", contact(port)), format!("{};expires=0{flow}", contact(port - 1)));
        let contacts = if new_first { format!("{new}, {old}") } else { format!("{old}, {new}") };
        let register = moved.register(Some(&contacts)).with("Supported", "outbound");
        let ok = moved.ask(register);
        assert_eq!(ok.status(), Some(200));
        let bound = ok.list("Contact");
        assert!(bound.len() == 1 && bound[0].starts_with(&contact(port)), "{ok}");
        alice.calls_busy_phone(BOB, &mut moved);
        bob.silence();
        bob = moved;
    }
}

#[test]
fn a_phone_that_reconnects_often_is_not_refused() {
    let server = Server::start(OPEN);
    let mut desk = Phone::udp("bob", server.address()).registered();
    let instances = [";+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-0000c0ffee00>\"", ""];
    for (turn, instance) in instances.into_iter().cycle().take(30).enumerate() {
        let mut bob = Phone::tcp("bob", server.address());
        let port = 40_000 + turn;
        let contact = format!("<sip:bob@10.11.12.13:{port};transport=tcp>{instance}");
        let register = bob.register(Some(&contact)).with("Expires", 600);
        // The server may notice the end of the last connection a moment later.
        let ok = wait_for(crate::harness::PATIENCE, || {
            let again = register.clone().with_first("Via", bob.via());
            let answer = bob.ask(again);
            (answer.status() == Some(200)).then_some(answer)
        });
        assert!(ok.is_some(), "registration {turn} is refused");
    }
    let bound = desk.bindings();
    assert!(bound.len() <= 10 && bound.iter().any(|it| it.contains(&desk.contact())), "{bound:?}");
}

#[test]
fn a_call_continues_with_a_phone_that_has_a_new_connection() {
    let server = Server::start(&format!("{OPEN}workers: 2\n"));
    let mut alice = Phone::udp("alice", server.address()).registered();
    let contact = "<sip:bob@10.11.12.13:5062;transport=tcp>";
    let mut bob = Phone::tcp("bob", server.address());
    let register = bob.register(Some(contact)).with("Expires", 600);
    assert_eq!(bob.ask(register).status(), Some(200));
    let (sent, at_bob) = alice.calls(BOB, &mut bob);
    let answer = bob.answer(&at_bob, 200).set("Contact", contact);
    bob.send(answer);
    let ok = alice.response(200);
    let mut dialog = Dialog::caller(&sent, &ok);
    alice.send(dialog.ack());
    bob.expect("ACK");
    // The connection is closed, and the phone registers over another one.
    drop(bob);
    let mut bob = Phone::tcp("bob", server.address());
    let register = bob.register(Some(contact)).with("Expires", 600);
    assert_eq!(bob.ask(register).status(), Some(200));
    let gone = || (server.metrics().sum("frontdesk_connections", &[]) <= 1.0).then_some(());
    wait_for(crate::harness::PATIENCE, gone);
    for method in ["INFO", "BYE"] {
        let request = dialog.request(method);
        alice.send(request);
        let at_bob = bob.expect(method);
        bob.reply(&at_bob, 200);
        alice.response(200);
    }
}

#[test]
fn a_transfer_target_is_reached_by_its_contact() {
    let server = Server::start(CLOSED);
    let mut alice = Phone::udp("alice", server.address()).registered_as("wonderland");
    let contact = "sip:bob@10.11.12.13:5062";
    let mut bob = Phone::tcp("bob", server.address());
    let register = bob.register(Some(&format!("<{contact}>"))).with("Expires", 600);
    bob.authenticated(register, Credentials::new("bob", "builder"));
    bob.response(200);
    let invite = alice.invite(contact);
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    assert_eq!(at_bob.uri(), contact);
    bob.reply(&at_bob, 486);
    alice.response(486);
    // Others do not learn whether a phone is registered.
    let mut eve = Phone::udp("alice", server.address());
    for uri in [contact, "sip:bob@10.11.12.13:5063"] {
        let message = eve.request("MESSAGE", uri);
        assert_eq!(eve.ask(message).status(), Some(403));
    }
    bob.silence();
}

#[test]
fn a_call_to_a_closed_connection_is_refused_at_once() {
    let server = Server::start(OPEN);
    let bob = Phone::tcp("bob", server.address()).registered();
    drop(bob);
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    alice.send(invite);
    // Its Contact cannot be connected to: the caller need not wait for Timer B (checklist 77).
    let refused = alice.next();
    assert!(refused.status() >= Some(400), "{refused}");
}

#[test]
fn without_rport_the_response_goes_to_the_port_in_the_via() {
    let server = Server::start(OPEN);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
    let mut listening = Phone::on_socket("bob", server.address(), socket);
    let mut sending = Phone::udp("bob", server.address());
    let options = sending.request("OPTIONS", "sip:office.example");
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bKother", listening.local());
    sending.send(options.with_first("Via", via));
    // checklist 111
    listening.response(200);
}

#[test]
fn the_advertised_name_is_in_via_and_record_route() {
    let server = Server::start(&format!("{OPEN}advertise: sip.office.example\n"));
    let mut bob = Phone::tcp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let (sent, at_bob) = alice.calls(BOB, &mut bob);
    assert!(at_bob.list("Via")[0].contains(" sip.office.example"), "{at_bob}");
    for route in at_bob.list("Record-Route") {
        assert!(uri(route).contains("@sip.office.example"), "{at_bob}");
    }
    // A response with this name in its Via is ours, and a request with it in its Route too.
    let answer = bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    let mut caller = Dialog::caller(&sent, &ok);
    alice.send(caller.ack());
    bob.expect("ACK");
    let mut callee = Dialog::callee(&at_bob, &answer);
    let info = callee.request("INFO");
    bob.send(info);
    let info = alice.expect("INFO");
    assert!(info.find("Route").is_none(), "{info}");
    alice.reply(&info, 200);
    bob.response(200);
    let bye = caller.request("BYE");
    alice.send(bye);
    bob.expect("BYE");
}

#[test]
fn port_0_takes_a_free_port_and_logs_it() {
    let ip = fresh_ip();
    let folder = tempfile::TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let listen = format!("listen: [\"udp://{ip}:0\", \"tcp://{ip}:0\"]\nmetrics: {{ listen: \"{ip}:0\" }}\n");
    let server = Server::start_in(folder, ip, &format!("{OPEN}{listen}"));
    let port = |prefix: &str| -> Option<SocketAddr> {
        let log = server.log();
        let rest = log.split(prefix).nth(1)?;
        rest.split(|letter: char| letter.is_whitespace() || letter == '/').next()?.parse().ok()
    };
    for transport in ["udp", "tcp"] {
        let address = wait_for(crate::harness::PATIENCE, || port(&format!("listening on {transport}://")));
        let address = address.unwrap_or_else(|| panic!("no address in the log:\n{}", server.log()));
        assert_ne!(address.port(), 0);
        let mut phone = if transport == "udp" { Phone::udp("bob", address) } else { Phone::tcp("bob", address) };
        let options = phone.request("OPTIONS", "sip:office.example");
        assert_eq!(phone.ask(options).status(), Some(200));
    }
    let metrics = port("http://").unwrap_or_else(|| panic!("no metrics address in the log:\n{}", server.log()));
    assert!(crate::harness::metrics::Metrics::scrape(metrics).has("frontdesk_uptime_seconds"));
}

/// Each phone has its own port, so the kernel delivers its messages to any worker: the one with the call, or another
/// one.
#[test]
fn messages_of_a_call_may_arrive_at_any_worker() {
    let config = format!("{OPEN}workers: 4\n");
    let server = Server::start(&config);
    for number in 0..40 {
        let callee = format!("bob{number}");
        let mut desk = Phone::udp(&callee, server.address()).registered();
        let mut cell = if number % 2 == 0 {
            Phone::udp(&callee, server.address()).registered()
        } else {
            Phone::tcp(&callee, server.address()).registered()
        };
        let mut alice =
            if number % 3 == 0 { Phone::tcp("alice", server.address()) } else { Phone::udp("alice", server.address()) };
        let invite = alice.invite(&format!("sip:{callee}@office.example"));
        let sent = alice.send(invite);
        let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
        desk.reply(&at_desk, 180);
        alice.response(180);
        cell.reply(&at_cell, 200);
        let ok = alice.response(200);
        let cancel = desk.expect("CANCEL");
        desk.reply(&cancel, 200);
        desk.reply(&at_desk, 487);
        desk.expect("ACK");
        let mut dialog = Dialog::caller(&sent, &ok);
        alice.send(dialog.ack());
        cell.expect("ACK");
        let bye = dialog.request("BYE");
        alice.send(bye);
        let bye = cell.expect("BYE");
        cell.reply(&bye, 200);
        alice.response(200);
    }
    let metrics = server.metrics();
    assert_eq!(metrics.sum("frontdesk_forks_total", &[("outcome", "answered")]), 40.0);
    assert_eq!(metrics.sum("frontdesk_drops_total", &[("reason", "stray_response")]), 0.0);
}
