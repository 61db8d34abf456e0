//! `kill -9` at any moment loses no acknowledged binding. This program runs itself as the victim.

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

#[test]
fn no_acknowledged_binding_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let fresh = one_life(&path, 500 + 100 * round, &mut acknowledged);
        assert!(fresh > 0, "the victim did nothing");
        let (store, _) = open(&path, DiskOptions::new(NOW));
        for (&user, &cseq) in &acknowledged {
            let record = support::load(&store, &aor(user)).1;
            let kept = record.live(NOW).next().map(|binding| binding.cseq());
            assert!(kept >= Some(cseq), "round {round}: user{user} has {kept:?}, was told {cseq}");
        }
    }
}

/// Starts the victim, kills it after so many acknowledgements, notes all that it gave. Returns their number.
fn one_life(path: &Path, enough: usize, acknowledged: &mut BTreeMap<u32, u32>) -> usize {
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut count = 0;
    for line in BufReader::new(victim.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8(line.unwrap()).unwrap();
        // A line cut off by the kill lacks its end mark: it was not given.
        let Some(["ack", user, cseq, "."]) = line.split(' ').collect::<Vec<_>>().first_chunk::<4>().copied() else {
            continue;
        };
        acknowledged.insert(user.parse().unwrap(), cseq.parse().unwrap());
        count += 1;
        if count == enough {
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    count
}

/// No test by itself: the process to be killed. Registers its users for ever and prints what is safe.
#[test]
fn victim() {
    let Some(path) = env::var_os(FILE) else { return };
    let done = |group: &[Ticket], outcome: Result<(), &StoreError>| {
        let mut out = io::stdout().lock();
        let word = if outcome.is_ok() { "ack" } else { "nak" };
        for ticket in group {
            let _ = writeln!(out, "{word} {} {} .", ticket.id >> 32, ticket.id & 0xFFFF_FFFF);
        }
        let _ = out.flush();
    };
    let hooks = Hooks { done: Box::new(done), committed: Box::new(|_| {}) };
    let options = DiskOptions { queue: 256, group: 64, ..DiskOptions::new(NOW) };
    let store = &DiskStore::open(Path::new(&path), options, hooks).unwrap();
    println!();
    thread::scope(|scope| {
        for worker in 0..3 {
            scope.spawn(move || {
                loop {
                    (worker..USERS).step_by(3).for_each(|user| again(store, user));
                }
            });
        }
    });
}

fn again(store: &DiskStore, user: u32) {
    let record = support::load(store, &aor(user)).1;
    let cseq = record.live(NOW).next().map_or(0, |binding| binding.cseq()) + 1;
    let id = u64::from(user) << 32 | u64::from(cseq);
    while let Commit::Full = commit(store, &aor(user), cseq, &[("sip:a@192.0.2.7", 600)], NOW, id) {
        thread::yield_now();
    }
}
