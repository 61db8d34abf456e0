//! sipsak, a tool for trying servers: it knows only MD5 and gives up at SHA-256. It only registers.

use std::process::Command;

use crate::harness::Server;
use crate::harness::server::CLOSED;
use crate::softphone::Over;

/// Registers, refreshes and unregisters, each after one challenge.
#[track_caller]
fn it_registers_and_leaves(over: Over, proxy: bool) {
    let server = Server::start(CLOSED);
    let ip = server.ip().to_string();
    let domain = if proxy { "office.example" } else { &ip };
    for (expires, outcome, so_far, bindings) in
        [("600", "registered", 1.0, 1.0), ("600", "registered", 2.0, 1.0), ("0", "unregistered", 1.0, 0.0)]
    {
        let mut sipsak = Command::new("sipsak");
        if proxy {
            // Must be the first argument, or sipsak resolves the domain.
            sipsak.args(["-p", &ip]);
        }
        sipsak.args(["-U", "-i", "-E", over.name(), "-C", "sip:bob@192.0.2.1", "-s", &format!("sip:bob@{domain}")]);
        sipsak.args(["-u", "bob", "-a", "builder", "-x", expires]);
        let output = sipsak.output().expect("sipsak");
        assert!(output.status.success(), "{output:?}");
        server.counts("frontdesk_registrations_total", &[("outcome", outcome)], |count| count == so_far);
        server.counts("frontdesk_bindings", &[], |count| count == bindings);
    }
    server.counts("frontdesk_registrations_total", &[("outcome", "challenged")], |count| count == 3.0);
}

#[test]
fn over_udp() {
    it_registers_and_leaves(Over::Udp, false);
}

#[test]
fn over_udp_through_an_outbound_proxy() {
    it_registers_and_leaves(Over::Udp, true);
}

#[test]
fn over_tcp() {
    it_registers_and_leaves(Over::Tcp, false);
}

#[test]
fn over_tcp_through_an_outbound_proxy() {
    it_registers_and_leaves(Over::Tcp, true);
}
