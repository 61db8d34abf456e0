//! Challenges of requests within the dialog of a trunk are answered by this server, whichever side has called.

use proxy::{Event, SingleTarget};

use super::challenges::{CHALLENGE, challenges, is_right, office, sequence, with_login};
use super::*;

/// alice has called by the trunk: her INVITE, the one that the trunk got, and the 200.
fn call_out(office: &Office) -> (Sip, Sip, Sip) {
    let (invite, received) = office.alice_reaches("0891234");
    let ok = accepts(&office.alice, &invite, &office.provider, &received);
    (invite, received, ok)
}

/// The trunk has called bob: the INVITE that bob got, and his 200.
fn call_in(office: &Office) -> (Sip, Sip) {
    let invite = office.provider_calls("sip:+4989112@office.example");
    let received = office.bob.expects("INVITE");
    while office.provider.next_message_if_any().is_some() {}
    let sent = office.bob.answers(&received, 200);
    office.provider.acks(&invite, &office.provider.expects("200"));
    office.bob.expects("ACK");
    (received, sent)
}

/// A phone sends a request, which the trunk challenges once.
fn is_challenged_once(office: &Office, phone: &Agent, request: &Sip) -> Sip {
    let method = request.what();
    phone.sends(request);
    if method == "INVITE" {
        phone.expects("100");
    }
    let first = office.provider.expects(method);
    assert_eq!(sequence(&first), 8 * sequence(request));
    challenges(office, &first, 407, CHALLENGE);
    let second = office.provider.expects(method);
    assert!(is_right(&second, "Proxy-Authorization"), "{second}");
    assert_eq!(sequence(&second), 8 * sequence(request) + 1);
    assert_eq!((second.uri(), second.value("Call-ID")), (first.uri(), first.value("Call-ID")));
    assert_ne!(second.branch(), first.branch());
    second
}

#[test]
fn a_challenged_request_is_answered_and_its_sender_does_not_notice() {
    let office = office();
    let (invite, _, ok) = call_out(&office);
    let (received, sent) = call_in(&office);
    // Only the call itself is an attempt at the trunk, and none of the requests within it.
    assert_eq!(office.sim.count_events(|event| matches!(event, Event::TrunkCall { .. })), 1);
    for (phone, is_caller) in [(&office.alice, true), (&office.bob, false)] {
        for method in ["INVITE", "UPDATE", "INFO", "MESSAGE", "OPTIONS", "REFER", "BYE"] {
            let request = match is_caller {
                true => phone.within(&invite, &ok, method).set("CSeq", phone.request(method, "sip:x").value("CSeq")),
                false => phone.within_as_callee(&received, &sent, method),
            };
            let request =
                if method == "REFER" { request.with("Refer-To", "<sip:alice@office.example>") } else { request };
            let second = is_challenged_once(&office, phone, &request);
            assert_eq!(office.sim.count_events(|event| matches!(event, Event::TrunkChallenged { .. })), 1);
            office.provider.answers(&second, 200);
            assert_eq!(phone.expects("200").value("CSeq"), request.value("CSeq"));
            if method == "INVITE" {
                let ack = match is_caller {
                    true => phone.within(&invite, &ok, "ACK"),
                    false => phone.within_as_callee(&received, &sent, "ACK"),
                };
                // The last 200 may be lost, so that its ACK comes again.
                for _ in 0..2 {
                    phone
                        .sends(&ack.clone().set("Via", phone.via()).set("CSeq", format!("{} ACK", sequence(&request))));
                    assert_eq!(sequence(&office.provider.expects("ACK")), sequence(&second));
                }
            }
        }
    }
    assert_eq!(office.sim.count_events(|event| matches!(event, Event::TrunkCall { .. })), 0);
}

#[test]
fn wrong_credentials_and_endless_challenges_are_a_failure_without_a_challenge() {
    let stale = |nonce: &str| CHALLENGE.replace("n0", nonce) + ", stale=true";
    for (nonces, method) in [(vec![], "INFO"), (vec![], "INVITE"), (vec!["n1"], "INFO"), (vec!["n1"], "INVITE")] {
        let office = office();
        let (invite, _, ok) = call_out(&office);
        let request = office.alice.within(&invite, &ok, method);
        let mut last = is_challenged_once(&office, &office.alice, &request);
        for nonce in &nonces {
            challenges(&office, &last, 407, &stale(nonce));
            last = office.provider.expects(method);
        }
        // The password is wrong, or it would be the third challenge.
        challenges(&office, &last, 407, &if nonces.is_empty() { CHALLENGE.to_owned() } else { stale("n2") });
        let refusal = office.alice.expects("502");
        assert!(!refusal.has("Proxy-Authenticate") && refusal.value("CSeq") == request.value("CSeq"), "{refusal}");
        if method == "INVITE" {
            office.alice.sends(&sim::hop_by_hop("ACK", &request, refusal.value("To")));
        }
        office.provider.receives_nothing();
    }
}

