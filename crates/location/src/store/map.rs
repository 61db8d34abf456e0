//! The sharded map in memory that every store reads from.
//!
//! Decides compare and swap, versions, the order of expiry and the gauges. Must not know what makes a change safe:
//! a closure that runs under the shard's lock says whether it may happen.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;

use super::{Commit, Counts};
use crate::{Record, Wall};

/// An address of record as the map, the wake-up index and the disk queue share it.
pub(crate) type Key = Arc<[u8]>;

/// What is about to happen to one address of record: the record before and after, `None` = absent.
pub(crate) struct Step<'a> {
    pub(crate) key: &'a Key,
    pub(crate) before: Option<&'a Arc<Record>>,
    pub(crate) after: Option<&'a Arc<Record>>,
}

/// All records, in shards that are locked apart from one another.
pub(crate) struct Map {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    /// One for the whole map and never set back, so that a record that went and came again differs: no ABA.
    version: AtomicU64,
    users: AtomicU64,
    bindings: AtomicU64,
}

#[derive(Default)]
struct Shard {
    table: HashTable<Slot>,
    /// One entry for each slot, by the second at which it has to be looked at.
    wakes: BTreeMap<Wake, Key>,
    turn: u32,
}

struct Slot {
    key: Key,
    record: Arc<Record>,
    wake: Wake,
    /// How many of its bindings the gauges count.
    live: u32,
}

/// A second since the epoch, and a number that tells entries of one second apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wake {
    second: u32,
    turn: u32,
}

