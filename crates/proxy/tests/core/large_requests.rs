//! Requests that are too long for UDP: RFC 3261 18.1.1.

use std::time::Duration;

use proxy::{Event, LargeRequest, Notification};
use sim::{Agent, Simulation, Sip, cseq};

use crate::registration_events::{BOB, subscribe};

/// An INVITE or another request to bob, with a body of so many octets.
fn large(from: &Agent, method: &str, octets: usize) -> Sip {
    from.request(method, "sip:bob@office.example").with_body(&"x".repeat(octets))
}

/// alice, and a phone of bob that has registered over UDP and accepts no TCP.
fn alice_and_bob(sim: &Simulation) -> (Agent, Agent) {
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    (alice, bob)
}

/// A large INVITE to bob, which is tried.
fn calls(alice: &Agent) -> Sip {
    let invite = large(alice, "INVITE", 1300);
    alice.sends(&invite);
    alice.expects("100");
    invite
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
    let invite = calls(&alice);
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
    let (alice, bob) = alice_and_bob(&sim);
    let invite = calls(&alice);
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
    let (alice, bob) = alice_and_bob(&sim);
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
    let (alice, bob) = alice_and_bob(&sim);
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
    let invite = calls(&alice);
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
    let invite = calls(&alice);
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
    let invite = calls(&alice);
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
        let (alice, bob) = alice_and_bob(&sim);
        alice.sends(&large(&alice, "MESSAGE", 1300));
        bob.expects("MESSAGE");
        assert_eq!((refusals(&sim), sim.load(0).transactions), (0, 0));
    }
}

/// A call to a phone that accepts TCP at the address of its UDP socket; the caller has the 200. Returns the INVITE, the 200,
/// and the two ends of the phone.
fn call_in_progress(sim: &Simulation, alice: &Agent) -> (Sip, Sip, [Agent; 2]) {
    let over_tcp = accepts_tcp(sim, alice);
    let over_udp = sim.udp("bob/udp").at(over_tcp.address);
    let invite = alice.calls("bob");
    let received = over_udp.expects("INVITE");
    let contact = format!("<sip:bob@{}>", over_udp.address);
    over_udp.sends(&over_udp.answer(&received, 200).set("Contact", contact));
    (invite, alice.expects("200"), [over_udp, over_tcp])
}

/// The ACK of a 2xx with a body of so many octets.
fn large_ack(alice: &Agent, invite: &Sip, ok: &Sip, octets: usize) -> Sip {
    alice.within(invite, ok, "ACK").set("CSeq", cseq(invite, 0, "ACK")).with_body(&"x".repeat(octets))
}

#[test]
fn a_large_ack_of_a_2xx_goes_over_tcp() {
    // checklist 106
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let (invite, ok, [over_udp, over_tcp]) = call_in_progress(&sim, &alice);
    let ack = large_ack(&alice, &invite, &ok, 1300);
    for _ in 0..2 {
        alice.sends(&ack);
        let received = over_tcp.expects("ACK");
        assert_eq!((transport(&received), received.body.len()), ("SIP/2.0/TCP", 1300));
    }
    assert_eq!((refusals(&sim), sim.load(0).transactions, over_udp.all_received()), (0, 0, vec![]));
    // A small request of the dialog goes over UDP, a large one over TCP.
    alice.sends(&alice.within(&invite, &ok, "INFO"));
    over_udp.expects("INFO");
    alice.sends(&alice.within(&invite, &ok, "INFO").with_body(&"x".repeat(1300)));
    over_tcp.expects("INFO");
}

#[test]
fn a_large_ack_of_a_2xx_goes_over_udp_if_tcp_is_refused() {
    // checklist 106
    let sim = Simulation::new();
    let (alice, bob) = alice_and_bob(&sim);
    let invite = alice.calls("bob");
    bob.answers(&bob.expects("INVITE"), 200);
    let ok = alice.expects("200");
    let ack = large_ack(&alice, &invite, &ok, 1300);
    for refused in [1, 0] {
        alice.sends(&ack);
        let received = bob.expects("ACK");
        assert_eq!((transport(&received), received.values("Via").count()), ("SIP/2.0/UDP", 2));
        assert_eq!((received.uri(), received.body.len()), (&*bob.contact(), 1300));
        assert_eq!((received.number("Max-Forwards"), refusals(&sim)), (Some(69), refused));
    }
    bob.receives_nothing();
}

