//! What the threads of the store share, and whether commits are possible.
//!
//! Commits are possible while this server has read Redis, Redis takes changes, and no other process holds the lease of this
//! server's name. Whoever finds that one of these is missing says so here.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use super::client::Address;
use super::stream_id::StreamId;
use super::values::Values;
use super::{RedisOptions, codec};
use crate::store::map::Map;
use crate::store::queue::Queue;
use crate::store::writer::QueuedChange;
use crate::store::{Hooks, NodeEntry, StoreError};
use crate::{Aor, Node, Record, Wall};

/// State shared by the workers and the threads of the store.
pub(super) struct Shared {
    pub(super) options: RedisOptions,
    pub(super) address: Address,
    pub(super) hooks: Hooks,
    pub(super) map: Map,
    pub(super) queue: Queue<QueuedChange>,
    /// Each commit holds it for reading from its swap until it is queued. Held for writing while changes are undone, so
    /// that no new change is computed from one that is being undone.
    pub(super) undo_lock: RwLock<()>,
    /// Records that may differ from those in Redis, because the outcome of a change is not known.
    pub(super) uncertain: Mutex<Vec<Aor>>,
    pub(super) values: Values,
    /// The epoch of Redis that this server has filled with what it knows: without it Redis has lost changes.
    pub(super) epoch: Mutex<Vec<u8>>,
    pub(super) members: Mutex<Members>,
    /// Keys that do not depend on an address.
    pub(super) keys: Keys,
    /// How often Redis was joined. A connection of an earlier time may be dead.
    pub(super) joined: AtomicU64,
    clock: OnceLock<(Wall, Duration)>,
    opened: Instant,
    /// Number and run of this server, 0 = not known.
    node: AtomicU64,
    /// The last change that is known to be in Redis.
    known: AtomicU64,
    condition: Mutex<Condition>,
    /// Whether commits are possible: a copy, to be read without the lock.
    is_usable: AtomicBool,
    wake: Condvar,
}

/// Names of keys.
pub(super) struct Keys {
    pub(super) records: Vec<u8>,
    pub(super) changes: Vec<u8>,
    pub(super) epoch: Vec<u8>,
    pub(super) values: Vec<u8>,
    pub(super) numbers: Vec<u8>,
    pub(super) runs: Vec<u8>,
    pub(super) last_number: Vec<u8>,
    pub(super) nodes: Vec<u8>,
}

/// The servers that are alive, and the epoch that each has filled.
#[derive(Default)]
pub(super) struct Members {
    pub(super) alive: Vec<(NodeEntry, Vec<u8>)>,
    /// How often they were read from Redis.
    pub(super) round: u64,
    /// When each was last seen alive, by name.
    pub(super) seen: HashMap<String, Instant>,
}

#[derive(Default)]
struct Condition {
    /// What is missing, by who says so.
    missing: [Option<&'static str>; PARTS],
    reported: Option<Option<&'static str>>,
    logged: Option<Instant>,
    /// The lease has to be looked at now.
    poked: bool,
    stopped: bool,
}

/// Who says that something is missing.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// Redis was read completely, and takes changes.
    Redis,
    /// The lease of this server.
    Lease,
}

const PARTS: usize = 2;

impl Shared {
    pub(super) fn new(options: RedisOptions, address: Address, hooks: Hooks) -> Result<Self, StoreError> {
        let fail = |reason: &str| Err(StoreError::Options { reason: reason.to_owned() });
        if options.node.is_empty() {
            return fail("the name of this node is empty");
        }
        if options.lease < MIN_LEASE {
            return fail("the lease is shorter than 100 ms");
        }
        let key = |name: &str| format!("{}{name}", options.prefix).into_bytes();
        let keys = Keys {
            records: key("aor:"),
            changes: key("changes"),
            epoch: key("epoch"),
            values: key("values"),
            numbers: key("nodes"),
            runs: key("runs"),
            last_number: key("last-node"),
            nodes: key("node:"),
        };
        let condition = Condition { missing: [Some(NOT_READ), Some(NO_LEASE)], ..Condition::default() };
        let shared = Self {
            queue: Queue::new(options.queue.max(1)),
            map: Map::new(),
            undo_lock: RwLock::new(()),
            uncertain: Mutex::default(),
            values: Values::default(),
            epoch: Mutex::default(),
            members: Mutex::default(),
            keys,
            joined: AtomicU64::new(0),
            clock: OnceLock::new(),
            opened: Instant::now(),
            node: AtomicU64::new(0),
            known: AtomicU64::new(0),
            condition: Mutex::new(condition),
            is_usable: AtomicBool::new(false),
            wake: Condvar::new(),
            options,
            address,
            hooks,
        };
        shared.report(shared.condition.lock());
        Ok(shared)
    }

    /// Why commits are not possible.
    pub(super) fn refusal(&self) -> Option<StoreError> {
        if self.is_usable.load(Ordering::Relaxed) {
            return None;
        }
        let condition = self.condition.lock();
        if condition.stopped {
            return Some(StoreError::Closed);
        }
        condition.first_missing().map(|reason| StoreError::Unreachable { reason })
    }

