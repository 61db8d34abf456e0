//! The server does not connect where it should not: to itself, its own machine, broadcast and multicast addresses, and
//! networks that the administrator did not permit. This holds for Contact and Path of a REGISTER, redirections, the
//! Contact of a SUBSCRIBE and Request-URIs; for addresses, and for names when they are resolved.

use std::net::SocketAddr;

use ipnet::IpNet;

use proxy::{Account, Authentication, Foreign, Interfaces, Settings, fixed_bindings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip};

use crate::accounts::aor;

fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_default()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

/// The server is at 192.0.2.1 in 192.0.2.0/24, and at 169.254.1.1.
fn with_interfaces(settings: &mut Settings) {
    let own = [("192.0.2.1", "192.0.2.0/24"), ("169.254.1.1", "169.254.0.0/16"), ("127.0.0.1", "127.0.0.0/8")];
    let networks = own.into_iter().filter_map(|(ip, network)| Some((ip.parse().ok()?, network.parse().ok()?)));
    settings.interfaces = Interfaces { networks: networks.collect(), ..Interfaces::default() };
}

/// A REGISTER with this header in place of the phone's own Contact.
fn register(phone: &Agent, header: &str, uri: &str) -> Sip {
    let register = phone.register();
    match header {
        "Contact" => register.set("Contact", format_args!("<{uri}>")),
        _ => register.with(header, format_args!("<{uri};lr>")),
    }
}

const LOOPBACK: &str = "a loopback address";
const UNSPECIFIED: &str = "an unspecified address";
const MULTICAST: &str = "a multicast address";
const BROADCAST: &str = "a broadcast address";
const LINK_LOCAL: &str = "a link-local address";
const RESERVED: &str = "a reserved address";
const OWN: &str = "an address of this server";
const NO_NAME: &str = "neither an address nor a host name";

const BARRED: [(&str, &str); 30] = [
    ("sip:bob@127.0.0.1", LOOPBACK),
    ("sip:bob@127.0.0.1:22;transport=tcp", LOOPBACK),
    ("sip:bob@127.255.3.4:5070", LOOPBACK),
    ("sip:bob@[::1]:5070", LOOPBACK),
    ("sip:bob@[::ffff:127.0.0.1]", LOOPBACK),
    ("sip:bob@[::ffff:7f00:1]", LOOPBACK),
    ("sip:bob@[::127.0.0.1]", LOOPBACK),
    ("sip:bob@[64:ff9b::127.0.0.1]", LOOPBACK),
    ("sip:bob@localhost", LOOPBACK),
    ("sip:bob@LOCALHOST:5070", LOOPBACK),
    ("sip:bob@x.localhost", LOOPBACK),
    ("sip:bob@localhost.", LOOPBACK),
    ("sip:bob@0.0.0.0", UNSPECIFIED),
    ("sip:bob@0.1.2.3", UNSPECIFIED),
    ("sip:bob@[::]", UNSPECIFIED),
    ("sip:bob@[::ffff:0.0.0.0]", UNSPECIFIED),
    ("sip:bob@224.0.1.75", MULTICAST),
    ("sip:bob@239.255.255.250:1900", MULTICAST),
    ("sip:bob@[ff02::1]", MULTICAST),
    ("sip:bob@255.255.255.255", BROADCAST),
    ("sip:bob@192.0.2.255", BROADCAST),
    ("sip:bob@192.0.2.0", BROADCAST),
    ("sip:bob@169.254.169.254", LINK_LOCAL),
    ("sip:bob@[fe80::1]", LINK_LOCAL),
    ("sip:bob@[fe80::1%25eth0]", LINK_LOCAL),
    ("sip:bob@240.0.0.1", RESERVED),
    ("sip:bob@192.0.2.1:5070", OWN),
    ("sip:bob@192.0.2.1:9090;transport=tcp", OWN),
    ("sip:bob@192.0.2.99;maddr=127.0.0.1", LOOPBACK),
    ("sip:bob@0x7f000001", NO_NAME),
];

