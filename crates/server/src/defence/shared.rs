//! Bans that several servers share: the text of the shared value, and what each server takes over from it.
//!
//! Decides which bans are shared: the newest. Another server may trust an address that is banned here; then it does not take
//! over the ban.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use location::Wall;
use proxy::Source;
use serde::{Deserialize, Serialize};

use super::Defence;
use super::failure::FailureSummary;
use super::table::Ban;
use crate::clock;
use crate::metrics::{self, DriverLimit};

/// The name of the value.
pub(crate) const VALUE: &str = "bans";

/// One ban. Times are in milliseconds of the time that the servers share.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct SharedBan {
    since: u64,
    until: u64,
    failures: usize,
}

/// All of them, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedBans(BTreeMap<String, SharedBan>);

impl SharedBans {
    /// Reads the value; `None` if it has another form.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        if text.is_empty() { Some(Self::default()) } else { serde_json::from_slice(text).ok().map(Self) }
    }

    /// As it is shared, without those that have ended.
    pub(crate) fn text(mut self) -> Vec<u8> {
        let now = clock::wall().millis();
        self.0.retain(|_, ban| now < ban.until);
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// Adds bans. Of more than `max` the oldest end, at every server.
    pub(crate) fn add(&mut self, bans: &[(Source, Ban)], max: usize) {
        let now = (clock::wall(), Instant::now());
        for (source, ban) in bans {
            let left = u64::try_from(ban.ends.saturating_duration_since(now.1).as_millis()).unwrap_or(u64::MAX);
            let until = now.0.plus_millis(left).millis();
            let shared = SharedBan { since: ban.since.millis(), until, failures: ban.failures };
            self.0.insert(source.to_string(), shared);
        }
        self.make_room(max, now.0.millis());
    }

    fn make_room(&mut self, max: usize, now: u64) {
        self.0.retain(|_, ban| now < ban.until);
        let excess = self.0.len().saturating_sub(max);
        if excess > 0 {
            let mut all: Vec<_> = self.0.iter().map(|(address, ban)| (ban.since, address.clone())).collect();
            all.sort_unstable();
            for (_, oldest) in all.into_iter().take(excess) {
                self.0.remove(&oldest);
                metrics::count(DriverLimit::Bans);
            }
        }
    }

    /// Removes the ban of an address.
    pub(crate) fn remove(&mut self, source: Source) {
        self.0.remove(&source.to_string());
    }
}

impl Defence {
    /// Takes the bans that began here since the last call.
    pub(crate) fn take_unshared(&self) -> Vec<(Source, Ban)> {
        if self.ban_count() == 0 {
            return Vec::new();
        }
        let mut table = self.table.write();
        let sources = std::mem::take(&mut table.unshared);
        sources.into_iter().filter_map(|source| Some((source, table.bans.get(&source)?.clone()))).collect()
    }

    /// Takes over the bans of other servers, and removes those that were lifted there.
    pub(crate) fn take_over(&self, shared: &SharedBans) {
        let (now, at) = (clock::wall(), Instant::now());
        let mut table = self.table.write();
        let waiting = std::mem::take(&mut table.unshared);
        table.bans.retain(|source, ban| {
            !ban.is_shared || waiting.contains(source) || shared.0.contains_key(&source.to_string())
        });
        table.unshared = waiting;
        for (source, ban) in &shared.0 {
            let Ok(source) = source.parse::<Source>() else { continue };
            let left = Duration::from_millis(ban.until.saturating_sub(now.millis()));
            let is_trusted = table.rules.trusted.iter().any(|network| network.contains(&source.ip()));
            if left.is_zero() || is_trusted {
                continue;
            }
            if let Some(own) = table.bans.get_mut(&source) {
                own.is_shared = true;
                continue;
            }
            table.make_room(self.max_addresses);
            let summary = FailureSummary::default();
            let (since, ends) = (Wall(ban.since), at + left);
            table.bans.insert(source, Ban { since, ends, failures: ban.failures, summary, is_shared: true });
        }
        self.bans_changed(&table);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use location::{AnyStore, Aor, MemoryStore};

    use super::super::Failure;
    use super::*;
    use crate::config::Config;

    fn defence(text: &str) -> Defence {
        let config: Config = serde_yaml::from_str(text).expect("a configuration");
        Defence::new(&config, Arc::new(AnyStore::Memory(MemoryStore::new())))
    }

    fn ban(defence: &Defence, address: &str) {
        let user = Aor::new(b"101", b"office.example");
        defence.record_failure(address.parse().expect("an address"), Failure::Credentials(&user));
    }

    #[test]
    fn a_ban_is_taken_over_and_lifted_at_every_server() {
        let (a, b) = (defence("defence: { failures: 1 }"), defence("defence: { failures: 1 }"));
        let trusting = defence("defence: { failures: 1 }\ntrusted: [198.51.100.7]");
        ban(&a, "198.51.100.7");
        let mut shared = SharedBans::default();
        shared.add(&a.take_unshared(), 10);
        assert!(a.take_unshared().is_empty());
        let text = shared.clone().text();
        assert_eq!(SharedBans::read(&text).as_ref(), Some(&shared));
        for other in [&a, &b, &trusting] {
            other.take_over(&shared);
        }
        let address = "198.51.100.7".parse().expect("an address");
        assert!(b.is_banned(address) && a.is_banned(address) && !trusting.is_banned(address));
        let source = Source::from(address);
        assert!(b.lift(source));
        shared.remove(source);
        a.take_over(&shared);
        assert_eq!((a.ban_count(), b.ban_count()), (0, 0));
    }

    #[test]
    fn a_ban_that_is_not_shared_yet_is_kept() {
        let a = defence("defence: { failures: 1 }");
        ban(&a, "198.51.100.7");
        a.take_over(&SharedBans::default());
        assert_eq!(a.ban_count(), 1);
        assert_eq!(a.take_unshared().len(), 1);
    }

    #[test]
    fn the_newest_bans_are_shared_and_ended_ones_forgotten() {
        let now = clock::wall().millis();
        let entry = |at: u64| (format!("192.0.2.{at}"), SharedBan { since: at, until: now + 60_000, failures: 1 });
        let mut bans: BTreeMap<_, _> = (0..105).map(entry).collect();
        bans.insert("old".to_owned(), SharedBan { since: 9_000, until: now, failures: 1 });
        let mut bans = SharedBans(bans);
        bans.add(&[], 100);
        let kept = SharedBans::read(&bans.text()).expect("bans").0;
        assert_eq!(kept.len(), 100);
        assert!(kept.values().all(|ban| ban.since >= 5 && ban.until > now));
        assert_eq!(SharedBans::read(b"no JSON"), None);
    }
}
