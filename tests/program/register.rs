//! REGISTER without authentication: add, refresh, remove, query; expiry, order, all or nothing. RFC 3261 10.3.

use std::time::Duration;

use crate::harness::message::{param, uri};
use crate::harness::server::OPEN;
use crate::harness::{Phone, Server};

fn uris(contacts: &[String]) -> Vec<&str> {
    let mut uris: Vec<_> = contacts.iter().map(|contact| uri(contact)).collect();
    uris.sort_unstable();
    uris
}

#[track_caller]
fn seconds(contact: &str) -> u32 {
    param(contact, "expires").and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no expires in {contact}"))
}

/// A binding over any transport: added, listed, refreshed, removed.
#[track_caller]
fn is_added_and_removed(mut bob: Phone) {
    let contact = format!("<{}>", bob.contact());
    let register = bob.register(Some(&contact)).with("Expires", 600);
    let sent = bob.send(register);
    let ok = bob.response(200);
    // RFC 3261 8.2.6.2: the headers that the response repeats, and the tag that it adds.
    for header in ["From", "Call-ID", "CSeq"] {
        assert_eq!(ok.header(header), sent.header(header));
    }
    assert!(ok.tag("To").is_some(), "a To tag in\n{ok}");
    // checklist 22, 23
    let contacts = ok.list("Contact");
    assert_eq!(contacts.len(), 1, "one Contact in\n{ok}");
    assert_eq!(uri(contacts[0]), bob.contact());
    assert_eq!(seconds(contacts[0]), 600);
    assert!(ok.header("Date").ends_with("GMT"), "a Date in\n{ok}");

    let refresh = bob.register(Some(&contact)).with("Expires", 1200);
    let ok = bob.ask(refresh);
    let contacts = ok.list("Contact");
    assert_eq!((contacts.len(), seconds(contacts[0])), (1, 1200), "a refreshed binding in\n{ok}");

    // checklist 25
    let remove = bob.register(Some(&contact)).with("Expires", 0);
    let ok = bob.ask(remove);
    assert_eq!(ok.status(), Some(200));
    assert!(ok.find("Contact").is_none(), "no binding left in\n{ok}");
    assert!(bob.bindings().is_empty());
}

#[test]
fn a_binding_is_added_and_removed_over_udp() {
    let server = Server::start(OPEN);
    is_added_and_removed(Phone::udp("bob", server.address()));
}

#[test]
fn a_binding_is_added_and_removed_over_tcp() {
    let server = Server::start(OPEN);
    is_added_and_removed(Phone::tcp("bob", server.address()));
}

#[test]
fn a_binding_is_added_and_removed_over_ipv6() {
    let (_server, address) = Server::start_v6(OPEN);
    is_added_and_removed(Phone::udp("bob", address));
    is_added_and_removed(Phone::tcp("carol", address));
}

#[test]
fn several_devices_of_a_user_are_registered() {
    let server = Server::start(OPEN);
    let mut desk = Phone::udp("bob", server.address()).registered();
    let mut cell = Phone::tcp("bob", server.address()).registered();
    let mut soft = Phone::udp("bob", server.address()).registered();
    assert_eq!(desk.bindings().len(), 3);
    // checklist 11: a query changes nothing.
    assert_eq!(cell.bindings().len(), 3);

    let remove = cell.register(Some(&format!("<{}>;expires=0", cell.contact())));
    assert_eq!(cell.ask(remove).list("Contact").len(), 2);
    assert_eq!(uris(&desk.bindings()), {
        let mut left = [desk.contact(), soft.contact()];
        left.sort_unstable();
        left
    });

    // checklist 12, 13: `*` also removes the devices with other Call-IDs.
    let all = soft.register(Some("*")).with("Expires", 0);
    let ok = soft.ask(all);
    assert_eq!(ok.status(), Some(200));
    assert!(ok.find("Contact").is_none());
    assert!(desk.bindings().is_empty());
}

#[test]
fn one_request_may_carry_several_contacts() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let register = bob
        .register(Some(
            "<sip:bob@192.0.2.1>;q=0.5;expires=300, \"Desk, second floor\" <sip:bob@192.0.2.2:5070;transport=tcp>",
        ))
        .with("Contact", "sip:bob@192.0.2.3;expires=200")
        .with("Expires", 700);
    let ok = bob.ask(register);
    let mut found: Vec<_> = ok.list("Contact").iter().map(|contact| (uri(contact), seconds(contact))).collect();
    found.sort_unstable();
    // checklist 14: the expires parameter of a Contact precedes the header.
    let expected =
        [("sip:bob@192.0.2.1", 300), ("sip:bob@192.0.2.2:5070;transport=tcp", 700), ("sip:bob@192.0.2.3", 200)];
    assert_eq!(found, expected);
    // checklist 24: q is kept where it was sent, and only there.
    let q: Vec<_> = ok.list("Contact").iter().filter_map(|contact| param(contact, "q")).collect();
    assert_eq!(q, ["0.5"]);
}

