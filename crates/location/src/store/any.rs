//! The closed set of stores, for a program that learns from its configuration which one it has.

use super::{Commit, Counts, DiskStore, MemoryStore, Store, Ticket};
use crate::{Aor, Record, Wall};

/// The closed set of stores.
pub enum AnyStore {
    /// Gone when the program ends.
    Memory(MemoryStore),
    /// Durable.
    Disk(DiskStore),
}

impl AnyStore {
    /// Users and bindings registered, exact as of the last [`sweep`](Store::sweep). Two atomic reads.
    pub fn counts(&self) -> Counts {
        match self {
            Self::Memory(store) => store.counts(),
            Self::Disk(store) => store.counts(),
        }
    }

    /// See [`DiskStore::time`]; none in memory, which has no earlier runs.
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

    /// Addresses of record that take room, with a live binding or without; also of those removed in the last 32 s. One
    /// atomic read.
    pub fn records(&self) -> u64 {
        match self {
            Self::Memory(store) => store.records(),
            Self::Disk(store) => store.records(),
        }
    }

    /// Changes that wait for the disk; 0 in memory.
    pub fn queue_len(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Disk(store) => store.queue_len(),
        }
    }

    /// Write what waits and stop. Later commits fail, reads go on. Idempotent.
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

    fn commit(&self, expected: Option<&Record>, record: Record, ticket: Ticket) -> Commit {
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
