//! A server that is killed: what it acknowledged is there, and the others notice that it is gone. This program runs itself as
//! a child process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use location::{Commit, Hooks, RedisOptions, RedisStore, Store, StoreError, Ticket};

use crate::redis_server::{Node, PATIENCE, Server, eventually, options};
use crate::support::{aor, load, register, ticket};

const URL: &str = "FRONTDESK_CRASH_TEST_URL";
const USERS: u32 = 100;
/// Every fifth request of a user removes its binding.
const REMOVE_EVERY: u32 = 5;

#[test]
fn a_killed_server_leaves_what_it_acknowledged_and_its_lease_ends() {
    let server = Server::start();
    let a = Node::open(&server, "a");
    let mut acknowledged = BTreeMap::new();
    for round in 0..3 {
        let all = run_and_kill(&server, 400 + 333 * round, &mut acknowledged);
        assert!(all > 0, "the child acknowledged nothing");
        let start = Instant::now();
        // The child was seen, or had already come and gone.
        while a.nodes.recv_timeout(PATIENCE).expect("the end of the lease").iter().any(|entry| entry.name != "a") {}
        assert!(start.elapsed() < options(&server, "a").lease + Duration::from_secs(2));
        let later = Node::open(&server, &format!("later{round}"));
        for (&user, &cseq) in &acknowledged {
            for node in [&a, &later] {
                let record = || load(node.store(), &aor(user));
                let kept = || record().bindings().into_iter().map(|binding| binding.cseq()).max().unwrap_or(0);
                eventually("the acknowledged change", || kept() >= cseq);
                let is_live = record().live(node.now()).next().is_some();
                assert_eq!(is_live, !kept().is_multiple_of(REMOVE_EVERY), "round {round}: user{user} at {}", kept());
            }
        }
        drop(later);
        eventually("the end of the later one", || server.command(&["KEYS", "frontdesk:node:*"]) == "*1");
        while a.nodes.try_recv().is_ok() {}
    }
}

/// Starts the child, kills it after `acks` acknowledgements and records them. Returns their number.
fn run_and_kill(server: &Server, acks: usize, acknowledged: &mut BTreeMap<u32, u32>) -> usize {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--nocapture"])
        .env(URL, server.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        // A line without the final dot was cut off by the kill: it does not count.
        let Some(["ack", user, cseq, "."]) = line.split(' ').collect::<Vec<_>>().first_chunk::<4>().copied() else {
            continue;
        };
        acknowledged.insert(user.parse().unwrap(), cseq.parse().unwrap());
        count += 1;
        if count == acks {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    count
}

/// Not a test: the process to be killed. Registers its users in a loop and prints which commits are stored.
#[test]
fn child() {
    let Ok(url) = env::var(URL) else { return };
    let done = |group: &[Ticket], outcome: Result<(), &StoreError>| {
        let mut out = io::stdout().lock();
        let word = if outcome.is_ok() { "ack" } else { "nak" };
        for ticket in group {
            let _ = writeln!(out, "{word} {} {} .", ticket.id >> 32, ticket.id & 0xFFFF_FFFF);
        }
        let _ = out.flush();
    };
    let hooks = Hooks { done: Box::new(done), ..Hooks::default() };
    let short = RedisOptions { lease: Duration::from_millis(400), ..RedisOptions::new(&url, "child", "child.example") };
    let store = &RedisStore::open(RedisOptions { queue: 256, group: 64, ..short }, hooks).unwrap();
    println!();
    thread::scope(|scope| {
        for worker in 0..2 {
            scope.spawn(move || {
                loop {
                    (worker..USERS).step_by(2).for_each(|user| register_next(store, user));
                }
            });
        }
    });
}

fn register_next(store: &RedisStore, user: u32) {
    let Some(now) = store.time().filter(|_| store.node().is_some()) else {
        return thread::sleep(Duration::from_millis(1));
    };
    let old = load(store, &aor(user));
    let cseq = old.bindings().into_iter().map(|binding| binding.cseq()).max().unwrap_or(0) + 1;
    let secs = if cseq.is_multiple_of(REMOVE_EVERY) { 0 } else { 600 };
    let id = u64::from(user) << 32 | u64::from(cseq);
    let record = register(&old, cseq, &[("sip:a@192.0.2.7", secs)], now);
    // Not before the store has read what an earlier run stored.
    if let Commit::Full | Commit::Failed(_) = store.commit(old.version(), record, ticket(id)) {
        thread::sleep(Duration::from_millis(1));
    }
}
