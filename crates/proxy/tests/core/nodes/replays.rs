//! What nodes tell each other of calls, sent again by somebody who has read it, or lost.

use sim::{Agent, NodeMessage, Simulation};

use super::{Kind, nodes_with, registered};
use crate::call_steps::accepts;
use crate::dialog_events::{Watcher, add_accounts};

/// alice and bob at the first node, and a watcher of bob at the second one.
fn watched() -> (Simulation, Agent, Agent, Watcher) {
    let sim = nodes_with(2, add_accounts);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 0));
    let board = Watcher::at(sim.udp("desk").reaches_node(1).clone(), "bob");
    sim.seconds(2);
    (sim, alice, bob, board)
}

/// What nodes have told a node since the last call of this.
fn told(sim: &Simulation, to: usize) -> Vec<NodeMessage> {
    let sent = sim.between_nodes().into_iter();
    sent.filter(|message| message.to == to && message.sip.method() == "PUBLISH").collect()
}

/// Somebody who sends what the nodes have sent to a node.
fn thief(sim: &Simulation, node: usize) -> Agent {
    sim.udp("thief").reaches_node(node).clone()
}

#[test]
fn a_report_of_the_same_millisecond_as_the_last_one_is_not_read_again() {
    // checklist 173
    let (sim, alice, bob, mut board) = watched();
    let thief = thief(&sim, 1);
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    drop(told(&sim, 1));
    // The phone rings and is busy in the same millisecond.
    bob.answers(&received, 180);
    bob.answers(&received, 486);
    alice.expects("180");
    alice.acks(&invite, &alice.expects("486"));
    bob.expects("ACK");
    let reports = told(&sim, 1);
    assert_eq!(reports.len(), 2);
    board.sees(&sim, &[]);
    for report in &reports {
        thief.sends_raw(report.bytes.to_vec());
    }
    thief.sends_raw(reports[0].bytes.to_vec());
    sim.millis(5);
    assert!(board.settles(&sim).is_empty());
    sim.skip_final_check();
}

#[test]
fn a_copy_of_what_a_node_watches_is_not_answered() {
    let (sim, alice, bob, _board) = watched();
    let thief = thief(&sim, 0);
    sim.seconds(10);
    let watch = told(&sim, 0).pop().unwrap();
    // The other node knows less than there is now.
    alice.calls("bob");
    bob.answers(&bob.expects("INVITE"), 180);
    alice.expects("180");
    drop(told(&sim, 1));
    for _ in 0..10 {
        thief.sends_raw(watch.bytes.to_vec());
        sim.millis(5);
    }
    assert_eq!(told(&sim, 1).len(), 0);
    sim.skip_final_check();
}

#[test]
fn what_comes_in_another_order_is_not_believed() {
    let (sim, alice, bob, mut board) = watched();
    let thief = thief(&sim, 1);
    // The reports are late: the connection stands still, and then they come over two connections.
    sim.cut(0, 1);
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    sim.mend(0, 1);
    drop(told(&sim, 1));
    sim.millis(3);
    let ok = accepts(&alice, &invite, &bob, &received);
    let confirmed = told(&sim, 1).pop().unwrap();
    sim.millis(3);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.answers(&bob.expects("BYE"), 200);
    alice.expects("200");
    sim.millis(3);
    thief.sends_raw(confirmed.bytes.to_vec());
    board.sees(&sim, &[]);
    sim.seconds(12);
    board.sees(&sim, &[]);
    sim.skip_final_check();
}

/// An INVITE gets the number of another one by its branch. The answer to that one says that there is no such call.
#[test]
fn an_answer_to_an_earlier_question_permits_no_pickup() {
    // checklist 175
    let (sim, alice, bob, mut board) = watched();
    let mallory = registered(&sim, "carol", Kind::Udp, 1);
    let thief = thief(&sim, 1);
    let bogus = mallory.request("INVITE", "sip:nobody@office.example").with("Replaces", "x@y;to-tag=a;from-tag=b");
    drop(told(&sim, 1));
    mallory.sends(&bogus);
    let refused = mallory.next_message();
    assert!(refused.status().unwrap() >= 400, "{refused}");
    mallory.acks(&bogus, &refused);
    let answer = told(&sim, 1).pop().unwrap();
    sim.seconds(6);
    alice.calls("bob");
    bob.answers(&bob.expects("INVITE"), 180);
    alice.expects("180");
    board.sees(&sim, &[("recipient", "early")]);
    let pickup = board.replacement(&mallory, "sip:alice@office.example");
    let pickup = pickup.set("Via", bogus.value("Via")).set("CSeq", bogus.value("CSeq"));
    let pickup = pickup.set("From", bogus.value("From")).set("Call-ID", bogus.value("Call-ID"));
    sim.cut(0, 1);
    mallory.sends(&pickup);
    thief.sends_raw(answer.bytes.to_vec());
    sim.millis(100);
    alice.receives_nothing();
    sim.skip_final_check();
}

