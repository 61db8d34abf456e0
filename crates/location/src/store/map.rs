//! The sharded map in memory that every store reads from.
//!
//! Implements compare and swap, the order of expiry and the gauges. Must not know how a change becomes durable: a closure
//! that runs under the shard's lock decides whether the change is admitted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::RwLock;

use super::{Commit, Counts};
use crate::{Record, Version, Wall};

/// All records, in shards with a lock each.
pub(crate) struct Map {
    shards: Box<[RwLock<Shard>]>,
    /// Randomly keyed: lookups do not insert, and hashes are never exposed, so collisions cannot be forced.
    hasher: DefaultHashBuilder,
    gauges: Gauges,
}

/// Alone in their cache line: registrations change them, while each lookup of any worker reads what [`Map`] has besides.
#[derive(Default)]
#[repr(align(64))]
struct Gauges {
    users: AtomicU64,
    bindings: AtomicU64,
    octets: AtomicU64,
    records: AtomicU64,
}

#[derive(Default)]
struct Shard {
    /// Records by their address of record, which they contain: a slot is one pointer.
    table: HashTable<Record>,
    /// For each record one entry has the second that its metadata has; all other entries are stale.
    sweep_queue: BinaryHeap<Reverse<SweepEntry>>,
    /// The highest version of a record so far. It never decreases, so that a record that is created again after its
    /// removal has another version than before.
    last_version: u64,
}

/// The second at which the sweep must visit a record, and the record's tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SweepEntry {
    second: u32,
    tag: Tag,
}

/// A hash of an address of record. Two addresses may have the same tag, which is rare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tag(u32);

