//! The store without a file: for tests, and for sites where phones register again soon after a restart.
//!
//! A thin wrapper of the map. A commit is done immediately.

use super::map::Map;
use super::{Commit, Counts, SWEEP_MAX, Store, Ticket};
use crate::{Aor, Record, Version, Wall};

/// Records in memory only.
pub struct MemoryStore {
    map: Map,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self { map: Map::new() }
    }

    /// See [`AnyStore::counts`](super::AnyStore::counts).
    pub fn counts(&self) -> Counts {
        self.map.counts()
    }

    /// See [`AnyStore::records`](super::AnyStore::records).
    pub fn records(&self) -> u64 {
        self.map.records()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn load(&self, aor: &Aor) -> Option<Record> {
        self.map.load(aor.as_bytes())
    }

    fn commit(&self, expected: Option<Version>, record: Record, _ticket: Ticket) -> Commit {
        self.map.swap(expected, record, |_, _| Commit::Done)
    }

    fn sweep(&self, now: Wall) -> usize {
        self.map.sweep(now, SWEEP_MAX)
    }

    fn list(&self, visit: &mut dyn FnMut(&Record)) {
        self.map.list(visit);
    }
}