#[test]
fn a_retransmission_is_not_forwarded_again() {
    let office = office();
    let (invite, _, ok) = call_out(&office);
    let info = office.alice.within(&invite, &ok, "INFO");
    let second = is_challenged_once(&office, &office.alice, &info);
    office.alice.sends(&info);
    office.provider.receives_nothing();
    office.provider.answers(&second, 200);
    office.alice.expects("200");
    office.alice.sends(&info);
    office.alice.expects("200");
    office.provider.receives_nothing();
}

#[test]
fn the_ack_of_a_challenged_invite_may_come_to_another_worker() {
    let office = Office::in_simulation(Simulation::with_workers(2, with_login));
    let (invite, _, ok) = call_out(&office);
    let again = office.alice.within(&invite, &ok, "INVITE");
    let second = is_challenged_once(&office, &office.alice, &again);
    office.provider.answers(&second, 200);
    office.alice.expects("200");
    office.alice.reaches_worker(1);
    let ack = office.alice.within(&invite, &ok, "ACK").set("CSeq", format!("{} ACK", sequence(&again)));
    office.alice.sends(&ack);
    assert_eq!(sequence(&office.provider.expects("ACK")), sequence(&second));
}

#[test]
fn a_call_from_one_trunk_to_another_is_renumbered_both_ways() {
    let login = || Some(Login { user: "4989100".into(), password: "secret".into() });
    let office = Office::with(|settings| {
        secured(settings, |trunk| trunk.login = login());
        let backup = Arc::new(Trunk { login: login(), ..Trunk::clone(&settings.trunks.all[1]) });
        settings.trunks.all[1] = Arc::clone(&backup);
        let lines = settings.trunks.outgoing.iter().cloned();
        settings.trunks.outgoing = lines.map(|line| Outgoing { trunks: vec![Arc::clone(&backup)], ..line }).collect();
        let always = Some(Party::Name(aor("00441234")));
        set_forward(settings, "bob", Forward { always, ..Forward::default() });
    });
    let invite = office.provider_calls("sip:+4989112@office.example");
    office.provider.expects("100");
    let received = loop {
        match office.backup.next_message() {
            message if message.what() == "INVITE" => break message,
            _ => {}
        }
    };
    assert_eq!(sequence(&received), 8 * sequence(&invite));
    let sent = office.backup.answers(&received, 200);
    let ok = loop {
        match office.provider.next_message() {
            message if message.what() == "200" => break message,
            _ => {}
        }
    };
    office.provider.acks(&invite, &ok);
    office.backup.expects("ACK");
    for is_caller in [true, false] {
        let (sender, other) = match is_caller {
            true => (&office.provider, &office.backup),
            false => (&office.backup, &office.provider),
        };
        let request = match is_caller {
            true => sender.within(&invite, &ok, "INFO"),
            false => sender.within_as_callee(&received, &sent, "INFO"),
        };
        sender.sends(&request);
        let first = other.expects("INFO");
        assert_eq!(sequence(&first), 8 * sequence(&request));
        other.sends(&other.answer(&first, 407).with("Proxy-Authenticate", CHALLENGE));
        let second = other.expects("INFO");
        assert!(is_right(&second, "Proxy-Authorization") && sequence(&second) == sequence(&first) + 1, "{second}");
        other.answers(&second, 200);
        assert_eq!(sender.expects("200").value("CSeq"), request.value("CSeq"));
    }
}

#[test]
fn a_challenge_from_an_address_that_is_not_the_trunks_is_not_answered() {
    // Somebody sends an INVITE with the forged source address of the trunk and a Contact of their own.
    let office = office();
    let mallory = office.sim.udp("mallory");
    let invite = office.provider.request("INVITE", "sip:+4989112@office.example");
    let invite = invite.set("From", "<sip:+49301@provider.example>;tag=p1");
    let invite = invite.set("Contact", format!("<{}>", mallory.contact()));
    office.provider.sends(&invite);
    let received = office.bob.expects("INVITE");
    let sent = office.bob.answers(&received, 200);
    let bye = office.bob.within_as_callee(&received, &sent, "BYE");
    office.bob.sends(&bye);
    let at_mallory = mallory.expects("BYE");
    mallory.sends(&mallory.answer(&at_mallory, 407).with("Proxy-Authenticate", CHALLENGE));
    assert!(!office.bob.expects("502").has("Proxy-Authenticate"));
    mallory.receives_nothing();
    office.sim.skip_final_check();
}

