//! Phones join in one after another, down by q, and those that ring go on: the strategy `wave`.

use std::time::Duration;

use proxy::{Event, ForkOutcome, Strategy};

use sim::{Agent, Sip, World};

/// alice, and bob with a desk phone (q=1), a mobile (q=0.5) and one at home (q=0.1); ten seconds to the next.
fn office() -> (World, Agent, [Agent; 3]) {
    let world = World::with(|settings| {
        settings.forking.strategy = Strategy::Wave;
        settings.forking.ring_time = Duration::from_secs(10);
    });
    let alice = world.udp("alice");
    let phones = [("bob/desk", "1.0"), ("bob/mobile", "0.5"), ("bob/home", "0.1")].map(|(name, q)| {
        let phone = world.udp(name);
        phone.registers_with(&format!(";q={q}"));
        phone
    });
    (world, alice, phones)
}

/// A phone hears the INVITE and rings.
fn rings(alice: &Agent, phone: &Agent) -> Sip {
    let heard = phone.expects("INVITE");
    phone.answers(&heard, 180);
    alice.expects("180");
    heard
}

/// A phone is told to stop, and does.
fn stops(phone: &Agent, heard: &Sip) {
    let cancel = phone.expects("CANCEL");
    phone.answers(&cancel, 200);
    phone.answers(heard, 487);
    phone.expects("ACK");
}

#[test]
fn each_joins_the_ones_before_and_all_stop_at_the_end() {
    let (world, alice, [desk, mobile, home]) = office();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = rings(&alice, &desk);
    world.millis(9_700);
    assert_eq!(mobile.heard(), []);
    world.millis(300);
    let at_mobile = rings(&alice, &mobile);
    world.seconds(10);
    let at_home = rings(&alice, &home);
    world.millis(9_700);
    for phone in [&desk, &mobile, &home] {
        assert_eq!(phone.heard(), [], "it rings on");
    }
    world.millis(300);
    for (phone, heard) in [(&desk, &at_desk), (&mobile, &at_mobile), (&home, &at_home)] {
        stops(phone, heard);
    }
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    assert_eq!(world.saw(|event| matches!(event, Event::Fork { outcome: ForkOutcome::TimedOut })), 1);
}

#[test]
fn the_first_may_still_be_picked_up_while_the_last_rings() {
    // checklist 65, 75
    let (world, alice, [desk, mobile, home]) = office();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = rings(&alice, &desk);
    world.seconds(10);
    let at_mobile = rings(&alice, &mobile);
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    desk.expects("ACK");
    stops(&mobile, &at_mobile);
    world.seconds(20);
    assert_eq!(home.heard(), []);
}

#[test]
fn the_next_does_not_wait_when_all_of_a_group_are_busy() {
    let (_world, alice, [desk, mobile, home]) = office();
    let invite = alice.calls("bob");
    alice.expects("100");
    for phone in [&desk, &mobile] {
        let heard = phone.expects("INVITE");
        phone.answers(&heard, 486);
        phone.expects("ACK");
    }
    let at_home = home.expects("INVITE");
    home.answers(&at_home, 404);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn one_who_rings_on_does_not_hold_up_the_next_group() {
    let (world, alice, [desk, mobile, home]) = office();
    alice.calls("bob");
    alice.expects("100");
    rings(&alice, &desk);
    world.seconds(10);
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    rings(&alice, &home);
    assert_eq!(desk.heard(), []);
}

#[test]
fn without_breadth_for_one_more_the_earlier_ones_make_room() {
    // checklist 131, 132
    let (world, alice, [desk, mobile, _home]) = office();
    alice.sends(&alice.request("INVITE", "sip:bob@office.example").with("Max-Breadth", 1));
    alice.expects("100");
    let at_desk = rings(&alice, &desk);
    world.seconds(10);
    mobile.hears_nothing();
    stops(&desk, &at_desk);
    mobile.expects("INVITE");
}
