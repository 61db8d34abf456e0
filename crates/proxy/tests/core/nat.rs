//! Phones that their Contact does not lead to: behind a NAT, or over their connection. The table of cases is in `nat`
//! with its own tests; these scenarios show the effect on the wire.

use sim::{Agent, Simulation};

/// Another port of the same phone.
const STUN: &str = "sip:bob@198.51.100.7:7777";

/// Registers this Contact with this Via.
fn registers(phone: &Agent, contact: &str, sent_by: &str) {
    let via = format!("SIP/2.0/UDP {sent_by};branch={}", phone.register().branch());
    phone.sends(&phone.register().set("Contact", format_args!("<{contact}>")).set("Via", via));
    phone.expects("200");
}

#[test]
fn a_phone_that_registered_over_a_stream_is_called_over_that_stream() {
    // checklist 107
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    for contact in
        ["sip:bob@192.0.2.200:5066", "sip:bob@10.1.2.3", "sip:bob@desk.lan;transport=TCP", "sip:bob@a.invalid"]
    {
        bob.sends(&bob.register().set("Contact", format_args!("<{contact}>")));
        bob.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        assert_eq!(bob.expects("MESSAGE").uri(), contact);
        bob.sends(&bob.register().set("Contact", format_args!("<{contact}>;expires=0")));
        bob.expects("200");
    }
}

#[test]
fn only_another_transport_in_the_contact_overrides_the_flow() {
    let sim = Simulation::new();
    let (alice, bob, other) = (sim.udp("alice"), sim.tcp("bob"), sim.udp("bob/other"));
    for params in [";transport=udp", ";transport=UDP"] {
        bob.sends(&bob.register().set("Contact", format_args!("<{}{params}>", other.contact())));
        bob.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        other.expects("MESSAGE");
    }
    bob.receives_nothing();
}

#[test]
fn a_phone_behind_a_nat_is_called_at_its_source() {
    // checklist 112
    for (contact, sent_by) in [
        ("sip:bob@192.168.1.5:5062", "192.168.1.5:5062;rport"),
        ("sip:bob@192.168.1.5:5062", "192.168.1.5:5062"),
        ("sip:bob@192.168.1.5:5062", "198.51.100.7:1026;rport"),
        ("sip:bob@192.168.1.5:5062", "laptop:5062;rport"),
        (STUN, "192.168.1.5:5062;rport"),
        (STUN, "198.51.100.7:7777;rport"),
        ("sip:bob@laptop.local", "192.168.1.5:5062;rport"),
        ("sip:bob@192.168.1.5:5062;transport=udp", "192.168.1.5:5062;rport"),
    ] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.sends_from("198.51.100.7:1026".parse().unwrap());
        registers(&bob, contact, sent_by);
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        assert_eq!(received.uri(), contact);
        // The whole call takes this route in both directions.
        bob.sends(&bob.answer(&received, 200).set("Contact", format_args!("<{contact}>")));
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        bob.expects("ACK");
        alice.sends(&alice.within(&invite, &ok, "BYE"));
        let bye = bob.expects("BYE");
        bob.answers(&bye, 200);
        alice.expects("200");
    }
}

#[test]
fn a_caller_behind_a_nat_is_reached_at_its_source() {
    for (contact, sent_by) in [
        ("sip:bob@192.168.1.5:5062", "192.168.1.5:5062"),
        ("sip:bob@192.168.1.5:5062", "198.51.100.7:1026;rport"),
        (STUN, "192.168.1.5:5062;rport"),
        ("sip:bob@laptop.local", "192.168.1.5:5062;rport"),
    ] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.sends_from("198.51.100.7:1026".parse().unwrap());
        alice.registers();
        let invite = bob.request("INVITE", "sip:alice@office.example").set("Contact", format_args!("<{contact}>"));
        let via = format!("SIP/2.0/UDP {sent_by};branch={}", invite.branch());
        let invite = invite.set("Via", via);
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
fn a_contact_that_is_not_behind_the_nat_is_called_as_given() {
    let sim = Simulation::new();
    let (alice, bob, gateway) = (sim.udp("alice"), sim.udp("bob"), sim.udp("gateway"));
    sim.dns("gateway.example", &[gateway.address]);
    let address = gateway.address.to_string();
    for (contact, source, sent_by) in [
        (address.as_str(), "198.51.100.7:1026", "198.51.100.7:1026;rport"),
        (address.as_str(), "198.51.100.7:1026", "192.168.1.5:5062;rport"),
        ("gateway.example", "198.51.100.7:1026", "198.51.100.7:1026;rport"),
    ] {
        bob.sends_from(source.parse().unwrap());
        registers(&bob, &format!("sip:bob@{contact}"), sent_by);
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        gateway.expects("MESSAGE");
        bob.sends(&bob.register().set("Contact", "*").with("Expires", 0));
        bob.expects("200");
    }
    bob.receives_nothing();
}

#[test]
fn a_register_from_another_address_moves_the_flow() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    for port in [1026, 2052, 3078] {
        bob.sends_from(([198, 51, 100, 7], port).into());
        registers(&bob, "sip:bob@192.168.1.5:5062", "192.168.1.5:5062;rport");
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
        bob.expects("MESSAGE");
    }
    let tcp = sim.tcp("carol");
    for _ in 0..3 {
        tcp.sends(&tcp.register().set("Contact", "<sip:carol@192.168.1.5:5062>"));
        tcp.expects("200");
        alice.sends(&alice.request("MESSAGE", "sip:carol@office.example"));
        tcp.expects("MESSAGE");
        tcp.disconnects();
    }
}

#[test]
fn a_phone_that_reconnects_often_is_never_refused() {
    // checklist 28
    let limits = |settings: &mut proxy::Settings| settings.registrar.limits.max_contacts = 3;
    for (instance, on_tcp) in
        [(";+sip.instance=\"<urn:uuid:1>\"", true), ("", true), (";+sip.instance=\"<urn:uuid:1>\"", false)]
    {
        let sim = Simulation::with(limits);
        let (alice, desk) = (sim.udp("alice"), sim.udp("bob/desk"));
        desk.registers();
        let bob = if on_tcp { sim.tcp("bob") } else { sim.udp("bob") };
        for number in 0..20u16 {
            sim.seconds(1);
            if !on_tcp {
                bob.sends_from(([192, 0, 2, 99], 40_000 + number).into());
            }
            let transport = if on_tcp { ";transport=tcp" } else { "" };
            let contact = format!("<sip:bob@192.0.2.99:{}{transport}>{instance}", 40_000 + number);
            bob.sends(&bob.register().set("Call-ID", format_args!("again-{number}")).set("Contact", contact));
            bob.expects("200");
            if number < 19 {
                bob.disconnects();
            }
        }
        alice.calls("bob");
        bob.expects("INVITE");
        desk.expects("INVITE");
        sim.skip_final_check();
    }
}
