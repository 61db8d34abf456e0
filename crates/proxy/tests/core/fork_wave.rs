//! Phones join in one after another, down by q, and those that ring go on: the strategy `wave`.

use std::time::Duration;

use proxy::{Event, ForkOutcome, Strategy};

use sim::{Agent, Simulation, Sip};

/// alice, and bob with a desk phone (q=1), a mobile (q=0.5) and one at home (q=0.1); ten seconds to the next.
fn office() -> (Simulation, Agent, [Agent; 3]) {
    let sim = Simulation::with(|settings| {
        settings.forking.strategy = Strategy::Wave;
        settings.forking.ring_time = Duration::from_secs(10);
    });
    let alice = sim.udp("alice");
    let phones = [("bob/desk", "1.0"), ("bob/mobile", "0.5"), ("bob/home", "0.1")].map(|(name, q)| {
        let phone = sim.udp(name);
        phone.registers_with(&format!(";q={q}"));
        phone
    });
    (sim, alice, phones)
}

/// A phone hears the INVITE and rings.
fn calls_phones(alice: &Agent, phone: &Agent) -> Sip {
    let received = phone.expects("INVITE");
    phone.answers(&received, 180);
    alice.expects("180");
    received
}

/// A phone is told to stop, and does.
fn stops(phone: &Agent, received: &Sip) {
    let cancel = phone.expects("CANCEL");
    phone.answers(&cancel, 200);
    phone.answers(received, 487);
    phone.expects("ACK");
}

#[test]
fn each_joins_the_ones_before_and_all_stop_at_the_end() {
    let (sim, alice, [desk, mobile, home]) = office();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = calls_phones(&alice, &desk);
    sim.millis(9_700);
    assert_eq!(mobile.all_received(), []);
    sim.millis(300);
    let at_mobile = calls_phones(&alice, &mobile);
    sim.seconds(10);
    let at_home = calls_phones(&alice, &home);
    sim.millis(9_700);
    for phone in [&desk, &mobile, &home] {
        assert_eq!(phone.all_received(), [], "it calls_phones on");
    }
    sim.millis(300);
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile), (&home, &at_home)] {
        stops(phone, received);
    }
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Fork { outcome: ForkOutcome::TimedOut })), 1);
}

#[test]
fn the_first_may_still_be_picked_up_while_the_last_rings() {
    // checklist 65, 75
    let (sim, alice, [desk, mobile, home]) = office();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = calls_phones(&alice, &desk);
    sim.seconds(10);
    let at_mobile = calls_phones(&alice, &mobile);
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    desk.expects("ACK");
    stops(&mobile, &at_mobile);
    sim.seconds(20);
    assert_eq!(home.all_received(), []);
}

#[test]
fn the_next_does_not_wait_when_all_of_a_group_are_busy() {
    let (_world, alice, [desk, mobile, home]) = office();
    let invite = alice.calls("bob");
    alice.expects("100");
    for phone in [&desk, &mobile] {
        let received = phone.expects("INVITE");
        phone.answers(&received, 486);
        phone.expects("ACK");
    }
    let at_home = home.expects("INVITE");
    home.answers(&at_home, 404);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn one_who_rings_on_does_not_hold_up_the_next_group() {
    let (sim, alice, [desk, mobile, home]) = office();
    alice.calls("bob");
    alice.expects("100");
    calls_phones(&alice, &desk);
    sim.seconds(10);
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    calls_phones(&alice, &home);
    assert_eq!(desk.all_received(), []);
}

#[test]
fn without_breadth_for_one_more_the_earlier_ones_make_room() {
    // checklist 131, 132
    let (sim, alice, [desk, mobile, _home]) = office();
    alice.sends(&alice.request("INVITE", "sip:bob@office.example").with("Max-Breadth", 1));
    alice.expects("100");
    let at_desk = calls_phones(&alice, &desk);
    sim.seconds(10);
    mobile.receives_nothing();
    stops(&desk, &at_desk);
    mobile.expects("INVITE");
}
