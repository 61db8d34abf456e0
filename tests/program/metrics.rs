//! `/metrics`: accepted by Prometheus' own tool, with the names that the README lists, and counting what happens.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::digest::Credentials;
use crate::harness::message::ack_of;
use crate::harness::server::CLOSED;
use crate::harness::{Phone, Server};

/// A call, a refused call, a wrong password, some invalid datagrams.
fn traffic(server: &Server) -> (Phone, Phone) {
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::tcp("alice", server.address()).registered_as("wonderland");
    let credentials = Credentials::new("alice", "wonderland");
    let invite = alice.invite("sip:bob@office.example");
    alice.authenticated(invite, credentials);
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 180);
    alice.response(180);
    bob.reply(&at_bob, 200);
    alice.response(200);
    let invite = alice.invite("sip:nobody@office.example");
    let sent = alice.authenticated(invite, credentials);
    let refused = alice.response(404);
    alice.send(ack_of(&sent, &refused));
    let mut mallory = Phone::udp("bob", server.address());
    let register = mallory.register(Some("<sip:mallory@192.0.2.66>"));
    mallory.authenticated(register, Credentials::new("bob", "guess"));
    mallory.response(401);
    mallory.send_raw(b"garbage");
    (alice, bob)
}

#[test]
fn promtool_accepts_the_scrape() {
    let server = Server::start(CLOSED);
    let _phones = traffic(&server);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is needed (Debian package prometheus)");
    let text = server.metrics().text;
    promtool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

#[test]
fn every_metric_has_the_prefix_a_help_text_and_a_type() {
    let server = Server::start(CLOSED);
    let _phones = traffic(&server);
    let text = server.metrics().text;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.starts_with("frontdesk_"), "{line}");
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let described = |what: &str| [name, base].iter().any(|name| text.contains(&format!("# {what} {name} ")));
        assert!(described("HELP") && described("TYPE"), "{name} is not described");
        assert!(!line.contains("office.example") && !line.contains("bob"), "what a peer wrote became a label: {line}");
    }
}

#[test]
fn events_are_counted() {
    let server = Server::start(&format!("{CLOSED}location: {{ store: disk, path: data/location }}\n"));
    let (_alice, _bob) = traffic(&server);
    let at_least = |least: f64| move |count: f64| count >= least;
    let exactly = |number: f64| move |count: f64| count == number;
    server.counts("frontdesk_bindings", &[], exactly(2.0));
    server.counts("frontdesk_users", &[], exactly(2.0));
    server.counts("frontdesk_registrations_total", &[("outcome", "registered")], exactly(2.0));
    server.counts("frontdesk_registrations_total", &[("outcome", "challenged")], exactly(4.0));
    server.counts("frontdesk_requests_received_total", &[("method", "INVITE"), ("transport", "tcp")], exactly(4.0));
    server.counts("frontdesk_requests_forwarded_total", &[("method", "INVITE"), ("transport", "udp")], exactly(1.0));
    server.counts("frontdesk_responses_sent_total", &[("method", "INVITE"), ("code", "407")], exactly(2.0));
    server.counts("frontdesk_responses_sent_total", &[("method", "INVITE"), ("code", "404")], exactly(1.0));
    server.counts("frontdesk_responses_received_total", &[("code", "200")], at_least(1.0));
    server.counts("frontdesk_authentication_failures_total", &[("reason", "credentials")], exactly(1.0));
    server.counts("frontdesk_parse_errors_total", &[], at_least(1.0));
    server.counts("frontdesk_uptime_seconds", &[], at_least(0.0));
    let metrics = server.metrics();
    for name in [
        "frontdesk_build_info",
        "frontdesk_transactions",
        "frontdesk_pins",
        "frontdesk_drops_total",
        "frontdesk_forks_total",
        "frontdesk_limits_reached_total",
        "frontdesk_store_queue",
        "frontdesk_store_commit_seconds_count",
    ] {
        assert!(metrics.has(name), "no {name} in\n{}", metrics.text);
    }
    assert_eq!(metrics.sum("frontdesk_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
}

#[test]
fn a_stateless_call_holds_a_pin_for_a_while() {
    let server = Server::start(&CLOSED.replace("required", "off"));
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    alice.send(invite);
    bob.expect("INVITE");
    server.counts("frontdesk_pins", &[], |count| count == 1.0);
    server.counts("frontdesk_transactions", &[], |count| count == 0.0);
}
