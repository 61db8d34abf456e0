//! Phones are tried one after another, down by q (RFC 3261 16.6, 20.10).

use proxy::{Event, ForkOutcome};

use sim::{Agent, Simulation, Sip, sequential};

/// alice, and bob with a desk phone (q=1) and a mobile (q=0.5); each may ring ten seconds.
fn office() -> (Simulation, Agent, Agent, Agent) {
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    mobile.registers_with(";q=0.5");
    desk.registers_with(";q=1.0");
    (sim, alice, desk, mobile)
}

fn ring(alice: &Agent, desk: &Agent) -> (Sip, Sip) {
    let invite = alice.calls("bob");
    alice.expects("100");
    (invite, desk.expects("INVITE"))
}

#[test]
fn the_next_one_rings_when_the_first_is_busy() {
    // checklist 24
    let (sim, alice, desk, mobile) = office();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.seconds(2);
    mobile.receives_nothing();
    desk.answers(&at_desk, 486);
    desk.expects("ACK");
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.expects("ACK");
}

#[test]
fn the_next_one_rings_when_the_first_rang_in_vain() {
    // checklist 78, 79
    let (sim, alice, desk, mobile) = office();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.millis(9_800);
    desk.receives_nothing();
    sim.millis(100);
    let cancel = desk.expects("CANCEL");
    assert!(!cancel.has("Reason"), "nobody has answered");
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    desk.expects("ACK");
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.expects("ACK");
}

#[test]
fn a_phone_picked_up_as_the_next_one_rings_still_gets_the_call() {
    // checklist 65, 75
    let (sim, alice, desk, mobile) = office();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.seconds(10);
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    assert_eq!(desk.expects("CANCEL").method(), "CANCEL");
    desk.expects("ACK");
    let cancel = mobile.expects("CANCEL");
    mobile.answers(&cancel, 200);
    mobile.answers(&at_mobile, 487);
    mobile.expects("ACK");
    alice.receives_nothing();
}

#[test]
fn a_6xx_ends_the_search() {
    // checklist 64
    let (_world, alice, desk, mobile) = office();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 603);
    desk.expects("ACK");
    let declined = alice.expects("603");
    alice.acks(&invite, &declined);
    mobile.receives_nothing();
}

#[test]
fn the_caller_hangs_up_and_nobody_else_rings() {
    // checklist 64, 78
    let (_world, alice, desk, mobile) = office();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
    assert!(mobile.all_received().is_empty());
}

#[test]
fn nobody_answers() {
    // checklist 71
    let (sim, alice, desk, mobile) = office();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.seconds(10);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    sim.seconds(10);
    let cancel = mobile.expects("CANCEL");
    mobile.answers(&cancel, 200);
    mobile.answers(&at_mobile, 487);
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Fork { outcome: ForkOutcome::TimedOut })), 1);
}

#[test]
fn equal_q_ring_together() {
    let (_world, alice, desk, mobile) = office();
    mobile.registers_with(";q=1.0");
    alice.calls("bob");
    desk.expects("INVITE");
    mobile.expects("INVITE");
}

#[test]
fn a_mute_phone_costs_its_ring_time_only() {
    // checklist 79
    let (sim, alice, desk, mobile) = office();
    ring(&alice, &desk);
    sim.millis(9_800);
    assert_eq!(mobile.all_received(), []);
    sim.millis(200);
    mobile.expects("INVITE");
    assert!(desk.all_received().iter().all(|sip| sip.what() == "INVITE"), "no CANCEL before a provisional");
}

#[test]
fn a_message_reaches_the_second_phone_while_its_sender_still_waits() {
    // checklist 126
    let (sim, alice, desk, mobile) = office();
    let message = alice.request("MESSAGE", "sip:bob@office.example");
    alice.sends(&message);
    desk.expects("MESSAGE");
    sim.seconds(31);
    let at_mobile = mobile.expects("MESSAGE");
    mobile.answers(&at_mobile, 200);
    sim.millis(10);
    assert!(alice.all_received().iter().any(|sip| sip.what() == "200"));
}

#[test]
fn a_message_reaches_nobody_any_more_when_its_sender_has_given_up() {
    // checklist 126
    let (sim, alice, desk, mobile) = office();
    // Only one may have it at a time, and what is no INVITE cannot be cancelled.
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example").with("Max-Breadth", 1));
    desk.expects("MESSAGE");
    sim.seconds(40);
    mobile.receives_nothing();
}
