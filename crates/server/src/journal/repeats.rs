//! How often somebody has done it again: a guesser of passwords gets a few lines, not a line a guess.
//!
//! Decides which repetitions are told: the first few, then the hundredth, the thousandth and so on. Ten quiet minutes, and
//! it begins anew. Bounded: with too many sources at once the newest are not told.

use std::net::IpAddr;

use hashbrown::HashMap;
use location::Wall;

/// Sources that are remembered.
const MOST: usize = 1024;

/// After so long nobody remembers.
const MEMORY_MILLIS: u64 = 600_000;

/// What is done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Deed {
    /// Credentials that were refused.
    Credentials,
    /// A registration that was refused.
    Registration,
    /// A call that was refused.
    Call,
    /// A request in a dialog that did not come from a side of it.
    Dialog,
}

impl Deed {
    /// How often it is told in any case.
    const fn told(self) -> u32 {
        match self {
            Self::Credentials | Self::Registration | Self::Dialog => 3,
            // People call in vain now and then, and an office has one address.
            Self::Call => 20,
        }
    }
}

/// Who did what how often.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    seen: HashMap<(Deed, IpAddr), Seen>,
}

#[derive(Debug)]
struct Seen {
    count: u32,
    last: Wall,
}

impl Repeats {
    /// Which time it is, if that is to be told.
    pub(crate) fn again(&mut self, deed: Deed, source: IpAddr, now: Wall) -> Option<u32> {
        let key = (deed, source);
        if self.seen.len() >= MOST && !self.seen.contains_key(&key) {
            self.seen.retain(|_, seen| now.millis_since(seen.last) < MEMORY_MILLIS);
            if self.seen.len() >= MOST {
                return None;
            }
        }
        let seen = self.seen.entry(key).or_insert(Seen { count: 0, last: now });
        if now.millis_since(seen.last) >= MEMORY_MILLIS {
            seen.count = 0;
        }
        seen.count = seen.count.saturating_add(1);
        seen.last = now;
        let is_told = seen.count <= deed.told() || (seen.count >= 10 && is_power_of_ten(seen.count));
        is_told.then_some(seen.count)
    }
}

const fn is_power_of_ten(count: u32) -> bool {
    10_u32.pow(count.ilog10()) == count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_and_the_powers_of_ten() {
        let mut repeats = Repeats::default();
        let source = [198, 51, 100, 7].into();
        let told: Vec<_> = (0..2000).filter_map(|at| repeats.again(Deed::Credentials, source, Wall(at))).collect();
        assert_eq!(told, [1, 2, 3, 10, 100, 1000]);
        assert_eq!(repeats.again(Deed::Call, source, Wall(2000)), Some(1));
        assert_eq!(repeats.again(Deed::Credentials, source, Wall(2000 + MEMORY_MILLIS)), Some(1));
    }

    #[test]
    fn a_crowd_does_not_make_it_grow() {
        let mut repeats = Repeats::default();
        for at in 0..5000_u32 {
            repeats.again(Deed::Registration, IpAddr::from(at.to_be_bytes()), Wall(0));
        }
        assert_eq!(repeats.seen.len(), MOST);
        assert_eq!(repeats.again(Deed::Registration, [255; 4].into(), Wall(MEMORY_MILLIS)), Some(1));
    }
}