impl Map {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            version: AtomicU64::new(0),
            users: AtomicU64::new(0),
            bindings: AtomicU64::new(0),
        }
    }

    pub(crate) fn load(&self, aor: &[u8]) -> Option<Arc<Record>> {
        let (hash, shard) = self.place(aor)?;
        let shard = shard.read();
        shard.table.find(hash, |slot| *slot.key == *aor).map(|slot| Arc::clone(&slot.record))
    }

    /// Compare and swap. `admit` runs under the lock, before the change: what it refuses does not happen.
    pub(crate) fn swap(
        &self,
        aor: &[u8],
        expected: u64,
        mut record: Record,
        admit: impl FnOnce(Step<'_>) -> Commit,
    ) -> Commit {
        let Some((hash, shard)) = self.place(aor) else { return Commit::Conflict };
        let shard = &mut *shard.write();
        let found = shard.table.find(hash, |slot| *slot.key == *aor);
        if found.map_or(0, |slot| slot.record.version) != expected {
            return Commit::Conflict;
        }
        record.version = self.next_version();
        let key = found.map_or_else(|| Key::from(aor), |slot| Arc::clone(&slot.key));
        let before = found.map(|slot| &slot.record);
        let after = (!record.bindings.is_empty()).then(|| Arc::new(record));
        let outcome = admit(Step { key: &key, before, after: after.as_ref() });
        if matches!(outcome, Commit::Done | Commit::Pending) {
            self.put(shard, hash, key, after);
        }
        outcome
    }

    /// Put an earlier record back in place, whatever is there now. It keeps the version that it had: a change that
    /// was computed from it is right again.
    pub(crate) fn restore(&self, key: Key, record: Option<Arc<Record>>) {
        let Some((hash, shard)) = self.place(&key) else { return };
        self.put(&mut shard.write(), hash, key, record);
    }

    /// Put a record that was read from disk in place, `now` deciding what of it counts.
    pub(crate) fn insert(&self, aor: &[u8], mut record: Record, now: Wall) {
        record.version = self.next_version();
        record.made_at = now;
        self.restore(Key::from(aor), Some(Arc::new(record)));
    }

    /// Look at all records that are due. `admit` is asked before one goes as a whole; if it refuses, the record
    /// stays and is looked at again a second later.
    pub(crate) fn sweep(&self, now: Wall, mut admit: impl FnMut(Step<'_>) -> bool) -> usize {
        let mut removed = 0;
        for shard in &self.shards {
            let mut shard = shard.write();
            for _ in 0..SWEEP_PER_SHARD {
                let Some(due) = shard.wakes.first_entry().filter(|due| due.key().is_due(now)) else { break };
                let key = due.remove();
                removed += self.look(&mut shard, key, now, &mut admit);
            }
        }
        removed
    }

    pub(crate) fn list(&self, visit: &mut dyn FnMut(&[u8], &Record)) {
        for shard in &self.shards {
            let copy: Vec<_> = {
                let shard = shard.read();
                shard.table.iter().map(|slot| (Arc::clone(&slot.key), Arc::clone(&slot.record))).collect()
            };
            copy.iter().for_each(|(key, record)| visit(key, record));
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts { users: self.users.load(Ordering::Relaxed), bindings: self.bindings.load(Ordering::Relaxed) }
    }

    // One slot whose wake-up entry has just been taken out of the index.
    fn look(&self, shard: &mut Shard, key: Key, now: Wall, admit: &mut impl FnMut(Step<'_>) -> bool) -> usize {
        let hash = self.hasher.hash_one(&*key);
        let Ok(mut slot) = shard.table.find_entry(hash, |slot| *slot.key == *key) else { return 0 };
        let record = Arc::clone(&slot.get().record);
        let gone = record.bindings.iter().filter(|binding| binding.is_forgotten(now)).count();
        if gone == record.bindings.len() {
            if admit(Step { key: &key, before: Some(&record), after: None }) {
                self.count(slot.get().live, 0);
                slot.remove();
                return gone;
            }
            slot.get_mut().wake = Wake::insert(&mut shard.wakes, &mut shard.turn, second_of(now) + 1, key);
            return 0;
        }
        let slot = slot.get_mut();
        if gone > 0 {
            let mut rest = Record::clone(&record);
            rest.bindings.retain(|binding| !binding.is_forgotten(now));
            rest.version = self.next_version();
            rest.made_at = now;
            slot.record = Arc::new(rest);
        }
        let live = live_count(&slot.record, now);
        self.count(slot.live, live);
        slot.live = live;
        slot.wake = Wake::insert(&mut shard.wakes, &mut shard.turn, wake_second(&slot.record, now), key);
        gone
    }

    fn put(&self, shard: &mut Shard, hash: u64, key: Key, record: Option<Arc<Record>>) {
        let Shard { table, wakes, turn } = shard;
        let entry = table.entry(hash, |slot| *slot.key == *key, |slot| self.hasher.hash_one(&*slot.key));
        match (entry, record) {
            (Entry::Vacant(_), None) => {}
            (Entry::Vacant(vacant), Some(record)) => {
                let live = live_count(&record, record.made_at);
                let wake = Wake::insert(wakes, turn, wake_second(&record, record.made_at), Arc::clone(&key));
                self.count(0, live);
                vacant.insert(Slot { key, record, wake, live });
            }
            (Entry::Occupied(occupied), None) => {
                let (slot, _) = occupied.remove();
                wakes.remove(&slot.wake);
                self.count(slot.live, 0);
            }
            (Entry::Occupied(mut occupied), Some(record)) => {
                let slot = occupied.get_mut();
                let live = live_count(&record, record.made_at);
                self.count(slot.live, live);
                slot.live = live;
                // A refresh ends later than what it replaces: its entry fires early and is queued again then.
                let second = wake_second(&record, record.made_at);
                if second < slot.wake.second {
                    wakes.remove(&slot.wake);
                    slot.wake = Wake::insert(wakes, turn, second, key);
                }
                slot.record = record;
            }
        }
    }

    fn count(&self, before: u32, after: u32) {
        let shift = |gauge: &AtomicU64, before: u64, after: u64| {
            if before != after {
                gauge.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        };
        shift(&self.bindings, u64::from(before), u64::from(after));
        shift(&self.users, u64::from(before > 0), u64::from(after > 0));
    }

    fn place(&self, aor: &[u8]) -> Option<(u64, &RwLock<Shard>)> {
        let hash = self.hasher.hash_one(aor);
        // The table takes its bits from both ends of the hash; these are from its middle.
        let at = usize::try_from((hash >> 32) % SHARDS).ok()?;
        Some((hash, self.shards.get(at)?))
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Wake {
    fn insert(wakes: &mut BTreeMap<Self, Key>, turn: &mut u32, second: u32, key: Key) -> Self {
        loop {
            *turn = turn.wrapping_add(1);
            let wake = Self { second, turn: *turn };
            // Taken only if the counter has gone round while one entry waited.
            if let std::collections::btree_map::Entry::Vacant(vacant) = wakes.entry(wake) {
                vacant.insert(key);
                return wake;
            }
        }
    }

    fn is_due(self, now: Wall) -> bool {
        self.second <= second_of(now)
    }
}

fn live_count(record: &Record, now: Wall) -> u32 {
    u32::try_from(record.live(now).count()).unwrap_or(u32::MAX)
}

// Rounded up: when it fires, what it fires for has happened.
fn wake_second(record: &Record, now: Wall) -> u32 {
    let next = record.bindings.iter().map(|binding| binding.wake_at(now)).min().unwrap_or(now);
    u32::try_from(next.0.div_ceil(1000)).unwrap_or(u32::MAX)
}

fn second_of(now: Wall) -> u32 {
    u32::try_from(now.secs()).unwrap_or(u32::MAX)
}

/// Enough that workers seldom meet; a power of two.
const SHARDS: u64 = 64;

/// Records looked at under one lock: half a millisecond, some 30 ms for all shards.
const SWEEP_PER_SHARD: usize = 256;
