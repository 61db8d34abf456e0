//! Calls to the telephone network: who may make them, which trunk they take, and when the next one is tried.

use proxy::{SingleTarget, Strangers};

use super::*;

#[test]
fn a_dialled_number_takes_its_trunk() {
    let office = Office::new();
    let (invite, received) = office.alice_reaches("0-891.234");
    assert_eq!(received.uri(), "sip:+49891234@192.0.2.80;user=phone");
    assert!(!received.has("Proxy-Authorization"));
    let ok = accepts(&office.alice, &invite, &office.provider, &received);
    office.provider.sends(&office.provider.within_as_callee(&received, &ok, "BYE"));
    let bye = office.alice.expects("BYE");
    office.alice.answers(&bye, 200);
    office.provider.expects("200");
    office.backup.receives_nothing();
}

#[test]
fn who_may_dial_what() {
    for (number, expected) in [
        ("0891234", "100"),
        ("tel:0891234", "100"),
        ("tel:+49-89-1234;phone-context=x", "403"),
        ("00441234", "403"),
        ("+441234", "403"),
        ("9", "404"),
        ("0891234a", "404"),
    ] {
        let office = Office::new();
        let uri = if number.contains(':') { number.to_owned() } else { format!("sip:{number}@office.example") };
        let invite = office.alice.authenticates(ALICE, &office.alice.request("INVITE", &uri));
        if expected == "100" {
            office.alice.expects("100");
            refuses(&office.provider, &office.provider.expects("INVITE"), 486);
            is_refused(&office.alice, &invite, "486");
        } else {
            is_refused(&office.alice, &invite, expected);
        }
        office.provider.receives_nothing();
    }
}

#[test]
fn the_next_trunk_is_tried_if_one_does_not_work() {
    for (status, is_tried, at_last) in [
        (503, true, "486"),
        (500, true, "486"),
        (502, true, "486"),
        (408, true, "486"),
        // Neither a challenge nor a redirection is for the caller.
        (401, true, "486"),
        (407, true, "486"),
        (302, true, "486"),
        (486, false, "486"),
        (404, false, "404"),
        (403, false, "403"),
        (603, false, "603"),
    ] {
        let office = Office::new();
        let (invite, received) = office.alice_reaches("0891234");
        refuses(&office.provider, &received, status);
        if is_tried {
            let received = office.backup.expects("INVITE");
            assert_eq!(received.uri(), "sip:+49891234@192.0.2.81;user=phone");
            refuses(&office.backup, &received, 486);
        }
        is_refused(&office.alice, &invite, at_last);
        office.backup.receives_nothing();
    }
}

#[test]
fn a_challenge_or_redirection_of_the_only_trunk_does_not_reach_the_caller() {
    for status in [301, 302, 401, 407] {
        let office = Office::new();
        let invite = office.bob.request("INVITE", "sip:00441234@office.example");
        let invite = office.bob.authenticates(BOB, &invite);
        office.bob.expects("100");
        refuses(&office.provider, &office.provider.expects("INVITE"), status);
        let refusal = office.bob.expects("502");
        assert!(!refusal.has("Contact") && !refusal.has("Proxy-Authenticate") && !refusal.has("WWW-Authenticate"));
        office.bob.acks(&invite, &refusal);
    }
}

#[test]
fn a_silent_trunk_is_passed_over_and_one_that_rings_is_waited_for() {
    let office = Office::new();
    let (invite, _) = office.alice_reaches("0891234");
    office.sim.seconds(16);
    while office.provider.next_message_if_any().is_some() {}
    let received = office.backup.expects("INVITE");
    office.backup.answers(&received, 180);
    office.alice.expects("180");
    office.sim.seconds(120);
    accepts(&office.alice, &invite, &office.backup, &received);
    office.sim.skip_final_check();
}

#[test]
fn a_trunk_is_found_by_its_name() {
    let office = Office::with(|settings| secured(settings, |trunk| trunk.server = "sip:provider.example".into()));
    let addresses = ["192.0.2.80:5060", "192.0.2.82:5060"].map(|address| address.parse().expect("an address"));
    office.sim.dns("provider.example", &addresses);
    let (invite, received) = office.alice_reaches("0891234");
    assert_eq!(received.uri(), "sip:+49891234@provider.example;user=phone");
    accepts(&office.alice, &invite, &office.provider, &received);
}

