//! The [`Store`] trait and its implementations.
//!
//! Defines what callers may expect of a store: reads from memory, compare and swap. Must not know registration rules. To add
//! a store: one file here, one variant in `AnyStore`, one line in `tests/store_contract/main.rs`. Everything that accesses files
//! needs the feature `disk`, so that the proxy crate can use the rules without it.
//!
//! A store that several servers share keeps all records in memory too. It answers a commit with [`Commit::Pending`] and
//! calls `Hooks::done` when the shared database has compared the version and stored the record, or has refused it: then
//! the change is undone as after a failed write. It calls `Hooks::changed` for the changes of other servers, and
//! replaces the flows in bindings by [`FlowId::Elsewhere`](crate::FlowId::Elsewhere), and back.

mod error;
#[cfg_attr(
    not(feature = "disk"),
    expect(dead_code, reason = "the disk store uses more of the map than the memory store")
)]
mod map;
mod memory;

#[cfg(feature = "disk")]
mod any;
#[cfg(feature = "disk")]
mod backup;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "disk")]
mod file;
#[cfg(feature = "disk")]
mod hooks;
#[cfg(feature = "disk")]
mod journal;
#[cfg(feature = "disk")]
mod queue;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(feature = "disk")]
mod setup;
#[cfg(feature = "disk")]
mod snapshot;
#[cfg(feature = "disk")]
mod wal;
#[cfg(feature = "disk")]
mod writer;

use crate::{Aor, Record, Version, Wall};

#[cfg(feature = "disk")]
pub use any::AnyStore;
#[cfg(feature = "disk")]
pub use backup::backup;
#[cfg(feature = "disk")]
pub use disk::{DiskOptions, DiskStore};
pub use error::StoreError;
#[cfg(feature = "disk")]
pub use hooks::{Changed, CommitReport, Done, Hooks, NodeEntry, Nodes, OutsideChange, Usable, ValueChanged};
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis_store::{PutError, RedisOptions, RedisStore};

/// A location service: records by their address of record.
pub trait Store: Send + Sync {
    /// The current record, always from memory; `None` if there is none.
    fn load(&self, aor: &Aor) -> Option<Record>;

    /// Compare and swap: stores `record` if the current record still has the version `expected`, that of the record from
    /// which the change was computed (`None` = there was no record). The store gives the new record its version. The
    /// current record may be committed again: this changes nothing and completes after all earlier commits of it.
    /// A record without bindings is removed by the next sweep.
    fn commit(&self, expected: Option<Version>, record: Record, ticket: Ticket) -> Commit;

    /// Removes records whose last binding expired or was removed 32 s ago (64*T1), and updates the counts of live bindings.
    /// Call it about once a second. It visits only records that are due, at most 65,536 per call; the rest is left to the
    /// next call. An expired binding is never live, swept or not.
    /// Returns the number of bindings removed.
    fn sweep(&self, now: Wall) -> usize;

    /// Calls `visit` with every record. No lock is held while `visit` runs; concurrent changes may or may not be visited.
    fn list(&self, visit: &mut dyn FnMut(&Record));
}

/// Identifies a commit: [`Hooks::done`] receives it unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The number of the worker.
    pub worker: u16,
    /// The worker's number of the request.
    pub id: u64,
}

/// The result of a commit.
#[derive(Debug)]
pub enum Commit {
    /// Stored, and as durable as this store can make it.
    Done,
    /// The record has changed meanwhile: load and apply again.
    Conflict,
    /// Stored in memory; [`Hooks::done`] reports whether it is durable. Answer only after that.
    Pending,
    /// The queue to the disk is full; nothing was changed. Answer 503.
    Full,
    /// Nothing was changed, and every later commit fails as well: until an operator intervenes or, after
    /// [`StoreError::Unreachable`], until `Hooks::usable` reports that the shared database can be used again.
    Failed(StoreError),
}

/// The values of the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Addresses of record with a live binding.
    pub users: u64,
    /// Live bindings.
    pub bindings: u64,
}

/// Maximum of records that one sweep visits, so that it does not occupy its thread for long.
const SWEEP_MAX: usize = 65_536;