#[test]
fn an_ack_of_exactly_1300_octets_stays_on_udp() {
    let sim = Simulation::new();
    let (alice, bob) = alice_and_bob(&sim);
    let invite = alice.calls("bob");
    bob.answers(&bob.expects("INVITE"), 200);
    let ok = alice.expects("200");
    let forwarded = |octets| {
        alice.sends(&large_ack(&alice, &invite, &ok, octets));
        bob.expects("ACK").bytes().len()
    };
    let without_body = forwarded(100) - 100;
    assert_eq!((forwarded(1300 - without_body), refusals(&sim)), (1300, 0));
    assert!(forwarded(1301 - without_body) > 1300);
    assert_eq!(refusals(&sim), 1);
}

#[test]
fn a_large_ack_without_a_route_goes_to_the_phone_over_tcp() {
    // A caller that ignores Record-Route.
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let (invite, ok, [over_udp, over_tcp]) = call_in_progress(&sim, &alice);
    let ack = large_ack(&alice, &invite, &ok, 1300).without("Route").set("Via", invite.value("Via"));
    alice.sends(&ack);
    assert_eq!(transport(&over_tcp.expects("ACK")), "SIP/2.0/TCP");
    assert_eq!(over_udp.all_received(), []);
}

/// A subscriber whose NOTIFYs are long, and the URI that makes them long.
fn subscribes(sim: &Simulation, watcher: &Agent, contact: &str) -> Sip {
    let desk = sim.udp("bob/desk");
    let long = format!("<sip:bob@{};pad={}>", desk.address, "x".repeat(1000));
    desk.sends(&desk.register().set("Contact", long));
    desk.expects("200");
    let asked = subscribe(watcher, BOB).set("Contact", contact);
    watcher.sends(&asked);
    watcher.expects("200");
    asked
}

#[test]
fn a_large_notify_goes_over_tcp() {
    // checklist 106
    let sim = Simulation::new();
    let watcher = sim.udp("bob/watcher");
    let over_tcp = sim.tcp("bob/tcp").at(watcher.address);
    subscribes(&sim, &watcher, &format!("<sip:bob@{}>", watcher.address));
    let notify = over_tcp.expects("NOTIFY");
    assert!(notify.bytes().len() > 1300);
    assert_eq!(transport(&notify), "SIP/2.0/TCP");
    assert!(notify.value("Contact").contains("transport=tcp"));
    over_tcp.answers(&notify, 200);
    sim.seconds(20);
    assert_eq!((refusals(&sim), watcher.all_received(), over_tcp.all_received()), (0, vec![], vec![]));
}

#[test]
fn a_large_notify_goes_over_udp_if_tcp_is_refused() {
    // checklist 106
    let sim = Simulation::new();
    let watcher = sim.udp("bob/watcher");
    subscribes(&sim, &watcher, &format!("<sip:bob@{}>", watcher.address));
    let notify = watcher.expects("NOTIFY");
    assert_eq!((transport(&notify), refusals(&sim)), ("SIP/2.0/UDP", 1));
    assert_eq!(notify.value("Contact"), "<sip:192.0.2.1:5060>");
    // It is retransmitted over UDP, too.
    sim.millis(500);
    assert_eq!(watcher.expects("NOTIFY"), notify);
    watcher.answers(&notify, 200);
    sim.seconds(10);
    assert_eq!(watcher.all_received(), []);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Answered })), 1);
}

#[test]
fn a_peer_that_accepts_tcp_and_answers_no_notify_gets_it_over_udp() {
    let sim = Simulation::new();
    let watcher = sim.udp("bob/watcher");
    let silent = sim.tcp("bob/tcp").at(watcher.address);
    subscribes(&sim, &watcher, &format!("<sip:bob@{}>", watcher.address));
    silent.expects("NOTIFY");
    sim.seconds(15);
    assert_eq!(watcher.all_received(), []);
    sim.seconds(2);
    let notify = watcher.all_received().pop().expect("after 16 s");
    watcher.answers(&notify, 200);
    sim.seconds(1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Notified { outcome: Notification::Answered })), 1);
}

#[test]
fn a_large_notify_to_a_phone_behind_a_nat_stays_on_udp() {
    let sim = Simulation::new();
    let watcher = sim.udp("bob/watcher");
    watcher.sends_from("198.51.100.7:7777".parse().unwrap());
    subscribes(&sim, &watcher, &format!("<sip:bob@{}>", watcher.address));
    let notify = watcher.expects("NOTIFY");
    assert_eq!((transport(&notify), refusals(&sim)), ("SIP/2.0/UDP", 0));
    watcher.answers(&notify, 200);
}
