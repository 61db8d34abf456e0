//! Phones are tried one after another, down by q (RFC 3261 16.6, 20.10).

use proxy::{Event, ForkOutcome};

use sim::{Agent, Simulation, Sip, sequential};

/// alice, and bob with a desk phone (q=1) and a mobile phone (q=0.5); the ring time is ten seconds.
fn setup() -> (Simulation, Agent, Agent, Agent) {
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
fn the_next_phone_is_called_when_the_first_is_busy() {
    // checklist 24
    let (sim, alice, desk, mobile) = setup();
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
fn the_next_phone_is_called_after_the_ring_time_of_the_first() {
    // checklist 78, 79
    let (sim, alice, desk, mobile) = setup();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.millis(9_800);
    desk.receives_nothing();
    sim.millis(100);
    let cancel = desk.expects("CANCEL");
    assert!(!cancel.has("Reason"), "no phone has answered");
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
fn a_phone_that_answers_while_the_next_is_called_gets_the_call() {
    // checklist 65, 75
    let (sim, alice, desk, mobile) = setup();
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
fn a_6xx_ends_the_call() {
    // checklist 64
    let (_sim, alice, desk, mobile) = setup();
    let (invite, at_desk) = ring(&alice, &desk);
    desk.answers(&at_desk, 603);
    desk.expects("ACK");
    let declined = alice.expects("603");
    alice.acks(&invite, &declined);
    mobile.receives_nothing();
}

#[test]
fn after_a_cancel_no_further_phone_is_called() {
    // checklist 64, 78
    let (_sim, alice, desk, mobile) = setup();
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
fn a_call_that_nobody_answers_gets_408() {
    // checklist 71
    let (sim, alice, desk, mobile) = setup();
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
fn phones_with_equal_q_are_called_together() {
    let (_sim, alice, desk, mobile) = setup();
    mobile.registers_with(";q=1.0");
    alice.calls("bob");
    desk.expects("INVITE");
    mobile.expects("INVITE");
}

#[test]
fn a_phone_that_does_not_respond_costs_only_its_ring_time() {
    // checklist 79
    let (sim, alice, desk, mobile) = setup();
    ring(&alice, &desk);
    sim.millis(9_800);
    assert_eq!(mobile.all_received(), []);
    sim.millis(200);
    mobile.expects("INVITE");
    assert!(desk.all_received().iter().all(|sip| sip.what() == "INVITE"), "no CANCEL before a provisional");
}

#[test]
fn a_message_reaches_the_second_phone_before_timer_f_of_its_sender() {
    // checklist 126
    let (sim, alice, desk, mobile) = setup();
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
fn a_message_reaches_no_phone_after_timer_f_of_its_sender() {
    // checklist 126
    let (sim, alice, desk, mobile) = setup();
    // Only one phone may have it at a time, because a non-INVITE cannot be cancelled.
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example").with("Max-Breadth", 1));
    desk.expects("MESSAGE");
    sim.seconds(40);
    mobile.receives_nothing();
}
