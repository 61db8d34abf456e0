//! `sips:` URIs: nothing for such a URI is sent unencrypted, and dialogs stay on TLS (RFC 3261 26.2.2, RFC 5630 5.3).

use parser::Transport;

use proxy::{Account, Authentication, Foreign, Listener, fixed_bindings};

use sim::{Agent, DOMAIN, Simulation, Sip, at};

use crate::accounts::aor;

/// Expects the refusal because of missing TLS: 480 with the Warning that says why.
fn refused(phone: &Agent, code: u16) {
    let refused = phone.expects("480");
    let warning = refused.value("Warning").to_owned();
    let text = if code == 380 { "SIPS Not Allowed" } else { "SIPS Required" };
    assert!(warning.starts_with(&format!("{code} ")) && warning.ends_with(&format!("\"{text}\"")), "{refused}");
}

/// Registers this Contact for the user of the phone. Panics if this fails.
fn registers(phone: &Agent, contact: &str) {
    phone.sends(&phone.register().set("Contact", contact));
    phone.expects("200");
}

#[test]
fn a_call_to_a_sips_uri_is_not_sent_unencrypted() {
    // checklist 116, 117
    let sim = Simulation::new();
    let (alice, bob, tcp) = (sim.udp("alice"), sim.udp("bob"), sim.tcp("bob/tcp"));
    bob.registers();
    tcp.registers();
    for method in ["INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS"] {
        for uri in ["sips:bob@office.example", "SIPS:bob@192.0.2.1", "sips:bob@office.example;transport=tcp"] {
            alice.sends(&alice.request(method, uri));
            refused(&alice, 380);
        }
    }
    // A user without a phone gets no Warning.
    alice.sends(&alice.request("MESSAGE", "sips:nobody@office.example"));
    alice.expects("480");
    bob.receives_nothing();
    tcp.receives_nothing();
}

