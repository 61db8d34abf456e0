//! Validation of requests: RFC 3261 16.3, and who may send what to whom.

use proxy::{Authentication, Drop, Event, Foreign, Strangers};

use sim::{Agent, Simulation, Sip};

fn setup() -> (Simulation, Agent, Agent) {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    (sim, alice, bob)
}

fn options(alice: &Agent) -> Sip {
    alice.request("OPTIONS", "sip:bob@office.example")
}

#[test]
fn a_400_names_the_invalid_header() {
    // checklist 34
    let (_sim, alice, bob) = setup();
    for (header, value) in [
        ("From", "<sip:alice@office.example"),
        ("To", "\"bob <sip:bob@office.example>"),
        ("CSeq", "1"),
        ("CSeq", "4294967296 OPTIONS"),
        ("CSeq", "1 MESSAGE"),
        ("Max-Forwards", "many"),
        ("Max-Forwards", "256"),
        ("Content-Length", "soon"),
        ("Content-Length", "100"),
        ("Via", "SIP/2.0/UDP 192.0.2.11:99999;branch=z9hG4bK-bad"),
    ] {
        alice.sends(&options(&alice).set(header, value));
        let refused = alice.expects("400");
        assert!(refused.reason().contains(header), "{header}: {value} -> {}", refused.start);
    }
    alice.sends(&options(&alice).with("CSeq", "2 OPTIONS"));
    assert!(alice.expects("400").reason().contains("CSeq"));
    for (route, what) in [
        ("sip:office.example;lr", "no angle brackets"),
        ("<sip:office.example;lr", "unterminated angle bracket"),
        ("<sip:office.example:x;lr>", "port out of range"),
        ("<tel:5>", "not a SIP URI"),
    ] {
        alice.sends(&options(&alice).with("Route", route));
        let refused = alice.expects("400");
        assert!(refused.reason().starts_with(&format!("Bad Route: {what}")), "{route} -> {}", refused.start);
    }
    for header in ["From", "To", "Call-ID", "CSeq"] {
        alice.sends(&options(&alice).without(header));
        assert_eq!(alice.expects("400").reason(), format!("Missing {header}"));
    }
    assert_eq!(bob.all_received(), []);
}

#[test]
fn a_request_that_cannot_be_answered_is_dropped_and_counted() {
    // checklist 34
    let (sim, alice, bob) = setup();
    alice.sends(&options(&alice).without("Via"));
    alice.sends_raw("\r\n\r\n");
    alice.sends_raw(vec![0xff; 700]);
    alice.sends(&alice.request("ACK", "sip:bob@office.example").set("CSeq", "1"));
    alice.receives_nothing();
    bob.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, Event::Dropped(Drop::Unanswerable))), 1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Dropped(Drop::Garbage))), 2);
    assert_eq!(sim.count_events(|event| matches!(event, Event::ParseError { answered: false, .. })), 4);
}

#[test]
fn unknown_methods_and_headers_are_forwarded() {
    // checklist 34
    let (_sim, alice, bob) = setup();
    alice.sends(&alice.request("DANCE", "sip:bob@office.example").with("X-Steps", "1 2 3"));
    let received = bob.expects("DANCE");
    assert_eq!(received.value("X-Steps"), "1 2 3");
    bob.answers(&received, 299);
    alice.expects("299");
}

#[test]
fn unsupported_schemes_and_versions_are_refused() {
    // checklist 35
    let (_sim, alice, _bob) = setup();
    alice.sends(&alice.request("OPTIONS", "tel:+4930123456"));
    alice.expects("416");
    alice.sends(&alice.request("OPTIONS", "sip:bob@office.example:port"));
    alice.expects("400");
    let old = options(&alice).to_string().replacen("SIP/2.0\r\n", "SIP/3.0\r\n", 1);
    alice.sends_raw(old);
    alice.expects("505");
}

#[test]
fn an_unsupported_proxy_require_gets_420() {
    // checklist 38
    let (_sim, alice, bob) = setup();
    alice.sends(&options(&alice).with("Proxy-Require", "teleport, levitation"));
    let refused = alice.expects("420");
    assert_eq!(refused.values("Unsupported").collect::<Vec<_>>(), ["teleport, levitation"]);
    // Require is for the phone and not checked by a proxy.
    alice.sends(&options(&alice).with("Require", "teleport"));
    bob.expects("OPTIONS");
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    alice.sends(&alice.cancel(&invite).with("Proxy-Require", "teleport"));
    bob.expects("CANCEL");
    bob.answers(&received, 487);
    let terminated = alice.expects("487");
    alice.acks(&invite, &terminated);
}

