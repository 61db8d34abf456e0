//! Forwarding, do not disturb and further phones of a user.

use proxy::SingleTarget;

use super::*;

#[test]
fn a_phone_that_accepts_while_the_call_is_forwarded_gets_it() {
    let (sim, alice, [bob, carol]) = bob_forwards(Forward { no_answer: party("carol"), ..Forward::default() });
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    alice.expects("181");
    let at_carol = rings(&alice, &carol);
    bob.expects("CANCEL");
    accepts(&alice, &invite, &bob, &at_bob);
    stops(&carol, &at_carol);
}

#[test]
fn each_reason_has_its_party() {
    // What bob's phone answers, the party that is called, and the cause for the voicemail server.
    for (status, key, expects_181) in [(486, "busy", true), (600, "busy", true), (480, "unavailable", true)] {
        let (sim, alice, [bob, carol]) = setup(|settings| {
            let mut rules = Forward::default();
            match key {
                "busy" => rules.busy = party("carol"),
                _ => rules.unavailable = party("carol"),
            }
            forward(settings, "bob", rules);
        });
        let invite = calls(&alice, "bob");
        let at_bob = bob.expects("INVITE");
        refuses(&bob, &at_bob, status);
        if expects_181 {
            alice.expects("181");
        }
        let at_carol = rings(&alice, &carol);
        accepts(&alice, &invite, &carol, &at_carol);
        drop(sim);
    }
}

#[test]
fn a_call_is_not_forwarded_for_another_reason() {
    // 603 is the decision of the user.
    for (status, rules) in [
        (603, Forward { busy: party("carol"), unavailable: party("carol"), ..Forward::default() }),
        (480, Forward { busy: party("carol"), ..Forward::default() }),
        (486, Forward { unavailable: party("carol"), no_answer: party("carol"), ..Forward::default() }),
        (488, Forward { unavailable: party("carol"), ..Forward::default() }),
    ] {
        let (_sim, alice, [bob, carol]) = bob_forwards(rules);
        let invite = calls(&alice, "bob");
        let at_bob = bob.expects("INVITE");
        refuses(&bob, &at_bob, status);
        let refusal = alice.expects(&status.to_string());
        alice.acks(&invite, &refusal);
        carol.receives_nothing();
    }
}

#[test]
fn a_user_without_a_phone_is_forwarded_at_once() {
    let (_sim, alice, [bob, _]) = setup(|settings| {
        forward(settings, "nobody", Forward { unavailable: party("bob"), ..Forward::default() });
    });
    let invite = calls(&alice, "nobody");
    let at_bob = rings(&alice, &bob);
    accepts(&alice, &invite, &bob, &at_bob);
}

#[test]
fn do_not_disturb_is_busy() {
    let (_sim, alice, [bob, _]) = setup(|settings| {
        set_rules(settings, "bob", UserRules { do_not_disturb: true, ..UserRules::default() });
    });
    let invite = alice.calls("bob");
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.receives_nothing();
}

#[test]
fn the_caller_may_hang_up_between_two_parties() {
    let (sim, alice, [bob, carol]) = bob_forwards(Forward { no_answer: party("carol"), ..Forward::default() });
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    alice.expects("181");
    let at_carol = rings(&alice, &carol);
    bob.expects("CANCEL");
    alice.cancels(&invite);
    alice.expects("200");
    stops(&carol, &at_carol);
    refuses(&bob, &at_bob, 487);
    let ended = alice.expects("487");
    alice.acks(&invite, &ended);
}

