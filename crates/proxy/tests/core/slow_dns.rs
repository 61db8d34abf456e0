//! Requests whose next hop is a name, while DNS takes longer than the sender waits before it retransmits.

use std::time::Duration;

use sim::{Agent, Simulation};

use crate::accounts::{ALICE, BOB, add_accounts};

/// A phone that is registered with a host name, which DNS resolves after more than T1.
fn named_phone(sim: &Simulation) -> Agent {
    let bob = sim.udp("bob").named("sip:bob@desk.lan.example:5060");
    sim.dns("desk.lan.example", &[bob.address]);
    sim.dns_takes(Duration::from_secs(3));
    bob
}

#[test]
fn a_retransmission_of_a_request_that_waits_for_dns_is_no_new_request() {
    // checklist 54, 81
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.calls("bob");
    for _ in 0..3 {
        sim.millis(10);
        alice.sends(&invite);
    }
    assert_eq!(bob.all_received(), [], "it waits for DNS");
    sim.seconds(3);
    assert_eq!(bob.all_received().len(), 1);
    // From now on the pin takes a retransmission to the same place.
    alice.sends(&invite);
    bob.expects("INVITE");
}

#[test]
fn a_retransmission_is_not_challenged_while_the_request_waits_for_dns() {
    let sim = Simulation::with(|settings| add_accounts(settings, &[ALICE, BOB]));
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.signs_in(BOB);
    let invite = alice.request("INVITE", "sip:bob@office.example");
    alice.sends(&invite);
    let refused = alice.expects("407");
    alice.acks(&invite, &refused);
    let signed = |request: &sim::Sip, nc| {
        request.clone().with("Proxy-Authorization", ALICE.answer(&refused, "SHA-256", request, nc))
    };
    let invite = signed(&alice.again(&invite), 1);
    alice.sends(&invite);
    // Another request uses the next count of the nonce, so the count of the INVITE is used up.
    let options = signed(&alice.request("OPTIONS", "sip:alice@office.example"), 2);
    alice.sends(&options);
    alice.expects("480");
    alice.sends(&invite);
    alice.receives_nothing();
    sim.seconds(3);
    assert_eq!(bob.all_received().len(), 1);
}

#[test]
fn a_request_that_dns_did_not_resolve_may_be_sent_again() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim).named("sip:bob@nowhere.lan.example"));
    bob.registers();
    let invite = alice.calls("bob");
    sim.seconds(3);
    alice.expects("480");
    alice.sends(&invite);
    sim.seconds(3);
    alice.expects("480");
}
