//! Events for the log: each call begins once and its setup ends once, at whichever worker its messages arrive.

use proxy::{CallRecord, Event, TriedPhones};

use sim::{Simulation, sequential};

/// How many calls began since the last check, and how many setups ended with this status.
#[track_caller]
fn check_calls(sim: &Simulation, began: usize, ended: usize, end: Option<u16>) {
    assert_eq!(sim.count_events(|event| matches!(event, Event::Call { .. })), began);
    let (answered, failed) = if end == Some(200) { (ended, 0) } else { (0, ended) };
    assert_eq!(sim.count_events(|event| matches!(event, Event::CallAnswered { .. })), answered);
    let records = sim.records();
    assert!(records.iter().all(|record| record.status == end), "{records:?}");
    assert_eq!(records.len(), failed);
}

/// The phones of the call that was answered or ended since the last check, and the User-Agent of the one that was reached.
#[track_caller]
fn setup(sim: &Simulation) -> (TriedPhones, Vec<u8>) {
    let of_record = |CallRecord { phones, reached, .. }: &CallRecord| (*phones, reached.clone());
    let mut found: Vec<_> = sim.records().iter().map(of_record).collect();
    if found.is_empty() {
        found.extend(sim.calls().into_iter().map(|call| (call.phones, call.reached)));
    }
    assert_eq!(found.len(), 1, "{found:?}");
    let (phones, reached) = found.remove(0);
    (phones, reached.phone().map(|(_, agent)| agent.to_vec()).unwrap_or_default())
}

#[test]
fn a_stateless_call_ends_once_whichever_worker_forwards_the_final_response() {
    let sim = Simulation::with_workers(2, |_| {});
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    check_calls(&sim, 1, 0, None);
    for worker in [1, 0] {
        bob.reaches_worker(worker).answers(&received, 200);
        alice.expects("200");
    }
    sim.seconds(200);
    check_calls(&sim, 0, 1, Some(200));
}

#[test]
fn the_200_of_a_cancel_ends_no_call() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    alice.cancels(&invite);
    let cancel = bob.expects("CANCEL");
    bob.answers(&cancel, 200);
    alice.expects("200");
    check_calls(&sim, 1, 0, None);
    bob.answers(&received, 487);
    alice.expects("487");
    check_calls(&sim, 0, 1, Some(487));
}

#[test]
fn a_stateless_call_that_rings_without_an_end_ends_with_timer_c() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    sim.seconds(180);
    check_calls(&sim, 1, 0, None);
    sim.seconds(2);
    check_calls(&sim, 0, 1, None);
}

#[test]
fn a_forked_call_ends_with_its_first_2xx() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (_, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 200);
    alice.expects("200");
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    sim.seconds(40);
    check_calls(&sim, 1, 1, Some(200));
}

#[test]
fn only_phones_that_were_tried_are_counted() {
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers_with(";q=1");
    mobile.registers_with(";q=0.5");
    alice.calls("bob");
    let at_desk = desk.expects("INVITE");
    desk.answers(&at_desk, 200);
    alice.expects("100");
    alice.expects("200");
    assert_eq!(sim.count_events(|event| matches!(event, Event::Call { targets: 2, .. })), 1);
    assert_eq!(setup(&sim).0.tried, 1);
}

#[test]
fn a_refused_call_does_not_begin() {
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    alice.calls("bob");
    alice.expects("480");
    check_calls(&sim, 0, 1, Some(480));
}

#[test]
fn the_events_name_the_phone_that_registered_or_answered() {
    // One phone: forwarded without a response context. Two phones: with one.
    for phones in [&["bob/desk"][..], &["bob/desk", "bob/mobile"]] {
        let sim = Simulation::new();
        let alice = sim.udp("alice");
        let phones: Vec<_> = phones.iter().map(|name| sim.udp(name)).collect();
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
            assert_eq!(sim.count_events(names_it), 1, "{user_agent}");
        }
        alice.calls("bob");
        let invites: Vec<_> = phones.iter().map(|phone| phone.expects("INVITE")).collect();
        phones[0].answers(&invites[0], 200);
        sim.seconds(1);
        assert_eq!(setup(&sim).1, b"Desk", "{} phones", phones.len());
    }
}

