//! Picking up a call that rings: an INVITE with Replaces (RFC 3891), sent by a phone that watches the called user.

use sim::{Agent, Simulation, Sip};

use crate::call_steps::accepts;
use crate::dialog_events::{BOB, Watcher, setup};

const ALICE: &str = "sip:alice@office.example";

/// alice calls bob, whose phone rings; `desk` may pick that up.
struct Ringing {
    sim: Simulation,
    alice: Agent,
    /// Another phone of alice.
    other: Agent,
    bob: Agent,
    desk: Watcher,
    invite: Sip,
    received: Sip,
}

impl Ringing {
    fn new() -> Self {
        let sim = setup();
        let [alice, other, bob] = ["alice/phone", "alice/other", "bob"].map(|name| {
            let phone = sim.udp(name);
            phone.registers();
            phone
        });
        let mut desk = Watcher::of(&sim, "desk", "bob");
        desk.phone.registers();
        sim.seconds(1);
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        bob.answers(&received, 180);
        alice.expects("180");
        desk.is_notified();
        Self { sim, alice, other, bob, desk, invite, received }
    }
}

/// A phone sends an INVITE that replaces a call. If that is allowed, the phone that called gets it and answers 481; if not, the
/// server answers 403.
pub(crate) fn tries(phone: &Agent, pickup: &Sip, caller: &Agent, is_allowed: bool) {
    phone.sends(pickup);
    if is_allowed {
        let received = caller.expects("INVITE");
        caller.answers(&received, 481);
        phone.acks(pickup, &phone.expects("481"));
        caller.expects("ACK");
    } else {
        phone.acks(pickup, &phone.expects("403"));
        caller.receives_nothing();
    }
}

#[test]
fn a_call_is_picked_up_at_the_phone_that_called() {
    // checklist 175
    let alice_s_phone = Ringing::new().alice.contact();
    // The remote target in the NOTIFY, the user that is watched, and the Contact of the phone.
    for uri in [ALICE, BOB, &alice_s_phone] {
        let Ringing { sim, alice, other, bob, mut desk, invite, received } = {
            let ringing = Ringing::new();
            assert_eq!(ringing.desk.view.last[0].remote, ALICE);
            let pickup = ringing.desk.replacement(&ringing.desk.phone, uri);
            ringing.desk.phone.sends(&pickup);
            let at_alice = ringing.alice.expects("INVITE");
            assert_eq!(at_alice.uri(), ringing.alice.contact(), "{uri}");
            assert_eq!(at_alice.value("Replaces"), pickup.value("Replaces"));
            accepts(&ringing.desk.phone, &pickup, &ringing.alice, &at_alice);
            ringing
        };
        // RFC 3891 3: the phone that called cancels the call that it replaces.
        alice.cancels(&invite);
        bob.answers(&bob.expects("CANCEL"), 200);
        alice.expects("200");
        bob.answers(&received, 487);
        alice.acks(&invite, &alice.expects("487"));
        bob.expects("ACK");
        other.receives_nothing();
        sim.seconds(1);
        desk.settles(&sim);
        assert_eq!(desk.view.states(), []);
        sim.skip_final_check();
    }
}

#[test]
fn who_may_not_pick_up_cannot_use_what_was_read_on_the_network() {
    // checklist 175
    let ringing = Ringing::new();
    for (name, is_allowed) in
        [("board", false), ("carol", false), ("nobody", false), ("bob/other", true), ("desk", true)]
    {
        let phone = ringing.sim.udp(&format!("{name}/thief"));
        if name != "nobody" {
            phone.registers();
        }
        for uri in [ALICE, BOB, &ringing.alice.contact()] {
            let pickup = ringing.desk.replacement(&phone, uri);
            tries(&phone, &pickup, &ringing.alice, is_allowed);
            if !is_allowed {
                ringing.bob.receives_nothing();
            }
        }
    }
    assert_eq!(ringing.invite.value("Call-ID"), ringing.received.value("Call-ID"));
    ringing.sim.skip_final_check();
}

#[test]
fn a_transfer_replaces_a_dialog_of_others() {
    // checklist 175
    let ringing = Ringing::new();
    let transfer = ringing.desk.replacement(&ringing.sim.udp("carol"), ALICE);
    accepts(&ringing.alice, &ringing.invite, &ringing.bob, &ringing.received);
    // RFC 5589 7.1: it comes from a third party, and may ring at each phone of the user.
    let carol = ringing.sim.udp("carol/phone");
    carol.sends(&transfer.set("Via", carol.via()));
    ringing.alice.expects("INVITE");
    ringing.other.expects("INVITE");
    ringing.sim.skip_final_check();
}

