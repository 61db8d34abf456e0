//! Two baresip phones: they register with digest, one calls the other through the server, they exchange audio for some
//! seconds, and one hangs up. The result is taken from the logs of the phones.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::baresip::Baresip;
use crate::harness::server::{CLOSED, fresh_ip};
use crate::harness::{Authority, Dialog, Phone, Server};

/// How long the call lasts: one RTCP report, which is sent every 5 s, must fall into it.
const TALK: Duration = Duration::from_secs(7);

/// alice calls bob, they exchange audio, and one of them hangs up.
#[track_caller]
fn call_with_audio(alice_over: &str, bob_over: &str, hangs_up: &str) {
    let (authority, address) = (Authority::new(), fresh_ip());
    // The phones connect to the address.
    let certificate = authority.issue("server", &["office.example", &address.to_string()]);
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let config = format!("{CLOSED}{}", authority.config(&certificate, ""));
    let server = Server::start_in(folder, address, &config);
    let bob = Baresip::start(&server, &authority, "bob", "builder", bob_over);
    let alice = Baresip::start(&server, &authority, "alice", "wonderland", alice_over);
    server.counts("frontdesk_bindings", &[], |count| count == 2.0);
    // baresip 1.0 gives up at SHA-256 and tries again after half a minute. Its User-Agent identifies it, so each phone
    // gets one challenge and responds to it.
    for outcome in ["challenged", "registered"] {
        server.counts("frontdesk_registrations_total", &[("outcome", outcome)], |count| count == 2.0);
    }

    alice.command("dial", "sip:bob@office.example");
    alice.says("Call established: sip:bob@office.example");
    bob.says("Call established: sip:alice@office.example");
    std::thread::sleep(TALK);
    let (first, second) = if hangs_up == "alice" { (&alice, &bob) } else { (&bob, &alice) };
    first.command("hangup", "");
    first.says("terminated (duration:");
    second.says("terminated (duration:");

    for phone in [&alice, &bob] {
        let received = phone.received();
        assert!(received > 100, "{received} RTP packets only:\n{}", phone.log());
    }
    server.counts("frontdesk_requests_forwarded_total", &[("method", "BYE")], |count| count == 1.0);
    alice.quit();
    bob.quit();
    server.counts("frontdesk_bindings", &[], |count| count == 0.0);
}

#[test]
fn two_phones_talk_over_udp() {
    call_with_audio("udp", "udp", "alice");
}

#[test]
fn two_phones_talk_over_tcp_and_the_callee_hangs_up() {
    call_with_audio("tcp", "tcp", "bob");
}

#[test]
fn two_phones_talk_from_udp_to_tcp() {
    call_with_audio("udp", "tcp", "bob");
}

#[test]
fn two_phones_talk_over_tls() {
    call_with_audio("tls", "tls", "bob");
}

#[test]
fn two_phones_talk_from_tls_to_udp() {
    call_with_audio("tls", "udp", "alice");
}

#[test]
fn a_message_lamp_shows_what_the_voicemail_server_says() {
    // checklist 174
    let address = fresh_ip();
    let mut voicemail = Phone::udp("vm", SocketAddr::new(address, 5060));
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let server = Server::start_in(folder, address, &format!("{CLOSED}voicemail: \"sip:vm@{}\"\n", voicemail.local()));
    voicemail.moves_to(server.address());
    let bob = Baresip::start_with_message_lamp(&server, "bob", "builder");
    let subscribe = voicemail.expect("SUBSCRIBE");
    let accepted = voicemail.reply(&subscribe, 200);
    let mut dialog = Dialog::callee(&subscribe, &accepted);
    for messages in ["2/8 (0/2)", "0/9 (0/2)"] {
        let summary = format!("Messages-Waiting: yes\r\nVoice-Message: {messages}\r\n");
        let notify = dialog.request("NOTIFY").with("Event", "message-summary");
        let notify = notify.with("Subscription-State", "active;expires=600");
        voicemail.send(notify.body("application/simple-message-summary", summary));
        voicemail.response(200);
        bob.says(&format!("Voice-Message: {messages}"));
    }
    assert!(!bob.log().contains("subscription for"), "it has ended:\n{}", bob.log());
}
