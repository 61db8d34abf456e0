//! The ACK of a 2xx with the branch of the INVITE, or without a branch, as RFC 2543 clients and some others send it.
//! RFC 6026 7.1: in the state Accepted an ACK is passed to the transport user, so a proxy routes it by its Route or
//! Request-URI.

use sim::{Agent, Simulation, Sip, cseq};

/// The ACK of a 2xx on the branch of its INVITE, with and without the Route that the dialog has.
fn ack_on_branch(caller: &Agent, invite: &Sip, ok: &Sip) -> Sip {
    caller.within(invite, ok, "ACK").set("CSeq", cseq(invite, 0, "ACK")).set("Via", invite.value("Via"))
}

/// An INVITE without a branch, as in RFC 2543.
fn old(caller: &Agent, user: &str) -> Sip {
    let via = format!("SIP/2.0/UDP {}", caller.address);
    caller.request("INVITE", &format!("sip:{user}@office.example")).set("Via", via)
}

#[test]
fn the_ack_reaches_the_phone_of_a_stateless_invite() {
    for is_old in [false, true] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.registers();
        let invite = if is_old { old(&alice, "bob") } else { alice.request("INVITE", "sip:bob@office.example") };
        alice.sends(&invite);
        let received = bob.expects("INVITE");
        // The Contact of the phone names another user, which is the Request-URI of the ACK.
        let named = format!("sip:line2@{}", bob.address);
        bob.sends(&bob.answer(&received, 200).set("Contact", format_args!("<{named}>")));
        let ok = alice.expects("200");
        let ack = ack_on_branch(&alice, &invite, &ok);
        alice.sends(&ack);
        let at_bob = bob.expects("ACK");
        assert_eq!(at_bob.uri(), named, "the Request-URI is the caller's");
        assert!(!at_bob.has("Route"), "{at_bob}");
        // Each copy of the 2xx gets its ACK.
        alice.sends(&ack);
        bob.expects("ACK");
        // A client that ignores Record-Route.
        alice.sends(&ack.clone().without("Route"));
        assert_eq!(bob.expects("ACK").uri(), named);
        // Only the caller may send it.
        sim.udp("mallory").sends(&ack.clone().without("Route"));
        // The tags of another call are not accepted, even with the identifiers of this one.
        alice.sends(&ack.without("Route").set("To", "<sip:bob@office.example>;tag=another"));
        bob.receives_nothing();
    }
}

