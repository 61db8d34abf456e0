//! Picking up a call that rings through another node (RFC 3891).

use sim::{Agent, Simulation, Sip};

use super::{BOUND, Kind, nodes_with, registered};
use crate::call_steps::accepts;
use crate::dialog_events::{Watcher, add_accounts};
use crate::pickup::tries;

/// alice calls bob through the first node, and bob's phone rings. desk watches bob at the last node.
struct Ringing {
    sim: Simulation,
    alice: Agent,
    bob: Agent,
    desk: Watcher,
    invite: Sip,
    received: Sip,
}

impl Ringing {
    fn new(nodes: usize, kind: Kind) -> Self {
        let sim = nodes_with(nodes, add_accounts);
        let (alice, bob) = (registered(&sim, "alice", kind, 0), registered(&sim, "bob", kind, 1));
        let mut desk = Watcher::at(sim.udp("desk").reaches_node(nodes - 1).clone(), "bob");
        desk.phone.registers();
        sim.seconds(1);
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        bob.answers(&received, 180);
        alice.expects("180");
        desk.sees(&sim, &[("recipient", "early")]);
        Self { sim, alice, bob, desk, invite, received }
    }
}

const ALICE: &str = "sip:alice@office.example";
const BOB: &str = "sip:bob@office.example";

#[test]
fn a_call_through_another_node_is_picked_up_at_the_phone_that_called() {
    // checklist 175
    for kind in [Kind::Udp].into_iter().chain(BOUND) {
        let contact = Ringing::new(3, kind).alice.contact();
        for uri in [ALICE, BOB, &contact] {
            let ringing = Ringing::new(3, kind);
            let pickup = ringing.desk.replacement(&ringing.desk.phone, uri);
            let Ringing { sim, alice, bob, mut desk, invite, received } = ringing;
            desk.phone.sends(&pickup);
            let at_alice = alice.expects("INVITE");
            assert_eq!(at_alice.value("Replaces"), pickup.value("Replaces"), "{kind:?} {uri}");
            accepts(&desk.phone, &pickup, &alice, &at_alice);
            // RFC 3891 3: the phone that called cancels the call that it replaces.
            alice.cancels(&invite);
            bob.answers(&bob.expects("CANCEL"), 200);
            alice.expects("200");
            bob.answers(&received, 487);
            alice.acks(&invite, &alice.expects("487"));
            bob.expects("ACK");
            desk.sees(&sim, &[]);
            sim.skip_final_check();
        }
    }
}

#[test]
fn who_may_not_pick_up_is_refused_at_any_node() {
    // checklist 175
    let ringing = Ringing::new(3, Kind::Udp);
    for node in 0..3 {
        for (name, is_allowed) in [("board", false), ("carol", false), ("bob/other", true), ("desk", true)] {
            let phone = registered(&ringing.sim, name, Kind::Tcp, node);
            for uri in [ALICE, BOB, &ringing.alice.contact()] {
                let pickup = ringing.desk.replacement(&phone, uri);
                tries(&phone, &pickup, &ringing.alice, is_allowed);
            }
        }
    }
    ringing.sim.skip_final_check();
}

/// Calls of a thief's own with the identifiers of a call that rings through another node.
#[test]
fn calls_with_equal_identifiers_permit_no_pickup() {
    for (count, at) in [(1, 1), (3, 0), (20, 2)] {
        let ringing = Ringing::new(3, Kind::Udp);
        let sim = &ringing.sim;
        let accomplice = registered(sim, "carol", Kind::Udp, 2);
        let tag = ringing.invite.param("From", "tag").unwrap();
        for number in 0..count {
            let thief = sim.udp(&format!("carol/{number}"));
            thief.reaches_node(at);
            let own =
                thief.request("INVITE", "sip:carol@office.example").set("Call-ID", ringing.invite.value("Call-ID"));
            thief.sends(&own.set("From", format_args!("<sip:carol@office.example>;tag={tag}")));
            let received = accomplice.expects("INVITE");
            let to = format!("{};tag={}", received.value("To"), ringing.desk.view.last[0].local_tag);
            accomplice.sends(&accomplice.answer(&received, 180).set("To", to));
            thief.expects("180");
        }
        let thief = sim.udp("carol/thief");
        thief.reaches_node(2);
        let pickup = ringing.desk.replacement(&thief, ALICE);
        tries(&thief, &pickup, &ringing.alice, false);
        sim.skip_final_check();
    }
}

#[test]
fn an_invite_that_replaces_no_call_goes_on_when_all_nodes_have_answered() {
    let sim = nodes_with(3, add_accounts);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    let before = sim.elapsed();
    let invite = alice.request("INVITE", BOB).with("Replaces", "x@y;to-tag=a;from-tag=b");
    alice.sends(&invite);
    // A copy that comes meanwhile is no second call.
    alice.sends(&invite);
    let received = bob.expects("INVITE");
    assert!((sim.elapsed() - before).as_millis() < 10);
    accepts(&alice, &invite, &bob, &received);
    assert_eq!(sim.calls().len(), 1);
    sim.skip_final_check();
}

