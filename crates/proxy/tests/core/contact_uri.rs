//! A Request-URI that is the Contact of a registered phone leads to that phone, over its flow, for authenticated users:
//! targets of transfers, and phones that keep no route set. It relays nothing to other hosts and reveals nothing to
//! strangers.

use proxy::{Foreign, Settings};

use sim::{Agent, Login, Simulation, Sip, cseq};

use crate::accounts::{ALICE, BOB, CAROL, add_accounts};

fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB, CAROL]);
}

/// Registers a phone of carol behind a NAT, or on TCP with a Contact that cannot be connected to.
fn registers_hidden(carol: &Agent, contact: &str, login: Option<Login<'_>>) {
    let register = carol.register().set("Contact", format_args!("<{contact}>"));
    let register = register.set("Via", carol.via().replace(&carol.address.ip().to_string(), "192.168.1.5"));
    match login {
        Some(login) => {
            carol.sends(&register);
            let refused = carol.expects("401");
            let again = register.set("Via", carol.via().replace(&carol.address.ip().to_string(), "192.168.1.5"));
            let again = again.set("CSeq", "77 REGISTER");
            carol.sends(&again.clone().with("Authorization", login.answer(&refused, "SHA-256", &again, 1)));
        }
        None => carol.sends(&register),
    }
    carol.expects("200");
}

#[test]
fn a_transfer_target_is_called_at_its_contact() {
    let contacts = [
        // The Contact, and the parameters that a call adds to it.
        ("sip:carol@192.168.1.5:5062", ""),
        ("sip:carol@192.168.1.5:5062;line=7", ""),
        ("sip:carol-0x55d0c@192.168.1.5:5062", ""),
        ("sip:a7c93f@192.168.1.5:5062", "<sip:carol@office.example>"),
        ("sip:a7c93f@x.invalid", "<sip:carol@office.example>;x=1"),
    ];
    for on_tcp in [false, true] {
        for (contact, referred_by) in contacts {
            for foreign in [Foreign::Refuse, Foreign::Authenticated] {
                let sim = Simulation::with(|settings| {
                    secured(settings);
                    settings.foreign = foreign;
                });
                let alice = sim.udp("alice");
                let carol = if on_tcp { sim.tcp("carol") } else { sim.udp("carol") };
                carol.sends_from("198.51.100.7:1026".parse().unwrap());
                alice.signs_in(ALICE);
                registers_hidden(&carol, contact, Some(CAROL));
                let mut invite = alice.request("INVITE", contact);
                if !referred_by.is_empty() {
                    invite = invite.with("Referred-By", referred_by);
                }
                let invite = alice.authenticates(ALICE, &invite);
                let received = carol.expects("INVITE");
                assert_eq!(received.uri(), contact);
                carol.sends(&carol.answer(&received, 200).set("Contact", format_args!("<{contact}>")));
                let ok = alice.expects("200");
                alice.acks(&invite, &ok);
                carol.expects("ACK");
                alice.sends(&alice.within(&invite, &ok, "BYE"));
                let bye = carol.expects("BYE");
                carol.answers(&bye, 200);
                alice.expects("200");
            }
        }
    }
}

#[test]
fn without_authentication_a_bye_without_a_route_set_is_forwarded() {
    // RFC 3261 12.1 requires a route set. Some phones keep none and send everything to their server.
    for contact in ["sip:carol@192.168.1.5:5062", "sip:a7c93f@192.168.1.5:5062"] {
        let sim = Simulation::new();
        let (alice, carol) = (sim.udp("alice"), sim.udp("carol"));
        carol.sends_from("198.51.100.7:1026".parse().unwrap());
        alice.registers();
        registers_hidden(&carol, contact, None);
        let invite = alice.calls("carol");
        let received = carol.expects("INVITE");
        carol.sends(&carol.answer(&received, 200).set("Contact", format_args!("<{contact}>")));
        let ok = alice.expects("200");
        let ack = alice.within(&invite, &ok, "ACK").without("Route").set("CSeq", cseq(&invite, 0, "ACK"));
        alice.sends(&ack);
        assert_eq!(carol.expects("ACK").uri(), contact);
        alice.sends(&alice.within(&invite, &ok, "BYE").without("Route"));
        let bye = carol.expects("BYE");
        carol.answers(&bye, 200);
        alice.expects("200");
    }
}

#[test]
fn with_authentication_a_request_in_a_dialog_needs_its_route() {
    // checklist 42: a phone finds its call by Call-ID and tags and does not check the From.
    let sim = Simulation::with(secured);
    let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    carol.sends_from("198.51.100.7:1026".parse().unwrap());
    let contact = "sip:carol@192.168.1.5:5062";
    alice.signs_in(ALICE);
    bob.signs_in(BOB);
    registers_hidden(&carol, contact, Some(CAROL));
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:carol@office.example"));
    let received = carol.expects("INVITE");
    carol.sends(&carol.answer(&received, 200).set("Contact", format_args!("<{contact}>")));
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    carol.expects("ACK");
    for sender in [&alice, &bob] {
        for method in ["BYE", "INVITE", "INFO"] {
            let captured = alice.within(&invite, &ok, method).without("Route").set("Via", sender.via());
            let tag = captured.param("From", "tag").unwrap().to_owned();
            sender.sends(&captured.set("From", format_args!("<{}>;tag={tag}", sender.aor())));
            sender.expects("481");
        }
        sender.sends(&alice.within(&invite, &ok, "ACK").without("Route").set("Via", sender.via()));
        sender.receives_nothing();
    }
    assert_eq!(carol.all_received(), []);
}

