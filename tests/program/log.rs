//! What an operator reads: a line for a registration, a line for a call, as text or JSON; secrets never.

use crate::harness::digest::Credentials;
use crate::harness::server::CLOSED;
use crate::harness::{Phone, Server};

fn one_call(server: &Server) {
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
    server.logs("alice@office.example");
}

#[test]
fn a_registration_and_a_call_are_a_line_each() {
    let server = Server::start(CLOSED);
    one_call(&server);
    let log = server.log();
    let lines = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(lines(&["bob@office.example", "registered", "127.0.0.1", "udp"]), 1, "{log}");
    assert_eq!(lines(&["alice@office.example", "bob@office.example"]), 1, "{log}");
    for secret in ["wonderland", "builder", "christmas", "response="] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[test]
fn json_is_one_object_a_line() {
    let server = Server::start(&format!("{CLOSED}log: {{ format: json, level: debug }}\n"));
    one_call(&server);
    Phone::udp("mallory", server.address()).send_raw(b"garbage");
    let log = std::fs::read_to_string(server.path().join("stderr.log")).expect("the log");
    assert!(log.lines().count() >= 4, "{log}");
    for line in log.lines() {
        assert!(line.starts_with("{\"") && line.ends_with('}') && line.contains("\"level\":"), "{line}");
    }
    for secret in ["wonderland", "builder", "christmas"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}
