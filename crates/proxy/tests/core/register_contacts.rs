//! Contacts and Paths that the registrar accepts, limits or refuses (RFC 3261 10.3, RFC 3327, RFC 3608).

use location::WhenFull;
use proxy::{Event, Limit, UnannouncedPath};
use sim::{Simulation, Sip};

use crate::register::{bindings, query};

#[test]
fn the_length_of_a_contact_is_limited() {
    let sim = Simulation::with(|settings| settings.registrar.limits.max_text = 300);
    let bob = sim.udp("bob");
    bob.sends(&bob.register().with("User-Agent", "x".repeat(300)));
    assert!(bob.expects("400").reason().contains("too long"));
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::ContactSize))), 1);
    bob.registers();
}

#[test]
fn a_new_phone_replaces_the_oldest_if_configured() {
    // checklist 28
    let sim = Simulation::with(|settings| {
        settings.registrar.limits.max_contacts = 2;
        settings.registrar.limits.when_full = WhenFull::ReplaceOldest;
    });
    let phones = ["bob/a", "bob/b", "bob/c"].map(|name| sim.udp(name));
    for phone in &phones {
        phone.registers();
        sim.seconds(1);
    }
    let [_, second, third] = &phones;
    let left: Vec<_> = query(second).into_iter().map(|(uri, _)| uri).collect();
    assert_eq!(left, [second.contact(), third.contact()]);
    assert_eq!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::MaxContacts))), 1);
}

#[test]
fn a_contact_may_be_anything_except_the_server() {
    // checklist 17, 27, 29
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    for own in [
        "sip:bob@office.example",
        "sip:bob@192.0.2.1",
        "sip:bob@SIP.office.example:5060",
        "sip:bob@192.0.2.200;maddr=192.0.2.1",
        "sip:bob@office.example;gr=urn:uuid:1",
    ] {
        bob.sends(&bob.register().set("Contact", format_args!("<{own}>")));
        bob.expects("403");
    }
    bob.sends(&bob.register().set("Contact", "<tel:+4930123456>"));
    assert_eq!(bindings(&bob.expects("200"))[0].0, "tel:+4930123456");
    let alice = sim.udp("alice");
    alice.calls("bob");
    alice.expects("480");
    // URIs are equal by RFC 3261 19.1.4, not by their spelling.
    for same in ["<sip:%62ob@192.0.2.11:5060>;expires=0", "<sip:bob@192.0.2.11:5060;x=1>;expires=0"] {
        bob.registers();
        bob.sends(&bob.register().set("Contact", same));
        assert_eq!(bindings(&bob.expects("200")).len(), 1, "{same}");
    }
}

#[test]
fn an_address_of_record_of_the_user_is_refused_as_contact() {
    // checklist 29, 150
    let sim = Simulation::with(|settings| {
        settings.domains = vec!["192.0.2.1".into()];
        settings.listeners.iter_mut().for_each(|listener| listener.address.set_port(5062));
    });
    let bob = sim.udp("bob");
    let register = || bob.register().to("sip:192.0.2.1").set("To", "<sip:bob@192.0.2.1>");
    for own in ["sip:bob@192.0.2.1", "sip:bob@192.0.2.1;gr=urn:uuid:1", "sip:bob@192.0.2.1:5062"] {
        bob.sends(&register().set("Contact", format_args!("<{own}>")));
        bob.expects("403");
    }
    // Another program on the same machine with the same address.
    bob.sends_from(std::net::SocketAddr::from(([192, 0, 2, 1], 5070)));
    bob.sends(&register().set("Contact", "<sip:bob@192.0.2.1:5070>"));
    bob.expects("200");
}

#[test]
fn a_contact_with_an_instance_must_be_a_sip_uri() {
    // checklist 27, 150
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    let tel = |params: &str| format!("<tel:+4930123456>;+sip.instance=\"<urn:uuid:1>\"{params}");
    bob.sends(&bob.register().set("Contact", tel("")));
    bob.expects("403");
    bob.sends(&bob.register().set("Contact", tel(";expires=0")));
    bob.expects("200");
    bob.sends(&bob.register().set("Contact", "<mailto:bob@elsewhere.example>;audio"));
    let ok = bob.expects("200");
    assert!(ok.value("Contact").starts_with("<mailto:bob@elsewhere.example>;audio;expires="), "{ok}");
}

#[test]
fn unsupported_required_extensions_get_420() {
    // checklist 6, 146
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    bob.sends(&bob.register().with("Require", "path, teleport").with("Require", "levitation"));
    let refused = bob.expects("420");
    assert_eq!(refused.values("Unsupported").collect::<Vec<_>>(), ["teleport, levitation"]);
    let path = ["<sip:edge1.example;lr>", "<sip:edge2.example;lr>"];
    bob.sends(&bob.register().with("Require", "path").with("Path", path[0]).with("Path", path[1]));
    assert_eq!(bob.expects("200").values("Path").collect::<Vec<_>>(), path);
}

#[test]
fn a_path_that_the_phone_does_not_support_is_accepted() {
    // checklist 146
    let sim = Simulation::with(|settings| settings.registrar.unannounced_path = UnannouncedPath::Refuse);
    let bob = sim.udp("bob");
    let register = || bob.register().with("Path", "<sip:edge.example;lr>");
    bob.sends(&register());
    assert_eq!(bob.expects("420").value("Unsupported"), "path");
    assert_eq!(query(&bob), []);
    bob.sends(&register().with("Supported", "outbound, path"));
    assert_eq!(bob.expects("200").value("Path"), "<sip:edge.example;lr>");
    sim.reconfigure(|settings| settings.registrar.unannounced_path = UnannouncedPath::Accept);
    bob.sends(&register());
    assert_eq!(bob.expects("200").value("Path"), "<sip:edge.example;lr>");
}

#[test]
fn a_path_that_leads_nowhere_is_refused() {
    // checklist 146
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    for bad in ["sip:edge.example", "<tel:1>", "<sip:edge.example", "<sip:>"] {
        bob.sends(&bob.register().with("Path", bad));
        assert!(bob.expects("400").reason().contains("Path"), "{bad}");
    }
    assert_eq!(query(&bob), []);
}

#[test]
fn the_service_route_is_returned() {
    // RFC 3608 6.3
    let route = ["sip:proxy1.office.example;lr", "sip:proxy2.office.example;lr"];
    let sim = Simulation::with(|settings| settings.registrar.service_route = route.map(Into::into).to_vec());
    let bob = sim.udp("bob");
    let told = |ok: Sip| ok.values("Service-Route").map(str::to_owned).collect::<Vec<_>>();
    bob.sends(&bob.register());
    assert_eq!(told(bob.expects("200")), route.map(|uri| format!("<{uri}>")));
    bob.sends(&bob.register().without("Contact"));
    assert_eq!(told(bob.expects("200")), route.map(|uri| format!("<{uri}>")), "the same to a question");
    bob.sends(&bob.register().set("Contact", "<sip:bob@192.0.2.1>"));
    assert_eq!(told(bob.expects("403")), [""; 0]);
}

#[test]
fn record_route_is_ignored() {
    // checklist 2
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    bob.sends(&bob.register().with("Record-Route", "<sip:192.0.2.200;lr>"));
    assert!(!bob.expects("200").has("Record-Route"));
}
