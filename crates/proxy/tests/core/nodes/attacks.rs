//! What somebody can do who reads and writes between the nodes, or knows a dialog.

use proxy::{Authentication, Event, NodeRequest};
use sim::{Agent, NodeMessage, Simulation, Sip};

use super::{Kind, count, nodes, phone, registered};
use crate::accounts::{ALICE, BOB, add_accounts};

/// An INVITE of alice that node 0 has handed over to node 1 for bob, and what bob received.
fn handed_over(sim: &Simulation) -> Option<(Agent, Agent, NodeMessage, Sip)> {
    let (alice, bob) = (registered(sim, "alice", Kind::Udp, 0), registered(sim, "bob", Kind::Nat, 1));
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example").with_body("hello"));
    let received = bob.expects("MESSAGE");
    bob.answers(&received, 200);
    alice.expects("200");
    let message = sim.between_nodes().into_iter().find(|message| message.sip.is_request())?;
    Some((alice, bob, message, received))
}

#[test]
fn a_copy_is_a_retransmission_for_the_phone() {
    let sim = nodes(3);
    let (alice, bob, message, received) = handed_over(&sim).unwrap();
    for transport in [Kind::Udp, Kind::Tcp] {
        let mallory = phone(&sim, if transport == Kind::Udp { "mallory" } else { "mallory/2" }, transport, 1);
        mallory.sends_raw(message.bytes.to_vec());
        assert_eq!(bob.expects("MESSAGE"), received, "octet by octet");
        bob.answers(&received, 200);
        // The response goes to the node that the phone answers, and from there to the caller.
        mallory.receives_nothing();
        alice.expects("200");
    }
    // Another node refuses it, and so does the right one when it is old.
    let mallory = phone(&sim, "mallory/3", Kind::Udp, 2);
    mallory.sends_raw(message.bytes.to_vec());
    mallory.receives_nothing();
    assert_eq!(count(&sim, NodeRequest::FlowGone), 1);
    let mallory = phone(&sim, "mallory/4", Kind::Udp, 1);
    sim.seconds(33);
    mallory.sends_raw(message.bytes.to_vec());
    mallory.expects("403");
    bob.receives_nothing();
    assert_eq!(count(&sim, NodeRequest::Late), 1);
    sim.skip_final_check();
}

#[test]
fn no_other_octet_may_be_changed() {
    // checklist 140
    let sim = nodes(2);
    let (_, bob, message, _) = handed_over(&sim).unwrap();
    let mallory = phone(&sim, "mallory", Kind::Tcp, 1);
    let mut refused = 0;
    for at in 0..message.bytes.len() {
        let mut forged = message.bytes.to_vec();
        forged[at] = if forged[at] == b'3' { b'4' } else { b'3' };
        mallory.sends_raw(forged);
        bob.receives_nothing();
        refused += count(&sim, NodeRequest::Forged);
        let _ = mallory.all_received();
    }
    // The others are no SIP, or have no token.
    assert!(refused * 10 > message.bytes.len() * 6, "{refused} of {}", message.bytes.len());
    assert_eq!(count(&sim, NodeRequest::Delivered), 1);
    sim.skip_final_check();
}