#[test]
fn a_request_that_leaves_the_dialog_of_a_trunk_gets_no_credentials() {
    // bob has a valid token of a call by the trunk, and sends a request with it to another server.
    let office = Office::with(|settings| {
        with_login(settings);
        settings.trusted = "192.0.2.14/32".parse().into_iter().collect();
    });
    let invite = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:00441234@office.example"));
    office.bob.expects("100");
    let ok = accepts(&office.bob, &invite, &office.provider, &office.provider.expects("INVITE"));
    let elsewhere = office.sim.udp("elsewhere");
    let info = office.bob.within(&invite, &ok, "INFO").to(elsewhere.contact());
    let info = office.bob.authenticates(BOB, &info);
    let received = elsewhere.expects("INFO");
    assert_eq!(sequence(&received), sequence(&info));
    elsewhere.sends(&elsewhere.answer(&received, 407).with("Proxy-Authenticate", CHALLENGE));
    office.bob.expects("407");
    elsewhere.receives_nothing();
}

#[test]
fn a_trunk_without_a_password_gets_the_numbers_of_the_phone() {
    let office = Office::new();
    let (invite, _, ok) = call_out(&office);
    for (status, name, method) in
        [(401, "WWW-Authenticate", "INVITE"), (407, "Proxy-Authenticate", "INFO"), (407, "Proxy-Authenticate", "BYE")]
    {
        let request = office.alice.within(&invite, &ok, method);
        office.alice.sends(&request);
        let at_provider = office.provider.expects(method);
        assert_eq!(sequence(&at_provider), sequence(&request));
        office.provider.sends(&office.provider.answer(&at_provider, status).with(name, CHALLENGE));
        let refusal = office.alice.expects(&status.to_string());
        assert!(!refusal.has(name) && sequence(&refusal) == sequence(&request), "{refusal}");
        if method == "INVITE" {
            office.alice.sends(&sim::hop_by_hop("ACK", &request, refusal.value("To")));
            office.provider.expects("ACK");
        }
    }
}

#[test]
fn a_high_number_in_a_dialog_stays_as_it_is() {
    let office = office();
    let (invite, _, ok) = call_out(&office);
    let info = office.alice.within(&invite, &ok, "INFO").set("CSeq", "268435456 INFO");
    office.alice.sends(&info);
    let received = office.provider.expects("INFO");
    assert_eq!(received.value("CSeq"), info.value("CSeq"));
    challenges(&office, &received, 407, CHALLENGE);
    assert_eq!(office.alice.expects("407").value("Proxy-Authenticate"), CHALLENGE);
    let info = office.alice.again(&info);
    office.alice.sends(&info);
    let received = office.provider.expects("INFO");
    office.provider.answers(&received, 200);
    assert_eq!(office.alice.expects("200").value("CSeq"), info.value("CSeq"));
}

#[test]
fn a_refused_invite_in_a_dialog_does_not_end_the_call_of_its_trunk() {
    let office = Office::with(|settings| {
        secured(settings, |trunk| {
            trunk.login = Some(Login { user: "4989100".into(), password: "secret".into() });
            trunk.max_calls = Some(1);
        });
    });
    let (invite, _, ok) = call_out(&office);
    let again = office.alice.within(&invite, &ok, "INVITE");
    office.alice.sends(&again);
    office.alice.expects("100");
    refuses(&office.provider, &office.provider.expects("INVITE"), 488);
    let refusal = office.alice.expects("488");
    office.alice.sends(&sim::hop_by_hop("ACK", &again, refusal.value("To")));
    let second = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:00441234@office.example"));
    office.bob.expects("100");
    is_refused(&office.bob, &second, "500");
    office.provider.receives_nothing();
}

#[test]
fn an_invite_in_a_dialog_has_no_ring_time() {
    let office = Office::with(|settings| {
        with_login(settings);
        settings.forking.single_target = SingleTarget::Stateful;
    });
    let (invite, _, ok) = call_out(&office);
    let again = office.alice.within(&invite, &ok, "INVITE");
    office.alice.sends(&again);
    office.alice.expects("100");
    let received = office.provider.expects("INVITE");
    office.provider.answers(&received, 180);
    office.alice.expects("180");
    office.sim.seconds(60);
    office.provider.receives_nothing();
    office.provider.answers(&received, 200);
    office.alice.expects("200");
    office.alice.sends(&office.alice.within(&invite, &ok, "ACK").set("CSeq", format!("{} ACK", sequence(&again))));
    office.provider.expects("ACK");
}

#[test]
fn within_a_dialog_the_ack_of_a_failure_is_not_that_of_a_later_2xx() {
    // checklist 99: both responses have the To tag of the dialog, so that only the branch tells their ACKs apart.
    let office = office();
    let (invite, _, ok) = call_out(&office);
    let again = office.alice.within(&invite, &ok, "INVITE");
    office.alice.sends(&again);
    office.alice.expects("100");
    let received = office.provider.expects("INVITE");
    office.sim.seconds(32);
    let _ = office.provider.all_received();
    let failure = office.alice.expects("408");
    office.provider.answers(&received, 200);
    office.alice.expects("200");
    office.alice.acks(&again, &failure);
    office.provider.receives_nothing();
    office.alice.sends(&office.alice.within(&invite, &ok, "ACK").set("CSeq", format!("{} ACK", sequence(&again))));
    office.provider.expects("ACK");
}
