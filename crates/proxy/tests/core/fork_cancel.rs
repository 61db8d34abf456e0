//! The caller cancels a call that rings at several phones: RFC 3261 16.10, 9.1, 9.2.

use proxy::{Event, ForkOutcome};

use sim::{Agent, Simulation, Sip};

fn ring(sim: &Simulation) -> (Agent, Agent, Agent, [Sip; 3]) {
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = [invite, desk.expects("INVITE"), mobile.expects("INVITE")];
    (alice, desk, mobile, received)
}

#[test]
fn a_cancel_stops_both_ringing_phones() {
    // checklist 78, 79, 103, 156
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        phone.answers(received, 180);
        alice.expects("180");
    }
    let reason = "SIP;cause=487;text=\"Changed my mind\"";
    alice.sends(&alice.cancel(&invite).with("Reason", reason));
    let ok = alice.expects("200");
    assert_eq!(ok.method(), "CANCEL");
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        let cancel = phone.expects("CANCEL");
        assert_eq!(cancel.branch(), received.branch());
        assert_eq!(cancel.value("Reason"), reason);
        phone.answers(&cancel, 200);
        phone.answers(received, 487);
        phone.expects("ACK");
    }
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
    // A copy of the CANCEL changes nothing more.
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    desk.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::Fork { outcome: ForkOutcome::Cancelled })), 1);
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    // checklist 79
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    alice.cancels(&invite);
    alice.expects("200");
    desk.receives_nothing();
    mobile.receives_nothing();
    // A 100 is sufficient.
    desk.answers(&at_desk, 100);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    desk.expects("ACK");
    // After a final response it is not needed.
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
    mobile.receives_nothing();
}

#[test]
fn without_a_reason_none_is_added() {
    // checklist 156
    let sim = Simulation::new();
    let (alice, desk, _mobile, [invite, at_desk, _]) = ring(&sim);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    alice.cancels(&invite);
    assert!(!desk.expects("CANCEL").has("Reason"));
}

#[test]
fn every_reason_is_forwarded() {
    // checklist 156, 157
    let sim = Simulation::new();
    let (alice, desk, _mobile, [invite, at_desk, _]) = ring(&sim);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    let reasons = ["SIP;cause=600;text=\"Busy, everywhere\"", "Q.850;cause=16", "unheard-of;cause=1"];
    let cancel = alice.cancel(&invite).with("Reason", format_args!("{}, {}", reasons[0], reasons[1]));
    alice.sends(&cancel.with("Reason", reasons[2]));
    let received = desk.expects("CANCEL");
    let all = received.values("Reason").collect::<Vec<_>>().join(", ");
    assert_eq!(all, reasons.join(", "));
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_forwarded() {
    // checklist 65, 78
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 180);
    alice.cancels(&invite);
    let ok = desk.answers(&at_desk, 200);
    sim.millis(50);
    let received = alice.all_received();
    let finals: Vec<_> = received.iter().filter(|sip| sip.method() == "INVITE" && sip.what() == "200").collect();
    assert_eq!(finals.len(), 1);
    alice.acks(&invite, finals[0]);
    assert_eq!(finals[0].value("To"), ok.value("To"));
    assert_eq!(desk.expects("CANCEL").method(), "CANCEL");
    desk.expects("ACK");
    let cancel = mobile.expects("CANCEL");
    mobile.answers(&cancel, 200);
    mobile.answers(&at_mobile, 487);
    mobile.expects("ACK");
    alice.receives_nothing();
}

#[test]
fn a_2xx_after_the_487_is_forwarded() {
    // checklist 66
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    alice.cancels(&invite);
    alice.expects("200");
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    // The mobile phone does not respond for 32 s, and answers then.
    sim.seconds(33);
    let received = alice.all_received();
    let terminated = received.iter().find(|sip| sip.what() == "487").expect("the best there is");
    alice.acks(&invite, terminated);
    mobile.answers(&at_mobile, 200);
    let ok = alice.expects("200");
    assert_eq!(ok.param("To", "tag"), Some("bob-mobile"));
}

