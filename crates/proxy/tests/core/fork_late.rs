//! A phone registers while its user is being called, and is called too: after a push notification, or after it has
//! changed its network.

use std::time::Duration;

use proxy::{Event, Limit, SingleTarget};

use sim::{Agent, Simulation, Sip, sequential};

const PHONE: &str = ";+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000001>\"";

/// alice calls bob, whose desk phone and home phone ring.
fn ring(sim: &Simulation) -> (Agent, Sip, [(Agent, Sip); 2]) {
    let alice = sim.udp("alice");
    let phones = ["bob/desk", "bob/home"].map(|name| {
        let phone = sim.udp(name);
        phone.registers_with(";q=0.5");
        phone
    });
    let invite = alice.calls("bob");
    alice.expects("100");
    let phones = phones.map(|phone| {
        let received = phone.expects("INVITE");
        phone.answers(&received, 180);
        alice.expects("180");
        (phone, received)
    });
    (alice, invite, phones)
}

#[test]
fn a_phone_that_registers_during_a_call_can_answer_it() {
    // checklist 45
    let sim = Simulation::new();
    let (alice, invite, [(desk, at_desk), (home, at_home)]) = ring(&sim);
    sim.seconds(5);
    let mobile = sim.udp("bob/mobile");
    mobile.registers();
    let at_mobile = mobile.expects("INVITE");
    assert_eq!(at_mobile.uri(), mobile.contact());
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.expects("ACK");
    for (phone, received) in [(&desk, &at_desk), (&home, &at_home)] {
        let cancel = phone.expects("CANCEL");
        phone.answers(&cancel, 200);
        phone.answers(received, 487);
        phone.expects("ACK");
    }
}

#[test]
fn a_refresh_does_not_call_a_phone_twice() {
    // checklist 45
    let sim = Simulation::new();
    let (alice, _, [(desk, _), (home, _)]) = ring(&sim);
    desk.registers_with(";q=0.7");
    home.registers();
    alice.receives_nothing();
    assert_eq!((desk.all_received(), home.all_received()), (vec![], vec![]));
    assert_eq!(sim.count_events(|event| matches!(event, Event::RequestForwarded { .. })), 2);
}

#[test]
fn a_late_registration_is_noticed_at_every_worker() {
    let sim = Simulation::with_workers(3, |_| {});
    let (alice, invite, _) = ring(&sim);
    let mobile = sim.udp("bob/mobile");
    mobile.reaches_worker(2).registers();
    let received = mobile.expects("INVITE");
    mobile.reaches_worker(1).answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
}

#[test]
fn a_phone_that_registers_after_the_ring_time_is_not_called() {
    let sim = Simulation::new();
    let (.., [(desk, _), (home, _)]) = ring(&sim);
    sim.seconds(30);
    desk.expects("CANCEL");
    home.expects("CANCEL");
    // Neither sends a 487, so the call is not over yet.
    let mobile = sim.udp("bob/mobile");
    mobile.registers();
    mobile.receives_nothing();
}

#[test]
fn a_late_phone_rings_for_the_rest_of_the_ring_time() {
    let sim = Simulation::new();
    let (_alice, _, [(desk, _), _]) = ring(&sim);
    sim.seconds(20);
    let mobile = sim.udp("bob/mobile");
    mobile.registers();
    let received = mobile.expects("INVITE");
    mobile.answers(&received, 180);
    sim.millis(9_700);
    assert_eq!((desk.all_received(), mobile.all_received()), (vec![], vec![]));
    sim.millis(300);
    mobile.expects("CANCEL");
    desk.expects("CANCEL");
}

#[test]
fn no_late_phone_is_called_after_the_call_was_decided() {
    // checklist 64
    for end in [200, 603, 487] {
        let sim = Simulation::new();
        let (alice, invite, [(desk, at_desk), _]) = ring(&sim);
        match end {
            487 => drop(alice.cancels(&invite)),
            status => drop(desk.answers(&at_desk, status)),
        }
        sim.millis(20);
        let mobile = sim.udp("bob/mobile");
        mobile.registers();
        mobile.receives_nothing();
    }
}

#[test]
fn a_late_phone_is_called_in_the_order_of_q() {
    for (q, now) in [(";q=0.9", true), (";q=0.5", true), (";q=0.1", false)] {
        let sim = Simulation::with(|settings| settings.forking = sequential(10));
        let (_alice, _, [(desk, _), _]) = ring(&sim);
        let mobile = sim.udp("bob/mobile");
        mobile.registers_with(q);
        sim.millis(50);
        assert_eq!(mobile.all_received().len(), usize::from(now), "{q}");
        sim.seconds(10);
        desk.expects("CANCEL");
        let received = mobile.all_received();
        assert!(received.iter().any(|sip| sip.what() == "INVITE"), "{q}");
    }
}

/// alice calls the phone `before` and the desk phone of bob; `after` is the phone at its new address.
fn a_call_before_a_move(sim: &Simulation) -> ([Agent; 4], Sip) {
    let [alice, before, after, desk] = ["alice", "bob/before", "bob/after", "bob/desk"].map(|name| sim.udp(name));
    before.registers_with(PHONE);
    desk.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    ([alice, before, after, desk], invite)
}

