//! How many entries a table has, in all and of each caller: calls, or requests that wait for a response.
//!
//! Decides whether there is room for one more: a caller whose entries never end must not make the table useless for all
//! others. Callers are counted in a fixed number of counters, because a map of their names would cost each entry a lock.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hashbrown::DefaultHashBuilder;

/// The number of counters. Callers with the same counter have one share together.
const COUNTERS: usize = 4096;

/// A caller has a whole share if it has this part of the table.
const SHARE: usize = 4;

/// Who an entry is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ShareOf<'a> {
    /// A user who has authenticated, or whom a trusted network or a trunk has named.
    User(&'a [u8]),
    /// A host that has proven nothing: it can write any number of names into From.
    Host(IpAddr),
}

/// The room of a table. Alone in its cache line: each entry changes it twice, while each request reads what the table has
/// besides.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Room {
    len: AtomicUsize,
    limit: usize,
    counters: Box<[AtomicU32]>,
    /// Its random key makes it impossible to choose a name with the counter of somebody else.
    hasher: DefaultHashBuilder,
}

/// The index of the counter of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CounterIndex(u16);

impl Room {
    /// For so many entries.
    pub(super) fn new(limit: usize) -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();
        Self { len: AtomicUsize::new(0), limit, counters, hasher: DefaultHashBuilder::default() }
    }

    /// Which counter a caller has.
    pub(super) fn counter_of(&self, share: ShareOf<'_>) -> CounterIndex {
        CounterIndex((self.hasher.hash_one(share) % COUNTERS as u64) as u16)
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The most entries.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether nobody has room. A limit of 0 means that there is no table.
    pub(super) fn is_full(&self) -> bool {
        self.limit > 0 && self.len() >= self.limit
    }

    /// Takes the room for one entry. False if there is none: the table is full, or half full while the caller has a quarter
    /// of it.
    pub(super) fn take(&self, caller: CounterIndex) -> bool {
        let len = self.len.fetch_add(1, Ordering::Relaxed);
        let of_caller = self.counter(caller).map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed));
        let has_share = of_caller as usize >= self.limit / SHARE && len >= self.limit / 2;
        let has_room = len < self.limit && !has_share;
        if !has_room {
            self.release(caller);
        }
        has_room
    }

    /// An entry of this caller has left the table.
    pub(super) fn release(&self, caller: CounterIndex) {
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.counter(caller).map(|counter| counter.fetch_sub(1, Ordering::Relaxed));
    }

    fn counter(&self, CounterIndex(index): CounterIndex) -> Option<&AtomicU32> {
        self.counters.get(usize::from(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(room: &Room, caller: u16, calls: usize) -> usize {
        (0..calls).filter(|_| room.take(CounterIndex(caller))).count()
    }

    #[test]
    fn one_caller_leaves_room_for_others() {
        let room = Room::new(100);
        assert_eq!(taken(&room, 1, 200), 50, "as long as nobody else needs it");
        assert_eq!((taken(&room, 2, 200), taken(&room, 3, 200), taken(&room, 4, 200)), (25, 25, 0));
        assert_eq!(room.len(), 100);
        (0..40).for_each(|_| room.release(CounterIndex(1)));
        (0..20).for_each(|_| room.release(CounterIndex(2)));
        assert_eq!((room.len(), taken(&room, 4, 200), taken(&room, 1, 200), taken(&room, 3, 200)), (40, 25, 15, 0));
    }
}
