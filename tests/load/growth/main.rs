//! Costs that must not grow: the processor time of the server for a REGISTER with ever more users, and for a MESSAGE
//! beside ringing calls; what the disk adds to a REGISTER; how soon a server is ready, and what it uses while idle.
//!
//! `tests/load/growth/run` builds and prints the table. The servers of one row run at the same time, and one of them is
//! measured at a time, in short turns: so other load on the machine affects all of them equally. Loopback only, with a
//! time limit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a tool for developers: it stops where it fails"
)]

#[expect(dead_code, reason = "all that counts here is that an answer came")]
#[path = "../../harness/flood.rs"]
mod flood;
mod redis;
mod server;
mod slices;
#[path = "../usage.rs"]
mod usage;
mod users;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use server::{Layout, Server, Store};
use users::Users;

/// Calls that ring while others send messages.
const CALLS: u32 = 50_000;
/// Requests under way at a time, enough to keep the server busy.
const WINDOW: u32 = 64;
/// The same for a disk store, which answers in groups.
const WINDOW_OF_DISK: u32 = 512;

fn main() {
    let Some(program) = std::env::args().nth(1) else {
        println!("usage: growth PROGRAM [redis]");
        return;
    };
    // The servers run in folders of their own.
    let program = &std::fs::canonicalize(&program).expect("the program");
    if std::env::args().nth(2).is_some_and(|what| what == "redis") {
        redis::measure(program);
        return;
    }
    users(program);
    calls(program);
    disk(program);
    start(program);
    idle(program);
}

/// Refreshes over UDP, the store in memory.
fn users(program: &Path) {
    let counts = [10_000, 100_000, 1_000_000];
    let mut groups = counts.map(|users| Users::open(server(program), users, WINDOW));
    let costs = slices::compare(&mut groups, Users::refresh);
    slices::print("REGISTER again", counts.map(|users| format!("{users} users")), &costs);
}

/// Refreshes whose 200 waits for an fsync, compared with those that do not; and the waiting time of one.
fn disk(program: &Path) {
    let mut groups = [Store::Memory, Store::Disk].map(|store| {
        let (server, _) = Server::start(program, store, Layout::Pinned);
        Users::open(server, 100_000, WINDOW_OF_DISK)
    });
    let costs = slices::compare(&mut groups, Users::refresh);
    slices::print("REGISTER again", ["store in memory", "store on disk"].map(str::to_owned), &costs);
    let best = (0..5).map(|_| groups[1].paced(10_000, Duration::from_secs(2))).map(|waits| {
        let at = |share: usize| waits[waits.len() * share / 100].as_secs_f64() * 1e3;
        (at(99), at(50))
    });
    let (most, middle) = best.min_by(|one, other| one.0.total_cmp(&other.0)).expect("five of them");
    println!("{:<44}{middle:>8.2} ms p50, {most:.2} ms p99, the best of five", "on disk, 10,000 a second");
}

/// Messages to users with one phone, while others are being called on two phones.
fn calls(program: &Path) {
    let mut groups = [(); 2].map(|()| Users::open(server(program), CALLS + 10_000, WINDOW));
    groups.iter_mut().for_each(|group| group.add_phones(CALLS));
    groups[1].ring();
    let costs = slices::compare(&mut groups, Users::message);
    slices::print("MESSAGE forwarded", [0, CALLS].map(|calls| format!("{calls} pending forks")), &costs);
}

fn server(program: &Path) -> Server {
    Server::start(program, Store::Memory, Layout::Pinned).0
}

/// From the start of the process to its first response.
fn start(program: &Path) {
    for (store, name) in [(Store::Memory, "memory"), (Store::Disk, "disk")] {
        let mut took: Vec<_> = (0..20).map(|_| Server::start(program, store, Layout::Free).1).collect();
        took.sort();
        let [least, median] = [took[0], took[10]].map(|time| time.as_secs_f64() * 1e3);
        println!(
            "{:<20}{:<24}{least:>8.1} ms at least, {median:.1} in the middle",
            "start to ready",
            format!("empty store, {name}")
        );
    }
}

/// A server as installed, without calls.
fn idle(program: &Path) {
    let (server, _) = Server::start(program, Store::Disk, Layout::Free);
    sleep(Duration::from_secs(2));
    let (cpu, time) = (usage::of(server.id()), Duration::from_secs(10));
    sleep(time);
    let share = (usage::of(server.id()) - cpu).as_secs_f64() / time.as_secs_f64() * 100.0;
    println!("{:<44}{share:>8.3} % of a processor", "idle");
    let memory = server.resident() as f64 / f64::from(1 << 20);
    println!("{:<44}{memory:>8.1} MiB resident", "idle");
}
