//! A phone cannot make the server connect to its own machine: by a loopback address, an address of the server, or a
//! name that leads there.
//!
//! The tests of the program run on loopback, where such a Contact is valid. Requests from other networks are tested in
//! crates/proxy/tests/core/forbidden_addresses.rs; here are the addresses that are always refused, and those that the
//! configuration forbids.

use std::net::TcpListener;
use std::time::Duration;

use crate::harness::server::OPEN;
use crate::harness::{Phone, Server};

fn refusal(phone: &mut Phone, contact: &str) -> (Option<u16>, String) {
    let register = phone.register(Some(&format!("<{contact}>")));
    let answer = phone.ask(register);
    (answer.status(), answer.start)
}

#[test]
fn broadcast_and_multicast_contacts_are_refused() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    for host in
        ["0.0.0.0", "[::]", "224.0.1.75", "255.255.255.255", "169.254.169.254", "[fe80::1]", "240.0.0.1", "0x7f.0x1"]
    {
        let (status, line) = refusal(&mut bob, &format!("sip:bob@{host}"));
        assert_eq!(status, Some(403), "{host}: {line}");
        assert!(line.contains("Contact names "), "{line}");
    }
    // Its own address is accepted.
    let own = bob.contact();
    assert_eq!(refusal(&mut bob, &own).0, Some(200));
}

#[test]
fn contacts_outside_of_the_configured_networks_are_refused() {
    let server = Server::start(&format!("{OPEN}registrar: {{ contact_networks: [127.0.0.0/24] }}\n"));
    let mut bob = Phone::udp("bob", server.address());
    let own = bob.contact();
    assert_eq!(refusal(&mut bob, &own).0, Some(200));
    let (status, line) = refusal(&mut bob, "sip:bob@127.0.1.1");
    assert_eq!(status, Some(403));
    assert!(line.contains("outside registrar.contact_networks"), "{line}");
}

#[test]
fn a_name_that_leads_to_a_forbidden_address_is_not_called() {
    // `localhost` is 127.0.0.1 for every resolver and outside of the networks here. It is checked when it is called.
    let server = Server::start(&format!("{OPEN}registrar: {{ contact_networks: [192.0.2.0/24] }}\n"));
    let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = inside.local_addr().expect("an address").port();
    let mut bob = Phone::udp("bob", server.address());
    assert_eq!(refusal(&mut bob, &format!("sip:bob@localhost:{port};transport=tcp")).0, Some(200));
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    assert_eq!(alice.ask(invite).status(), Some(480));
    inside.set_nonblocking(true).expect("a listener");
    std::thread::sleep(Duration::from_millis(200));
    assert!(inside.accept().is_err(), "the server has connected");
}
