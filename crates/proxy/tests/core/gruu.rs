//! GRUUs on the wire: assigned by the registrar (RFC 5627 5), routed by the proxy (6.1).

use sim::{Agent, Simulation, Sip, uri_in};

/// A REGISTER of a phone with this instance that wants GRUUs.
fn register(phone: &Agent, instance: u8) -> Sip {
    let contact = format!("<{}>;+sip.instance=\"<urn:uuid:{instance}>\"", phone.contact());
    phone.register().set("Contact", contact).with("Supported", "gruu")
}

/// The public and the temporary GRUU of a Contact; empty if there is none.
fn gruus_in(contact: &str) -> (String, String) {
    let value = |name: &str| {
        let (_, rest) = contact.split_once(&format!(";{name}=\"")).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    (value("pub-gruu"), value("temp-gruu"))
}

/// Registers a phone and returns its GRUUs.
fn gruus(phone: &Agent, instance: u8) -> (String, String) {
    phone.sends(&register(phone, instance));
    let ok = phone.expects("200");
    let own = ok.values("Contact").find(|contact| uri_in(contact) == phone.contact());
    gruus_in(own.unwrap_or_default())
}

fn unregister(phone: &Agent) {
    phone.sends(&phone.register().set("Contact", "*").with("Expires", 0));
    phone.expects("200");
}

/// The response to a call to a URI, if no phone is called.
fn refusal(caller: &Agent, uri: &str) -> String {
    let invite = caller.invites(uri);
    let refused = caller.next_message();
    caller.acks(&invite, &refused);
    refused.what().to_owned()
}

/// A call to a URI rings this phone and no other.
fn rings(caller: &Agent, uri: &str, phone: &Agent) {
    let invite = caller.invites(uri);
    assert_eq!(phone.expects("INVITE").uri(), phone.contact(), "{uri}");
    caller.cancels(&invite);
    phone.expects("CANCEL");
    caller.all_received();
}

#[test]
fn a_phone_that_supports_gruu_gets_gruus() {
    // checklist 149
    let sim = Simulation::new();
    let (bob, carol) = (sim.udp("bob"), sim.udp("carol"));
    let (public, temporary) = gruus(&bob, 1);
    assert!(public.starts_with("sip:bob@office.example;gr=urn:uuid:1."), "{public}");
    assert!(temporary.starts_with("sip:tgruu.") && temporary.ends_with("@office.example;gr"), "{temporary}");
    bob.sends(&register(&bob, 1).without("Supported"));
    assert_eq!(gruus_in(bob.expects("200").value("Contact")), Default::default());
    carol.sends(&carol.register().with("Supported", "gruu").with("Require", "gruu"));
    assert_eq!(gruus_in(carol.expects("200").value("Contact")), Default::default(), "without an instance");
}

#[test]
fn the_public_gruu_stays_and_there_are_many_temporary_ones() {
    // checklist 149, 151
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    let (public, first) = gruus(&desk, 1);
    gruus(&mobile, 2);
    sim.seconds(60);
    let (again, second) = gruus(&desk, 1);
    assert_eq!(public, again);
    assert_ne!(first, second);
    for uri in [&public, &first, &second] {
        rings(&alice, uri, &desk);
        mobile.receives_nothing();
    }
    // Another phone also gets the newest ones, and a retransmission gets the same as the first request.
    let copy = register(&mobile, 2);
    mobile.sends(&copy);
    let ok = mobile.expects("200");
    assert!(ok.values("Contact").any(|contact| gruus_in(contact) == (public.clone(), second.clone())), "{ok}");
    mobile.sends(&copy);
    assert_eq!(mobile.expects("200").values("Contact").collect::<Vec<_>>(), ok.values("Contact").collect::<Vec<_>>());
}

#[test]
fn a_new_call_id_invalidates_old_temporary_gruus() {
    // checklist 149, 151
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (public, before) = gruus(&bob, 1);
    sim.seconds(60);
    bob.sends(&register(&bob, 1).set("Call-ID", "rebooted"));
    let (same, after) = gruus_in(bob.expects("200").value("Contact"));
    assert_eq!(public, same);
    assert_eq!(refusal(&alice, &before), "404");
    rings(&alice, &after, &bob);
    rings(&alice, &public, &bob);
}

#[test]
fn temporary_gruus_end_with_the_registration() {
    // checklist 151, 152
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (public, temporary) = gruus(&bob, 1);
    unregister(&bob);
    assert_eq!(refusal(&alice, &public), "480", "it waits for its phone");
    assert_eq!(refusal(&alice, &temporary), "404");
    sim.seconds(60);
    let (same, other) = gruus(&bob, 1);
    assert_eq!(public, same);
    assert_eq!(refusal(&alice, &temporary), "404", "also when the phone has come back");
    rings(&alice, &other, &bob);
    sim.seconds(3600);
    assert_eq!(refusal(&alice, &public), "480", "not only when it says goodbye");
    assert_eq!(refusal(&alice, &other), "404");
}

#[test]
fn forged_gruus_are_refused() {
    // checklist 150, 151, 152
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (public, temporary) = gruus(&bob, 1);
    let middle = temporary.len() / 2;
    let other = if temporary.as_bytes()[middle] == b'0' { "1" } else { "0" };
    let tampered = format!("{}{other}{}", &temporary[..middle], &temporary[middle + 1..]);
    for forged in [
        public.replace("uuid:1.", "uuid:2."),
        public.replace("bob", "carol"),
        "sip:bob@office.example;gr=urn:uuid:1".to_owned(),
        "sip:bob@office.example;gr".to_owned(),
        "sip:tgruu.@office.example;gr".to_owned(),
        tampered,
        temporary.replace("tgruu.", "tgruu.00"),
    ] {
        assert_eq!(refusal(&alice, &forged), "404", "{forged}");
    }
    let contact = format!("{};pub-gruu=\"sip:x@y;gr=z\";temp-gruu=\"sip:x@y;gr\"", register(&bob, 1).value("Contact"));
    bob.sends(&register(&bob, 1).set("Contact", &contact));
    let ok = bob.expects("200");
    assert!(!ok.to_string().contains("x@y") && gruus_in(ok.value("Contact")).0 == public, "{ok}");
    bob.sends(&register(&bob, 1).set("Contact", &contact).without("Supported"));
    assert!(!bob.expects("200").to_string().contains("x@y"));
    for own in [public, temporary] {
        bob.sends(&bob.register().set("Contact", format_args!("<{own}>")));
        bob.expects("403");
    }
}

#[test]
fn a_dialog_with_a_gruu_stays_with_its_phone() {
    // checklist 152, 154
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    let (public, _) = gruus(&desk, 1);
    gruus(&mobile, 2);
    let invite = alice.invites(&public);
    let ringing = desk.expects("INVITE");
    desk.sends(&desk.answer(&ringing, 200).set("Contact", format_args!("<{public}>")));
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    assert_eq!(desk.expects("ACK").uri(), desk.contact());
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    let bye = desk.expects("BYE");
    assert_eq!((bye.uri(), bye.has("Route")), (&*desk.contact(), false));
    desk.answers(&bye, 200);
    alice.expects("200");
}

#[test]
fn a_remaining_route_replaces_the_path() {
    // checklist 152
    let sim = Simulation::new();
    let (alice, edge, bob) = (sim.udp("alice"), sim.udp("edge"), sim.udp("bob"));
    let path = format!("<sip:{};lr>", edge.address);
    edge.sends(&register(&bob, 1).with_first("Via", edge.via()).with("Path", &path));
    let (public, _) = gruus_in(edge.expects("200").value("Contact"));
    let invite = alice.invites(&public);
    let passed = edge.expects("INVITE");
    assert_eq!((passed.uri(), passed.value("Route")), (&*bob.contact(), &*path));
    // The edge proxy stays in the dialog too.
    let ok = edge.answer(&passed.with_first("Record-Route", &path), 200).set("Contact", format_args!("<{public}>"));
    edge.sends(&ok);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    let routes = |sip: &Sip| sip.values("Route").map(str::to_owned).collect::<Vec<_>>();
    let ack = edge.expects("ACK");
    assert_eq!((ack.uri(), routes(&ack)), (&*bob.contact(), vec![path.clone()]));
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    let bye = edge.expects("BYE");
    assert_eq!((bye.uri(), routes(&bye)), (&*bob.contact(), vec![path]));
    edge.answers(&bye, 200);
    alice.expects("200");
}
