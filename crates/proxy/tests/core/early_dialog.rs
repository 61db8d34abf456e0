//! A caller that supports 199 learns which early dialogs have ended (RFC 6228 6).

use sim::{Agent, Simulation, Sip};

/// alice calls bob with this header; both phones ring.
fn ring(sim: &Simulation, header: (&str, &str)) -> (Agent, Sip, [(Agent, Sip); 2]) {
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let invite = alice.request("INVITE", "sip:bob@office.example").with(header.0, header.1);
    alice.sends(&invite);
    alice.expects("100");
    let phones = [desk, mobile].map(|phone| {
        let received = phone.expects("INVITE");
        phone.answers(&received, 180);
        alice.expects("180");
        (phone, received)
    });
    (alice, invite, phones)
}

#[test]
fn a_busy_phone_ends_its_early_dialog_with_a_199() {
    let sim = Simulation::new();
    let (alice, invite, [(desk, at_desk), (mobile, at_mobile)]) = ring(&sim, ("Supported", "replaces, 199"));
    desk.answers(&at_desk, 486);
    desk.expects("ACK");
    let ended = alice.expects("199");
    assert_eq!(ended.param("To", "tag"), Some("bob-desk"));
    assert!(ended.value("Reason").starts_with("SIP;cause=486"), "{ended}");
    for name in ["Contact", "Record-Route", "Require", "Supported"] {
        assert!(!ended.has(name), "{ended}");
    }
    // The last phone needs none, because its final response is forwarded.
    mobile.answers(&at_mobile, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn each_early_dialog_of_a_fork_downstream_gets_a_199() {
    let sim = Simulation::new();
    let (alice, _, [(desk, at_desk), _]) = ring(&sim, ("Supported", "199"));
    let second = desk.answer(&at_desk, 183);
    let to = second.value("To").replace("bob-desk", "elsewhere");
    desk.sends(&second.set("To", to));
    alice.expects("183");
    // A copy does not cause a third one.
    desk.answers(&at_desk, 180);
    alice.expects("180");
    desk.answers(&at_desk, 404);
    let tags = [alice.expects("199"), alice.expects("199")].map(|ended| ended.param("To", "tag").map(str::to_owned));
    assert_eq!(tags, [Some("bob-desk".into()), Some("elsewhere".into())]);
    alice.receives_nothing();
}

#[test]
fn a_199_sent_by_the_phone_is_not_repeated() {
    let sim = Simulation::new();
    let (alice, _, [(desk, at_desk), _]) = ring(&sim, ("Supported", "199"));
    desk.answers(&at_desk, 199);
    alice.expects("199");
    desk.answers(&at_desk, 486);
    desk.expects("ACK");
    alice.receives_nothing();
}

#[test]
fn a_199_needs_support_by_the_caller_and_is_not_sent_reliably() {
    for header in [("Supported", "replaces"), ("Require", "100rel"), ("Supported", "199\r\nRequire: 100rel")] {
        let sim = Simulation::new();
        let (alice, _, [(desk, at_desk), _]) = ring(&sim, header);
        desk.answers(&at_desk, 486);
        desk.expects("ACK");
        alice.receives_nothing();
    }
}

#[test]
fn no_199_without_an_early_dialog_or_after_the_final_response() {
    let sim = Simulation::new();
    let (alice, invite, [(desk, at_desk), (mobile, at_mobile)]) = ring(&sim, ("Supported", "199"));
    let third = sim.udp("bob/third");
    third.registers();
    let received = third.expects("INVITE");
    third.answers(&received, 486);
    alice.receives_nothing();
    desk.answers(&at_desk, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.answers(&at_mobile, 486);
    alice.receives_nothing();
}

#[test]
fn a_redirecting_phone_ends_its_early_dialog_with_a_199() {
    let sim = Simulation::new();
    let carol = sim.udp("carol");
    carol.registers();
    let (alice, _, [(desk, at_desk), _]) = ring(&sim, ("Supported", "199"));
    desk.sends(&desk.answer(&at_desk, 302).set("Contact", "<sip:carol@office.example>"));
    let ended = alice.expects("199");
    assert!(ended.value("Reason").starts_with("SIP;cause=302"), "{ended}");
    carol.expects("INVITE");
}
