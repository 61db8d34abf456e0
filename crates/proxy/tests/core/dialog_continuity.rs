//! What a dialog of honest phones survives: a restart, another address, another Contact, escapes, spirals.

use proxy::Strangers;

use sim::{Agent, Simulation};

use crate::dialog_peers::{call, picks_up, refused, secured};

use crate::accounts::{ALICE, BOB, add_accounts};

#[test]
fn a_call_goes_on_at_another_core_with_the_same_keys() {
    // As after a restart: the core knows nothing of the call except what the messages contain.
    for (alice_on_tcp, bob_on_tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let sim = Simulation::with_workers(2, secured);
        let phone = |name, on_tcp| if on_tcp { sim.tcp(name) } else { sim.udp(name) };
        let (alice, bob) = (phone("alice", alice_on_tcp), phone("bob", bob_on_tcp));
        let (invite, ok) = call(&alice, &bob);
        alice.reaches_worker(1);
        bob.reaches_worker(1);
        for (sender, other, request) in [
            (&alice, &bob, alice.within(&invite, &ok, "INFO")),
            (&bob, &alice, bob.within_as_callee(&invite, &ok, "INFO")),
            (&bob, &alice, bob.within_as_callee(&invite, &ok, "BYE")),
        ] {
            sender.sends(&request);
            let came = other.expects(request.what());
            other.answers(&came, 200);
            sender.expects("200");
        }
        assert_eq!(refused(&sim), 0);
    }
}

#[test]
fn a_side_whose_nat_address_changed_authenticates_once() {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    alice.sends_from("198.51.100.7:1026".parse().unwrap());
    let (invite, ok) = call(&alice, &bob);
    alice.sends_from("198.51.100.7:2052".parse().unwrap());
    let again = alice.authenticates(ALICE, &alice.within(&invite, &ok, "INVITE"));
    let ok_again = picks_up(&bob, &alice, &bob.contact());
    // Neither the ACK nor later requests need credentials, and requests of bob reach the new address.
    alice.sends(&alice.within(&invite, &ok, "ACK").set("CSeq", again.value("CSeq").replace("INVITE", "ACK")));
    bob.expects("ACK");
    bob.sends(&bob.within_as_callee(&invite, &ok, "INFO"));
    let info = alice.expects("INFO");
    alice.answers(&info, 200);
    bob.expects("200");
    alice.sends(&alice.within(&invite, &ok_again, "BYE").set("Route", ok.value("Record-Route")));
    bob.expects("BYE");
    assert_eq!(sim.load(0).moved_dialogs, 1);
}

#[test]
fn a_side_that_registered_from_its_new_address_needs_no_credentials() {
    for on_tcp in [false, true] {
        let sim = Simulation::with(secured);
        let alice = if on_tcp { sim.tcp("alice") } else { sim.udp("alice") };
        let bob = sim.udp("bob");
        alice.signs_in(ALICE);
        let (invite, ok) = call(&alice, &bob);
        match on_tcp {
            true => alice.disconnects(),
            false => drop(alice.sends_from("192.0.2.77:5060".parse().unwrap())),
        }
        alice.signs_in(ALICE);
        alice.sends(&alice.within(&invite, &ok, "BYE"));
        let bye = bob.expects("BYE");
        bob.answers(&bye, 200);
        alice.expects("200");
    }
}

#[test]
fn a_route_may_be_returned_with_escapes() {
    // RFC 3261 19.1.4. Twinkle writes each Z of a user part as %5a, in a Route and in the Record-Route of its
    // responses.
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let escaped = |value: &str| {
        let (user, rest) = value.split_once('@').unwrap();
        let octets = user.strip_prefix("<sip:").unwrap().bytes();
        format!("<sip:{}@{rest}", octets.map(|octet| format!("%{octet:02x}")).collect::<String>())
    };
    bob.signs_in(BOB);
    alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    let invite = bob.expects("INVITE");
    let ok = bob.answer(&invite, 200).set("Contact", format_args!("<{}>", bob.contact()));
    bob.sends(&ok.set("Record-Route", escaped(invite.value("Record-Route"))));
    let ok = alice.expects("200");
    for method in ["UPDATE", "BYE"] {
        let request = alice.within(&invite, &ok, method);
        let route = escaped(request.value("Route"));
        alice.sends(&request.set("Route", route));
        let came = bob.expects(method);
        bob.answers(&came, 200);
        alice.expects("200");
    }
}

