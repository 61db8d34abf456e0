//! The copy of the ban list that each worker has.
//!
//! A check reads one atomic while nothing has changed, and takes no lock.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use hashbrown::HashSet;
use proxy::Source;

use super::Defence;

/// The ban list of one worker.
#[derive(Default)]
pub(crate) struct BanList {
    version: usize,
    sources: HashSet<Source>,
}

impl BanList {
    /// Copies the ban list if it has changed; returns whether it has.
    pub(crate) fn update(&mut self, defence: &Defence) -> bool {
        if self.version == defence.version.load(Ordering::Relaxed) {
            return false;
        }
        let table = defence.table.read();
        self.version = defence.version.load(Ordering::Relaxed);
        self.sources.clear();
        self.sources.extend(table.bans.keys());
        true
    }

    /// Whether the address is banned.
    pub(crate) fn is_banned(&self, ip: IpAddr) -> bool {
        !self.sources.is_empty() && self.sources.contains(&Source::from(ip))
    }
}
