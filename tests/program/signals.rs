//! SIGTERM and SIGINT stop the server cleanly, SIGHUP reloads the configuration.

use std::time::Duration;

use crate::harness::digest::Credentials;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{Phone, Server, wait_for};

const DAVE: &str = "  - { user: dave, password: driver }\n";

/// Whether a user can register now.
fn knows(server: &Server, user: &str, password: &str) -> bool {
    let mut phone = Phone::udp(user, server.address());
    let query = phone.register(None);
    phone.authenticated(query, Credentials::new(user, password));
    phone.next_final().status() == Some(200)
}

#[test]
fn sigterm_stops_the_server_cleanly() {
    let server = Server::start(CLOSED);
    let _bob = Phone::tcp("bob", server.address()).registered_as("builder");
    server.stop();
}

#[test]
fn sigint_stops_the_server_cleanly() {
    let mut server = Server::start(CLOSED);
    server.signal("INT");
    let status = server.wait(Duration::from_secs(5)).expect("it ends within 5 s");
    assert!(status.success(), "{status}");
}

#[test]
fn sighup_reloads_the_accounts() {
    let server = Server::start(CLOSED);
    assert!(!knows(&server, "dave", "driver"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let without_carol = CLOSED.replace("  - { user: carol, password: christmas }\n", "");
    server.rewrite(&format!("{without_carol}{DAVE}"));
    server.signal("HUP");
    let changed = wait_for(Duration::from_secs(5), || knows(&server, "dave", "driver").then_some(()));
    assert!(changed.is_some(), "the new account is not known:\n{}", server.log());
    assert!(!knows(&server, "carol", "christmas"), "the old account is still known");
    // Registered phones stay registered.
    let query = bob.register(None);
    bob.authenticated(query, Credentials::new("bob", "builder"));
    assert_eq!(bob.response(200).list("Contact").len(), 1);
}

#[test]
fn an_invalid_file_changes_nothing() {
    let server = Server::start(CLOSED);
    server.rewrite(&format!("{CLOSED}{DAVE}nonsense: true\n"));
    server.signal("HUP");
    server.logs("nonsense");
    assert!(knows(&server, "bob", "builder"));
    assert!(!knows(&server, "dave", "driver"));
    // After the correction it is accepted.
    server.rewrite(&format!("{CLOSED}{DAVE}"));
    server.signal("HUP");
    let changed = wait_for(Duration::from_secs(5), || knows(&server, "dave", "driver").then_some(()));
    assert!(changed.is_some(), "the new account is not known:\n{}", server.log());
}

#[test]
fn a_reload_during_a_call_loses_nothing() {
    let open = OPEN.replace("[office.example]", "[office.example, branch.example]");
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut second = Phone::tcp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    alice.send(invite);
    let (at_bob, at_second) = (bob.expect("INVITE"), second.expect("INVITE"));
    bob.reply(&at_bob, 180);
    alice.response(180);

    let changes = "forking: { strategy: sequential }\nregistrar: { min_expires: 10m }\nlog: { level: debug }\n";
    server.rewrite(&format!("{open}{changes}"));
    // No packet is lost while the configuration is read.
    for turn in 0..20 {
        if turn == 10 {
            server.signal("HUP");
        }
        assert_eq!(bob.bindings().len(), 2);
    }
    server.logs("configuration reloaded");
    second.reply(&at_second, 200);
    alice.response(200);
    assert_eq!(bob.expect("CANCEL").uri(), at_bob.uri());

    // New requests use the new settings.
    let register = bob.register(Some(&format!("<{}>", bob.contact()))).with("Expires", 60);
    bob.send(register);
    bob.response(423);
    let _elsewhere = Phone::udp("bob", server.address()).of("branch.example").registered();
    server.logs("DEBUG");
}