#[test]
fn the_ack_reaches_the_phone_of_a_forked_invite() {
    for is_old in [false, true] {
        let sim = Simulation::new();
        let (alice, bob, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
        bob.registers();
        mobile.registers();
        let invite = if is_old { old(&alice, "bob") } else { alice.request("INVITE", "sip:bob@office.example") };
        alice.sends(&invite);
        alice.expects("100");
        let (received, cancelled) = (bob.expects("INVITE"), mobile.expects("INVITE"));
        mobile.answers(&cancelled, 180);
        alice.expects("180");
        bob.answers(&received, 200);
        let ok = alice.expects("200");
        let cancel = mobile.expects("CANCEL");
        mobile.answers(&cancel, 200);
        mobile.answers(&cancelled, 487);
        mobile.expects("ACK");
        let ack = ack_on_branch(&alice, &invite, &ok);
        alice.sends(&ack);
        let at_bob = bob.expects("ACK");
        assert_eq!(at_bob.uri(), bob.contact());
        assert!(!at_bob.has("Route"), "{at_bob}");
        alice.sends(&ack.clone().without("Route"));
        assert_eq!(bob.expects("ACK").uri(), bob.contact());
        sim.udp("mallory").sends(&ack.clone().without("Route"));
        alice.sends(&ack.without("Route").set("To", "<sip:bob@office.example>;tag=another"));
        bob.receives_nothing();
        mobile.receives_nothing();
    }
}

#[test]
fn each_phone_that_answered_gets_its_own_ack() {
    let sim = Simulation::new();
    let (alice, bob, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    bob.registers();
    mobile.registers();
    let (invite, [at_bob, at_mobile]) = alice.calls_phones("bob", [&bob, &mobile]);
    bob.answers(&at_bob, 200);
    let first = alice.expects("200");
    mobile.answers(&at_mobile, 200);
    let second = alice.expects("200");
    for (ok, phone) in [(first, &bob), (second, &mobile)] {
        let ack = ack_on_branch(&alice, &invite, &ok);
        alice.sends(&ack);
        phone.expects("ACK");
        alice.sends(&ack.without("Route"));
        phone.expects("ACK");
    }
    assert_eq!((bob.all_received(), mobile.all_received()), (vec![], vec![]));
}

#[test]
fn the_ack_of_a_failure_response_follows_the_pin() {
    // RFC 3261 16.11, 17.1.1.3: the ACK has the Request-URI of the INVITE, which must be replaced again.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    let ack = bob.expects("ACK");
    assert_eq!((ack.uri(), ack.branch()), (received.uri(), received.branch()));
}

#[test]
fn the_ack_of_a_failure_response_follows_the_pin_before_and_after_a_2xx() {
    // A proxy below refuses, and then a phone answers after all (RFC 3261 16.7 step 5). The network may reorder the two
    // responses.
    for refused_first in [false, true] {
        for worker in [0, 1] {
            let sim = Simulation::with_workers(2, |_| {});
            let (alice, below) = (sim.udp("alice"), sim.udp("bob"));
            alice.reaches_worker(0);
            below.reaches_worker(0);
            below.registers();
            below.reaches_worker(worker);
            let invite = alice.calls("bob");
            let received = below.expects("INVITE");
            let named = format!("sip:line2@{}", below.address);
            let success = below.answer(&received, 200).set("Contact", format_args!("<{named}>"));
            let refusal = below.answer(&received, 486).set("To", "<sip:bob@office.example>;tag=another");
            let mut finals = [success, refusal];
            finals.rotate_left(usize::from(refused_first));
            let mut heard_finals = finals.map(|answer| {
                below.sends(&answer);
                alice.expects(&answer.status().unwrap().to_string())
            });
            heard_finals.rotate_left(usize::from(refused_first));
            let [ok, busy] = &heard_finals;
            for _ in 0..2 {
                alice.acks(&invite, busy);
                let ack = below.expects("ACK");
                assert_eq!((ack.uri(), ack.branch()), (received.uri(), received.branch()), "{refused_first} {worker}");
                // A client that ignores Record-Route.
                alice.sends(&ack_on_branch(&alice, &invite, ok).without("Route"));
                assert_eq!(below.expects("ACK").uri(), named, "{refused_first} {worker}");
            }
        }
    }
}

#[test]
fn the_ack_reaches_a_phone_that_answered_after_the_final_response() {
    // RFC 3261 16.7 step 5: the 2xx is forwarded nevertheless.
    let sim = Simulation::new();
    let (alice, bob, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    bob.registers();
    mobile.registers();
    let (invite, [at_bob, at_mobile]) = alice.calls_phones("bob", [&bob, &mobile]);
    bob.answers(&at_bob, 603);
    bob.expects("ACK");
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    let cancel = mobile.expects("CANCEL");
    mobile.answers(&cancel, 200);
    sim.wait(std::time::Duration::from_secs(33));
    let refused = loop {
        let received = alice.next_message();
        if received.status() == Some(603) {
            break received;
        }
    };
    mobile.answers(&at_mobile, 200);
    let ok = loop {
        let received = alice.next_message();
        if received.status() == Some(200) {
            break received;
        }
    };
    alice.sends(&ack_on_branch(&alice, &invite, &ok));
    mobile.expects("ACK");
    alice.sends(&ack_on_branch(&alice, &invite, &ok).without("Route"));
    mobile.expects("ACK");
    alice.acks(&invite, &refused);
    assert_eq!((bob.all_received(), mobile.all_received()), (vec![], vec![]));
}

#[test]
fn an_ack_before_any_final_response_is_not_forwarded() {
    // A phone that finds a call by its Call-ID and tags would take it for the ACK of another call.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    let ringing = alice.expects("180");
    let early = ack_on_branch(&alice, &invite, &ringing).to(invite.uri()).without("Route");
    alice.sends(&early.clone().set("To", "<sip:bob@office.example>;tag=another"));
    alice.sends(&early);
    bob.receives_nothing();
    // RFC 2543 has no tags: such an ACK of a failure response is forwarded.
    bob.answers(&received, 486);
    alice.expects("486");
    alice.sends(&early.set("To", invite.value("To")));
    bob.expects("ACK");
}

#[test]
fn the_ack_may_arrive_before_the_message_of_the_other_worker() {
    // The 200 arrives at another worker than its INVITE, and the ACK arrives before the message of that worker.
    let sim = Simulation::with_workers(2, |_| {});
    sim.core_messages_take(std::time::Duration::from_millis(50));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    alice.reaches_worker(0);
    bob.reaches_worker(1);
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let named = format!("sip:line2@{}", bob.address);
    bob.sends(&bob.answer(&received, 200).set("Contact", format_args!("<{named}>")));
    let ok = alice.expects("200");
    alice.sends(&ack_on_branch(&alice, &invite, &ok));
    assert_eq!(bob.expects("ACK").uri(), named);
}

#[test]
fn the_ack_reaches_a_phone_over_its_connection() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.tcp("alice"), sim.tcp("bob"));
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    let ack = ack_on_branch(&alice, &invite, &ok);
    alice.sends(&ack);
    bob.expects("ACK");
    alice.sends(&ack.without("Route"));
    assert_eq!(bob.expects("ACK").uri(), bob.contact());
}
