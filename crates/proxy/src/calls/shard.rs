//! A part of the table of calls, under one lock.
//!
//! Decides in which slot a call is, and which calls a request may be of.

use std::num::NonZeroU64;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::SmallVec;

use super::call::Call;
use super::index::{CallIndex, Name};

/// Workers that handle different calls seldom wait for each other.
pub(super) const SHARDS: usize = 64;

/// A slot and a shard are numbered in 32 bits together.
const SLOT_BITS: u32 = 32 - SHARDS.trailing_zeros();

/// The most calls with the same Call-ID, tag and address of the caller that requests find: a proxy that forks sends several
/// INVITEs. Requests find no further one: it ends as lost.
const MAX_EQUAL: usize = 16;

/// A part of the table.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) slots: Vec<Slot>,
    free: Vec<u32>,
    pub(super) by_key: HashMap<u64, EqualCalls>,
    /// Only while somebody looks for calls.
    pub(super) index: Option<CallIndex>,
}

/// The calls with one key.
#[derive(Debug, Default)]
pub(super) struct EqualCalls {
    pub(super) slots: SmallVec<[u32; 2]>,
    /// The number of those beyond [`MAX_EQUAL`]. While there is one, a request may be of it, so it counts for none.
    pub(super) beyond: usize,
}

/// The place of a call.
#[derive(Debug)]
pub(super) struct Slot {
    /// How many calls it has had. A reference to an earlier one finds nothing.
    pub(super) generation: u32,
    pub(super) call: Option<Call>,
}

/// A call in the table. It finds nothing once the call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallRef(NonZeroU64);

impl CallRef {
    /// The number of a call that no other call has.
    pub(super) fn number_at(shard: usize, slot: u32, generation: u32) -> u64 {
        Self::new(shard, slot, generation).map_or(0, Self::number)
    }

    /// The same number.
    pub(crate) const fn number(self) -> u64 {
        self.0.get()
    }

    /// The call with this number.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The generation in the upper half, then the slot and the shard.
    pub(super) fn new(shard: usize, slot: u32, generation: u32) -> Option<Self> {
        let place = u64::from(slot) * SHARDS as u64 + shard as u64;
        NonZeroU64::new(u64::from(generation) << 32 | place).map(Self)
    }

    /// Shard, slot and generation.
    pub(super) const fn parts(self) -> (usize, usize, u32) {
        let (generation, place) = ((self.0.get() >> 32) as u32, self.0.get() as u32 as usize);
        (place % SHARDS, place / SHARDS, generation)
    }
}

impl Shard {
    /// Adds a call with this key. Returns its slot and generation; `None` if there are too many slots.
    pub(super) fn insert(&mut self, key: u64, call: impl FnOnce() -> Call) -> Option<(u32, u32)> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok().filter(|index| *index < 1 << SLOT_BITS)?;
                self.slots.push(Slot { generation: 0, call: None });
                index
            }
        };
        let equal = self.by_key.entry(key).or_default();
        match equal.slots.len() {
            0..MAX_EQUAL => equal.slots.push(index),
            _ => equal.beyond += 1,
        }
        let slot = self.slots.get_mut(index as usize)?;
        // 0 is never used, so that a reference is not 0.
        slot.generation = slot.generation.wrapping_add(1).max(1);
        let call = slot.call.insert(call());
        if let Some(names) = &mut self.index {
            names.add(index, call.names());
        }
        Some((index, slot.generation))
    }

    /// Removes the call in this slot.
    pub(super) fn remove(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        if let Some(call) = &slot.call
            && let Entry::Occupied(mut equal) = self.by_key.entry(call.key)
        {
            let EqualCalls { slots, beyond } = equal.get_mut();
            match slots.iter().position(|slot| *slot as usize == index) {
                Some(at) => _ = slots.swap_remove(at),
                None => *beyond = beyond.saturating_sub(1),
            }
            if slots.is_empty() && *beyond == 0 {
                equal.remove();
            }
        }
        slot.call = None;
        let Ok(index) = u32::try_from(index) else { return };
        self.free.push(index);
        if let Some(names) = &mut self.index {
            names.remove(index);
        }
    }

    /// The call of a reference.
    pub(super) fn call(&mut self, (slot, generation): (usize, u32)) -> Option<&mut Call> {
        self.slots.get_mut(slot).filter(|slot| slot.generation == generation)?.call.as_mut()
    }

    /// The calls with this name, and perhaps a few others, with their slots and generations.
    pub(super) fn named(&mut self, name: Name<'_>) -> impl Iterator<Item = (u32, u32, &Call)> {
        let slots = &self.slots;
        let index = self.index.get_or_insert_with(|| {
            let mut index = CallIndex::default();
            let calls = (0..).zip(slots).filter_map(|(number, slot)| Some((number, slot.call.as_ref()?)));
            calls.for_each(|(number, call)| index.add(number, call.names()));
            index
        });
        index.is_used = true;
        let calls = index.slots(name).iter().map(|number| (*number, slots.get(*number as usize)));
        calls.filter_map(|(number, slot)| Some((number, slot?.generation, slot?.call.as_ref()?)))
    }

    /// The call in this slot may have more names than before.
    pub(super) fn rename(&mut self, slot: usize) {
        let Some((index, number)) = self.index.as_mut().zip(u32::try_from(slot).ok()) else { return };
        if let Some(call) = self.slots.get(slot).and_then(|slot| slot.call.as_ref()) {
            index.add(number, call.names());
        }
    }

    /// Drops the index if nobody has looked since the last call of this.
    pub(super) fn drop_unused_index(&mut self) {
        self.index.take_if(|index| !std::mem::take(&mut index.is_used));
    }
}

/// The shard of a call with this key.
pub(super) const fn shard_of(hash: u64) -> usize {
    (hash % SHARDS as u64) as usize
}
