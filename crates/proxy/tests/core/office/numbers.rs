//! What is dialled: feature codes, and the written forms of a number.

use super::*;

#[test]
fn a_feature_code_changes_the_rules_and_the_phone_shows_what_is_set() {
    let (sim, alice, _) = setup(|settings| {
        settings.office.codes.dnd_on = Some("*78".into());
        settings.office.codes.forward_always = Some("*21".into());
    });
    for (dialled, reason) in
        [("*78", "Do not disturb is on"), ("*21bob", "All calls are forwarded now"), ("*99", "Not Found")]
    {
        let invite = alice.calls(dialled);
        let ended = alice.next_message();
        assert_eq!(ended.reason(), reason, "{dialled}");
        alice.acks(&invite, &ended);
    }
    // It is a code for calls only.
    alice.sends(&alice.request("MESSAGE", "sip:*78@office.example"));
    alice.expects("404");
    drop(sim);
}

#[test]
fn a_caller_that_has_not_authenticated_changes_no_rules() {
    let (sim, gateway, _) = setup(|_| {});
    sim.reconfigure(|settings| {
        settings.office.codes.dnd_on = Some("*78".into());
        settings.authentication = Authentication::Required;
        settings.trusted.push("192.0.2.0/24".parse().unwrap());
    });
    let invite = gateway.calls("*78");
    let refused = gateway.expects("404");
    gateway.acks(&invite, &refused);
}

#[test]
fn a_number_is_found_in_each_written_form() {
    let (_sim, alice, [bob, _]) = setup(|settings| {
        assert!(settings.accounts.add_number(&aor("+49 89 1234"), &aor("bob")));
    });
    for uri in [
        "sip:+49891234@office.example",
        "sip:+49-89-1234@office.example;user=phone",
        "sip:+49.89.12%334@office.example",
        "sip:%2b49891234@OFFICE.example",
        "sips:+49891234@office.example",
        "tel:+49891234",
        "tel:+49-89-12(34)",
        "TEL:+49891234;ext=1",
    ] {
        let invite = alice.invites(uri);
        if uri.starts_with("sips") {
            // bob's phone has no secure flow.
            let refused = alice.expects("480");
            alice.acks(&invite, &refused);
            continue;
        }
        // One phone and no further party: the call is stateless.
        let at_bob = bob.expects("INVITE");
        bob.answers(&at_bob, 486);
        let busy = alice.expects("486");
        alice.acks(&invite, &busy);
        bob.expects("ACK");
    }
    for uri in ["tel:+4989", "tel:;ext=1", "sip:+4989@office.example"] {
        let invite = alice.invites(uri);
        let refused = alice.expects("404");
        alice.acks(&invite, &refused);
    }
}
