//! The events of trunks: each attempt to call is reported once, and so is each challenge that is answered.

use proxy::{Event, TrunkCallOutcome};

use super::*;

/// The reported attempts at one trunk.
#[track_caller]
fn check_calls(office: &Office, name: &str, expected: &[TrunkCallOutcome]) {
    use TrunkCallOutcome::{Answered, Cancelled, Failed, Refused};
    for wanted in [Answered, Refused, Cancelled, Failed] {
        let is_it = |event: &Event| matches!(event, Event::TrunkCall { trunk, outcome } if **trunk == *name && *outcome == wanted);
        let times = expected.iter().filter(|outcome| **outcome == wanted).count();
        assert_eq!(office.sim.count_events(is_it), times, "{name} {wanted:?}");
    }
}

#[test]
fn each_attempt_at_a_trunk_is_reported() {
    for (status, at_provider, at_backup) in [
        (200, TrunkCallOutcome::Answered, &[][..]),
        (486, TrunkCallOutcome::Refused, &[]),
        (603, TrunkCallOutcome::Refused, &[]),
        (503, TrunkCallOutcome::Failed, &[TrunkCallOutcome::Answered]),
        (407, TrunkCallOutcome::Failed, &[TrunkCallOutcome::Answered]),
    ] {
        let office = Office::new();
        let (invite, received) = office.alice_reaches("0891234");
        if status == 200 {
            accepts(&office.alice, &invite, &office.provider, &received);
        } else {
            refuses(&office.provider, &received, status);
            match at_backup {
                [] => is_refused(&office.alice, &invite, &status.to_string()),
                _ => drop(accepts(&office.alice, &invite, &office.backup, &office.backup.expects("INVITE"))),
            }
        }
        check_calls(&office, "provider", &[at_provider]);
        check_calls(&office, "backup", at_backup);
    }
}

#[test]
fn a_call_that_the_caller_cancels_is_reported_as_cancelled() {
    let office = Office::new();
    let (invite, received) = office.alice_reaches("0891234");
    office.provider.answers(&received, 180);
    office.alice.expects("180");
    office.alice.cancels(&invite);
    office.alice.expects("200");
    stops(&office.provider, &received);
    is_refused(&office.alice, &invite, "487");
    check_calls(&office, "provider", &[TrunkCallOutcome::Cancelled]);
}

#[test]
fn a_full_trunk_is_reported_for_calls_of_both_directions() {
    let office = Office::with(|settings| secured(settings, |trunk| trunk.max_calls = Some(1)));
    let full = || {
        let is_it = |event: &Event| matches!(event, Event::TrunkFull { trunk } if **trunk == *"provider");
        office.sim.count_events(is_it)
    };
    let (first, at_provider) = office.alice_reaches("0891234");
    accepts(&office.alice, &first, &office.provider, &at_provider);
    assert_eq!(full(), 0);
    let second = office.alice_dials("0891235");
    office.alice.expects("100");
    refuses(&office.backup, &office.backup.expects("INVITE"), 486);
    is_refused(&office.alice, &second, "486");
    assert_eq!(full(), 1);
    // It was not sent to the full trunk.
    check_calls(&office, "provider", &[TrunkCallOutcome::Answered]);
    check_calls(&office, "backup", &[TrunkCallOutcome::Refused]);
    let incoming = office.provider_calls("sip:+4989112@office.example");
    is_refused(&office.provider, &incoming, "486");
    assert_eq!(full(), 1);
}
