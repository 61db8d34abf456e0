//! Dialog events (RFC 4235): a watcher at one node sees the calls of a user at all nodes.

use std::time::Duration;

use sim::{Agent, Simulation, Sip};

use super::{BOUND, Kind, nodes_with, registered};
use crate::call_steps::accepts;
use crate::dialog_events::{Watcher, add_accounts};

/// A watcher of a user at a node.
fn watcher(sim: &Simulation, name: &str, node: usize, user: &str) -> Watcher {
    Watcher::at(sim.udp(name).reaches_node(node).clone(), user)
}

/// The states that watchers know, after the time that the rate of NOTIFYs takes.
#[track_caller]
fn see(sim: &Simulation, watchers: &mut [Watcher], states: &[(&str, &str)]) {
    for watcher in watchers {
        watcher.sees(sim, states);
    }
}

/// alice at the first node calls bob at the second one, whose phone rings.
fn rings(alice: &Agent, bob: &Agent) -> (Sip, Sip) {
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    alice.expects("180");
    (invite, received)
}

#[test]
fn a_watcher_at_any_node_sees_a_call_in_all_its_states_and_once() {
    // checklist 173
    for kind in BOUND {
        let sim = nodes_with(3, add_accounts);
        let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", kind, 1));
        let watchers = |user: &str| [0, 1, 2].map(|node| watcher(&sim, &format!("board/{user}-{node}"), node, user));
        let (mut of_alice, mut of_bob) = (watchers("alice"), watchers("bob"));
        sim.seconds(1);
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        see(&sim, &mut of_alice, &[("initiator", "trying")]);
        see(&sim, &mut of_bob, &[]);
        bob.answers(&received, 180);
        alice.expects("180");
        see(&sim, &mut of_alice, &[("initiator", "early")]);
        see(&sim, &mut of_bob, &[("recipient", "early")]);
        let last = of_bob.each_ref().map(|it| it.view.last.clone());
        assert_eq!((last[0][0].remote.as_str(), &last[1], &last[2]), ("sip:alice@office.example", &last[0], &last[0]));
        let ok = accepts(&alice, &invite, &bob, &received);
        see(&sim, &mut of_alice, &[("initiator", "confirmed")]);
        see(&sim, &mut of_bob, &[("recipient", "confirmed")]);
        bob.sends(&bob.within_as_callee(&received, &ok, "BYE"));
        alice.answers(&alice.expects("BYE"), 200);
        bob.expects("200");
        for (watchers, event) in [(&mut of_alice, "remote-bye"), (&mut of_bob, "local-bye")] {
            see(&sim, watchers, &[]);
            for watcher in watchers {
                assert_eq!(watcher.view.last[0].event, event, "{kind:?}");
            }
        }
        sim.skip_final_check();
    }
}

#[test]
fn a_change_is_seen_at_another_node_at_once() {
    // checklist 173
    let sim = nodes_with(2, add_accounts);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 0));
    let mut board = watcher(&sim, "board", 1, "bob");
    sim.seconds(2);
    rings(&alice, &bob);
    sim.millis(20);
    board.is_notified();
    assert_eq!(board.view.states(), [("recipient", "early")]);
    sim.skip_final_check();
}

#[test]
fn a_subscription_begins_with_the_calls_of_all_nodes() {
    // checklist 173
    let sim = nodes_with(3, add_accounts);
    let phones = [0, 1].map(|node| {
        let [caller, called] = [["alice", "bob"], ["bob/2", "carol"]][node];
        (registered(&sim, caller, Kind::Udp, node), registered(&sim, called, Kind::Udp, node))
    });
    let [(alice, bob), (bob_2, carol)] = &phones;
    let (_, received) = alice.calls_phones("bob", [bob, bob_2]);
    for (phone, received) in [bob, bob_2].into_iter().zip(&received) {
        phone.answers(received, 180);
        alice.expects("180");
    }
    bob_2.calls("carol");
    carol.answers(&carol.expects("INVITE"), 180);
    bob_2.expects("180");
    let mut board = watcher(&sim, "board", 2, "bob");
    board.sees(&sim, &[("initiator", "early"), ("recipient", "early"), ("recipient", "early")]);
    // What is watched already is known at once.
    let second = watcher(&sim, "desk", 2, "bob");
    assert_eq!(second.view.states(), board.view.states());
    sim.skip_final_check();
}

#[test]
fn who_may_not_watch_gets_403_at_any_node() {
    // checklist 173
    let sim = nodes_with(2, add_accounts);
    let carol = sim.udp("carol");
    carol.reaches_node(1);
    carol.sends(&carol.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "dialog"));
    carol.expects("403");
    sim.seconds(60);
    assert_eq!(sim.between_nodes().len(), 0, "nobody watches, so nothing is told");
}