#[test]
fn a_circle_of_busy_users_ends_busy() {
    let (_sim, alice, [bob, carol]) = setup(|settings| {
        forward(settings, "bob", Forward { busy: party("carol"), ..Forward::default() });
        forward(settings, "carol", Forward { busy: party("bob"), ..Forward::default() });
    });
    let invite = calls(&alice, "bob");
    for phone in [&bob, &carol] {
        let received = phone.expects("INVITE");
        refuses(phone, &received, 486);
    }
    alice.expects("181");
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn the_way_of_a_forwarded_call_is_told() {
    // RFC 7044 10, RFC 5806 5: Diversion for trusted hops only.
    let (sim, alice, [bob, carol]) = setup(|settings| {
        settings.trusted.push("192.0.2.90/32".parse().unwrap());
        forward(settings, "bob", Forward { busy: party("carol"), ..Forward::default() });
        forward(settings, "carol", Forward { busy: party("voicemail"), ..Forward::default() });
    });
    let voicemail = voicemail(&sim);
    let invite = calls(&alice, "bob");
    let at_bob = bob.expects("INVITE");
    assert!(!at_bob.has("History-Info") && !at_bob.has("Diversion"));
    refuses(&bob, &at_bob, 486);
    alice.expects("181");
    let at_carol = carol.expects("INVITE");
    assert_eq!(
        at_carol.values("History-Info").collect::<Vec<_>>(),
        ["<sip:bob@office.example?Reason=SIP%3Bcause%3D486>;index=1", "<sip:carol@office.example>;index=1.1;mp=1"]
    );
    assert!(!at_carol.has("Diversion"));
    refuses(&carol, &at_carol, 486);
    alice.expects("181");
    let recorded = voicemail.expects("INVITE");
    let target = format!("{VOICEMAIL};target=sip:carol%40office.example;cause=486");
    assert_eq!(
        recorded.values("History-Info").collect::<Vec<_>>(),
        [
            "<sip:bob@office.example?Reason=SIP%3Bcause%3D486>;index=1",
            "<sip:carol@office.example?Reason=SIP%3Bcause%3D486>;index=1.1;mp=1",
            &format!("<{target}>;index=1.1.1;mp=1.1"),
        ]
    );
    assert_eq!(
        recorded.values("Diversion").collect::<Vec<_>>(),
        [
            "<sip:carol@office.example>;reason=user-busy;counter=1",
            "<sip:bob@office.example>;reason=user-busy;counter=1"
        ]
    );
    accepts(&alice, &invite, &voicemail, &recorded);
}

#[test]
fn the_way_of_a_call_is_not_told_if_the_caller_wants_privacy() {
    let (_sim, alice, [bob, carol]) = bob_forwards(Forward { always: party("carol"), ..Forward::default() });
    let invite = alice.request("INVITE", "sip:bob@office.example").with("Privacy", "history");
    alice.sends(&invite);
    alice.expects("100");
    let at_carol = carol.expects("INVITE");
    assert!(!at_carol.has("History-Info"));
    accepts(&alice, &invite, &carol, &at_carol);
    bob.receives_nothing();
}

#[test]
fn another_phone_rings_beside_those_of_the_user() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        let after = |user: &str, seconds: u64| AlsoRing {
            to: party(user).unwrap(),
            after: Duration::from_secs(seconds),
            hours: None,
        };
        let forward = Forward { no_answer: party("voicemail"), ..Forward::default() };
        let rules = UserRules { forward, also_ring: vec![after("carol", 10)], ..UserRules::default() };
        set_rules(settings, "bob", rules);
    });
    let voicemail = voicemail(&sim);
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.millis(9_800);
    carol.receives_nothing();
    sim.millis(200);
    let at_carol = rings(&alice, &carol);
    assert!(!at_carol.has("History-Info"), "the call is not forwarded");
    bob.receives_nothing();
    // 20 s after the beginning.
    sim.seconds(10);
    alice.expects("181");
    stops(&bob, &at_bob);
    stops(&carol, &at_carol);
    let recorded = voicemail.expects("INVITE");
    accepts(&alice, &invite, &voicemail, &recorded);
}

#[test]
fn a_phone_that_rings_is_available() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        settings.forking.single_target = SingleTarget::Stateful;
        forward(settings, "bob", Forward { unavailable: party("carol"), ..Forward::default() });
    });
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(30);
    stops(&bob, &at_bob);
    let ended = alice.expects("408");
    alice.acks(&invite, &ended);
    carol.receives_nothing();
}

#[test]
fn a_phone_that_does_not_respond_is_unavailable() {
    let (sim, alice, [bob, carol]) = bob_forwards(Forward { unavailable: party("carol"), ..Forward::default() });
    let invite = calls(&alice, "bob");
    bob.is_unplugged();
    sim.millis(32_100);
    alice.expects("181");
    let at_carol = rings(&alice, &carol);
    accepts(&alice, &invite, &carol, &at_carol);
}