/// A report that names the call of a third node changes only what its sender has told.
#[test]
fn a_node_cannot_end_a_call_of_a_third_node_by_its_report() {
    let sim = nodes_with(3, add_accounts);
    let phones = [0, 1].map(|node| {
        let [caller, called] = [["alice", "bob"], ["carol", "bob/2"]][node];
        (registered(&sim, caller, Kind::Udp, node), registered(&sim, called, Kind::Udp, node))
    });
    let mut board = Watcher::at(sim.udp("board").reaches_node(2).clone(), "bob");
    sim.seconds(2);
    // Each node has one call, with the same number there.
    let calls = phones.each_ref().map(|(caller, called)| {
        let invite = caller.request("INVITE", &called.contact());
        caller.sends(&invite);
        let received = called.expects("INVITE");
        called.answers(&received, 180);
        caller.expects("180");
        (invite, received)
    });
    board.sees(&sim, &[("recipient", "early"), ("recipient", "early")]);
    let [(alice, bob), _] = &phones;
    bob.answers(&calls[0].1, 486);
    alice.acks(&calls[0].0, &alice.expects("486"));
    bob.expects("ACK");
    board.sees(&sim, &[("recipient", "early")]);
    sim.skip_final_check();
}

#[test]
fn a_subscription_while_a_report_is_on_its_way_knows_the_call() {
    // checklist 173
    for micros in [0, 300, 700, 1000, 1500, 2500, 49_000, 51_000] {
        let (sim, alice, bob, mut first) = watched();
        let ends = first.phone.within(&first.asked, &first.ok, "SUBSCRIBE").with("Event", "dialog").with("Expires", 0);
        first.phone.sends(&ends);
        first.phone.expects("200");
        first.is_notified();
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        bob.answers(&received, 180);
        alice.expects("180");
        sim.wait(std::time::Duration::from_micros(micros));
        let mut board = Watcher::at(sim.udp("board").reaches_node(1).clone(), "bob");
        sim.wait(std::time::Duration::from_micros(micros));
        bob.answers(&received, 486);
        alice.acks(&invite, &alice.expects("486"));
        bob.expects("ACK");
        sim.seconds(1);
        board.settles(&sim);
        assert_eq!(board.view.states(), [], "{micros}");
        sim.skip_final_check();
    }
}

#[test]
fn what_arrives_after_the_last_watcher_has_gone_is_forgotten() {
    // checklist 173
    let (sim, alice, bob, mut first) = watched();
    let ends = first.phone.within(&first.asked, &first.ok, "SUBSCRIBE").with("Event", "dialog").with("Expires", 0);
    first.phone.sends(&ends);
    first.phone.expects("200");
    first.is_notified();
    // The first node is not told that nobody watches any more.
    sim.cut(1, 0);
    sim.seconds(25);
    drop(told(&sim, 1));
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    assert_eq!(told(&sim, 1).len(), 1);
    sim.millis(5);
    sim.cut(0, 1);
    bob.answers(&received, 486);
    alice.acks(&invite, &alice.expects("486"));
    bob.expects("ACK");
    sim.seconds(3600);
    sim.mend(0, 1);
    sim.mend(1, 0);
    let board = Watcher::at(sim.udp("board").reaches_node(1).clone(), "bob");
    assert_eq!(board.view.states(), []);
    sim.skip_final_check();
}

#[test]
fn after_a_bye_that_was_refused_at_another_node_a_second_one_ends_the_call() {
    let (sim, alice, bob, mut board) = watched();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    let ok = accepts(&alice, &invite, &bob, &received);
    alice.reaches_node(1);
    for (status, known) in [(403, 1), (200, 0)] {
        alice.sends(&alice.within(&invite, &ok, "BYE"));
        bob.answers(&bob.expects("BYE"), status);
        alice.expects(&status.to_string());
        sim.millis(5);
        assert_eq!((sim.calls().len(), sim.records().len()), (known, 1 - known), "{status}");
    }
    board.sees(&sim, &[]);
}
