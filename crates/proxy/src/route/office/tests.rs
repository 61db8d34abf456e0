//! What the rules decide, as tables: the called name, the time, who rings in which turn.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::*;
use crate::settings::{Account, Forward, GroupMember, GroupStrategy, Hours, Office, OfficeName, UserRules, Window};

fn aor(name: &str) -> Aor {
    Aor::new(name.as_bytes(), b"office.example")
}

/// `voicemail`, a SIP URI, or a name.
fn party(text: &str) -> Party {
    match text {
        "voicemail" => Party::Voicemail,
        _ if text.starts_with("sip:") => Party::Uri(text.into()),
        _ => Party::Name(aor(text)),
    }
}

fn add_group(office: &mut Office, name: &str, strategy: GroupStrategy, members: &[&str], otherwise: Option<&str>) {
    let group = crate::settings::RingGroup {
        aor: aor(name),
        label: "".into(),
        members: members.iter().map(|member| GroupMember { to: party(member), follow: false }).collect(),
        strategy,
        ring_time: Duration::from_secs(20),
        otherwise: otherwise.map(party),
        calls: 0.into(),
    };
    assert!(office.add(&aor(name), OfficeName::Group(Arc::new(group))));
}

fn add_number(office: &mut Office, number: &str, to: &str, hours: Option<(&Arc<Hours>, Option<&str>)>) {
    let rule = NumberRule {
        to: party(to),
        hours: hours.map(|(hours, _)| ("office".into(), Arc::clone(hours))),
        closed: hours.and_then(|(_, closed)| closed).map(party),
    };
    assert!(office.add(&aor(number), OfficeName::Number(Arc::new(rule))));
}

/// A Monday at 10:00, in the zone of the hours.
const OPEN: u64 = 1_780_308_000_000;
/// The Sunday before.
const CLOSED: u64 = OPEN - 24 * 3_600_000;

fn settings() -> Settings {
    let mut settings = Settings::default();
    for user in ["101", "102", "103", "104", "105", "106", "107"] {
        settings.accounts.insert(aor(user), Account::default());
    }
    let office = &mut settings.office;
    office.voicemail = Some("sip:vm@192.0.2.9".into());
    let weekdays = Window { first: Weekday::Monday, last: Weekday::Friday, from: 8 * 60, to: 18 * 60 };
    let hours = Arc::new(Hours { zone: TimeZone::UTC, open: vec![weekdays], closed: Vec::new() });
    add_group(office, "600", GroupStrategy::Parallel, &["101", "102", "103", "sip:gw@192.0.2.5"], Some("voicemail"));
    add_group(office, "601", GroupStrategy::Sequential, &["101", "600", "102", "104"], None);
    add_group(office, "602", GroupStrategy::Rotating, &["101", "102", "104"], None);
    add_group(office, "603", GroupStrategy::Parallel, &["103"], Some("102"));
    add_group(office, "604", GroupStrategy::Wave, &["604", "101", "605"], None);
    add_group(office, "605", GroupStrategy::Parallel, &["604", "102"], None);
    add_number(office, "+4989123450", "600", Some((&hours, Some("voicemail"))));
    add_number(office, "+4989123452", "601", Some((&hours, None)));
    add_number(office, "1", "2", None);
    add_number(office, "2", "1", None);
    assert!(settings.accounts.add_number(&aor("+49 89 123451"), &aor("101")));
    let forward = |user: &str, forward: Forward, do_not_disturb: bool| {
        (
            aor(user),
            Account {
                rules: Some(Box::new(UserRules { do_not_disturb, forward, ..UserRules::default() })),
                ..Account::default()
            },
        )
    };
    let always = |to: &str| Forward { always: Some(party(to)), ..Forward::default() };
    for (user, account) in [
        forward("103", Forward::default(), true),
        forward("104", Forward { busy: Some(party("600")), ..Forward::default() }, true),
        forward("105", always("106"), false),
        forward("106", always("107"), false),
        forward("107", always("105"), false),
    ] {
        settings.accounts.insert(user, account);
    }
    settings
}

