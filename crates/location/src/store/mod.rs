//! Where records are kept: the contract of a store, and the closed set of stores.
//!
//! Decides what a store owes its callers: reads from memory, compare and swap. Must not know
//! registration rules. To add a store: one file here, one variant in `AnyStore`, one line in `tests/battery/main.rs`.
//! What touches files is behind the feature `disk`, so that the core can use the rules without it.

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
mod journal;
#[cfg(feature = "disk")]
mod queue;
#[cfg(feature = "disk")]
mod snapshot;
#[cfg(feature = "disk")]
mod wal;
#[cfg(feature = "disk")]
mod writer;

use crate::{Aor, Record, Wall};

#[cfg(feature = "disk")]
pub use any::AnyStore;
#[cfg(feature = "disk")]
pub use backup::backup;
#[cfg(feature = "disk")]
pub use disk::{CommitReport, DiskOptions, DiskStore, Done, Hooks, Usable};
pub use error::StoreError;
pub use memory::MemoryStore;

/// A location service: records under their address of record.
pub trait Store: Send + Sync {
    /// The record as it is now, always from memory; `None` if there is none.
    fn load(&self, aor: &Aor) -> Option<Record>;

    /// Compare and swap: put `record` in place if what is there still is `expected`, the very record that the change was
    /// computed from (`None` = nothing was there). One without bindings goes with the next sweep.
    fn commit(&self, expected: Option<&Record>, record: Record, ticket: Ticket) -> Commit;

    /// Remove records whose last binding expired or was removed 32 s ago (64*T1), and count bindings that just expired.
    /// To be called about once a second. Looks only at what is due, at most 65,536 records a call; the rest waits for
    /// the next. An expired binding is never used, swept or not.
    /// Returns the number of bindings removed.
    fn sweep(&self, now: Wall) -> usize;

    /// Show every address of record. Nothing is locked while `visit` runs; what changes meanwhile may or may not show.
    fn list(&self, visit: &mut dyn FnMut(&Record));
}

/// Who is to be told when a commit is safe: handed back as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Worker number.
    pub worker: u16,
    /// What that worker calls the request.
    pub id: u64,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Commit {
    /// In place, and as safe as this store can make it.
    Done,
    /// Somebody else was first: load and apply again.
    Conflict,
    /// In place in memory; [`Hooks::done`] will say whether it is safe. Answer only then.
    Pending,
    /// The queue to the disk is full, nothing was changed: answer 503.
    Full,
    /// Nothing was changed, and nothing will be until somebody looks after the store.
    Failed(StoreError),
}

/// What the gauges show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Addresses of record with a live binding.
    pub users: u64,
    /// Live bindings.
    pub bindings: u64,
}

/// Records that one sweep looks at: no more than a moment of one thread.
const SWEEP_MAX: usize = 65_536;
