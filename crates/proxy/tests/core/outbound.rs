//! Flows that phones keep open: outbound at the registrar (RFC 5626 6), on the wire.

use sim::{Agent, Simulation, Sip};

const INSTANCE: &str = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";

/// A REGISTER of a phone that speaks outbound, with these parameters in its Contact.
fn register(phone: &Agent, params: &str) -> Sip {
    let contact = format!("<{}>;{INSTANCE}{params}", phone.contact());
    phone.register().set("Contact", contact).with("Supported", "path, outbound")
}

/// The same as a proxy in front of us sends it on.
fn through(edge: &Agent, register: Sip, path: &[&str]) -> Sip {
    path.iter().fold(register.with_first("Via", edge.via()), |register, path| register.with("Path", path))
}

#[test]
fn a_flow_is_registered_as_one() {
    // checklist 137
    let sim = Simulation::new();
    let (bob, carol) = (sim.tcp("bob"), sim.udp("carol"));
    bob.sends(&register(&bob, ";reg-id=1").with("Require", "outbound"));
    let ok = bob.expects("200");
    assert_eq!((ok.value("Require"), ok.value("Flow-Timer")), ("outbound", "120"));
    assert!(ok.value("Contact").contains(INSTANCE) && ok.param("Contact", "reg-id") == Some("1"), "{ok}");
    // For how long a NAT keeps a UDP flow is not ours to say.
    carol.sends(&register(&carol, ";reg-id=1"));
    let ok = carol.expects("200");
    assert_eq!((ok.value("Require"), ok.has("Flow-Timer")), ("outbound", false));
    sim.reconfigure(|settings| settings.registrar.flow_timer = None);
    bob.sends(&register(&bob, ";reg-id=1"));
    let ok = bob.expects("200");
    assert_eq!((ok.value("Require"), ok.has("Flow-Timer")), ("outbound", false));
}

#[test]
fn nothing_is_promised_that_was_not_asked_for() {
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
    // A reg-id says nothing without its instance.
    let alone = format!("<{}>;reg-id=1", bob.contact());
    bob.sends(&bob.register().set("Contact", alone).with("Supported", "outbound"));
    silent(bob.expects("200"));
    bob.sends(&bob.register().without("Contact").with("Supported", "outbound"));
    silent(bob.expects("200"));
}

#[test]
fn the_first_hop_has_to_find_the_flow_again() {
    // checklist 133, 134
    let sim = Simulation::new();
    let (bob, edge) = (sim.udp("bob"), sim.udp("edge"));
    let (blind, finds) = ("<sip:edge.example;lr>", "<sip:token@edge.example;lr;ob>");
    for path in [&[][..], &[blind], &[finds, blind]] {
        edge.sends(&through(&edge, register(&bob, ";reg-id=1"), path));
        assert_eq!(edge.expects("439").reason(), "First Hop Lacks Outbound Support");
        // A phone that does not insist is registered without.
        edge.sends(&through(&edge, register(&bob, ";reg-id=1").set("Supported", "path"), path));
        assert!(!edge.expects("200").has("Require"));
        // One without a reg-id has nothing to find.
        edge.sends(&through(&edge, register(&bob, ""), path));
        assert!(!edge.expects("200").has("Require"));
    }
    edge.sends(&through(&edge, register(&bob, ";reg-id=1"), &[blind, finds]));
    let ok = edge.expects("200");
    assert_eq!((ok.value("Require"), ok.has("Flow-Timer")), ("outbound", false));
}

#[test]
fn a_flow_comes_alone() {
    // checklist 135
    let sim = Simulation::new();
    let bob = sim.tcp("bob");
    let second = |expires: u32| format!("<sip:bob@192.0.2.99>;expires={expires}");
    bob.sends(&register(&bob, ";reg-id=1").with("Contact", second(600)));
    assert!(bob.expects("400").reason().contains("reg-id"));
    bob.sends(&bob.register().without("Contact"));
    assert!(!bob.expects("200").has("Contact"));
    // Others may leave in the same request, and without a reg-id that counts there may be several.
    bob.sends(&register(&bob, "").with("Contact", second(600)));
    bob.expects("200");
    bob.sends(&register(&bob, ";reg-id=1").with("Contact", second(0)));
    assert_eq!(bob.expects("200").values("Contact").filter(|contact| contact.contains("192.0.2.99")).count(), 0);
}

#[test]
fn a_phone_that_comes_back_replaces_its_flow() {
    // checklist 136
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    bob.sends(&register(&bob, ";reg-id=1"));
    bob.expects("200");
    bob.disconnects();
    // The same flow from a new connection and with another URI.
    let contact = format!("<sip:bob@192.0.2.200;transport=tcp>;{INSTANCE};reg-id=1");
    bob.sends(&register(&bob, ";reg-id=1").set("Contact", &contact));
    assert_eq!(bob.expects("200").values("Contact").count(), 1);
    alice.calls("bob");
    assert_eq!(bob.expects("INVITE").uri(), "sip:bob@192.0.2.200;transport=tcp");
    bob.sends(&register(&bob, ";reg-id=2"));
    assert_eq!(bob.expects("200").values("Contact").count(), 2, "another one beside it");
}

#[test]
fn a_udp_flow_is_the_way_to_its_phone() {
    // checklist 138
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let contact = format!("<sip:bob@192.0.2.200:5066>;{INSTANCE};reg-id=1");
    bob.sends(&bob.register().set("Contact", contact).with("Supported", "outbound"));
    bob.expects("200");
    alice.calls("bob");
    assert_eq!(bob.expects("INVITE").uri(), "sip:bob@192.0.2.200:5066", "the name is the phone's, the way is the flow");
}
