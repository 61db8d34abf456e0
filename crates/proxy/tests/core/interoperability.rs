//! What real phones write differently from the RFCs: names of the server without its port, preloaded Routes with a user
//! part, `received` and `rport` of their own, digest parameters.

use std::net::SocketAddr;

use proxy::{AuthenticationFailure, Event, Foreign, Inquiry, Instant, Listener, Now, Settings, Step, Wall, explain};

use sim::{Agent, KEYS, Login, Simulation, Sip, default_settings};

use crate::accounts::{ALICE, add_accounts, aor};

fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE]);
}

#[test]
fn our_address_without_its_port_names_the_first_domain() {
    // A server that listens on 5070 only.
    let mut settings = default_settings();
    let address = SocketAddr::new(settings.listeners[0].address.ip(), 5070);
    settings.listeners.iter_mut().for_each(|listener| *listener = Listener { address, ..*listener });
    let now = Now { mono: Instant::from_micros(0), wall: Wall(0) };
    let first_step = |to: &str| {
        let inquiry = Inquiry { from: Some("sip:alice@office.example"), to, source: address.ip(), at: None };
        explain(&inquiry, &settings, &KEYS, now, |_| None).swap_remove(0)
    };
    let bob = Step::User(aor("bob"));
    for uri in [
        "sip:bob@192.0.2.1",
        "sip:bob@192.0.2.1:5070",
        "sip:bob@192.0.2.1;user=phone",
        "sip:bob@office.example;maddr=192.0.2.1",
    ] {
        assert_eq!(first_step(uri), bob, "{uri}");
    }
    // With another port it is another server.
    for uri in ["sip:bob@192.0.2.1:5060", "sip:bob@192.0.2.1:5080", "sip:bob@192.0.2.2"] {
        assert_eq!(first_step(uri), Step::Elsewhere, "{uri}");
    }
}

#[test]
fn a_preloaded_route_with_a_user_part_is_an_outbound_proxy() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let routes = [
        "<sip:anything@192.0.2.1;lr>",
        "<sip:anything@office.example;lr>",
        "<sip:alice@192.0.2.1:5060;transport=udp;lr>",
        "<sip:0123456789abcdef@sip.office.example;lr=on>",
        "<sip:a@192.0.2.1;lr>, <sip:b@office.example;lr>",
        "<sip:a@192.0.2.1;lr>, <sip:192.0.2.1;lr>, <sip:b@192.0.2.1:5060;lr>, <sip:office.example;lr>",
    ];
    for route in routes {
        for method in ["INVITE", "MESSAGE", "SUBSCRIBE"] {
            alice.sends(&alice.request(method, "sip:bob@office.example").with("Route", route));
            let received = bob.expects(method);
            assert!(!received.has("Route"), "{route}: {received}");
            assert_eq!(received.uri(), bob.contact());
            bob.answers(&received, 486);
            alice.expects("486");
        }
        // It does not permit relaying.
        alice.sends(&alice.request("MESSAGE", "sip:x@198.51.100.9").with("Route", route));
        assert_eq!(alice.expects("403").reason(), "Not relaying to foreign domains", "{route}");
        // With a To tag but no token it is handled like a request outside of a dialog.
        let within = |uri: &str| {
            let request = alice.request("MESSAGE", uri).with("Route", route);
            let to = format!("{};tag=elsewhere", request.value("To"));
            request.set("To", to)
        };
        alice.sends(&within("sip:bob@office.example"));
        assert!(!bob.expects("MESSAGE").has("Route"));
        alice.sends(&within("sip:x@198.51.100.9"));
        alice.expects("403");
    }
    // Several of them in a row are refused, since they could make a loop.
    let many = ["<sip:a@192.0.2.1;lr>"; 6].join(", ");
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example").with("Route", many));
    assert!(alice.next_message().status() >= Some(400));
    sim.skip_final_check();
}

#[test]
fn a_preloaded_route_is_accepted_with_credentials() {
    let sim = Simulation::with(secured);
    let (alice, phone) = (sim.udp("alice"), sim.udp("alice/desk"));
    phone.signs_in(ALICE);
    let routed = || alice.request("MESSAGE", "sip:alice@office.example").with("Route", "<sip:alice@192.0.2.1;lr>");
    alice.authenticates(ALICE, &routed());
    phone.expects("MESSAGE");
    // It permits nothing without credentials.
    alice.sends(&routed());
    alice.expects("407");
    // Nor do those of users who may call other domains.
    sim.reconfigure(|settings| settings.foreign = Foreign::Authenticated);
    let peer = sim.udp("peer");
    let out = alice.request("MESSAGE", &peer.contact()).with("Route", "<sip:alice@192.0.2.1;lr>");
    alice.authenticates(ALICE, &out);
    assert!(!peer.expects("MESSAGE").has("Route"));
}

