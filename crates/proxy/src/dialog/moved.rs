//! Sides of dialogs that are not where their token says any more: a phone whose NAT gave it another port, a target refresh
//! (RFC 3261 12.2.1.1, 12.2.2).
//!
//! A token cannot be changed once a dialog is made (RFC 3261 12.2.1.1: the route set stays). So what a side proved later, by
//! credentials, by its registration or by coming from its peer, is remembered here. Bounded, and soft: a side that is
//! forgotten, here or by a restart, proves itself again. Must not decide who has moved: that is `core`'s.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::clock::Wall;
use crate::peer::Peer;

/// One side of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SideOfDialog {
    /// Keyed hash of its Call-ID and its caller's tag.
    pub(crate) dialog: u64,
    pub(crate) is_caller: bool,
}

/// Where a side is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where its last request came from.
    pub(crate) peer: Peer,
    /// Whether it is reached over that flow only.
    pub(crate) only_flow: bool,
    /// The next hop that its last Contact named, as a hash; `None` if it named none.
    pub(crate) next_hop: Option<u32>,
    /// When this was seen.
    pub(crate) at: Wall,
}

impl Moved {
    /// Whether it says the same, whenever it was seen.
    pub(crate) fn says(&self, other: &Self) -> bool {
        Self { at: other.at, ..*self } == *other
    }
}

/// Those that one worker knows of.
#[derive(Debug, Default)]
pub(crate) struct MovedSides {
    by_side: HashMap<SideOfDialog, Moved>,
    /// In the order in which they were first noted.
    order: VecDeque<SideOfDialog>,
}

impl MovedSides {
    pub(crate) fn len(&self) -> usize {
        self.by_side.len()
    }

    pub(crate) fn find(&self, side: SideOfDialog) -> Option<&Moved> {
        self.by_side.get(&side)
    }

    /// Notes where a side is now. Returns whether another one had to be forgotten for it: there are `most` at most.
    pub(crate) fn note(&mut self, side: SideOfDialog, mut moved: Moved, most: usize) -> bool {
        let known = self.by_side.get(&side).copied();
        // A request without a Contact leaves the target as it was.
        moved.next_hop = moved.next_hop.or_else(|| known?.next_hop);
        if known.is_none() {
            self.order.push_back(side);
        }
        self.by_side.insert(side, moved);
        let overflows = self.by_side.len() > most.max(1);
        if overflows && let Some(oldest) = self.order.pop_front() {
            self.by_side.remove(&oldest);
        }
        overflows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(port: u16, next_hop: Option<u32>) -> Moved {
        Moved {
            peer: Peer { listener: 0, remote: ([192, 0, 2, 7], port).into(), connection: None },
            only_flow: false,
            next_hop,
            at: Wall(0),
        }
    }

    #[test]
    fn the_oldest_makes_room_and_a_target_stays_until_another_is_named() {
        let mut sides = MovedSides::default();
        let side = |dialog| SideOfDialog { dialog, is_caller: true };
        assert!(!sides.note(side(1), moved(1, Some(5)), 2));
        assert!(!sides.note(side(2), moved(2, None), 2));
        assert!(!sides.note(side(1), moved(3, None), 2));
        assert_eq!(sides.find(side(1)), Some(&moved(3, Some(5))));
        assert_eq!(sides.find(SideOfDialog { is_caller: false, ..side(1) }), None);
        assert!(sides.note(side(3), moved(4, None), 2));
        assert_eq!((sides.len(), sides.find(side(1))), (2, None));
    }
}
