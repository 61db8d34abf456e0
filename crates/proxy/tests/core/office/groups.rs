//! Ring groups: who rings, in which order, and when the call goes to another party.

use super::*;

#[test]
fn all_members_of_a_parallel_group_ring_and_one_accepts() {
    let (_sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob", "carol"], "");
    let invite = calls(&alice, "600");
    let (at_bob, at_carol) = (rings(&alice, &bob), rings(&alice, &carol));
    accepts(&alice, &invite, &carol, &at_carol);
    stops(&bob, &at_bob);
}

#[test]
fn members_of_a_sequential_group_ring_in_turn_then_the_other_party() {
    let (sim, alice, [bob, carol]) = with_group(GroupStrategy::Sequential, &["bob", "carol"], "dave");
    let dave = phone(&sim, "dave");
    let invite = calls(&alice, "600");
    let at_bob = rings(&alice, &bob);
    sim.millis(19_800);
    carol.receives_nothing();
    sim.millis(200);
    let at_carol = rings(&alice, &carol);
    stops(&bob, &at_bob);
    refuses(&carol, &at_carol, 486);
    alice.expects("181");
    let at_dave = rings(&alice, &dave);
    accepts(&alice, &invite, &dave, &at_dave);
}

#[test]
fn a_group_without_another_party_ends_with_the_best_response() {
    let (_sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob", "carol", "nobody"], "");
    let invite = calls(&alice, "600");
    let (at_bob, at_carol) = (rings(&alice, &bob), rings(&alice, &carol));
    refuses(&bob, &at_bob, 480);
    refuses(&carol, &at_carol, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_group_that_nobody_answers_goes_to_voicemail_when_the_ring_time_is_over() {
    let (sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob", "carol"], "voicemail");
    let voicemail = voicemail(&sim);
    let invite = calls(&alice, "600");
    let (at_bob, at_carol) = (rings(&alice, &bob), rings(&alice, &carol));
    sim.seconds(20);
    alice.expects("181");
    stops(&bob, &at_bob);
    stops(&carol, &at_carol);
    let recorded = voicemail.expects("INVITE");
    assert_eq!(recorded.uri(), format!("{VOICEMAIL};target=sip:600%40office.example;cause=408"));
    accepts(&alice, &invite, &voicemail, &recorded);
}

#[test]
fn a_message_to_a_group_reaches_all_members() {
    let (_sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob", "carol"], "dave");
    alice.sends(&alice.request("MESSAGE", "sip:600@office.example"));
    for phone in [&bob, &carol] {
        let received = phone.expects("MESSAGE");
        phone.answers(&received, 200);
    }
    alice.expects("200");
}

#[test]
fn a_member_that_declines_does_not_speak_for_the_group() {
    let (sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob", "carol"], "dave");
    let dave = phone(&sim, "dave");
    let invite = calls(&alice, "600");
    let (at_bob, at_carol) = (rings(&alice, &bob), rings(&alice, &carol));
    refuses(&bob, &at_bob, 603);
    carol.receives_nothing();
    refuses(&carol, &at_carol, 603);
    alice.expects("181");
    let at_dave = rings(&alice, &dave);
    accepts(&alice, &invite, &dave, &at_dave);
}

#[test]
fn the_forwarding_of_a_member_applies_if_the_group_says_so() {
    // bob's phone refuses, has no binding, or rings; then carol rings in its place. Without `follow` nobody does.
    for (status, rules, follow) in [
        (486, Forward { busy: party("carol"), ..Forward::default() }, true),
        (480, Forward { unavailable: party("carol"), ..Forward::default() }, true),
        (0, Forward { no_answer: party("carol"), after: Duration::from_secs(10), ..Forward::default() }, true),
        (486, Forward { busy: party("carol"), ..Forward::default() }, false),
    ] {
        let member = if follow { "bob>" } else { "bob" };
        let (sim, alice, [bob, carol]) = setup(|settings| {
            forward(settings, "bob", rules);
            add_group(&mut settings.office, "600", GroupStrategy::Parallel, &[member, "dave"], "");
        });
        let dave = phone(&sim, "dave");
        let invite = calls(&alice, "600");
        let (at_bob, at_dave) = (rings(&alice, &bob), rings(&alice, &dave));
        if status > 0 {
            refuses(&bob, &at_bob, status);
        } else {
            sim.seconds(10);
            stops(&bob, &at_bob);
        }
        if !follow {
            carol.receives_nothing();
            accepts(&alice, &invite, &dave, &at_dave);
            continue;
        }
        let at_carol = rings(&alice, &carol);
        dave.receives_nothing();
        accepts(&alice, &invite, &carol, &at_carol);
        stops(&dave, &at_dave);
    }
}

#[test]
fn a_party_rings_in_place_of_a_member_without_a_phone() {
    let (_sim, alice, [bob, carol]) = setup(|settings| {
        forward(settings, "nobody", Forward { unavailable: party("carol"), ..Forward::default() });
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["bob", "nobody>"], "");
    });
    let invite = calls(&alice, "600");
    let (at_bob, at_carol) = (rings(&alice, &bob), rings(&alice, &carol));
    accepts(&alice, &invite, &carol, &at_carol);
    stops(&bob, &at_bob);
}

#[test]
fn nobody_rings_in_place_of_a_member_after_the_ring_time_of_the_group() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["bob>"], "");
        let after = Duration::from_secs(30);
        forward(settings, "bob", Forward { no_answer: party("carol"), after, ..Forward::default() });
    });
    let invite = calls(&alice, "600");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    stops(&bob, &at_bob);
    carol.receives_nothing();
    let nobody = alice.expects("408");
    alice.acks(&invite, &nobody);
    sim.seconds(20);
    carol.receives_nothing();
}

#[test]
fn a_call_to_a_wave_is_not_forwarded_while_an_earlier_member_rings_on() {
    let (sim, alice, [bob, carol]) = with_group(GroupStrategy::Wave, &["bob", "carol"], "dave");
    let dave = phone(&sim, "dave");
    let invite = calls(&alice, "600");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    let at_carol = rings(&alice, &carol);
    refuses(&carol, &at_carol, 486);
    sim.seconds(19);
    dave.receives_nothing();
    sim.seconds(1);
    alice.expects("181");
    stops(&bob, &at_bob);
    let at_dave = rings(&alice, &dave);
    accepts(&alice, &invite, &dave, &at_dave);
}

/// alice calls group g1, whose members lead to g2, and those to the voicemail. All members are busy; each has so many phones.
/// Returns how many phones of each group the call reached, and whether it reached the voicemail.
fn call_through_busy_groups(limit: usize, sizes: [usize; 2], phones: u16) -> ([usize; 2], bool) {
    let groups = ["g1", "g2"].into_iter().zip(sizes);
    let names = |group: &str, size: usize| (0..size).map(|number| format!("{group}x{number}")).collect::<Vec<_>>();
    let (sim, alice, _) = setup(|settings| {
        settings.limits.targets = limit;
        for ((group, size), otherwise) in groups.clone().zip(["g2", "voicemail"]) {
            let names = names(group, size);
            for name in &names {
                settings.accounts.insert(aor(name), Account::default());
            }
            let members: Vec<&str> = names.iter().map(String::as_str).collect();
            add_group(&mut settings.office, group, GroupStrategy::Parallel, &members, otherwise);
        }
    });
    let voicemail = voicemail(&sim);
    let register = |name: String| {
        let phone = sim.udp(&name);
        let contacts = (0..phones).map(|number| format!("<sip:{name}-{number}@{}>", phone.address));
        phone.sends(&phone.register().set("Contact", contacts.collect::<Vec<_>>().join(", ")));
        phone.expects("200");
        phone
    };
    let members: Vec<Agent> = groups.flat_map(|(group, size)| names(group, size)).map(register).collect();
    let invite = alice.calls("g1");
    let mut reached = Vec::new();
    loop {
        for phone in &members {
            for message in phone.all_received().into_iter().filter(|message| message.what() == "INVITE") {
                reached.push(phone.user().to_owned());
                phone.answers(&message, 486);
            }
        }
        let recorded = voicemail.next_message_if_any();
        let end = alice.all_received().into_iter().find(|message| message.status().is_some_and(|status| status >= 200));
        if let Some(busy) = &end {
            alice.acks(&invite, busy);
        }
        if let Some(recorded) = &recorded {
            voicemail.answers(recorded, 200);
            alice.acks(&invite, &alice.expects("200"));
            voicemail.expects("ACK");
        }
        if recorded.is_some() || end.is_some() {
            let of_group = |group: &str| reached.iter().filter(|user| user.starts_with(group)).count();
            return (["g1", "g2"].map(of_group), recorded.is_some());
        }
    }
}

#[test]
fn the_limit_of_targets_holds_for_each_party() {
    assert_eq!(call_through_busy_groups(50, [5, 5], 10), ([50, 50], true));
    assert_eq!(call_through_busy_groups(3, [5, 2], 1), ([3, 2], true));
}

#[test]
fn a_call_has_at_most_255_branches() {
    assert_eq!(call_through_busy_groups(200, [18, 10], 10), ([180, 75], false));
}

#[test]
fn only_calls_and_messages_go_to_the_members_of_a_group() {
    for (method, is_forwarded) in [
        ("INVITE", true),
        ("MESSAGE", true),
        ("OPTIONS", true),
        ("SUBSCRIBE", false),
        ("REFER", false),
        ("PUBLISH", false),
        ("INFO", false),
    ] {
        let (sim, alice, [bob, carol]) = setup(|settings| {
            let number = |to: &str| {
                let to = Party::Name(aor(to));
                OfficeName::Number(Arc::new(NumberRule { to, hours: None, closed: None }))
            };
            add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["bob", "carol"], "");
            assert!(settings.office.add(&aor("700"), number("600")));
        });
        for name in ["600", "700"] {
            let request = alice.request(method, &format!("sip:{name}@office.example")).with("Event", "conference");
            alice.sends(&request.with("Refer-To", "<sip:dave@office.example>"));
            if is_forwarded {
                bob.expects(method);
                carol.expects(method);
            } else {
                assert_eq!(alice.expects("405").value("Allow"), "INVITE, ACK, CANCEL, BYE, MESSAGE, OPTIONS");
                bob.receives_nothing();
            }
        }
        sim.skip_final_check();
    }
}

#[test]
fn a_member_that_declines_while_the_call_is_forwarded_does_not_end_it() {
    let (sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob"], "carol");
    let invite = calls(&alice, "600");
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    alice.expects("181");
    bob.expects("CANCEL");
    let at_carol = rings(&alice, &carol);
    refuses(&bob, &at_bob, 603);
    carol.receives_nothing();
    accepts(&alice, &invite, &carol, &at_carol);
}

#[test]
fn a_party_that_rings_in_place_of_a_member_between_two_turns_has_a_ring_time() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        let rules = Forward { no_answer: party("dave"), after: Duration::from_secs(30), ..Forward::default() };
        forward(settings, "bob", rules);
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["bob>", "carol"], "");
    });
    let dave = phone(&sim, "dave");
    let invite = alice.request("INVITE", "sip:600@office.example").with("Max-Breadth", 1);
    alice.sends(&invite);
    alice.expects("100");
    // carol waits until bob's phone has stopped.
    let at_bob = rings(&alice, &bob);
    sim.seconds(20);
    stops(&bob, &at_bob);
    let at_dave = rings(&alice, &dave);
    sim.seconds(20);
    stops(&dave, &at_dave);
    let at_carol = rings(&alice, &carol);
    accepts(&alice, &invite, &carol, &at_carol);
}