#[test]
fn a_refreshed_target_is_followed() {
    // RFC 3261 12.2.1.1, RFC 3311 5.1: from both sides, with both methods, at every worker.
    for method in ["INVITE", "UPDATE"] {
        for callee_moves in [true, false] {
            let sim = Simulation::with_workers(2, secured);
            // A private address is a single machine.
            let [alice, bob] = ["alice", "bob"].map(|name| sim.udp(name));
            let (alice, bob) = (alice.at("10.0.0.11:5060".parse().unwrap()), bob.at("10.0.0.12:5060".parse().unwrap()));
            let (invite, ok) = call(&alice, &bob);
            let (mover, stays) = if callee_moves { (&bob, &alice) } else { (&alice, &bob) };
            // Another port of the same host.
            let new = sim.udp("new");
            let moved_to = std::net::SocketAddr::new(mover.address.ip(), 5062);
            new.sends_from(moved_to);
            let within = |agent: &Agent, method: &str| match agent.user() {
                "bob" => agent.within_as_callee(&invite, &ok, method),
                _ => agent.within(&invite, &ok, method),
            };
            let contact = format!("sip:{}@{moved_to}", mover.user());
            mover.sends(&within(mover, method).set("Contact", format_args!("<{contact}>")));
            let came = stays.expects(method);
            assert!(came.value("Contact").contains(&contact));
            stays.answers(&came, 200);
            mover.expects("200");
            stays.reaches_worker(1).sends(&within(stays, "BYE").to(&contact));
            let bye = new.expects("BYE");
            new.answers(&bye, 200);
            stays.expects("200");
        }
    }
}

#[test]
fn a_gateway_may_have_another_host_in_the_contact_of_its_200() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.foreign = proxy::Foreign::Authenticated;
    });
    let (alice, gateway, media) = (sim.udp("alice"), sim.udp("gateway"), sim.udp("media"));
    sim.dns("gw.example", &[gateway.address]);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:5551234@gw.example"));
    let ok = picks_up(&gateway, &alice, &format!("sip:5551234@{}", media.address));
    alice.acks(&invite, &ok);
    media.expects("ACK");
    // A copy of the 200 contains it again.
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    let bye = media.expects("BYE");
    media.answers(&bye, 200);
    alice.expects("200");
}

#[test]
fn a_provider_may_respond_from_another_address_of_its_networks() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.trusted = vec!["192.0.2.14/31".parse().unwrap()];
    });
    let (_alice, bob, _, one, two) = (sim.udp("alice"), sim.udp("bob"), sim.udp("x"), sim.udp("one"), sim.udp("two"));
    assert_eq!(
        (one.address.ip().to_string(), two.address.ip().to_string()),
        ("192.0.2.14".into(), "192.0.2.15".into())
    );
    bob.signs_in(BOB);
    let invite = one.request("INVITE", "sip:bob@office.example").set("From", "<sip:5551234@provider.example>;tag=p1");
    one.sends(&invite);
    let ok = picks_up(&bob, &one, &bob.contact());
    two.sends(&two.within(&invite, &ok, "ACK"));
    bob.expects("ACK");
    // Its Contact may change too, and requests of bob go there.
    two.sends(&two.within(&invite, &ok, "UPDATE"));
    let update = bob.expects("UPDATE");
    bob.answers(&update, 200);
    two.expects("200");
    bob.sends(&bob.within_as_callee(&invite, &ok, "BYE").to(two.contact()));
    let bye = two.expects("BYE");
    two.answers(&bye, 200);
    bob.expects("200");
}

