//! One target: forwarded without a transaction (RFC 3261 16.11), with a pin for the INVITE and a mark in the branch.

use proxy::{Drop, Event};

use sim::{Simulation, at};

const STRAY: fn(&Event) -> bool = |event| matches!(event, Event::Dropped(Drop::StrayResponse));

#[test]
fn a_call_from_invite_to_bye() {
    // checklist 84, 89
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    alice.receives_nothing();
    bob.answers(&received, 180);
    alice.expects("180");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    let bye = alice.within(&invite, &ok, "BYE");
    alice.sends(&bye);
    let bye = bob.expects("BYE");
    bob.answers(&bye, 200);
    alice.expects("200");
    bob.receives_nothing();
}

#[test]
fn retransmission_cancel_and_ack_take_the_route_of_their_invite() {
    // checklist 81, 82, 85
    let sim = Simulation::new();
    let (alice, bob, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    mobile.registers();
    alice.sends(&invite);
    assert_eq!(bob.expects("INVITE"), received, "a copy of the first one, octet by octet");
    bob.answers(&received, 180);
    alice.expects("180");

    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    alice.sends(&alice.cancel(&invite).with("Reason", reason));
    let cancel = bob.expects("CANCEL");
    assert_eq!(cancel.branch(), received.branch());
    assert_eq!(cancel.uri(), received.uri());
    assert_eq!(cancel.value("Reason"), reason);
    alice.receives_nothing();
    bob.answers(&cancel, 200);
    assert_eq!(alice.expects("200").method(), "CANCEL");
    bob.answers(&received, 487);
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
    assert_eq!(bob.expects("ACK").branch(), received.branch());
    mobile.receives_nothing();
}

#[test]
fn a_pin_outlives_the_final_response_by_64_t1() {
    // checklist 85
    let sim = Simulation::new();
    let (alice, bob, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    mobile.registers();
    sim.seconds(100);
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    // 64·T1 and T4.
    sim.seconds(36);
    alice.acks(&invite, &busy);
    bob.expects("ACK");
    assert_eq!(sim.load(0).pins, 1);
    sim.seconds(1);
    assert_eq!(sim.load(0).pins, 0);
    assert_eq!(mobile.all_received(), []);
}

#[test]
fn a_retransmitted_non_invite_takes_the_same_route() {
    // checklist 81, 85
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    let message = alice.request("MESSAGE", "sip:bob@office.example");
    alice.sends(&message);
    let first = desk.expects("MESSAGE");
    // By now a plan would have two targets.
    mobile.registers();
    sim.seconds(31);
    alice.sends(&message);
    assert_eq!(desk.expects("MESSAGE"), first);
    mobile.receives_nothing();
    sim.seconds(6);
    assert_eq!(sim.load(0).pins, 0);
}

#[test]
fn a_pin_without_a_final_response_lasts_timer_c() {
    // checklist 85
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.calls("bob");
    bob.expects("INVITE");
    sim.seconds(180);
    assert_eq!(sim.load(0).pins, 1);
    sim.seconds(2);
    assert_eq!(sim.load(0).pins, 0);
}

#[test]
fn a_ringing_phone_keeps_its_pin() {
    // checklist 61, 85: RFC 3261 16.7 step 2, at whichever worker the 180 arrives.
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, bob, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    mobile.registers();
    for worker in [0, 1, 0] {
        sim.seconds(120);
        bob.reaches_worker(worker).answers(&received, 180);
        alice.expects("180");
    }
    sim.seconds(179);
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    sim.seconds(35);
    alice.acks(&invite, &busy);
    bob.expects("ACK");
    mobile.receives_nothing();
    sim.seconds(2);
    assert_eq!(sim.load(0).pins, 0);
}

#[test]
fn a_pin_ends_with_timer_c_after_the_last_provisional_response() {
    // checklist 61, 85: a 100 does not extend the pin.
    let sim = Simulation::new();
    let (alice, [bob, carol]) = (sim.udp("alice"), ["bob", "carol"].map(|name| sim.udp(name)));
    let calls = [&bob, &carol].map(|phone| {
        phone.registers();
        alice.calls(phone.user());
        phone.expects("INVITE")
    });
    sim.seconds(100);
    carol.answers(&calls[1], 100);
    sim.seconds(50);
    bob.answers(&calls[0], 180);
    sim.seconds(32);
    assert_eq!(sim.load(0).pins, 1);
    sim.seconds(148);
    assert_eq!(sim.load(0).pins, 1);
    sim.seconds(2);
    assert_eq!(sim.load(0).pins, 0);
}

#[test]
fn a_response_without_our_mark_is_dropped() {
    // checklist 60, 88, 109
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    let ringing = bob.answer(&received, 180);
    let mut vias = received.values("Via");
    let (ours, hers) = (vias.next().unwrap().to_owned(), vias.next().unwrap().to_owned());

    // Another number in the mark.
    let digit = if ours.contains("branch=z9hG4bKp00000") { "branch=z9hG4bKp00001" } else { "branch=z9hG4bKp00000" };
    let forged = ours.replacen(&ours[ours.find("branch=").unwrap()..][..20], digit, 1);
    bob.sends(&ringing.clone().set("Via", forged));
    // A valid mark on another transaction, sent to another address.
    let aside = hers.replace("branch=z9hG4bK", "branch=z9hG4bKx");
    let elsewhere = ringing.clone().without("Via").with_first("Via", &aside).with_first("Via", &ours);
    bob.sends(&elsewhere);
    // A sent-by that is not ours.
    bob.sends(&ringing.clone().set("Via", ours.replace("192.0.2.1:", "192.0.2.9:")));
    // Without another Via.
    bob.sends(&ringing.clone().without("Via").with_first("Via", &ours));
    alice.receives_nothing();
    assert_eq!(sim.count_events(STRAY), 4);
    bob.sends(&ringing);
    alice.expects("180");
}

#[test]
fn a_phone_cannot_send_its_response_elsewhere() {
    // checklist 88, 111
    let sim = Simulation::new();
    let (alice, bob, victim) = (sim.udp("alice"), sim.udp("bob"), sim.udp("victim"));
    bob.registers();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    let mut vias = received.values("Via");
    let (ours, hers) = (vias.next().unwrap().to_owned(), vias.next().unwrap().to_owned());
    let her_source = format!("received={}", alice.address.ip());
    assert!(hers.contains(&her_source), "{hers}");
    let aside = hers.replace(&her_source, &format!("received={}", victim.address.ip()));
    bob.sends(&bob.answer(&received, 180).without("Via").with_first("Via", &aside).with_first("Via", &ours));
    victim.receives_nothing();
    alice.expects("180");
    // Nor with our own Via: its mark covers the address in it.
    let digits = |ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
        std::net::IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
    };
    let forged = ours.replace(&digits(alice.address.ip()), &digits(victim.address.ip()));
    assert_ne!(forged, ours);
    bob.sends(&bob.answer(&received, 200).without("Via").with_first("Via", &hers).with_first("Via", &forged));
    victim.receives_nothing();
    alice.receives_nothing();
}

#[test]
fn only_the_top_via_is_removed_from_a_response() {
    // checklist 62, 74, 86
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    let response = bob.answer(&received, 183).with("X-Color", "blue").with_body("v=0\r\n");
    bob.sends(&response);
    let came = alice.expects("183");
    // RFC 3261 16.7 step 8: our part of the Record-Route may change.
    assert_ne!(came.value("Record-Route"), response.value("Record-Route"));
    let expected = response.without_first("Via").set("Record-Route", came.value("Record-Route"));
    assert_eq!(came.to_string(), expected.to_string());
}

#[test]
fn a_response_may_arrive_at_any_worker() {
    // checklist 86, 88
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.reaches_worker(1).registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    assert_eq!((sim.load(0).pins, sim.load(1).pins), (1, 0));
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.expects("ACK");
    // The worker with the pin has learned that the call is over and does not wait for Timer C.
    sim.seconds(37);
    assert_eq!(sim.load(0).pins, 0);
}

#[test]
fn a_cancel_without_a_pin_is_routed_like_its_invite() {
    // checklist 80
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    alice.registers();
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    // Another worker does not know the INVITE, but the CANCEL comes from where alice is registered.
    alice.reaches_worker(1).cancels(&invite);
    let cancel = bob.expects("CANCEL");
    assert_eq!(cancel.uri(), received.uri());
    bob.answers(&cancel, 200);
    alice.expects("200");
}

#[test]
fn a_request_is_otherwise_forwarded_unchanged() {
    // checklist 47, 48, 49, 55, 83, 113
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers_with(";q=0.7");
    let message = alice
        .request("MESSAGE", "sip:bob@office.example")
        .with("X-Color", "blue, green")
        .with("Reason", "Q.850;cause=16")
        .with("Reason", "unheard-of;cause=1")
        .with("Request-Disposition", "no-fork")
        .with("X-Color", "red")
        .with_body("line 1\r\n\r\nline 2\n");
    alice.sends(&message);
    let received = bob.expects("MESSAGE");
    let mut vias = received.values("Via");
    let (ours, hers) = (vias.next().unwrap(), vias.next().unwrap());
    assert!(ours.starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK") && ours.ends_with(";rport"), "{ours}");
    let stamped = message.value("Via").replace(";rport", &format!(";rport=5060;received={}", alice.address.ip()));
    assert_eq!(hers, stamped);
    let expected = message.to(bob.contact()).set("Max-Forwards", 69).set("Via", hers).with_first("Via", ours);
    // checklist 130: the one header that a proxy must add.
    assert_eq!(received, expected.with("Max-Breadth", 60));
}

#[test]
fn an_escaped_user_and_a_domain_in_upper_case_are_the_same_user() {
    // checklist 10
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    for uri in ["sip:b%6Fb@OFFICE.example", "sip:bob@office.example;user=phone", "sip:bob@sip.office.example"] {
        alice.sends(&alice.request("OPTIONS", uri));
        bob.expects("OPTIONS");
    }
    alice.sends(&alice.request("OPTIONS", "sip:Bob@office.example"));
    alice.expects("480");
}

#[test]
fn a_phone_behind_a_nat_is_reached_at_the_source_of_its_register() {
    // checklist 30, 110, 111, 112
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let outside = "198.51.100.7:1026".parse().unwrap();
    bob.sends_from(outside).registers();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    assert_eq!(received.uri(), bob.contact());
    bob.answers(&received, 180);
    alice.expects("180");
    alice.sends_from(at(99));
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let hers = received.values("Via").nth(1).unwrap();
    assert!(hers.contains("received=192.0.2.99") && hers.contains("rport=5060"), "{hers}");
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.expects("ACK");
}
