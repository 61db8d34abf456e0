//! What cannot be delivered: RFC 3261 16.9, 18.4.

use sim::{Agent, Simulation, StoreState, sequential};

#[test]
fn a_phone_that_cannot_be_reached_is_a_503_and_does_not_hold_the_others_up() {
    // checklist 77, 96
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.tcp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    desk.is_unplugged();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_mobile = mobile.expects("INVITE");
    mobile.answers(&at_mobile, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn nobody_can_be_reached() {
    // checklist 70, 77
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.tcp("bob/desk"), sim.tcp("bob/mobile"));
    for phone in [&desk, &mobile] {
        phone.registers();
        phone.is_unplugged();
    }
    let invite = alice.calls("bob");
    alice.expects("100");
    let failed = alice.expects("500");
    alice.acks(&invite, &failed);
}

#[test]
fn the_next_group_is_tried_at_once() {
    // checklist 77
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = (sim.udp("alice"), sim.tcp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers_with(";q=1.0");
    mobile.registers_with(";q=0.1");
    desk.is_unplugged();
    alice.calls("bob");
    alice.expects("100");
    mobile.expects("INVITE");
}

#[test]
fn a_caller_who_is_gone_does_not_kill_the_call_context() {
    // checklist 77
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (_, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    alice.is_unplugged();
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 200);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    desk.expects("ACK");
}

#[test]
fn a_late_copy_of_an_accepted_invite_does_not_fail_the_call() {
    // checklist 77; RFC 6026 7.1
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let at_bob = bob.expects("INVITE");
    bob.answers(&at_bob, 200);
    let ok = alice.expects("200");
    bob.is_unplugged();
    alice.sends(&invite);
    alice.receives_nothing();
    // A request that is new is told of it.
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    alice.expects("500");
}

#[test]
fn a_connection_that_closed_is_opened_again_to_the_contact() {
    // checklist 107, 111
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.registers();
    bob.disconnects();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
}

#[test]
fn names_are_looked_up_and_one_that_does_not_exist_is_480() {
    // checklist 54
    let sim = Simulation::new();
    let (alice, bob, gone) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    let named = bob.register().set("Contact", "<sip:bob@desk.lan.example:5060>");
    bob.sends(&named);
    bob.expects("200");
    sim.dns("desk.lan.example", &[bob.address]);
    alice.calls("bob");
    bob.expects("INVITE");
    gone.sends(&gone.register().set("Contact", "<sip:carol@nowhere.lan.example>"));
    gone.expects("200");
    alice.calls("carol");
    alice.expects("480");
}

#[test]
fn one_of_two_names_does_not_exist() {
    // checklist 54, 81
    let sim = Simulation::new();
    let (alice, bob, ghost) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/ghost"));
    bob.registers();
    ghost.sends(&ghost.register().set("Contact", "<sip:bob@nowhere.lan.example>"));
    ghost.expects("200");
    alice.calls("bob");
    bob.expects("INVITE");
    alice.receives_nothing();
}

#[test]
fn a_broken_store_is_told_to_the_caller() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    sim.store(StoreState::Broken, 0);
    alice.calls("bob");
    let failed = alice.expects("503");
    assert!(failed.has("Retry-After"));
}

#[test]
fn nothing_is_sent_to_port_0_or_to_everybody() {
    // checklist 108
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    for contact in ["<sip:bob@192.0.2.9:0>", "<sip:bob@0.0.0.0>", "<sip:bob@224.0.1.75>"] {
        bob.sends(&bob.register().set("Contact", contact));
        sim.millis(50);
        bob.all_received();
    }
    alice.calls("bob");
    alice.expects("480");
}

#[test]
fn a_response_whose_connection_is_gone_goes_to_where_the_caller_listens() {
    // checklist 102, 111
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    mobile.expects("INVITE");
    alice.disconnects();
    desk.answers(&at_desk, 180);
    alice.expects("180");
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    desk.expects("ACK");
}

#[test]
fn a_caller_who_cannot_be_reached_leaves_his_context_as_it_is() {
    // checklist 77, 102
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (_, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    alice.is_unplugged();
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 180);
    sim.seconds(1);
    assert_eq!((desk.all_received(), mobile.all_received()), (vec![], vec![]), "they ring on");
    desk.answers(&at_desk, 200);
    mobile.expects("CANCEL");
}

/// bob's phone has a name with two addresses; the first one is a host of its own.
fn two_addresses(sim: &Simulation, transport: &str) -> (Agent, Agent, Agent) {
    let tcp = !transport.is_empty();
    let agent = |name| if tcp { sim.tcp(name) } else { sim.udp(name) };
    let (alice, first, second) = (sim.udp("alice"), agent("bob/first"), agent("bob/second"));
    let contact = format!("<sip:bob@desk.lan.example:5060{transport}>");
    alice.sends(&alice.register().set("To", "<sip:bob@office.example>").set("Contact", contact));
    alice.expects("200");
    sim.dns("desk.lan.example", &[first.address, second.address]);
    (alice, first, second)
}

#[test]
fn the_next_address_is_tried_when_the_first_cannot_be_reached() {
    // checklist 54, 117, 120
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, ";transport=tcp");
    first.is_unplugged();
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = second.expects("INVITE");
    second.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
}

#[test]
fn the_next_address_is_tried_when_the_first_refuses_or_is_mute() {
    // checklist 54, 120: each attempt has a branch of its own, and its ACK goes where it went.
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, "");
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_first = first.expects("INVITE");
    first.answers(&at_first, 503);
    assert_eq!(first.expects("ACK").branch(), at_first.branch());
    let at_second = second.expects("INVITE");
    assert_ne!(at_first.branch(), at_second.branch());
    assert_eq!(at_first.uri(), at_second.uri());
    second.answers(&at_second, 486);
    assert_eq!(second.expects("ACK").branch(), at_second.branch());
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);

    alice.calls("bob");
    alice.expects("100");
    first.expects("INVITE");
    // Half of 64·T1: the caller has to hear of the second one while he waits.
    sim.millis(15_700);
    assert_eq!(second.all_received(), []);
    sim.millis(300);
    second.expects("INVITE");
    first.all_received();
}

#[test]
fn an_answer_is_an_answer() {
    // checklist 120: only 503 sends us on
    let sim = Simulation::new();
    let (alice, first, second) = two_addresses(&sim, "");
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = first.expects("INVITE");
    first.answers(&received, 500);
    let failed = alice.expects("500");
    alice.acks(&invite, &failed);
    assert_eq!(second.all_received(), []);
}