#[test]
fn a_trunk_with_a_limit_takes_no_more_calls() {
    let office = Office::with(|settings| secured(settings, |trunk| trunk.max_calls = Some(1)));
    let (first, at_provider) = office.alice_reaches("0891234");
    let ok = accepts(&office.alice, &first, &office.provider, &at_provider);
    // The second call takes the other trunk, and a call by the trunk is refused.
    let second = office.alice_dials("0891235");
    office.alice.expects("100");
    let at_backup = office.backup.expects("INVITE");
    refuses(&office.backup, &at_backup, 486);
    is_refused(&office.alice, &second, "486");
    let incoming = office.provider_calls("sip:+4989112@office.example");
    is_refused(&office.provider, &incoming, "486");
    // A BYE of either side makes room, and so does a failure.
    office.provider.sends(&office.provider.within_as_callee(&at_provider, &ok, "BYE"));
    let bye = office.alice.expects("BYE");
    office.alice.answers(&bye, 200);
    office.provider.expects("200");
    for _ in 0..2 {
        let (third, at_provider) = office.alice_reaches("0891236");
        refuses(&office.provider, &at_provider, 486);
        is_refused(&office.alice, &third, "486");
    }
}

/// Whether a second call finds the first trunk free, which has one line.
fn has_free_line(office: &Office) -> bool {
    let invite = office.alice_dials("0891239");
    office.alice.expects("100");
    let (trunk, is_free) = match office.provider.next_message_if_any() {
        Some(at_provider) => ((&office.provider, at_provider), true),
        None => ((&office.backup, office.backup.expects("INVITE")), false),
    };
    refuses(trunk.0, &trunk.1, 486);
    is_refused(&office.alice, &invite, "486");
    is_free
}

#[test]
fn a_bye_frees_the_line_when_the_trunk_has_ended_the_call() {
    // RFC 3261 15.1.1: 481, 408 and no response end the dialog, too.
    for has_login in [false, true] {
        for (status, ends) in [(200, true), (481, true), (408, true), (500, false), (403, false), (407, false)] {
            let office = Office::with(|settings| {
                secured(settings, |trunk| {
                    trunk.max_calls = Some(1);
                    trunk.login = has_login.then(|| Login { user: "4989100".into(), password: "secret".into() });
                });
            });
            let (first, at_provider) = office.alice_reaches("0891234");
            let ok = accepts(&office.alice, &first, &office.provider, &at_provider);
            let bye = office.alice.within(&first, &ok, "BYE");
            office.alice.sends(&bye);
            let at_provider = office.provider.expects("BYE");
            assert!(!has_free_line(&office), "the call may go on until the trunk has responded");
            office.provider.answers(&at_provider, status);
            // RFC 4320 4.2: a 408 is not forwarded.
            assert_eq!(office.alice.next_message_if_any().is_some(), status != 408);
            assert_eq!(has_free_line(&office), ends, "{status}");
            // The next BYE ends it.
            let again = office.alice.again(&bye);
            office.alice.sends(&again);
            let at_provider = office.provider.expects("BYE");
            office.provider.answers(&at_provider, 200);
            office.alice.expects("200");
            assert!(has_free_line(&office));
        }
    }
}

#[test]
fn a_bye_without_a_response_frees_the_line_after_its_time() {
    let office = Office::with(|settings| secured(settings, |trunk| trunk.max_calls = Some(1)));
    let (first, at_provider) = office.alice_reaches("0891234");
    let ok = accepts(&office.alice, &first, &office.provider, &at_provider);
    office.alice.sends(&office.alice.within(&first, &ok, "BYE"));
    office.sim.seconds(31);
    office.provider.all_received();
    office.alice.all_received();
    assert!(!has_free_line(&office));
    office.sim.seconds(2);
    office.provider.all_received();
    assert!(has_free_line(&office));
}

