//! Lamps and pickup at several servers: the watcher and the call are at different ones (docs/lamps.md, docs/cluster.md).

use std::time::{Duration, Instant};

use crate::cluster::{knows, pair};
use crate::harness::digest::Credentials;
use crate::harness::redis::Redis;
use crate::harness::server::CLOSED;
use crate::harness::{Dialog, Message, Phone, Server};
use crate::lamps::{attribute, sees, subscribe};

const BOB: &str = "sip:bob@office.example";

/// Servers with several workers whose user `board` may watch all users and pick up bob's calls.
#[track_caller]
fn setup(redis: &Redis) -> [Server; 2] {
    let board = "  - { user: board, password: lamps, may_watch: all, may_pick_up: [bob] }\n";
    let rest = "workers: 3\nsubscriptions: { call_interval: 10ms }\n";
    pair(redis, &format!("{CLOSED}{board}{rest}"))
}

/// alice calls bob, whose phone rings.
#[track_caller]
fn rings(alice: &mut Phone, bob: &mut Phone) -> (Message, Message) {
    let invite = alice.invite(BOB);
    let invite = alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let received = bob.expect("INVITE");
    bob.reply(&received, 180);
    alice.response(180);
    (invite, received)
}

#[test]
fn a_lamp_at_one_server_follows_a_call_through_another() {
    // checklist 173
    let redis = Redis::start();
    let [a, b] = setup(&redis);
    // The phone that is called is at the server of the watcher, and sends its BYE there.
    let mut bob = Phone::tcp("bob", b.address()).registered_as("builder");
    knows(&a, 1.0);
    let mut board = Phone::tcp("board", b.address());
    subscribe(&mut board, "bob");
    sees(&mut board, &["state=\"full\""]);
    let mut alice = Phone::udp("alice", a.address());
    // Each call with another Call-ID, so that all workers get some.
    for by_caller in [true, false, true, false] {
        let (invite, received) = rings(&mut alice, &mut bob);
        let rang = Instant::now();
        sees(&mut board, &["<state>early</state>", ">sip:alice@office.example</identity>", "call-id=\""]);
        let took = rang.elapsed();
        assert!(took < Duration::from_millis(100), "{took:?}");
        let ok = bob.reply(&received, 200);
        let accepted = alice.response(200);
        let (mut from_alice, mut from_bob) = (Dialog::caller(&invite, &accepted), Dialog::callee(&received, &ok));
        alice.send(from_alice.ack());
        bob.expect("ACK");
        let confirmed = sees(&mut board, &["<state>confirmed</state>"]);
        assert_eq!((confirmed.matches("<dialog ").count(), attribute(&confirmed, "call-id")), (1, ""));
        let (one, other, bye, event) = match by_caller {
            true => (&mut alice, &mut bob, from_alice.request("BYE"), "remote-bye"),
            false => (&mut bob, &mut alice, from_bob.request("BYE"), "local-bye"),
        };
        one.send(bye);
        let bye = other.expect("BYE");
        other.reply(&bye, 200);
        one.response(200);
        sees(&mut board, &[&format!("<state event=\"{event}\">terminated</state>")]);
    }
    a.counts("frontdesk_calls", &[], |calls| calls == 0.0);
}

#[test]
fn a_call_that_rings_through_another_server_is_picked_up() {
    // checklist 175
    let redis = Redis::start();
    let [a, b] = setup(&redis);
    let mut bob = Phone::udp("bob", a.address()).registered_as("builder");
    let mut alice = Phone::tcp("alice", a.address()).registered_as("wonderland");
    let mut board = Phone::udp("board", b.address()).registered_as("lamps");
    knows(&a, 3.0);
    knows(&b, 3.0);
    subscribe(&mut board, "bob");
    sees(&mut board, &["state=\"full\""]);
    rings(&mut alice, &mut bob);
    let ringing = sees(&mut board, &["<state>early</state>"]);
    let [call_id, from, to] = ["call-id", "local-tag", "remote-tag"].map(|name| attribute(&ringing, name));
    let replaces = format!("{call_id};to-tag={to};from-tag={from};early-only");
    for server in [&a, &b] {
        let mut carol = Phone::udp("carol", server.address());
        let stolen = carol.invite("sip:alice@office.example").with("Replaces", &replaces);
        carol.authenticated(stolen, Credentials::new("carol", "christmas"));
        carol.response(403);
    }
    let pickup = board.invite(BOB).with("Replaces", &replaces);
    board.authenticated(pickup, Credentials::new("board", "lamps"));
    let picked = alice.expect("INVITE");
    assert_eq!(picked.header("Replaces"), replaces);
}

#[test]
fn the_calls_of_a_server_that_was_killed_vanish_from_the_lamps() {
    // checklist 173
    let mut redis = Redis::start();
    let [a, b] = setup(&redis);
    let mut bob = Phone::udp("bob", a.address()).registered_as("builder");
    knows(&b, 1.0);
    let mut alice = Phone::udp("alice", a.address());
    rings(&mut alice, &mut bob);
    // The call began before anybody watched.
    let mut board = Phone::tcp("board", b.address());
    subscribe(&mut board, "bob");
    let first = sees(&mut board, &["state=\"full\""]);
    if !first.contains("<state>early</state>") {
        sees(&mut board, &["<state>early</state>"]);
    }
    // Lamps do not need Redis.
    redis.kill();
    let mut carol = Phone::udp("carol", a.address());
    let invite = carol.invite(BOB);
    carol.authenticated(invite, Credentials::new("carol", "christmas"));
    let received = bob.expect("INVITE");
    bob.reply(&received, 180);
    sees(&mut board, &[">sip:carol@office.example</identity>"]);
    redis.run();
    b.logs("registrations can be written to the shared store");
    drop(a.kill());
    let ended = sees(&mut board, &[">terminated</state>"]);
    assert!(!ended.contains("<state>early</state>"), "{ended}");
}
