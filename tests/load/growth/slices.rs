//! Processor time of several servers, measured in short turns.
//!
//! It reports the least cost of a transaction, which other load disturbed least, and the median of the quotients of
//! neighbouring turns, which had the same disturbance.

use std::time::{Duration, Instant};

use crate::usage;
use crate::users::Users;

/// Turns of each server.
const ROUNDS: usize = 21;
/// The length of a turn.
const SLICE: Duration = Duration::from_millis(400);

/// What a transaction costs one server.
pub(crate) struct Cost {
    /// Processor time in microseconds, in the best turn.
    least: f64,
    /// As a multiple of that of the first server.
    ratio: f64,
    /// Transactions per second, in the best turn.
    rate: f64,
}

/// Lets each server do `work` in turn.
pub(crate) fn compare(groups: &mut [Users], work: fn(&mut Users, Duration) -> u32) -> Vec<Cost> {
    let mut slices = vec![Vec::with_capacity(ROUNDS); groups.len()];
    for round in 0..=ROUNDS {
        for (group, slices) in groups.iter_mut().zip(&mut slices) {
            let (before, begin) = (usage::of(group.process()), Instant::now());
            let done = f64::from(work(group, SLICE));
            let rate = done / begin.elapsed().as_secs_f64();
            let cost = (usage::of(group.process()) - before).as_secs_f64() * 1e6 / done;
            // The first round is a warm-up.
            if round > 0 {
                slices.push((cost, rate));
            }
        }
    }
    let first = slices[0].clone();
    let cost = |own: Vec<(f64, f64)>| Cost {
        least: own.iter().map(|(cost, _)| *cost).fold(f64::INFINITY, f64::min),
        ratio: median(own.iter().zip(&first).map(|((own, _), (first, _))| own / first).collect()),
        rate: own.iter().map(|(_, rate)| *rate).fold(0.0, f64::max),
    };
    slices.into_iter().map(cost).collect()
}

/// One line for each.
pub(crate) fn print<const N: usize>(what: &str, names: [String; N], costs: &[Cost]) {
    for (name, Cost { least, ratio, rate }) in names.iter().zip(costs) {
        println!("{what:<20}{name:<24}{least:>8.2} us at least   x {ratio:.2}   up to {rate:.0} a second");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
