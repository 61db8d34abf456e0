//! `kill -9` at any time loses no acknowledged binding, and restores none whose removal was acknowledged. This program runs
//! itself as a child process, twelve times, or as often as `FRONTDESK_KILL_ROUNDS` says:
//!
//!     FRONTDESK_KILL_ROUNDS=100 cargo test --release -p location --test crash -- --nocapture

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, io, thread};

use location::{Commit, DiskOptions, DiskStore, Hooks, StoreError, Ticket, Wall};

use support::{aor, commit, open};

const NOW: Wall = Wall(1_000_000);
const FILE: &str = "FRONTDESK_CRASH_TEST_FILE";
const USERS: u32 = 300;
const ROUNDS: usize = 12;
/// Every fifth request of a user removes its binding.
const REMOVE_EVERY: u32 = 5;

#[test]
fn no_acknowledged_binding_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let rounds = env::var("FRONTDESK_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (mut acknowledged, mut all) = (BTreeMap::new(), 0);
    for round in 0..rounds {
        // Rounds end after different numbers of changes, some of them during compaction.
        let count = run_and_kill(&path, 500 + 7_919 * round % 20_000, &mut acknowledged);
        assert!(count > 0, "the child acknowledged nothing");
        all += count;
        let (store, _) = open(&path, DiskOptions::new(NOW));
        for (&user, &cseq) in &acknowledged {
            let (kept, live) = state(&store, user);
            assert!(kept >= cseq, "round {round}: user{user} is at {kept}, acknowledged was {cseq}");
            assert_eq!(live, !kept.is_multiple_of(REMOVE_EVERY), "round {round}: user{user} at {kept}");
        }
    }
    println!("{rounds} kills after {all} acknowledged changes: none was lost, none was restored");
}

/// The CSeq of the last applied request, and whether there is a live binding.
fn state(store: &DiskStore, user: u32) -> (u32, bool) {
    let record = support::load(store, &aor(user));
    (record.bindings().into_iter().map(|binding| binding.cseq()).max().unwrap_or(0), record.live(NOW).next().is_some())
}

/// Starts the child, kills it after `acks` acknowledgements and records them. Returns their number.
fn run_and_kill(path: &Path, acks: usize, acknowledged: &mut BTreeMap<u32, u32>) -> usize {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FILE, path)
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

/// Not a test: the process to be killed. Registers its users in a loop and prints which commits are durable.
#[test]
fn child() {
    let Some(path) = env::var_os(FILE) else { return };
    let done = |group: &[Ticket], outcome: Result<(), &StoreError>| {
        let mut out = io::stdout().lock();
        let word = if outcome.is_ok() { "ack" } else { "nak" };
        for ticket in group {
            let _ = writeln!(out, "{word} {} {} .", ticket.id >> 32, ticket.id & 0xFFFF_FFFF);
        }
        let _ = out.flush();
    };
    let hooks = Hooks { done: Box::new(done), ..Hooks::default() };
    let options = DiskOptions { queue: 256, group: 64, ..DiskOptions::new(NOW) };
    let store = &DiskStore::open(Path::new(&path), options, hooks).unwrap();
    println!();
    thread::scope(|scope| {
        for worker in 0..3 {
            scope.spawn(move || {
                loop {
                    (worker..USERS).step_by(3).for_each(|user| register_next(store, user));
                }
            });
        }
    });
}

fn register_next(store: &DiskStore, user: u32) {
    let cseq = state(store, user).0 + 1;
    let secs = if cseq.is_multiple_of(REMOVE_EVERY) { 0 } else { 600 };
    let id = u64::from(user) << 32 | u64::from(cseq);
    while let Commit::Full = commit(store, &aor(user), cseq, &[("sip:a@192.0.2.7", secs)], NOW, id) {
        thread::yield_now();
    }
}
