//! The calls that are being set up, and the last ones that ended: what the status page shows.
//!
//! Decides how many are kept. A call is one from its first INVITE to its final response; what is talked about then is
//! none of our business (no dialog is tracked).

use std::collections::VecDeque;

use hashbrown::HashMap;
use location::{Aor, Wall};

use super::ending::Ending;

/// How many that ended are kept.
const KEPT: usize = 100;

/// What is older was lost on the way, or rings for an hour.
const OLDEST_MILLIS: u64 = 3_600_000;

/// The calls of all workers.
#[derive(Debug)]
pub(crate) struct Calls {
    open: HashMap<u64, Open>,
    most: usize,
    ended: VecDeque<Ended>,
}

/// A call that is being set up.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// The caller as he names himself.
    pub(crate) from: Aor,
    /// Who is called.
    pub(crate) to: Aor,
    /// How many phones are to ring, one after another or at once; of a call that has ended, how many did.
    pub(crate) phones: usize,
    /// When its INVITE came.
    pub(crate) began: Wall,
}

/// A call that was set up, or was not.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// As it began.
    pub(crate) call: Open,
    /// When its final response passed.
    pub(crate) at: Wall,
    /// How.
    pub(crate) ending: Ending,
    /// The status; none if there was none.
    pub(crate) status: Option<u16>,
    /// The phone whose response that was.
    pub(crate) by: Option<String>,
}

impl Calls {
    /// Room for so many that are being set up.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: HashMap::new(), most, ended: VecDeque::with_capacity(KEPT) }
    }

    /// A call begins. False if there is no room to know of it.
    pub(crate) fn begin(&mut self, id: u64, call: Open) -> bool {
        let room = self.open.len() < self.most;
        if room {
            self.open.insert(id, call);
        }
        room
    }

    /// Takes out a call that has ended; none if it was not known.
    pub(crate) fn end(&mut self, id: u64) -> Option<Open> {
        self.open.remove(&id)
    }

    /// Keeps one that has ended, and lets go of the oldest.
    pub(crate) fn keep(&mut self, ended: Ended) {
        if self.ended.len() == KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }

    /// Forgets what cannot be true any more.
    pub(crate) fn sweep(&mut self, now: Wall) {
        self.open.retain(|_, call| now.millis_since(call.began) < OLDEST_MILLIS);
    }

    /// Those being set up, the newest first, at most `most`.
    pub(crate) fn open(&self, most: usize) -> Vec<Open> {
        let mut all: Vec<_> = self.open.values().collect();
        all.sort_unstable_by_key(|call| std::cmp::Reverse(call.began));
        all.into_iter().take(most).cloned().collect()
    }

    /// How many are being set up.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Those that ended, the last one first.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.ended.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began: u64) -> Open {
        let aor = |user: &[u8]| Aor::new(user, b"office.example");
        Open { from: aor(b"102"), to: aor(b"101"), phones: 1, began: Wall(began) }
    }

    fn ended(at: u64) -> Ended {
        Ended { call: call(0), at: Wall(at), ending: Ending::Busy, status: Some(486), by: None }
    }

    #[test]
    fn both_lists_are_bounded() {
        let mut calls = Calls::new(2);
        assert!(calls.begin(1, call(1)) && calls.begin(2, call(2)) && !calls.begin(3, call(3)));
        assert_eq!(calls.open(1).iter().map(|call| call.began).collect::<Vec<_>>(), [Wall(2)]);
        assert_eq!(calls.open_count(), 2);
        assert!(calls.end(3).is_none() && calls.end(2).is_some() && calls.end(2).is_none());
        (0..150).for_each(|at| calls.keep(ended(at)));
        let kept: Vec<_> = calls.ended().iter().map(|call| call.at.0).collect();
        assert_eq!((kept.len(), kept.first(), kept.last()), (100, Some(&149), Some(&50)));
        calls.sweep(Wall(3_600_000));
        assert_eq!(calls.open_count(), 1);
        calls.sweep(Wall(3_600_001));
        assert_eq!(calls.open_count(), 0);
    }
}