#[test]
fn only_current_contacts_count_and_only_for_authenticated_users() {
    // checklist 42, 43
    let sim = Simulation::with(secured);
    let (alice, carol, mallory, victim) = (sim.udp("alice"), sim.udp("carol"), sim.udp("mallory"), sim.udp("victim"));
    carol.sends_from("198.51.100.7:1026".parse().unwrap());
    let contact = "sip:carol@192.168.1.5:5062";
    alice.signs_in(ALICE);
    registers_hidden(&carol, contact, Some(CAROL));
    let from = |name: &str, request: Sip| request.set("From", format_args!("<sip:{name}>;tag=1"));
    // A stranger gets the same response for a registered Contact and an unknown one, whatever its From is.
    for uri in [contact, "sip:carol@192.168.1.5:5063", "sip:nobody@192.168.1.5:5062"] {
        for name in ["alice@office.example", "carol@office.example", "x@elsewhere.example"] {
            for method in ["INVITE", "MESSAGE", "INFO", "REFER"] {
                mallory.sends(&from(name, mallory.request(method, uri)));
                mallory.expects("403");
            }
            mallory.sends(&from(name, mallory.request("ACK", uri).set("To", format_args!("<{uri}>;tag=9"))));
            mallory.receives_nothing();
        }
    }
    // A user reaches nothing but registered Contacts.
    let far = format!("sip:carol@{}", victim.address);
    for uri in [far.as_str(), "sip:carol@192.168.1.5:5063", "sip:bob@192.168.1.5:5062"] {
        alice.authenticates(ALICE, &alice.request("MESSAGE", uri));
        alice.expects("403");
        alice.sends(&alice.request("ACK", uri).set("To", format_args!("<{uri}>;tag=9")));
    }
    alice.receives_nothing();
    // In the name of another user it is refused, even with valid credentials.
    alice.sends(&alice.request("MESSAGE", contact));
    let challenge = alice.expects("407");
    let as_carol = from("carol@office.example", alice.request("MESSAGE", contact));
    let credentials = ALICE.answer(&challenge, "SHA-256", &as_carol, 1);
    alice.sends(&as_carol.with("Proxy-Authorization", credentials));
    assert_eq!(alice.expects("403").reason(), "Authenticated as another user");
    // With a Route, it is a request to that host.
    alice.sends(&alice.request("MESSAGE", contact).with("Route", format_args!("<{far};lr>")));
    alice.expects("403");
    // After the phone has unregistered, it is refused.
    alice.authenticates(ALICE, &alice.request("MESSAGE", contact));
    carol.expects("MESSAGE");
    let gone = carol.register().set("Contact", format_args!("<{contact}>;expires=0")).set("CSeq", "90 REGISTER");
    carol.authenticates(CAROL, &gone.set("Call-ID", "another"));
    carol.expects("200");
    alice.authenticates(ALICE, &alice.request("MESSAGE", contact));
    alice.expects("403");
    assert_eq!((carol.all_received(), victim.all_received()), (vec![], vec![]));
}

#[test]
fn without_authentication_a_registered_phone_may_call_a_contact() {
    let sim = Simulation::new();
    let (alice, carol, mallory) = (sim.udp("alice"), sim.udp("carol"), sim.udp("mallory"));
    carol.sends_from("198.51.100.7:1026".parse().unwrap());
    let contact = "sip:carol@192.168.1.5:5062";
    alice.registers();
    registers_hidden(&carol, contact, None);
    alice.sends(&alice.request("MESSAGE", contact));
    carol.expects("MESSAGE");
    mallory.sends(&mallory.request("MESSAGE", contact));
    mallory.expects("403");
    mallory.sends(&mallory.request("MESSAGE", contact).set("From", "<sip:alice@office.example>;tag=1"));
    mallory.expects("403");
}

#[test]
fn a_retransmission_takes_the_same_route_although_the_phone_has_registered_since() {
    // RFC 3261 16.11: a copy must not be routed by what the location service contains by then.
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.foreign = Foreign::Authenticated;
    });
    let (alice, carol) = (sim.udp("alice"), sim.udp("carol"));
    alice.signs_in(ALICE);
    let options = alice.request("OPTIONS", &carol.contact());
    alice.sends(&options);
    let proven =
        options.clone().with("Proxy-Authorization", ALICE.answer(&alice.expects("407"), "SHA-256", &options, 1));
    let proven = proven.set("CSeq", "78 OPTIONS").set("Via", alice.via());
    alice.sends(&proven);
    let first = carol.expects("OPTIONS");
    carol.signs_in(CAROL);
    alice.sends(&proven);
    assert_eq!(carol.expects("OPTIONS").branch(), first.branch());
}

#[test]
fn an_escaped_parameter_of_a_contact_is_followed() {
    // RFC 3261 19.1.4
    for name in ["transport", "%74ransport"] {
        let sim = Simulation::new();
        let (alice, bob, tcp) = (sim.udp("alice"), sim.udp("bob"), sim.tcp("bob/tcp"));
        bob.sends(&bob.register().set("Contact", format_args!("<sip:bob@{};{name}=tcp>", tcp.address)));
        bob.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        tcp.expects("MESSAGE");
    }
    for name in ["maddr", "%6daddr"] {
        let sim = Simulation::new();
        let (alice, bob, other) = (sim.udp("alice"), sim.udp("bob"), sim.udp("other"));
        let contact = format!("<sip:bob@{};{name}={}>", other.address, bob.address.ip());
        bob.sends(&bob.register().set("Contact", contact));
        bob.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        bob.expects("MESSAGE");
    }
}
