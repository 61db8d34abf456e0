//! How many calls the table has, in all and of each caller.
//!
//! Decides whether there is room for one more: a caller whose calls never end must not make the table useless for all
//! others. Callers are counted in a fixed number of counters, because a map of their names would cost each call a lock.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The number of counters. Callers with the same counter have one share together.
const COUNTERS: usize = 4096;

/// A caller has a whole share if it has this part of the table.
const SHARE: usize = 4;

/// The room of a table. Alone in its cache line: each call changes it twice, while each request of a call reads what the
/// table has besides.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Room {
    len: AtomicUsize,
    limit: usize,
    of_callers: Box<[AtomicU32]>,
}

/// The counter of a caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(u16);

impl Caller {
    /// By a hash of the name that nobody outside can compute.
    pub(super) const fn of(hash: u64) -> Self {
        Self((hash % COUNTERS as u64) as u16)
    }
}

impl Room {
    /// For so many calls.
    pub(super) fn new(limit: usize) -> Self {
        Self { len: AtomicUsize::new(0), limit, of_callers: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect() }
    }

    /// The number of calls.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The most calls.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Takes the room for one call. False if there is none: the table is full, or half full while the caller has a quarter
    /// of it.
    pub(super) fn take(&self, caller: Caller) -> bool {
        let len = self.len.fetch_add(1, Ordering::Relaxed);
        let of_caller = self.counter(caller).map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed));
        let has_share = of_caller as usize >= self.limit / SHARE && len >= self.limit / 2;
        let has_room = len < self.limit && !has_share;
        if !has_room {
            self.release(caller);
        }
        has_room
    }

    /// A call of this caller has left the table.
    pub(super) fn release(&self, caller: Caller) {
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.counter(caller).map(|counter| counter.fetch_sub(1, Ordering::Relaxed));
    }

    fn counter(&self, Caller(caller): Caller) -> Option<&AtomicU32> {
        self.of_callers.get(usize::from(caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(room: &Room, caller: u64, calls: usize) -> usize {
        (0..calls).filter(|_| room.take(Caller::of(caller))).count()
    }

    #[test]
    fn one_caller_leaves_room_for_others() {
        let room = Room::new(100);
        assert_eq!(taken(&room, 1, 200), 50, "as long as nobody else needs it");
        assert_eq!((taken(&room, 2, 200), taken(&room, 3, 200), taken(&room, 4, 200)), (25, 25, 0));
        assert_eq!(room.len(), 100);
        (0..40).for_each(|_| room.release(Caller::of(1)));
        (0..20).for_each(|_| room.release(Caller::of(2)));
        assert_eq!((room.len(), taken(&room, 4, 200), taken(&room, 1, 200), taken(&room, 3, 200)), (40, 25, 15, 0));
    }
}
