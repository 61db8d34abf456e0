//! Every table is limited: 503 with Retry-After, an event, and what began before continues.

use proxy::{Event, Limit};

use sim::{Agent, Simulation};

#[test]
fn the_number_of_transactions_is_limited() {
    let sim = Simulation::with(|settings| settings.limits.transactions = 2);
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    alice.calls("bob");
    alice.expects("100");
    let third = alice.calls("bob");
    let refused = alice.expects("503");
    assert!(refused.has("Retry-After"));
    alice.acks(&third, &refused);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Transactions))), 1);
    // The first two calls continue.
    let (first, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    desk.answers(&first, 486);
    mobile.answers(&at_mobile, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    assert_eq!(sim.load(0).transactions, 2);
}

#[test]
fn a_new_fork_evicts_finished_ones() {
    let sim = Simulation::with(|settings| settings.limits.transactions = 2);
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let calls_phones = || {
        let invite = alice.calls("bob");
        alice.expects("100");
        (invite, desk.expects("INVITE"), mobile.expects("INVITE"))
    };
    let is_refused = |(at_desk, at_mobile)| {
        for (phone, invite) in [(&desk, at_desk), (&mobile, at_mobile)] {
            phone.answers(&invite, 486);
            phone.expects("ACK");
        }
        alice.expects("486")
    };
    let (ringing, first_at_desk, first_at_mobile) = calls_phones();
    for _ in 0..4 {
        let (invite, at_desk, at_mobile) = calls_phones();
        let busy = is_refused((at_desk, at_mobile));
        alice.acks(&invite, &busy);
    }
    assert_eq!(sim.load(0).transactions, 2);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Transactions))), 3);
    // The call that rang all the time was not evicted.
    let busy = is_refused((first_at_desk, first_at_mobile));
    let (second, at_desk, at_mobile) = calls_phones();
    // A call whose failure response has no ACK yet is not evicted either, because the response must be retransmitted.
    let third = alice.calls("bob");
    let overload = alice.expects("503");
    alice.acks(&third, &overload);
    alice.acks(&ringing, &busy);
    let busy = is_refused((at_desk, at_mobile));
    alice.acks(&second, &busy);
}

#[test]
fn the_memory_of_transactions_is_limited() {
    let sim = Simulation::with(|settings| settings.limits.transaction_memory = 20_000);
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let long = |alice: &Agent| alice.request("INVITE", "sip:bob@office.example").with_body(&"a=x\r\n".repeat(4000));
    let invite = long(&alice);
    alice.sends(&invite);
    alice.expects("100");
    let refused = long(&alice);
    alice.sends(&refused);
    let overload = alice.expects("503");
    assert!(overload.has("Retry-After"));
    alice.acks(&refused, &overload);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::TransactionMemory))), 1);
    // The first call ends normally and frees its transactions.
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    mobile.answers(&at_mobile, 486);
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    desk.expects("ACK");
    alice.calls("bob");
    alice.expects("100");
}

#[test]
fn the_number_of_pins_is_limited() {
    let sim = Simulation::with(|settings| settings.limits.pins = 1);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let second = alice.calls("bob");
    let refused = alice.expects("503");
    assert!(refused.has("Retry-After"));
    alice.acks(&second, &refused);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Pins))), 1);
    // Only a request that needs a new pin is refused, not the copy of one that has a pin.
    alice.sends(&invite);
    bob.expects("INVITE");
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
    bob.expects("MESSAGE");
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.expects("ACK");
}

#[test]
fn a_new_call_evicts_pins_of_finished_ones() {
    // checklist 82
    let sim = Simulation::with(|settings| settings.limits.pins = 2);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let ringing = alice.calls("bob");
    let received = bob.expects("INVITE");
    for _ in 0..4 {
        let invite = alice.calls("bob");
        bob.answers(&bob.expects("INVITE"), 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        bob.expects("ACK");
    }
    assert_eq!(sim.load(0).pins, 2);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Pins))), 3);
    // The pin of the call without a final response was kept.
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&ringing, &busy);
    bob.expects("ACK");
}

#[test]
fn the_number_of_contacts_is_limited() {
    // checklist 28
    let sim = Simulation::with(|settings| settings.registrar.limits.max_contacts = 1);
    let (desk, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.sends(&mobile.register());
    mobile.expects("403");
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::MaxContacts))), 1);
    desk.registers();
}

#[test]
fn a_flood_of_messages_leaves_room_for_calls() {
    let sim = Simulation::with(|settings| settings.limits.pins = 4);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    for _ in 0..6 {
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        bob.expects("MESSAGE");
    }
    assert_eq!(sim.load(0).pins, 2);
    assert!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Pins))) > 0);
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.expects("ACK");
}
