//! The store that several servers share: the map in memory, and every change in Redis (or Valkey) before it is acknowledged.
//!
//! Three threads, each with a connection of its own: `writer.rs` sends changes, `reader.rs` takes over those of others,
//! `keeper.rs` holds the lease of this server. docs/cluster.md describes the keys. Reads never access Redis. Must not know
//! registration rules: the changes of two servers meet by compare and swap, and the core applies one of them again.

mod client;
mod codec;
mod keeper;
mod options;
mod reader;
mod reconcile;
mod scripts;
mod state;
mod stream_id;
mod values;
mod writer;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::queue::PushError;
use super::writer::QueuedChange;
use super::{Commit, Counts, Hooks, SWEEP_MAX, Store, StoreError, Ticket};
use crate::{Aor, Node, Record, Version, Wall};

use client::Address;
pub use options::RedisOptions;
use state::Shared;
pub use values::PutError;

/// Records in memory and in Redis. Dropping it writes the queued changes and gives up the lease.
pub struct RedisStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl RedisStore {
    /// Returns at once. Until Redis has been reached and read, the store is empty, and a commit fails with
    /// [`StoreError::Unreachable`]; then `Hooks::time`, `Hooks::nodes` and `Hooks::usable` are called.
    ///
    /// # Errors
    /// The URL or another option is not valid, or the system has no more threads.
    pub fn open(options: RedisOptions, hooks: Hooks) -> Result<Self, StoreError> {
        let address = Address::parse(&options)?;
        let shared = Arc::new(Shared::new(options, address, hooks)?);
        let store = Self { shared, threads: Mutex::default() };
        for (name, run) in THREADS {
            let shared = Arc::clone(&store.shared);
            let spawned = thread::Builder::new().name((*name).to_owned()).spawn(move || {
                let _guard = state::CloseOnExit(&shared);
                run(&shared);
            });
            let thread = spawned.map_err(|error| StoreError::Options { reason: error.to_string() })?;
            store.threads.lock().push(thread);
        }
        Ok(store)
    }

    /// The store's time when Redis was reached for the first time: that of its clock, so that servers whose clocks differ
    /// agree on expiry. All times in the records are in the store's time, and every later `now` must be as well. `None`
    /// before `Hooks::time` was called.
    pub fn time(&self) -> Option<Wall> {
        self.shared.start_time()
    }

    /// The number of this server and of its run; `None` while it is not known, or another process with the same name holds
    /// it.
    pub fn node(&self) -> Option<Node> {
        self.shared.node()
    }

    /// See [`AnyStore::counts`](crate::AnyStore::counts).
    pub fn counts(&self) -> Counts {
        self.shared.map.counts()
    }

    /// See [`AnyStore::records`](crate::AnyStore::records).
    pub fn records(&self) -> u64 {
        self.shared.map.records()
    }

    /// Changes that wait for Redis.
    pub fn queue_len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Writes the queued changes, calls [`Hooks::done`] and gives up the lease: from then on the other servers skip the flows
    /// of this one. Takes at most about three times the timeout if Redis does not answer. Later commits fail with
    /// [`StoreError::Closed`], reads still work. A second call does nothing.
    pub fn close(&self) {
        self.shared.close();
        for (at, thread) in std::mem::take(&mut *self.threads.lock()).into_iter().enumerate() {
            // The first one writes what is queued before the others end.
            if at > 0 {
                self.shared.stop();
            }
            // A hook may drop the last owner of the store: a thread must not join itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the shared location store ended by a panic");
            }
        }
    }
}

type Run = fn(&Shared);

/// The writer is the first.
const THREADS: &[(&str, Run)] =
    &[("location", writer::run), ("location-read", reader::run), ("location-lease", keeper::run)];

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for RedisStore {
    fn load(&self, aor: &Aor) -> Option<Record> {
        self.shared.map.load(aor.as_bytes())
    }

    fn commit(&self, expected: Option<Version>, record: Record, ticket: Ticket) -> Commit {
        let _guard = self.shared.undo_lock.read();
        if let Some(error) = self.shared.refusal() {
            return Commit::Failed(error);
        }
        // Queued under the shard's lock, so that the queue has the order of the changes in memory.
        self.shared.map.swap(expected, record, |before, after| {
            match self.shared.queue.push(QueuedChange { before: before.cloned(), after: after.clone(), ticket }) {
                Ok(()) => Commit::Pending,
                Err(PushError::Full) => Commit::Full,
                Err(PushError::Closed) => Commit::Failed(StoreError::Closed),
            }
        })
    }

    // Redis is not changed: each key there expires by itself.
    fn sweep(&self, now: Wall) -> usize {
        self.shared.map.sweep(now, SWEEP_MAX)
    }

    fn list(&self, visit: &mut dyn FnMut(&Record)) {
        self.shared.map.list(visit);
    }
}
