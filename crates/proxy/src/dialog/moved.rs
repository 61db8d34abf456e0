//! Sides of dialogs that are no longer where their token says, because a NAT assigned another port or the Contact was
//! changed (target refresh, RFC 3261 12.2.1.1, 12.2.2).
//!
//! A token cannot be changed during a dialog, because the route set stays the same (RFC 3261 12.2.1.1). So this table
//! records what a side has proved later, by credentials, by its registration or by its peer. It is bounded and may lose
//! entries, also by a restart; a side without its entry has to prove itself again. Must not decide whether a side has
//! moved; that is done by `core`.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::clock::Wall;
use crate::peer::Peer;

/// One side of one dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SideOfDialog {
    /// The key of the dialog: a keyed hash of Call-ID, tag of the caller, peers and users.
    pub(crate) dialog: u64,
    pub(crate) is_caller: bool,
}

/// The current peer and target of a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The source of its last request.
    pub(crate) peer: Peer,
    /// Whether it is reached over that flow only.
    pub(crate) only_flow: bool,
    /// The next hop of its last Contact, as a hash; `None` if that was in no request.
    pub(crate) next_hop: Option<u32>,
    /// When this was seen.
    pub(crate) at: Wall,
}

impl Moved {
    /// Whether it is equal to another one apart from the time.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        Self { at: other.at, ..*self } == *other
    }
}

/// The moved sides that a worker knows.
#[derive(Debug, Default)]
pub(crate) struct MovedSides {
    by_side: HashMap<SideOfDialog, Moved>,
    /// In the order in which they were added.
    order: VecDeque<SideOfDialog>,
}

impl MovedSides {
    pub(crate) fn len(&self) -> usize {
        self.by_side.len()
    }

    pub(crate) fn find(&self, side: SideOfDialog) -> Option<&Moved> {
        self.by_side.get(&side)
    }

    /// Records the place of a side. Returns whether the oldest entry was removed for it, as there are at most `limit`.
    pub(crate) fn record(&mut self, side: SideOfDialog, mut moved: Moved, limit: usize) -> bool {
        let known = self.by_side.get(&side).copied();
        // A request without a Contact does not change the target.
        moved.next_hop = moved.next_hop.or_else(|| known?.next_hop);
        if known.is_none() {
            self.order.push_back(side);
        }
        self.by_side.insert(side, moved);
        let overflows = self.by_side.len() > limit.max(1);
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
            peer: Peer { listener: 0, remote: ([192, 0, 2, 7], port).into(), connection: None, node: None },
            only_flow: false,
            next_hop,
            at: Wall(0),
        }
    }

    #[test]
    fn the_oldest_entry_is_removed_and_a_target_is_kept_until_the_next_one() {
        let mut sides = MovedSides::default();
        let side = |dialog| SideOfDialog { dialog, is_caller: true };
        assert!(!sides.record(side(1), moved(1, Some(5)), 2));
        assert!(!sides.record(side(2), moved(2, None), 2));
        assert!(!sides.record(side(1), moved(3, None), 2));
        assert_eq!(sides.find(side(1)), Some(&moved(3, Some(5))));
        assert_eq!(sides.find(SideOfDialog { is_caller: false, ..side(1) }), None);
        assert!(sides.record(side(3), moved(4, None), 2));
        assert_eq!((sides.len(), sides.find(side(1))), (2, None));
    }
}
