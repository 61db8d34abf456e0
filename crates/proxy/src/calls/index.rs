//! Which calls of a shard have a user or a Call-ID.
//!
//! Few offices watch calls. So the index is made when somebody first looks for calls, which takes one pass over the shard;
//! from then on it costs each call of the shard a little, until nobody has looked for a while. Must not know what a call is.

use std::hash::BuildHasher as _;

use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;

/// By what a call is looked for.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Name<'a> {
    /// The address of record of a user who takes part.
    User(&'a [u8]),
    /// Its Call-ID.
    CallId(&'a [u8]),
}

/// The slots of calls, by the hashes of their names.
#[derive(Debug, Default)]
pub(super) struct CallIndex {
    /// With a random key, so that nobody can choose names with an equal hash.
    hasher: DefaultHashBuilder,
    slots: HashMap<u64, SmallVec<[u32; 2]>>,
    /// The names of each slot, to remove them.
    names: HashMap<u32, SmallVec<[u64; 3]>>,
    /// Whether somebody has looked since this was last asked.
    pub(super) is_used: bool,
}

impl CallIndex {
    /// The slots of the calls with this name, and perhaps a few others.
    pub(super) fn slots(&self, name: Name<'_>) -> &[u32] {
        self.slots.get(&self.hasher.hash_one(name)).map_or(&[], |slots| slots)
    }

    /// Adds names of the call in a slot. It may have some of them already.
    pub(super) fn add<'a>(&mut self, slot: u32, names: impl Iterator<Item = Name<'a>>) {
        let known = self.names.entry(slot).or_default();
        for name in names {
            let name = self.hasher.hash_one(name);
            if !known.contains(&name) {
                known.push(name);
                self.slots.entry(name).or_default().push(slot);
            }
        }
    }

    /// Removes the call in a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        for name in self.names.remove(&slot).unwrap_or_default() {
            if let Entry::Occupied(mut slots) = self.slots.entry(name) {
                slots.get_mut().retain(|other| *other != slot);
                if slots.get().is_empty() {
                    slots.remove();
                }
            }
        }
    }
}
