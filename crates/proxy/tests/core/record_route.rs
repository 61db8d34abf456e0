//! Record-Route, and strict routers: RFC 3261 16.4, 16.6 steps 4 and 6, 16.12.

use proxy::Strangers;
use sim::{Agent, Simulation, Sip, uri_in};

use crate::accounts::{BOB, add_accounts};

/// A call up to its ACK. Returns the INVITE as sent, as received, and the 200 that the caller received.
fn call(alice: &Agent, bob: &Agent) -> (Sip, Sip, Sip) {
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    assert!(!bob.expects("ACK").has("Route"));
    (invite, received, ok)
}

/// A Record-Route value of our server.
fn own_route(alice: &Agent, bob: &Agent) -> (Sip, Sip, String) {
    let (invite, _, ok) = call(alice, bob);
    let route = ok.value("Record-Route").to_owned();
    (invite, ok, route)
}

#[test]
fn one_record_route_is_added_if_both_sides_can_use_it() {
    // checklist 42, 50
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let (invite, received, ok) = call(&alice, &bob);
    let [route] = received.values("Record-Route").collect::<Vec<_>>()[..] else { panic!("{received}") };
    assert!(route.starts_with("<sip:") && route.ends_with("@192.0.2.1:5060;lr>"), "{route}");
    // The 200 has the same value, with a signature for the tag of bob.
    let (token, own) = route.split_once('@').unwrap();
    let marked = ok.value("Record-Route");
    assert!(marked.starts_with(&format!("{token}.")) && marked.ends_with(&format!("@{own}")), "{marked}");
    for (method, number) in [("INFO", "50"), ("UPDATE", "51"), ("INVITE", "52"), ("BYE", "53")] {
        alice.sends(&alice.within(&invite, &ok, method).set("CSeq", format_args!("{number} {method}")));
        let received = bob.expects(method);
        assert_eq!(received.uri(), bob.contact());
        assert!(!received.has("Route") && !received.has("Record-Route"), "{received}");
        bob.answers(&received, 200);
        alice.expects("200");
    }
}

#[test]
fn only_requests_that_create_a_dialog_get_a_record_route() {
    // checklist 50
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    for (method, recorded) in [("MESSAGE", false), ("OPTIONS", false), ("SUBSCRIBE", true), ("REFER", true)] {
        alice.sends(&alice.request(method, "sip:bob@office.example"));
        assert_eq!(bob.expects(method).has("Record-Route"), recorded, "{method}");
    }
}

#[test]
fn two_record_routes_are_added_if_the_transport_changes() {
    // checklist 42, 51, 73
    for (alice_on_tcp, first, second) in [(false, ";transport=tcp", ""), (true, "", ";transport=tcp")] {
        let sim = Simulation::new();
        let (alice, bob) = match alice_on_tcp {
            false => (sim.udp("alice"), sim.tcp("bob")),
            true => (sim.tcp("alice"), sim.udp("bob")),
        };
        bob.registers();
        let (invite, received, ok) = call(&alice, &bob);
        let routes: Vec<_> = received.values("Record-Route").collect();
        assert_eq!(routes.len(), 2, "{received}");
        for (route, transport) in routes.iter().zip([first, second]) {
            assert!(route.ends_with(&format!("@192.0.2.1:5060{transport};lr>")), "{routes:?}");
        }
        // From both sides, both values are removed.
        let info = alice.within(&invite, &ok, "INFO");
        assert_eq!(info.values("Route").count(), 2);
        alice.sends(&info);
        let info = bob.expects("INFO");
        assert!(!info.has("Route"));
        bob.answers(&info, 200);
        alice.expects("200");
        bob.sends(&bob.within_as_callee(&invite, &ok, "BYE"));
        let bye = alice.expects("BYE");
        assert!(!bye.has("Route"));
        assert_eq!(bye.uri(), alice.contact());
        alice.answers(&bye, 200);
        bob.expects("200");
    }
}

#[test]
fn the_advertised_name_is_in_via_and_record_route() {
    // checklist 50, 108
    let sim = Simulation::with(|settings| settings.advertise = Some("proxy.office.example".into()));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let (invite, received, ok) = call(&alice, &bob);
    assert!(received.value("Via").starts_with("SIP/2.0/UDP proxy.office.example:5060;branch="), "{received}");
    assert!(received.value("Record-Route").ends_with("@proxy.office.example:5060;lr>"), "{received}");
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.expects("BYE");
}

