//! Clients that watch the calls of a user (RFC 4235), as the phone of alice: they see carol's phone ring, answer and hang up.

use crate::harness::digest::Credentials;
use crate::harness::{Dialog, Phone, Server};
use crate::jssip::JSSIP;
use crate::pjsua::PJSUA;
use crate::softphone::{Client, Over, Settings};

const CONFIG: &str = "\
domains: [office.example]
authentication: required
accounts:
  - { user: alice, password: wonderland, may_watch: all }
  - { user: bob, password: builder }
  - { user: carol, password: christmas }
subscriptions: { call_interval: 50ms }
";

/// bob calls carol, whose phone rings; carol answers, and bob hangs up. The client prints the state of each dialog.
#[track_caller]
fn it_watches(client: &'static Client, over: Over, proxy: bool) {
    // checklist 173
    let server = Server::start(CONFIG);
    let settings = Settings::new(&server, over, proxy);
    let mut carol = Phone::udp("carol", server.address()).registered_as("christmas");
    let mut watcher = (client.start)(&server, &settings);
    server.counts("frontdesk_bindings", &[], |count| count == 2.0);
    watcher.type_in(&format!("watch {}", settings.uri("carol")));
    watcher.says("lamp no dialog");

    let mut bob = Phone::udp("bob", server.address());
    let invite = bob.invite("sip:carol@office.example");
    let invite = bob.authenticated(invite, Credentials::new("bob", "builder"));
    let received = carol.expect("INVITE");
    carol.reply(&received, 180);
    bob.response(180);
    watcher.says("lamp early");
    carol.reply(&received, 200);
    let mut dialog = Dialog::caller(&invite, &bob.response(200));
    bob.send(dialog.ack());
    carol.expect("ACK");
    watcher.says("lamp confirmed");
    bob.send(dialog.request("BYE"));
    let bye = carol.expect("BYE");
    carol.reply(&bye, 200);
    bob.response(200);
    watcher.says("lamp terminated");
    watcher.quits();
}

#[test]
fn pjsua_watches_over_udp() {
    it_watches(&PJSUA, Over::Udp, false);
}

#[test]
fn pjsua_watches_over_tcp_through_an_outbound_proxy() {
    it_watches(&PJSUA, Over::Tcp, true);
}

#[test]
fn jssip_watches_over_websocket() {
    it_watches(&JSSIP, Over::WebSocket, false);
}