#[test]
fn a_phone_cannot_register_addresses_of_the_server_or_broadcast() {
    for header in ["Contact", "Path"] {
        let sim = Simulation::with(with_interfaces);
        let bob = sim.udp("bob");
        for (uri, why) in BARRED {
            bob.sends(&register(&bob, header, uri));
            let refused = bob.expects("403");
            assert_eq!(refused.reason(), format!("{header} names {why}"), "{uri}");
        }
        // Also among other Contacts, and over TCP.
        let tcp = sim.tcp("bob/tcp");
        tcp.sends(&tcp.register().set("Contact", format_args!("<{}>, <sip:bob@127.0.0.1>", tcp.contact())));
        tcp.expects("403");
        bob.sends(&bob.register().without("Contact"));
        assert!(!bob.expects("200").has("Contact"), "nothing was stored");
    }
}

#[test]
fn numeric_hosts_are_not_resolved_as_names() {
    // All of them are 127.0.0.1 for inet_aton.
    let sim = Simulation::with(with_interfaces);
    let bob = sim.udp("bob");
    for host in ["127.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.0x1", "0x7f.1", "127.0.0.1."] {
        bob.sends(&register(&bob, "Contact", &format!("sip:bob@{host}")));
        let refused = bob.next_message();
        assert!(matches!(refused.what(), "400" | "403"), "{host}: {}", refused.start);
    }
}

#[test]
fn a_forbidden_contact_that_is_registered_can_be_removed() {
    let sim = Simulation::with(with_interfaces);
    let bob = sim.udp("bob");
    bob.sends_from(address("127.0.0.1:5070"));
    bob.sends(&register(&bob, "Contact", "sip:bob@127.0.0.1:5070"));
    bob.expects("200");
    let away = sim.udp("bob/away");
    let remove = register(&away, "Contact", "sip:bob@127.0.0.1:5070").with("Expires", 0);
    away.sends(&remove);
    assert!(!away.expects("200").has("Contact"));
}

#[test]
fn a_phone_on_the_servers_machine_may_register_its_address() {
    for (source, uris) in [
        (
            "127.0.0.1:5070",
            &["sip:bob@127.0.0.1:5070", "sip:bob@127.0.0.9", "sip:bob@localhost:5070", "sip:bob@[::1]"][..],
        ),
        // A phone on the server's own machine, whichever of its addresses it uses.
        ("127.0.0.1:5070", &["sip:bob@192.0.2.1:5070"]),
        ("192.0.2.1:5070", &["sip:bob@192.0.2.1:5070", "sip:bob@127.0.0.1:5070"]),
        ("169.254.7.7:5060", &["sip:bob@169.254.7.7", "sip:bob@169.254.7.8"]),
        ("192.0.2.11:5060", &["sip:bob@192.0.2.11", "sip:bob@10.1.2.3", "sip:bob@[2001:db8::1]", "sip:bob@pc.example"]),
    ] {
        for uri in uris {
            let sim = Simulation::with(with_interfaces);
            let bob = sim.udp("bob");
            bob.sends_from(address(source));
            bob.sends(&register(&bob, "Contact", uri));
            assert_eq!(bob.next_message().what(), "200", "{uri} from {source}");
        }
    }
    for (source, uri) in [
        ("127.0.0.1:5070", "sip:bob@0.0.0.0"),
        ("127.0.0.1:5070", "sip:bob@169.254.1.2"),
        ("169.254.7.7:5060", "sip:bob@127.0.0.1"),
        ("169.254.7.7:5060", "sip:bob@[fe80::1]"),
        ("192.0.2.1:5070", "sip:bob@224.0.0.1"),
        // The server itself is still refused.
        ("192.0.2.1:5070", "sip:bob@192.0.2.1:5060"),
    ] {
        let sim = Simulation::with(with_interfaces);
        let bob = sim.udp("bob");
        bob.sends_from(address(source));
        bob.sends(&register(&bob, "Contact", uri));
        assert_eq!(bob.next_message().what(), "403", "{uri} from {source}");
    }
}