#[test]
fn a_phone_does_not_ring_again_over_its_other_flow_when_the_call_is_forwarded() {
    // RFC 5626 7: one phone with two flows. The other flow is the newer one when the call is forwarded to the group.
    let (sim, alice, _) = setup(|settings| {
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["dave"], "");
        forward(settings, "dave", Forward { no_answer: party("600"), ..Forward::default() });
    });
    let flows = ["dave/1", "dave/2"].map(|name| sim.udp(name));
    let register = |number: usize| {
        let (flow, reg_id) = (&flows[number], number + 1);
        let instance = "<urn:uuid:00000000-0000-1000-8000-000a95a0e128>";
        flow.registers_with(&format!(";+sip.instance=\"{instance}\";reg-id={reg_id}"));
        sim.seconds(1);
    };
    register(0);
    register(1);
    let invite = calls(&alice, "dave");
    let at_dave = rings(&alice, &flows[1]);
    register(0);
    sim.seconds(19);
    alice.expects("181");
    stops(&flows[1], &at_dave);
    flows[0].receives_nothing();
    let nobody = alice.expects("408");
    alice.acks(&invite, &nobody);
}

#[test]
fn a_single_phone_that_a_call_is_forwarded_to_has_the_ring_time_of_any_other() {
    for (single_target, is_limited) in [(SingleTarget::Stateful, true), (SingleTarget::Stateless, false)] {
        let (sim, alice, [bob, carol]) = setup(|settings| {
            settings.forking.single_target = single_target;
            forward(settings, "bob", Forward { busy: party("carol"), ..Forward::default() });
        });
        let invite = calls(&alice, "bob");
        refuses(&bob, &bob.expects("INVITE"), 486);
        alice.expects("181");
        let at_carol = rings(&alice, &carol);
        sim.millis(29_800);
        carol.receives_nothing();
        sim.millis(200);
        if is_limited {
            stops(&carol, &at_carol);
            let refusal = alice.expects("486");
            alice.acks(&invite, &refusal);
        } else {
            carol.receives_nothing();
            accepts(&alice, &invite, &carol, &at_carol);
        }
    }
}

#[test]
fn a_user_that_declines_while_the_call_is_forwarded_to_a_group_ends_it() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        forward(settings, "bob", Forward { no_answer: party("600"), ..Forward::default() });
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["carol"], "");
    });
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    alice.expects("181");
    bob.expects("CANCEL");
    let at_carol = rings(&alice, &carol);
    refuses(&bob, &at_bob, 603);
    stops(&carol, &at_carol);
    let declined = alice.expects("603");
    alice.acks(&invite, &declined);
}

#[test]
fn a_user_that_is_busy_while_the_call_is_forwarded_does_not_end_it() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        let rules = Forward { no_answer: party("carol"), busy: party("voicemail"), ..Forward::default() };
        forward(settings, "bob", rules);
    });
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    alice.expects("181");
    bob.expects("CANCEL");
    let at_carol = rings(&alice, &carol);
    refuses(&bob, &at_bob, 600);
    carol.receives_nothing();
    accepts(&alice, &invite, &carol, &at_carol);
}

#[test]
fn the_targets_of_a_redirection_are_not_called_when_the_call_is_due_to_be_forwarded() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        let rules = Forward { no_answer: party("carol"), after: Duration::from_secs(10), ..Forward::default() };
        forward(settings, "bob", rules);
    });
    let dave = sim.udp("dave").named("sip:dave@desk.lan.example:5060");
    dave.registers();
    sim.dns("desk.lan.example", &[dave.address]);
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(9);
    // DNS answers after the 10 s.
    sim.dns_takes(Duration::from_secs(3));
    bob.sends(&bob.answer(&at_bob, 302).set("Contact", "<sip:dave@office.example>"));
    bob.expects("ACK");
    sim.millis(1_200);
    alice.expects("181");
    let at_carol = rings(&alice, &carol);
    dave.receives_nothing();
    accepts(&alice, &invite, &carol, &at_carol);
}

#[test]
fn no_further_phone_rings_when_the_call_is_due_to_be_forwarded() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        let after = Duration::from_secs(20);
        let forward = Forward { no_answer: party("dave"), after, ..Forward::default() };
        let also_ring = vec![AlsoRing { to: Party::Name(aor("carol")), after, hours: None }];
        set_rules(settings, "bob", UserRules { forward, also_ring, ..UserRules::default() });
    });
    let dave = phone(&sim, "dave");
    let invite = calls(&alice, "bob");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    alice.expects("181");
    stops(&bob, &at_bob);
    let at_dave = rings(&alice, &dave);
    carol.receives_nothing();
    accepts(&alice, &invite, &dave, &at_dave);
}
