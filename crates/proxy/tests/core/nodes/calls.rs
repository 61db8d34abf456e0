//! Calls to, from and between phones of different nodes.

use proxy::NodeRequest;

use super::{BOUND, Kind, call, count, nodes, phone, registered};

#[test]
fn a_call_reaches_a_phone_whose_flow_another_node_holds() {
    for kind in BOUND {
        for caller in [Kind::Udp, Kind::Nat, Kind::Tcp, Kind::Wss] {
            let sim = nodes(2);
            let (alice, bob) = (registered(&sim, "alice", caller, 0), registered(&sim, "bob", kind, 1));
            let up = call(&alice, &bob);
            assert_eq!(up.received.number("Max-Forwards"), Some(69), "{kind:?}");
            assert_eq!(up.received.values("Via").count(), 3, "one more than with one server");
            assert_eq!(up.received.values("Route").count(), 0);
            assert_eq!(count(&sim, NodeRequest::Delivered), 2, "INVITE and ACK");
            for method in ["INFO", "INVITE"] {
                up.caller_sends(&alice, &bob, method);
            }
            up.callee_sends(&alice, &bob, "INFO");
            up.caller_sends(&alice, &bob, "BYE");
            bob.receives_nothing();
            alice.receives_nothing();
        }
    }
}

#[test]
fn the_called_phone_hangs_up_at_its_own_node() {
    for kind in BOUND {
        for caller in BOUND {
            let sim = nodes(3);
            let (alice, bob) = (registered(&sim, "alice", caller, 2), registered(&sim, "bob", kind, 1));
            let up = call(&alice, &bob);
            // The phone sends to the node that it is connected to.
            let first = up.received.values("Record-Route").next().unwrap();
            assert!(first.contains("@192.0.2.2:5060"), "{first}");
            up.callee_sends(&alice, &bob, "BYE");
        }
    }
}

#[test]
fn a_phone_at_its_contact_is_called_by_any_node() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 1));
    let up = call(&alice, &bob);
    assert_eq!(up.received.values("Via").count(), 2);
    up.caller_sends(&alice, &bob, "BYE");
    assert_eq!(sim.between_nodes().len(), 0);
}

#[test]
fn cancel_and_the_ack_of_a_failure_take_the_way_of_their_invite() {
    // checklist 85
    for kind in BOUND {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", kind, 1));
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        bob.answers(&received, 180);
        alice.expects("180");
        alice.cancels(&invite);
        let cancel = bob.expects("CANCEL");
        assert_eq!((cancel.branch(), cancel.uri()), (received.branch(), received.uri()));
        bob.answers(&cancel, 200);
        assert_eq!(alice.expects("200").method(), "CANCEL");
        bob.answers(&received, 487);
        let terminated = alice.expects("487");
        alice.acks(&invite, &terminated);
        let ack = bob.expects("ACK");
        assert_eq!((ack.branch(), ack.values("Route").count()), (received.branch(), 0));
    }
}

#[test]
fn a_retransmission_reaches_the_phone_with_the_same_octets() {
    // checklist 81
    for (kind, method) in [(Kind::Nat, "MESSAGE"), (Kind::Nat, "INVITE"), (Kind::Tcp, "MESSAGE")] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", kind, 1));
        let request = alice.request(method, "sip:bob@office.example");
        alice.sends(&request);
        let first = bob.expects(method);
        sim.millis(500);
        alice.sends(&request);
        assert_eq!(bob.expects(method), first);
        bob.answers(&first, 404);
        let refused = alice.expects("404");
        if method == "INVITE" {
            alice.acks(&request, &refused);
            bob.expects("ACK");
        }
    }
}

#[test]
fn max_forwards_counts_the_nodes_once() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    let message = |hops| alice.request("MESSAGE", "sip:bob@office.example").set("Max-Forwards", hops);
    alice.sends(&message(1));
    let received = bob.expects("MESSAGE");
    assert_eq!(received.number("Max-Forwards"), Some(0));
    bob.answers(&received, 200);
    alice.expects("200");
    alice.sends(&message(0));
    alice.expects("483");
    bob.receives_nothing();
}

#[test]
fn a_request_with_a_route_of_another_node_is_not_relayed_there() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    // The outbound proxy of the phone is the other node.
    for route in ["<sip:192.0.2.2;lr>", "<sip:192.0.2.2:5060;lr>", "<sip:x@192.0.2.2:5060;lr>"] {
        alice.sends(&alice.request("MESSAGE", "sip:bob@office.example").with("Route", route));
        let received = bob.expects("MESSAGE");
        bob.answers(&received, 200);
        alice.expects("200");
    }
    assert_eq!(count(&sim, NodeRequest::Delivered), 3);
}

#[test]
fn a_phone_cannot_register_a_contact_at_another_node() {
    let sim = nodes(2);
    let alice = phone(&sim, "alice", Kind::Udp, 0);
    alice.sends(&alice.register().set("Contact", "<sip:alice@192.0.2.2:5060>"));
    alice.expects("403");
}

#[test]
fn a_call_through_trunks_of_headers_keeps_the_identity_of_the_phone() {
    // A response of a phone in `trusted` keeps its claims, whichever node it is connected to.
    for (trusted, kept) in [("192.0.2.12/32", true), ("192.0.2.2/32", false)] {
        let sim = sim::Simulation::with_nodes(2, |settings| settings.trusted = vec![trusted.parse().unwrap()]);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        bob.sends(&bob.answer(&received, 486).with("P-Asserted-Identity", "<sip:bob@office.example>"));
        let busy = alice.expects("486");
        assert_eq!(busy.has("P-Asserted-Identity"), kept, "{busy}");
        alice.acks(&invite, &busy);
        bob.expects("ACK");
    }
}

#[test]
fn a_notify_comes_back_through_both_nodes() {
    for (watcher, watched) in [(Kind::Udp, Kind::Nat), (Kind::Tcp, Kind::Tcp), (Kind::Wss, Kind::Tls)] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", watcher, 0), registered(&sim, "bob", watched, 1));
        let subscribe = alice.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "conference");
        alice.sends(&subscribe);
        let received = bob.expects("SUBSCRIBE");
        let answer = bob.answer(&received, 200).with("Contact", format!("<{}>", bob.contact())).with("Expires", 600);
        bob.sends(&answer);
        alice.expects("200");
        let notify = bob.within_as_callee(&received, &answer, "NOTIFY").with("Event", "conference");
        bob.sends(&notify.with("Subscription-State", "active;expires=600"));
        let notify = alice.expects("NOTIFY");
        assert_eq!(notify.values("Route").count(), 0);
        alice.answers(&notify, 200);
        bob.expects("200");
        // The route set is that of the NOTIFY (RFC 6665 4.4.1).
        let refresh = alice
            .request("SUBSCRIBE", sim::uri_in(notify.value("Contact")))
            .set("From", subscribe.value("From"))
            .set("To", notify.value("From"))
            .set("Call-ID", subscribe.value("Call-ID"))
            .set("CSeq", sim::cseq(&subscribe, 1, "SUBSCRIBE"))
            .with("Event", "conference");
        alice.sends(&notify.values("Record-Route").fold(refresh, |refresh, value| refresh.with("Route", value)));
        let received = bob.expects("SUBSCRIBE");
        bob.answers(&received, 200);
        alice.expects("200");
    }
}
