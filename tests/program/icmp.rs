//! UDP phones that are gone: ICMP says so at once (RFC 3261 18.4), long before the timers do.

use std::time::{Duration, Instant};

use crate::harness::message::ack_of;
use crate::harness::{Phone, Server};

const OPEN: &str = "authentication: off\n";
const BOB: &str = "sip:bob@office.example";

/// Within this time after the call the caller or the next phone has to know. The timers would take 32 s.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn the_next_phone_is_called_at_once() {
    // checklist 77, 115
    let server = Server::start("authentication: off\nforking: { strategy: sequential }\n");
    let gone = Phone::udp("bob", server.address()).registered_with_q("1.0");
    let mut mobile = Phone::udp("bob", server.address()).registered_with_q("0.5");
    drop(gone);
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite(BOB);
    let began = Instant::now();
    let invite = alice.send(invite);
    let received = mobile.expect("INVITE");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    mobile.reply(&received, 486);
    let busy = alice.response(486);
    alice.send(ack_of(&invite, &busy));
    server.counts("frontdesk_drops_total", &[("reason", "unreachable")], |count| count >= 1.0);
}

#[test]
fn the_caller_of_a_single_phone_gets_a_response_at_once() {
    // checklist 96, 115: without a transaction too, whatever the transport of the caller, and at each worker.
    let server = Server::start("authentication: off\nworkers: 4\n");
    for large in [0, 1_000] {
        for number in 0..6 {
            let bob = Phone::udp("bob", server.address()).registered();
            let contact = bob.contact();
            drop(bob);
            let mut alice = match number % 2 {
                0 => Phone::udp("alice", server.address()),
                _ => Phone::tcp("alice", server.address()),
            };
            for method in ["INVITE", "MESSAGE"] {
                let request = alice.request(method, BOB).body("text/plain", "x".repeat(large));
                let began = Instant::now();
                let request = alice.send(request);
                let failed = alice.response(500);
                assert!(began.elapsed() < SOON, "{method} {large} {:?}", began.elapsed());
                if method == "INVITE" {
                    alice.send(ack_of(&request, &failed));
                }
            }
            let mut bob = Phone::udp("bob", server.address());
            let removal = bob.register(Some(&format!("<{contact}>;expires=0")));
            assert_eq!(bob.ask(removal).status(), Some(200));
        }
    }
}

#[test]
fn a_response_to_a_caller_that_is_gone_ends_there() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let (_, received) = alice.calls(BOB, &mut bob);
    drop(alice);
    for status in [180, 486] {
        bob.reply(&received, status);
    }
    // The failure is reported for requests only, and bob gets nothing but the ACK of a transaction, if there is one.
    let mut carol = Phone::udp("carol", server.address());
    let message = carol.request("MESSAGE", BOB);
    carol.send(message);
    let message = bob.expect("MESSAGE");
    bob.reply(&message, 200);
    carol.response(200);
    assert!(server.metrics().sum("frontdesk_drops_total", &[("reason", "unreachable")]) < 0.5);
}