#[test]
fn a_call_that_comes_back_and_fails_is_still_counted() {
    let office = Office::with(|settings| {
        secured(settings, |trunk| trunk.max_calls = Some(1));
        settings.forking.single_target = SingleTarget::Stateful;
        settings.strangers = Strangers::Accept;
    });
    office.provider_calls("sip:+4989112@office.example");
    office.provider.expects("100");
    let received = office.bob.expects("INVITE");
    let back = received.to("sip:alice@office.example").with_first("Via", office.bob.via()).set("Max-Forwards", 60);
    office.bob.sends(&back);
    office.bob.expects("100");
    let at_alice = office.alice.expects("INVITE");
    refuses(&office.alice, &at_alice, 486);
    office.bob.expects("486");
    // The call of the trunk goes on.
    office.alice_dials("0891234");
    office.alice.expects("100");
    office.backup.expects("INVITE");
    office.provider.receives_nothing();
}

#[test]
fn a_call_ends_when_no_trunk_has_room() {
    let office = Office::with(|settings| secured(settings, |trunk| trunk.max_calls = Some(0)));
    let invite = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:00441234@office.example"));
    office.bob.expects("100");
    is_refused(&office.bob, &invite, "500");
    office.provider.receives_nothing();
}

#[test]
fn forwarded_calls_are_dialled_as_the_user_who_forwards_them() {
    for (user, target, expected) in
        [("bob", "00441234", Some("+4989100")), ("alice", "0891234", Some("+4989111")), ("alice", "00441234", None)]
    {
        let office = Office::with(|settings| {
            secured(settings, |_| {});
            let always = Some(Party::Name(aor(target)));
            set_forward(settings, user, Forward { always, ..Forward::default() });
            assert!(settings.accounts.add_number(&aor("+4989199"), &aor(user)));
        });
        let caller = &office.backup;
        let invite = caller.request("INVITE", "sip:4989199@office.example");
        let invite =
            invite.set("From", "<sip:+49301@backup.example>;tag=b").with("P-Asserted-Identity", "<tel:+49301>");
        caller.sends(&invite);
        let Some(number) = expected else {
            is_refused(caller, &invite, "403");
            office.provider.receives_nothing();
            continue;
        };
        caller.expects("100");
        let received = office.provider.expects("INVITE");
        let shown: Vec<_> = received.values("P-Asserted-Identity").collect();
        assert_eq!(shown, [format!("<sip:{number}@{PROVIDER}>")]);
        accepts(caller, &invite, &office.provider, &received);
    }
}

#[test]
fn nobody_dials_by_registering_a_number_at_the_address_of_a_trunk() {
    let office = Office::new();
    // alice may not dial this number.
    let register = office.alice.register().set("Contact", format!("<sip:+441234@{PROVIDER}>"));
    office.alice.sends(&register);
    let challenge = office.alice.expects("401");
    let register = office.alice.again(&register);
    let proof = ALICE.answer(&challenge, "SHA-256", &register, 1);
    office.alice.sends(&register.with("Authorization", proof));
    office.alice.expects("403");
    // Nor does a redirection lead there.
    let invite = office.bob.authenticates(BOB, &office.bob.request("INVITE", "sip:alice@office.example"));
    let received = office.alice.expects("INVITE");
    let moved = office.alice.answer(&received, 302).set("Contact", format!("<sip:+441234@{PROVIDER}>"));
    office.alice.sends(&moved);
    office.provider.receives_nothing();
    is_refused(&office.bob, &invite, "302");
    office.sim.skip_final_check();
}

#[test]
fn nobody_dials_by_a_request_to_the_address_of_a_trunk() {
    // `foreign: authenticated` lets users call any host.
    let office = Office::new();
    let invite = office.alice.request("INVITE", &format!("sip:+441234@{PROVIDER}"));
    let invite = office.alice.authenticates(ALICE, &invite);
    is_refused(&office.alice, &invite, "403");
    let routed = office.alice.request("INVITE", "sip:+441234@192.0.2.99");
    let routed = routed.with("Route", format!("<sip:{PROVIDER};lr>"));
    let routed = office.alice.authenticates(ALICE, &routed);
    is_refused(&office.alice, &routed, "403");
    office.provider.receives_nothing();
    office.sim.skip_final_check();
}