#[test]
fn the_server_itself_answers_options_only() {
    // checklist 36
    let (_sim, alice, _bob) = setup();
    alice.sends(&alice.request("OPTIONS", "sip:office.example"));
    let ok = alice.expects("200");
    assert!(ok.value("Allow").contains("OPTIONS") && ok.has("Accept") && ok.has("Supported"), "{ok}");
    alice.sends(&alice.request("OPTIONS", "sip:192.0.2.1:5060").with("Require", "teleport"));
    alice.expects("420");
    alice.sends(&alice.request("MESSAGE", "sip:office.example"));
    alice.expects("404");
}

#[test]
fn strangers_are_refused_unless_allowed_or_trusted() {
    // checklist 39
    let (sim, alice, bob) = setup();
    let stranger = |uri: &str| alice.request("MESSAGE", uri).set("From", "<sip:x@elsewhere.example>;tag=1");
    alice.sends(&stranger("sip:bob@office.example"));
    alice.expects("403");
    sim.reconfigure(|settings| settings.trusted = vec!["192.0.2.11/32".parse().unwrap()]);
    alice.sends(&stranger("sip:bob@office.example"));
    bob.expects("MESSAGE");
    // Trusted sources may call local users, not other domains.
    alice.sends(&stranger("sip:x@198.51.100.9"));
    alice.expects("403");
    sim.reconfigure(|settings| {
        settings.trusted = Vec::new();
        settings.strangers = Strangers::Accept;
    });
    alice.sends(&stranger("sip:bob@office.example"));
    bob.expects("MESSAGE");
    alice.sends(&stranger("sip:x@198.51.100.9"));
    alice.expects("403");
}

#[test]
fn nothing_is_relayed_for_unauthenticated_senders() {
    // checklist 5, 43
    let (sim, alice, _bob) = setup();
    alice.sends(&alice.request("MESSAGE", "sip:x@198.51.100.9"));
    alice.expects("403");
    alice.sends(&alice.request("REGISTER", "sip:198.51.100.9").set("To", "<sip:alice@office.example>"));
    alice.expects("403");
    alice.sends(&options(&alice).with("Route", "<sip:198.51.100.9;lr>"));
    alice.expects("403");
    // Calling other domains requires credentials, which none of these requests has.
    sim.reconfigure(|settings| settings.foreign = Foreign::Authenticated);
    alice.sends(&alice.request("MESSAGE", "sip:x@198.51.100.9"));
    alice.expects("403");
    sim.reconfigure(|settings| settings.authentication = Authentication::Required);
    alice.sends(&alice.request("MESSAGE", "sip:x@198.51.100.9"));
    alice.expects("407");
}

#[test]
fn a_response_goes_where_via_and_source_say() {
    // checklist 30, 110, 111, 112
    let (sim, alice, _bob) = setup();
    let probe = alice.request("OPTIONS", "sip:office.example");
    let send = |via: &str| {
        alice.sends(&probe.clone().set("Via", format_args!("SIP/2.0/UDP {via};branch=z9hG4bK-{}", via.len())));
        alice.expects("200").value("Via").to_owned()
    };
    assert!(!send("192.0.2.11:5060").contains("received"));
    let stamped = send("192.0.2.11:5060;rport");
    assert!(stamped.contains(";rport=5060") && stamped.contains(";received=192.0.2.11"), "{stamped}");
    assert!(send("phone.example").contains(";received=192.0.2.11"));
    assert!(send("10.1.1.1:5070").contains(";received=192.0.2.11"));
    // Without rport, the port is the one in the Via.
    let other = sim.udp("other");
    other.sends_from("192.0.2.11:6000".parse().unwrap());
    alice.sends(&probe.clone().set("Via", "SIP/2.0/UDP 192.0.2.11:6000;branch=z9hG4bK-x"));
    other.expects("200");
}

#[test]
fn a_request_from_port_0_gets_no_response() {
    let (sim, alice, _bob) = setup();
    alice.sends_from("192.0.2.11:0".parse().unwrap());
    alice.sends(&options(&alice));
    sim.millis(50);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Dropped(Drop::Source))), 1);
}

#[test]
fn a_request_without_content_length_gets_one_over_a_stream() {
    // checklist 57
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.registers();
    alice.sends(&options(&alice).with_body("hello").without("Content-Length"));
    let received = bob.expects("OPTIONS");
    assert_eq!((received.value("Content-Length"), &*received.body), ("5", "hello"));
}

#[test]
fn an_ipv6_domain_without_brackets_is_refused() {
    // RFC 3261 25.1 `IPv6reference`. The configuration has it without brackets.
    let sim = Simulation::with(|settings| settings.domains = vec!["2001:db8::1".into()]);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let of_bob = |sip: Sip| sip.set("To", "<sip:bob@[2001:db8::1]>").set("From", "<sip:bob@[2001:db8::1]>;tag=1");
    bob.sends(&of_bob(bob.register()).to("sip:[2001:db8::1]"));
    bob.expects("200");
    alice.sends(&of_bob(alice.request("MESSAGE", "sip:bob@2001:db8::1")));
    alice.expects("400");
}
