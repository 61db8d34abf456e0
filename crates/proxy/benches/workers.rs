//! How much more two workers do than one: two cores on two threads, which share the location map, the calls and the
//! settings. Without sockets, because a load generator would need one of the two processors.
//!
//! As a reference, sums that need no memory are measured in the same way. They show what two threads can do at most:
//! the processors may share a power budget, or may be two threads of one core.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bench prints, has a clock, and stops where it fails"
)]

mod core_driver;

use std::hint::{black_box, spin_loop};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use core_driver::{CoreDriver, USERS, caller, phone, register, request};

/// Messages that a worker receives in one batch. The batches are so short that during some of them no other program
/// uses the processors.
const BATCH: u32 = 500;

/// Calls that a worker handles in one batch.
const CALLS: u32 = 100;

/// A message and its source.
type Datagram = (Bytes, SocketAddr);

fn main() {
    // `cargo test --benches` only checks that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 1_000 } else { 1 };
    compare("sums", rounds, |_, _| (), |_, ()| sums());
    compare("REGISTER again", rounds, registers, receive);
    compare("MESSAGE forwarded", rounds, messages, receive);
    compare("call", rounds, |worker, round| (2 * round + worker) * CALLS, calls);
}

/// Prints how much more two workers do in the same time than one, by the best round of each.
fn compare<T>(
    what: &str,
    rounds: u32,
    prepare: impl Fn(u32, u32) -> T + Sync,
    work: impl Fn(&mut CoreDriver, T) + Sync,
) {
    let first = CoreDriver::new();
    let (barrier, ready) = (Barrier::new(2), AtomicU32::new(0));
    let run = |worker: u32, mut driver: CoreDriver| {
        let mut spent = Vec::new();
        for round in 0..rounds {
            let [input, next] = [2 * round, 2 * round + 1].map(|round| prepare(worker, round));
            barrier.wait();
            let alone = (worker == 0).then(|| time(|| work(&mut driver, input)));
            barrier.wait();
            // A thread needs some time to wake up at a barrier, so both then wait actively.
            ready.fetch_add(1, Ordering::AcqRel);
            while ready.load(Ordering::Acquire) < 2 * (round + 1) {
                spin_loop();
            }
            spent.push((alone, time(|| work(&mut driver, next))));
        }
        spent
    };
    let [one, other] = thread::scope(|scope| {
        let run = &run;
        let start = |worker: u32| {
            let driver = first.beside(worker as u8);
            scope.spawn(move || run(worker, driver))
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

fn receive(driver: &mut CoreDriver, datagrams: Vec<Datagram>) {
    for (datagram, from) in datagrams {
        black_box(driver.receive(datagram, from));
    }
}

/// Each worker registers the phones of half of the users. In the map they are mixed with those of the other half.
fn registers(worker: u32, round: u32) -> Vec<Datagram> {
    let users = (0..BATCH).map(|turn| (2 * (round * BATCH + turn) + worker) % USERS);
    users.map(|user| (register(user, round + 2), phone(user))).collect()
}

/// Each worker forwards messages to all users.
fn messages(worker: u32, round: u32) -> Vec<Datagram> {
    let turns = (0..BATCH).map(|turn| (2 * round + worker) * BATCH + turn);
    turns.map(|turn| (request("MESSAGE", turn * 7 % USERS, turn), caller())).collect()
}

/// Calls to all users, with numbers from `first`. Their messages are written meanwhile.
fn calls(driver: &mut CoreDriver, first: u32) {
    for turn in first..first + CALLS {
        black_box(driver.call(turn * 7 % USERS, turn));
    }
}

fn sums() {
    let sum = (0..500_000_u64).fold(1_u64, |sum, turn| black_box(sum.wrapping_mul(31).wrapping_add(turn)));
    black_box(sum);
}
