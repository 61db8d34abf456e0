//! What the registrar offers beyond RFC 3261: outbound (RFC 5626), GRUU (RFC 5627), Service-Route (RFC 3608); and
//! configured contacts for phones that cannot register.

use std::net::UdpSocket;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, param, uri};
use crate::harness::server::{CLOSED, OPEN, fresh_ip};
use crate::harness::{Message, PATIENCE, Phone, Server};

const INSTANCE: &str = "+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";

/// A REGISTER of the phone's own Contact with these parameters.
fn registration(phone: &mut Phone, params: &str) -> Message {
    let contact = format!("<{}>;{INSTANCE}{params}", phone.contact());
    phone.register(Some(&contact)).with("Supported", "path, outbound, gruu").with("Expires", 600)
}

fn gruu(contact: &str, name: &str) -> String {
    let (_, rest) = contact.split_once(&format!(";{name}=\"")).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// A call to a URI reaches this phone.
#[track_caller]
fn rings(server: &Server, uri: &str, phone: &mut Phone) {
    let mut alice = Phone::udp("alice", server.address());
    let (invite, ringing) = alice.calls(uri, phone);
    assert_eq!(ringing.uri(), phone.contact());
    phone.reply(&ringing, 486);
    let busy = alice.response(486);
    alice.send(ack_of(&invite, &busy));
    phone.expect("ACK");
}

#[test]
fn gruus_survive_a_restart() {
    // checklist 149, 151
    let config = format!("{OPEN}location: {{ store: disk, path: data/location }}\n");
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let server = Server::start_in(folder, fresh_ip(), &config);
    let mut bob = Phone::udp("bob", server.address());
    let register = registration(&mut bob, "");
    let ok = bob.ask(register);
    let [public, temporary] = ["pub-gruu", "temp-gruu"].map(|name| gruu(ok.header("Contact"), name));
    assert!(public.starts_with("sip:bob@office.example;gr=urn:uuid:f81d4fae"), "{ok}");
    assert!(!temporary.contains("bob"), "{ok}");
    let ip = server.ip();
    let server = Server::start_in(server.stop(), ip, &config);
    for uri in [&public, &temporary] {
        rings(&server, uri, &mut bob);
    }
    let register = registration(&mut bob, "");
    assert_eq!(gruu(bob.ask(register).header("Contact"), "pub-gruu"), public);
    rings(&server, &temporary, &mut bob);
}

#[test]
fn a_phone_with_a_flow_is_called_only_over_it() {
    // checklist 137, 138
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address());
    let register = registration(&mut bob, ";reg-id=1");
    let ok = bob.ask(register);
    assert_eq!((ok.header("Require"), ok.header("Flow-Timer")), ("outbound", "120"), "{ok}");
    rings(&server, "sip:bob@office.example", &mut bob);
    drop(bob);
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    alice.send(invite);
    let refused = alice.next_final();
    assert_eq!(refused.status(), Some(480), "the server does not connect to its Contact: {refused}");
}

#[test]
fn a_phone_that_misses_its_flow_timer_loses_its_flow() {
    // checklist 145
    let server = Server::start(&format!("{OPEN}registrar: {{ flow_timer: 1s, flow_grace: 1s }}\n"));
    let [mut kept, mut lost] = [(); 2].map(|()| {
        let mut phone = Phone::tcp("bob", server.address());
        let register = registration(&mut phone, ";reg-id=1");
        assert_eq!(phone.ask(register).header("Flow-Timer"), "1");
        phone
    });
    // A phone without a Flow-Timer may be silent.
    let mut plain = Phone::tcp("carol", server.address()).registered();
    for _ in 0..3 {
        kept.send_raw(b"\r\n\r\n");
        kept.octets(2);
        assert!(!kept.closed(Duration::from_millis(900)), "a flow that was kept alive is gone");
    }
    assert!(lost.closed(PATIENCE), "a flow that failed is still there");
    assert!(!plain.closed(Duration::from_millis(100)));
    server.counts("frontdesk_limits_reached_total", &[("limit", "flow_timer")], |count| count >= 1.0);
}

#[test]
fn the_configured_service_route_is_returned() {
    let server = Server::start(&format!("{OPEN}registrar: {{ service_route: [\"sip:edge.office.example;lr\"] }}\n"));
    let mut bob = Phone::udp("bob", server.address());
    let register = registration(&mut bob, "");
    assert_eq!(bob.ask(register).header("Service-Route"), "<sip:edge.office.example;lr>");
}

#[test]
fn configured_contacts_are_called() {
    // checklist 22
    let socket = UdpSocket::bind((fresh_ip(), 0)).expect("a free port");
    let contact = format!("sip:door@{}", socket.local_addr().expect("an address"));
    let accounts = format!("accounts: [{{ user: door, contacts: [\"{contact}\"] }}, {{ user: alice, password: x }}]\n");
    let server = Server::start(&format!("{OPEN}{accounts}"));
    let mut door = Phone::on_socket("door", server.address(), socket);
    rings(&server, "sip:door@office.example", &mut door);
    let bindings = door.bindings();
    assert_eq!((bindings.len(), uri(&bindings[0]), param(&bindings[0], "expires")), (1, &*contact, Some("7200")));
}

#[test]
fn a_permitted_third_party_may_register() {
    // checklist 8
    let accounts = "  - { user: setup, password: sesame, may_register: [bob] }\n";
    let server = Server::start(&format!("{CLOSED}{accounts}"));
    let setup = Credentials::new("setup", "sesame");
    for (user, status) in [("bob", 200), ("carol", 403)] {
        let mut phone = Phone::udp(user, server.address());
        let register = registration(&mut phone, "");
        phone.authenticated(register, setup);
        assert_eq!(phone.next_final().status(), Some(status), "{user}");
    }
}

#[test]
fn a_stun_keepalive_is_answered() {
    // checklist 145
    let server = Server::start(OPEN);
    let phone = UdpSocket::bind((server.ip(), 0)).expect("a free port");
    phone.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    phone.send_to(b"\0\x01\0\0\x21\x12\xA4\x42transaction!", server.address()).expect("sent");
    let mut buffer = [0; 64];
    let (length, from) = phone.recv_from(&mut buffer).expect("an answer");
    assert_eq!((&buffer[..2], length, from), (&b"\x01\x01"[..], 32, server.address()));
}