/// The second Via of what arrived: that of the sender, with our `received` and `rport`.
fn stamped(agent: &Agent, via: &str, to: &Agent) -> String {
    agent.sends(
        &agent
            .request("MESSAGE", &format!("{}@office.example", to.aor().split('@').next().unwrap_or_default()))
            .set("Via", via),
    );
    to.expects("MESSAGE").values("Via").nth(1).unwrap_or_default().to_owned()
}

#[test]
fn received_and_rport_are_the_observed_source() {
    // RFC 3261 18.2.1, RFC 3581 4
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let own = format!("SIP/2.0/UDP {};branch=z9hG4bK1", alice.address);
    for (written, expected) in [
        (";received=198.51.100.9", ";received=192.0.2.11"),
        (";received=198.51.100.9;rport=9", ";rport=5060;received=192.0.2.11"),
        (";rport=9", ";rport=5060;received=192.0.2.11"),
        (";rport=", ";rport=5060;received=192.0.2.11"),
        (";Received=\"x\"", ";received=192.0.2.11"),
        (";received", ";received=192.0.2.11"),
        (";rport;received=198.51.100.9;received=198.51.100.8", ";rport=5060;received=192.0.2.11"),
        ("", ""),
    ] {
        assert_eq!(stamped(&alice, &format!("{own}{written}"), &bob), format!("{own}{expected}"), "{written}");
        // Responses that the server creates have them too.
        alice.sends(&alice.request("OPTIONS", "sip:192.0.2.1").set("Via", format_args!("{own}{written}")));
        assert_eq!(alice.expects("200").value("Via"), format!("{own}{expected}"), "{written}");
    }
    // The values that a client sends do not lead a response anywhere.
    let mallory = sim.udp("mallory");
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bK2;received={};rport=5060", mallory.address, alice.address.ip());
    mallory.sends(&mallory.request("OPTIONS", "sip:192.0.2.1").set("Via", via));
    mallory.expects("200");
    alice.receives_nothing();
}

fn counted(login: Login<'_>, refused: &Sip, request: &Sip, nc: &str) -> String {
    login.answer(refused, "SHA-256", request, 1).replace("nc=00000001", &format!("nc={nc}"))
}

#[test]
fn a_nonce_count_without_eight_digits_is_stale() {
    let sim = Simulation::with(secured);
    let alice = sim.udp("alice");
    alice.sends(&alice.register());
    let mut refused = alice.expects("401");
    for nc in ["1", "0001", "000000001", "0000000x", "\"1\""] {
        let register = alice.register();
        alice.sends(&register.clone().with("Authorization", counted(ALICE, &refused, &register, nc)));
        refused = alice.expects("401");
        assert!(refused.value("WWW-Authenticate").ends_with("stale=true"), "{nc}: {refused}");
    }
    // It does not count as a guess, and right and wrong responses get the same status.
    let wrong = Login { password: "guess", ..ALICE };
    let register = alice.register();
    alice.sends(&register.clone().with("Authorization", counted(wrong, &refused, &register, "1")));
    refused = alice.expects("401");
    assert!(refused.value("WWW-Authenticate").ends_with("stale=true"));
    let failures = |wanted: AuthenticationFailure| {
        sim.count_events(move |event| matches!(event, Event::AuthenticationFailed { reason, .. } if *reason == wanted))
    };
    assert_eq!((failures(AuthenticationFailure::Credentials), failures(AuthenticationFailure::Stale)), (0, 6));
    let register = alice.register();
    alice.sends(&register.clone().with("Authorization", ALICE.answer(&refused, "SHA-256", &register, 1)));
    alice.expects("200");
}

#[test]
fn a_digest_uri_may_contain_another_name_of_the_server() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.domains.push("branch.example".into());
    });
    let alice = sim.udp("alice");
    let names =
        ["sip:192.0.2.1", "sip:192.0.2.1:5060", "sip:sip.office.example", "sip:OFFICE.example.", "sips:office.example"];
    for (uri, status) in names.map(|uri| (uri, "200")).into_iter().chain([
        ("sip:branch.example", "400"),
        ("sip:elsewhere.example", "400"),
        ("sip:192.0.2.1:5099", "400"),
        ("sip:bob@office.example", "400"),
    ]) {
        alice.sends(&alice.register());
        let refused = alice.expects("401");
        let register = alice.register();
        let answer = ALICE.answer(&refused, "SHA-256", &register.clone().to(uri), 1);
        alice.sends(&register.with("Authorization", answer));
        alice.expects(status);
    }
}
