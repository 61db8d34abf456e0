//! Nodes that die, restart or are cut off, and phones that move.

use proxy::NodeRequest;

use super::{BOUND, Kind, call, count, nodes, phone, registered, registers};

#[test]
fn a_node_that_is_gone_takes_its_flows_with_it() {
    // checklist 138
    for kind in [Kind::Nat, Kind::Outbound, Kind::Wss] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", kind, 1));
        sim.kill_node(1);
        sim.lose_lease(1);
        let before = sim.elapsed();
        let invite = alice.calls("bob");
        let refused = alice.expects("480");
        assert!((sim.elapsed() - before).as_millis() < 10, "nothing is waited for");
        alice.acks(&invite, &refused);
        bob.receives_nothing();
        assert_eq!(sim.between_nodes().len(), 0);
    }
}

#[test]
fn a_phone_that_accepts_connections_is_called_without_its_node() {
    for kind in [Kind::Udp, Kind::Tcp] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", kind, 1));
        sim.kill_node(1);
        sim.lose_lease(1);
        let up = call(&alice, &bob);
        up.caller_sends(&alice, &bob, "BYE");
    }
}

#[test]
fn the_death_of_a_node_is_noticed_before_its_lease_ends() {
    let sim = nodes(3);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Wss, 1));
    sim.kill_node(1);
    let invite = alice.calls("bob");
    sim.seconds(3);
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
    // Another phone of the user rings meanwhile.
    let mobile = registered(&sim, "bob/mobile", Kind::Wss, 2);
    let invite = alice.calls("bob");
    alice.expects("100");
    let received = mobile.expects("INVITE");
    mobile.answers(&received, 486);
    mobile.expects("ACK");
    // The connection to the other node has failed by then.
    sim.seconds(3);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    bob.receives_nothing();
}

#[test]
fn a_node_that_is_cut_off_is_not_waited_for() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    sim.cut(0, 1);
    let invite = alice.calls("bob");
    sim.seconds(3);
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
    bob.receives_nothing();
}

#[test]
fn a_call_survives_the_node_of_the_called_phone() {
    for kind in BOUND {
        for is_noticed in [true, false] {
            let sim = nodes(3);
            let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", kind, 1));
            let up = call(&alice, &bob);
            sim.kill_node(1);
            if is_noticed {
                sim.lose_lease(1);
            }
            sim.seconds(1);
            bob.reaches_node(2);
            registers(&bob, kind);
            up.caller_sends(&alice, &bob, "INFO");
            up.callee_sends(&alice, &bob, "INFO");
            up.caller_sends(&alice, &bob, "BYE");
        }
    }
}

#[test]
fn a_call_survives_the_node_of_the_caller() {
    for kind in BOUND {
        let sim = nodes(3);
        let (alice, bob) = (registered(&sim, "alice", kind, 0), registered(&sim, "bob", Kind::Udp, 1));
        let up = call(&alice, &bob);
        sim.kill_node(0);
        sim.lose_lease(0);
        sim.seconds(1);
        alice.reaches_node(2);
        registers(&alice, kind);
        up.callee_sends(&alice, &bob, "INFO");
        up.caller_sends(&alice, &bob, "INFO");
        up.callee_sends(&alice, &bob, "BYE");
    }
}

#[test]
fn a_phone_that_moves_takes_its_calls_with_it() {
    for kind in BOUND {
        let sim = nodes(3);
        let (alice, bob) = (registered(&sim, "alice", kind, 0), registered(&sim, "bob", kind, 1));
        let up = call(&alice, &bob);
        sim.seconds(1);
        bob.reaches_node(2);
        registers(&bob, kind);
        up.caller_sends(&alice, &bob, "INFO");
        up.callee_sends(&alice, &bob, "INFO");
        up.callee_sends(&alice, &bob, "BYE");
    }
}

#[test]
fn a_phone_that_moves_with_a_new_contact_takes_its_calls_with_it() {
    let sim = nodes(3);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), phone(&sim, "bob", Kind::Tcp, 1));
    let registers = |port: u16| {
        let contact = format!("<sip:bob@192.0.2.7:{port};transport=tcp>;+sip.instance=\"<urn:uuid:1>\"");
        bob.sends(&bob.register().set("Contact", contact));
        bob.expects("200");
    };
    registers(40_001);
    let up = call(&alice, &bob);
    sim.seconds(1);
    // Without reg-id both bindings stay, and only node 1 knows that the connection of the first one is closed.
    bob.disconnects();
    bob.reaches_node(2);
    registers(40_002);
    up.caller_sends(&alice, &bob, "INFO");
    up.caller_sends(&alice, &bob, "BYE");
}

#[test]
fn a_nat_does_not_notice_that_its_node_restarts() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Nat, 1));
    let up = call(&alice, &bob);
    sim.kill_node(1);
    sim.start_node(1);
    up.caller_sends(&alice, &bob, "INFO");
    up.callee_sends(&alice, &bob, "BYE");
    // Also for calls of the node itself.
    let carol = registered(&sim, "carol", Kind::Udp, 1);
    let up = call(&carol, &bob);
    up.caller_sends(&carol, &bob, "BYE");
}

#[test]
fn a_connection_of_an_earlier_run_is_no_way_to_anybody() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Wss, 1));
    sim.kill_node(1);
    sim.start_node(1);
    let mallory = registered(&sim, "mallory", Kind::Wss, 1);
    let invite = alice.calls("bob");
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
    mallory.receives_nothing();
    bob.receives_nothing();
}

#[test]
fn a_regained_lease_revives_the_flows() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Wss, 1));
    sim.lose_lease(1);
    let invite = alice.calls("bob");
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
    sim.regain_lease(1);
    let up = call(&alice, &bob);
    up.caller_sends(&alice, &bob, "BYE");
}

#[test]
fn a_closed_connection_at_another_node_is_reported_as_480() {
    // checklist 141
    for is_forked in [false, true] {
        let sim = nodes(2);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Outbound, 1));
        let other = is_forked.then(|| registered(&sim, "bob/2", Kind::Wss, 1));
        bob.disconnects();
        other.iter().for_each(|other| other.disconnects());
        let invite = alice.calls("bob");
        if is_forked {
            alice.expects("100");
        }
        // RFC 5626 11.5: the 430 of the other node is for this one.
        let refused = alice.expects("480");
        alice.acks(&invite, &refused);
        assert_eq!(count(&sim, NodeRequest::FlowGone), if is_forked { 2 } else { 1 });
    }
}

#[test]
fn a_request_in_a_dialog_reaches_no_other_phone_when_its_phone_is_gone() {
    let sim = nodes(3);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Wss, 1));
    let up = call(&alice, &bob);
    let other = registered(&sim, "bob/other", Kind::Nat, 2);
    sim.kill_node(1);
    sim.lose_lease(1);
    alice.sends(&alice.within(&up.invite, &up.ok, "BYE"));
    alice.expects("480");
    other.receives_nothing();
    let _ = phone(&sim, "carol", Kind::Udp, 0);
}
