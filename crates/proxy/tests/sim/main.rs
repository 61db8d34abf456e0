//! The simulator: calls by the thousand between robots, over a network that loses, doubles, delays and breaks, and a
//! judge who watches every message. README.md beside this file says how to use it.
//!
//! ```text
//! cargo test -p proxy --test sim                                what CI runs
//! cargo test -p proxy --release --test sim -- calls 1000000     the long run
//! cargo test -p proxy --test sim -- seed 17                     one seed, with its ladder if it fails
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test program"
)]

mod judge;
#[path = "mod.rs"]
mod sim;
mod storm;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use judge::Broken;
use storm::{Report, Storm};

/// How much of a ladder is shown.
const LINES: usize = 200;

/// How many calls CI makes.
const CALLS: u64 = 20_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // A broken invariant is told once, with its ladder; where anything else went wrong, the panic says.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload().is::<Broken>() {
            tell(panic);
        }
    }));
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match (words.first().map(String::as_str), number(1)) {
        (Some("seed"), Some(seed)) => replay(seed),
        (Some("calls"), Some(calls)) => run(calls, number(2).unwrap_or(0)),
        // What `cargo test` hands to every test program is not for this one.
        _ => run(CALLS, 0),
    }
}

/// Seeds from `first` on, on all cores, until there were so many calls or one is broken.
fn run(calls: u64, first: u64) -> ExitCode {
    let (seeds, made, stop) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut report = Report::default();
        while made.load(Ordering::Relaxed) < calls && !stop.load(Ordering::Relaxed) {
            let seed = seeds.fetch_add(1, Ordering::Relaxed);
            match judged(seed) {
                Ok(one) => {
                    made.fetch_add(one.calls(), Ordering::Relaxed);
                    report.add(&one);
                }
                Err(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
        Ok(report)
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    let mut total = Report::default();
    for result in results {
        match result {
            Ok(report) => total.add(&report),
            Err(failure) => {
                eprintln!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{total}from seed {first} on");
    ExitCode::SUCCESS
}

fn replay(seed: u64) -> ExitCode {
    match judged(seed) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed. What went wrong is told with the ladder of its call.
fn judged(seed: u64) -> Result<Report, String> {
    let storm = Storm::new(seed);
    let payload = match catch_unwind(AssertUnwindSafe(|| storm.run())) {
        Ok(report) => return Ok(report),
        Err(payload) => payload,
    };
    let again = format!("cargo test -p proxy --test sim -- seed {seed}");
    let (call_id, what) = match payload.downcast::<Broken>() {
        Ok(broken) => (broken.call_id, format!("{}: {}", broken.rule, broken.what)),
        Err(other) => {
            let text = other.downcast_ref::<String>().cloned();
            let text = text.or_else(|| other.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            let call_id = text.split_whitespace().find(|word| word.contains('@')).unwrap_or_default();
            (call_id.to_owned(), text)
        }
    };
    let ladder = storm.ladder(&call_id);
    let from = ladder.lines().count().saturating_sub(LINES);
    let ladder: String = ladder.lines().skip(from).flat_map(|line| [line, "\n"]).collect();
    Err(format!("{ladder}\nseed {seed} breaks {what}\nin call {call_id}\n\nto see it again: {again}"))
}
