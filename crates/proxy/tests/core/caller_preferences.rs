//! Caller preferences (RFC 3841) are applied for local users. The matching of features is tested in its module.

use sim::{Agent, Simulation, Sip, sequential, uri_in};

/// alice, and bob with a desk phone and a mobile phone with these features.
fn setup(sim: &Simulation, features: [&str; 2]) -> (Agent, Agent, Agent) {
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
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
fn no_fork_calls_only_the_best_phone() {
    // checklist 158
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, [";q=0.5", ";q=0.9"]);
    asks(&alice, "Request-Disposition", "no-fork");
    let received = mobile.expects("INVITE");
    assert_eq!(received.value("Request-Disposition"), "no-fork", "the next one may want to know");
    desk.receives_nothing();
    assert_eq!(sim.load(0).transactions, 0);
}

#[test]
fn the_caller_may_choose_sequential_or_parallel_forking() {
    // checklist 158
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, [";q=0.5", ";q=0.9"]);
    asks(&alice, "Request-Disposition", "proxy, sequential");
    alice.expects("100");
    let received = mobile.expects("INVITE");
    desk.receives_nothing();
    mobile.answers(&received, 486);
    mobile.expects("ACK");
    desk.expects("INVITE");

    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = setup(&sim, [";q=0.5", ";q=0.9"]);
    asks(&alice, "Request-Disposition", "parallel");
    alice.expects("100");
    desk.expects("INVITE");
    mobile.expects("INVITE");
}

#[test]
fn the_redirect_directive_gets_a_302_with_the_contacts_in_order() {
    // checklist 158, 159
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, [";q=0.5;audio", ";q=0.9;audio;video"]);
    let invite = asks(&alice, "d", "redirect, no-fork");
    let moved = alice.expects("302");
    let contacts: Vec<_> = moved.values("Contact").map(|value| (uri_in(value), value.ends_with("audio"))).collect();
    assert_eq!(contacts, [(&*mobile.contact(), false), (&*desk.contact(), false)]);
    assert_eq!((moved.param("Contact", "q"), moved.values("Contact").count()), (Some("1.000"), 2));
    alice.acks(&invite, &moved);
    desk.receives_nothing();
    mobile.receives_nothing();
}

#[test]
fn a_stranger_is_not_told_where_the_phones_are() {
    // checklist 158: local policy.
    let sim = Simulation::with(|settings| settings.strangers = proxy::Strangers::Accept);
    let (alice, desk, _mobile) = setup(&sim, ["", ""]);
    let invite = alice.request("INVITE", "sip:bob@office.example").set("From", "<sip:eve@elsewhere.example>;tag=1");
    alice.sends(&invite.with("Request-Disposition", "redirect"));
    alice.expects("100");
    desk.expects("INVITE");
}

#[test]
fn no_cancel_lets_the_others_ring_until_the_ring_time() {
    // checklist 158
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, ["", ""]);
    let invite = asks(&alice, "Request-Disposition", "no-cancel");
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    desk.answers(&at_desk, 200);
    let first = alice.expects("200");
    alice.acks(&invite, &first);
    desk.expects("ACK");
    mobile.receives_nothing();
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
    sim.seconds(29);
    assert_eq!(mobile.all_received(), []);
    sim.seconds(1);
    assert_eq!(mobile.expects("CANCEL").method(), "CANCEL");
}

#[test]
fn no_cancel_has_no_effect_after_a_6xx() {
    // checklist 158
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, ["", ""]);
    asks(&alice, "Request-Disposition", "no-cancel");
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    mobile.answers(&at_mobile, 180);
    desk.answers(&at_desk, 603);
    desk.expects("ACK");
    mobile.expects("CANCEL");
}

#[test]
fn rejected_phones_are_not_called() {
    // checklist 159
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, [";audio;automata", ";audio;mobility=\"mobile\""]);
    asks(&alice, "Reject-Contact", "*;automata");
    mobile.expects("INVITE");
    desk.receives_nothing();
    asks(&alice, "Accept-Contact", "*;mobility=\"mobile\";require;explicit");
    mobile.expects("INVITE");
    desk.receives_nothing();
    let invite = asks(&alice, "Accept-Contact", "*;mobility=\"fixed\";require;explicit");
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
}

#[test]
fn among_equal_q_the_better_match_is_first() {
    // checklist 159
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = setup(&sim, [";audio", ";audio;video"]);
    asks(&alice, "a", "*;audio;video");
    alice.expects("100");
    mobile.expects("INVITE");
    desk.receives_nothing();
    // Without a preference they are equal.
    alice.calls("bob");
    alice.expects("100");
    mobile.expects("INVITE");
    desk.expects("INVITE");
}

#[test]
fn a_phone_that_does_not_take_the_method_is_left_out() {
    // checklist 159: RFC 3841 7.2.2
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim, [";methods=\"INVITE,BYE\"", ";methods=\"INVITE,MESSAGE\""]);
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
    mobile.expects("MESSAGE");
    desk.receives_nothing();
    // If no phone lists the method, all are tried, because a phone may support it nevertheless.
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example"));
    desk.expects("OPTIONS");
    mobile.expects("OPTIONS");
    asks(&alice, "Event", "presence");
    alice.expects("100");
    desk.expects("INVITE");
    mobile.expects("INVITE");
}

#[test]
fn preferences_do_not_apply_within_a_dialog() {
    // checklist 159: RFC 3841 7.2
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers_with(";audio;automata");
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    let wishes = alice.within(&invite, &ok, "INFO").with("Reject-Contact", "*;automata");
    alice.sends(&wishes.with("Request-Disposition", "redirect"));
    let received = bob.expects("INFO");
    assert_eq!(received.value("Reject-Contact"), "*;automata");
}
