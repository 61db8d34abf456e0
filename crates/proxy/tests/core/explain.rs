//! `explain` gives the same result as routing: each case is explained and then called.

use std::net::IpAddr;

use proxy::{
    Account, Authentication, CallEnd, CallRecord, Caller, ConfigKey, Foreign, Inquiry, Instant, Now, Settings, Step,
    Strangers, Wall, explain,
};

use sim::{KEYS, Simulation};

use crate::accounts::aor;

const OFFICE: &str = "sip:alice@office.example";

fn ask(settings: &Settings, from: &str, to: &str) -> Vec<Step> {
    let now = Now { mono: Instant::from_micros(0), wall: Wall(0) };
    let source: IpAddr = [192, 0, 2, 99].into();
    explain(&Inquiry { from: Some(from), to, source, at: None }, settings, &KEYS, now, |_| None)
}

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = sim::default_settings();
    change(&mut settings);
    settings
}

fn refusal(steps: &[Step]) -> Option<u16> {
    match steps.last() {
        Some(Step::Refused { status, .. }) => Some(*status),
        _ => None,
    }
}

#[test]
fn a_final_dot_names_the_same_domain() {
    let plain = ask(&settings(|_| {}), OFFICE, "sip:bob@office.example");
    for (from, to) in [
        (OFFICE, "sip:bob@office.example."),
        ("sip:alice@Office.Example.", "sip:bob@OFFICE.EXAMPLE."),
        (OFFICE, "sip:bob@sip.office.example."),
    ] {
        assert_eq!(ask(&settings(|_| {}), from, to), plain, "{from} -> {to}");
    }
    let dots = ask(&settings(|_| {}), OFFICE, "sip:bob@office.example..");
    assert_eq!(refusal(&dots).map(|status| status / 100), Some(4), "{dots:?}");
    assert_ne!(dots, plain);
}

#[test]
fn refusals_are_the_same_as_for_a_call() {
    type Case = (&'static str, &'static str, fn(&mut Settings));
    let table: &[Case] = &[
        (OFFICE, "sip:bob@office.example", |_| {}),
        (OFFICE, "sip:office.example", |_| {}),
        (OFFICE, "sip:bob@elsewhere.example", |_| {}),
        ("sip:eve@elsewhere.example", "sip:bob@office.example", |_| {}),
        (OFFICE, "mailto:bob@office.example", |_| {}),
        (OFFICE, "sip:bob@0.0.0.0", |settings| settings.foreign = Foreign::Authenticated),
    ];
    for (from, to, change) in table {
        let sim = Simulation::with(*change);
        let caller = sim.udp("alice");
        caller.sends(&caller.request("INVITE", to).set("From", format!("<{from}>;tag=1")));
        let explained = refusal(&ask(&settings(*change), from, to));
        let status = explained.unwrap_or_else(|| panic!("{from} -> {to} is not refused"));
        caller.expects(&status.to_string());
    }
}

#[test]
fn no_line_break_can_be_injected() {
    let settings = settings(|settings| settings.strangers = Strangers::Accept);
    for to in ["", "sip:a@b SIP/2.0\r\nX: y", "sip:a@office.example>", "sip:\u{e9}@office.example"] {
        assert_eq!(refusal(&ask(&settings, OFFICE, to)), Some(400), "{to:?}");
    }
}