#[test]
fn contacts_can_be_limited_to_networks() {
    let sim = Simulation::with(|settings| {
        with_interfaces(settings);
        settings.registrar.contact_networks = vec![net("192.0.2.0/25"), net("2001:db8::/32")];
    });
    let bob = sim.udp("bob");
    for good in ["sip:bob@192.0.2.11", "sip:bob@[2001:db8::7]", "sip:bob@[::ffff:192.0.2.11]"] {
        bob.sends(&register(&bob, "Contact", good));
        assert_eq!(bob.next_message().what(), "200", "{good}");
    }
    for (header, bad) in [
        ("Contact", "sip:bob@192.0.2.200"),
        ("Contact", "sip:bob@10.0.0.1"),
        ("Contact", "sip:bob@192.0.2.11;maddr=192.0.2.200"),
        ("Path", "sip:10.0.0.1"),
    ] {
        bob.sends(&register(&bob, header, bad));
        let refused = bob.expects("403");
        assert_eq!(refused.reason(), format!("{header} names an address outside registrar.contact_networks"), "{bad}");
    }
}

#[test]
fn a_contact_registered_before_the_limit_is_not_called() {
    // Bindings that were stored before the setting was changed.
    let sim = Simulation::with(with_interfaces);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    sim.reconfigure(|settings| settings.registrar.contact_networks = vec![net("10.0.0.0/8")]);
    alice.calls("bob");
    alice.expects("480");
    sim.reconfigure(|settings| settings.registrar.contact_networks = vec![net("192.0.2.0/24")]);
    alice.calls("bob");
    bob.expects("INVITE");
    sim.skip_final_check();
}

#[test]
fn a_name_is_checked_by_the_addresses_it_has_when_called() {
    for (leads, works) in [
        (&["192.0.2.12:5060"][..], true),
        (&["127.0.0.1:5060"], false),
        (&["169.254.169.254:80"], false),
        (&["192.0.2.1:9090"], false),
        (&["192.0.2.255:5060"], false),
        (&["0.0.0.0:5060"], false),
        (&["10.0.0.1:5060"], false),
        (&["[::ffff:127.0.0.1]:5060"], false),
        (&["127.0.0.1:5060", "192.0.2.12:5060"], true),
    ] {
        for header in ["Contact", "Path"] {
            let sim = Simulation::with(|settings| {
                with_interfaces(settings);
                settings.registrar.contact_networks = vec![net("192.0.2.0/24")];
            });
            let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
            bob.sends(&register(&bob, header, "sip:bob@phone.example"));
            bob.expects("200");
            // The name leads there only after the registration.
            sim.dns("phone.example", &leads.iter().map(|leads| address(leads)).collect::<Vec<_>>());
            alice.calls("bob");
            let received = if works { bob.expects("INVITE") } else { alice.expects("480") };
            drop(received);
            assert!(works || bob.all_received().is_empty(), "{leads:?}");
            sim.skip_final_check();
        }
    }
}

