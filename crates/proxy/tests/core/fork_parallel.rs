//! Several phones ring at once: RFC 3261 16.7 steps 3 to 10.

use proxy::{Drop, Event, ForkOutcome};

use sim::{Agent, Simulation, Sip, StoreState};

const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// alice, and bob with two phones.
fn setup(sim: &Simulation) -> (Agent, Agent, Agent) {
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    (alice, desk, mobile)
}

/// alice calls; both phones have received the INVITE, and alice the 100.
fn ring(alice: &Agent, desk: &Agent, mobile: &Agent) -> (Sip, Sip, Sip) {
    let invite = alice.calls("bob");
    alice.expects("100");
    (invite, desk.expects("INVITE"), mobile.expects("INVITE"))
}

#[test]
fn the_first_2xx_cancels_the_other_phone() {
    // checklist 31, 32, 65, 75, 79, 156
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    assert_ne!(at_desk.branch(), at_mobile.branch());
    assert_eq!(sim.load(0).transactions, 1);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.expects("ACK");

    let cancel = desk.expects("CANCEL");
    assert_eq!(cancel.uri(), at_desk.uri());
    assert_eq!(cancel.values("Via").collect::<Vec<_>>(), at_desk.values("Via").take(1).collect::<Vec<_>>());
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(cancel.value(name), at_desk.value(name));
    }
    assert_eq!(cancel.value("CSeq"), at_desk.value("CSeq").replace("INVITE", "CANCEL"));
    assert_eq!(cancel.value("Reason"), ELSEWHERE);
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    let ack = desk.expects("ACK");
    assert_eq!(ack.branch(), at_desk.branch());
    assert_eq!(ack.values("Via").count(), 1);
    alice.receives_nothing();
    mobile.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::Fork { outcome: ForkOutcome::Answered })), 1);
}

#[test]
fn the_caller_gets_one_100_at_once_and_none_of_a_phone() {
    // checklist 31, 33, 67, 97
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let invite = alice.calls("bob");
    let trying = alice.expects("100");
    assert_eq!(trying.value("To"), invite.value("To"), "a 100 has no tag of ours");
    let (at_desk, _) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    desk.answers(&at_desk, 100);
    alice.receives_nothing();
    alice.sends(&invite);
    assert_eq!(alice.expects("100"), trying);
    desk.answers(&at_desk, 180);
    let ringing = alice.expects("180");
    alice.sends(&invite);
    assert_eq!(alice.expects("180"), ringing, "the last provisional again");
    assert_eq!(desk.all_received(), []);
}

#[test]
fn all_2xx_are_forwarded() {
    // checklist 65, 66, 91, 98
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    desk.answers(&at_desk, 200);
    mobile.answers(&at_mobile, 200);
    let (first, second) = (alice.expects("200"), alice.expects("200"));
    assert_ne!(first.param("To", "tag"), second.param("To", "tag"));
    // The phone retransmits a 2xx; the proxy does not.
    desk.answers(&at_desk, 200);
    assert_eq!(alice.expects("200"), first);
    alice.sends(&invite);
    alice.receives_nothing();
    for ok in [&first, &second] {
        alice.acks(&invite, ok);
    }
    desk.expects("ACK");
    mobile.expects("ACK");
    sim.seconds(31);
    assert!(alice.all_received().is_empty());
    desk.answers(&at_desk, 200);
    alice.expects("200");
}

#[test]
fn after_a_final_response_only_a_2xx_is_forwarded() {
    // checklist 66
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.answers(&at_mobile, 180);
    mobile.expects("CANCEL");
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    alice.receives_nothing();
}

#[test]
fn a_6xx_cancels_the_other_phone() {
    // checklist 64, 69, 75, 156
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 603);
    mobile.expects("ACK");
    // It is sent after the other branches have ended, because one of them may still be answered.
    alice.receives_nothing();
    let cancel = desk.expects("CANCEL");
    assert!(cancel.value("Reason").starts_with("SIP;cause=603"), "{cancel}");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    desk.expects("ACK");
    let declined = alice.expects("603");
    alice.acks(&invite, &declined);
    desk.receives_nothing();
}

#[test]
fn a_2xx_after_a_6xx_is_forwarded() {
    // checklist 65
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    mobile.answers(&at_mobile, 603);
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    sim.seconds(1);
    assert!(alice.all_received().is_empty());
}

#[test]
fn failure_responses_get_an_ack_hop_by_hop() {
    // checklist 92, 93, 99
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    let busy = desk.answers(&at_desk, 486);
    let ack = desk.expects("ACK");
    assert_eq!(ack.uri(), at_desk.uri());
    assert_eq!(ack.value("Via"), at_desk.value("Via"));
    assert_eq!(ack.value("To"), busy.value("To"));
    assert_eq!(ack.value("CSeq"), at_desk.value("CSeq").replace("INVITE", "ACK"));
    desk.sends(&busy);
    desk.expects("ACK");
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    let refused = alice.expects("486");
    sim.millis(450);
    assert_eq!(alice.expects("486"), refused, "Timer G");
    alice.acks(&invite, &refused);
    sim.seconds(10);
    assert!(alice.all_received().is_empty());
    assert!(desk.all_received().is_empty(), "the ACK ends at the server");
}

