//! Timers and limits: Timer C, phones that do not respond, and the limits of the configuration. RFC 3261 16.6 step 11,
//! 16.8; RFC 4320.

use std::time::{Duration, Instant};

use crate::harness::message::ack_of;
use crate::harness::server::OPEN;
use crate::harness::{Message, PATIENCE, Phone, Server};

const BOB: &str = "sip:bob@office.example";

fn two_phones(config: &str) -> (Server, Phone, Phone, Phone) {
    let server = Server::start(&format!("{OPEN}{config}"));
    let desk = Phone::udp("bob", server.address()).registered();
    let cell = Phone::udp("bob", server.address()).registered();
    let alice = Phone::udp("alice", server.address());
    (server, alice, desk, cell)
}

#[test]
fn timer_c_ends_a_call_without_further_responses() {
    let (_server, mut alice, mut desk, mut cell) = two_phones("timers: { c: 2s }\n");
    let invite = alice.invite(BOB);
    let sent = alice.send(invite);
    let (at_desk, at_cell) = (desk.expect("INVITE"), cell.expect("INVITE"));
    cell.reply(&at_cell, 486);
    cell.expect("ACK");
    desk.reply(&at_desk, 180);
    alice.response(180);
    std::thread::sleep(Duration::from_millis(1_200));
    // checklist 61: a further provisional response restarts Timer C.
    let again = desk.answer(&at_desk, 183);
    desk.send(again);
    alice.response(183);
    let begun = Instant::now();
    // checklist 59, 76
    let cancel = desk.expect("CANCEL");
    assert!(begun.elapsed() > Duration::from_millis(1_500), "cancelled after {:?}", begun.elapsed());
    desk.reply(&cancel, 200);
    desk.reply(&at_desk, 487);
    let ended = alice.next();
    assert!(matches!(ended.status(), Some(408 | 480 | 486)), "{ended}");
    alice.send(ack_of(&sent, &ended));
}

#[test]
fn phones_without_a_response_give_408_to_a_call_and_nothing_to_a_message() {
    let (_server, mut alice, mut desk, mut cell) = two_phones("timers: { t1: 50ms, t2: 200ms }\n");
    let message = alice.request("MESSAGE", BOB).body("text/plain", "hello");
    alice.send(message);
    desk.expect("MESSAGE");
    cell.expect("MESSAGE");
    // checklist 90: the INVITE is retransmitted.
    let (sent, at_desk) = alice.calls(BOB, &mut desk);
    let copy = loop {
        let next = desk.next_any(PATIENCE).expect("a copy");
        if next.method() == "INVITE" {
            break next;
        }
    };
    assert_eq!(copy, at_desk);
    // checklist 71, 123, 124: 64·T1 are 3.2 s here. The MESSAGE ends first, without a response.
    let ended = alice.next();
    assert_eq!((ended.status(), ended.method()), (Some(408), "INVITE"), "{ended}");
    alice.send(ack_of(&sent, &ended));
    alice.silence();
}

#[test]
fn forked_calls_beyond_the_limit_are_refused() {
    let (server, mut alice, mut desk, _cell) = two_phones("workers: 1\nlimits: { transactions: 3 }\n");
    let mut open: Vec<(Message, Message)> = Vec::new();
    for _ in 0..3 {
        let invite = alice.invite(BOB);
        let sent = alice.send(invite);
        open.push((sent, desk.expect("INVITE")));
    }
    let invite = alice.invite(BOB);
    let sent = alice.send(invite);
    let refused = alice.response(503);
    assert!(refused.find("Retry-After").is_some(), "{refused}");
    alice.send(ack_of(&sent, &refused));
    server.counts("frontdesk_limits_reached_total", &[("limit", "transactions")], |count| count >= 1.0);
    // Calls that began before the limit continue.
    for (_, at_desk) in &open {
        desk.reply(at_desk, 200);
        alice.response(200);
    }
}
