//! Runs seeds and reports the first failure, with the messages of its call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::judge::Violation;
use crate::trial::{NodeTrial, Report, Trial};

/// At most this many lines of the messages of a failed call are shown, the last ones.
const LINES: usize = 200;

/// One of so many seeds has a trial with several nodes too.
const WITH_NODES: u64 = 4;

/// Runs seeds from `first` on, on all processors, until they made `calls` calls. The error is the first violation.
pub fn simulate(calls: u64, first: u64) -> Result<Report, String> {
    let (seeds, made, stop) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut report = Report::default();
        while made.load(Ordering::Relaxed) < calls && !stop.load(Ordering::Relaxed) {
            let seed = seeds.fetch_add(1, Ordering::Relaxed);
            match replay(seed) {
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
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    let mut total = Report::default();
    for result in results {
        total.add(&result?);
    }
    Ok(total)
}

/// Runs one seed. The error names what was violated and shows the messages of its call.
pub fn replay(seed: u64) -> Result<Report, String> {
    hide_violations();
    let trial = Trial::new(seed);
    let mut of_nodes = seed.is_multiple_of(WITH_NODES).then(|| NodeTrial::new(seed));
    let run = || {
        let mut report = trial.run();
        of_nodes.iter_mut().for_each(|trial| report.add(&trial.run()));
        report
    };
    let payload = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(report) => return Ok(report),
        Err(payload) => payload,
    };
    let (call_id, what) = match payload.downcast::<Violation>() {
        Ok(violation) => (violation.call_id, format!("{}: {}", violation.rule, violation.what)),
        Err(other) => {
            let text = other.downcast_ref::<String>().cloned();
            let text = text.or_else(|| other.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            let call_id = text.split_whitespace().find(|word| word.contains('@')).unwrap_or_default();
            (call_id.to_owned(), text)
        }
    };
    let ladder = trial.ladder(&call_id) + &of_nodes.map(|trial| trial.ladder(&call_id)).unwrap_or_default();
    let from = ladder.lines().count().saturating_sub(LINES);
    let ladder: String = ladder.lines().skip(from).flat_map(|line| [line, "\n"]).collect();
    let again = format!("cargo run -p sim -- seed {seed}");
    Err(format!("{ladder}\nseed {seed} violates {what}\nin call {call_id}\n\nto repeat it: {again}"))
}

/// Prints no message for the panic of a violation, because the error has it. Other panics are printed.
fn hide_violations() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.payload().is::<Violation>() {
                print(panic);
            }
        }));
    });
}