#[test]
fn a_redirection_leads_only_where_its_phone_may_register() {
    for (uri, followed) in [
        ("sip:x@192.0.2.14", true),
        ("sip:x@gateway.example", true),
        ("sip:x@127.0.0.1:5070", false),
        ("sip:x@[::ffff:127.0.0.1]", false),
        ("sip:x@192.0.2.1:9090;transport=tcp", false),
        ("sip:x@192.0.2.1", false),
        ("sip:office.example", false),
        ("sip:x@169.254.169.254:80;transport=tcp", false),
        ("sip:x@192.0.2.14;maddr=127.0.0.1", false),
        ("sip:x@255.255.255.255", false),
        ("sip:x@inside.example", false),
    ] {
        let alice = Login { user: "alice", password: "wonder land" };
        let sim = Simulation::with(|settings| {
            with_interfaces(settings);
            settings.authentication = Authentication::Required;
            settings.foreign = Foreign::Authenticated;
            settings.accounts.insert(aor("alice"), alice.account(DOMAIN));
            let contacts = fixed_bindings([("sip:bob@192.0.2.12", None), ("sip:bob@192.0.2.13", None)]);
            let account = Account { contacts: Some(contacts), ..Account::default() };
            settings.accounts.insert(aor("bob"), account);
        });
        sim.dns("gateway.example", &[address("192.0.2.14:5060")]);
        sim.dns("inside.example", &[address("127.0.0.1:5060"), address("169.254.169.254:5060")]);
        let (caller, desk, mobile, gateway) =
            (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"), sim.udp("gateway"));
        let invite = caller.calls("bob");
        let refused = caller.expects("407");
        caller.acks(&invite, &refused);
        let again = caller.request("INVITE", "sip:bob@office.example");
        let answer = alice.answer(&refused, "SHA-256", &again, 1);
        caller.sends(&again.with("Proxy-Authorization", answer));
        caller.expects("100");
        let at_desk = desk.expects("INVITE");
        mobile.expects("INVITE");
        desk.sends(&desk.answer(&at_desk, 302).set("Contact", format_args!("<{uri}>")));
        desk.expects("ACK");
        if followed {
            gateway.expects("INVITE");
        } else {
            gateway.receives_nothing();
        }
        // The two phones, and the targets of redirections.
        let sent = sim.count_events(|event| matches!(event, proxy::Event::RequestForwarded { .. }));
        assert_eq!(sent, 2 + usize::from(followed), "{uri}");
        sim.skip_final_check();
    }
}

#[test]
fn a_user_cannot_call_forbidden_addresses() {
    let alice = Login { user: "alice", password: "wonder land" };
    let sim = Simulation::with(|settings| {
        with_interfaces(settings);
        settings.authentication = Authentication::Required;
        settings.foreign = Foreign::Authenticated;
        settings.accounts.insert(aor("alice"), alice.account(DOMAIN));
    });
    sim.dns("inside.example", &[address("127.0.0.1:5060")]);
    sim.dns("outside.example", &[address("192.0.2.12:5060")]);
    let (caller, other) = (sim.udp("alice"), sim.udp("other"));
    let send = |request: Sip| {
        caller.sends(&request);
        let refused = caller.expects("407");
        let again = request.set("Via", caller.via()).set("CSeq", "9 MESSAGE");
        let answer = alice.answer(&refused, "SHA-256", &again, 1);
        caller.sends(&again.with("Proxy-Authorization", answer));
    };
    let message = |uri: &str| caller.request("MESSAGE", uri);
    for (uri, what) in [
        ("sip:x@127.0.0.1:8080", "403 Request-URI names a loopback address"),
        ("sip:x@192.0.2.1:9090;transport=tcp", "403 Request-URI names an address of this server"),
        ("sip:x@elsewhere.example;maddr=169.254.169.254", "403 Request-URI names a link-local address"),
        ("sip:x@inside.example", "480 Temporarily Unavailable"),
    ] {
        send(message(uri));
        assert_eq!(caller.next_message().uri().to_owned() + " " + what.split_once(' ').unwrap_or_default().1, what);
        // With a To tag and without our Record-Route, it could belong to any dialog.
        caller.sends(&message(uri).set("To", format_args!("<{uri}>;tag=1")));
        caller.expects("481");
    }
    send(message("sip:x@elsewhere.example").with("Route", "<sip:127.0.0.1:8080;lr>"));
    assert_eq!(caller.expects("403").reason(), "Route names a loopback address");
    send(message("sip:x@outside.example"));
    other.expects("MESSAGE");
}

#[test]
fn the_name_in_a_contact_of_the_other_side_cannot_lead_to_forbidden_addresses() {
    let alice = Login { user: "alice", password: "wonder land" };
    let sim = Simulation::with(|settings| {
        with_interfaces(settings);
        settings.authentication = Authentication::Required;
        settings.foreign = Foreign::Authenticated;
        settings.accounts.insert(aor("alice"), alice.account(DOMAIN));
    });
    let (caller, server, further) = (sim.udp("alice"), sim.udp("server"), sim.udp("further"));
    sim.dns("server.example", &[server.address]);
    sim.dns("further.example", &[further.address]);
    sim.dns("inside.example", &[address("127.0.0.1:5060"), address("169.254.169.254:5060")]);
    for (contact, is_reached) in [("sip:x@further.example", true), ("sip:x@inside.example", false)] {
        let invite = caller.authenticates(alice, &caller.request("INVITE", "sip:x@server.example"));
        let received = server.expects("INVITE");
        server.sends(&server.answer(&received, 200).set("Contact", format_args!("<{contact}>")));
        let ok = caller.expects("200");
        let forwarded = || sim.count_events(|event| matches!(event, proxy::Event::RequestForwarded { .. }));
        // Counts, and forgets, those before the ACK.
        forwarded();
        caller.acks(&invite, &ok);
        if is_reached {
            further.expects("ACK");
        } else {
            further.receives_nothing();
        }
        assert_eq!(forwarded(), usize::from(is_reached), "{contact}");
    }
    sim.skip_final_check();
}

#[test]
fn configured_contacts_are_not_limited() {
    let sim = Simulation::with(|settings| {
        with_interfaces(settings);
        settings.registrar.contact_networks = vec![net("10.0.0.0/8")];
        let contacts = fixed_bindings([("sip:door@127.0.0.1:5070", None)]);
        let account = Account { contacts: Some(contacts), ..Account::default() };
        settings.accounts.insert(aor("door"), account);
        settings.accounts.insert(aor("alice"), Account::default());
        let contacts = fixed_bindings([("sip:gate@gate.example", None)]);
        let account = Account { contacts: Some(contacts), ..Account::default() };
        settings.accounts.insert(aor("gate"), account);
    });
    sim.dns("gate.example", &[address("127.0.0.1:5071")]);
    let alice = sim.udp("alice");
    for user in ["door", "gate"] {
        alice.sends(&alice.request("MESSAGE", &format!("sip:{user}@office.example")));
        alice.receives_nothing();
        assert_eq!(sim.count_events(|event| matches!(event, proxy::Event::RequestForwarded { .. })), 1, "{user}");
    }
}

#[test]
fn notifications_are_not_sent_to_forbidden_addresses() {
    let sim = Simulation::with(|settings| {
        with_interfaces(settings);
        settings.registrar.contact_networks = vec![net("192.0.2.0/25")];
    });
    sim.dns("inside.example", &[address("127.0.0.1:5060"), address("10.0.0.1:5060")]);
    let (bob, tcp) = (sim.udp("bob"), sim.tcp("bob/tcp"));
    for phone in [&bob, &tcp] {
        let subscribe = phone.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "reg");
        for (header, value, why) in [
            ("Contact", "<sip:bob@127.0.0.1:22;transport=tcp>", LOOPBACK),
            ("Contact", "<sip:bob@192.0.2.1:9090>", OWN),
            ("Contact", "<sip:bob@192.0.2.200>", "an address outside registrar.contact_networks"),
            ("Record-Route", "<sip:169.254.169.254:80;transport=tcp;lr>", LINK_LOCAL),
        ] {
            let bad = subscribe.clone().set(header, value).set("Via", phone.via()).set("Call-ID", value.len());
            phone.sends(&bad);
            assert_eq!(phone.expects("403").reason(), format!("{header} names {why}"));
        }
    }
    let named = bob.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "reg");
    bob.sends(&named.set("Contact", "<sip:bob@inside.example>").set("Via", bob.via().replace(";rport", "")));
    bob.expects("200");
    bob.receives_nothing();
    assert_eq!(sim.count_events(|event| matches!(event, proxy::Event::Notified { .. })), 1, "it ended at once");
}

#[test]
fn calls_with_a_gateway_on_the_same_machine_work() {
    let sim = Simulation::with(|settings| {
        with_interfaces(settings);
        let contacts = fixed_bindings([("sip:gate@127.0.0.1:5070", None)]);
        let account = Account { contacts: Some(contacts), ..Account::default() };
        settings.accounts.insert(aor("gate"), account);
        settings.accounts.insert(aor("alice"), Account::default());
    });
    let (alice, gate) = (sim.udp("alice"), sim.udp("gate"));
    gate.sends_from(address("127.0.0.1:5070"));
    let invite = alice.calls("gate");
    let received = gate.expects("INVITE");
    gate.sends(&gate.answer(&received, 200).set("Contact", "<sip:gate@127.0.0.1:5070>"));
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    gate.expects("ACK");
    let bye = alice.within(&invite, &ok, "BYE");
    alice.sends(&bye);
    let received = gate.expects("BYE");
    gate.answers(&received, 200);
    alice.expects("200");
}