#[test]
fn a_route_that_we_did_not_create_is_refused() {
    // checklist 42
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let (invite, ok, route) = own_route(&alice, &bob);
    let forged = "<sip:0123456789abcdef@192.0.2.1:5060;lr>";
    alice.sends(&alice.within(&invite, &ok, "BYE").set("Route", forged));
    alice.expects("403");
    alice.sends(&alice.within(&invite, &ok, "BYE").set("Call-ID", "another"));
    alice.expects("403");
    alice.sends(&alice.within(&invite, &ok, "ACK").set("Route", forged));
    alice.receives_nothing();
    // Our Route alone does not permit relaying: without a To tag there is no dialog.
    let outside = alice.request("MESSAGE", "sip:x@198.51.100.9").set("Call-ID", invite.value("Call-ID"));
    alice.sends(&outside.with("Route", &route));
    alice.expects("403");
    assert_eq!(bob.all_received(), []);
}

#[test]
fn a_preconfigured_outbound_proxy_route_is_ignored() {
    // checklist 42
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    for own in ["<sip:192.0.2.1;lr>", "<sip:192.0.2.1:5060;transport=udp;lr>", "<sip:office.example;lr>"] {
        alice.sends(&alice.request("OPTIONS", "sip:bob@office.example").with("Route", own));
        let received = bob.expects("OPTIONS");
        assert!(!received.has("Route"), "{received}");
        assert_eq!(received.uri(), bob.contact());
    }
}

#[test]
fn only_our_value_is_removed_from_a_route_line() {
    // checklist 42, 53
    let sim = Simulation::new();
    let (alice, bob, next) = (sim.udp("alice"), sim.udp("bob"), sim.udp("next"));
    bob.registers();
    // Two proxies between us and bob add Record-Routes.
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let onward = format!("<sip:{};lr>", next.address);
    let ok = bob
        .answer(&received, 200)
        .with_first("Record-Route", &onward)
        .with_first("Record-Route", "<sip:p9.example;lr>");
    bob.sends(&ok);
    let ok = alice.expects("200");
    let route = ok.values("Record-Route").last().unwrap().to_owned();
    alice.sends(
        &alice
            .within(&invite, &ok, "INFO")
            .without("Route")
            .with("Route", format_args!("{route}, {onward} , <sip:p9.example;lr>")),
    );
    let received = next.expects("INFO");
    assert_eq!(received.value("Route"), format!("{onward} , <sip:p9.example;lr>"));
    assert_eq!(received.uri(), bob.contact());
    assert_eq!(bob.all_received(), []);
}

/// A call that came through other proxies, the last one first, up to its ACK. Returns the INVITE and its 200.
fn call_through(alice: &Agent, bob: &Agent, proxies: &[&str]) -> (Sip, Sip) {
    let invite = alice.request("INVITE", "sip:bob@office.example").set("Contact", "<sip:caller@u1.example.com>");
    let invite = proxies.iter().fold(invite, |invite, proxy| invite.with("Record-Route", proxy));
    alice.sends(&invite);
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    (invite, ok)
}

#[test]
fn the_example_of_the_strict_router_as_p4() {
    // checklist 52, 87: RFC 3261 16.12.1.2, from the BYE of U2 on.
    let sim = Simulation::new();
    let (alice, bob, p3) = (sim.udp("alice"), sim.udp("bob"), sim.udp("p3"));
    sim.dns("p3.middle.com", &[p3.address]);
    bob.registers();
    let proxies = ["<sip:p3.middle.com>", "<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"];
    let (invite, ok) = call_through(&alice, &bob, &proxies);
    bob.sends(&bob.within_as_callee(&invite, &ok, "BYE"));
    let received = p3.expects("BYE");
    assert_eq!(received.start, "BYE sip:p3.middle.com SIP/2.0");
    let routes = ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>", "<sip:caller@u1.example.com>"];
    assert_eq!(received.values("Route").collect::<Vec<_>>(), routes);
}