#[test]
fn forged_requests_reach_no_phone() {
    // checklist 141
    let sim = nodes(2);
    let (_, bob, message, _) = handed_over(&sim).unwrap();
    let mallory = phone(&sim, "mallory", Kind::Tcp, 1);
    let route = message.sip.value("Route").to_owned();
    let (token, rest) = route.split_once('@').unwrap();
    let other = |request: Sip| request.with("Route", &route);
    let attempts = [
        // The token for another request: a call, a CANCEL, the same request with another body or header.
        other(mallory.request("INVITE", message.sip.uri())),
        other(mallory.request("ACK", message.sip.uri())),
        other(mallory.request("MESSAGE", message.sip.uri())),
        (*message.sip).clone().with_body("other"),
        (*message.sip).clone().with("Subject", "x"),
        (*message.sip).clone().set("Via", mallory.via()),
        (*message.sip).clone().to("sip:carol@office.example"),
        // Tokens without a valid MAC.
        mallory.request("MESSAGE", message.sip.uri()).with("Route", format!("<sip:~@{rest}")),
        mallory.request("MESSAGE", message.sip.uri()).with("Route", format!("<sip:~.@{rest}")),
        mallory.request("MESSAGE", message.sip.uri()).with("Route", format!("{}@{rest}", &token[..token.len() - 22])),
        mallory
            .request("MESSAGE", message.sip.uri())
            .with("Route", format!("{}{}@{rest}", &token[..token.len() - 22], "0".repeat(22))),
        mallory.request("MESSAGE", message.sip.uri()).with("Route", format!("<sip:~{}@{rest}", "A".repeat(2000))),
    ];
    for attempt in attempts {
        mallory.sends(&attempt);
        bob.receives_nothing();
        let answers = mallory.all_received();
        assert!(answers.iter().all(|answer| answer.status() == Some(403)), "{attempt}\n{answers:?}");
        assert_eq!(count(&sim, NodeRequest::Forged), 1, "{attempt}");
    }
    sim.skip_final_check();
}

#[test]
fn without_a_cluster_a_token_means_nothing() {
    let sim = nodes(2);
    let (_, _, message, _) = handed_over(&sim).unwrap();
    let alone = Simulation::new();
    let (bob, mallory) = (alone.udp("bob"), alone.udp("mallory"));
    bob.registers();
    mallory.sends_raw(message.bytes.to_vec());
    bob.receives_nothing();
    assert_eq!(alone.count_events(|event| matches!(event, Event::NodeRequest { .. })), 0);
}

#[test]
fn a_dialog_token_of_another_node_lets_only_the_sides_of_its_dialog_pass() {
    let sim = Simulation::with_nodes(3, |settings| {
        settings.authentication = Authentication::Required;
        add_accounts(settings, &[ALICE, BOB]);
    });
    let (alice, bob) = (phone(&sim, "alice", Kind::Tcp, 0), phone(&sim, "bob", Kind::Tcp, 1));
    alice.signs_in(ALICE);
    bob.signs_in(BOB);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", &bob.aor()));
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    for node in 0..3 {
        let mallory = phone(&sim, &format!("mallory/{node}"), Kind::Tcp, node);
        for method in ["BYE", "INFO", "MESSAGE"] {
            mallory.sends(&alice.within(&invite, &ok, method).set("Via", mallory.via()));
            mallory.expects("407");
        }
        mallory.sends(&alice.within(&invite, &ok, "ACK").set("Via", mallory.via()));
        bob.receives_nothing();
        // The token with the address of a victim leads nowhere.
        let victim = sim.udp(&format!("victim/{node}"));
        let routes = ok.value("Record-Route").replace("192.0.2.2:5060", &victim.address.to_string());
        mallory.sends(&alice.within(&invite, &ok, "ACK").without("Route").with("Route", routes));
        victim.receives_nothing();
        bob.receives_nothing();
    }
}

#[test]
fn a_response_of_a_stranger_is_not_forwarded() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Nat, 1));
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let at_node = sim.between_nodes().into_iter().find(|message| message.sip.is_request()).unwrap();
    for node in [0, 1] {
        let mallory = phone(&sim, &format!("mallory/{node}"), Kind::Udp, node);
        // As the phone would answer, and as the node would.
        mallory.sends(&mallory.answer(&received, 200));
        mallory.sends(&mallory.answer(&at_node.sip, 200));
        alice.receives_nothing();
    }
    // The phone cannot make its node treat the response as one to a request of that node.
    let forged = received.value("Via").replace("z9hG4bKd", "z9hG4bKs");
    bob.sends(&bob.answer(&received, 200).without_first("Via").with_first("Via", forged));
    alice.receives_nothing();
    bob.answers(&received, 486);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.expects("ACK");
}
