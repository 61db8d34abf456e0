//! The calls that are being set up, and the last ones that ended: what the status page shows.
//!
//! Decides how many are kept. A call is one from its first INVITE to its final response; what is talked about then is
//! none of our business (no dialog is tracked).

use std::collections::VecDeque;

use hashbrown::HashMap;
use location::{Aor, Wall};

use super::ending::Ending;

/// How many that ended are kept.
const MAX_ENDED: usize = 100;

/// What is older was lost on the way, or rings for an hour.
const MAX_AGE_MILLIS: u64 = 3_600_000;

/// The calls of all workers.
#[derive(Debug)]
pub(crate) struct CallHistory {
    active: HashMap<u64, ActiveCall>,
    max_active: usize,
    ended: VecDeque<EndedCall>,
}

/// A call that is being set up.
#[derive(Clone, Debug)]
pub(crate) struct ActiveCall {
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
pub(crate) struct EndedCall {
    /// As it began.
    pub(crate) call: ActiveCall,
    /// When its final response passed.
    pub(crate) at: Wall,
    /// How.
    pub(crate) ending: Ending,
    /// The status; none if there was none.
    pub(crate) status: Option<u16>,
    /// The phone whose response that was.
    pub(crate) by: Option<String>,
}

impl CallHistory {
    /// Room for so many that are being set up.
    pub(crate) fn new(max_active: usize) -> Self {
        Self { active: HashMap::new(), max_active, ended: VecDeque::with_capacity(MAX_ENDED) }
    }

    /// A call begins. False if there is no room to know of it.
    pub(crate) fn begin(&mut self, id: u64, call: ActiveCall) -> bool {
        let has_room = self.active.len() < self.max_active;
        if has_room {
            self.active.insert(id, call);
        }
        has_room
    }

    /// Takes out a call that has ended; none if it was not known.
    pub(crate) fn end(&mut self, id: u64) -> Option<ActiveCall> {
        self.active.remove(&id)
    }

    /// Keeps one that has ended, and lets go of the oldest.
    pub(crate) fn push_ended(&mut self, ended: EndedCall) {
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(ended);
    }

    /// Forgets what cannot be true any more.
    pub(crate) fn sweep(&mut self, now: Wall) {
        self.active.retain(|_, call| now.millis_since(call.began) < MAX_AGE_MILLIS);
    }

    /// Those being set up, the newest first, at most `max_active`.
    pub(crate) fn active(&self, max_active: usize) -> Vec<ActiveCall> {
        let mut all: Vec<_> = self.active.values().collect();
        all.sort_unstable_by_key(|call| std::cmp::Reverse(call.began));
        all.into_iter().take(max_active).cloned().collect()
    }

    /// How many are being set up.
    pub(crate) fn active_count(&self) -> usize {
        self.active.len()
    }

    /// Those that ended, the last one first.
    pub(crate) fn ended(&self) -> Vec<EndedCall> {
        self.ended.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(began: u64) -> ActiveCall {
        let aor = |user: &[u8]| Aor::new(user, b"office.example");
        ActiveCall { from: aor(b"102"), to: aor(b"101"), phones: 1, began: Wall(began) }
    }

    fn ended(at: u64) -> EndedCall {
        EndedCall { call: call(0), at: Wall(at), ending: Ending::Busy, status: Some(486), by: None }
    }

    #[test]
    fn both_lists_are_bounded() {
        let mut calls = CallHistory::new(2);
        assert!(calls.begin(1, call(1)) && calls.begin(2, call(2)) && !calls.begin(3, call(3)));
        assert_eq!(calls.active(1).iter().map(|call| call.began).collect::<Vec<_>>(), [Wall(2)]);
        assert_eq!(calls.active_count(), 2);
        assert!(calls.end(3).is_none() && calls.end(2).is_some() && calls.end(2).is_none());
        (0..150).for_each(|at| calls.push_ended(ended(at)));
        let ended_at: Vec<_> = calls.ended().iter().map(|call| call.at.0).collect();
        assert_eq!((ended_at.len(), ended_at.first(), ended_at.last()), (100, Some(&149), Some(&50)));
        calls.sweep(Wall(3_600_000));
        assert_eq!(calls.active_count(), 1);
        calls.sweep(Wall(3_600_001));
        assert_eq!(calls.active_count(), 0);
    }
}