#[test]
fn a_phone_that_moved_is_called_at_its_new_contact() {
    // checklist 143
    let sim = Simulation::new();
    let ([alice, before, after, _desk], invite) = a_call_before_a_move(&sim);
    before.expects("INVITE");
    sim.seconds(1);
    after.registers_with(PHONE);
    let received = after.expects("INVITE");
    after.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
}

#[test]
fn a_response_from_the_previous_contact_counts() {
    // checklist 69
    let sim = Simulation::new();
    let ([alice, before, after, desk], invite) = a_call_before_a_move(&sim);
    let (received, at_desk) = (before.expects("INVITE"), desk.expects("INVITE"));
    after.registers_with(PHONE);
    let again = after.expects("INVITE");
    before.answers(&received, 486);
    before.expects("ACK");
    for (phone, received) in [(&after, again), (&desk, at_desk)] {
        phone.answers(&received, 404);
        phone.expects("ACK");
    }
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_ringing_phone_is_not_called_a_second_time() {
    // checklist 143
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let (first, second, desk) = (sim.udp("bob/first"), sim.udp("bob/second"), sim.udp("bob/desk"));
    first.registers_with(&format!("{PHONE};reg-id=1"));
    desk.registers();
    alice.calls("bob");
    alice.expects("100");
    let received = first.expects("INVITE");
    first.answers(&received, 180);
    alice.expects("180");
    second.registers_with(&format!("{PHONE};reg-id=2"));
    second.receives_nothing();
    // Its flow fails, and the other one has registered by now.
    first.answers(&received, 430);
    first.expects("ACK");
    second.expects("INVITE");
}

#[test]
fn a_phone_that_reconnects_is_called_again() {
    // checklist 143, 144: the phone that a push notification has woken.
    let sim = Simulation::new();
    let (alice, mobile, desk) = (sim.udp("alice"), sim.tcp("bob/mobile"), sim.udp("bob/desk"));
    mobile.registers_with(&format!("{PHONE};reg-id=1"));
    desk.registers();
    mobile.disconnects();
    let invite = alice.calls("bob");
    alice.expects("100");
    desk.expects("INVITE");
    assert_eq!(mobile.all_received(), []);
    sim.seconds(3);
    mobile.registers_with(&format!("{PHONE};reg-id=1"));
    let received = mobile.expects("INVITE");
    mobile.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
}

#[test]
fn a_phone_that_is_called_again_gets_only_free_breadth() {
    // checklist 130
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, mobile, desk) = (sim.udp("alice"), sim.tcp("bob/mobile"), sim.udp("bob/desk"));
    mobile.registers_with(&format!("{PHONE};reg-id=1;q=1.0"));
    desk.registers_with(";q=0.5");
    mobile.disconnects();
    alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    mobile.registers_with(&format!("{PHONE};reg-id=1;q=1.0"));
    let at_mobile = mobile.expects("INVITE");
    let breadth = |received: &Sip| received.number("Max-Breadth").unwrap();
    assert!(breadth(&at_desk) + breadth(&at_mobile) <= 60);
}

#[test]
fn a_phone_that_has_responded_is_not_called_again() {
    // checklist 143
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let (before, after, desk) = (sim.udp("bob/before"), sim.udp("bob/after"), sim.udp("bob/desk"));
    before.registers_with(PHONE);
    desk.registers();
    alice.calls("bob");
    alice.expects("100");
    let received = before.expects("INVITE");
    before.answers(&received, 486);
    before.expects("ACK");
    after.registers_with(PHONE);
    after.receives_nothing();
}

#[test]
fn late_registration_can_be_disabled_and_is_bounded() {
    let sim = Simulation::with(|settings| settings.forking.late_registration = false);
    let (_alice, ..) = ring(&sim);
    let mobile = sim.udp("bob/mobile");
    mobile.registers();
    mobile.receives_nothing();

    let sim = Simulation::with(|settings| settings.limits.targets = 2);
    let (_alice, ..) = ring(&sim);
    let mobile = sim.udp("bob/mobile");
    mobile.registers();
    mobile.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Targets))), 1);
}

#[test]
fn caller_preferences_apply_to_late_phones() {
    // checklist 158, 159
    let sim = Simulation::new();
    let (alice, desk, home) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/home"));
    desk.registers();
    home.registers();
    let invite = alice.request("INVITE", "sip:bob@office.example").with("Reject-Contact", "*;automata");
    alice.sends(&invite);
    alice.expects("100");
    let mailbox = sim.udp("bob/mailbox");
    mailbox.registers_with(";automata");
    mailbox.receives_nothing();
}

#[test]
fn a_late_phone_joins_a_call_to_one_phone_if_it_has_a_context() {
    let sim = Simulation::with(|settings| {
        settings.forking.single_target = SingleTarget::Stateful;
        settings.forking.ring_time = Duration::from_secs(10);
    });
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = desk.expects("INVITE");
    desk.answers(&received, 180);
    alice.expects("180");
    mobile.registers();
    let received = mobile.expects("INVITE");
    mobile.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.expects("ACK");
    desk.expects("CANCEL");
}
