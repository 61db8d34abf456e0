//! Redis killed, paused, emptied, trimmed, set back; servers that end without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use location::{RedisOptions, Store, StoreError};

use crate::basics::{add, contacts};
use crate::redis_server::{Node, PATIENCE, Server, eventually, options};
use crate::support::aor;

const A: &str = "sip:a@192.0.2.7";
const B: &str = "sip:b@192.0.2.7";
const USERS: u32 = 40;

fn is_unreachable(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unreachable { .. }))
}

fn same_everywhere(nodes: &[&Node], users: u32) {
    let state = |node: &Node| (0..users).map(|user| contacts(node, user)).collect::<Vec<_>>();
    let states = || nodes.iter().map(|node| state(node)).collect::<Vec<_>>();
    let start = Instant::now();
    while states().windows(2).any(|pair| pair.first() != pair.last()) {
        assert!(start.elapsed() < PATIENCE, "the records stay different: {:#?}", states());
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_server_that_starts_without_redis_waits() {
    let mut server = Server::start();
    server.kill();
    let a = Node::begin(options(&server, "a"));
    assert!(is_unreachable(&add_at_once(&a, 1)));
    assert_eq!((a.store().time(), a.store().node()), (None, None));
    server.restart();
    a.wait_usable();
    add(&a, 1, A).unwrap();
}

/// A commit without a wish for the time, which is not known yet.
fn add_at_once(node: &Node, user: u32) -> Result<(), StoreError> {
    node.register(&aor(user), |old| crate::support::register(old, 1, &[(A, 600)], location::Wall(1_000_000)))
}

#[test]
fn while_redis_is_away_changes_are_refused_and_bindings_stay() {
    let mut server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    add(&a, 1, A).unwrap();
    eventually("the binding at b", || !contacts(&b, 1).is_empty());
    server.kill();
    for node in [&a, &b] {
        eventually("a refusal", || is_unreachable(&add(node, 1, B)));
        assert_eq!(contacts(node, 1), BTreeSet::from([A.to_owned()]));
    }
    server.restart();
    a.wait_usable();
    b.wait_usable();
    assert!(add(&a, 1, B).is_ok() && add(&b, 2, B).is_ok());
    same_everywhere(&[&a, &b], 3);
}

#[test]
fn no_acknowledged_binding_is_lost_when_redis_is_killed() {
    let mut server = Server::start();
    let (mut a, mut b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    let rounds = std::env::var("FRONTDESK_KILL_ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    let mut acknowledged: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut all = 0;
    for round in 0..rounds {
        // Both servers write the same users; others in each round, because a user has ten Contacts at most.
        let users = round as u32 * USERS..(round as u32 + 1) * USERS;
        let is_over = AtomicBool::new(false);
        let made = thread::scope(|scope| {
            let (is_over, users) = (&is_over, &users);
            let work = |node, name| {
                scope.spawn(move || work(node, users.clone(), &format!("sip:{name}{round}@192.0.2.7"), is_over))
            };
            let workers = [work(&mut a, "a"), work(&mut b, "b")];
            thread::sleep(Duration::from_millis(150 + 37 * round));
            server.kill();
            thread::sleep(Duration::from_millis(100));
            if round % 2 == 0 {
                server.restart()
            } else {
                server.restart_empty()
            }
            thread::sleep(Duration::from_millis(700));
            is_over.store(true, Ordering::Relaxed);
            workers.map(|worker| worker.join().unwrap()).concat()
        });
        all += made.len();
        for (user, contact) in made {
            acknowledged.entry(user).or_default().insert(contact);
        }
        eventually("both servers accept changes", || add(&a, u32::MAX, A).is_ok() && add(&b, u32::MAX - 1, A).is_ok());
        same_everywhere(&[&a, &b], users.end);
        let c = Node::open(&server, &format!("c{round}"));
        for (&user, expected) in &acknowledged {
            for node in [&a, &b, &c] {
                let kept = contacts(node, user);
                assert!(
                    kept.is_superset(expected),
                    "round {round}: user{user} has {kept:?}, acknowledged {expected:?}"
                );
            }
        }
    }
    println!("{rounds} kills after {all} acknowledged changes: none was lost");
}

/// Registers a Contact for one user after the other. Returns what was acknowledged.
#[allow(clippy::needless_pass_by_ref_mut, reason = "a receiver can be sent to another thread, but not shared")]
fn work(node: &mut Node, users: Range<u32>, contact: &str, is_over: &AtomicBool) -> Vec<(u32, String)> {
    let mut made = Vec::new();
    for user in users.cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        if add(node, user, contact).is_ok() {
            made.push((user, contact.to_owned()));
        }
    }
    made
}

#[test]
fn a_pause_of_redis_leaves_memory_and_redis_equal() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    add(&a, 1, A).unwrap();
    server.signal("-STOP");
    let start = Instant::now();
    let outcome = add(&a, 1, B);
    assert!(is_unreachable(&outcome), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(contacts(&a, 1), BTreeSet::from([A.to_owned()]));
    server.signal("-CONT");
    eventually("changes are accepted", || add(&a, 2, A).is_ok() && add(&b, 3, A).is_ok());
    // The change may have been made when Redis went on, although it was refused: then both servers know.
    same_everywhere(&[&a, &b], 4);
    let c = Node::open(&server, "c");
    same_everywhere(&[&a, &b, &c], 4);
}

#[test]
fn an_empty_redis_is_filled_again_with_the_latest_of_each() {
    let mut server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    for user in 0..50 {
        add(if user % 2 == 0 { &a } else { &b }, user, A).unwrap();
    }
    a.store().put_value("keys", None, b"one").unwrap();
    let version = a.store().load(&aor(7)).unwrap().version();
    same_everywhere(&[&a, &b], 50);
    server.kill();
    server.restart_empty();
    eventually("changes are accepted", || add(&a, 60, A).is_ok() && add(&b, 61, A).is_ok());
    assert!(version.is_some());
    let c = Node::open(&server, "c");
    assert_eq!(c.store().counts().users, 52);
    assert_eq!(c.store().value("keys").map(|(value, _)| value), Some(b"one".to_vec()));
    same_everywhere(&[&a, &b, &c], 62);
    // Not a second binding for anybody, and no server lost its number.
    assert!((0..50).all(|user| contacts(&c, user).len() == 1));
    let numbers = [&a, &b, &c].map(|node| node.store().node().unwrap().number.get());
    assert_eq!(BTreeSet::from(numbers).len(), 3, "{numbers:?}");
}

#[test]
fn a_redis_that_was_set_back_gets_what_it_lost() {
    let server = Server::start_with(&["--appendfsync", "no"]);
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    for user in 0..20 {
        add(&a, user, A).unwrap();
    }
    same_everywhere(&[&a, &b], 20);
    // As a replica that had not received the last changes yet: the stream ends earlier, and the records are older or absent.
    let last = a.store().load(&aor(19)).unwrap();
    assert_eq!(last.bindings().len(), 1);
    server.command(&["EVAL", SET_BACK, "0"]);
    eventually("changes are accepted", || add(&b, 30, A).is_ok());
    let c = Node::open(&server, "c");
    same_everywhere(&[&a, &b, &c], 31);
    assert!((0..20).all(|user| contacts(&c, user).len() == 1));
}

/// Takes away the last ten entries of the stream, and their records.
const SET_BACK: &str = r"
for _, entry in ipairs(redis.call('XREVRANGE', 'frontdesk:changes', '+', '-', 'COUNT', 10)) do
    redis.call('XDEL', 'frontdesk:changes', entry[1])
    if entry[2][1] == 'aor' then redis.call('DEL', 'frontdesk:aor:' .. entry[2][2]) end
end
return 1";

#[test]
fn a_trimmed_stream_is_noticed() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    add(&a, 1, A).unwrap();
    // A change that is in no stream.
    server.command(&["EVAL", UNHEARD, "0"]);
    eventually("the change at a and b", || !contacts(&a, 2).is_empty() && !contacts(&b, 2).is_empty());
    assert!([&a, &b].iter().all(|node| node.missed.load(Ordering::Relaxed) == 1));
    assert!(add(&a, 3, A).is_ok() && add(&b, 3, B).is_ok());
    same_everywhere(&[&a, &b], 4);
}

/// Stores a record for user2 as a server would, and empties the stream before anybody can read it.
const UNHEARD: &str = r"
local id = redis.call('XADD', 'frontdesk:changes', '*', 'aor', 'user2@office.example')
local record = redis.call('GET', 'frontdesk:aor:user1@office.example')
record = string.gsub(record, '^%S+ user1', id .. ' user2')
redis.call('SET', 'frontdesk:aor:user2@office.example', record, 'PX', 600000)
redis.call('XTRIM', 'frontdesk:changes', 'MAXLEN', 0)
return 1";

#[test]
fn the_comparison_heals_what_nobody_noticed() {
    let server = Server::start();
    let often = |name: &str| {
        let node = Node::begin(RedisOptions { compare: Duration::from_millis(500), ..options(&server, name) });
        node.wait_usable();
        node
    };
    let (a, b) = (often("a"), often("b"));
    add(&a, 1, A).unwrap();
    add(&a, 4, A).unwrap();
    same_everywhere(&[&a, &b], 5);
    // A record that is in no stream, and one that is gone.
    let silent = UNHEARD.replace(
        "redis.call('XTRIM', 'frontdesk:changes', 'MAXLEN', 0)",
        "redis.call('XDEL', 'frontdesk:changes', id)",
    );
    server.command(&["EVAL", &silent, "0"]);
    server.command(&["DEL", "frontdesk:aor:user4@office.example"]);
    eventually("the change at a and b", || !contacts(&a, 2).is_empty() && !contacts(&b, 2).is_empty());
    eventually("the record in Redis", || server.command(&["EXISTS", "frontdesk:aor:user4@office.example"]) == ":1");
}

#[test]
fn a_replica_that_is_missing_refuses_changes() {
    let server = Server::start();
    let strict =
        Node::begin(RedisOptions { replicas: 1, timeout: Duration::from_millis(200), ..options(&server, "a") });
    assert!(!strict.becomes_usable_within(Duration::from_millis(900)));
    let replica = Server::start_with(&["--replicaof", &format!("127.0.0.1 {}", server.port)]);
    strict.wait_usable();
    add(&strict, 1, A).unwrap();
    assert!(replica.command(&["GET", "frontdesk:aor:user1@office.example"]).contains("user1"));
}

#[test]
fn a_replica_that_takes_over_is_found_through_the_sentinels() {
    let mut server = Server::start();
    let replica = Server::start_with(&["--replicaof", &format!("127.0.0.1 {}", server.port)]);
    eventually("the replica is in step", || {
        replica.command(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = Server::sentinel_of(&server);
    eventually("the Sentinel knows the replica", || sentinel.command(&["INFO", "sentinel"]).contains("slaves=1"));
    let open = |name: &str| {
        let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/office", sentinel.port);
        let node = Node::begin(RedisOptions { url, ..options(&replica, name) });
        node.wait_usable();
        node
    };
    let (a, b) = (open("a"), open("b"));
    for user in 0..10 {
        add(if user % 2 == 0 { &a } else { &b }, user, A).unwrap();
    }
    // These reach the replica only if it was in step. If not, the servers write them again.
    server.kill();
    eventually("changes are accepted", || add(&a, 20, A).is_ok() && add(&b, 21, A).is_ok());
    assert!(replica.command(&["INFO", "replication"]).contains("role:master"));
    same_everywhere(&[&a, &b], 22);
    let c = open("c");
    same_everywhere(&[&a, &b, &c], 22);
    assert_eq!(c.store().counts().users, 12);
}

#[test]
fn a_change_that_was_announced_but_could_not_be_read_is_read_later() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    // The reader learns of the change, and then its connection is of no use.
    server.command(&["ACL", "SETUSER", "default", "-mget"]);
    add(&a, 1, A).unwrap();
    eventually("the failure of b", || add(&b, 2, A).is_err());
    assert!(contacts(&b, 1).is_empty());
    server.command(&["ACL", "SETUSER", "default", "+mget"]);
    eventually("changes are accepted", || add(&b, 2, A).is_ok());
    same_everywhere(&[&a, &b], 3);
    assert_eq!(contacts(&b, 1).len(), 1);
}