#[test]
fn the_example_of_the_strict_router_as_p2() {
    // checklist 40, 87: RFC 3261 16.12.1.2, what P3 sends to P2.
    let sim = Simulation::new();
    let (alice, bob, p1) = (sim.udp("alice"), sim.udp("bob"), sim.udp("p1"));
    sim.dns("p1.example.com", &[p1.address]);
    bob.registers();
    let (invite, ok) = call_through(&alice, &bob, &["<sip:p1.example.com;lr>"]);
    let p2 = ok.value("Record-Route").to_owned();
    let bye = bob
        .within_as_callee(&invite, &ok, "BYE")
        .to(uri_in(&p2))
        .without("Route")
        .with("Route", "<sip:p1.example.com;lr>")
        .with("Route", "<sip:caller@u1.example.com>");
    bob.sends(&bye);
    let received = p1.expects("BYE");
    let mut vias = received.values("Via");
    let expected = bye
        .to("sip:caller@u1.example.com")
        .without("Route")
        .with("Route", "<sip:p1.example.com;lr>")
        .set("Max-Forwards", 69);
    let (ours, below) = (vias.next().unwrap(), vias.next().unwrap());
    let expected = expected.set("Via", below).with_first("Via", ours).with("Max-Breadth", 60);
    assert_eq!(received, expected, "octet by octet");
}

#[test]
fn a_strict_router_before_the_last_hop() {
    // checklist 40
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let (invite, ok, route) = own_route(&alice, &bob);
    let bye = alice.within(&invite, &ok, "BYE").to(uri_in(&route));
    alice.sends(&bye.set("Route", format_args!("<{}>", bob.contact())));
    let received = bob.expects("BYE");
    assert_eq!(received.uri(), bob.contact());
    assert!(!received.has("Route"), "{received}");
}

#[test]
fn a_path_precedes_all_routes_and_may_be_strict() {
    // checklist 52, 147
    let sim = Simulation::new();
    let (alice, bob, edge) = (sim.udp("alice"), sim.udp("bob"), sim.udp("edge"));
    let paths = [format!("<sip:{};lr>", edge.address), "<sip:inner.example;lr>".to_owned()];
    bob.sends(&bob.register().with("Path", &paths[0]).with("Path", &paths[1]));
    bob.expects("200");
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example"));
    let received = edge.expects("OPTIONS");
    assert_eq!(received.values("Route").collect::<Vec<_>>().join(", ").replace(",<", ", <"), paths.join(", "));
    assert_eq!(received.uri(), bob.contact());

    let strict = format!("<sip:{}>", edge.address);
    bob.sends(&bob.register().with("Path", &strict).with("Path", &paths[1]));
    bob.expects("200");
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example"));
    let received = edge.expects("OPTIONS");
    assert_eq!(received.uri(), uri_in(&strict));
    let routes = [paths[1].clone(), format!("<{}>", bob.contact())];
    assert_eq!(received.values("Route").collect::<Vec<_>>(), routes);
}

#[test]
fn our_maddr_is_removed() {
    // checklist 41, 44
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example;maddr=192.0.2.1"));
    bob.expects("OPTIONS");
    // In a dialog, to a name of another domain: the name decides.
    let far = sim.udp("far");
    sim.dns("far.example", &[far.address]);
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.sends(&bob.answer(&received, 200).set("Contact", "<sip:x@far.example>"));
    let ok = alice.expects("200");
    alice.sends(&alice.within(&invite, &ok, "INFO").to("sip:x@far.example;maddr=192.0.2.1;transport=udp"));
    let received = far.expects("INFO");
    assert_eq!(received.uri(), "sip:x@far.example");
}

#[test]
fn the_request_uri_of_a_binding_has_only_allowed_parts() {
    // checklist 48
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let contact = format!("<sip:bob@{};line=1;method=INVITE?Subject=hi>", bob.address);
    bob.sends(&bob.register().set("Contact", contact));
    bob.expects("200");
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example"));
    assert_eq!(bob.expects("OPTIONS").uri(), format!("sip:bob@{};line=1", bob.address));
}

/// An address where no agent is, as in the Contact of a phone behind a NAT or firewall.
const INSIDE: &str = "10.9.9.9:5060";