#[test]
fn a_stranger_may_send_bye_from_the_address_it_called_from() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.strangers = Strangers::Accept;
    });
    let bob = sim.udp("bob");
    bob.signs_in(BOB);
    for stranger in [sim.udp("stranger"), sim.tcp("stranger")] {
        let invite =
            stranger.request("INVITE", "sip:bob@office.example").set("From", "<sip:stranger@far.example>;tag=s1");
        stranger.sends(&invite);
        let ok = picks_up(&bob, &stranger, &bob.contact());
        stranger.acks(&invite, &ok);
        bob.expects("ACK");
        // Over TCP a new connection is accepted too, since a stranger has no credentials.
        stranger.disconnects();
        stranger.sends(&stranger.within(&invite, &ok, "BYE"));
        let bye = bob.expects("BYE");
        bob.answers(&bye, 200);
        stranger.expects("200");
    }
}

#[test]
fn a_call_that_passed_the_server_twice_keeps_both_routes() {
    // A spiral: a proxy without Record-Route sends the call back to us for another user.
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.foreign = proxy::Foreign::Authenticated;
        settings.trusted = vec!["192.0.2.13/32".parse().unwrap()];
    });
    let (alice, bob, proxy) = (sim.udp("alice"), sim.udp("bob"), sim.udp("proxy"));
    assert_eq!(proxy.address.ip().to_string(), "192.0.2.13");
    sim.dns("proxy.example", &[proxy.address]);
    bob.signs_in(BOB);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:x@proxy.example"));
    let came = proxy.expects("INVITE");
    proxy.sends(&came.to("sip:bob@office.example").set("Max-Forwards", 60).with_first("Via", proxy.via()));
    let received = bob.expects("INVITE");
    assert_eq!(received.values("Record-Route").count(), 2, "{received}");
    bob.answers(&received, 200);
    let ok = proxy.expects("200");
    proxy.sends(&ok.without_first("Via"));
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    let ack = bob.expects("ACK");
    assert!(!ack.has("Route"), "{ack}");
    bob.sends(&bob.within_as_callee(&invite, &ok, "BYE"));
    let bye = alice.expects("BYE");
    assert!(!bye.has("Route"), "{bye}");
    alice.answers(&bye, 200);
    bob.expects("200");
}

#[test]
fn a_phone_may_accept_a_call_over_a_new_connection() {
    // The server has opened the one that the INVITE came over, and the phone opens one to register again.
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    alice.signs_in(ALICE);
    bob.signs_in(BOB);
    bob.disconnects();
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", &bob.aor()));
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    bob.signs_in(BOB);
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.answers(&bob.expects("BYE"), 200);
    alice.expects("200");
    assert_eq!((sim.calls().len(), refused(&sim)), (0, 0));
}

#[test]
fn the_callee_hangs_up_on_a_caller_without_a_tag() {
    // RFC 3261 12.1.1, 12.2.1.1: a caller of RFC 2543.
    for tag in [";tag=1", ""] {
        let sim = Simulation::with(|settings| {
            add_accounts(settings, &[BOB]);
            settings.strangers = Strangers::Accept;
        });
        let (gateway, bob, mallory) = (sim.udp("gateway"), sim.udp("bob"), sim.udp("mallory"));
        bob.signs_in(BOB);
        let from = format!("<sip:x@carrier.example>{tag}");
        let invite = gateway.request("INVITE", "sip:bob@office.example").set("From", from);
        gateway.sends(&invite);
        let received = bob.expects("INVITE");
        let answer = bob.answers(&received, 200);
        let ok = gateway.expects("200");
        gateway.acks(&invite, &ok);
        bob.expects("ACK");
        let bye = bob.within_as_callee(&received, &answer, "BYE");
        // Whoever has read the call cannot end it.
        mallory.sends(&bye.clone().set("Via", mallory.via()));
        gateway.receives_nothing();
        let _ = mallory.all_received();
        for method in ["INFO", "INVITE"] {
            let request = bob.within_as_callee(&received, &answer, method);
            bob.sends(&request);
            let at_gateway = gateway.expects(method);
            gateway.answers(&at_gateway, 488);
            bob.expects("488");
            if method == "INVITE" {
                bob.acks(&request, &gateway.answer(&at_gateway, 488));
                gateway.expects("ACK");
            }
        }
        bob.sends(&bye);
        let at_gateway = gateway.expects("BYE");
        gateway.answers(&at_gateway, 200);
        bob.expects("200");
    }
}
