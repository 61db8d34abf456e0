//! `explain` gives the same result as routing: each case is explained and then called.

use std::net::IpAddr;

use proxy::{Account, Authentication, Foreign, Inquiry, Instant, Now, Settings, Step, Strangers, Wall, explain};

use sim::{KEYS, Simulation};

use crate::accounts::aor;

const OFFICE: &str = "sip:alice@office.example";

fn ask(settings: &Settings, from: &str, to: &str) -> Vec<Step> {
    let now = Now { mono: Instant::from_micros(0), wall: Wall(0) };
    let source: IpAddr = [192, 0, 2, 99].into();
    explain(&Inquiry { from, to, source, at: None }, settings, &KEYS, now, |_| None)
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
            let inquiry = Inquiry { from: OFFICE, to, source, at: None };
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

#[test]
fn an_unknown_user_is_distinguished_from_one_without_a_phone() {
    let change = |settings: &mut Settings| {
        settings.accounts.insert(aor("bob"), Account::default());
    };
    let steps = |to| ask(&settings(change), OFFICE, to);
    assert!(steps("sip:bob@office.example").contains(&Step::Bindings(0)));
    let unknown = steps("sip:999@office.example");
    assert!(unknown.contains(&Step::NoAccount) && refusal(&unknown) == Some(404), "{unknown:?}");
}