#[test]
fn a_star_must_be_the_only_contact_and_have_expires_0() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    // checklist 12
    let lasting = bob.register(Some("*")).with("Expires", 60);
    assert_eq!(bob.ask(lasting).status(), Some(400));
    let without = bob.register(Some("*"));
    assert_eq!(bob.ask(without).status(), Some(400));
    let together = bob.register(Some("*")).with("Contact", "<sip:bob@192.0.2.1>").with("Expires", 0);
    assert_eq!(bob.ask(together).status(), Some(400));
    assert_eq!(bob.bindings().len(), 1);
}

#[test]
fn the_granted_expiry_follows_the_settings() {
    let config = "registrar: { min_expires: 60s, default_expires: 30m, max_expires: 2h }\n";
    let server = Server::start(&format!("{OPEN}{config}"));
    let mut bob = Phone::udp("bob", server.address());
    let granted = |phone: &mut Phone, contact: &str, expires: Option<&str>| {
        let register = phone.register(Some(contact));
        let ok = phone.ask(match expires {
            Some(expires) => register.with("Expires", expires),
            None => register,
        });
        assert_eq!(ok.status(), Some(200), "{ok}");
        seconds(ok.list("Contact")[0])
    };
    // checklist 14, 15, 16
    assert_eq!(granted(&mut bob, "<sip:bob@192.0.2.1>", None), 1800);
    assert_eq!(granted(&mut bob, "<sip:bob@192.0.2.1>", Some("90")), 90);
    assert_eq!(granted(&mut bob, "<sip:bob@192.0.2.1>;expires=100", Some("90")), 100);
    assert_eq!(granted(&mut bob, "<sip:bob@192.0.2.1>", Some("4294967295")), 7200);
    assert_eq!(granted(&mut bob, "<sip:bob@192.0.2.1>", Some("99999999999999999999")), 7200);
    assert!(granted(&mut bob, "<sip:bob@192.0.2.1>", Some("soon")) >= 1800);
    assert!(granted(&mut bob, "<sip:bob@192.0.2.1>;expires=soon", None) >= 1800);
}

#[test]
fn a_too_short_expiry_gets_423() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    // checklist 16
    let brief = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 59);
    let refused = bob.ask(brief);
    assert_eq!((refused.status(), refused.header("Min-Expires")), (Some(423), "60"));
    // checklist 21: one invalid Contact makes the whole request fail.
    let mixed = bob.register(Some("<sip:bob@192.0.2.1>;expires=600, <sip:bob@192.0.2.2>;expires=5"));
    assert_eq!(bob.ask(mixed).status(), Some(423));
    assert!(bob.bindings().is_empty());
}

#[test]
fn a_binding_expires_after_its_interval() {
    let server = Server::start(&format!("{OPEN}registrar: {{ min_expires: 1s }}\n"));
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some("<sip:bob@192.0.2.1>;expires=2, <sip:bob@192.0.2.2>;expires=600"));
    assert_eq!(bob.ask(register).list("Contact").len(), 2);
    std::thread::sleep(Duration::from_millis(2_300));
    assert_eq!(uris(&bob.bindings()), ["sip:bob@192.0.2.2"]);
}

#[test]
fn an_out_of_order_request_changes_nothing() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let old = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 0);
    let new = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 600);
    let add = bob.register(Some("<sip:bob@192.0.2.2>, <sip:bob@192.0.2.1>")).set("CSeq", new.header("CSeq"));
    let star = bob.register(Some("*")).with("Expires", 0).set("CSeq", new.header("CSeq"));
    assert_eq!(bob.ask(new).status(), Some(200));
    // checklist 13, 19: same Call-ID, CSeq not higher.
    for late in [old, add, star] {
        let refused = bob.ask(late);
        assert!(refused.status() >= Some(400), "a request out of order went through:\n{refused}");
    }
    // checklist 3, 21
    assert_eq!(uris(&bob.bindings()), ["sip:bob@192.0.2.1"]);
}

#[test]
fn a_retransmission_gets_the_same_response() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 600);
    let register = bob.stamp(register);
    // checklist 26
    for _ in 0..3 {
        bob.send(register.clone());
        let ok = bob.next_any(crate::harness::PATIENCE).expect("an answer to each copy");
        assert_eq!((ok.status(), ok.list("Contact").len()), (Some(200), 1), "{ok}");
    }
}