/// Whoever may not pick up must not get past the check by another spelling of the identifiers.
#[test]
fn a_replaces_that_can_be_read_in_two_ways_is_refused() {
    let ringing = Ringing::new();
    let dialog = ringing.desk.view.last[0].clone();
    let (call_id, to, from) = (dialog.call_id, dialog.remote_tag, dialog.local_tag);
    let carol = ringing.sim.udp("carol/thief");
    carol.registers();
    let good = format!("{call_id};to-tag={to};from-tag={from}");
    for (replaces, status) in [
        (format!("{call_id};to-tag={};from-tag={}", to.to_uppercase(), from.to_uppercase()), 403),
        (format!("{call_id} ; To-Tag = {to} ;\tFROM-TAG= {from};early-only;x=1"), 403),
        (format!("{call_id};to-tag=\"{to}\";from-tag={from}"), 400),
        (format!("{call_id};to-tag=x;to-tag={to};from-tag={from}"), 400),
        (format!("{call_id};to-tag={to};from-tag={from};from-tag=x"), 400),
        (format!("x;to-tag=x;from-tag=x, {good}"), 400),
        (format!("{call_id};x=\";to-tag=x;from-tag=x;\";to-tag={to};from-tag={from}"), 400),
        (format!("x, {good}"), 400),
        (format!("{call_id};to-tag={to}"), 400),
        (format!("{call_id};to-tag;from-tag="), 400),
        (format!("{good};"), 400),
        (call_id, 400),
        (";;;".to_owned(), 400),
    ] {
        for uri in [ALICE, BOB, &ringing.alice.contact()] {
            let invite = carol.request("INVITE", uri).with("Replaces", &replaces);
            carol.sends(&invite);
            carol.acks(&invite, &carol.expects(&status.to_string()));
        }
    }
    for replaces in [["x;to-tag=x;from-tag=x", &good], [&good, "x;to-tag=x;from-tag=x"]] {
        let invite = carol.request("INVITE", ALICE).with("Replaces", replaces[0]).with("Replaces", replaces[1]);
        carol.sends(&invite);
        carol.acks(&invite, &carol.expects("400"));
    }
    for phone in [&ringing.alice, &ringing.other, &ringing.bob] {
        phone.receives_nothing();
    }
    ringing.sim.skip_final_check();
}

/// A call of a thief's own with the identifiers of a call that rings.
#[test]
fn a_call_with_equal_identifiers_permits_no_pickup() {
    let ringing = Ringing::new();
    let (carol, accomplice) = (ringing.sim.udp("carol/thief"), ringing.sim.udp("carol/other"));
    accomplice.registers();
    let tag = ringing.invite.param("From", "tag").unwrap();
    // Several, as the calls are found in no order.
    for number in 0..10 {
        let phone = ringing.sim.udp(&format!("carol/{number}"));
        let own = phone.request("INVITE", "sip:carol@office.example").set("Call-ID", ringing.invite.value("Call-ID"));
        phone.sends(&own.set("From", format_args!("<sip:carol@office.example>;tag={tag}")));
        let received = accomplice.expects("INVITE");
        let to = format!("{};tag={}", received.value("To"), ringing.desk.view.last[0].local_tag);
        accomplice.sends(&accomplice.answer(&received, 180).set("To", to));
        phone.expects("180");
    }
    carol.registers();
    let pickup = ringing.desk.replacement(&carol, &ringing.alice.contact());
    carol.sends(&pickup);
    carol.acks(&pickup, &carol.expects("403"));
    ringing.alice.receives_nothing();
    ringing.sim.skip_final_check();
}

#[test]
fn replaces_with_other_identifiers_is_a_call() {
    let ringing = Ringing::new();
    let dialog = ringing.desk.view.last[0].clone();
    let (call_id, to, from) = (dialog.call_id, dialog.remote_tag, dialog.local_tag);
    for replaces in [
        format!("{call_id};to-tag={to};from-tag=x"),
        format!("x;to-tag={to};from-tag={from}"),
        format!("{call_id};to-tag={to};from-tag={to}"),
        format!("\"<({call_id})>\"@x;to-tag={to};from-tag={from}"),
    ] {
        let carol = ringing.sim.udp("carol");
        let invite = carol.request("INVITE", BOB).with("Replaces", &replaces);
        carol.sends(&invite);
        let received = ringing.bob.expects("INVITE");
        assert_eq!(received.value("Replaces"), replaces);
        ringing.bob.answers(&received, 481);
        carol.acks(&invite, &carol.expects("481"));
        ringing.bob.expects("ACK");
    }
    ringing.sim.skip_final_check();
}

#[test]
fn identifiers_that_are_too_long_to_be_known_permit_no_pickup() {
    // checklist 175
    let long = "x".repeat(300);
    for (call_id, from_tag, to_tag) in [(&*long, "a", "b"), ("1@a", &*long, "b"), ("1@a", "a", &*long)] {
        let sim = setup();
        let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
        [&alice, &bob, &carol].into_iter().for_each(Agent::registers);
        let invite = alice.request("INVITE", BOB).set("Call-ID", call_id);
        alice.sends(&invite.set("From", format_args!("<{ALICE}>;tag={from_tag}")));
        let received = bob.expects("INVITE");
        let to = format!("{};tag={to_tag}", received.value("To"));
        bob.sends(&bob.answer(&received, 180).set("To", to));
        alice.expects("180");
        let replaces = format!("{call_id};to-tag={from_tag};from-tag={to_tag}");
        tries(&carol, &carol.request("INVITE", ALICE).with("Replaces", replaces), &alice, false);
        sim.skip_final_check();
    }
}

#[test]
fn a_tag_of_zero_is_that_of_a_side_without_one() {
    // checklist 175: RFC 3891 3
    let sim = setup();
    let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    [&alice, &bob, &carol].into_iter().for_each(Agent::registers);
    let invite = alice.request("INVITE", BOB).set("From", format_args!("<{ALICE}>"));
    alice.sends(&invite);
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    let rings = alice.expects("180");
    let (call_id, tag) = (invite.value("Call-ID"), rings.to_tag());
    let replaces = format!("{call_id};to-tag=0;from-tag={tag}");
    tries(&carol, &carol.request("INVITE", ALICE).with("Replaces", replaces), &alice, false);
    sim.skip_final_check();
}
