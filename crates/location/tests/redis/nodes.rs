//! Leases: who is alive, and in which run.

use std::time::Duration;

use location::{NodeEntry, RedisOptions};

use crate::basics::add;
use crate::redis_server::{Node, PATIENCE, Server, eventually, options};

fn wait_for(node: &Node, names: &[&str]) -> Vec<NodeEntry> {
    loop {
        let entries = node.nodes.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{names:?}"));
        if entries.iter().map(|entry| &*entry.name).eq(names.iter().copied()) {
            return entries;
        }
    }
}

#[test]
fn the_others_are_known_with_number_run_and_place() {
    let server = Server::start();
    let a = Node::open(&server, "a");
    wait_for(&a, &["a"]);
    let b = Node::open(&server, "b");
    let entries = wait_for(&a, &["a", "b"]);
    assert_eq!(entries.iter().map(|entry| Some(entry.node)).collect::<Vec<_>>(), [a.store().node(), b.store().node()]);
    assert_eq!(entries.iter().map(|entry| entry.node.number.get()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(entries[1].advertise, "b.example:5060");
    // A shutdown is seen at once, and the next run has the same number.
    let first = b.store().node().unwrap();
    drop(b);
    wait_for(&a, &["a"]);
    let b = Node::open(&server, "b");
    let second = b.store().node().unwrap();
    assert!(second.number == first.number && second.run > first.run);
    wait_for(&a, &["a", "b"]);
}

#[test]
fn a_living_lease_is_not_taken_over() {
    let server = Server::start();
    let first = Node::open(&server, "a");
    let second = Node::begin(options(&server, "a"));
    // Longer than a lease.
    assert!(!second.becomes_usable_within(Duration::from_millis(900)), "it must wait");
    assert!(add(&second, 1, "sip:a@192.0.2.7").is_err());
    assert!(add(&first, 1, "sip:a@192.0.2.7").is_ok());
    let run = first.store().node().unwrap();
    drop(first);
    second.wait_usable();
    let next = second.store().node().unwrap();
    assert!(next.number == run.number && next.run > run.run);
}

#[test]
fn a_lost_lease_is_taken_again_by_the_same_run() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    let entries = wait_for(&a, &["a", "b"]);
    let run = b.store().node();
    // As if b had been paused for longer than its lease, and another process had been started with its name.
    server.command(&["HSET", "frontdesk:node:2", "run", "7"]);
    server.command(&["PEXPIRE", "frontdesk:node:2", "60000"]);
    let others = wait_for(&a, &["a", "b"]);
    assert_eq!(others[1].node.run, 7);
    eventually("a refusal at b", || add(&b, 1, "sip:b@192.0.2.7").is_err());
    server.command(&["DEL", "frontdesk:node:2"]);
    eventually("the lease of b", || a.nodes.try_iter().last().is_some_and(|now| now == entries));
    assert_eq!(b.store().node(), run);
    eventually("changes at b", || add(&b, 1, "sip:b@192.0.2.7").is_ok());
}

#[test]
fn names_and_leases_have_to_make_sense() {
    let server = Server::start();
    for bad in [
        RedisOptions { node: String::new(), ..options(&server, "a") },
        RedisOptions { lease: Duration::from_millis(1), ..options(&server, "a") },
        RedisOptions { url: "http://x".to_owned(), ..options(&server, "a") },
    ] {
        assert!(location::RedisStore::open(bad, location::Hooks::default()).is_err());
    }
    eventually("the server lives", || server.command(&["PING"]) == "+PONG");
}