#[test]
fn a_contact_of_a_phone_is_distinguished_from_another_server() {
    for foreign in [Foreign::Refuse, Foreign::Authenticated] {
        let change = |settings: &mut Settings| {
            settings.authentication = Authentication::Required;
            settings.foreign = foreign;
        };
        let sim = Simulation::new();
        let bob = sim.udp("bob");
        bob.registers();
        let now = Now { mono: Instant::from_micros(0), wall: Wall(0) };
        let source: IpAddr = [192, 0, 2, 99].into();
        let asked = |to: &str| {
            let inquiry = Inquiry { from: Some(OFFICE), to, source, at: None };
            explain(&inquiry, &settings(change), &KEYS, now, |aor| sim.registered(aor))
        };
        let steps = asked(&bob.contact());
        let [Step::Contact(user), Step::Credentials(_), Step::Group { targets, .. }, Step::Stateless] = &*steps else {
            panic!("{steps:?}")
        };
        assert_eq!((user.user(), &*targets[0].address), (&b"bob"[..], &*bob.address.to_string()));
        let elsewhere = asked("sip:bob@192.0.2.77");
        assert_eq!(refusal(&elsewhere), (foreign == Foreign::Refuse).then_some(403), "{elsewhere:?}");
        assert_eq!(elsewhere[0], Step::Elsewhere);
    }
}

/// Issue 18: explain of an unknown user says that it is one of ours without a phone.
#[test]
fn an_unknown_user_is_distinguished_from_one_without_a_phone() {
    let change = |settings: &mut Settings| {
        settings.accounts.insert(aor("bob"), Account::default());
    };
    let steps = |to| ask(&settings(change), OFFICE, to);
    let known = steps("sip:bob@office.example");
    assert!(known.contains(&Step::Bindings(0)) && known[0] == Step::User(aor("bob")), "{known:?}");
    let unknown = steps("sip:999@office.example");
    assert!(unknown.contains(&Step::NoAccount) && unknown[0] == Step::Name(aor("999")), "{unknown:?}");
    let accounts = Some(ConfigKey::Accounts);
    assert!(matches!(unknown.last(), Some(Step::Refused { status: 404, key, .. }) if *key == accounts), "{unknown:?}");
}

/// Issue 18: explain takes an unknown `--from` for granted.
#[test]
fn a_caller_without_an_account_ends_at_the_challenge() {
    let change = |settings: &mut Settings| {
        settings.authentication = Authentication::Required;
        let may_call_as = vec![Caller::User(b"+4989123451".as_slice().into())];
        settings.accounts.insert(aor("bob"), Account { may_call_as, ..Account::default() });
    };
    let to = "sip:bob@office.example";
    let unknown = ask(&settings(change), "sip:999@office.example", to);
    assert!(unknown.contains(&Step::NoCaller(aor("999"))) && refusal(&unknown) == Some(407), "{unknown:?}");
    for known in ["sip:bob@office.example", "sip:+4989123451@office.example"] {
        assert_eq!(refusal(&ask(&settings(change), known, to)), Some(480), "{known}");
    }
    // Nobody is named: any user.
    let now = Now { mono: Instant::from_micros(0), wall: Wall(0) };
    let inquiry = Inquiry { from: None, to, source: [192, 0, 2, 99].into(), at: None };
    assert_eq!(refusal(&explain(&inquiry, &settings(change), &KEYS, now, |_| None)), Some(480));
}

/// Issue 18: refusals do not name their rule.
#[test]
fn a_refusal_names_the_key_that_decided() {
    type Case = (&'static str, &'static str, ConfigKey);
    let table: &[Case] = &[
        (OFFICE, "sip:bob@elsewhere.example", ConfigKey::Foreign),
        ("sip:eve@elsewhere.example", "sip:bob@office.example", ConfigKey::Strangers),
    ];
    for (from, to, expected) in table {
        let steps = ask(&settings(|_| {}), from, to);
        assert!(matches!(steps.last(), Some(Step::Refused { key, .. }) if *key == Some(*expected)), "{steps:?}");
        let sim = Simulation::new();
        let caller = sim.udp("alice");
        caller.sends(&caller.request("INVITE", to).set("From", format!("<{from}>;tag=1")));
        caller.expects("403");
        let records = sim.records();
        let [CallRecord { end: CallEnd::Refused(refusal), .. }] = &records[..] else { panic!("{records:?}") };
        assert_eq!(refusal.key, Some(*expected), "{from} -> {to}");
    }
}
