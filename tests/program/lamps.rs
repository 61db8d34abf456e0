//! Busy lamps (RFC 4235), picking up a call that rings (RFC 3891) and message lamps (RFC 3842), at a server with several
//! workers.

use crate::harness::dialog::Dialog;
use crate::harness::digest::Credentials;
use crate::harness::server::CLOSED;
use crate::harness::{Message, Phone, Server};

const BOB: &str = "sip:bob@office.example";

/// A server whose user `board` may watch all users, and pick up bob's calls.
fn setup(more: &str) -> Server {
    let board = "  - { user: board, password: lamps, may_watch: all, may_pick_up: [bob] }\n";
    let rest = "workers: 3\nsubscriptions: { call_interval: 50ms }\ntimers: { t1: 50ms, t2: 200ms }\n";
    Server::start(&format!("{CLOSED}{board}{rest}{more}"))
}

#[track_caller]
pub(crate) fn subscribe(watcher: &mut Phone, user: &str) -> Message {
    let asked = watcher.request("SUBSCRIBE", &format!("sip:{user}@office.example"));
    let asked =
        watcher.authenticated(asked.with("Event", "dialog").with("Expires", 600), Credentials::new("board", "lamps"));
    watcher.response(200);
    asked
}

/// The body of the next NOTIFY with all these parts.
#[track_caller]
pub(crate) fn sees(watcher: &mut Phone, parts: &[&str]) -> String {
    let notify = watcher.expect("NOTIFY");
    watcher.reply(&notify, 200);
    let body = String::from_utf8(notify.body.clone()).expect("UTF-8");
    for part in parts {
        assert!(body.contains(part), "no {part} in\n{body}");
    }
    body
}

pub(crate) fn attribute<'a>(body: &'a str, name: &str) -> &'a str {
    let (_, value) = body.split_once(&format!(" {name}=\"")).unwrap_or_default();
    value.split('"').next().unwrap_or_default()
}

#[test]
fn a_lamp_follows_a_call() {
    // checklist 173
    let server = setup("");
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut board = Phone::tcp("board", server.address());
    subscribe(&mut board, "bob");
    sees(&mut board, &["state=\"full\"", &format!("entity=\"{BOB}\"")]);
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    let invite = alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let received = bob.expect("INVITE");
    bob.reply(&received, 180);
    alice.response(180);
    sees(&mut board, &["state=\"partial\"", "<state>early</state>", ">sip:alice@office.example</identity>"]);
    bob.reply(&received, 200);
    let accepted = alice.response(200);
    let mut dialog = Dialog::caller(&invite, &accepted);
    alice.send(dialog.ack());
    bob.expect("ACK");
    let confirmed = sees(&mut board, &["<state>confirmed</state>"]);
    assert_eq!(attribute(&confirmed, "call-id"), "", "nobody takes an answered call over");
    alice.send(dialog.request("BYE"));
    let bye = bob.expect("BYE");
    bob.reply(&bye, 200);
    alice.response(200);
    sees(&mut board, &["<state event=\"remote-bye\">terminated</state>"]);
}

#[test]
fn a_call_that_rings_is_picked_up() {
    // checklist 175
    let server = setup("");
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address()).registered_as("wonderland");
    let mut board = Phone::udp("board", server.address()).registered_as("lamps");
    subscribe(&mut board, "bob");
    sees(&mut board, &["state=\"full\""]);
    let invite = alice.invite(BOB);
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let received = bob.expect("INVITE");
    bob.reply(&received, 180);
    alice.response(180);
    let ringing = sees(&mut board, &["<state>early</state>", "<target uri=\"sip:alice@office.example\"/>"]);
    let [call_id, from, to] = ["call-id", "local-tag", "remote-tag"].map(|name| attribute(&ringing, name));
    let replaces = format!("{call_id};to-tag={to};from-tag={from};early-only");
    let mut carol = Phone::udp("carol", server.address());
    let stolen = carol.invite("sip:alice@office.example").with("Replaces", &replaces);
    carol.authenticated(stolen, Credentials::new("carol", "christmas"));
    carol.response(403);
    let pickup = board.invite("sip:alice@office.example").with("Replaces", &replaces);
    board.authenticated(pickup, Credentials::new("board", "lamps"));
    let picked = alice.expect("INVITE");
    assert_eq!(picked.header("Replaces"), replaces);
    alice.reply(&picked, 200);
    loop {
        let next = board.next();
        if next.status().is_none() {
            board.reply(&next, 200);
            continue;
        }
        assert_eq!((next.method(), next.status()), ("INVITE", Some(200)), "{next}");
        break;
    }
}

#[test]
fn a_message_lamp_is_the_voicemail_server_s() {
    // checklist 174
    let none = setup("");
    let mut bob = Phone::udp("bob", none.address());
    let refused = bob.request("SUBSCRIBE", BOB).with("Event", "message-summary");
    assert_eq!(bob.ask(refused).status(), Some(489));
    let mut voicemail = Phone::udp("vm", none.address());
    let server = setup(&format!("voicemail: \"sip:vm@{}\"\n", voicemail.local()));
    voicemail.moves_to(server.address());
    let mut bob = Phone::udp("bob", server.address());
    let asked = bob.request("SUBSCRIBE", BOB).with("Event", "message-summary").with("Expires", 600);
    bob.authenticated(asked, Credentials::new("bob", "builder"));
    let received = voicemail.expect("SUBSCRIBE");
    assert_eq!(received.uri(), format!("sip:bob@{}", voicemail.local()));
    voicemail.reply(&received, 200);
    bob.response(200);
}
