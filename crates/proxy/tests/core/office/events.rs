//! The events of groups: each call is reported once.

use proxy::{Event, GroupCallOutcome};

use super::*;

/// The reported outcomes of one group.
#[track_caller]
fn check_group(sim: &Simulation, name: &str, expected: &[GroupCallOutcome]) {
    for wanted in [GroupCallOutcome::Answered, GroupCallOutcome::Otherwise, GroupCallOutcome::Unanswered] {
        let is_it = |event: &Event| matches!(event, Event::GroupCall { group, outcome } if *group == aor(name) && *outcome == wanted);
        let times = expected.iter().filter(|outcome| **outcome == wanted).count();
        assert_eq!(sim.count_events(is_it), times, "{name} {wanted:?}");
    }
}

#[test]
fn a_call_to_a_group_that_a_member_accepts_is_answered() {
    let (sim, alice, [bob, carol]) = with_group(GroupStrategy::Parallel, &["bob", "carol"], "dave");
    let invite = calls(&alice, "600");
    let (at_bob, at_carol) = (rings(&alice, &bob), rings(&alice, &carol));
    check_group(&sim, "600", &[]);
    accepts(&alice, &invite, &carol, &at_carol);
    stops(&bob, &at_bob);
    check_group(&sim, "600", &[GroupCallOutcome::Answered]);
}

#[test]
fn each_group_that_a_call_leaves_is_reported_once() {
    let (sim, alice, [bob, carol]) = setup(|settings| {
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["bob"], "601");
        add_group(&mut settings.office, "601", GroupStrategy::Parallel, &["nobody"], "602");
        add_group(&mut settings.office, "602", GroupStrategy::Parallel, &["carol"], "");
    });
    let invite = calls(&alice, "600");
    refuses(&bob, &rings(&alice, &bob), 486);
    alice.expects("181");
    alice.expects("181");
    let at_carol = rings(&alice, &carol);
    check_group(&sim, "600", &[GroupCallOutcome::Otherwise]);
    check_group(&sim, "601", &[GroupCallOutcome::Otherwise]);
    refuses(&carol, &at_carol, 486);
    let refusal = alice.expects("486");
    alice.acks(&invite, &refusal);
    check_group(&sim, "600", &[]);
    check_group(&sim, "601", &[]);
    check_group(&sim, "602", &[GroupCallOutcome::Unanswered]);
}

#[test]
fn a_group_without_a_phone_is_left_or_unanswered() {
    let (sim, alice, [bob, _carol]) = setup(|settings| {
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &["nobody"], "bob");
        add_group(&mut settings.office, "601", GroupStrategy::Parallel, &["nobody"], "");
        add_group(&mut settings.office, "602", GroupStrategy::Parallel, &["dave"], "");
        set_rules(settings, "dave", UserRules { do_not_disturb: true, ..UserRules::default() });
    });
    let invite = calls(&alice, "600");
    let at_bob = rings(&alice, &bob);
    accepts(&alice, &invite, &bob, &at_bob);
    check_group(&sim, "600", &[GroupCallOutcome::Otherwise]);
    for name in ["601", "602"] {
        let invite = alice.calls(name);
        let refusal = alice.expects("480");
        alice.acks(&invite, &refusal);
        check_group(&sim, name, &[GroupCallOutcome::Unanswered]);
    }
}

#[test]
fn a_call_that_the_caller_cancels_is_unanswered_and_a_message_is_no_call() {
    let (sim, alice, [bob, _carol]) = with_group(GroupStrategy::Parallel, &["bob"], "");
    alice.sends(&alice.request("MESSAGE", "sip:600@office.example"));
    let message = bob.expects("MESSAGE");
    bob.answers(&message, 200);
    alice.expects("200");
    check_group(&sim, "600", &[]);
    let invite = calls(&alice, "600");
    let at_bob = rings(&alice, &bob);
    alice.cancels(&invite);
    alice.expects("200");
    stops(&bob, &at_bob);
    let cancelled = alice.expects("487");
    alice.acks(&invite, &cancelled);
    check_group(&sim, "600", &[GroupCallOutcome::Unanswered]);
}
