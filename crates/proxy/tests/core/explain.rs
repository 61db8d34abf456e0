//! What `explain` says is what routing does: the same world, asked and then called.

use std::net::IpAddr;

use proxy::{Foreign, Inquiry, Instant, Now, Settings, Step, Strangers, Wall, explain};

use crate::sim::{KEYS, World};

const OFFICE: &str = "sip:alice@office.example";

fn ask(settings: &Settings, from: &str, to: &str) -> Vec<Step> {
    let now = Now { mono: Instant::from_micros(0), wall: Wall(0) };
    let source: IpAddr = [192, 0, 2, 99].into();
    explain(&Inquiry { from, to, source }, settings, &KEYS, now, |_| None)
}

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = crate::sim::office();
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
fn refusals_are_those_that_a_phone_gets() {
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
        let world = World::with(*change);
        let caller = world.udp("alice");
        caller.sends(&caller.request("INVITE", to).set("From", format!("<{from}>;tag=1")));
        let explained = refusal(&ask(&settings(*change), from, to));
        let status = explained.unwrap_or_else(|| panic!("{from} -> {to} is not refused"));
        caller.expects(&status.to_string());
    }
}

#[test]
fn no_line_can_be_smuggled_in() {
    let settings = settings(|settings| settings.strangers = Strangers::Accept);
    for to in ["", "sip:a@b SIP/2.0\r\nX: y", "sip:a@office.example>", "sip:\u{e9}@office.example"] {
        assert_eq!(refusal(&ask(&settings, OFFICE, to)), Some(400), "{to:?}");
    }
}
