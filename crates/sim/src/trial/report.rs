//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use crate::judge::Counters;

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that were run.
    pub seeds: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// Calls that the caller cancelled.
    pub hung_up: u64,
    /// Calls with more than one 2xx.
    pub several: u64,
    /// Subscribers to calls whose knowledge was checked.
    pub watched: u64,
    pub(crate) seen: Counters,
    /// How many requests ended like this, by method and final status; `None` if there was no response.
    endings: BTreeMap<(String, Option<u16>), u64>,
}

impl Report {
    pub(super) fn ended(&mut self, method: &str, status: Option<u16>) {
        *self.endings.entry((method.to_owned(), status)).or_default() += 1;
    }

    /// How many requests the callers made.
    pub fn calls(&self) -> u64 {
        self.endings.values().sum()
    }

    /// Adds the figures of another run.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.messages += other.messages;
        self.hung_up += other.hung_up;
        self.several += other.several;
        self.watched += other.watched;
        self.seen.forged += other.seen.forged;
        self.seen.cancels += other.seen.cancels;
        self.seen.forks += other.seen.forks;
        self.seen.stateless += other.seen.stateless;
        self.seen.attacks += other.seen.attacks;
        self.seen.admitted += other.seen.admitted;
        self.seen.by_rules += other.seen.by_rules;
        self.seen.diversions += other.seen.diversions;
        self.seen.by_trunks += other.seen.by_trunks;
        for (ending, count) in &other.endings {
            *self.endings.entry(ending.clone()).or_default() += count;
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { forged, cancels, forks, stateless, attacks, admitted, by_rules, diversions, by_trunks } =
            self.seen;
        writeln!(f, "{} calls of {} seeds, {} messages, 0 violations", self.calls(), self.seeds, self.messages)?;
        writeln!(f, "branches: {forks} with a transaction, {stateless} without; {cancels} cancelled by the server")?;
        writeln!(f, "hung up: {}; several 2xx: {}; forged responses dropped: {forged}", self.hung_up, self.several)?;
        writeln!(f, "attacks: {attacks}; admitted, in the adversary's own name: {admitted}")?;
        writeln!(f, "branches by the rules of the office: {by_rules}; diversions after phones rang: {diversions}")?;
        writeln!(f, "requests to trunks: {by_trunks}; subscribers to calls: {}", self.watched)?;
        for ((method, status), count) in &self.endings {
            let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            writeln!(f, "{method:>10} {status:>5} {count:>9}")?;
        }
        Ok(())
    }
}
