//! The failures of each address, the bans, and the notices that wait to be logged.
//!
//! Decides when failures exceed the limit, and which entry is removed when a table is full. Must not decide which
//! addresses are exempt.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use ipnet::IpNet;
use location::Wall;
use proxy::Source;

use super::failure::{BanNotice, Failure, FailureSummary};
use crate::config::Config;
use crate::metrics::{self, DriverLimit};

/// Limit of notices that wait to be logged.
pub(super) const MAX_NOTICES: usize = 100;

/// The tables behind the lock of [`Defence`](super::Defence).
pub(super) struct Table {
    pub(super) rules: Rules,
    pub(super) histories: HashMap<Source, FailureHistory>,
    pub(super) bans: HashMap<Source, Ban>,
    /// Those that began here and are not shared yet.
    pub(super) unshared: Vec<Source>,
    pub(super) notices: Vec<BanNotice>,
    /// Notices dropped because the limit was reached.
    pub(super) dropped_notices: usize,
}

/// The rules of the configuration.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) failures: usize,
    pub(super) within: Duration,
    pub(super) ban: Option<Duration>,
    pub(super) trusted: Vec<IpNet>,
}

/// The failures of one address.
#[derive(Default)]
pub(super) struct FailureHistory {
    /// Their times, oldest first.
    times: VecDeque<Instant>,
    summary: FailureSummary,
    /// Until this time nothing more is logged about the address.
    pub(super) quiet_until: Option<Instant>,
}

/// A banned address.
#[derive(Clone, Debug)]
pub(crate) struct Ban {
    /// When it began, for display.
    pub(crate) since: Wall,
    /// When it ends.
    pub(crate) ends: Instant,
    /// Number of failures that led to it.
    pub(crate) failures: usize,
    /// The kinds of failures; unknown if another server counted them.
    pub(crate) summary: FailureSummary,
    /// Whether the servers that share bans know it. It ends when it is lifted at one of them.
    pub(crate) is_shared: bool,
}

impl Table {
    /// Without failures.
    pub(super) fn new(rules: Rules) -> Self {
        let (histories, bans) = (HashMap::new(), HashMap::new());
        Self { rules, histories, bans, unshared: Vec::new(), notices: Vec::new(), dropped_notices: 0 }
    }

    /// Counts a failure; if the limit is reached, returns the number and kinds.
    pub(super) fn count(
        &mut self,
        source: Source,
        failure: Failure<'_>,
        now: Instant,
        max_addresses: usize,
    ) -> Option<(usize, FailureSummary)> {
        if self.bans.contains_key(&source) {
            return None;
        }
        if self.histories.len() >= max_addresses && !self.histories.contains_key(&source) {
            // An arbitrary one, so that an attacker with many addresses cannot predict which is evicted.
            let evicted = self.histories.keys().next().copied();
            evicted.and_then(|source| self.histories.remove(&source));
            metrics::count(DriverLimit::Bans);
        }
        let history = self.histories.entry(source).or_default();
        if history.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        while history.times.front().is_some_and(|first| now.duration_since(*first) > self.rules.within) {
            history.times.pop_front();
        }
        if history.times.is_empty() {
            history.summary = FailureSummary::default();
        }
        history.times.push_back(now);
        history.summary.add(failure);
        if history.times.len() < self.rules.failures {
            return None;
        }
        Some((std::mem::take(&mut history.times).len(), std::mem::take(&mut history.summary)))
    }

    /// Makes room for a ban by removing the one that ends first.
    pub(super) fn make_room(&mut self, max_addresses: usize) {
        if self.bans.len() >= max_addresses {
            let first = self.bans.iter().min_by_key(|(_, ban)| ban.ends).map(|(source, _)| *source);
            first.and_then(|first| self.bans.remove(&first));
            metrics::count(DriverLimit::Bans);
        }
    }

    /// Adds a ban that began here.
    pub(super) fn ban(&mut self, source: Source, ban: Ban, max_addresses: usize) {
        self.histories.remove(&source);
        self.make_room(max_addresses);
        self.bans.insert(source, ban);
        // If nobody takes them, the oldest are forgotten.
        if self.unshared.len() >= MAX_NOTICES {
            self.unshared.remove(0);
        }
        self.unshared.push(source);
    }

    pub(super) fn notice(&mut self, notice: BanNotice) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(notice);
        } else {
            self.dropped_notices += 1;
        }
    }
}

impl FailureHistory {
    pub(super) fn is_current(&self, now: Instant, within: Duration) -> bool {
        let recent = self.times.back().is_some_and(|last| now.duration_since(*last) <= within);
        recent || self.quiet_until.is_some_and(|until| now < until)
    }
}

impl Rules {
    /// `trunks`: where calls of trunks come from.
    pub(super) fn of(config: &Config, trunks: &[IpNet]) -> Self {
        Self {
            failures: config.defence.failures.0,
            within: config.defence.within.0,
            ban: config.defence.ban.0,
            trusted: config.trusted.iter().map(|network| network.0).chain(trunks.iter().copied()).collect(),
        }
    }
}
