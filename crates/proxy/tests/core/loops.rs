//! Requests that come back: Max-Forwards (RFC 3261 16.3 step 3) and loop detection (step 4, RFC 5393).

use sim::{Agent, Simulation, Sip};

/// alice, bob with a phone, and a gateway that is also registered as one of bob's phones.
fn setup(sim: &Simulation) -> (Agent, Agent, Agent) {
    let (alice, bob, gateway) = (sim.udp("alice"), sim.udp("bob"), sim.udp("gateway"));
    bob.registers();
    gateway.sends(&gateway.register().set("To", "<sip:bob@office.example>"));
    gateway.expects("200");
    (alice, bob, gateway)
}

/// The request as a proxy forwards it.
fn forwarded(gateway: &Agent, received: &Sip, uri: &str) -> Sip {
    received.clone().to(uri).with_first("Via", gateway.via()).set("Max-Forwards", 60)
}

#[test]
fn the_same_request_again_is_a_loop() {
    // checklist 37, 127, 129
    let sim = Simulation::new();
    let (alice, bob, gateway) = setup(&sim);
    let (invite, [at_bob, at_gateway]) = alice.calls_phones("bob", [&bob, &gateway]);
    let again = forwarded(&gateway, &at_gateway, "sip:bob@office.example");
    gateway.sends(&again);
    let looped = gateway.expects("482");
    gateway.acks(&again, &looped);
    bob.receives_nothing();
    gateway.answers(&at_gateway, 482);
    gateway.expects("ACK");
    bob.answers(&at_bob, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn the_same_request_for_another_user_is_a_spiral_and_allowed() {
    // checklist 128, 129
    let sim = Simulation::new();
    let (alice, bob, gateway) = setup(&sim);
    let (desk, mobile) = (sim.udp("carol/desk"), sim.udp("carol/mobile"));
    desk.registers();
    mobile.registers();
    alice.calls("bob");
    bob.expects("INVITE");
    let at_gateway = gateway.expects("INVITE");
    gateway.sends(&forwarded(&gateway, &at_gateway, "sip:carol@office.example"));
    gateway.expects("100");
    let first = desk.expects("INVITE");
    mobile.expects("INVITE");
    assert_eq!(first.values("Via").count(), 4);
}

#[test]
fn our_own_route_value_does_not_hide_a_loop() {
    // checklist 128
    let sim = Simulation::new();
    let (alice, bob, gateway) = setup(&sim);
    alice.calls("bob");
    bob.expects("INVITE");
    let at_gateway = gateway.expects("INVITE");
    // The Route value is removed before the loop check.
    let again = forwarded(&gateway, &at_gateway, "sip:bob@office.example").with("Route", "<sip:192.0.2.1;lr>");
    gateway.sends(&again);
    gateway.expects("482");
}

#[test]
fn the_loop_part_of_the_branch_does_not_depend_on_the_method() {
    // checklist 56, 128
    let sim = Simulation::new();
    let (alice, bob, _gateway) = setup(&sim);
    alice.calls("bob");
    let invite = bob.expects("INVITE");
    let same = |request: Sip| ["Call-ID", "From"].iter().fold(request, |r, name| r.set(name, invite.value(name)));
    alice.sends(&same(alice.request("OPTIONS", "sip:bob@office.example")));
    let options = bob.expects("OPTIONS");
    let tail = |sip: &Sip| sip.branch()["z9hG4bKt00".len() + 18..][..16].to_owned();
    assert_eq!(tail(&invite), tail(&options));
    assert_ne!(invite.branch(), options.branch());
}

#[test]
fn a_foreign_branch_that_looks_like_ours_is_not_a_loop() {
    // checklist 129
    let sim = Simulation::new();
    let (alice, bob, gateway) = setup(&sim);
    alice.calls("bob");
    bob.expects("INVITE");
    let at_gateway = gateway.expects("INVITE");
    let again = forwarded(&gateway, &at_gateway, "sip:bob@office.example");
    let elsewhere = again.to_string().replace("UDP 192.0.2.1:5060", "UDP 192.0.2.200:5060");
    gateway.sends_raw(elsewhere);
    gateway.expects("100");
}

#[test]
fn max_forwards_zero_is_refused() {
    // checklist 36, 49
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let options = alice.request("OPTIONS", "sip:bob@office.example");
    alice.sends(&options.clone().set("Max-Forwards", 0));
    alice.expects("483");
    let again = options.set("Via", alice.via());
    alice.sends(&again.clone().set("Max-Forwards", 1));
    assert_eq!(bob.expects("OPTIONS").value("Max-Forwards"), "0");
    alice.sends(&again.set("Via", alice.via()).without("Max-Forwards"));
    assert_eq!(bob.expects("OPTIONS").value("Max-Forwards"), "70");
    bob.sends(&bob.register().set("Max-Forwards", 0));
    bob.expects("200");
    alice.sends(&alice.request("OPTIONS", "sip:office.example").set("Max-Forwards", 0));
    alice.expects("200");
}

/// The Max-Breadth that each phone received.
fn breadths<const N: usize>(phones: [&Agent; N]) -> [String; N] {
    phones.map(|phone| phone.expects("INVITE").value("Max-Breadth").to_owned())
}

#[test]
fn max_breadth_is_added_limited_and_divided() {
    // checklist 130: a quarter, rounded up, is kept where further phones may join.
    for (late, asked, expected) in [
        (false, None, ["30", "30"]),
        (false, Some(7), ["4", "3"]),
        (false, Some(1000), ["30", "30"]),
        (true, None, ["23", "22"]),
        (true, Some(7), ["3", "2"]),
        (true, Some(2), ["1", "1"]),
    ] {
        let sim = Simulation::with(|settings| settings.forking.late_registration = late);
        let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
        desk.registers();
        mobile.registers();
        let invite = alice.request("INVITE", "sip:bob@office.example");
        let invite = match asked {
            Some(breadth) => invite.with("Max-Breadth", breadth),
            None => invite,
        };
        alice.sends(&invite);
        assert_eq!(breadths([&desk, &mobile]), expected, "{asked:?}");
    }
}

#[test]
fn without_breadth_for_all_the_targets_are_tried_one_after_another() {
    // checklist 131, 132
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let invite = alice.request("INVITE", "sip:bob@office.example").with("Max-Breadth", 1);
    alice.sends(&invite);
    alice.expects("100");
    let received = desk.expects("INVITE");
    assert_eq!(received.value("Max-Breadth"), "1");
    mobile.receives_nothing();
    desk.answers(&received, 486);
    desk.expects("ACK");
    let received = mobile.expects("INVITE");
    assert_eq!(received.value("Max-Breadth"), "1", "what a finished branch held is used again");
    mobile.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
}

#[test]
fn max_breadth_zero_gets_440() {
    // checklist 131
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.request("INVITE", "sip:bob@office.example").with("Max-Breadth", 0);
    alice.sends(&invite);
    let refused = alice.expects("440");
    alice.acks(&invite, &refused);
    bob.receives_nothing();
}

#[test]
fn requests_within_a_dialog_have_a_max_breadth() {
    // checklist 130: all forwarded requests except CANCEL.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    alice.cancels(&invite);
    assert!(!bob.expects("CANCEL").has("Max-Breadth"));
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    assert_eq!(bob.expects("ACK").value("Max-Breadth"), "60");
    alice.sends(&alice.within(&invite, &ok, "INFO").with("Max-Breadth", 5));
    assert_eq!(bob.expects("INFO").values("Max-Breadth").collect::<Vec<_>>(), ["5"]);
    bob.sends(&bob.within_as_callee(&invite, &ok, "BYE"));
    assert_eq!(alice.expects("BYE").value("Max-Breadth"), "60");
}

#[test]
fn a_request_to_the_server_itself_is_not_merged() {
    // checklist 104: a UAS compares a request with ongoing transactions, and ours end with the response.
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let options = alice.request("OPTIONS", "sip:office.example");
    for branch in ["z9hG4bKone", "z9hG4bKtwo"] {
        let via = format!("SIP/2.0/UDP {};branch={branch}", alice.address);
        alice.sends(&options.clone().set("Via", via));
        assert_eq!(alice.expects("200").branch(), branch);
    }
}
