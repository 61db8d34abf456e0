//! An enum over the stores, for a program whose configuration selects one.

use super::{Commit, Counts, DiskStore, MemoryStore, Store, Ticket};
use crate::{Aor, Record, Version, Wall};

/// One of the stores.
pub enum AnyStore {
    /// Not durable: the records are lost when the program ends.
    Memory(MemoryStore),
    /// Durable.
    Disk(DiskStore),
}

impl AnyStore {
    /// Registered users and bindings, exact as of the last [`sweep`](Store::sweep). Costs two atomic reads.
    pub fn counts(&self) -> Counts {
        match self {
            Self::Memory(store) => store.counts(),
            Self::Disk(store) => store.counts(),
        }
    }

    /// See [`DiskStore::time`]; `None` for the memory store, which has no earlier runs.
    pub fn time(&self) -> Option<Wall> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(store) => Some(store.time()),
        }
    }

    /// See [`DiskStore::set_ahead`].
    pub fn set_ahead(&self, millis: i64) {
        match self {
            Self::Memory(_) => {}
            Self::Disk(store) => store.set_ahead(millis),
        }
    }

    /// Addresses of record in memory, with or without a live binding, including those removed in the last 32 s. Costs one
    /// atomic read.
    pub fn records(&self) -> u64 {
        match self {
            Self::Memory(store) => store.records(),
            Self::Disk(store) => store.records(),
        }
    }

    /// Changes that wait for the disk; 0 for the memory store.
    pub fn queue_len(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Disk(store) => store.queue_len(),
        }
    }

    /// Writes the queued changes and stops. Later commits fail, reads still work. Idempotent.
    pub fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Disk(store) => store.close(),
        }
    }
}

impl Store for AnyStore {
    fn load(&self, aor: &Aor) -> Option<Record> {
        match self {
            Self::Memory(store) => store.load(aor),
            Self::Disk(store) => store.load(aor),
        }
    }

    fn commit(&self, expected: Option<Version>, record: Record, ticket: Ticket) -> Commit {
        match self {
            Self::Memory(store) => store.commit(expected, record, ticket),
            Self::Disk(store) => store.commit(expected, record, ticket),
        }
    }

    fn sweep(&self, now: Wall) -> usize {
        match self {
            Self::Memory(store) => store.sweep(now),
            Self::Disk(store) => store.sweep(now),
        }
    }

    fn list(&self, visit: &mut dyn FnMut(&Record)) {
        match self {
            Self::Memory(store) => store.list(visit),
            Self::Disk(store) => store.list(visit),
        }
    }
}
