//! What the turns of each server were, and how it is printed.
//!
//! The median of the quotients of neighbouring turns is what counts: they had the same disturbance by other processes.

use std::time::Duration;

use crate::arguments::{Scenario, Target};

/// One turn of a server.
pub(crate) struct Turn {
    pub(crate) took: Duration,
    /// The processor time of the server.
    pub(crate) cpu: Duration,
    /// Transactions or calls.
    pub(crate) done: u64,
}

impl Turn {
    /// Microseconds for one transaction or call.
    fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done.max(1) as f64
    }
}

/// One line for each server: its turns, and how many transactions of it failed in all.
pub(crate) fn print(scenario: Scenario, results: &[(&Target, &[Turn], u64)]) {
    let Some((_, first, _)) = results.first() else { return };
    for (target, turns, bad) in results {
        let [least, _, cost, _, _] = spread(turns.iter().map(Turn::cost));
        let [_, low, ratio, high, _] = spread(first.iter().zip(*turns).map(|(first, own)| first.cost() / own.cost()));
        let [_, _, rate, _, _] = spread(turns.iter().map(|turn| turn.done as f64 / turn.took.as_secs_f64()));
        let [_, _, busy, _, _] = spread(turns.iter().map(|turn| turn.cpu.as_secs_f64() / turn.took.as_secs_f64()));
        println!(
            "{:<10} {:<14} {cost:7.2} us, at least {least:.2}; the first row is {ratio:.2} of it \
             ({low:.2} to {high:.2}); {rate:.0}/s, {busy:.2} busy, {bad} bad",
            scenario.name(),
            target.name,
        );
    }
}

/// Least, lower quartile, median, upper quartile, most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 5] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [0, 1, 2, 3, 4].map(|quarter| values.get(last * quarter / 4).copied().unwrap_or_default())
}