/// Whoever has read the identifiers of a call could take it over when one answer is lost.
#[test]
fn an_invite_is_refused_while_a_node_does_not_answer() {
    let sim = nodes_with(3, add_accounts);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 0));
    let replacement = || alice.request("INVITE", BOB).with("Replaces", "x@y;to-tag=a;from-tag=b");
    sim.cut(0, 2);
    let invite = replacement();
    alice.sends(&invite);
    sim.millis(400);
    bob.receives_nothing();
    sim.millis(200);
    let refusal = alice.expects("503");
    assert!(refusal.has("Retry-After"), "{refusal}");
    alice.acks(&invite, &refusal);
    bob.receives_nothing();
    sim.lose_lease(2);
    let invite = replacement();
    alice.sends(&invite);
    let received = bob.expects("INVITE");
    accepts(&alice, &invite, &bob, &received);
    sim.skip_final_check();
}

#[test]
fn an_invite_that_waits_for_nodes_can_be_cancelled() {
    let sim = nodes_with(2, add_accounts);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 0));
    sim.cut(1, 0);
    let invite = alice.request("INVITE", BOB).with("Replaces", "x@y;to-tag=a;from-tag=b");
    alice.sends(&invite);
    sim.millis(100);
    alice.cancels(&invite);
    alice.expects("200");
    alice.acks(&invite, &alice.expects("487"));
    sim.seconds(1);
    bob.receives_nothing();
}

/// Two phones at two nodes press the key at the same moment: the phone that called decides.
#[test]
fn two_watchers_at_two_nodes_pick_up_at_once() {
    let ringing = Ringing::new(3, Kind::Udp);
    let second = second_desk(&ringing, 1);
    let phones = [&ringing.desk.phone, &second];
    let pickups = phones.map(|phone| ringing.desk.replacement(phone, ALICE));
    for (phone, pickup) in phones.iter().zip(&pickups) {
        phone.sends(pickup);
    }
    let at_alice = [0, 1].map(|_| ringing.alice.expects("INVITE"));
    for ((phone, pickup), status) in phones.iter().zip(&pickups).zip([200, 481]) {
        let received = at_alice.iter().find(|it| it.value("Call-ID") == pickup.value("Call-ID")).unwrap();
        ringing.alice.answers(received, status);
        let answer = phone.expects(&status.to_string());
        phone.acks(pickup, &answer);
        ringing.alice.expects("ACK");
    }
    // Each asked all others once; none of the calls is known twice.
    ringing.sim.seconds(1);
    let calls = ringing.sim.calls();
    assert_eq!(calls.len(), 2, "that of bob's phone and the new one: {calls:?}");
    ringing.sim.skip_final_check();
}

/// Another phone of desk, at a node.
fn second_desk(ringing: &Ringing, node: usize) -> Agent {
    registered(&ringing.sim, "desk/second", Kind::Tcp, node)
}

/// The call was answered, or given up, while the INVITE that picks it up was on its way.
#[test]
fn a_call_that_does_not_ring_any_more_is_not_picked_up() {
    for is_answered in [true, false] {
        let ringing = Ringing::new(3, Kind::Udp);
        let phone = second_desk(&ringing, 2);
        let pickup = ringing.desk.replacement(&phone, BOB);
        let Ringing { sim, alice, bob, invite, received, .. } = ringing;
        if is_answered {
            accepts(&alice, &invite, &bob, &received);
        } else {
            bob.answers(&received, 486);
            alice.acks(&invite, &alice.expects("486"));
            bob.expects("ACK");
        }
        phone.sends(&pickup);
        // It goes where it is addressed, as a transfer does.
        let at_bob = bob.expects("INVITE");
        bob.answers(&at_bob, 481);
        phone.acks(&pickup, &phone.expects("481"));
        alice.receives_nothing();
        sim.skip_final_check();
    }
}

/// The phones do not know that the node of their call is gone.
#[test]
fn a_call_whose_node_is_gone_is_known_at_no_node() {
    let ringing = Ringing::new(3, Kind::Udp);
    let phone = second_desk(&ringing, 2);
    let pickup = ringing.desk.replacement(&phone, BOB);
    ringing.sim.kill_node(0);
    ringing.sim.lose_lease(0);
    phone.sends(&pickup);
    let at_bob = ringing.bob.expects("INVITE");
    ringing.bob.answers(&at_bob, 481);
    phone.acks(&pickup, &phone.expects("481"));
    ringing.sim.skip_final_check();
}
