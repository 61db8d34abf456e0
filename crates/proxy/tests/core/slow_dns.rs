//! Requests whose next hop is a name, while DNS takes longer than the sender waits before it retransmits, or cancels.

use std::time::Duration;

use proxy::{Event, ForkOutcome, Limit};
use sim::{Agent, Simulation, StoreState};

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

#[test]
fn a_cancel_ends_an_invite_that_waits_for_dns() {
    // checklist 78, 103
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.calls("bob");
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    let terminated = alice.expects("487");
    assert_eq!(terminated.method(), "INVITE");
    // The retransmissions that may come meanwhile.
    alice.sends(&invite);
    assert_eq!(alice.expects("487"), terminated);
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    alice.acks(&invite, &terminated);
    alice.sends(&invite);
    alice.receives_nothing();
    sim.seconds(4);
    assert_eq!((bob.all_received(), alice.all_received()), (vec![], vec![]), "the answer of DNS is dropped");
    assert_eq!(sim.count_events(|event| matches!(event, Event::Fork { outcome: ForkOutcome::Cancelled })), 1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Call { .. })), 1);
    let ended: Vec<_> = sim.records().iter().map(|record| (record.status, record.phones.tried)).collect();
    assert_eq!(ended, [(Some(487), 0)]);
}

#[test]
fn the_487_is_retransmitted_until_its_ack() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.calls("bob");
    alice.cancels(&invite);
    sim.seconds(2);
    let received = alice.all_received();
    let kinds: Vec<_> = received.iter().map(|sip| sip.what()).collect();
    assert_eq!(kinds, ["200", "487", "487", "487"], "after 0.5 s and 1.5 s");
    alice.acks(&invite, &received[1]);
    sim.seconds(40);
    assert_eq!((alice.all_received(), bob.all_received()), (vec![], vec![]));
}

#[test]
fn only_the_sender_of_an_invite_that_waits_can_cancel_it() {
    let sim = Simulation::new();
    let (alice, mallory, bob) = (sim.udp("alice"), sim.udp("mallory"), named_phone(&sim));
    bob.registers();
    // Without `rport` the response goes to the port of the Via, whatever the source port is.
    let invite = alice.request("INVITE", "sip:bob@office.example");
    let invite = invite.clone().set("Via", invite.value("Via").replace(";rport", ""));
    alice.sends(&invite);
    mallory.cancels(&invite);
    assert_eq!(mallory.expects("481").method(), "CANCEL");
    let (own, mut other) = (alice.address, alice.address);
    other.set_port(5070);
    alice.sends_from(other).cancels(&invite);
    sim.millis(5);
    alice.sends_from(own);
    sim.seconds(3);
    assert_eq!(bob.all_received().len(), 1);
    alice.receives_nothing();
}

#[test]
fn a_cancel_after_the_answer_of_dns_goes_to_the_phone() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.calls("bob");
    sim.seconds(3);
    let received = bob.expects("INVITE");
    alice.cancels(&invite);
    assert_eq!(bob.expects("CANCEL").branch(), received.branch());
}

#[test]
fn a_cancel_before_its_invite_ends_nothing() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.request("INVITE", "sip:bob@office.example");
    alice.cancels(&invite);
    alice.expects("481");
    alice.sends(&invite);
    sim.seconds(3);
    bob.expects("INVITE");
}

#[test]
fn an_ack_of_an_invite_that_waits_reaches_nobody() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.calls("bob");
    alice.acks(&invite, &bob.answer(&invite, 487));
    sim.seconds(3);
    assert_eq!(bob.all_received().iter().map(|sip| sip.what()).collect::<Vec<_>>(), ["INVITE"]);
}

#[test]
fn the_cancel_of_a_re_invite_that_waits_for_dns_ends_it() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let invite = alice.calls("bob");
    sim.seconds(3);
    bob.answers(&bob.expects("INVITE"), 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    sim.seconds(3);
    bob.expects("ACK");
    let again = alice.within(&invite, &ok, "INVITE");
    alice.sends(&again);
    alice.cancels(&again);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    let terminated = alice.expects("487");
    assert_eq!(terminated.to_tag(), ok.to_tag(), "RFC 3261 12.2.2");
    alice.acks(&again, &terminated);
    sim.seconds(4);
    assert_eq!((alice.all_received(), bob.all_received()), (vec![], vec![]));
    // The call goes on.
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    sim.seconds(3);
    bob.expects("BYE");
}

#[test]
fn a_cancel_ends_a_call_whose_next_party_waits_for_dns() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    let carol = sim.udp("carol").named("sip:carol@desk.lan.example:5060");
    sim.dns("desk.lan.example", &[carol.address]);
    sim.dns_takes(Duration::from_secs(3));
    [&desk, &mobile, &carol].into_iter().for_each(Agent::registers);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    desk.sends(&desk.answer(&at_desk, 302).set("Contact", "<sip:carol@office.example>"));
    desk.expects("ACK");
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    alice.acks(&invite, &alice.expects("487"));
    sim.seconds(4);
    assert_eq!((alice.all_received(), carol.all_received()), (vec![], vec![]));
}

#[test]
fn a_cancel_ends_the_call_to_a_feature_code_that_waits_for_its_change() {
    let sim = Simulation::with(|settings| settings.office.codes.dnd_on = Some("*78".into()));
    let alice = sim.udp("alice");
    alice.registers();
    sim.store(StoreState::Working, 300);
    let invite = alice.calls("*78");
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    alice.acks(&invite, &alice.expects("487"));
    sim.seconds(1);
    assert_eq!(alice.all_received(), []);
}

#[test]
fn the_number_of_requests_that_wait_is_limited() {
    let sim = Simulation::with(|settings| settings.limits.transactions = 1);
    let (alice, bob) = (sim.udp("alice"), named_phone(&sim));
    bob.registers();
    let first = alice.calls("bob");
    let second = alice.calls("bob");
    let refused = alice.expects("503");
    assert!(refused.has("Retry-After"));
    alice.acks(&second, &refused);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Transactions))), 1);
    alice.cancels(&first);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    alice.acks(&first, &alice.expects("487"));
    // There is room again.
    alice.calls("bob");
    sim.seconds(3);
    bob.expects("INVITE");
}

#[test]
fn a_redirection_is_not_followed_when_the_sender_has_given_up_meanwhile() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("carol/desk"), sim.udp("carol/mobile"));
    let bob = named_phone(&sim);
    [&desk, &mobile, &bob].into_iter().for_each(Agent::registers);
    alice.sends(&alice.request("MESSAGE", "sip:carol@office.example"));
    let (at_desk, at_mobile) = (desk.expects("MESSAGE"), mobile.expects("MESSAGE"));
    mobile.answers(&at_mobile, 404);
    sim.millis(31_900);
    desk.sends(&desk.answer(&at_desk, 302).with("Contact", "<sip:bob@office.example>"));
    // RFC 4321 1.3: DNS answers after 64*T1.
    sim.seconds(3);
    assert_eq!(bob.all_received(), []);
}