#[test]
fn another_call_id_replaces_a_binding() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let first = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 600).set("CSeq", "700 REGISTER");
    assert_eq!(bob.ask(first).status(), Some(200));
    // checklist 18: after a restart a phone has a new Call-ID and begins with CSeq 1.
    let again = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 900);
    let ok = bob.ask(again.set("Call-ID", "after-the-restart").set("CSeq", "1 REGISTER"));
    let contacts = ok.list("Contact");
    assert_eq!((contacts.len(), seconds(contacts[0])), (1, 900), "{ok}");
}

#[test]
fn contacts_are_compared_as_uris() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let first = bob.register(Some("<sip:bob@phone.example.net>")).with("Expires", 600);
    bob.ask(first);
    // checklist 17
    let same = bob.register(Some("<sip:%62ob@PHONE.example.net>")).with("Expires", 900);
    assert_eq!(bob.ask(same).list("Contact").len(), 1);
    let other = bob.register(Some("<sip:bob@phone.example.net:5060>")).with("Expires", 900);
    assert_eq!(bob.ask(other).list("Contact").len(), 2);
}

#[test]
fn the_address_of_record_is_normalised() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    // checklist 10
    let register = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 600);
    let ok = bob.ask(register.set("To", "<sip:%62ob@OFFICE.Example;user=ip>"));
    assert_eq!(ok.status(), Some(200), "{ok}");
    assert_eq!(uris(&bob.bindings()), ["sip:bob@192.0.2.1"]);
    assert!(Phone::udp("Bob", server.address()).bindings().is_empty(), "user names are case-sensitive");
}

#[test]
fn domains_are_separate_and_our_addresses_mean_the_first() {
    let config = "domains: [office.example, shop.example]\naliases: [sip.office.example]\nauthentication: off\n";
    let server = Server::start(config);
    Phone::udp("bob", server.address()).registered();
    assert_eq!(Phone::udp("bob", server.address()).of("sip.office.example").bindings().len(), 1);
    assert_eq!(Phone::udp("bob", server.address()).of(&server.ip().to_string()).bindings().len(), 1);
    assert!(Phone::udp("bob", server.address()).of("shop.example").bindings().is_empty());
}

#[test]
fn invalid_contacts_are_refused() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    // checklist 9
    let elsewhere = bob.register(Some("<sip:bob@192.0.2.1>")).set("To", "<sip:bob@elsewhere.example>");
    assert_eq!(bob.ask(elsewhere).status(), Some(404));
    // checklist 5: the Request-URI is not ours, and other domains are not served.
    let mut foreign = Phone::udp("bob", server.address()).of("elsewhere.example");
    let register = foreign.register(Some("<sip:bob@192.0.2.1>"));
    assert_eq!(foreign.ask(register).status(), Some(403));
    // checklist 29
    let own = bob.register(Some("<sip:bob@office.example>"));
    assert_eq!(bob.ask(own).status(), Some(403));
    // checklist 6
    let required = bob.register(Some("<sip:bob@192.0.2.1>")).with("Require", "teleportation");
    let refused = bob.ask(required);
    assert_eq!((refused.status(), refused.header("Unsupported")), (Some(420), "teleportation"));
    assert!(bob.bindings().is_empty());
}

#[test]
fn too_many_contacts_are_refused_as_a_whole() {
    let server = Server::start(&format!("{OPEN}registrar: {{ max_contacts: 2 }}\n"));
    let mut bob = Phone::udp("bob", server.address()).registered();
    // checklist 28
    let three = bob.register(Some("<sip:bob@192.0.2.1>, <sip:bob@192.0.2.2>")).with("Expires", 600);
    let refused = bob.ask(three);
    assert!(matches!(refused.status(), Some(403 | 503)), "{refused}");
    assert_eq!(bob.bindings().len(), 1);
    let two = bob.register(Some("<sip:bob@192.0.2.1>")).with("Expires", 600);
    assert_eq!(bob.ask(two).list("Contact").len(), 2);
}

#[test]
fn a_record_route_is_ignored_and_other_schemes_are_kept() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    // checklist 2, 27
    let register = bob.register(Some("<tel:+4989123>")).with("Record-Route", "<sip:192.0.2.9;lr>");
    let ok = bob.ask(register);
    assert!(ok.find("Record-Route").is_none(), "{ok}");
    assert_eq!(uri(ok.header("Contact")), "tel:+4989123");
}
