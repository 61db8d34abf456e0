//! Several stores on one Redis that works.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use location::{PutError, RedisOptions, Store};

use crate::redis_server::{Node, Server, eventually, options, unused_port};
use crate::support::{aor, register};

const A: &str = "sip:a@192.0.2.7";

/// The Contacts that a store has of a user.
pub(crate) fn contacts(node: &Node, user: u32) -> BTreeSet<String> {
    let record = node.store().load(&aor(user));
    let live = record.iter().flat_map(|record| record.live(node.now()));
    live.map(|binding| String::from_utf8_lossy(binding.contact()).into_owned()).collect()
}

/// Registers a Contact with a CSeq that is higher than all.
pub(crate) fn add(node: &Node, user: u32, contact: &str) -> Result<(), location::StoreError> {
    let now = node.now();
    node.register(&aor(user), |old| {
        let cseq = old.bindings().into_iter().map(|binding| binding.cseq()).max().unwrap_or(0) + 1;
        register(old, cseq, &[(contact, 600)], now)
    })
}

#[test]
fn a_change_is_seen_by_the_others_soon_and_by_those_that_start_later() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    let mut delays = Vec::new();
    for user in 0..100 {
        let start = Instant::now();
        add(&a, user, A).unwrap();
        eventually("the change at b", || b.store().load(&aor(user)).is_some());
        delays.push(start.elapsed());
    }
    delays.sort();
    println!("seen after {:?} p50, {:?} p99", delays[50], delays[98]);
    assert!(b.changed.try_iter().count() >= 100);
    // Their own changes come back to nobody.
    assert_eq!(a.changed.try_iter().count(), 0);
    let c = Node::open(&server, "c");
    assert_eq!(c.store().counts().users, 100);
    assert_eq!(c.store().records(), 100);
    let [at_a, at_b, at_c] = [&a, &b, &c].map(|node| (0..100).map(|user| contacts(node, user)).collect::<Vec<_>>());
    assert!(at_a == at_b && at_b == at_c);
}

#[test]
fn racing_servers_never_lose_a_contact() {
    let server = Server::start();
    let mut nodes: Vec<Node> = ["a", "b", "c"].iter().map(|name| Node::open(&server, name)).collect();
    let rounds = 60;
    thread::scope(|scope| {
        for (number, node) in nodes.iter_mut().enumerate() {
            scope.spawn(move || {
                for round in 0..rounds {
                    add(node, round, &format!("sip:{number}@192.0.2.7")).unwrap();
                }
            });
        }
    });
    let all: BTreeSet<String> = (0..3).map(|number| format!("sip:{number}@192.0.2.7")).collect();
    for node in &nodes {
        for round in 0..rounds {
            eventually("all three contacts", || contacts(node, round) == all);
        }
    }
}

#[test]
fn a_removal_is_seen_and_stays() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    add(&a, 1, A).unwrap();
    eventually("the binding at b", || !contacts(&b, 1).is_empty());
    let now = b.now();
    b.register(&aor(1), |old| register(old, 9, &[(A, 0)], now)).unwrap();
    eventually("the removal at a", || contacts(&a, 1).is_empty());
    let c = Node::open(&server, "c");
    assert!(contacts(&c, 1).is_empty());
}

#[test]
fn expiry_follows_the_clock_of_redis_and_keys_expire_by_themselves() {
    let server = Server::start();
    let a = Node::open(&server, "a");
    let machine = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(a.now().millis().abs_diff(machine.as_millis() as u64) < 20_000);
    add(&a, 1, A).unwrap();
    let left: i64 = server.command(&["PTTL", "frontdesk:aor:user1@office.example"])[1..].parse().unwrap();
    assert!((620_000..=632_000).contains(&left), "{left}");
    assert!(server.command(&["GET", "frontdesk:aor:user1@office.example"]).contains(" user1@office.example"));
}

#[test]
fn values_are_shared_and_compared() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    let first = a.store().put_value("keys", None, b"one").unwrap();
    let seen = b.values.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(seen, ("keys".to_owned(), b"one".to_vec()));
    assert_eq!(b.store().value("keys"), Some((b"one".to_vec(), first)));
    assert_eq!(b.store().put_value("keys", None, b"two"), Err(PutError::Conflict));
    let second = b.store().put_value("keys", Some(first), b"two").unwrap();
    assert!(second > first);
    eventually("the value at a", || a.store().value("keys") == Some((b"two".to_vec(), second)));
    assert_eq!(a.store().put_value("keys", Some(first), b"three"), Err(PutError::Conflict));
    assert_eq!(a.store().put_value("x", None, &[0; 70_000]), Err(PutError::TooLong { max: 65_536 }));
    // A server that starts later has them.
    let c = Node::open(&server, "c");
    assert_eq!(c.store().value("keys"), Some((b"two".to_vec(), second)));
    assert_eq!(c.store().value_names(), ["keys"]);
    let small = RedisOptions { max_values: 1, ..options(&server, "d") };
    let d = Node::begin(small);
    d.wait_usable();
    assert_eq!(d.store().put_value("more", None, b""), Err(PutError::TooMany { max: 1 }));
}

#[test]
fn a_prefix_separates_servers_and_may_contain_anything() {
    let server = Server::start();
    let with = |prefix: &str| {
        let node = Node::begin(RedisOptions { prefix: prefix.to_owned(), ..options(&server, "a") });
        node.wait_usable();
        node
    };
    let (one, other) = (with("[a-z]*:"), with("b:"));
    add(&one, 1, A).unwrap();
    add(&other, 2, A).unwrap();
    drop((one, other));
    let one = with("[a-z]*:");
    assert_eq!((contacts(&one, 1).len(), contacts(&one, 2).len()), (1, 0));
}

#[test]
fn tls_and_passwords() {
    let names = vec!["localhost".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: String| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    };
    let (cert_file, key_file) = (file("cert", cert.pem()), file("key", signing_key.serialize_pem()));
    let port = unused_port().to_string();
    let server = Server::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert_file,
        "--tls-key-file",
        &key_file,
        "--tls-auth-clients",
        "no",
    ]);
    server.command(&["ACL", "SETUSER", "me", "on", ">secret", "~*", "+@all"]);
    let open = |password: &str, authorities| {
        let url = format!("rediss://me:{password}@localhost:{port}");
        // Without optimisation a handshake takes a while on a busy machine.
        let timeout = Duration::from_secs(5);
        Node::begin(RedisOptions { url, authorities, timeout, ..options(&server, "a") })
    };
    let trusted = || Some(cert.pem().into_bytes());
    assert!(!open("wrong", trusted()).becomes_usable_within(Duration::from_millis(700)));
    assert!(!open("secret", None).becomes_usable_within(Duration::from_millis(700)));
    let node = open("secret", trusted());
    node.wait_usable();
    add(&node, 1, A).unwrap();
}
