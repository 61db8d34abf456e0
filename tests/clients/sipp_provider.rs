//! SIPp as a telephone provider: it challenges the calls of the server and the BYEs to it, checks the credentials (MD5, the only
//! algorithm that SIPp knows), and calls a number without credentials. The phone of the office is a scripted one.

use std::net::IpAddr;

use super::sipp::{Over, Sipp};
use crate::harness::digest::Credentials;
use crate::harness::server::fresh_ip;
use crate::harness::{Dialog, Phone, Server};

/// A server with a phone, whose trunk is the provider at this address.
fn office(provider: IpAddr) -> (Server, Phone) {
    let server = Server::start(&format!(
        "\
domains: [office.example]
authentication: required
accounts:
  - {{ user: alice, password: a, caller_id: \"+4989112\", numbers: [\"+4989112\"] }}
trunks:
  - {{ name: provider, server: \"{provider}:5060\", user: \"4989100\", password: secret, probe: off }}
outgoing:
  - {{ prefix: \"0\", strip: 1, add: \"+49\", trunks: [provider] }}
"
    ));
    let alice = Phone::udp("alice", server.address()).registered_as("a");
    (server, alice)
}

/// The phone hangs up, and does not notice that the provider challenges its request.
#[track_caller]
fn hangs_up(alice: &mut Phone, dialog: &mut Dialog) {
    let bye = dialog.request("BYE");
    alice.send(bye);
    alice.response(200);
}

#[test]
fn a_call_to_the_provider_is_challenged() {
    let ip = fresh_ip();
    let (server, mut alice) = office(ip);
    let mut provider = Sipp::start_at(ip, &server, "provider_answers", Over::Udp, &[]);
    provider.listens(Over::Udp);
    let invite = alice.invite("sip:030555@office.example");
    let invite = alice.authenticated(invite, Credentials::new("alice", "a"));
    alice.response(180);
    let ok = alice.response(200);
    let mut dialog = Dialog::caller(&invite, &ok);
    alice.send(dialog.ack());
    hangs_up(&mut alice, &mut dialog);
    provider.succeeds();
    server.counts("frontdesk_trunk_challenges_total", &[("trunk", "provider")], |count| count == 2.0);
}

#[test]
fn the_provider_calls_a_number() {
    let ip = fresh_ip();
    let (server, mut alice) = office(ip);
    let mut provider = Sipp::start_at(ip, &server, "provider_calls", Over::Udp, &["-s", "+4989112"]);
    let received = alice.expect("INVITE");
    alice.reply(&received, 180);
    let sent = alice.reply(&received, 200);
    alice.expect("ACK");
    hangs_up(&mut alice, &mut Dialog::callee(&received, &sent));
    provider.succeeds();
}