#[test]
fn nothing_is_told_while_nobody_watches() {
    let sim = nodes_with(2, add_accounts);
    let (alice, bob) = (registered(&sim, "alice", Kind::Udp, 0), registered(&sim, "bob", Kind::Udp, 0));
    let (invite, received) = rings(&alice, &bob);
    let ok = accepts(&alice, &invite, &bob, &received);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.answers(&bob.expects("BYE"), 200);
    alice.expects("200");
    // A subscription that has ended.
    let mut board = watcher(&sim, "board", 1, "bob");
    let end = board.phone.within(&board.asked, &board.ok, "SUBSCRIBE").with("Event", "dialog").with("Expires", 0);
    board.phone.sends(&end);
    board.phone.expects("200");
    board.is_notified();
    sim.seconds(60);
    drop(sim.between_nodes());
    let (invite, received) = rings(&alice, &bob);
    accepts(&alice, &invite, &bob, &received);
    sim.seconds(60);
    assert_eq!(sim.between_nodes().len(), 0);
    sim.skip_final_check();
}

/// alice and bob at the first node, who talk, and watchers of bob at both.
fn talk(sim: &Simulation) -> (Agent, Agent, [Watcher; 2], [Sip; 3]) {
    let (alice, bob) = (registered(sim, "alice", Kind::Udp, 0), registered(sim, "bob", Kind::Udp, 0));
    let mut watchers = [0, 1].map(|node| watcher(sim, &format!("board/{node}"), node, "bob"));
    sim.seconds(1);
    let (invite, received) = rings(&alice, &bob);
    let ok = accepts(&alice, &invite, &bob, &received);
    see(sim, &mut watchers, &[("recipient", "confirmed")]);
    (alice, bob, watchers, [invite, received, ok])
}

#[test]
fn the_calls_of_a_node_that_is_gone_end_with_its_lease() {
    // checklist 173
    let sim = nodes_with(2, add_accounts);
    let (.., [_, mut other], _) = talk(&sim);
    sim.kill_node(0);
    sim.seconds(5);
    assert!(other.settles(&sim).is_empty(), "its lease lasts");
    sim.lose_lease(0);
    other.sees(&sim, &[]);
    assert_eq!(other.view.last[0].state, "terminated");
    // The next run knows no call.
    sim.start_node(0);
    sim.seconds(30);
    assert!(other.settles(&sim).is_empty());
    sim.skip_final_check();
}

#[test]
fn a_node_that_lost_its_lease_tells_its_calls_when_it_is_back() {
    // checklist 173
    let sim = nodes_with(2, add_accounts);
    let (.., [_, mut other], _) = talk(&sim);
    sim.lose_lease(0);
    other.sees(&sim, &[]);
    sim.regain_lease(0);
    other.sees(&sim, &[("recipient", "confirmed")]);
    sim.skip_final_check();
}

#[test]
fn after_an_interruption_between_two_nodes_the_watcher_catches_up() {
    // checklist 173
    for back in [false, true] {
        let sim = nodes_with(2, add_accounts);
        let (alice, bob, [_, mut other], [invite, _, ok]) = talk(&sim);
        let (from, to) = if back { (1, 0) } else { (0, 1) };
        sim.cut(from, to);
        sim.seconds(1);
        alice.sends(&alice.within(&invite, &ok, "BYE"));
        bob.answers(&bob.expects("BYE"), 200);
        alice.expects("200");
        sim.seconds(1);
        let seen = other.settles(&sim);
        assert_eq!(seen.is_empty(), !back, "only what the other node says is cut off");
        // It is heard from time to time: what it said last is not valid for ever.
        sim.seconds(45);
        other.settles(&sim);
        assert_eq!(other.view.states(), []);
        let (invite, received) = rings(&alice, &bob);
        accepts(&alice, &invite, &bob, &received);
        sim.seconds(1);
        assert!(other.settles(&sim).is_empty());
        sim.mend(from, to);
        sim.seconds(12);
        other.settles(&sim);
        assert_eq!(other.view.states(), [("recipient", "confirmed")], "{back}");
        sim.skip_final_check();
    }
}

#[test]
fn a_lost_message_between_nodes_is_noticed() {
    // checklist 173
    let sim = nodes_with(2, add_accounts);
    let (alice, bob, [_, mut other], [invite, _, ok]) = talk(&sim);
    sim.cut(0, 1);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.answers(&bob.expects("BYE"), 200);
    alice.expects("200");
    sim.mend(0, 1);
    sim.seconds(1);
    assert!(other.settles(&sim).is_empty());
    sim.seconds(10);
    other.settles(&sim);
    assert_eq!(other.view.states(), []);
    sim.skip_final_check();
}

#[test]
fn what_nodes_tell_each_other_is_of_no_use_to_others() {
    let sim = nodes_with(2, add_accounts);
    let (alice, bob, [_, mut other], [invite, _, ok]) = talk(&sim);
    let thief = sim.tcp("thief");
    let told = sim.between_nodes();
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    bob.answers(&bob.expects("BYE"), 200);
    alice.expects("200");
    other.sees(&sim, &[]);
    // Copies, to both nodes, and with other octets.
    for message in &told {
        for node in [0, 1] {
            thief.reaches_node(node);
            thief.sends_raw(message.bytes.to_vec());
            let mut changed = message.bytes.to_vec();
            *changed.last_mut().unwrap() ^= 1;
            thief.sends_raw(changed);
            thief.expects("403");
        }
    }
    assert!(told.len() > 3);
    sim.wait(Duration::from_secs(2));
    assert!(other.settles(&sim).is_empty());
    assert_eq!(other.view.states(), []);
    sim.skip_final_check();
}
