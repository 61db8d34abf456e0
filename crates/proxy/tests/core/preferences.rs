//! What a caller asks of his request is done, where the user is ours: RFC 3841. How features are matched is tested where it
//! is written.

use sim::{Agent, Sip, World, sequential, uri_in};

/// alice, and bob with a desk phone and a mobile that say what they are.
fn office(world: &World, features: [&str; 2]) -> (Agent, Agent, Agent) {
    let (alice, desk, mobile) = (world.udp("alice"), world.udp("bob/desk"), world.udp("bob/mobile"));
    desk.registers_with(features[0]);
    mobile.registers_with(features[1]);
    (alice, desk, mobile)
}

/// An INVITE to bob with this header.
fn asks(alice: &Agent, name: &str, value: &str) -> Sip {
    let invite = alice.request("INVITE", "sip:bob@office.example").with(name, value);
    alice.sends(&invite);
    invite
}

#[test]
fn no_fork_is_one_phone_the_best() {
    // checklist 158
    let world = World::new();
    let (alice, desk, mobile) = office(&world, [";q=0.5", ";q=0.9"]);
    asks(&alice, "Request-Disposition", "no-fork");
    let heard = mobile.expects("INVITE");
    assert_eq!(heard.value("Request-Disposition"), "no-fork", "the next one may want to know");
    desk.hears_nothing();
    assert_eq!(world.load(0).transactions, 0);
}

#[test]
fn one_after_another_or_all_at_once_as_the_caller_likes() {
    // checklist 158
    let world = World::new();
    let (alice, desk, mobile) = office(&world, [";q=0.5", ";q=0.9"]);
    asks(&alice, "Request-Disposition", "proxy, sequential");
    alice.expects("100");
    let heard = mobile.expects("INVITE");
    desk.hears_nothing();
    mobile.answers(&heard, 486);
    mobile.expects("ACK");
    desk.expects("INVITE");

    let world = World::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = office(&world, [";q=0.5", ";q=0.9"]);
    asks(&alice, "Request-Disposition", "parallel");
    alice.expects("100");
    desk.expects("INVITE");
    mobile.expects("INVITE");
}

#[test]
fn redirect_is_a_302_with_the_contacts_in_order() {
    // checklist 158, 159
    let world = World::new();
    let (alice, desk, mobile) = office(&world, [";q=0.5;audio", ";q=0.9;audio;video"]);
    let invite = asks(&alice, "d", "redirect, no-fork");
    let moved = alice.expects("302");
    let contacts: Vec<_> = moved.values("Contact").map(|value| (uri_in(value), value.ends_with("audio"))).collect();
    assert_eq!(contacts, [(&*mobile.contact(), false), (&*desk.contact(), false)]);
    assert_eq!((moved.param("Contact", "q"), moved.values("Contact").count()), (Some("1.000"), 2));
    alice.acks(&invite, &moved);
    desk.hears_nothing();
    mobile.hears_nothing();
}

#[test]
fn a_stranger_is_not_told_where_the_phones_are() {
    // checklist 158: local policy
    let world = World::with(|settings| settings.strangers = proxy::Strangers::Accept);
    let (alice, desk, _mobile) = office(&world, ["", ""]);
    let invite = alice.request("INVITE", "sip:bob@office.example").set("From", "<sip:eve@elsewhere.example>;tag=1");
    alice.sends(&invite.with("Request-Disposition", "redirect"));
    alice.expects("100");
    desk.expects("INVITE");
}

#[test]
fn no_cancel_leaves_the_others_ringing_for_their_time() {
    // checklist 158
    let world = World::new();
    let (alice, desk, mobile) = office(&world, ["", ""]);
    let invite = asks(&alice, "Request-Disposition", "no-cancel");
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    desk.answers(&at_desk, 200);
    let first = alice.expects("200");
    alice.acks(&invite, &first);
    desk.expects("ACK");
    mobile.hears_nothing();
    mobile.answers(&at_mobile, 200);
    let second = alice.expects("200");
    assert_ne!(first.param("To", "tag"), second.param("To", "tag"));
    alice.acks(&invite, &second);
    mobile.expects("ACK");

    asks(&alice, "Request-Disposition", "no-cancel");
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    mobile.answers(&at_mobile, 180);
    desk.answers(&at_desk, 200);
    world.seconds(29);
    assert_eq!(mobile.heard(), []);
    world.seconds(1);
    assert_eq!(mobile.expects("CANCEL").method(), "CANCEL");
}

#[test]
fn no_cancel_does_not_keep_them_ringing_after_a_6xx() {
    // checklist 158
    let world = World::new();
    let (alice, desk, mobile) = office(&world, ["", ""]);
    asks(&alice, "Request-Disposition", "no-cancel");
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    mobile.answers(&at_mobile, 180);
    desk.answers(&at_desk, 603);
    desk.expects("ACK");
    mobile.expects("CANCEL");
}

#[test]
fn phones_that_are_not_wanted_do_not_ring() {
    // checklist 159
    let world = World::new();
    let (alice, desk, mobile) = office(&world, [";audio;automata", ";audio;mobility=\"mobile\""]);
    asks(&alice, "Reject-Contact", "*;automata");
    mobile.expects("INVITE");
    desk.hears_nothing();
    asks(&alice, "Accept-Contact", "*;mobility=\"mobile\";require;explicit");
    mobile.expects("INVITE");
    desk.hears_nothing();
    let invite = asks(&alice, "Accept-Contact", "*;mobility=\"fixed\";require;explicit");
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
}

#[test]
fn among_equals_the_better_fit_comes_first() {
    // checklist 159
    let world = World::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = office(&world, [";audio", ";audio;video"]);
    asks(&alice, "a", "*;audio;video");
    alice.expects("100");
    mobile.expects("INVITE");
    desk.hears_nothing();
    // Without a wish they are equal.
    alice.calls("bob");
    alice.expects("100");
    mobile.expects("INVITE");
    desk.expects("INVITE");
}

#[test]
fn a_phone_that_does_not_take_the_method_is_left_out() {
    // checklist 159: RFC 3841 7.2.2
    let world = World::new();
    let (alice, desk, mobile) = office(&world, [";methods=\"INVITE,BYE\"", ";methods=\"INVITE,MESSAGE\""]);
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
    mobile.expects("MESSAGE");
    desk.hears_nothing();
    // If none does, all are tried: it is for a phone to say so.
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example"));
    desk.expects("OPTIONS");
    mobile.expects("OPTIONS");
    asks(&alice, "Event", "presence");
    alice.expects("100");
    desk.expects("INVITE");
    mobile.expects("INVITE");
}

#[test]
fn wishes_end_where_the_domain_is_not_ours() {
    // checklist 159: RFC 3841 7.2
    let world = World::new();
    let (alice, bob) = (world.udp("alice"), world.udp("bob"));
    bob.registers_with(";audio;automata");
    let invite = alice.calls("bob");
    let heard = bob.expects("INVITE");
    bob.answers(&heard, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    let wishes = alice.within(&invite, &ok, "INFO").with("Reject-Contact", "*;automata");
    alice.sends(&wishes.with("Request-Disposition", "redirect"));
    let heard = bob.expects("INFO");
    assert_eq!(heard.value("Reject-Contact"), "*;automata");
}