#[track_caller]
fn check_phones(sim: &Simulation, tried: usize, responded: usize, rang: usize) {
    assert_eq!(setup(sim).0, TriedPhones { tried, responded, rang });
}

/// Issue 18: "rang N phones" counts phones that never answered the INVITE.
#[test]
fn a_phone_without_a_response_is_not_one_that_rang() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (invite, [at_desk, _]) = alice.calls_phones("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    check_phones(&sim, 2, 1, 1);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    let bye = desk.expects("BYE");
    desk.answers(&bye, 200);
    alice.expects("200");
    sim.records();
    // One phone, forwarded without a response context: it is busy, so it responds and does not ring.
    let (carol, dave) = (sim.udp("carol"), sim.udp("dave"));
    dave.registers();
    carol.calls("dave");
    let received = dave.expects("INVITE");
    dave.answers(&received, 486);
    carol.expects("486");
    check_phones(&sim, 1, 1, 0);
    carol.calls("dave");
    let received = dave.expects("INVITE");
    dave.answers(&received, 183);
    dave.answers(&received, 200);
    carol.expects("183");
    carol.expects("200");
    check_phones(&sim, 1, 1, 1);
}

/// Issue 18: a 500 of our own is called the phone's.
#[test]
fn a_response_of_this_server_is_not_one_of_the_phone() {
    for phones in [&["bob/desk"][..], &["bob/desk", "bob/mobile"]] {
        let sim = Simulation::new();
        let alice = sim.udp("alice");
        for name in phones {
            let phone = sim.tcp(name);
            phone.registers();
            phone.is_unplugged();
        }
        alice.calls("bob");
        sim.seconds(1);
        check_phones(&sim, phones.len(), 0, 0);
    }
}

/// Issue 18: the phone that is gone leaves "being set up" for 3 minutes without a word.
#[test]
fn a_call_to_a_phone_that_is_gone_ends_when_its_caller_gives_up() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.calls("bob");
    bob.expects("INVITE");
    sim.seconds(31);
    check_calls(&sim, 1, 0, None);
    sim.seconds(2);
    let records = sim.records();
    let [CallRecord { status: None, phones, reached, .. }] = &records[..] else { panic!("{records:?}") };
    assert_eq!((*phones, reached.phone().is_some()), (TriedPhones { tried: 1, responded: 0, rang: 0 }, true));
    // Nothing more is reported when the pin expires.
    sim.seconds(200);
    check_calls(&sim, 0, 0, None);
}

#[test]
fn a_cancelled_call_to_a_phone_that_is_gone_ends_when_its_caller_gives_up() {
    for rings in [false, true] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.registers();
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        if rings {
            bob.answers(&received, 180);
            alice.expects("180");
        }
        sim.seconds(10);
        alice.cancels(&invite);
        sim.seconds(31);
        check_calls(&sim, 1, 0, None);
        sim.seconds(2);
        check_calls(&sim, 0, 1, Some(487));
        sim.seconds(200);
        check_calls(&sim, 0, 0, None);
    }
}

/// Issue 18: the device name is missing with reg-id over TCP. A phone with two flows is called with a response context.
#[test]
fn a_phone_with_several_flows_is_named_when_it_refuses() {
    for status in [486, 603, 200] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), sim.tcp("bob/phone"));
        let other = sim.tcp("bob/phone").at(([192, 0, 2, 201], 5099).into());
        for (flow, reg_id) in [(&bob, 1), (&other, 2)] {
            let instance = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
            let contact = format!("<{}>;{instance};reg-id={reg_id}", bob.contact());
            let register = flow.register().set("Contact", contact).with("Supported", "path, outbound");
            flow.sends(&register.with("User-Agent", "Snom"));
            flow.expects("200");
        }
        alice.calls("bob");
        alice.expects("100");
        sim.millis(10);
        let called = [&bob, &other].into_iter().find_map(|flow| Some((flow, flow.next_message_if_any()?)));
        let (flow, received) = called.expect("an INVITE");
        flow.answers(&received, status);
        alice.expects(&status.to_string());
        assert_eq!(setup(&sim).1, b"Snom", "{status}");
    }
}