impl Map {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            gauges: Gauges::default(),
        }
    }

    pub(crate) fn load(&self, aor: &[u8]) -> Option<Record> {
        self.with(aor, Record::clone)
    }

    /// Calls `read` with the record of this address, under the lock.
    pub(crate) fn with<T>(&self, aor: &[u8], read: impl FnOnce(&Record) -> T) -> Option<T> {
        let (tag, shard) = self.locate(aor)?;
        shard.read().find(tag, aor).map(read)
    }

    /// Compare and swap. `admit` runs under the lock before the change, and can refuse it.
    pub(crate) fn swap(
        &self,
        expected: Option<Version>,
        record: Record,
        admit: impl FnOnce(Option<&Record>, &Record) -> Commit,
    ) -> Commit {
        let Some((tag, shard)) = self.locate(record.aor()) else { return Commit::Conflict };
        let mut shard = shard.write();
        let before = shard.find(tag, record.aor());
        if before.and_then(Record::version) != expected {
            return Commit::Conflict;
        }
        let outcome = admit(before, &record);
        if matches!(outcome, Commit::Done | Commit::Pending) {
            self.put(&mut shard, tag, record);
        }
        outcome
    }

    /// Stores a record, whatever the current one is.
    pub(crate) fn restore(&self, record: Record) {
        let Some((tag, shard)) = self.locate(record.aor()) else { return };
        self.put(&mut shard.write(), tag, record);
    }

    /// Stores a record if `admit` says so, which gets the current one under the lock. Returns the replaced record, or
    /// `Err` if it was not admitted.
    #[cfg(feature = "redis")]
    pub(crate) fn replace(
        &self,
        record: Record,
        admit: impl FnOnce(Option<&Record>) -> bool,
    ) -> Result<Option<Record>, ()> {
        let Some((tag, shard)) = self.locate(record.aor()) else { return Err(()) };
        let mut shard = shard.write();
        let before = shard.find(tag, record.aor());
        if !admit(before) {
            return Err(());
        }
        let before = before.cloned();
        self.put(&mut shard, tag, record);
        Ok(before)
    }

    /// The records of one of the [`SHARDS`].
    #[cfg(feature = "redis")]
    pub(crate) fn shard(&self, number: usize) -> Vec<Record> {
        self.shards.get(number).map(|shard| shard.read().table.iter().cloned().collect()).unwrap_or_default()
    }

    /// Reserves space for this many records.
    pub(crate) fn reserve(&self, records: usize) {
        for shard in &self.shards {
            let each = records / self.shards.len();
            shard.write().table.reserve(each, |record| self.tag(record.aor()).hash());
        }
    }

    /// Creates a record for this address, unless there is one.
    pub(crate) fn insert_new<E>(&self, aor: &[u8], make: impl FnOnce() -> Result<Record, E>) -> Result<(), E> {
        let Some((tag, shard)) = self.locate(aor) else { return Ok(()) };
        let mut shard = shard.write();
        if shard.find(tag, aor).is_none() {
            self.put(&mut shard, tag, make()?);
        }
        Ok(())
    }

    /// Removes the record of this address.
    pub(crate) fn remove(&self, aor: &[u8]) {
        let Some((tag, shard)) = self.locate(aor) else { return };
        if let Ok(slot) = shard.write().table.find_entry(tag.hash(), |record| record.aor() == aor) {
            self.count(Some(slot.get()), None);
            slot.remove();
        }
    }

    /// Visits records that are due, at most `max`: removes those whose bindings are all discardable and recounts the others.
    /// Returns the number of bindings removed.
    pub(crate) fn sweep(&self, now: Wall, max: usize) -> usize {
        let (mut removed, mut left) = (0, max);
        let mut due: Vec<&RwLock<Shard>> = self.shards.iter().collect();
        while !due.is_empty() && left > 0 {
            due.retain(|shard| {
                let batch = left.min(SWEEP_BATCH);
                let (gone, used) = self.sweep_shard(&mut shard.write(), now, batch);
                removed += gone;
                left -= used;
                used == batch
            });
        }
        removed
    }

    pub(crate) fn list(&self, visit: &mut dyn FnMut(&Record)) {
        for shard in &self.shards {
            let copy: Vec<Record> = shard.read().table.iter().cloned().collect();
            copy.iter().for_each(&mut *visit);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            users: self.gauges.users.load(Ordering::Relaxed),
            bindings: self.gauges.bindings.load(Ordering::Relaxed),
        }
    }

    /// The octets of all records together.
    pub(crate) fn octets(&self) -> u64 {
        self.gauges.octets.load(Ordering::Relaxed)
    }

    /// The number of records.
    pub(crate) fn records(&self) -> u64 {
        self.gauges.records.load(Ordering::Relaxed)
    }

    fn sweep_shard(&self, shard: &mut Shard, now: Wall, max: usize) -> (usize, usize) {
        let second = u32::try_from(now.secs()).unwrap_or(u32::MAX);
        let (mut removed, mut used) = (0, 0);
        while used < max {
            let Some(due) = shard.sweep_queue.peek_mut().filter(|entry| entry.0.second <= second) else { break };
            let Reverse(entry) = std::collections::binary_heap::PeekMut::pop(due);
            removed += self.sweep_record(shard, entry, now);
            used += 1;
        }
        if shard.sweep_queue.capacity() > SWEEP_BATCH && shard.sweep_queue.len() < shard.sweep_queue.capacity() / 4 {
            shard.sweep_queue.shrink_to_fit();
            shard.table.shrink_to(0, |record| self.tag(record.aor()).hash());
        }
        (removed, used)
    }

    fn sweep_record(&self, shard: &mut Shard, entry: SweepEntry, now: Wall) -> usize {
        let is_due = |record: &Record| record.meta().due() == entry.second && self.tag(record.aor()) == entry.tag;
        let Ok(slot) = shard.table.find_entry(entry.tag.hash(), is_due) else { return 0 };
        let state = slot.get().state(now);
        if let Some(next) = state.due {
            self.count_live(slot.get().meta().live(), state.live);
            slot.get().meta().set_live(state.live);
            slot.get().meta().set_due(next);
            shard.sweep_queue.push(Reverse(SweepEntry { second: next, ..entry }));
            return 0;
        }
        let (record, _) = slot.remove();
        self.count(Some(&record), None);
        record.bindings().len()
    }

    fn put(&self, shard: &mut Shard, tag: Tag, record: Record) {
        let same = |current: &Record| current.aor() == record.aor();
        let entry = SweepEntry { second: record.meta().due(), tag };
        // A record that was stored before keeps its version: a retransmitted REGISTER commits the current record again,
        // and a failed change is replaced by the earlier record.
        if record.version().is_none() {
            shard.last_version += 1;
            record.meta().set_version(shard.last_version);
        }
        match shard.table.entry(tag.hash(), same, |current| self.tag(current.aor()).hash()) {
            Entry::Vacant(vacant) => {
                self.count(None, Some(&record));
                shard.sweep_queue.push(Reverse(entry));
                vacant.insert(record);
            }
            Entry::Occupied(mut slot) => {
                let before = slot.get().meta();
                self.count(Some(slot.get()), Some(&record));
                record.meta().set_row(before.row());
                if entry.second < before.due() {
                    shard.sweep_queue.push(Reverse(entry));
                } else {
                    // A refreshed record expires later than the old one. The sweep visits the existing entry too early and
                    // queues it again then.
                    record.meta().set_due(before.due());
                }
                *slot.get_mut() = record;
            }
        }
    }

    fn count(&self, before: Option<&Record>, after: Option<&Record>) {
        let live = |record: Option<&Record>| record.map_or(0, |record| record.meta().live());
        self.count_live(live(before), live(after));
        let octets = |record: Option<&Record>| record.map_or(0, |record| record.octets().len() as u64);
        adjust(&self.gauges.octets, octets(before), octets(after));
        adjust(&self.gauges.records, u64::from(before.is_some()), u64::from(after.is_some()));
    }

    fn count_live(&self, before: u32, after: u32) {
        adjust(&self.gauges.bindings, before.into(), after.into());
        adjust(&self.gauges.users, u64::from(before > 0), u64::from(after > 0));
    }

    fn locate(&self, aor: &[u8]) -> Option<(Tag, &RwLock<Shard>)> {
        let hash = self.hasher.hash_one(aor);
        // The tag is the lower half of the hash, so the shard is chosen by the upper half.
        let at = usize::try_from((hash >> 32) % SHARDS).ok()?;
        Some((Tag(hash as u32), self.shards.get(at)?))
    }

    fn tag(&self, aor: &[u8]) -> Tag {
        Tag(self.hasher.hash_one(aor) as u32)
    }
}

impl Shard {
    fn find(&self, tag: Tag, aor: &[u8]) -> Option<&Record> {
        self.table.find(tag.hash(), |record| record.aor() == aor)
    }
}

impl Tag {
    // hashbrown uses both the high and the low bits of a hash.
    fn hash(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

fn adjust(gauge: &AtomicU64, before: u64, after: u64) {
    if before != after {
        gauge.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }
}

/// Enough that workers seldom wait for the same lock; a power of two.
pub(crate) const SHARDS: u64 = 64;

/// Records that are swept under one lock.
const SWEEP_BATCH: usize = 256;
