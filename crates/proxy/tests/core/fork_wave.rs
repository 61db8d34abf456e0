//! Groups of phones join one after another by q, and those that ring go on ringing: the strategy `wave`.

use std::time::Duration;

use proxy::{Event, ForkOutcome, Strategy};

use sim::{Agent, Simulation};

use crate::call_steps::{rings, stops};

/// alice, and bob with a desk phone (q=1), a mobile phone (q=0.5) and one at home (q=0.1); the next group joins after
/// ten seconds.
fn setup() -> (Simulation, Agent, [Agent; 3]) {
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

#[test]
fn each_group_joins_the_previous_ones_and_all_stop_at_the_end() {
    let (sim, alice, [desk, mobile, home]) = setup();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = rings(&alice, &desk);
    sim.millis(9_700);
    assert_eq!(mobile.all_received(), []);
    sim.millis(300);
    let at_mobile = rings(&alice, &mobile);
    sim.seconds(10);
    let at_home = rings(&alice, &home);
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
fn the_first_phone_may_answer_while_the_last_rings() {
    // checklist 65, 75
    let (sim, alice, [desk, mobile, home]) = setup();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = rings(&alice, &desk);
    sim.seconds(10);
    let at_mobile = rings(&alice, &mobile);
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    desk.expects("ACK");
    stops(&mobile, &at_mobile);
    sim.seconds(20);
    assert_eq!(home.all_received(), []);
}

#[test]
fn the_next_group_is_called_at_once_when_a_group_is_busy() {
    let (_sim, alice, [desk, mobile, home]) = setup();
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
fn a_phone_that_goes_on_ringing_does_not_delay_the_next_group() {
    let (sim, alice, [desk, mobile, home]) = setup();
    alice.calls("bob");
    alice.expects("100");
    rings(&alice, &desk);
    sim.seconds(10);
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    rings(&alice, &home);
    assert_eq!(desk.all_received(), []);
}

#[test]
fn without_free_breadth_earlier_branches_are_cancelled() {
    // checklist 131, 132
    let (sim, alice, [desk, mobile, _home]) = setup();
    alice.sends(&alice.request("INVITE", "sip:bob@office.example").with("Max-Breadth", 1));
    alice.expects("100");
    let at_desk = rings(&alice, &desk);
    sim.seconds(10);
    mobile.receives_nothing();
    stops(&desk, &at_desk);
    mobile.expects("INVITE");
}

#[test]
fn a_late_phone_rings_beside_the_last_group() {
    // The phones of the earlier groups hold most of the Max-Breadth.
    let (sim, alice, phones) = setup();
    alice.calls("bob");
    for (phone, rings_alone) in phones.iter().zip([10, 10, 0]) {
        let received = phone.expects("INVITE");
        phone.answers(&received, 180);
        sim.seconds(rings_alone);
    }
    let late = sim.udp("bob/late");
    late.registers();
    late.expects("INVITE");
}