/// The message with this address in the Contact and the Via.
fn from_inside(phone: &Agent, sip: Sip, transport: &str) -> Sip {
    let token = if transport.is_empty() { "UDP" } else { "TCP" };
    let branch = sip.branch().to_owned();
    let sip = sip.set("Contact", format_args!("<sip:{}@{INSIDE}{transport}>", phone.user()));
    if sip.is_request() { sip.set("Via", format_args!("SIP/2.0/{token} {INSIDE};branch={branch};rport")) } else { sip }
}

#[test]
fn a_phone_reachable_only_by_its_flow_is_reached_within_dialogs() {
    // checklist 142: in both directions, over UDP through a NAT and over a connection of the phone.
    for (on_tcp, transport) in [(false, ""), (true, ";transport=tcp")] {
        let sim = Simulation::new();
        let alice = sim.udp("alice");
        let bob = if on_tcp { sim.tcp("bob") } else { sim.udp("bob") };
        bob.sends(&from_inside(&bob, bob.register(), transport));
        bob.expects("200");

        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        assert_eq!(received.values("Record-Route").count(), if on_tcp { 2 } else { 1 }, "{received}");
        bob.sends(&from_inside(&bob, bob.answer(&received, 200), transport));
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        bob.expects("ACK");
        alice.sends(&alice.within(&invite, &ok, "BYE"));
        let bye = bob.expects("BYE");
        assert!(bye.uri().contains(INSIDE) && !bye.has("Route"), "{bye}");
        bob.answers(&bye, 200);
        alice.expects("200");

        // Now bob calls, and alice sends the BYE.
        alice.registers();
        let invite = from_inside(&bob, bob.request("INVITE", "sip:alice@office.example"), transport);
        bob.sends(&invite);
        let received = alice.expects("INVITE");
        alice.answers(&received, 200);
        let ok = bob.expects("200");
        bob.acks(&invite, &ok);
        alice.expects("ACK");
        alice.sends(&alice.within_as_callee(&invite, &ok, "BYE"));
        let bye = bob.expects("BYE");
        bob.answers(&bye, 200);
        alice.expects("200");
    }
}

#[test]
fn a_flow_cannot_be_forged_into_a_token() {
    // checklist 140, 141, 142
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.sends(&from_inside(&bob, bob.register(), ""));
    bob.expects("200");
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.sends(&from_inside(&bob, bob.answer(&received, 200), ""));
    let ok = alice.expects("200");
    let bye = alice.within(&invite, &ok, "BYE");
    let route = bye.value("Route").to_owned();
    // The token with another octet in its address.
    let (token, rest) = route.split_once('@').unwrap_or_default();
    for at in "<sip:".len()..token.len() {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{other}{}@{rest}", &token[..at], &token[at + 1..]);
        alice.sends(&bye.clone().set("Via", alice.via()).set("Route", forged));
        alice.expects("403");
    }
    alice.sends(&bye.set("Via", alice.via()));
    bob.expects("BYE");
}

#[test]
fn record_route_values_on_one_line_are_read_as_on_two() {
    // RFC 3261 7.3.1
    for lines in [
        &["\"P1\" <sip:p1.carrier.example;lr>", "<sip:p2.carrier.example;lr>"][..],
        &["<sip:p1.carrier.example;lr>, <sip:p2.carrier.example;lr>"],
        &["\"P1\" <sip:p1.carrier.example;lr>, <sip:p2.carrier.example;lr>"],
    ] {
        let sim = Simulation::with(|settings| {
            add_accounts(settings, &[BOB]);
            settings.strangers = Strangers::Accept;
        });
        sim.skip_final_check();
        let (p1, bob) = (sim.udp("p1"), sim.udp("bob"));
        sim.dns("p1.carrier.example", &[p1.address]);
        bob.signs_in(BOB);
        let invite = p1.request("INVITE", "sip:bob@office.example").set("From", "<sip:x@carrier.example>;tag=x");
        let invite = invite.set("Contact", "<sip:x@x.carrier.example>");
        let invite = lines.iter().fold(invite, |invite, line| invite.with("Record-Route", line));
        p1.sends(&invite);
        let received = bob.expects("INVITE");
        let answer = bob.answers(&received, 200);
        p1.expects("200");
        bob.sends(&bob.within_as_callee(&received, &answer, "BYE"));
        p1.expects("BYE");
    }
}