#[test]
fn a_sips_contact_is_never_called_unencrypted() {
    // checklist 116: whatever flow it registered over, and whatever its parameters are.
    for (params, transport) in [
        ("", "udp"),
        (";transport=udp", "udp"),
        ("", "tcp"),
        (";transport=tcp", "tcp"),
        (";transport=ws", "tcp"),
        (";ob>;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"", "tcp"),
        (";ob>;reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"", "udp"),
    ] {
        let sim = Simulation::new();
        let alice = sim.udp("alice");
        let bob = if transport == "tcp" { sim.tcp("bob") } else { sim.udp("bob") };
        let end = if params.contains('>') { "" } else { ">" };
        registers(&bob, &format!("<sips:bob@{}{params}{end}", bob.address));
        for (uri, code) in [("sip:bob@office.example", 381), ("sips:bob@office.example", 380)] {
            alice.sends(&alice.request("INVITE", uri));
            refused(&alice, code);
        }
        bob.receives_nothing();
        // If there is an unencrypted Contact too, only that one is called.
        let desk = sim.udp("bob/desk");
        desk.registers();
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        desk.expects("MESSAGE");
        bob.receives_nothing();
    }
}

#[test]
fn paths_and_configured_contacts_of_a_sips_call_need_tls() {
    let sim = Simulation::with(|settings| {
        let contacts = Some(fixed_bindings([("sips:door@192.0.2.12", None)]));
        let door = Account { contacts, ..Account::default() };
        settings.accounts.insert(aor("door"), door);
        for user in ["alice", "edge", "bob"] {
            settings.accounts.insert(aor(user), Account::default());
        }
    });
    let (alice, edge, bob) = (sim.udp("alice"), sim.udp("edge"), sim.udp("bob"));
    assert_eq!(edge.address.to_string(), "192.0.2.12:5060");
    alice.sends(&alice.request("MESSAGE", "sip:door@office.example"));
    refused(&alice, 381);
    for (path, contact) in
        [("sip:192.0.2.12;lr", "sips:bob@198.51.100.7"), ("sips:192.0.2.12;lr", "sip:bob@198.51.100.7")]
    {
        let register = bob.register().with("Path", format!("<{path}>")).with("Supported", "path");
        bob.sends(&register.set("Contact", format!("<{contact}>")));
        bob.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        alice.expects("480");
    }
    edge.receives_nothing();
}

#[test]
fn a_route_of_a_sips_request_needs_tls() {
    let sim = Simulation::with(|settings| {
        settings.authentication = Authentication::Required;
        settings.foreign = Foreign::Authenticated;
        let login = sim::Login { user: "alice", password: "wonder land" };
        settings.accounts.insert(aor("alice"), login.account(DOMAIN));
    });
    let login = sim::Login { user: "alice", password: "wonder land" };
    let (alice, peer) = (sim.udp("alice"), sim.udp("peer"));
    let address = peer.address;
    let routed = |uri: &str, route: &str| alice.request("MESSAGE", uri).with("Route", format!("<{route};lr>"));
    for request in [
        alice.request("MESSAGE", &format!("sips:peer@{address}")),
        alice.request("MESSAGE", &format!("sips:peer@{address};transport=tcp")),
        alice.request("MESSAGE", &format!("sips:peer@{address};transport=udp")),
        routed(&format!("sips:peer@{address}"), &format!("sip:{address}")),
        routed(&format!("sip:peer@{address}"), &format!("sips:{address}")),
        routed("sips:alice@office.example", &format!("sip:{address}")),
    ] {
        alice.authenticates(login, &request);
        refused(&alice, 380);
    }
    peer.receives_nothing();
}

#[test]
fn a_redirection_does_not_change_between_sip_and_sips() {
    // RFC 5630 5.3: it is forwarded, and the caller decides.
    let sim = Simulation::new();
    let (alice, carol) = (sim.udp("alice"), sim.udp("carol"));
    let (bob, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    bob.registers();
    mobile.registers();
    carol.registers();
    let (_, [at_bob, at_mobile]) = alice.calls_phones("bob", [&bob, &mobile]);
    bob.sends(&bob.answer(&at_bob, 302).set("Contact", "<sips:carol@office.example>"));
    bob.expects("ACK");
    mobile.answers(&at_mobile, 486);
    mobile.expects("ACK");
    let up = alice.next_message();
    assert!(up.status() >= Some(300), "{up}");
    carol.receives_nothing();
    sim.skip_final_check();
}

#[test]
fn requests_within_a_dialog_and_notifications_need_tls_for_sips() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.tcp("alice"), sim.tcp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let secure = format!("<sips:bob@{}>", bob.address);
    bob.sends(&bob.answer(&received, 200).set("Contact", &secure));
    let ok = alice.expects("200");
    let ack: Sip = alice.within(&invite, &ok, "ACK").set("CSeq", sim::cseq(&invite, 0, "ACK"));
    alice.sends(&ack);
    bob.receives_nothing();
    // With the branch of its INVITE, without a Route.
    alice.sends(&ack.set("Via", invite.value("Via")).without("Route"));
    bob.receives_nothing();
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    refused(&alice, 380);
    bob.receives_nothing();
    // Notifications to a sips: Contact would be sent unencrypted.
    let subscribe = alice.request("SUBSCRIBE", &alice.aor()).with("Event", "reg");
    alice.sends(&subscribe.set("Contact", format!("<sips:alice@{}>", alice.address)));
    refused(&alice, 380);
    sim.skip_final_check();
}

#[test]
fn the_record_route_of_a_call_to_a_sips_uri_is_sips() {
    // checklist 50, 116
    let tls = Listener { transport: Transport::Tls, address: at(1) };
    for (uri, prefix, suffix) in [
        ("sips:bob@office.example", "<sips:", "@192.0.2.1:5060;lr>"),
        ("sip:bob@office.example", "<sip:", "@192.0.2.1:5060;transport=tls;lr>"),
    ] {
        let sim = Simulation::with(|settings| settings.listeners.push(tls));
        let (alice, bob) = (sim.tls("alice"), sim.tls("bob"));
        bob.registers();
        let invite = alice.request("INVITE", uri);
        alice.sends(&invite);
        let received = bob.expects("INVITE");
        let [route] = received.values("Record-Route").collect::<Vec<_>>()[..] else { panic!("{received}") };
        assert!(route.starts_with(prefix) && route.ends_with(suffix), "{route}");
        bob.answers(&received, 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        bob.expects("ACK");
        alice.sends(&alice.within(&invite, &ok, "INFO"));
        let info = bob.expects("INFO");
        bob.answers(&info, 200);
        alice.expects("200");
        bob.sends(&bob.within_as_callee(&invite, &ok, "BYE"));
        let bye = alice.expects("BYE");
        alice.answers(&bye, 200);
        bob.expects("200");
    }
}

#[test]
fn a_sips_contact_that_is_called_by_a_sip_uri_gets_a_sip_uri() {
    // checklist 116: RFC 5630 5.3. ACK and CANCEL have the Request-URI of their INVITE, with and without a transaction.
    let tls = Listener { transport: Transport::Tls, address: at(1) };
    for has_mobile in [false, true] {
        let sim = Simulation::with(|settings| settings.listeners.push(tls));
        let (alice, bob) = (sim.udp("alice"), sim.tls("bob"));
        registers(&bob, &format!("<SIPS:bob@{};ob?Subject=x>", bob.address));
        let mobile = sim.udp("bob/mobile");
        let called = format!("sip:bob@{};ob", bob.address);
        if has_mobile {
            mobile.registers();
        }
        let invite = alice.invites("sip:bob@office.example");
        let received = bob.expects("INVITE");
        assert_eq!(received.uri(), called, "{received}");
        bob.answers(&received, 180);
        if has_mobile {
            alice.expects("100");
            let received = mobile.expects("INVITE");
            mobile.answers(&received, 486);
            mobile.expects("ACK");
        }
        alice.expects("180");
        alice.cancels(&invite);
        let cancel = bob.expects("CANCEL");
        assert_eq!(cancel.uri(), called, "{cancel}");
        bob.answers(&cancel, 200);
        alice.expects("200");
        bob.answers(&received, 487);
        let ended = alice.expects("487");
        alice.acks(&invite, &ended);
        let ack = bob.expects("ACK");
        assert_eq!(ack.uri(), called, "{ack}");
        // A call to a `sips:` URI gets the Contact as it is.
        alice.sends(&alice.request("MESSAGE", "sips:bob@office.example"));
        let message = bob.expects("MESSAGE");
        assert_eq!(message.uri(), format!("SIPS:bob@{};ob", bob.address));
        bob.answers(&message, 200);
        alice.expects("200");
    }
}

#[test]
fn a_sips_path_makes_the_record_route_of_its_side_sips() {
    // checklist 50: RFC 3261 16.6 step 4 and 16.7 step 8.
    let tls = Listener { transport: Transport::Tls, address: at(1) };
    let sim = Simulation::with(|settings| settings.listeners.push(tls));
    let (alice, edge, bob) = (sim.udp("alice"), sim.tls("edge"), sim.udp("bob"));
    let register = bob.register().with("Path", format!("<sips:{};lr>", edge.address)).with("Supported", "path");
    bob.sends(&register.set("Contact", "<sip:bob@198.51.100.7>"));
    bob.expects("200");
    alice.sends(&alice.request("INVITE", "sip:bob@office.example"));
    let received = edge.expects("INVITE");
    let routes = received.values("Record-Route").collect::<Vec<_>>();
    assert!(routes.len() == 2 && routes[0].starts_with("<sips:") && routes[1].starts_with("<sip:"), "{received}");
    sim.skip_final_check();
}
