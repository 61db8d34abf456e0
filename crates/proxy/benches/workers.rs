//! What a second worker brings: two cores on two threads, which share nothing but the location map, against one. No sockets:
//! a generator of load would need one of the processors.
//!
//! What two threads can bring at all is measured in the same way, with sums that need no memory: processors may share a
//! power budget, or be two halves of one.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bench prints, has a clock, and stops where it fails"
)]

mod office;

use std::hint::{black_box, spin_loop};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use office::{Office, USERS, caller, phone, register, request};

/// Messages that a worker receives in one go: so few that, among many goes, some meet two processors that nobody else uses.
const BATCH: u32 = 500;

/// A message, and where it comes from.
type Mail = (Bytes, SocketAddr);

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 1_000 } else { 1 };
    compare("sums", rounds, |_, _| (), |_, ()| sums());
    compare("REGISTER again", rounds, registers, receive);
    compare("MESSAGE forwarded", rounds, messages, receive);
}

/// Prints how much more two workers do in a time than one: the best round of each.
fn compare<T>(what: &str, rounds: u32, prepare: impl Fn(u32, u32) -> T + Sync, work: impl Fn(&mut Office, T) + Sync) {
    let first = Office::new();
    let (there, busy) = (Barrier::new(2), AtomicU32::new(0));
    let live = |worker: u32, mut office: Office| {
        let mut spent = Vec::new();
        for round in 0..rounds {
            let [input, next] = [2 * round, 2 * round + 1].map(|round| prepare(worker, round));
            there.wait();
            let alone = (worker == 0).then(|| time(|| work(&mut office, input)));
            there.wait();
            // Who sleeps at a barrier needs a while to wake.
            busy.fetch_add(1, Ordering::AcqRel);
            while busy.load(Ordering::Acquire) < 2 * (round + 1) {
                spin_loop();
            }
            spent.push((alone, time(|| work(&mut office, next))));
        }
        spent
    };
    let [one, other] = thread::scope(|scope| {
        let live = &live;
        let start = |worker: u32| {
            let office = first.beside(worker as u8);
            scope.spawn(move || live(worker, office))
        };
        [0, 1].map(start).map(|thread| thread.join().unwrap())
    });
    let alone = one.iter().filter_map(|(alone, _)| *alone).min().unwrap();
    let both = one.iter().zip(&other).map(|((_, one), (_, other))| *one.max(other)).min().unwrap();
    let ratio = 2.0 * alone.as_secs_f64() / both.as_secs_f64();
    println!("two workers         {what:<24}x {ratio:.2} of what one does");
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn receive(office: &mut Office, mail: Vec<Mail>) {
    for (datagram, from) in mail {
        black_box(office.receive(datagram, from));
    }
}

/// Each worker has the phones of its half of the users, and any of them may be next to one of the other's in the map.
fn registers(worker: u32, round: u32) -> Vec<Mail> {
    let users = (0..BATCH).map(|turn| (2 * (round * BATCH + turn) + worker) % USERS);
    users.map(|user| (register(user, round + 2), phone(user))).collect()
}

/// Both workers send to all users.
fn messages(worker: u32, round: u32) -> Vec<Mail> {
    let turns = (0..BATCH).map(|turn| (2 * round + worker) * BATCH + turn);
    turns.map(|turn| (request("MESSAGE", turn * 7 % USERS, turn), caller())).collect()
}

fn sums() {
    let sum = (0..500_000_u64).fold(1_u64, |sum, turn| black_box(sum.wrapping_mul(31).wrapping_add(turn)));
    black_box(sum);
}