/// Who rings, as `turn:party`, or the status of the refusal.
fn call(settings: &Settings, name: &str, millis: u64, caller: Option<&str>) -> String {
    let caller = caller.map(aor);
    let call = Call {
        settings,
        at: Wall(millis),
        caller: caller.as_ref(),
        is_proven: true,
        may_change: true,
        is_invite: true,
        reaches_groups: true,
        is_real: true,
    };
    match begin(&aor(name), call, &mut Vec::new()) {
        Ok(Begin::User(user)) => format!("user {}", String::from_utf8_lossy(user.user())),
        Ok(Begin::Code(user, command)) => format!("{user:?} {command:?}"),
        Ok(Begin::Leg(leg)) => {
            let member = |(turn, member): &(u16, Member)| match member {
                Member::User(user) => format!("{turn}:{}", String::from_utf8_lossy(user.user())),
                Member::Uri(uri) => format!("{turn}:{uri}"),
                Member::Trunk(to) => format!("{turn}:{}", to.uri),
            };
            leg.members.iter().map(member).collect::<Vec<_>>().join(" ")
        }
        Err(reject) => reject.status().to_string(),
    }
}

#[test]
fn a_name_leads_to_those_who_ring() {
    let settings = settings();
    for (name, time, caller, expected) in [
        // A user, a number of a user in each written form, and a name that nobody has.
        ("101", OPEN, None, "user 101"),
        ("+4989123451", OPEN, None, "user 101"),
        ("+49-89-123451", OPEN, None, "user 101"),
        ("(+49) 89 123451", OPEN, None, "user (+49) 89 123451"),
        ("199", OPEN, None, "user 199"),
        // A group: without those who do not want to be disturbed, and without the caller.
        ("600", OPEN, None, "0:101 0:102 0:sip:gw@192.0.2.5"),
        ("6-00", OPEN, Some("101"), "0:102 0:sip:gw@192.0.2.5"),
        // In turns; a group within a group rings together; everybody rings once.
        ("601", OPEN, None, "0:101 1:102 1:sip:gw@192.0.2.5"),
        ("604", OPEN, None, "0:101 1:102"),
        // A group whose members do not ring.
        ("603", OPEN, None, "0:102"),
        ("603", OPEN, Some("102"), "0:102"),
        // Office hours.
        ("+4989123450", OPEN, None, "0:101 0:102 0:sip:gw@192.0.2.5"),
        ("+4989123450", CLOSED, None, "0:sip:vm@192.0.2.9;target=sip:+4989123450%40office.example;cause=302"),
        ("+4989123452", CLOSED, None, "480"),
        // Do not disturb, and forwarding.
        ("103", OPEN, None, "486"),
        ("104", OPEN, None, "0:101 0:102 0:sip:gw@192.0.2.5"),
        // Circles.
        ("105", OPEN, None, "480"),
        ("1", OPEN, None, "480"),
    ] {
        assert_eq!(call(&settings, name, time, caller), expected, "{name} {time} {caller:?}");
    }
}

#[test]
fn each_call_to_a_rotating_group_begins_with_the_next_member() {
    let settings = settings();
    for expected in ["0:101 1:102", "0:102 1:101", "0:101 1:102", "0:101 1:102"] {
        assert_eq!(call(&settings, "602", OPEN, None), expected, "104 does not want to be disturbed");
    }
}

#[test]
fn other_requests_are_not_forwarded() {
    let settings = settings();
    let call = Call {
        settings: &settings,
        at: Wall(OPEN),
        caller: None,
        is_proven: false,
        may_change: true,
        is_invite: false,
        reaches_groups: true,
        is_real: true,
    };
    let begin = |name: &str| match begin(&aor(name), call, &mut Vec::new()) {
        Ok(Begin::Leg(leg)) => leg.members,
        other => panic!("{other:?}"),
    };
    assert_eq!(begin("105"), [(0, Member::User(aor("105")))]);
    assert_eq!(begin("103"), [(0, Member::User(aor("103")))]);
}

#[test]
fn a_call_is_forwarded_five_times_at_most() {
    let mut settings = Settings::default();
    for number in 0..10 {
        let user = aor(&number.to_string());
        let always = Some(party(&(number + 1).to_string()));
        let rules = UserRules { forward: Forward { always, ..Forward::default() }, ..UserRules::default() };
        settings.accounts.insert(user, Account { rules: Some(Box::new(rules)), ..Account::default() });
    }
    assert_eq!(call(&settings, "0", OPEN, None), "480");
    assert_eq!(call(&settings, "5", OPEN, None), "0:10");
}
