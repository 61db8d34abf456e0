//! Flows that phones maintain: outbound at the registrar (RFC 5626 6), on the wire.

use sim::{Agent, Simulation, Sip};

const INSTANCE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";

/// A REGISTER of a phone that supports outbound, with these parameters in its Contact.
fn register(phone: &Agent, params: &str) -> Sip {
    let contact = format!("<{}>;{INSTANCE}{params}", phone.contact());
    phone.register().set("Contact", contact).with("Supported", "path, outbound")
}

/// The same as a proxy in front of the registrar forwards it.
fn through(edge: &Agent, register: Sip, path: &[&str]) -> Sip {
    path.iter().fold(register.with_first("Via", edge.via()), |register, path| register.with("Path", path))
}

#[test]
fn a_flow_is_registered() {
    // checklist 137
    let sim = Simulation::new();
    let (bob, carol) = (sim.tcp("bob"), sim.udp("carol"));
    bob.sends(&register(&bob, ";reg-id=1").with("Require", "outbound"));
    let ok = bob.expects("200");
    assert_eq!((ok.value("Require"), ok.value("Flow-Timer")), ("outbound", "120"));
    assert!(ok.value("Contact").contains(INSTANCE) && ok.param("Contact", "reg-id") == Some("1"), "{ok}");
    // The server does not know how long a NAT keeps a UDP flow.
    carol.sends(&register(&carol, ";reg-id=1"));
    let ok = carol.expects("200");
    assert_eq!((ok.value("Require"), ok.has("Flow-Timer")), ("outbound", false));
    sim.reconfigure(|settings| settings.registrar.flow_timer = None);
    bob.sends(&register(&bob, ";reg-id=1"));
    let ok = bob.expects("200");
    assert_eq!((ok.value("Require"), ok.has("Flow-Timer")), ("outbound", false));
}

#[test]
fn outbound_is_not_confirmed_unless_requested() {
    // checklist 135, 137
    let sim = Simulation::new();
    let bob = sim.tcp("bob");
    let silent = |ok: Sip| assert!(!ok.has("Require") && !ok.has("Flow-Timer"), "{ok}");
    bob.sends(&register(&bob, ";reg-id=1").without("Supported"));
    silent(bob.expects("200"));
    bob.sends(&register(&bob, ""));
    silent(bob.expects("200"));
    bob.sends(&register(&bob, ";reg-id=0"));
    silent(bob.expects("200"));
    // A reg-id has no meaning without an instance.
    let alone = format!("<{}>;reg-id=1", bob.contact());
    bob.sends(&bob.register().set("Contact", alone).with("Supported", "outbound"));
    silent(bob.expects("200"));
    bob.sends(&bob.register().without("Contact").with("Supported", "outbound"));
    silent(bob.expects("200"));
}

#[test]
fn the_first_hop_must_support_outbound() {
    // checklist 133, 134
    let sim = Simulation::new();
    let (bob, edge) = (sim.udp("bob"), sim.udp("edge"));
    let (blind, finds) = ("<sip:edge.example;lr>", "<sip:token@edge.example;lr;ob>");
    for path in [&[][..], &[blind], &[finds, blind]] {
        edge.sends(&through(&edge, register(&bob, ";reg-id=1"), path));
        assert_eq!(edge.expects("439").reason(), "First Hop Lacks Outbound Support");
        // A phone that does not require outbound is registered without it.
        edge.sends(&through(&edge, register(&bob, ";reg-id=1").set("Supported", "path"), path));
        assert!(!edge.expects("200").has("Require"));
        // A Contact without a reg-id needs no flow.
        edge.sends(&through(&edge, register(&bob, ""), path));
        assert!(!edge.expects("200").has("Require"));
    }
    edge.sends(&through(&edge, register(&bob, ";reg-id=1"), &[blind, finds]));
    let ok = edge.expects("200");
    assert_eq!((ok.value("Require"), ok.has("Flow-Timer")), ("outbound", false));
}

#[test]
fn a_register_with_reg_id_has_one_contact() {
    // checklist 135
    let sim = Simulation::new();
    let bob = sim.tcp("bob");
    let second = |expires: u32| format!("<sip:bob@192.0.2.99>;expires={expires}");
    bob.sends(&register(&bob, ";reg-id=1").with("Contact", second(600)));
    assert!(bob.expects("400").reason().contains("reg-id"));
    bob.sends(&bob.register().without("Contact"));
    assert!(!bob.expects("200").has("Contact"));
    // Other Contacts may be removed in the same request, and without a valid reg-id there may be several.
    bob.sends(&register(&bob, "").with("Contact", second(600)));
    bob.expects("200");
    bob.sends(&register(&bob, ";reg-id=1").with("Contact", second(0)));
    assert_eq!(bob.expects("200").values("Contact").filter(|contact| contact.contains("192.0.2.99")).count(), 0);
}

#[test]
fn a_phone_that_registers_again_replaces_its_flow() {
    // checklist 136
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.sends(&register(&bob, ";reg-id=1"));
    bob.expects("200");
    bob.disconnects();
    // The same flow over a new connection and with another URI.
    let contact = format!("<sip:bob@192.0.2.200;transport=tcp>;{INSTANCE};reg-id=1");
    bob.sends(&register(&bob, ";reg-id=1").set("Contact", &contact));
    assert_eq!(bob.expects("200").values("Contact").count(), 1);
    alice.calls("bob");
    assert_eq!(bob.expects("INVITE").uri(), "sip:bob@192.0.2.200;transport=tcp");
    bob.sends(&register(&bob, ";reg-id=2"));
    assert_eq!(bob.expects("200").values("Contact").count(), 2, "another one beside it");
}

#[test]
fn a_phone_is_called_over_its_udp_flow() {
    // checklist 138
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let contact = format!("<sip:bob@192.0.2.200:5066>;{INSTANCE};reg-id=1");
    bob.sends(&bob.register().set("Contact", contact).with("Supported", "outbound"));
    bob.expects("200");
    alice.calls("bob");
    assert_eq!(bob.expects("INVITE").uri(), "sip:bob@192.0.2.200:5066", "the name is the phone's, the way is the flow");
}