#[test]
fn a_response_with_another_method_is_no_response_to_the_invite() {
    // checklist 60, 95
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (_, at_desk, _) = ring(&alice, &desk, &mobile);
    let number = at_desk.value("CSeq").split(' ').next().unwrap();
    desk.sends(&desk.answer(&at_desk, 200).set("CSeq", format_args!("{number} OPTIONS")));
    alice.receives_nothing();
    mobile.receives_nothing();
}

#[test]
fn a_response_to_an_unknown_branch_is_dropped() {
    // checklist 60
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (_, at_desk, _) = ring(&alice, &desk, &mobile);
    let via = at_desk.value("Via");
    let id = via.find("z9hG4bKt00").unwrap() + "z9hG4bKt00".len();
    let digit = if via[id..].starts_with('0') { "1" } else { "0" };
    let via = format!("{}{digit}{}", &via[..id], &via[id + 1..]);
    desk.sends(&desk.answer(&at_desk, 183).set("Via", via));
    alice.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::Dropped(Drop::StrayResponse))), 1);
}

#[test]
fn a_phone_cannot_bypass_its_response_context() {
    // checklist 60, 88: the mark in its branch is valid for that response context of that worker only.
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, desk, mobile) = setup(&sim);
    let (_, at_desk, _) = ring(&alice, &desk, &mobile);
    let (via, branch) = (at_desk.value("Via"), at_desk.branch());
    let (fork, origin) = (&branch["z9hG4bKt00".len()..][..16], &branch["z9hG4bKt00".len() + 34..]);
    let forged = [
        branch.replace(fork, &fork.chars().rev().collect::<String>()),
        branch.replace("z9hG4bKt00", "z9hG4bKt01"),
        format!("z9hG4bKs{origin}"),
        format!("z9hG4bKp00{origin}"),
    ];
    for other in &forged {
        desk.sends(&desk.answer(&at_desk, 200).set("Via", via.replace(branch, other)));
    }
    alice.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::Dropped(Drop::StrayResponse))), forged.len());
}

#[test]
fn a_response_with_no_via_but_ours_is_not_forwarded() {
    // checklist 62
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let (_, at_desk, _) = ring(&alice, &desk, &mobile);
    desk.sends(&desk.answer(&at_desk, 183).without("Via").with_first("Via", at_desk.value("Via")));
    alice.receives_nothing();
}

#[test]
fn a_response_reaches_its_response_context_on_another_worker() {
    // checklist 60
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, desk, mobile) = setup(&sim);
    let (invite, at_desk, at_mobile) = ring(&alice, &desk, &mobile);
    desk.reaches_worker(1);
    mobile.reaches_worker(1);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    desk.expects("ACK");
    assert_eq!(sim.load(1).transactions, 0);
}

#[test]
fn a_retransmission_during_the_load_is_not_forked_again() {
    // checklist 97
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    sim.store(StoreState::Working, 80);
    let invite = alice.calls("bob");
    sim.millis(10);
    alice.sends(&invite);
    sim.millis(200);
    assert_eq!(alice.all_received().iter().map(Sip::what).collect::<Vec<_>>(), ["100"]);
    assert_eq!((desk.all_received().len(), mobile.all_received().len()), (1, 1));
}

#[test]
fn an_rfc_2543_client_without_a_branch_is_matched() {
    // checklist 101
    let sim = Simulation::new();
    let (alice, desk, mobile) = setup(&sim);
    let via = format!("SIP/2.0/UDP {}", alice.address);
    let invite = alice.request("INVITE", "sip:bob@office.example").set("Via", &via);
    alice.sends(&invite);
    alice.expects("100");
    let (at_desk, at_mobile) = (desk.expects("INVITE"), mobile.expects("INVITE"));
    // Another call of the same client is another transaction.
    alice.sends(&alice.request("INVITE", "sip:bob@office.example").set("Via", &via));
    alice.expects("100");
    assert_eq!((desk.expects("INVITE").what(), mobile.expects("INVITE").what()), ("INVITE", "INVITE"));
    alice.sends(&invite);
    alice.expects("100");
    desk.receives_nothing();
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        phone.answers(received, 487);
        phone.expects("ACK");
    }
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
    sim.seconds(2);
    assert!(alice.all_received().iter().all(|sip| sip.what() != "487"), "the ACK was understood");
}

#[test]
fn the_100_repeats_the_timestamp_of_the_request() {
    // checklist 33
    let sim = Simulation::new();
    let (alice, _desk, _mobile) = setup(&sim);
    alice.sends(&alice.request("INVITE", "sip:bob@office.example").with("Timestamp", "54"));
    assert_eq!(alice.expects("100").value("Timestamp"), "54");
}
