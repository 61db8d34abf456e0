//! The log: one line for a registration, one line for a call, as text or JSON, and never a secret.

use crate::harness::digest::Credentials;
use crate::harness::server::CLOSED;
use crate::harness::{Phone, Server};

fn one_call(server: &Server) {
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some(&format!("<{}>", bob.contact())));
    let register = register.with("Expires", 3600).with("User-Agent", "Yealink T46S");
    bob.authenticated(register, Credentials::new("bob", "builder"));
    bob.response(200);
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
    server.logs("rang 1 phone");
}

#[test]
fn a_registration_and_a_call_log_one_line_each() {
    let server = Server::start(CLOSED);
    one_call(&server);
    let log = server.log();
    let lines = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    let ip = server.ip().to_string();
    assert_eq!(lines(&["bob registered from", "over udp", "(Yealink T46S)", "expires in 1h"]), 1, "{ip}: {log}");
    assert_eq!(lines(&["call alice -> bob: rang 1 phone, busy (bob's Yealink", "after "]), 1, "{log}");
    for secret in ["wonderland", "builder", "christmas", "response="] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[test]
fn password_guesses_log_a_limited_number_of_lines() {
    let server = Server::start(CLOSED);
    for _ in 0..12 {
        let mut mallory = Phone::udp("bob", server.address());
        let register = mallory.register(Some("<sip:mallory@192.0.2.66>"));
        mallory.authenticated(register, Credentials::new("bob", "guess"));
        mallory.response(401);
    }
    server.logs("10th time");
    let log = server.log();
    let told = log.lines().filter(|line| line.contains("registration of bob refused: wrong password")).count();
    assert_eq!(told, 4, "{log}");
    assert!(log.contains("3rd time from 127."), "{log}");
    server.counts("frontdesk_log_lines_dropped_total", &[("reason", "repeated")], |count| count == 8.0);
}

#[test]
fn user_names_can_be_left_out_of_the_log() {
    let server = Server::start(&format!("{CLOSED}log: {{ mask: [users, addresses] }}\n"));
    one_call(&server);
    let log = server.log();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains(" registered from ") || line.contains("call ")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for line in lines {
        assert!(line.contains("user-"), "{line}");
        assert!(!["bob", "alice", "127."].iter().any(|name| line.contains(name)), "{line}");
    }
}

#[test]
fn json_logs_are_one_object_per_line() {
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
