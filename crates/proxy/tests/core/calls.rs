//! What the log is told of a call: one beginning, one end, on whichever worker its messages land.

use proxy::Event;

use crate::sim::{World, sequential};

/// How many calls began since the last question, and how many ended with this status.
#[track_caller]
fn saw(world: &World, began: usize, ended: usize, end: Option<u16>) {
    assert_eq!(world.saw(|event| matches!(event, Event::Call { .. })), began);
    assert_eq!(world.saw(|event| matches!(event, Event::CallEnded { status, .. } if *status == end)), ended);
    assert_eq!(world.saw(|event| matches!(event, Event::CallEnded { .. })), 0, "another end");
}

#[test]
fn a_stateless_call_ends_once_whoever_passes_its_final() {
    let world = World::with_workers(2, |_| {});
    let (alice, bob) = (world.udp("alice"), world.udp("bob"));
    bob.registers();
    alice.calls("bob");
    let heard = bob.expects("INVITE");
    bob.answers(&heard, 180);
    alice.expects("180");
    saw(&world, 1, 0, None);
    for worker in [1, 0] {
        bob.lands_on(worker).answers(&heard, 200);
        alice.expects("200");
    }
    world.seconds(200);
    saw(&world, 0, 1, Some(200));
}

#[test]
fn the_200_of_a_cancel_ends_no_call() {
    let world = World::new();
    let (alice, bob) = (world.udp("alice"), world.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let heard = bob.expects("INVITE");
    bob.answers(&heard, 180);
    alice.expects("180");
    alice.cancels(&invite);
    let cancel = bob.expects("CANCEL");
    bob.answers(&cancel, 200);
    alice.expects("200");
    saw(&world, 1, 0, None);
    bob.answers(&heard, 487);
    alice.expects("487");
    saw(&world, 0, 1, Some(487));
}

#[test]
fn a_phone_that_says_nothing_ends_it_too() {
    let world = World::new();
    let (alice, bob) = (world.udp("alice"), world.udp("bob"));
    bob.registers();
    alice.calls("bob");
    bob.expects("INVITE");
    world.seconds(180);
    saw(&world, 1, 0, None);
    world.seconds(2);
    saw(&world, 0, 1, None);
}

#[test]
fn a_fork_ends_with_its_first_answer() {
    let world = World::new();
    let (alice, desk, mobile) = (world.udp("alice"), world.udp("bob/desk"), world.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (_, [at_desk, at_mobile]) = alice.rings("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 200);
    alice.expects("200");
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    world.seconds(40);
    saw(&world, 1, 1, Some(200));
}

#[test]
fn only_phones_that_were_tried_count() {
    let world = World::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = (world.udp("alice"), world.udp("bob/desk"), world.udp("bob/mobile"));
    desk.registers_with(";q=1");
    mobile.registers_with(";q=0.5");
    alice.calls("bob");
    let at_desk = desk.expects("INVITE");
    desk.answers(&at_desk, 200);
    alice.expects("100");
    alice.expects("200");
    assert_eq!(world.saw(|event| matches!(event, Event::Call { targets: 2, .. })), 1);
    assert_eq!(world.saw(|event| matches!(event, Event::CallEnded { tried: 1, .. })), 1);
}

#[test]
fn a_call_that_is_refused_here_never_began() {
    let world = World::new();
    let alice = world.udp("alice");
    alice.calls("bob");
    alice.expects("480");
    saw(&world, 0, 0, None);
    assert_eq!(world.saw(|event| matches!(event, Event::CallRefused { status: 480, .. })), 1);
}

#[test]
fn the_events_name_the_phone_that_registered_or_answered() {
    // One phone: forwarded without a response context. Two phones: with one.
    for phones in [&["bob/desk"][..], &["bob/desk", "bob/mobile"]] {
        let world = World::new();
        let alice = world.udp("alice");
        let phones: Vec<_> = phones.iter().map(|name| world.udp(name)).collect();
        for (phone, user_agent) in phones.iter().zip(["Desk", "Mobile"]) {
            let contact = format!("<{}>", phone.contact());
            phone.sends(&phone.register().set("Contact", contact).with("User-Agent", user_agent));
            phone.expects("200");
            let names_it = |event: &Event| match event {
                Event::Registration { record: Some(record), .. } => {
                    record.bindings().iter().any(|binding| binding.user_agent() == user_agent.as_bytes())
                }
                _ => false,
            };
            assert_eq!(world.saw(names_it), 1, "{user_agent}");
        }
        alice.calls("bob");
        let invites: Vec<_> = phones.iter().map(|phone| phone.expects("INVITE")).collect();
        phones[0].answers(&invites[0], 200);
        world.seconds(1);
        let is_desk =
            |event: &Event| matches!(event, Event::CallEnded { by: Some(phone), .. } if phone.user_agent() == b"Desk");
        assert_eq!(world.saw(is_desk), 1, "{} phones", phones.len());
    }
}
