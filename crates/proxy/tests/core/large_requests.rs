//! Requests that are too long for UDP: RFC 3261 18.1.1.

use std::time::Duration;

use proxy::{Event, LargeRequest};
use sim::{Agent, Simulation, Sip};

/// An INVITE or another request to bob, with a body of so many octets.
fn large(from: &Agent, method: &str, octets: usize) -> Sip {
    from.request(method, "sip:bob@office.example").with_body(&"x".repeat(octets))
}

/// A phone of bob that is called over UDP according to its Contact, and accepts TCP at the same address.
fn accepts_tcp(sim: &Simulation, alice: &Agent) -> Agent {
    let bob = sim.tcp("bob");
    let contact = format!("<sip:bob@{}>", bob.address);
    alice.sends(&alice.register().set("To", "<sip:bob@office.example>").set("Contact", contact));
    alice.expects("200");
    bob
}

fn refusals(sim: &Simulation) -> usize {
    sim.count_events(|event| matches!(event, Event::LargeRequest { outcome: LargeRequest::Refused }))
}

fn transport(received: &Sip) -> &str {
    received.value("Via").split_whitespace().next().unwrap_or_default()
}

#[test]
fn a_large_request_goes_over_tcp_and_its_cancel_and_ack_follow_it() {
    // checklist 106
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let bob = accepts_tcp(&sim, &alice);
    let invite = large(&alice, "INVITE", 1300);
    alice.sends(&invite);
    alice.expects("100");
    let received = bob.expects("INVITE");
    assert_eq!(transport(&received), "SIP/2.0/TCP");
    assert!(received.value("Record-Route").contains("transport=tcp"));
    bob.answers(&received, 180);
    alice.expects("180");
    alice.cancels(&invite);
    alice.expects("200");
    let cancel = bob.expects("CANCEL");
    assert_eq!(cancel.branch(), received.branch());
    bob.answers(&cancel, 200);
    bob.answers(&received, 487);
    assert_eq!(bob.expects("ACK").branch(), received.branch());
    let cancelled = alice.expects("487");
    alice.acks(&invite, &cancelled);
    assert_eq!(refusals(&sim), 0);
}

#[test]
fn it_goes_over_udp_if_tcp_is_refused() {
    // checklist 106
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = large(&alice, "INVITE", 1300);
    alice.sends(&invite);
    alice.expects("100");
    let received = bob.expects("INVITE");
    assert_eq!(transport(&received), "SIP/2.0/UDP");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    assert_eq!(transport(&bob.expects("ACK")), "SIP/2.0/UDP");
    assert_eq!(refusals(&sim), 1);

    // In the dialog too. That TCP was refused is known, so no transaction is needed.
    let again = alice.within(&invite, &ok, "INVITE").with_body(&"x".repeat(1300));
    let transactions = sim.load(0).transactions;
    alice.sends(&again);
    let received = bob.expects("INVITE");
    bob.answers(&received, 488);
    let refused = alice.expects("488");
    alice.acks(&again, &refused);
    assert_eq!(bob.expects("ACK").branch(), received.branch());
    assert_eq!((refusals(&sim), sim.load(0).transactions), (0, transactions));
}

#[test]
fn it_takes_the_same_transport_until_the_refusal_is_forgotten() {
    let sim = Simulation::with(|settings| settings.large_requests.udp_for = Duration::from_secs(20));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    for (waits, expected) in [(0, 1), (16, 0), (2, 1)] {
        sim.seconds(waits);
        let message = large(&alice, "MESSAGE", 1300);
        alice.sends(&message);
        let received = bob.expects("MESSAGE");
        assert_eq!(refusals(&sim), expected, "after {waits} s");
        if expected == 0 {
            // It was forwarded without a transaction. A retransmission has the branch of the first copy.
            sim.seconds(5);
            alice.sends(&message);
            assert_eq!((bob.expects("MESSAGE").branch(), refusals(&sim)), (received.branch(), 0));
        }
        bob.answers(&received, 200);
        alice.expects("200");
    }
}

#[test]
fn more_than_1300_octets_are_too_many() {
    let sim = Simulation::with(|settings| settings.large_requests.udp_for = Duration::ZERO);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let forwarded = |octets: usize| {
        alice.sends(&large(&alice, "MESSAGE", octets));
        let received = bob.expects("MESSAGE");
        bob.answers(&received, 200);
        alice.expects("200");
        received.bytes().len()
    };
    let without_body = forwarded(100) - 100;
    assert_eq!((forwarded(1300 - without_body), refusals(&sim)), (1300, 0));
    // Its last branch is longer, because it is that of a transaction.
    assert!(forwarded(1301 - without_body) > 1301);
    assert_eq!(refusals(&sim), 1);
}

#[test]
fn each_phone_of_a_user_gets_it_over_what_it_accepts() {
    let sim = Simulation::new();
    let (alice, desk) = (sim.udp("alice"), sim.udp("bob/desk"));
    desk.registers();
    let mobile = accepts_tcp(&sim, &alice);
    let invite = large(&alice, "INVITE", 1300);
    alice.sends(&invite);
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    assert_eq!([transport(&at_desk), transport(&at_mobile)], ["SIP/2.0/UDP", "SIP/2.0/TCP"]);
    desk.answers(&at_desk, 486);
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    assert_eq!((refusals(&sim), mobile.expects("ACK").method()), (1, "ACK"));
}

#[test]
fn a_refusal_does_not_end_a_call_that_the_caller_has_cancelled() {
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let bob = accepts_tcp(&sim, &alice);
    let invite = large(&alice, "INVITE", 1300);
    alice.sends(&invite);
    alice.expects("100");
    bob.expects("INVITE");
    alice.cancels(&invite);
    alice.expects("200");
    // The phone responds to nothing. No request goes over UDP after the CANCEL.
    sim.seconds(33);
    let cancelled = alice.expects("487");
    alice.acks(&invite, &cancelled);
    assert_eq!(bob.all_received(), []);
}

#[test]
fn a_peer_that_accepts_tcp_and_does_not_respond_gets_it_over_udp() {
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let silent = accepts_tcp(&sim, &alice);
    let bob = sim.udp("bob/udp").at(silent.address);
    let invite = large(&alice, "INVITE", 1300);
    alice.sends(&invite);
    alice.expects("100");
    silent.expects("INVITE");
    sim.millis(3900);
    assert_eq!(bob.all_received(), []);
    sim.millis(200);
    let received = bob.expects("INVITE");
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn some_requests_stay_on_udp() {
    // The flow of a phone behind a NAT leads to it, and TCP does not.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.sends_from("198.51.100.7:7777".parse().unwrap());
    bob.registers();
    alice.sends(&large(&alice, "MESSAGE", 1300));
    bob.expects("MESSAGE");
    assert_eq!((refusals(&sim), sim.load(0).transactions), (0, 0));

    // The administrator does not want TCP, or there is no listener for it.
    for has_listener in [true, false] {
        let sim = Simulation::with(|settings| {
            settings.large_requests.over_tcp = !has_listener;
            settings.listeners.retain(|own| own.transport == parser::Transport::Udp || has_listener);
        });
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.registers();
        alice.sends(&large(&alice, "MESSAGE", 1300));
        bob.expects("MESSAGE");
        assert_eq!((refusals(&sim), sim.load(0).transactions), (0, 0));
    }
}
