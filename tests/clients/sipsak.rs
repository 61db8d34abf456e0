//! sipsak, a tool that administrators try servers with: it knows MD5 only and gives up at SHA-256.

use std::process::Command;

use crate::harness::Server;
use crate::harness::server::CLOSED;

#[test]
fn it_registers_at_once() {
    let server = Server::start(CLOSED);
    let mut sipsak = Command::new("sipsak");
    sipsak.args(["-U", "-i", "-C", "sip:bob@192.0.2.1", "-s", &format!("sip:bob@{}", server.ip())]);
    let output = sipsak.args(["-u", "bob", "-a", "builder", "-x", "600"]).output().expect("sipsak");
    assert!(output.status.success(), "{output:?}");
    for outcome in ["challenged", "registered"] {
        server.counts("frontdesk_registrations_total", &[("outcome", outcome)], |count| count == 1.0);
    }
}
