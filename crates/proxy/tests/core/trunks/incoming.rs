//! Calls from trunks: they reach the numbers of the office, and nothing that comes from outside is dialled.

use std::time::Duration;

use proxy::{GroupMember, GroupStrategy, NumberRule, OfficeName, RingGroup, Strangers};

use super::*;

fn with_groups(settings: &mut Settings) {
    secured(settings, |_| {});
    let group = |name: &str, otherwise: Option<&str>| {
        Arc::new(RingGroup {
            aor: aor(name),
            label: "".into(),
            members: otherwise
                .is_none()
                .then(|| GroupMember { to: Party::Name(aor("bob")), follow: false })
                .into_iter()
                .collect(),
            strategy: GroupStrategy::Parallel,
            ring_time: Duration::from_secs(20),
            otherwise: otherwise.map(|name| Party::Name(aor(name))),
            calls: 0.into(),
        })
    };
    let leads_to =
        |name: &str| OfficeName::Number(Arc::new(NumberRule { to: Party::Name(aor(name)), hours: None, closed: None }));
    let sales = group("600", None);
    let office = &mut settings.office;
    assert!(office.add(&aor("600"), OfficeName::Group(Arc::clone(&sales))));
    assert!(office.add(&aor("+4989160"), OfficeName::Group(sales)));
    assert!(office.add(&aor("+4989161"), leads_to("bob")));
    // Rules that would dial; the server refuses such a configuration.
    assert!(office.add(&aor("+4989162"), leads_to("0891234")));
    assert!(office.add(&aor("+4989163"), OfficeName::Group(group("601", Some("0891234")))));
}

#[test]
fn a_trunk_reaches_numbers_with_or_without_plus() {
    for number in ["+4989112", "4989112", "+49-89-112", "+4989160", "4989160", "4989161"] {
        let office = Office::with(with_groups);
        let invite = office.provider_calls(&format!("sip:{number}@office.example"));
        let received = office.bob.expects("INVITE");
        while office.provider.next_message_if_any().is_some() {}
        assert!(!received.has("Proxy-Authenticate"), "no password is asked for");
        accepts(&office.provider, &invite, &office.bob, &received);
    }
}

#[test]
fn nothing_that_comes_from_outside_reaches_outgoing() {
    // Who sends, the Request-URI, a header, and the response.
    for (from, uri, header, status) in [
        ("trunk", "sip:0891234@office.example", None, "404"),
        ("trunk", "sip:+441234@office.example", None, "404"),
        ("trunk", "tel:+441234", None, "404"),
        ("trunk", "sip:112@office.example", None, "404"),
        ("trunk", "urn:service:sos", None, "404"),
        // Names, though not of phones.
        ("trunk", "sip:bob@office.example", None, "404"),
        ("trunk", "sip:600@office.example", None, "404"),
        ("trunk", "sip:0891234@192.0.2.81", None, "403"),
        ("trunk", "sip:0891234@192.0.2.81:5060;maddr=192.0.2.81", None, "403"),
        ("trunk", "sip:+4989112@office.example", Some(("Route", "<sip:192.0.2.81;lr>")), "403"),
        ("trunk", "sip:+4989112@office.example", Some(("Route", "<sip:0891234@office.example;lr>")), "100"),
        // Rules without a user who dials.
        ("trunk", "sip:+4989162@office.example", None, "403"),
        ("trunk", "sip:+4989163@office.example", None, "403"),
        // Trusted networks and strangers are not users.
        ("trusted", "sip:0891234@office.example", None, "407"),
        ("trusted", "tel:0891234", None, "407"),
        ("stranger", "sip:0891234@office.example", None, "407"),
        ("stranger", "sip:112@office.example", None, "407"),
        ("stranger", "urn:service:sos", None, "407"),
        // Somebody who only says that they are alice.
        ("claims", "sip:0891234@office.example", None, "407"),
        ("claims", "sip:112@office.example", None, "407"),
        ("claims", "urn:service:sos", None, "407"),
    ] {
        let office = Office::with(|settings| {
            with_groups(settings);
            settings.strangers = Strangers::Accept;
            settings.trusted = "192.0.2.90/32".parse().into_iter().collect();
        });
        let sender = match from {
            "trunk" => office.provider.clone(),
            "trusted" => office.sim.udp("gateway").at("192.0.2.90:5060".parse().expect("an address")),
            _ => office.sim.udp("mallory"),
        };
        let caller = if from == "claims" { "sip:alice@office.example" } else { "sip:+49301@elsewhere.example" };
        let mut invite = sender.request("INVITE", uri).set("From", format!("<{caller}>;tag=1"));
        if let Some((name, value)) = header {
            invite = invite.with(name, value);
        }
        sender.sends(&invite);
        if status == "100" {
            // The Route of this server is removed, and the number rings.
            office.bob.answers(&office.bob.expects("INVITE"), 486);
            is_refused(&sender, &invite, "486");
            office.bob.expects("ACK");
        } else {
            is_refused(&sender, &invite, status);
        }
        let trunks = [&office.provider, &office.backup];
        assert!(trunks.iter().all(|trunk| trunk.next_message_if_any().is_none()), "{from} {uri} {header:?}");
        office.bob.receives_nothing();
    }
}

#[test]
fn other_requests_do_not_leave_by_a_trunk() {
    for method in ["MESSAGE", "OPTIONS", "REFER", "SUBSCRIBE", "INFO"] {
        let office = Office::new();
        office
            .bob
            .authenticates(BOB, &office.bob.request(method, "sip:0891234@office.example").with("Event", "conference"));
        office.bob.expects("404");
        office.provider.receives_nothing();
    }
}

#[test]
fn a_trunk_cannot_make_a_phone_dial() {
    let office = Office::new();
    let (invite, received) = office.alice_reaches("0891234");
    let ok = accepts(&office.alice, &invite, &office.provider, &received);
    let refer = office.provider.within_as_callee(&received, &ok, "REFER");
    office.provider.sends(&refer.with("Refer-To", "<sip:0900123@office.example>"));
    office.provider.expects("403");
    let outside = office.provider.request("REFER", "sip:+4989112@office.example");
    office.provider.sends(&outside.with("Refer-To", "<sip:0900123@office.example>"));
    office.provider.expects("403");
    office.alice.receives_nothing();
    office.bob.receives_nothing();
}

#[test]
fn a_redirection_by_a_phone_is_not_dialled() {
    let office = Office::new();
    let invite = office.provider_calls("sip:+4989112@office.example");
    let received = office.bob.expects("INVITE");
    let moved = office.bob.answer(&received, 302).set("Contact", "<sip:0891234@office.example>");
    office.bob.sends(&moved);
    is_refused(&office.provider, &invite, "302");
    office.backup.receives_nothing();
    office.sim.skip_final_check();
}
