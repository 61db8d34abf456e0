//! A call ends at the node that knows it, whichever node its BYE passes.

use std::time::Duration;

use proxy::{CallEnd, CallRecord, CallSide, NodeRequest};

use super::{BOUND, Call, Kind, call, count, nodes, registered};

/// Seconds from the answer to the end, and who hung up.
fn ended(sim: &sim::Simulation) -> Vec<(u64, Option<CallSide>)> {
    let side = |end: &CallEnd| if let CallEnd::HungUp(side) = end { Some(*side) } else { None };
    let seconds = |record: &CallRecord| Some(record.ended.millis_since(record.answered?) / 1000);
    let records = sim.records().into_iter();
    records.filter_map(|record| Some((seconds(&record)?, side(&record.end)))).collect()
}

#[test]
fn a_bye_through_another_node_ends_the_call() {
    for kind in BOUND {
        for caller in [Kind::Udp, Kind::Nat, Kind::Tcp] {
            let sim = nodes(3);
            let (alice, bob) = (registered(&sim, "alice", caller, 0), registered(&sim, "bob", kind, 1));
            let up = call(&alice, &bob);
            assert_eq!((sim.calls().len(), ended(&sim)), (1, vec![]), "{kind:?} {caller:?}");
            sim.seconds(7);
            up.callee_sends(&alice, &bob, "BYE");
            sim.millis(1);
            assert_eq!((sim.calls().len(), ended(&sim)), (0, vec![(7, Some(CallSide::Callee))]), "{kind:?} {caller:?}");
            assert_eq!(count(&sim, NodeRequest::Told), 2, "both other nodes are told");
        }
    }
}

#[test]
fn a_caller_may_end_its_call_at_another_node_too() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 0));
    let up = call(&alice, &bob);
    alice.reaches_node(1);
    up.caller_sends(&alice, &bob, "BYE");
    sim.millis(1);
    assert_eq!((sim.calls().len(), ended(&sim)), (0, vec![(0, Some(CallSide::Caller))]));
}

/// bob, at the second node, sends a request in the call and gets this response, or none.
fn bob_sends(method: &str, status: Option<u16>) -> (sim::Simulation, Call) {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    let up = call(&alice, &bob);
    bob.sends(&bob.within_as_callee(&up.received, &up.answer, method));
    let received = alice.expects(method);
    if let Some(status) = status {
        alice.answers(&received, status);
        bob.expects(&status.to_string());
    }
    sim.millis(1);
    (sim, up)
}

#[test]
fn only_a_response_that_ends_the_dialog_counts() {
    for (method, status, end) in [
        ("BYE", 403, None),
        ("UPDATE", 200, None),
        ("UPDATE", 500, None),
        ("INFO", 481, None),
        ("BYE", 481, Some(Some(CallSide::Callee))),
        ("UPDATE", 481, Some(None)),
    ] {
        let (sim, _) = bob_sends(method, Some(status));
        let ends: Vec<_> = ended(&sim).into_iter().map(|(_, side)| side).collect();
        assert_eq!(ends, end.into_iter().collect::<Vec<_>>(), "{method} {status}");
        sim.skip_final_check();
    }
}

#[test]
fn a_bye_without_a_response_ends_the_call_later() {
    let (sim, _) = bob_sends("BYE", None);
    sim.wait(Duration::from_secs(30));
    sim.sweep_calls();
    assert_eq!(sim.calls().len(), 1, "the response may still come");
    sim.wait(Duration::from_secs(8));
    sim.sweep_calls();
    sim.millis(1);
    assert_eq!(ended(&sim), [(0, Some(CallSide::Callee))]);
    sim.skip_final_check();
}

#[test]
fn a_call_of_which_nobody_is_told_goes_on() {
    let sim = nodes(2);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Tcp, 1));
    let up = call(&alice, &bob);
    sim.cut(1, 0);
    up.callee_sends(&alice, &bob, "BYE");
    sim.seconds(1);
    assert_eq!((sim.calls().len(), sim.records().len()), (1, 0));
    sim.skip_final_check();
}