    /// Says that a part is there, or what is missing.
    pub(super) fn set(&self, part: Part, outcome: Result<(), &'static str>) {
        let mut condition = self.condition.lock();
        if let Some(missing) = condition.missing.get_mut(part as usize) {
            *missing = outcome.err();
        }
        self.report(condition);
    }

    pub(super) fn is_set(&self, part: Part) -> bool {
        self.condition.lock().missing.get(part as usize).is_some_and(Option::is_none)
    }

    fn report(&self, mut condition: MutexGuard<'_, Condition>) {
        let missing = condition.first_missing();
        self.is_usable.store(missing.is_none() && !condition.stopped, Ordering::Relaxed);
        if condition.reported == Some(missing) {
            return;
        }
        let first = condition.reported.replace(missing).is_none();
        // Not each of many changes of state.
        let quiet = condition.logged.is_some_and(|last| last.elapsed() < LOG_INTERVAL);
        match missing {
            Some(reason) if !quiet => tracing::warn!(reason, "registrations cannot be written to the shared store"),
            None => tracing::info!("registrations can be written to the shared store"),
            Some(_) => {}
        }
        condition.logged = (!first && missing.is_some()).then(Instant::now);
        // Under the lock, so that reports keep their order.
        match missing {
            Some(reason) => (self.hooks.usable)(Err(&StoreError::Unreachable { reason })),
            None => (self.hooks.usable)(Ok(())),
        }
    }

    /// No further commits.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// The threads that read have to end.
    pub(super) fn stop(&self) {
        let mut condition = self.condition.lock();
        condition.stopped = true;
        self.is_usable.store(false, Ordering::Relaxed);
        self.wake.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.condition.lock().stopped
    }

    /// Makes the keeper look at the lease now.
    pub(super) fn poke(&self) {
        self.condition.lock().poked = true;
        self.wake.notify_all();
    }

    /// Waits, but not if the store is stopped, nor, for the keeper, if it was poked.
    pub(super) fn sleep(&self, time: Duration, keeper: bool) {
        let until = Instant::now() + time;
        let mut condition = self.condition.lock();
        while !(condition.stopped || keeper && condition.poked) {
            if self.wake.wait_until(&mut condition, until).timed_out() {
                break;
            }
        }
        if keeper {
            condition.poked = false;
        }
    }

    /// Redis was reached: the store's time begins, unless it has.
    pub(super) fn start_clock(&self, redis: Wall) {
        let mut first = false;
        self.clock.get_or_init(|| {
            first = true;
            (redis, self.elapsed())
        });
        if first {
            (self.hooks.time)(redis);
        }
    }

    pub(super) fn start_time(&self) -> Option<Wall> {
        self.clock.get().map(|(began, _)| *began)
    }

    /// The store's time.
    pub(super) fn now(&self) -> Wall {
        let Some((began, at)) = self.clock.get() else { return Wall::default() };
        let passed = self.elapsed().saturating_sub(*at).as_millis();
        began.plus_millis(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.options.elapsed.map_or_else(|| self.opened.elapsed(), |elapsed| elapsed())
    }

    pub(super) fn node(&self) -> Option<Node> {
        let packed = self.node.load(Ordering::Relaxed);
        let number = std::num::NonZeroU16::new((packed >> 32) as u16)?;
        Some(Node { number, run: packed as u32 })
    }

    pub(super) fn set_node(&self, node: Node) {
        self.node.store(u64::from(node.number.get()) << 32 | u64::from(node.run), Ordering::Relaxed);
    }

    pub(super) fn known(&self) -> StreamId {
        StreamId::from_raw(self.known.load(Ordering::Relaxed))
    }

    /// Redis has this change.
    pub(super) fn learn(&self, id: StreamId) {
        self.known.fetch_max(id.raw(), Ordering::Relaxed);
    }

    pub(super) fn record_key(&self, aor: &[u8]) -> Vec<u8> {
        [&self.keys.records, aor].concat()
    }

    pub(super) fn read(&self, aor: &[u8], value: &[u8]) -> Option<Record> {
        codec::read(aor, value, self.node(), &*self.options.is_local, self.now())
    }

    /// The version of the current record in memory that Redis has; `None` if there is no record, zero while a change waits.
    pub(super) fn stamp(&self, aor: &[u8]) -> Option<StreamId> {
        self.map.with(aor, |record| StreamId::from_raw(record.meta().stamp()))
    }
}

impl Condition {
    fn first_missing(&self) -> Option<&'static str> {
        self.missing.iter().flatten().next().copied()
    }
}

/// Closes the store if a thread panics, so that commits fail instead of waiting forever.
pub(super) struct CloseOnExit<'a>(pub(super) &'a Shared);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

const NOT_READ: &str = "Redis has not been read yet";
const NO_LEASE: &str = "this node has no number yet";

const MIN_LEASE: Duration = Duration::from_millis(100);

/// Interval of logging a persisting failure.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
