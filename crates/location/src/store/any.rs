//! An enum over the stores, for a program whose configuration selects one.

#[cfg(feature = "redis")]
use super::RedisStore;
use super::{Commit, Counts, DiskStore, MemoryStore, Store, Ticket};
use crate::{Aor, Record, Version, Wall};

/// One of the stores.
pub enum AnyStore {
    /// Not durable: the records are lost when the program ends.
    Memory(MemoryStore),
    /// Durable.
    Disk(DiskStore),
    /// Shared by several servers.
    #[cfg(feature = "redis")]
    Redis(RedisStore),
}

impl AnyStore {
    /// Registered users and bindings, exact as of the last [`sweep`](Store::sweep). Costs two atomic reads.
    pub fn counts(&self) -> Counts {
        match self {
            Self::Memory(store) => store.counts(),
            Self::Disk(store) => store.counts(),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.counts(),
        }
    }

    /// See [`DiskStore::time`]; `None` for the memory store, which has no earlier runs, and for the shared store before
    /// `Hooks::time` was called.
    pub fn time(&self) -> Option<Wall> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(store) => Some(store.time()),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.time(),
        }
    }

    /// See [`DiskStore::set_ahead`].
    pub fn set_ahead(&self, millis: i64) {
        match self {
            Self::Memory(_) => {}
            Self::Disk(store) => store.set_ahead(millis),
            // Its time is that of the database.
            #[cfg(feature = "redis")]
            Self::Redis(_) => {}
        }
    }

    /// Addresses of record in memory, with or without a live binding, including those removed in the last 32 s. Costs one
    /// atomic read.
    pub fn records(&self) -> u64 {
        match self {
            Self::Memory(store) => store.records(),
            Self::Disk(store) => store.records(),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.records(),
        }
    }

    /// Changes that wait for the disk or the shared database; 0 for the memory store.
    pub fn queue_len(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Disk(store) => store.queue_len(),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.queue_len(),
        }
    }

    /// Writes the queued changes and stops. Later commits fail, reads still work. Idempotent.
    pub fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Disk(store) => store.close(),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.close(),
        }
    }
}

impl Store for AnyStore {
    fn load(&self, aor: &Aor) -> Option<Record> {
        match self {
            Self::Memory(store) => store.load(aor),
            Self::Disk(store) => store.load(aor),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.load(aor),
        }
    }

    fn commit(&self, expected: Option<Version>, record: Record, ticket: Ticket) -> Commit {
        match self {
            Self::Memory(store) => store.commit(expected, record, ticket),
            Self::Disk(store) => store.commit(expected, record, ticket),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.commit(expected, record, ticket),
        }
    }

    fn sweep(&self, now: Wall) -> usize {
        match self {
            Self::Memory(store) => store.sweep(now),
            Self::Disk(store) => store.sweep(now),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.sweep(now),
        }
    }

    fn list(&self, visit: &mut dyn FnMut(&Record)) {
        match self {
            Self::Memory(store) => store.list(visit),
            Self::Disk(store) => store.list(visit),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.list(visit),
        }
    }
}