#[test]
fn a_2xx_after_the_end_of_the_response_context_is_forwarded() {
    // checklist 65, 88: nothing is left of the call except the mark in our Via.
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    desk.answers(&at_desk, 486);
    sim.seconds(33);
    let received = alice.all_received();
    let busy = received.iter().find(|sip| sip.what() == "486").expect("the best there is");
    alice.acks(&invite, busy);
    sim.seconds(120);
    assert_eq!(sim.load(0).transactions, 0);
    mobile.reaches_worker(1).answers(&at_mobile, 200);
    let ok = alice.expects("200");
    assert_eq!(ok.param("To", "tag"), Some("bob-mobile"));
    alice.acks(&invite, &ok);
    mobile.all_received();
    // Other responses are dropped, and so are forged ones.
    mobile.answers(&at_mobile, 180);
    mobile.answers(&at_mobile, 486);
    let via = at_mobile.value("Via");
    let id = via.find("z9hG4bKt00").unwrap() + "z9hG4bKt00".len() + 34;
    let digit = if via[id..].starts_with('0') { "1" } else { "0" };
    let forged = format!("{}{digit}{}", &via[..id], &via[id + 1..]);
    mobile.sends(&mobile.answer(&at_mobile, 200).set("Via", forged));
    alice.receives_nothing();
}

#[test]
fn a_cancel_after_the_final_response_changes_nothing() {
    // checklist 78
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    desk.answers(&at_desk, 486);
    mobile.answers(&at_mobile, 486);
    let busy = alice.expects("486");
    alice.cancels(&invite);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    alice.acks(&invite, &busy);
    alice.receives_nothing();
}

#[test]
fn a_phone_that_ignores_the_cancel_is_given_up_after_64_t1() {
    // checklist 79
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 486);
    alice.cancels(&invite);
    alice.expects("200");
    sim.seconds(31);
    assert_eq!(alice.all_received(), []);
    sim.seconds(2);
    assert_eq!(alice.all_received()[0].what(), "487");
    let cancels = desk.all_received().iter().filter(|sip| sip.what() == "CANCEL").count();
    assert_eq!(cancels, 11, "Timer E");
}

#[test]
fn hanging_up_after_the_ring_time_gives_a_487() {
    // checklist 78
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    mobile.answers(&at_mobile, 404);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.seconds(30);
    assert!(desk.all_received().iter().any(|sip| sip.what() == "CANCEL"));
    // The phone does not respond, and the caller cancels.
    alice.cancels(&invite);
    alice.expects("200");
    sim.seconds(33);
    assert_eq!(alice.all_received()[0].what(), "487");
}

#[test]
fn a_cancel_without_a_transaction_gets_481() {
    // checklist 80
    let sim = Simulation::new();
    let (alice, _, _, [invite, ..]) = ring(&sim);
    let other = alice.request("INVITE", "sip:bob@office.example");
    alice.cancels(&other);
    alice.expects("481");
    alice.sends(&alice.cancel(&invite).set("Via", alice.via()));
    alice.expects("481");
}

#[test]
fn a_cancel_takes_the_route_of_its_branch() {
    // checklist 79, 147
    let sim = Simulation::new();
    let (alice, desk, edge) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("edge"));
    desk.registers();
    let path = format!("<sip:bob@{};lr>", edge.address);
    edge.sends(&edge.register().set("To", "<sip:bob@office.example>").with("Path", &path).with("Supported", "path"));
    edge.expects("200");
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = edge.expects("INVITE");
    assert_eq!(received.value("Route"), path);
    edge.answers(&received, 180);
    alice.expects("180");
    alice.cancels(&invite);
    assert_eq!(edge.expects("CANCEL").value("Route"), path);
}

#[test]
fn a_487_with_the_one_via_of_the_cancel_ends_its_branch() {
    // checklist 62, 78: it cannot be forwarded, but it shows that the phone has stopped ringing.
    let sim = Simulation::new();
    let (alice, desk, mobile, [invite, at_desk, at_mobile]) = ring(&sim);
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        phone.answers(received, 180);
        alice.expects("180");
    }
    alice.cancels(&invite);
    alice.expects("200");
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        let cancel = phone.expects("CANCEL");
        phone.answers(&cancel, 200);
        phone.sends(&phone.answer(received, 487).without("Via").with_first("Via", received.value("Via")));
        phone.expects("ACK");
    }
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
}
